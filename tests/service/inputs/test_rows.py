"""The small parts between bytes and predictions: decimals, dates, layouts, company."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.cells import Reading, parse_date, parse_number, parse_numbers
from service.contract import CategoryFeature, DateFeature, NumberFeature
from service.inputs.layout import Layout
from service.inputs.readers import make_readers
from service.instruments.bins import Bins, feature_bins
from service.instruments.registry import Instruments
from service.scoring import artifact
from service.scoring.serving import Served, shortest
from tests.service.artifacts import Root, contract, graph, stump, with_contract

if TYPE_CHECKING:
    from service.encoding import DatePart

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def digits(number: float) -> int:
    return len(repr(number).split("e")[0].replace(".", "").replace("-", "").strip("0"))


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 30), st.integers(1, 3)), elements=FLOATS))
def test_the_fewest_digits_give_the_same_float32_back(values: Any) -> None:
    found = shortest(values)
    np.testing.assert_array_equal(np.array(found, dtype=np.float32), values)
    usual = [[float(str(value)) for value in row] for row in values]
    assert [[digits(number) for number in row] for row in found] == [
        [digits(number) for number in row] for row in usual
    ]


@given(st.datetimes())
def test_dates_become_the_numbers_that_training_saw(moment: datetime) -> None:
    parts: tuple[DatePart, ...] = ("days", "month", "day", "weekday", "hour")
    encoded = date_feature(parts).encode(np.array([moment], dtype="datetime64[us]"))[0]
    (reader,) = make_readers(contract(features=(date_feature(parts),)), Reading())

    np.testing.assert_array_equal(np.array(reader.number(moment.isoformat())[:-1], dtype=np.float32), encoded)
    assert [*encoded[1:].tolist()] == [moment.month, moment.day, moment.weekday(), moment.hour]


@given(st.datetimes())
def test_utc_may_be_said_or_left_out(moment: datetime) -> None:
    said = moment.replace(tzinfo=UTC).isoformat()
    assert parse_date(said) == parse_date(said.replace("+00:00", "Z")) == parse_date(moment.isoformat()) == moment


NUMBERS = st.lists(st.text("0123456789.,eE+- _\u00a0١naif", max_size=6) | st.floats().map(repr), max_size=5)


@given(NUMBERS, st.sampled_from([".", ","]))
def test_numbers_read_together_are_those_read_one_by_one(texts: list[str], decimal: Any) -> None:
    together = parse_numbers(texts, {""}, decimal)
    if together is not None:
        assert [value for value in together if not np.isnan(value)] == [
            parse_number(text, decimal) for text in texts if text
        ]


NAN, INF = float("nan"), float("inf")
EDGES = tuple(float(edge) for edge in range(300))


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 20), st.just(3)),
        elements=st.one_of(st.floats(-5, 305, width=32), st.sampled_from([NAN, *EDGES])),
    )
)
def test_a_number_is_counted_between_the_edges_that_enclose_it(numbers: Any) -> None:
    """However many edges each feature has; one that equals an edge lies below it, a missing one in the last bin."""
    described = contract(
        features=tuple(
            NumberFeature(
                name=f"x{edges}", nullable=True, minimum=0, maximum=1, bin_edges=EDGES[:edges], bin_shares=(0.0,)
            )
            for edges in (0, 4, 300)
        )
    )
    bins = Bins(described, Layout(described))
    names = [name for each in bins.features for name in each.names]
    placed = [[names[place] for place in feature] for feature in bins.places(numbers)]
    for column, edges in enumerate((0, 4, 300)):
        above = [next((edge for edge in (*EDGES[:edges], INF) if value <= edge), None) for value in numbers[:, column]]
        expected = ["missing" if edge is None else "+Inf" if edge == INF else str(np.float32(edge)) for edge in above]
        assert placed[column] == expected


@given(st.lists(st.sampled_from(["a", "b", None, "never seen"]), min_size=1, max_size=9))
def test_a_category_is_counted_by_its_name(values: list[str | None]) -> None:
    feature = CategoryFeature(name="c", nullable=True, categories=("a", "b"), bin_shares=(0.5, 0.5, 0.0))
    described = contract(features=(feature,))
    placed = Bins(described, Layout(described)).places(feature.encode(values))[0]
    assert placed.tolist() == [{"a": 0, "b": 1, None: 2}.get(value, 3) for value in values]


@pytest.mark.parametrize("names", [("no", "yes"), ('say "no"', "back\\slash"), ("", "new\nline"), ("é", "\u2028")])
def test_probabilities_are_written_by_the_names_of_their_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    described = contract(classes=names, positive=names[1])
    root = Root(tmp_path)
    root.write(with_contract(graph([stump()]), described.model_dump_json()))
    served = Served(artifact.load(root.settings()), Instruments(root.settings()))
    rows = served.reader.read_request(b'{"instances":[{"x0":1,"x1":0},{"x0":0,"x1":0}]}', 2)
    answer = json.loads(served.answer(served.score(rows.numbers)))
    assert answer["probabilities"] == [dict(zip(names, row, strict=True)) for row in ((0.3, 0.7), (0.7, 0.3))]


def date_feature(parts: Any) -> DateFeature:
    days = {"minimum": "2020-01-01", "maximum": "2020-12-31", "bin_edges": (), "bin_shares": (1.0, 0.0)}
    return DateFeature(name="when", nullable=False, parts=parts, **days)


@pytest.mark.parametrize(("parts", "strict", "beyond"), [("days", False, 1), ("month", False, 0), ("month", True, 1)])
def test_a_later_day_is_beyond_training_where_the_model_sees_the_day(parts: str, strict: bool, beyond: int) -> None:
    feature = date_feature((parts,)).model_copy(update={"strict": strict})
    layout = Layout(contract(features=(feature,)))
    later = np.array([[3.0, 30_000.0]], dtype=np.float32)
    assert len(layout.find_outside(later)) == beyond


def test_bins_are_named_by_their_upper_edge() -> None:
    feature = NumberFeature(
        name="x", nullable=False, minimum=0, maximum=1, bin_edges=(0.1, 0.5), bin_shares=(0.3, 0.3, 0.4, 0)
    )
    assert feature_bins(feature).names == ("0.1", "0.5", "+Inf", "missing")


def test_edges_that_differ_have_names_that_differ() -> None:
    edges = tuple(float(np.float32(0.1) + np.float32(step) * np.finfo(np.float32).eps) for step in range(5))
    feature = NumberFeature(name="x", nullable=False, minimum=0, maximum=1, bin_edges=edges, bin_shares=(0.1,) * 7)
    assert len(set(feature_bins(feature).names)) == 7
