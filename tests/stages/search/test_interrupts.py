"""Ctrl-C while a step runs that must not be cut in two."""

import os
import signal

import pytest

from stages.search.interrupts import finishing


def test_ctrl_c_takes_effect_after_the_step() -> None:
    steps = []

    @finishing()
    def step() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        steps.append("ended")

    with pytest.raises(KeyboardInterrupt):
        step()
    assert steps == ["ended"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
