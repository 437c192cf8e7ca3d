"""dvc.lock as DVC writes it: YAML 1.2, which PyYAML's own loaders read as 1.1.

They take 1e-05 for a text and 12:30:00 for a number, and their C parts end the process on
a file that is nested deeply enough. So only the events are PyYAML's; what they make is made
here, by the core schema (https://yaml.org/spec/1.2.2/#103-core-schema).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from pydantic import BaseModel

_MAX_DEPTH: Final = 100
_MAX_NODES: Final = 1_000_000
"""Of which each alias has those of its anchor."""
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class File(BaseModel):
    """A file or folder that a stage reads or writes."""

    path: str
    md5: str = ""


class Stage(BaseModel):
    """What a stage read and wrote."""

    deps: list[File] = []
    outs: list[File] = []
    params: dict[str, dict[str, Any]] = {}


class Lock(BaseModel):
    """A lock file."""

    stages: dict[str, Stage]

    def output(self, path: str) -> tuple[Stage, str] | None:
        """Give the stage that writes `path`, and the MD5 of what it wrote."""
        found = ((stage, out.md5) for stage in self.stages.values() for out in stage.outs if out.path == path)
        return next(found, None)

    def params(self) -> dict[str, Any]:
        """Give all parameters that the stages read."""
        read = [values for stage in self.stages.values() for values in stage.params.values()]
        return {name: value for values in read for name, value in values.items()}


def read(content: bytes) -> Lock:
    """Read a lock file. Raises ValueError for what is none."""
    try:
        return Lock.model_validate(_make(yaml.parse(content, Loader=_Loader)))
    except yaml.YAMLError as error:
        raise ValueError("no YAML") from error


@dataclass(slots=True)
class _Open:
    """A list or mapping that is not over."""

    anchor: str | None
    before: int
    """Nodes made before it."""
    items: list[Any] = field(default_factory=list)
    """Of a mapping: name, value, name, value."""


def _make(events: Iterator[Any]) -> Any:
    opened = [_Open(None, 0)]
    anchors: dict[str, tuple[Any, int]] = {}
    nodes = 0

    def add(node: Any, anchor: str | None, size: int) -> None:
        opened[-1].items.append(node)
        if anchor is not None:
            anchors[anchor] = node, size

    for event in events:
        nodes += 1
        match event:
            case yaml.ScalarEvent():
                add(_scalar(event), event.anchor, 1)
            case yaml.CollectionStartEvent():
                _refuse_tag(event)
                opened.append(_Open(event.anchor, nodes))
            case yaml.CollectionEndEvent():
                done = opened.pop()
                made = _mapping(done.items) if isinstance(event, yaml.MappingEndEvent) else done.items
                add(made, done.anchor, nodes - done.before)
            case yaml.AliasEvent():
                if event.anchor not in anchors:
                    raise ValueError("an alias of what is not over, or of nothing")
                made, size = anchors[event.anchor]
                nodes += size
                add(made, None, size)
        if len(opened) > _MAX_DEPTH or nodes > _MAX_NODES:
            raise ValueError("nested too deeply, or too large")
    (document,) = opened[0].items
    return document


def _mapping(items: list[Any]) -> dict[Any, Any]:
    names = items[::2]
    if any(isinstance(name, list | dict) for name in names) or len(set(names)) < len(names):
        raise ValueError("a name that is a list or mapping, or comes twice")
    return dict(zip(names, items[1::2], strict=True))


def _refuse_tag(event: Any) -> None:
    if event.tag is not None:
        raise ValueError("a tag, which DVC does not write")


def _scalar(event: Any) -> Any:
    _refuse_tag(event)
    text: str = event.value
    if not event.implicit[0]:  # it stands in quotation marks
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    return text
