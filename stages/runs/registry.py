"""Versions and aliases of a registered model in MLflow, and the history of its aliases."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from pydantic import BaseModel, ConfigDict, ValidationError

from service.release import Registry as RegistryEntry
from stages.errors import UserError
from stages.runs import pages, tracking

ONNX_FILE = "onnx/model.onnx"
"""Artifact of a run: the file that production runs."""
RECORD_FILE = "facts.json"
"""Artifact of a run: the model's `RunRecord`, from which a release is made."""
SCHEMA_FILE = "schema.json"
SLICES_FILE = "slices.csv"
TRAINING_ROWS = "training.rows"
"""Tag of a version: its number of training rows."""
_LONGEST_TAG = 4_000
_MOVE_TAG = "alias.moved."
_LONGEST_REASON = 1_000
"""Characters; MLflow allows 5,000 in a tag of a registered model."""


class Move(BaseModel):
    """A move of an alias from the version `before` to `after`; None means no version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: datetime
    alias: str
    before: str | None
    after: str | None
    why: str


def last_holder(moves: Iterable[Move], alias: str) -> str | None:
    """Return the version that has the alias after these moves, which are sorted from old to new."""
    after = [move.after for move in moves if move.alias == alias]
    return after[-1] if after else None


@dataclass(frozen=True, slots=True)
class Registry:
    """One registered model."""

    client: MlflowClient
    name: str

    def holder(self, alias: str) -> ModelVersion | None:
        """Return the version that has the alias; None if none has it."""
        try:
            return self.client.get_model_version_by_alias(self.name, alias)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def register(self, model_md5: str, onnx_md5: str, run_id: str) -> ModelVersion:
        """Return the version of the model with this MD5; create it from the run's model if there is none."""
        if not self.client.search_registered_models(filter_string=f"name = '{self.name}'"):
            self.client.create_registered_model(self.name)
        same = self._search(tracking.MODEL_MD5, model_md5)
        if same:
            return same[0]
        outputs = self.client.get_run(run_id).outputs
        if outputs is None or not outputs.model_outputs:
            raise UserError(f"MLflow run {run_id} has no model any more; delete the run, then `dvc repro -f register`")
        model_id = outputs.model_outputs[0].model_id
        tags = {tracking.MODEL_MD5: model_md5, tracking.ONNX_MD5: onnx_md5}
        return self.client.create_model_version(
            self.name, f"models:/{model_id}", run_id=run_id, tags=tags, model_id=model_id
        )

    def _search(self, tag: str, md5: str) -> list[ModelVersion]:
        """Return the versions with this MD5 in `tag`, the oldest first."""
        found = self.client.search_model_versions(f"name = '{self.name}' and tags.`{tag}` = '{md5}'")
        return sorted(found, key=lambda version: int(version.version))

    def set_tags(self, version: ModelVersion, tags: dict[str, str]) -> None:
        """Set tags on a version; a long value is cut."""
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, version.version, key, value[:_LONGEST_TAG])

    def find(self, onnx_md5: str) -> ModelVersion | None:
        """Return the newest version with this ONNX file; None if there is none."""
        same = self._search(tracking.ONNX_MD5, onnx_md5)
        return same[-1] if same else None

    def version(self, number: int) -> ModelVersion:
        """Return a version by its number. Raises UserError if there is none."""
        versions = self.client.search_model_versions(f"name = '{self.name}'")
        found = {int(version.version): version for version in versions}
        if number not in found:
            known = f"there are {', '.join(map(str, sorted(found)))}" if found else "there are none"
            raise UserError(f"{self.name} has no version {number}; {known}")
        return found[number]

    def read_artifact(self, version: ModelVersion, path: str, folder: Path) -> Path | None:
        """Download a file of a version's run into `folder`; return None if the run has none."""
        try:
            return Path(self.client.download_artifacts(str(version.run_id), path, str(folder)))
        except (MlflowException, OSError):
            return None

    def move(self, alias: str, to: str | None, why: str) -> None:
        """Move an alias, or delete it if `to` is None, and add the move to the history."""
        holder = self.holder(alias)
        if to is None:
            self.client.delete_registered_model_alias(self.name, alias)
        else:
            self.client.set_registered_model_alias(self.name, alias, to)
        self.add_move(alias, str(holder.version) if holder else None, to, why)

    def add_move(self, alias: str, before: str | None, after: str | None, why: str) -> None:
        """Add a move to the history. Each has a tag of its own, so that two writers never overwrite one another."""
        move = Move(when=datetime.now(UTC), alias=alias, before=before, after=after, why=why[:_LONGEST_REASON])
        key = f"{_MOVE_TAG}{move.when:%Y-%m-%dT%H.%M.%S.%f}.{alias}"
        self.client.set_registered_model_tag(self.name, key, move.model_dump_json())

    def describe(self, text: str) -> None:
        """Set the model's description, unless it has one, and write the history of `champion` below it."""
        before = self.client.get_registered_model(self.name).description or ""
        after = pages.with_history(before or text, (move for move in self.moves() if move.alias == "champion"))
        if after != before:
            self.client.update_registered_model(self.name, after)

    def describe_version(self, version: ModelVersion, text: str) -> None:
        """Set a version's description, unless it has one."""
        if not version.description:
            self.client.update_model_version(self.name, version.version, text)

    def moves(self) -> list[Move]:
        """Return the history of the aliases, oldest first; tags that can't be parsed are ignored."""
        found = self.client.search_registered_models(filter_string=f"name = '{self.name}'")
        tags = dict(found[0].tags) if found else {}
        moves = []
        for key in sorted(key for key in tags if key.startswith(_MOVE_TAG)):
            try:
                moves.append(Move.model_validate_json(tags[key]))
            except ValidationError:
                continue
        return moves


def describe(version: ModelVersion) -> RegistryEntry:
    """Return what release.json says about a version."""
    registered = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    return RegistryEntry(version=int(version.version), run_id=str(version.run_id), registered_at=registered)
