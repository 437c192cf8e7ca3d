"""Ctrl-C while a step runs that must not be cut in two."""

import contextlib
import os
import signal
from typing import Any

import pytest

from stages.search.interrupts import finishing


@pytest.mark.parametrize(
    ("handler", "raised"),
    [
        (signal.default_int_handler, pytest.raises(KeyboardInterrupt)),
        (signal.SIG_IGN, contextlib.nullcontext()),  # as in a background job of a script
    ],
)
def test_ctrl_c_takes_effect_after_the_step(handler: Any, raised: Any) -> None:
    steps = []

    @finishing()
    def step() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        steps.append("ended")

    before = signal.signal(signal.SIGINT, handler)
    try:
        with raised:
            step()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps == ["ended"]
