"""Each function and operator gives what pandas gives on the same rows, missing values included."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.stages.features.conftest import Fitted, as_float32

DAY = pd.Timedelta(days=1)
# Expressions, and the same in pandas; `f` are the rows, with numbers as float64.
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "u + v": lambda f: f.u + f.v,
    "u - v * 2": lambda f: f.u - f.v * 2,
    "u / v": lambda f: f.u / f.v,
    "-u // v": lambda f: -f.u // f.v,
    "u % v": lambda f: f.u % f.v,
    "v ** 2 - +u": lambda f: f.v**2 - f.u,
    "u * 1e38": lambda f: f.u * 1e38,
    "1 / 3 * u": lambda f: 1 / 3 * f.u,
    "abs(u)": lambda f: f.u.abs(),
    "sqrt(u)": lambda f: np.sqrt(f.u),
    "log(u)": lambda f: np.log(f.u),
    "exp(v)": lambda f: np.exp(f.v),
    "log1p(abs(u))": lambda f: np.log1p(f.u.abs()),
    "log1p(tiny)": lambda f: np.log1p(f.tiny),
    "floor(u) + ceil(v)": lambda f: np.floor(f.u) + np.ceil(f.v),
    "round(v)": lambda f: f.v.round(),
    "round(u, 2)": lambda f: f.u.round(2),
    "round(u, -1)": lambda f: f.u.round(-1),
    "minimum(u, v, 1)": lambda f: np.minimum(np.minimum(f.u, f.v), 1),
    "maximum(u, v)": lambda f: np.maximum(f.u, f.v),
    "clip(u, -1, 2.5)": lambda f: f.u.clip(-1, 2.5),
    "sin(u)": lambda f: np.sin(f.u),
    "cos(u, 7)": lambda f: np.cos(2 * np.pi * f.u / 7),
    "where(u > v, u, 0)": lambda f: f.u.where(f.u > f.v, 0),
    "where(flag, 1, v)": lambda f: pd.Series(1.0, f.index).where(f.flag.fillna(False), f.v),
    "sure + sure": lambda f: f.sure.astype(float) * 2,
}
BOOLEANS: dict[str, Callable[[Any], Any]] = {
    "u > v": lambda f: f.u > f.v,
    "-1 <= v < 1.5": lambda f: (f.v >= -1) & (f.v < 1.5),
    "v == 0.5": lambda f: f.v == 0.5,
    "v != 0.5": lambda f: f.v != 0.5,
    "v in [0.5, -1, 2]": lambda f: f.v.isin([0.5, -1, 2]),
    "v not in (0.5,)": lambda f: ~f.v.isin([0.5]),
    "not u > 0 and v > 0 or sure": lambda f: ~(f.u > 0) & (f.v > 0) | f.sure,
    "flag": lambda f: f.flag,
    "not flag": lambda f: ~f.flag,
    "flag and u > 0": lambda f: f.flag & (f.u > 0),
    "u > 0 or flag or v > 1": lambda f: (f.u > 0) | f.flag | (f.v > 1),
    "flag == sure": lambda f: f.flag.astype("Float64").fillna(2) == f.sure.astype(float),
    "missing(u) or missing(flag)": lambda f: f.u.isna() | f.flag.isna(),
    "missing(u + v)": lambda f: (f.u + f.v).isna(),
}
TEXTS: dict[str, Callable[[Any], Any]] = {
    "column('class') == 'é'": lambda f: f["class"] == "é",
    "'é' != column('class')": lambda f: f["class"] != "é",
    "other in ['é', 'zz']": lambda f: f.other.isin(["é", "zz"]),
    "other not in {'é', 'unknown'}": lambda f: ~f.other.isin(["é"]),
    "other == 'unknown'": lambda f: f.other == "unknown",
    "column('class') == other": lambda f: f["class"] == f.other,
    "column('class') != other": lambda f: f["class"] != f.other,
    "missing(other)": lambda f: f.other.isna(),
}
DATES: dict[str, Callable[[Any], Any]] = {
    "hour(when)": lambda f: f.when.dt.hour,
    "weekday(when)": lambda f: f.when.dt.day_of_week,
    "day(sent)": lambda f: f.sent.dt.day,
    "month(when) in [12, 1, 2]": lambda f: f.when.dt.month.isin([12, 1, 2]),
    "dayofyear(when)": lambda f: f.when.dt.day_of_year,
    "days_between(sent, when)": lambda f: (f.when - f.sent) / DAY,
    "days_between('2000-01-01', when)": lambda f: (f.when - pd.Timestamp("2000-01-01")) / DAY,
    "sent < when": lambda f: f.sent < f.when,
    "when >= '2000-06-01 12:00'": lambda f: f.when >= pd.Timestamp("2000-06-01 12:00"),
    "when == when": lambda f: f.when == f.when,
    "missing(when)": lambda f: f.when.isna(),
}
CASES = {"numbers": NUMBERS, "booleans": BOOLEANS, "texts": TEXTS, "dates": DATES}


@pytest.mark.parametrize("group", CASES)
def test_a_feature_is_what_pandas_gives(fit: Callable[..., Fitted], group: str) -> None:
    fitted = fit({f"feature {number}": text for number, text in enumerate(CASES[group])})
    rows = pd.concat([fitted.train, fitted.test], ignore_index=True)
    found = fitted.derived(rows)
    plain = rows.assign(
        flag=rows["flag"].astype("boolean"), sure=rows["sure"] == 1, **rows[["u", "v", "tiny"]].astype("float64")
    )

    with np.errstate(all="ignore"):
        wrong = [
            text
            for name, (text, function) in zip(found, CASES[group].items(), strict=True)
            if not np.array_equal(found[name].to_numpy(), as_float32(function(plain)), equal_nan=True)
        ]

    assert wrong == []


def test_a_feature_may_use_those_above_it(fit: Callable[..., Fitted]) -> None:
    fitted = fit({"speed": "u / 2", "is fast": "speed > 1", "both": 'speed * column("is fast")'})

    found = fitted.derived(fitted.test)

    fast = fitted.test["u"].to_numpy() / 2 > 1
    np.testing.assert_array_equal(found["is fast"], fast)
    np.testing.assert_array_equal(found["both"], fitted.test["u"].to_numpy() / 2 * fast)


def test_features_may_build_on_each_other_fifty_times(fit: Callable[..., Fitted]) -> None:
    sums = {f"sum {n}": f'column("sum {n - 1}") + column("sum {n - 1}") / 3' for n in range(1, 50)}
    signs = {f"sign {n}": "-" * 90 + f'column("sign {n - 1}")' for n in range(1, 50)}

    found = fit({"sum 0": "v", "sign 0": "v"} | sums | signs | {"last": 'column("sign 49") / 3 + v'}, model="dummy")

    derived, v = found.derived(found.test), found.test["v"]
    np.testing.assert_allclose(derived["sum 49"], v * (4 / 3) ** 49, rtol=1e-6)
    np.testing.assert_array_equal(derived["last"], as_float32(v / 3 + v))


def test_dates_of_all_years_differ_to_the_microsecond(fit: Callable[..., Fitted], columns: pd.DataFrame) -> None:
    fitted = fit({"span": "days_between(sent, when)"}, columns)
    first = np.array(["0001-01-01", "1969-12-31T23:59:59.999999", "9999-12-31T23:59:59.999998"], dtype="datetime64[us]")
    rows = fitted.test.head(3).assign(sent=first, when=first + np.timedelta64(1, "us"))

    assert fitted.derived(rows)["span"].tolist() == [float(np.float32(1e-6 / 86_400))] * 3


def test_waves_cross_zero_alike_in_single_rows_and_many(fit: Callable[..., Fitted]) -> None:
    found = fit({"sine": "sin(hour(when), 24)", "cosine": "cos(hour(when), 24)", "up": "sin(hour(when), 24) > 0"})

    together = found.derived(found.train)
    alone = pd.concat([found.derived(found.train[row : row + 1]) for row in range(len(found.train))])

    np.testing.assert_array_equal(alone, together)
