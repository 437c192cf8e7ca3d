"""Count predictions, warnings, errors, and rows per feature and bin, by version of the model.

All label values are known beforehand and their series begin at zero: no caller can create series, and Prometheus
sees the first increase.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, product
from typing import Final

import numpy as np
import numpy.typing as npt
from prometheus_client import Metric

from service.contract import SCORE_BINS_KEY, CategoryFeature, Feature, Label, ScoreBins, class_name
from service.encoding import Matrix
from service.inputs.layout import Layout, Outside, warning_kind
from service.instruments.bins import Bins
from service.instruments.families import Histogram, Specifications, VersionCounters, gauge
from service.model import Model

INSTANCE_BOUNDS: Final = (1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0)
ERROR_KINDS: Final = ("missing", "wrong_type", "wrong_value", "unknown", "outside")
NO_FEATURE: Final = ""
_ROWS_AT_ONCE: Final = 512

Batch = tuple[Matrix, npt.NDArray[np.float32], Sequence[Label | None]]
"""Rows, their scores and labels."""


COUNTERS: Final[Specifications] = {
    "predictions": ("Rows predicted.", "label"),
    "prediction_warnings": (
        "Values outside training's range; the rows are predicted nevertheless.", "feature", "kind",
    ),
    "prediction_errors": ("Values that the contract doesn't allow.", "feature", "kind"),
    "feature_rows": ("Rows by the feature's training bin.", "feature", "bin"),
    "score_rows": ("Rows by the score's test bin.", "bin"),
}  # fmt: skip


class PredictionInstruments:
    """Counts the requests and predictions of one version of the model.

    Rows are collected until `flush`. Use it in the event loop's thread.
    """

    def __init__(self, counters: VersionCounters, instances: Histogram, model: Model, layout: Layout) -> None:
        self._version = version = model.version
        self._contract = contract = model.contract
        self._bins = Bins(contract, layout)
        self._score_bins = _score_bins(model)
        self._level = model.coverage.levels[0] if model.coverage else None
        self._instances = instances
        names = [feature.name for feature in contract.features]
        begin = counters.begin
        texts: dict[Label | None, str] = {label: class_name(label) for label in contract.classes} or {None: ""}
        self._labels = {label: begin("predictions", version, text) for label, text in texts.items()}
        kinds = [(feature.name, warning_kind(feature)) for feature in contract.features]
        self._warnings = {key: begin("prediction_warnings", version, *key) for key in kinds}
        wrong = product((*names, NO_FEATURE), ERROR_KINDS)
        self._errors = {key: begin("prediction_errors", version, *key) for key in wrong}
        in_bins = [
            begin("feature_rows", version, name, bin_)
            for name, bins in zip(names, self._bins.features, strict=True)
            for bin_ in bins.names
        ]
        in_score_bins = [begin("score_rows", version, str(number)) for number in range(len(self._score_bins.shares))]
        self._edges = np.array(self._score_bins.edges, dtype=np.float32)
        self._first_score_bin = len(in_bins)
        self._counters = in_bins + in_score_bins
        self._counts = np.zeros(len(self._counters), dtype=np.intp)
        self._waiting: list[Batch] = []
        self._rows = 0
        self._sizes: list[int] = []

    def count(self, numbers: Matrix, scores: npt.NDArray[np.float32], labels: Sequence[Label | None]) -> None:
        """Count predicted rows."""
        self._waiting.append((numbers, scores, labels))
        self._rows += len(numbers)
        if self._rows >= _ROWS_AT_ONCE:
            self._add_up()

    def count_request(self, instances: int) -> None:
        """Count one request with `instances` rows."""
        self._sizes.append(instances)

    def count_outside(self, found: Iterable[Outside]) -> None:
        """Count warnings, if there are any."""
        for key, number in Tally((each.feature.name, each.kind) for each in found).items():
            self._warnings[key].inc(number)

    def count_errors(self, kinds: Mapping[tuple[str | None, str], int]) -> None:
        """Count the errors of a request, given by feature and kind."""
        for (name, kind), number in kinds.items():
            self._errors[name or NO_FEATURE, kind].inc(number)

    def flush(self) -> None:
        """Add the collected rows and requests to the counters."""
        if self._waiting:
            self._add_up()
        sizes, self._sizes = self._sizes, []
        if sizes:
            self._instances.observe_all(sizes)
        for place in np.flatnonzero(self._counts).tolist():
            self._counters[place].inc(float(self._counts[place]))
        self._counts[:] = 0

    def _add_up(self) -> None:
        """Sum up the collected rows; hundreds take hardly longer than one."""
        waiting, self._waiting, self._rows = self._waiting, [], 0
        places = self._bins.places(np.concatenate([numbers for numbers, _, _ in waiting]))
        self._counts += np.bincount(places.ravel(), minlength=len(self._counts))
        for label, number in Tally(chain.from_iterable(labels for _, _, labels in waiting)).items():
            self._labels[label].inc(number)
        if self._score_bins.shares:
            scores = self._watched_scores(np.concatenate([scores for _, scores, _ in waiting]))
            places = self._first_score_bin + np.searchsorted(self._edges, scores)
            self._counts += np.bincount(places, minlength=len(self._counts))

    def _watched_scores(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return one score per row: of the positive class, or else the largest one, or the value."""
        if self._contract.positive is not None:
            return scores[:, self._contract.classes.index(self._contract.positive)]
        watched: npt.NDArray[np.float32] = scores.max(axis=1) if scores.ndim > 1 else scores
        return watched

    def references(self) -> Iterator[Metric]:
        """Return what live rows are compared with: reference shares for drift, and the level of coverage."""
        version, features, score_bins = self._version, self._contract.features, self._score_bins
        in_bins = [
            ((version, feature.name, name), share)
            for feature, bins in zip(features, self._bins.features, strict=True)
            for name, share in zip(bins.names, bins.shares, strict=True)
        ]
        labels = ["version", "feature", "bin"]
        yield gauge(
            "model_coverage_level",
            "The probability with which an interval or set contains the truth, as promised, 0 to 1.",
            ["version"],
            [((version,), self._level)] if self._level else [],
        )
        yield gauge("feature_reference_share", "Share of the training rows in each bin, 0 to 1.", labels, in_bins)
        text = "Share of new rows without drift that have a warning about the feature, 0 to 1."
        warned = [((version, feature.name), _expected_warnings(feature)) for feature in features]
        yield gauge("prediction_warnings_reference_share", text, ["version", "feature"], warned)
        text = "Share of the test or training rows in each score bin, 0 to 1."
        in_score_bins = [
            ((version, rows, str(number)), share)
            for rows, shares in (("test", score_bins.shares), ("training", score_bins.training_shares))
            for number, share in enumerate(shares)
        ]
        yield gauge("score_reference_share", text, ["version", "rows", "bin"], in_score_bins)


def _expected_warnings(feature: Feature) -> float:
    if isinstance(feature, CategoryFeature):
        return max(feature.unseen_share, feature.unseen_share_in_new_rows)
    return 0.0


def _score_bins(model: Model) -> ScoreBins:
    found = model.session.get_modelmeta().custom_metadata_map.get(SCORE_BINS_KEY)
    return ScoreBins.model_validate_json(found) if found else ScoreBins(edges=(), shares=())
