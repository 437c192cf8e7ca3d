"""Write a file and read it as a table with the target `y`, or get the lines of its refusal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.errors import UserError
from stages.params.params import Params
from stages.table import reader

Make = Callable[..., Params]
Read = Callable[..., pd.DataFrame]
Refuse = Callable[..., str]


@pytest.fixture
def read(tmp_path: Path, params: Make) -> Read:
    """Return a function that writes a file, unless its content is None, and reads it."""

    def write_and_read(content: str | bytes | None, name: str = "t.csv", **data: Any) -> pd.DataFrame:
        if content is not None:
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return reader.read_table(params(tmp_path / name, data=data).data)[0]

    return write_and_read


@pytest.fixture
def refuse(read: Read, tmp_path: Path) -> Refuse:
    """Return a function that gives the lines of the error; each names the file and a remedy."""

    def refused(content: str | bytes | None, name: str = "t.csv", **data: Any) -> str:
        with pytest.raises(UserError) as caught:
            read(content, name, **data)
        lines = str(caught.value)
        for line in lines.split("\n"):
            assert line.startswith(f"{tmp_path / name}")
            assert "; " in line or ": set " in line
        return lines

    return refused
