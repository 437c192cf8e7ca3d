"""Versions and aliases of the model registry."""

import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import service.model
from stages import _files, _history, _tracking
from stages._errors import NotComparableError, UserError
from stages._history import Move

ARTIFACT = "onnx/model.onnx"
"""Where a run keeps the file that production runs: a champion is scored without unpickling anything."""
REFUSED = "refused"
TRAINING_ROWS = "training.rows"
"""Tag of a version."""
_LONGEST = 4_000


@dataclass(frozen=True, slots=True)
class Registry:
    """One registered model."""

    client: MlflowClient
    name: str

    def holder(self, alias: str) -> ModelVersion | None:
        """The version that has the alias, if one has."""
        try:
            found: ModelVersion = self.client.get_model_version_by_alias(self.name, alias)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        return found

    def version_of(self, model_md5: str, onnx_md5: str, run_id: str) -> ModelVersion:
        """The version of the model with this MD5; made of the run's model if there is none."""
        known = self.client.search_registered_models(filter_string=f"name = '{self.name}'")
        if not known:
            self.client.create_registered_model(self.name)
        same = self.client.search_model_versions(
            f"name = '{self.name}' and tags.`{_tracking.MODEL_MD5}` = '{model_md5}'"
        )
        if same:
            return min(same, key=lambda version: int(version.version))
        tags = {_tracking.MODEL_MD5: model_md5, _tracking.ONNX_MD5: onnx_md5}
        outputs = self.client.get_run(run_id).outputs
        if outputs is None or not outputs.model_outputs:
            raise UserError(f"MLflow run {run_id} has no model any more; delete the run, then `dvc repro -f register`")
        model_id = outputs.model_outputs[0].model_id
        return self.client.create_model_version(
            self.name, f"models:/{model_id}", run_id=run_id, tags=tags, model_id=model_id
        )

    def mark(self, version: ModelVersion, refusal: str, why: str, tags: dict[str, str]) -> None:
        """Say on the version what was decided and why, in place of what an earlier decision said."""
        wanted = tags | {"decision": REFUSED if refusal else "champion", "reason": refusal or why}
        wanted |= {REFUSED: refusal} if refusal else {}
        for key in version.tags:
            if key not in wanted and (key == REFUSED or key.startswith("champion.")):
                self.client.delete_model_version_tag(self.name, version.version, key)
        for key, value in wanted.items():
            self.client.set_model_version_tag(self.name, version.version, key, value[:_LONGEST])

    def tell_rows(self, version: ModelVersion, rows: int) -> None:
        """Say on the version how many rows it was trained on."""
        self.client.set_model_version_tag(self.name, version.version, TRAINING_ROWS, str(rows))

    def load(self, version: ModelVersion) -> service.model.Model:
        """The ONNX model of a version.

        Raises NotComparableError if it is gone, is not what was registered, or cannot be loaded.
        """
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = Path(self.client.download_artifacts(str(version.run_id), ARTIFACT, folder))
            except (MlflowException, OSError) as error:
                raise NotComparableError(f"its ONNX file cannot be had: {error}") from None
            if _files.md5(path) != version.tags.get(_tracking.ONNX_MD5):
                raise NotComparableError("its ONNX file is not the one that was registered (MD5)")
            try:
                return service.model.load(path)
            except (service.model.ArtifactError, KeyError, ValueError) as error:
                raise NotComparableError(f"its ONNX file cannot be loaded: {error}") from None

    def crown(self, version: ModelVersion, former: ModelVersion | None, why: str, now: datetime) -> None:
        """Make a version champion, the former one previous, and keep both moves.

        `previous` moves first: killed in between, the next attempt does all of it again.
        """
        if former:
            self._move("previous", former.version, f"version {version.version} became champion", now)
        self._move("champion", version.version, why, now)

    def _move(self, alias: str, to: str, why: str, now: datetime) -> None:
        held = self.holder(alias)
        before = str(held.version) if held else None
        self.client.set_registered_model_alias(self.name, alias, to)
        _history.append(self.client, self.name, Move(when=now, alias=alias, before=before, after=str(to), why=why))

    def notice(self, now: datetime) -> None:
        """Keep moves that were made by others, in MLflow's pages or by its API, since the last one known."""
        moves = _history.read(dict(self.client.get_registered_model(self.name).tags))
        for alias in ("champion", "previous"):
            held = self.holder(alias)
            after = str(held.version) if held else None
            before = _history.holder(moves, alias)
            if before != after:
                why = "moved by hand or by another program, noticed at this time"
                move = Move(when=now, alias=alias, before=before, after=after, why=why)
                _history.append(self.client, self.name, move)
