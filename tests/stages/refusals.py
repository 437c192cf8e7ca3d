"""What the table reader says of a table that it refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stages.errors import UserError
from stages.params import Params
from stages.table import reader

Make = Callable[..., Params]


def problem(params: Make, path: Path, **data: object) -> str:
    """Return the lines of the error; each names the file and a remedy."""
    with pytest.raises(UserError) as caught:
        reader.read(params(path, data=data).data)
    told = str(caught.value)
    for line in told.split("\n"):
        assert "; " in line or ": is empty" in line
        assert line.startswith(str(path))
    return told
