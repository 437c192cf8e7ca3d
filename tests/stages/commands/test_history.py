"""What was in service on a day."""

from datetime import UTC, datetime, timedelta

import pytest

from stages.commands.history import find_current, period
from stages.errors import UserError

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHANGES = [(START + timedelta(hours=hours), after) for hours, after in ((0, "1"), (24, "2"), (30, "3"), (72, None))]


@pytest.mark.parametrize(
    ("day", "versions"),
    [
        ("2026-02-28", []),
        ("2026-03-01", ["1"]),
        ("2026-03-02", ["1", "2", "3"]),
        ("2026-03-03", ["3"]),
        ("2026-03-02T13:00", ["2"]),
        ("2026-03-02T14:00+02:00", ["2"]),
        ("2026-03-05", []),
    ],
)
def test_a_day_has_everything_that_was_in_service_on_it(day: str, versions: list[str]) -> None:
    assert find_current(CHANGES, *period(day)) == versions


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "", "1.3.2026"])
def test_a_text_that_is_not_a_date_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match="write it like 2026-03-01"):
        period(text)
