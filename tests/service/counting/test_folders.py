"""No run of the service leaves a folder behind, not even a killed one."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from service.counting.folders import Folder

_MAKE = "import sys; from service.counting.folders import Folder; print(Folder().path, flush=True); sys.stdin.read()"
_LONG_AGO = time.time() - 3600


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def _age(folder: Path) -> None:
    os.utime(folder, (_LONG_AGO, _LONG_AGO))


def test_a_folder_goes_with_all_it_holds(temporary: Path) -> None:
    folder = Folder()
    (folder.path / "0.counters").touch()
    folder.remove()
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("killed", [True, False])
def test_the_next_start_removes_the_folder_of_a_dead_process_and_no_living_one_s(killed: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _MAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        other = Path(process.stdout.readline().strip())
        if killed:
            process.send_signal(signal.SIGKILL)
            process.wait()
        _age(other)

        Folder().remove()

        assert other.exists() is not killed
        process.kill()


def test_a_folder_that_was_just_made_is_left_alone(temporary: Path) -> None:
    begun = temporary / "service-metrics-begun"
    begun.mkdir()
    Folder().remove()
    assert begun.exists()


def test_a_link_in_place_of_a_folder_is_not_followed(temporary: Path) -> None:
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (temporary / "service-metrics-link").symlink_to(elsewhere)
    _age(elsewhere)
    os.utime(temporary / "service-metrics-link", (_LONG_AGO, _LONG_AGO), follow_symlinks=False)
    Folder().remove()
    assert (elsewhere / "kept").exists()
