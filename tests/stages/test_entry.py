"""What every command does before it starts its work."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["train", "export"])
def test_a_thread_that_waits_leaves_its_core_to_others_unless_the_user_wants_otherwise(root: Path, stage: str) -> None:
    command = [sys.executable, "-m", f"stages.{stage}", "--help"]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for policy, expected in (({}, {"0"}), ({"OMP_WAIT_POLICY": "ACTIVE"}, {"30000000000"})):
        shown = environment | {"OMP_DISPLAY_ENV": "VERBOSE"} | policy
        done = subprocess.run(command, cwd=root, env=shown, capture_output=True, text=True, check=True)

        assert {*re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)} == expected
