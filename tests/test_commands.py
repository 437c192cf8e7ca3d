"""Every command prints its help and does nothing else, and refuses an argument that it does not know."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = sorted(
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__main__")
    for package in ("monitoring", "service", "stages")
    for path in (ROOT / package).rglob("*.py")
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, so that a command that went to work would fail or leave a file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(command: str, monkeypatch: pytest.MonkeyPatch, argument: str) -> int:
    """Run `python -m command argument` in this process; return its exit status."""
    monkeypatch.setattr("sys.argv", [command, argument])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(command, run_name="__main__", alter_sys=True)
    return int(str(ended.value.code or 0))


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_printed_and_nothing_else_happens(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    assert start(command, monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: python -m {command}")
    assert "\nExample: " in shown
    assert not list(elsewhere.iterdir())


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_argument_is_an_error(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    assert start(command, monkeypatch, "--nonsense") == 2
    assert "usage: python -m" in capsys.readouterr().err
    assert not list(elsewhere.iterdir())
