"""The small parts between bytes and predictions: decimals, dates, layouts, company."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bins import feature_bins
from service.cells import Reading, parse_number, parse_numbers
from service.contract import DateFeature, NumberFeature
from service.inputs.layout import Layout
from service.inputs.readers import Reader
from tests.service.artifacts import contract

if TYPE_CHECKING:
    from service.encoding import DatePart


@given(st.datetimes())
def test_dates_become_the_numbers_that_training_saw(moment: datetime) -> None:
    parts: tuple[DatePart, ...] = ("days", "month", "day", "weekday", "hour")
    encoded = date_feature(parts).encode(np.array([moment], dtype="datetime64[us]"))[0]
    reader = Reader(date_feature(parts), Reading())

    np.testing.assert_array_equal(np.array(reader.encode_text(moment.isoformat())[:-1], dtype=np.float32), encoded)
    assert [*encoded[1:].tolist()] == [moment.month, moment.day, moment.weekday(), moment.hour]


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


def date_feature(parts: Any) -> DateFeature:
    days = {"minimum": "2020-01-01", "maximum": "2020-12-31", "bin_edges": (), "bin_shares": (1.0, 0.0)}
    return DateFeature(name="when", nullable=False, parts=parts, **days)


@pytest.mark.parametrize(("parts", "strict", "beyond"), [("days", False, 1), ("month", False, 0), ("month", True, 1)])
def test_a_later_day_is_beyond_training_where_the_model_sees_the_day(parts: str, strict: bool, beyond: int) -> None:
    feature = date_feature((parts,)).model_copy(update={"strict": strict})
    layout = Layout(contract(features=(feature,)))
    later = np.array([[3.0, 30_000.0]], dtype=np.float32)
    assert len(layout.find_outside(later)) == beyond


def test_edges_that_differ_have_names_that_differ() -> None:
    edges = tuple(float(np.float32(0.1) + np.float32(step) * np.finfo(np.float32).eps) for step in range(5))
    feature = NumberFeature(name="x", nullable=False, minimum=0, maximum=1, bin_edges=edges, bin_shares=(0.1,) * 7)
    assert len(set(feature_bins(feature).names)) == 7
