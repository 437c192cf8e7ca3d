"""The folder client/ is a package of its own."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from reproducible_ml_client import Client

PROGRAM = """
import sys
from importlib.metadata import requires
from pathlib import Path

import reproducible_ml_client
from reproducible_ml_client import Client

folder = Path(reproducible_ml_client.__file__).parent
assert folder.is_relative_to(sys.prefix), folder
assert (folder / "py.typed").is_file()
assert requires("reproducible-ml-client") == ["httpx>=0.27", "pandas>=2.2"]
with Client(sys.argv[1], api_key="none") as client:
    print(client.model_info().name)
assert not {"service", "stages"} & {*sys.modules}
"""


@pytest.mark.slow
def test_pip_installs_the_folder_and_a_program_elsewhere_uses_it(client: Client, root: Path, tmp_path: Path) -> None:
    source, environment, here = tmp_path / "client", tmp_path / "venv", Path(sysconfig.get_path("purelib"))
    shutil.copytree(root / "client", source, ignore=shutil.ignore_patterns("*.egg-info", "build", "__pycache__"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    # The network is closed, so pip, setuptools, httpx and pandas come from the environment of the tests.
    (environment / here.relative_to(sys.prefix) / "lent.pth").write_text(str(here), encoding="utf-8")
    python = environment / "bin/python"
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation", source]

    subprocess.run(pip, check=True, cwd=tmp_path)
    command: list[str | Path] = [python, "-c", PROGRAM, client.url]
    done = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)

    assert done.stdout.strip() == client.model_info().name
