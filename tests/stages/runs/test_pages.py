"""What people read about a registered model in MLflow."""

from datetime import UTC, datetime, timedelta

from stages.runs import pages
from stages.runs.registry import Move

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def moves(count: int, why: str = "better") -> list[Move]:
    return [
        Move(
            when=START + timedelta(days=number),
            alias="champion",
            before=str(number) if number else None,
            after=str(number + 1),
            why=why,
        )
        for number in range(count)
    ]


def test_the_history_is_words_with_the_newest_release_first() -> None:
    text = pages.with_history("Predicts prices.", moves(2, "callers\ncomplain"))

    assert text.splitlines() == [
        "Predicts prices.",
        "",
        "## History",
        "",
        "- 2026-03-02 12:00 UTC: version 2 in service instead of version 1: callers complain",
        "- 2026-03-01 12:00 UTC: version 1 in service: callers complain",
    ]


def test_the_history_is_replaced_and_the_text_above_it_stays() -> None:
    before = pages.with_history("My own words.", moves(1))

    assert pages.with_history(before, moves(3)).count("My own words.") == 1
    assert pages.with_history(before, moves(3)).count(pages.HISTORY) == 1


def test_the_oldest_releases_are_left_out_where_the_database_ends() -> None:
    text = pages.with_history("Predicts prices.", moves(200, "x" * 100))

    assert 4_800 < len(text) <= 5_000
    assert "version 200 in service" in text


def test_a_model_in_service_that_the_registry_lacks_is_said() -> None:
    (gone,) = moves(1)

    text = pages.with_history("", [gone.model_copy(update={"before": "4", "after": None})])

    assert "version 4 is no longer in service" in text
