"""Who was champion on a day."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import UserError
from stages.runs import history
from stages.runs.history import Move

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def move(hours: float, after: str | None, alias: str = "champion", before: str | None = None) -> Move:
    return Move(when=START + timedelta(hours=hours), alias=alias, before=before, after=after, why="better")


MOVES = [move(0, "1"), move(24, "1", "previous"), move(24, "2"), move(30, "3"), move(72, None)]


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
def test_a_day_has_the_champions_that_stood_on_it(day: str, versions: list[str]) -> None:
    assert history.champions(MOVES, *history.period(day)) == versions


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "", "1.3.2026"])
def test_what_is_no_date_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match="write it like 2026-03-01"):
        history.period(text)


@given(st.lists(st.tuples(st.integers(0, 100), st.sampled_from(["1", "2", None])), max_size=8))
def test_the_last_champion_is_the_one_at_the_end_of_all_days(steps: list[tuple[int, str | None]]) -> None:
    moves = [move(hours, after) for hours, after in sorted(steps, key=lambda step: step[0])]
    moment = START + timedelta(days=30)

    found = history.champions(moves, moment, moment + timedelta(days=1))

    assert found == ([history.holder(moves)] if history.holder(moves) else [])


class Tags(dict[str, str]):
    """Stands where `MlflowClient` does: keeps a registered model's tags."""

    def set_registered_model_tag(self, _: str, key: str, value: str) -> None:
        self[key] = value


def test_moves_come_back_as_they_were_kept_the_oldest_first() -> None:
    tags = Tags({"owner": "someone", "alias.moved.by.others": "not ours"})
    for each in reversed(MOVES):
        history.append(tags, "flights", each)  # type: ignore[arg-type]  # the one method that is called

    assert sorted(history.read(tags), key=lambda each: (each.when, each.alias)) == sorted(
        MOVES, key=lambda each: (each.when, each.alias)
    )
    assert [each.when for each in history.read(tags)] == sorted(each.when for each in MOVES)


def test_a_long_reason_still_fits_into_a_tag() -> None:
    tags = Tags()
    history.append(tags, "flights", MOVES[0].model_copy(update={"why": "é" * 9_000}))  # type: ignore[arg-type]

    assert max(map(len, tags.values())) < 5_000
