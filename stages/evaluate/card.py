"""The model card (Mitchell et al. 2019): what the model is, for people who decide whether to use it.

Every sentence is in ``model_card.md.j2`` and follows from the schema, the metrics, the slices and the rows; none
is about one particular table.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader

from stages.evaluate.groups import BETWEEN
from stages.evaluate.slices import worst
from stages.params.choice import Candidate, describe_choice
from stages.params.params import Params
from stages.params.sample_use import SampleUse
from stages.schema import Schema
from stages.scores.gate import main_metric
from stages.scores.units import Units

_RARE = 0.1
_MOST_LINES = 15
_LONGEST = 60
_PERCENT = 0.001
_SECTIONS = {"features", "data", "split", "validation", "train", "evaluate", "registration"}


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that the card shows."""

    schema: Schema
    params: Params
    metrics: dict[str, float]
    slices: pd.DataFrame
    importance: pd.DataFrame
    train_target: pd.Series
    test_target: pd.Series
    units: Units
    """The independent units of the intervals."""
    groups: pd.DataFrame
    """By group, if evaluate.groups names columns; else empty."""
    correlation: float | None = None
    """Of neighbouring units, if they have an order."""
    contributions: pd.DataFrame | None = None
    coverage: pd.DataFrame | None = None
    """Of prediction intervals or sets, by part of the test rows."""
    candidates: Sequence[Candidate] = ()
    """What `model: auto` tried, the best first."""
    sample: SampleUse | None = None
    """Which training rows the model was fitted on."""


def card(facts: Facts) -> str:
    """Return the card as Markdown, with names from the table escaped; equal facts give equal text."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # noqa: S701  # `escaped` does it for Markdown
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = {"escaped": escaped, "percent": _percent, "figure": _figure, "listed": _listed, "count": "{:,}".format}
    templates.filters |= filters | {"hundredths": lambda share: f"{100 * share:.0f}"}
    templates.globals |= filters
    contract, main = facts.schema.contract, main_metric(facts.schema.contract.task)
    return templates.get_template("model_card.md.j2").render(
        {field.name: getattr(facts, field.name) for field in fields(facts)}
        | (_about_classes(facts) if contract.classes else {}),
        contract=contract,
        split=facts.schema.split,
        main=main,
        certainly_better=facts.metrics.get(f"{main}_low", -np.inf) > facts.metrics.get(f"baseline_{main}", -np.inf),
        table=PurePath(facts.params.data.path).name.replace("`", " "),
        targets=[("training", facts.train_target), ("test", facts.test_target)],
        worst=worst(facts.slices).to_dict("records"),
        between=facts.groups[facts.groups["group"] == BETWEEN].to_dict("records"),
        incomplete=[
            f"{escaped(each.name)} {_percent(float(each.bin_shares[-1]))}"
            for each in contract.features
            if each.nullable
        ],
        coverages=[] if facts.coverage is None else facts.coverage.to_dict("records"),
        left_out=[f"{escaped(column.name)} ({escaped(column.reason)})" for column in facts.schema.left_out],
        parameters=_hyperparameters(facts.params),
        most=_MOST_LINES,
        chosen=describe_choice(list(facts.candidates)),
    )


def _hyperparameters(params: Params) -> dict[str, Any]:
    """Return the top-level values, with dotted names the constraints and those of the model's own group."""
    dumped = params.model_dump(mode="json", by_alias=True, exclude=_SECTIONS)
    groups = {group: dumped.get(group, {}) for group in ("monotone", params.model)}
    shared = {name: value for name, value in dumped.items() if not isinstance(value, dict)}
    return shared | {f"{group}.{name}": value for group, own in groups.items() for name, value in own.items()}


def _about_classes(facts: Facts) -> dict[str, Any]:
    """Return each class with its shares of training and test rows, and the rare, untested and unknown classes."""
    known, tested = facts.schema.contract.classes, facts.test_target
    train, test = (each.value_counts(normalize=True).to_dict() for each in (facts.train_target, tested))
    shares = [(label, train.get(label, 0.0), test.get(label, 0.0)) for label in known]
    limit = min(_RARE, 0.5 / len(known))
    return {
        "classes": shares,
        "rarest": [f"{escaped(label)} {_percent(share)}" for label, share, _ in shares if share < limit],
        "untested": [escaped(label) for label in sorted(set(known) - set(test), key=str)],
        "unknown": [escaped(label) for label in sorted(set(test) - set(known), key=str)],
    }


def escaped(name: object, longest: int = _LONGEST) -> str:
    """Escape Markdown and HTML in a name, replace line breaks, and shorten a long name."""
    text = "".join(sign if sign.isprintable() else " " for sign in str(name))
    text = text if len(text) <= longest else f"{text[:longest]}..."
    text = re.sub(r"([\\`*_\[\]|~$]|:(?=//)|^[-+#=]|(?<=^\d)[.)](?=\s|$))", r"\\\1", text)
    return html.escape(text, quote=False) or "(empty)"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_LINES} more" if len(names) > _MOST_LINES else ""
    return ", ".join(names[:_MOST_LINES]) + more


def _figure(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4g}"


def _percent(share: float) -> str:
    return "under 0.1 %" if 0 < share < _PERCENT else f"{100 * share:.1f} %"
