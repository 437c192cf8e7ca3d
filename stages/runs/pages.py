"""What people see in MLflow's pages: views, names and descriptions in words."""

import json
from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING

from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from service.release import ModelRecord
from stages.scores.gate import main_metric

if TYPE_CHECKING:
    from stages.runs.registry import Move

HISTORY = "## History"
"""The heading in a registered model's description below which `with_history` writes."""
_VIEW = "pipeline"
_KIND_TAG, _KIND = "mlflow.experimentKind", "custom_model_development"
_LONGEST_DESCRIPTION = 5_000
"""Characters that the database allows for a description of a model or version."""


def runs_path(experiment_id: str) -> str:
    """Return the address of an experiment's runs below the server's.

    MLflow's home and its page of an experiment are about language models, unless the address asks for runs of models.
    """
    return f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={_VIEW}"


def model_path(name: str) -> str:
    """Return the address of a registered model below the server's."""
    return f"/#/models/{name}?workflowType=machine_learning"


def describe_experiment(experiment_id: str, record: ModelRecord, task: str) -> None:
    """Describe the experiment, and save a view with the columns that people compare, the best run first."""
    client, main = MlflowClient(), main_metric(task)
    columns = [f"metrics.`{name}`" for name in (f"cv_{main}", main, f"{main}_low", f"{main}_high")]
    columns += [f"params.`{name}`" for name in ("n_estimators", "learning_rate", "max_depth")]
    view = {"selectedColumns": ["attributes.`Created`", *columns], "orderByKey": columns[0], "orderByAsc": False}
    note = (
        f"Each run fits and tests a model that predicts {_target_of(record)}. Compare runs by `cv_{main}`, which "
        "uses only training rows. A run's description is its model card, and its artifact `report.html` is its report."
    )
    tags = {_KIND_TAG: _KIND, f"mlflow.sharedViewState.{_VIEW}": json.dumps(view), MLFLOW_RUN_NOTE: note}
    for key, value in tags.items():
        client.set_experiment_tag(experiment_id, key, value)


def describe_model(record: ModelRecord) -> str:
    """Return the description of a registered model."""
    return (
        f"Predicts {_target_of(record)}. The version with the alias `champion` is in service; `make promote` and "
        "`make rollback` move it. Each version links to its run, which has the report and the model card."
    )


def describe_version(record: ModelRecord, verdict: str) -> str:
    """Return the description of a version: what it is, where it comes from, and how it was judged."""
    rows = f"{record.training_rows:,} rows of " if record.training_rows else ""
    changes = " with uncommitted changes" if record.dirty else ""
    commit = f" at commit {record.revision[:7]}{changes}" if record.revision else ""
    table = _table_of(record).strip("`")  # the list of versions shows Markdown as it is
    return f"{record.params.get('model')} trained on {rows}{table}{commit}. Test rows: {verdict}."


def _table_of(record: ModelRecord) -> str:
    return f"`{PurePath(str(record.params['data']['path'])).name}`"


def _target_of(record: ModelRecord) -> str:
    return f"`{record.params['data']['target']}` of {_table_of(record)}"


def with_history(description: str, moves: Iterable["Move"]) -> str:
    """Return the description with the releases, newest first, below `HISTORY`; text above it stays."""
    above = description.partition(HISTORY)[0].rstrip()
    text = f"{above}\n\n{HISTORY}\n".lstrip()
    for move in sorted(moves, key=lambda move: move.when, reverse=True):
        line = f"\n- {move.when:%Y-%m-%d %H:%M} UTC: {_in_words(move)}: {' '.join(move.why.split())}"
        if len(text) + len(line) > _LONGEST_DESCRIPTION:
            break
        text += line
    return text


def _in_words(move: "Move") -> str:
    if move.after is None:
        return f"version {move.before} is no longer in service; the registry does not have the model that is"
    return f"version {move.after} in service" + (f" instead of version {move.before}" if move.before else "")
