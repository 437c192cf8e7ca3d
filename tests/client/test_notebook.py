"""The example notebook runs against a real service, whatever the table."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.client.conftest import Connect
from tests.service.api.conftest import PASSWORD, TARGETS, make_table

NOTEBOOK = "docs/examples/from_table_to_feedback.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("target", ["binary", "regression"])
def test_the_notebook_goes_from_a_table_to_feedback(
    target: str, connect: Connect, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, switch = connect(target)
    table = make_table()
    table.assign(y=TARGETS[target](table)).to_parquet(tmp_path / "table.parquet")
    for name, value in {
        "SERVICE_URL": f"http://127.0.0.1:{switch.port}",
        "ADMIN_USERNAME": "anna",
        "ADMIN_PASSWORD": PASSWORD,
        "TABLE": str(tmp_path / "table.parquet"),
        "PYTHONPATH": str(root / "client/src"),
        "IPYTHONDIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    book = nbformat.read(root / NOTEBOOK, as_version=4)

    NotebookClient(book, timeout=120, kernel_name="python3").execute()

    outputs = ["".join(map(str, cell.outputs)) for cell in book.cells if cell.cell_type == "code"]
    assert [text for text in outputs if "Stored(" in text] == outputs[-3:-1]
    assert "Stored(new=300, known=0)" in outputs[-3]
    assert "Stored(new=0, known=300)" in outputs[-2]
    assert "row 7" in next(text for text in outputs if "422: " in text)
