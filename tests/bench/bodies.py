"""Rows of a table as request bodies, and the wrk script that sends them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pandas as pd

from service.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Callable

BODIES = 500
_LUA = """
local bodies, token = {}, "%s"
for line in io.lines("%s") do bodies[#bodies + 1] = line end
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
if token ~= "" then wrk.headers["Authorization"] = "Bearer " .. token end
local at, prepared = 0, {}
function init()
  for number, body in ipairs(bodies) do prepared[number] = wrk.format("POST", "/predict", nil, body) end
end
function request() at = at %% #prepared + 1 return prepared[at] end
"""


def make_rows(contract: Contract, path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    return table[[feature.name for feature in contract.features]].sample(BODIES * 100, random_state=0, replace=True)


def make_records(contract: Contract, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as a caller would write them."""
    columns = {feature.name: _values(feature.type, rows[feature.name]) for feature in contract.features}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _values(kind: str, column: "pd.Series[Any]") -> list[Any]:
    convert: dict[str, Callable[[Any], Any]] = {
        "number": lambda value: float(str(np.float32(value))),
        "boolean": bool,
        "category": str,
        "date": lambda value: pd.Timestamp(value).isoformat(),
    }
    return [None if pd.isna(value) else convert[kind](value) for value in column]


def write_script(folder: Path, size: int, records: list[dict[str, Any]], token: str, name: str = "rows") -> Path:
    bodies = [orjson.dumps({"instances": records[at * size : (at + 1) * size]}) for at in range(BODIES)]
    lines = folder / f"{name}-{size}.txt"
    lines.write_bytes(b"\n".join(bodies))
    script = lines.with_suffix(".lua")
    script.write_text(_LUA % (token, lines))
    return script
