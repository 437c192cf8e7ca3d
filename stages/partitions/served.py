"""A served model that workers make from its bytes, as a session can't be sent."""

from typing import Any

from service.model import ArtifactError, Model, from_bytes
from stages.errors import UserError
from stages.files import md5_of


class Served:
    """The model of an ONNX file with these bytes."""

    def __init__(self, content: bytes, model: Model | None = None) -> None:
        self.model = model or _load(content)
        self._content = content

    @classmethod
    def of(cls, model: "Model | Served") -> "Served":
        """Return a model as one that stays in this process, unless it is one for workers."""
        return model if isinstance(model, Served) else cls(b"", model)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._content, self.model.version)


def _rebuild(content: bytes, md5: str) -> Served:
    if md5_of(content) != md5:
        raise UserError(f"the model's MD5 is {md5_of(content)}, expected {md5}; run the command again")
    return Served(content)


def _load(content: bytes) -> Model:
    try:
        return from_bytes(content, "the model")
    except ArtifactError as error:
        raise UserError(str(error)) from None
