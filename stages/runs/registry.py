"""Versions and aliases of the model registry."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from service.release import Registry as RegistryEntry
from stages.errors import UserError
from stages.runs import history, tracking
from stages.runs.history import Move

ONNX_FILE = "onnx/model.onnx"
"""Where a run keeps the file that production runs."""
FACTS_FILE = "facts.json"
"""Where a run keeps what a release of its model says about it."""
SCHEMA_FILE = "schema.json"
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
            f"name = '{self.name}' and tags.`{tracking.MODEL_MD5}` = '{model_md5}'"
        )
        if same:
            return min(same, key=lambda version: int(version.version))
        tags = {tracking.MODEL_MD5: model_md5, tracking.ONNX_MD5: onnx_md5}
        outputs = self.client.get_run(run_id).outputs
        if outputs is None or not outputs.model_outputs:
            raise UserError(f"MLflow run {run_id} has no model any more; delete the run, then `dvc repro -f register`")
        model_id = outputs.model_outputs[0].model_id
        return self.client.create_model_version(
            self.name, f"models:/{model_id}", run_id=run_id, tags=tags, model_id=model_id
        )

    def mark(self, version: ModelVersion, tags: dict[str, str]) -> None:
        """Set tags on a version; a long value is cut."""
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, version.version, key, value[:_LONGEST])

    def find(self, onnx_md5: str) -> ModelVersion | None:
        """Return the newest version of the model with this ONNX file, if there is one."""
        same = self.client.search_model_versions(f"name = '{self.name}' and tags.`{tracking.ONNX_MD5}` = '{onnx_md5}'")
        return max(same, key=lambda version: int(version.version), default=None)

    def version(self, number: int) -> ModelVersion:
        """Return a version by its number. Raises UserError if there is none."""
        try:
            return self.client.get_model_version(self.name, str(number))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            known = sorted(int(each.version) for each in self.client.search_model_versions(f"name = '{self.name}'"))
            there = f"there are {', '.join(map(str, known))}" if known else "there are none"
            raise UserError(f"{self.name} has no version {number}; {there}") from None

    def describe(self, version: ModelVersion) -> RegistryEntry:
        """Return what release.json says of a version."""
        registered = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
        return RegistryEntry(version=int(version.version), run_id=str(version.run_id), registered_at=registered)

    def read_artifact(self, version: ModelVersion, path: str, folder: Path) -> Path | None:
        """Download a file of a version's run into `folder`; None if the run has none."""
        try:
            return Path(self.client.download_artifacts(str(version.run_id), path, str(folder)))
        except (MlflowException, OSError):
            return None

    def move(self, alias: str, to: str | None, why: str, now: datetime) -> None:
        """Move an alias, or delete it where `to` is None, and keep the move."""
        held = self.holder(alias)
        before = str(held.version) if held else None
        if to is None:
            self.client.delete_registered_model_alias(self.name, alias)
        else:
            self.client.set_registered_model_alias(self.name, alias, to)
        self.keep(Move(when=now, alias=alias, before=before, after=to, why=why))

    def keep(self, move: Move) -> None:
        """Keep a move in the history."""
        history.append(self.client, self.name, move)

    def moves(self) -> list[Move]:
        """Return all moves of aliases that are known, oldest first."""
        found = self.client.search_registered_models(filter_string=f"name = '{self.name}'")
        return history.read(dict(found[0].tags)) if found else []
