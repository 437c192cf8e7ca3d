"""Long work shows how far it is: a bar on a terminal, plain lines elsewhere."""

import logging
import os
import pty
import subprocess
import sys
import termios
import time

import pytest

from stages.progress import describe_duration, timed, track

_WORK = """
import logging, time
from stages.entry import log
from stages.progress import timed, track
logging.basicConfig(format="%(message)s")
logging.getLogger("stages").setLevel(logging.INFO)
with timed("predicting"):
    for fold in track(range(4), 4, "fold"):
        time.sleep(0.11)
        log(f"fold {fold}")
"""


def test_a_long_fit_gives_signs_of_life(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stages")

    with timed("fitting", every=0.01):
        while len(caplog.messages) < 2:
            time.sleep(0.01)

    assert caplog.messages[1] == "fitting: 0 s"


def test_without_a_terminal_a_line_says_how_much_is_done_and_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stages")

    with timed("scoring", every=0.01):
        for _ in track(range(4), 40_000, "row", 10_000):
            lines = len(caplog.messages)
            while len(caplog.messages) == lines:
                time.sleep(0.01)

    assert any(line.startswith("scoring: 50%, 20,000 rows, ") and line.endswith(" left") for line in caplog.messages)


def test_a_terminal_shows_a_bar_below_the_lines() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (30, 90))
    subprocess.run(
        [sys.executable, "-c", _WORK],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        check=True,
    )
    shown = os.read(ours, 1 << 16).decode()

    assert "predicting:  50% " in shown
    assert "2 folds, 0.1" in shown
    assert "s a fold, 0 s left" in shown
    assert "\rfold 3\r\n" in shown
    assert shown.replace("\r\n", "\r").rstrip("\r").rpartition("\r")[2].startswith("predicting: done in ")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (7_380, "2 h 3 min")]
)
def test_durations_are_in_the_units_people_use(seconds: float, text: str) -> None:
    assert describe_duration(seconds) == text
