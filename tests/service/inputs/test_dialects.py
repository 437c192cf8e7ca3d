"""Whatever spelling a CSV has: sent back to the service, its cells become the numbers that training saw."""

import csv
import io
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from service.contract import Contract
from service.inputs.columns import CsvReader, find_header
from service.inputs.explain import Findings
from service.inputs.layout import Layout
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.table import reader as _tables

ROWS = 60
COLUMNS = ("amount", "count", "flag", "land", "day", "at")
FORMS = {
    "ISO": (None, "%Y-%m-%d"),
    "compact": (None, "%Y%m%d"),
    "German": ("dmY", "%d.%m.%Y"),
    "American, two digits of the year": ("mdy", "%m/%d/%y"),
    "with the month's name": ("dmY", "%d %b %Y"),
    "of strptime": ("%Y/%d/%m", "%Y/%d/%m"),
}


@dataclass(frozen=True)
class Dialect:
    """How a table is written."""

    delimiter: str
    decimal: str
    thousands: str
    missing: str
    form: str
    zone: str
    blanks: str
    end: str
    quoting: int
    sep_line: bool
    row_names: bool
    trailing: bool
    bom: bool


MARKS = {".": ["", ",", "'", " "], ",": ["", ".", "'", "\u00a0", "\u202f"]}
dialects = st.sampled_from(list(MARKS)).flatmap(
    lambda decimal: st.builds(
        Dialect,
        delimiter=st.sampled_from([",", ";", "\t", "|"]),
        decimal=st.just(decimal),
        thousands=st.sampled_from(MARKS[decimal]),
        missing=st.sampled_from(["", "NA", "-", "n/a", "9999-99-99"]),
        form=st.sampled_from(list(FORMS)),
        zone=st.sampled_from(["", "Z", "+02:00", " CET"]),
        blanks=st.sampled_from(["", " "]),
        end=st.sampled_from(["\n", "\r\n"]),
        quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        sep_line=st.booleans(),
        row_names=st.booleans(),
        trailing=st.booleans(),
        bom=st.booleans(),
    )
)


def draw_number(random: Random, dialect: Dialect) -> str:
    text = f"{random.uniform(-20_000, 2_000_000):,.{random.choice([1, 2, 7])}f}"
    spelled = text.replace(",", "t").replace(".", dialect.decimal).replace("t", dialect.thousands)
    return random.choice([spelled] * 4 + [f"1{dialect.decimal}5e3", f"{dialect.decimal}5", f"+7{dialect.decimal}25"])


def draw_row(random: Random, dialect: Dialect) -> list[str]:
    moment = datetime(1990, 1, 1) + timedelta(seconds=random.randrange(10**9))  # noqa: DTZ001  # naive, as tables are
    cells = [
        draw_number(random, dialect),
        str(random.randrange(50)),
        random.choice(["true", "TRUE", "False"]),
        random.choice(["NO", "NA", "Côte d'Ivoire", 'a "b"; c, d|e\tf']),
        moment.strftime(FORMS[dialect.form][1]),
        moment.isoformat() + dialect.zone,
    ]
    return [dialect.missing if random.random() < 0.1 else f"{dialect.blanks}{cell}{dialect.blanks}" for cell in cells]


def write(dialect: Dialect, rows: list[list[str]], target: list[str] | None) -> str:
    """Write rows below their names, with the target or without it."""
    names = [*COLUMNS, *(["y"] if target else [])]
    cells = [[*row, *([target[place]] if target else [])] for place, row in enumerate(rows)]
    table = (
        [["", *names], *([str(place), *row] for place, row in enumerate(cells))]
        if dialect.row_names
        else [names, *cells]
    )
    table = [[*row, ""] for row in table] if dialect.trailing else table
    out = io.StringIO(newline="")
    out.write(f"sep={dialect.delimiter}{dialect.end}" if dialect.sep_line else "")
    csv.writer(out, delimiter=dialect.delimiter, quoting=dialect.quoting, lineterminator=dialect.end).writerows(table)  # type: ignore[arg-type]
    return out.getvalue()


def params_of(root: Path, path: Path, dialect: Dialect) -> Params:
    raw: dict[str, Any] = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text(encoding="utf-8"))
    raw["features"] = {}
    raw["data"] |= {
        "path": str(path),
        "target": "y",
        "positive": None,
        "ignore": [],
        "missing": {"*": [dialect.missing, "NA"], "land": [dialect.missing]},
        "delimiter": dialect.delimiter,
        "decimal": dialect.decimal,
        "dates": {"day": FORMS[dialect.form][0]},
    }
    raw["split"] = {"method": "random", "test_size": 0.3, "time_column": None, "group_column": None}
    return Params.model_validate(raw)


def encode(contract: Contract, text: str) -> Any:
    """Encode a table as the service does."""
    header = find_header(contract, text)
    assert header is not None
    layout = Layout(contract)
    reader = CsvReader(contract, layout, header)
    lines = csv.reader(io.StringIO(text[header.skipped :], newline=""), delimiter=header.delimiter, strict=True)
    rows = list(lines)[1:]
    findings = Findings()
    encoded = reader.read(rows, 0, findings)
    assert encoded is not None, (findings.errors, contract.reading.model_dump_json())
    return layout.matrix(encoded)


@pytest.mark.parametrize("plain", [False, True], ids=["as it was", "as programs write it"])
@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(dialect=dialects, seed=st.integers(0, 2**32))
def test_the_training_file_becomes_the_numbers_that_training_saw(
    root: Path, tmp_path: Path, plain: bool, dialect: Dialect, seed: int
) -> None:
    # Where training had decimal commas between commas, nothing tells a plain table; it is read as training's.
    assume(not plain or dialect.delimiter != "," or dialect.decimal == ".")
    random = Random(seed)
    rows = [draw_row(random, dialect) for _ in range(ROWS)]
    path = tmp_path / "table.csv"
    text = write(dialect, rows, [random.choice("ab") for _ in rows])
    path.write_bytes((b"\xef\xbb\xbf" if dialect.bom else b"") + text.encode())
    params = params_of(root, path, dialect)

    table, reading = _tables.read_table(params.data)
    train, test, schema = prepare.prepare(table, params, reading)
    contract = schema.contract
    expected = contract.encode(table)

    if plain:
        out = io.StringIO()
        table[[*COLUMNS]].to_csv(out, index=False)
        assert_same(encode(contract, out.getvalue()), expected)
    else:
        assert_same(encode(contract, write(dialect, rows, None)), expected)
        prepared = np.vstack([contract.encode(train), contract.encode(test)])
        assert sorted(map(bytes, prepared)) == sorted(map(bytes, expected))


def assert_same(encoded: Any, expected: Any) -> None:
    assert encoded.shape == expected.shape
    np.testing.assert_array_equal(encoded, expected)
