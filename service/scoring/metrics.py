"""What the service counts: requests, predictions, warnings, errors, and rows per feature and bin.

The numbers lie in this worker's file (`service.counting.counters`), where they add up over workers
and outlive them. Every label value is known beforehand, so no caller can make series.
"""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from service.contract import SCORE_BINS_KEY, CategoryFeature, Label, ScoreBins
from service.counting.counters import Counters
from service.counting.families import Family
from service.encoding import Matrix
from service.inputs.layout import Layout, Outside, warning_kind
from service.scoring.bins import Bins

if TYPE_CHECKING:
    from service.scoring.artifact import Artifact

DURATION_BOUNDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
INSTANCE_BOUNDS: Final = (1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0)
STATUS_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")
UNKNOWN_ROUTE: Final = ("OTHER", "none")
"""Method and route of requests for paths that there are not."""
ERROR_KINDS: Final = ("missing", "wrong_type", "wrong_value", "unknown", "outside")
NO_FEATURE: Final = ""

_INSTANCES: Final = Family("prediction_instances", "Rows per request.", kind="histogram", bounds=INSTANCE_BOUNDS)
_ROWS_AT_ONCE: Final = 512
_SECONDS_AT_MOST: Final = 0.1


class RequestMetrics:
    """Requests by method, route and class of status, and how long they took."""

    def __init__(self, counters: Counters, routes: Iterable[tuple[str, str]]) -> None:
        known = sorted({*routes, UNKNOWN_ROUTE})
        requests = Family(
            "http_requests",
            "Requests answered.",
            labels=("method", "handler", "status"),
            series=tuple((*route, status) for route in known for status in STATUS_CLASSES),
        )
        seconds = Family(
            "http_request_duration_seconds",
            "Time from a request's first byte at the application to the answer's last.",
            kind="histogram",
            labels=("method", "handler"),
            series=tuple(known),
            bounds=DURATION_BOUNDS,
        )
        self._block = counters.block(requests, seconds)
        self._places = {
            route: (
                tuple(self._block.index("http_requests", *route, status) for status in STATUS_CLASSES),
                self._block.index("http_request_duration_seconds", *route),
            )
            for route in known
        }

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        statuses, duration = self._places.get((method, route)) or self._places[UNKNOWN_ROUTE]
        cells = self._block.cells
        cells[statuses[max(status // 100, 2) - 2]] += 1.0
        cells[duration + bisect_left(DURATION_BOUNDS, seconds)] += 1.0
        cells[duration + len(DURATION_BOUNDS) + 1] += seconds


class PredictionMetrics:
    """What one version of the model was asked and answered.

    Rows are kept for a moment and counted many at a time, for it costs as much to count
    hundreds as one; a worker that is killed loses the last tenth of a second of these.
    Counted in the thread of the event loop.
    """

    def __init__(self, counters: Counters, artifact: "Artifact", layout: Layout) -> None:
        self._version = artifact.model.version
        self._contract = artifact.model.contract
        self._bins = Bins(self._contract, layout)
        self._score_bins = _score_bins(artifact)
        self.families = _families(artifact, self._bins, self._score_bins)
        counters.begin(self._version)
        block = counters.block_of(self._version, *self.families)
        if block is None:
            raise AssertionError("the version that begins is one of the last")
        self._block = block
        self._requests = counters.block(_INSTANCES)
        self._set_references(artifact)
        self._place_labels = {
            label: self._place("predictions", _label_text(label)) for label in self._contract.classes or (None,)
        }
        self._first_bin = self._place("feature_rows", self._contract.features[0].name, self._bins.features[0].names[0])
        self._waiting: list[_Answered] = []
        self._rows = 0
        self._timer: asyncio.TimerHandle | None = None

    def count(self, numbers: Matrix, scores: npt.NDArray[np.float32], labels: Sequence[Label | None]) -> None:
        """Count answered rows."""
        self._waiting.append((numbers, scores, labels))
        self._rows += len(numbers)
        if self._rows >= _ROWS_AT_ONCE:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SECONDS_AT_MOST, self.flush)

    def count_request(self, instances: int) -> None:
        """Count one request with so many instances."""
        self._requests.observe(0, INSTANCE_BOUNDS, float(instances))

    def count_outside(self, found: Iterable[Outside]) -> None:
        """Count warnings, if there are any."""
        for (name, kind), number in Counter((each.feature.name, each.kind) for each in found).items():
            self._block.add(self._place("prediction_warnings", name, kind), float(number))

    def count_errors(self, kinds: Mapping[tuple[str | None, str], int]) -> None:
        """Count what was wrong with a request, by feature and kind."""
        for (name, kind), number in kinds.items():
            self._block.add(self._place("prediction_errors", name or NO_FEATURE, kind), float(number))

    def flush(self) -> None:
        """Count the rows that wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting, self._rows = self._waiting, [], 0
        if not waiting:
            return
        places = self._bins.places(np.concatenate([numbers for numbers, _, _ in waiting])) + self._first_bin
        self._block.array[:] += np.bincount(places.ravel(), minlength=len(self._block.array))
        self._count_labels([labels for _, _, labels in waiting])
        self._count_scores(np.concatenate([scores for _, scores, _ in waiting]))

    def _count_labels(self, labels: list[Sequence[Label | None]]) -> None:
        for label, number in Counter(chain.from_iterable(labels)).items():
            self._block.add(self._place_labels[label], float(number))

    def _count_scores(self, scores: npt.NDArray[np.float32]) -> None:
        if self._score_bins is None:
            return
        if self._contract.positive is not None:
            chosen = scores[:, self._contract.classes.index(self._contract.positive)]
        else:
            chosen = scores.max(axis=1) if scores.ndim > 1 else scores
        edges = np.array(self._score_bins.edges, dtype=np.float32)
        self._block.add_each(self._place("score_rows", "0") + np.searchsorted(edges, chosen))

    def _place(self, family: str, *labels: str) -> int:
        return self._block.index(family, self._version, *labels)

    def give_way(self, other: "PredictionMetrics") -> None:
        """Show this version's gauges no longer, unless `other` shows the same; what waits is counted in its time."""
        if self.families != other.families:
            self._block.retire()

    def _set_references(self, artifact: "Artifact") -> None:
        for feature, bins in zip(self._contract.features, self._bins.features, strict=True):
            for name, share in zip(bins.names, bins.shares, strict=True):
                self._block.set(self._place("feature_reference_share", feature.name, name), share)
            if isinstance(feature, CategoryFeature):
                expected = max(feature.unseen_share, feature.unseen_share_in_new_rows)
                self._block.set(self._place("prediction_warnings_reference_share", feature.name), expected)
        for rows, shares in _score_shares(self._score_bins).items():
            for number, share in enumerate(shares):
                self._block.set(self._place("score_reference_share", rows, str(number)), share)
        self._block.set(self._block.index("model_info", artifact.name, self._version, artifact.data_md5), 1.0)


_Answered = tuple[Matrix, npt.NDArray[np.float32], Sequence[Label | None]]


def _label_text(label: Label | None) -> str:
    return "" if label is None else label if isinstance(label, str) else str(label).lower()


def _score_bins(artifact: "Artifact") -> ScoreBins | None:
    found = artifact.model.session.get_modelmeta().custom_metadata_map.get(SCORE_BINS_KEY)
    return ScoreBins.model_validate_json(found) if found else None


def _score_shares(score_bins: ScoreBins | None) -> dict[str, tuple[float, ...]]:
    """Return the shares that live scores are held against, by the rows that they are of."""
    if score_bins is None:
        return {}
    known = {"test": score_bins.shares, "training": score_bins.training_shares}
    return {rows: shares for rows, shares in known.items() if shares}


def _families(artifact: "Artifact", bins: Bins, score_bins: ScoreBins | None) -> list[Family]:
    version, contract = artifact.model.version, artifact.model.contract
    names = [feature.name for feature in contract.features]
    in_bins = tuple(
        (version, feature, name) for feature, each in zip(names, bins.features, strict=True) for name in each.names
    )
    in_score_bins = tuple((version, str(number)) for number in range(len(score_bins.shares) if score_bins else 0))
    labels = [(version, _label_text(each)) for each in contract.classes or (None,)]
    counted: list[tuple[str, str, tuple[str, ...], Sequence[tuple[str, ...]]]] = [
        ("predictions", "Rows predicted.", ("label",), labels),
        ("prediction_warnings", "Values beyond those of training, answered all the same.", ("feature", "kind"),
         [(version, feature.name, warning_kind(feature)) for feature in contract.features]),
        ("prediction_errors", "Values that the contract does not allow.", ("feature", "kind"),
         [(version, name, kind) for name in [*names, NO_FEATURE] for kind in ERROR_KINDS]),
        ("feature_rows", "Rows by the feature's training bin.", ("feature", "bin"), in_bins),
        ("score_rows", "Rows by the score's test bin.", ("bin",), in_score_bins),
    ]  # fmt: skip
    return [
        *(
            Family(name, help_, labels=("version", *labels), series=tuple(series))
            for name, help_, labels, series in counted
        ),
        Family(
            "feature_reference_share",
            "Share of the training rows in each bin, 0 to 1.",
            kind="gauge",
            labels=("version", "feature", "bin"),
            series=in_bins,
            merge="max",
        ),
        Family(
            "prediction_warnings_reference_share",
            "Share of new rows of the training rows' kind that would be warned about, 0 to 1.",
            kind="gauge",
            labels=("version", "feature"),
            series=tuple((version, name) for name in names),
            merge="max",
        ),
        Family(
            "score_reference_share",
            "Share of the test or training rows in each score bin, 0 to 1.",
            kind="gauge",
            labels=("version", "rows", "bin"),
            series=tuple(
                (version, rows, str(number))
                for rows, shares in _score_shares(score_bins).items()
                for number in range(len(shares))
            ),
            merge="max",
        ),
        Family(
            "model_info",
            "The model in service.",
            kind="gauge",
            labels=("name", "version", "data_md5"),
            series=((artifact.name, version, artifact.data_md5),),
            merge="max",
        ),
    ]
