"""The model card (Mitchell et al. 2019): what the model is, for people who decide whether to use it.

Every sentence is drawn from the schema, the metrics, the slices and the rows; none is
about a table that somebody had in mind.
"""

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import pandas as pd

from service.contract import Contract
from stages.evaluate.performance import describe_decisions, describe_intervals
from stages.evaluate.slices import worst
from stages.params import Params
from stages.schema import RareClasses, Schema
from stages.scores.main_metric import main_metric
from stages.scores.units import Units

_FEW_TEST_ROWS = 1_000
_RARE = 0.1
_MOST_LINES = 15
_LONGEST = 60
_LONGEST_FINDING = 1_000
_PERCENT = 0.001
_SECTIONS = {"data", "split", "validation", "evaluate", "registration"}
_REPRODUCTION = [
    "Check out the commit that holds this card and run `dvc repro`; `dvc.lock` names the MD5 of every file that it",
    "reads and writes. `dvc pull` and `dvc checkout` fetch the files themselves.",
]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the card is drawn from."""

    schema: Schema
    params: Params
    metrics: dict[str, float]
    slices: pd.DataFrame
    importance: pd.DataFrame
    train_target: pd.Series
    test: pd.DataFrame
    units: Units
    """What the intervals count as independent."""
    likeness: float | None = None
    """The correlation of neighbouring units, if they have an order."""


def card(facts: Facts) -> str:
    """Write the card as Markdown; names out of the table are escaped, nothing depends on time or place."""
    title = f"# Model card: {escaped(facts.schema.contract.target)}"
    sections = {
        "What it was trained on": _training(facts),
        "What to look at first": [f"- {escaped(finding, _LONGEST_FINDING)}." for finding in facts.schema.findings],
        "How well it does": _scores(facts),
        "Where it does badly": _weaknesses(facts),
        "What it goes by": _importance(facts),
        "What it must not be used for": _limits(facts),
        "Parameters": _parameters(facts.params),
        "How to reproduce it": _REPRODUCTION,
    }
    filled = {name: lines for name, body in sections.items() if (lines := list(body))}
    return "\n".join([title, *(line for name, body in filled.items() for line in ("", f"## {name}", "", *body)), ""])


def escaped(name: object, longest: int = _LONGEST) -> str:
    """Show a name as text: no Markdown, no HTML, no line break takes effect; long ones are shortened."""
    text = "".join(sign if sign.isprintable() else " " for sign in str(name))
    text = text if len(text) <= longest else f"{text[:longest]}..."
    text = re.sub(r"([\\`*_\[\]|~$]|:(?=//)|^[-+#=]|(?<=^\d)[.)](?=\s|$))", r"\\\1", text)
    return html.escape(text, quote=False) or "(empty)"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Cells are given as they are to appear."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def _training(facts: Facts) -> Iterator[str]:
    schema, contract = facts.schema, facts.schema.contract
    rows = schema.rows
    yield f"- Table: `{PurePath(facts.params.data.path).name.replace('`', ' ')}`, {rows.read:,} rows"
    if rows.without_target:
        yield f"- Left out: {rows.without_target:,} rows without a target"
    if schema.rare_classes:
        yield f"- Rare classes: {_rare_classes(schema.rare_classes)}"
    yield f"- Rows: {rows.train:,} to train, {rows.test:,} to test"
    yield f"- Split: {_split(schema)}"
    yield f"- Target: {escaped(contract.target)} ({contract.task})"
    yield f"- Features: {len(contract.features)}; columns left out: {len(schema.left_out)}"
    yield f"- Model: {facts.params.model}"
    yield ""
    yield from _target(contract, facts)


def _rare_classes(rare: RareClasses) -> str:
    names = _listed([f"{escaped(name)} {rows:,}" for name, rows in rare.classes.items()])
    what = f"joined into {escaped(rare.into)}" if rare.joined else "left out"
    rows = rare.joined or rare.left_out
    return f"{rows:,} rows {what} (`data.rare_classes: {rare.setting}`; rows of each: {names})"


def _split(schema: Schema) -> str:
    split = schema.split
    share = ""
    if split.share and split.test_size:
        share = f"; {_percent(split.share)} are test rows, {_percent(split.test_size)} asked for"
    if split.method == "time":
        return (
            f"by time ({escaped(split.column)}): trained on {escaped(split.train_from)} to {escaped(split.train_to)}, "
            f"tested on {escaped(split.test_from)} to {escaped(split.test_to)}{share}"
        )
    if split.method == "group":
        return f"by group ({escaped(split.column)}), none on both sides{share}"
    return f"random, by a hash of {escaped(split.column) if split.column else 'all columns'}{share}"


def _target(contract: Contract, facts: Facts) -> list[str]:
    train, test = facts.train_target, facts.test[contract.target]
    if not contract.classes:
        parts = [("training", train.astype(np.float64).describe()), ("test", test.astype(np.float64).describe())]
        names = ("mean", "std", "min", "50%", "max")
        return _table(
            ["rows", "mean", "standard deviation", "least", "median", "greatest"],
            [[name, *(_figure(float(about[each])) for each in names)] for name, about in parts],
        )
    shares = [train.value_counts(normalize=True), test.value_counts(normalize=True)]
    lines = [
        [
            escaped(label) + (" (positive)" if label == contract.positive and contract.task == "binary" else ""),
            *(_percent(float(share.get(label, 0.0))) for share in shares),
        ]
        for label in contract.classes
    ]
    more = [f"\n{len(lines) - _MOST_LINES} more."] if len(lines) > _MOST_LINES else []
    return _table(["class", "share in training", "share in test"], lines[:_MOST_LINES]) + more


def _scores(facts: Facts) -> Iterator[str]:
    found = facts.metrics
    counted = describe_intervals(facts.units, facts.likeness)
    yield f"Scored on the test rows through the code that serves. {counted}"
    yield ""
    names = [name for name in found if f"baseline_{name}" in found]
    lines = [[name, _figure(found[name]), _interval(found, name), _figure(found[f"baseline_{name}"])] for name in names]
    yield from _table(["metric", "value", "interval", "without a model"], lines)
    yield from _cross_validation(facts)
    if "threshold" in found:
        yield ""
        contract = facts.schema.contract
        about = escaped(contract.target), escaped(contract.positive)
        yield from describe_decisions(found, facts.params.evaluate, *about)


def _cross_validation(facts: Facts) -> Iterator[str]:
    name = f"cv_{main_metric(facts.schema.contract.task)}"
    if name in facts.metrics:
        yield ""
        yield (
            f"Compare models by {name}: {_figure(facts.metrics[name])}, standard deviation "
            f"{_figure(facts.metrics[f'{name}_std'])} over {facts.metrics['cv_folds']:.0f} folds of the training rows, "
            "split as the test rows were."
        )


def _interval(found: dict[str, float], name: str) -> str:
    low, high = found.get(f"{name}_low"), found.get(f"{name}_high")
    return "" if low is None or high is None else f"[{_figure(low)}, {_figure(high)}]"


def _weaknesses(facts: Facts) -> list[str]:
    found, metric = worst(facts.slices), str(facts.slices.columns[3])
    if found.empty:
        none = f"No value of a column has a {metric} that is worse than the whole's by more than chance"
        return [f"{none}, which is counted over {facts.units.plural}."]
    lines = [
        [
            escaped(row["column"]),
            escaped(row["value"]),
            f"{row['rows']:,}",
            _figure(row[metric]),
            f"[{_figure(row[f'{metric}_low'])}, {_figure(row[f'{metric}_high'])}]",
        ]
        for row in found.to_dict("records")
    ]
    total = int(facts.slices["worse"].sum())
    worse = f"Of {len(facts.slices)} slices (`slices.csv`) {total} are worse than the whole beyond chance"
    return [
        f"{worse}, which is counted over {facts.units.plural}. The worst:",
        "",
        *_table(["column", "value", "test rows", metric, "95 % interval"], lines),
    ]


def _importance(facts: Facts) -> list[str]:
    loss = "mean absolute error" if facts.schema.contract.task == "regression" else "log loss"
    lines = [
        [escaped(row["feature"]), _figure(row["importance"])] for row in facts.importance.head(10).to_dict("records")
    ]
    return _table(["column", f"rise of the {loss} when it is shuffled"], lines)


def _limits(facts: Facts) -> Iterator[str]:
    schema = facts.schema
    when = f"later than {escaped(schema.split.train_to)} the more so, " if schema.split.method == "time" else ""
    yield "- Decisions about people without a person's review: a prediction is no reason."
    yield f"- Rows unlike the training rows: {when}values beyond the ranges and categories in `schema.json`."
    yield from (f"- {warning}" for warning in _warnings(facts))
    if schema.left_out:
        names = _listed([f"{escaped(column.name)} ({escaped(column.reason)})" for column in schema.left_out])
        yield f"- Questions about columns that it does not see: {names}."


def _warnings(facts: Facts) -> Iterator[str]:
    contract, metric = facts.schema.contract, main_metric(facts.schema.contract.task)
    lowest = facts.metrics.get(f"{metric}_low", -np.inf)
    if metric in facts.metrics and lowest <= facts.metrics[f"baseline_{metric}"]:
        yield f"Anything: {metric} is not surely better than without a model."
    if facts.schema.rows.test < _FEW_TEST_ROWS:
        yield f"Close calls: {facts.schema.rows.test:,} test rows tell little; mind the intervals."
    if contract.classes:
        yield from _about_classes(facts)
    incomplete = [feature for feature in contract.features if feature.nullable]
    if incomplete:
        names = _listed([f"{escaped(each.name)} {_percent(float(each.bin_shares[-1]))}" for each in incomplete])
        yield f"Missing values are known only of these columns (share in training): {names}."


def _about_classes(facts: Facts) -> Iterator[str]:
    classes, tested = facts.schema.contract.classes, set(facts.test[facts.schema.contract.target].tolist())
    shares = facts.train_target.value_counts(normalize=True).to_dict()
    limit = min(_RARE, 0.5 / len(classes))
    rare = [f"{escaped(each)} {_percent(shares.get(each, 0.0))}" for each in classes if shares.get(each, 0.0) < limit]
    absent, unseen = sorted(set(classes) - tested, key=str), sorted(tested - set(classes), key=str)
    if rare:
        yield f"Rare classes by accuracy alone: {_listed(rare)} of the training rows."
    if absent:
        yield f"Classes without a test row: {_listed([escaped(each) for each in absent])}."
    if unseen:
        yield f"Classes that training did not know: {_listed([escaped(each) for each in unseen])}."


def _parameters(params: Params) -> list[str]:
    shown = params.model_dump(mode="json", by_alias=True, exclude=_SECTIONS)
    lines = [[f"`{name}`", escaped("null" if value is None else value)] for name, value in shown.items()]
    return _table(["parameter", "value"], lines)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_LINES} more" if len(names) > _MOST_LINES else ""
    return ", ".join(names[:_MOST_LINES]) + more


def _figure(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4g}"


def _percent(share: float) -> str:
    return "under 0.1 %" if 0 < share < _PERCENT else f"{100 * share:.1f} %"
