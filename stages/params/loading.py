"""Load ``params.yaml`` into frozen, typed values; an invalid value is an error before any work begins."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages import files
from stages.errors import UserError
from stages.params.params import Params

_LONGEST_VALUE = 60


def load_params(path: Path = files.PARAMS) -> Params:
    """Load and check the file. Raises UserError, one line with each wrong key, its value and what is allowed."""
    raw = _read(path)
    if not isinstance(raw, dict):
        content = "is empty" if raw is None else f"holds {_shown(raw)}"
        raise UserError(f"{path}: {content}; expected {_expected(Params.model_json_schema())}")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        lines = dict.fromkeys(_line(each, raw) for each in error.errors())
        raise UserError(f"{path}: {'; '.join(lines)}") from None


def _read(path: Path) -> Any:
    try:
        # DVC's own parser (YAML 1.2): PyYAML would read 1e-5 as text and `no` as false.
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: not found; run this in the repository's root") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, problem = (f"line {mark.line + 1}: ", getattr(error, "problem", error)) if mark else ("", error)
        raise UserError(f"{path}: {line}is not YAML: {problem}; correct it") from None


def _line(error: Any, raw: Any) -> str:
    """Convert one of Pydantic's errors to key, value and what is allowed."""
    schema, name = _find(error["loc"])
    if error["type"] == "value_error" and "expected" not in schema:
        return str(error["ctx"]["error"])
    if error["type"] in ("extra_forbidden", "invalid_key"):
        unknown = ".".join(map(str, error["loc"])).removesuffix(".[key]")
        return f"{unknown}: unknown key; allowed{f' under {name}' if name else ''}: {', '.join(schema['properties'])}"
    if error["type"] == "missing":
        return f"{name}: missing; expected {_expected(schema)}"
    for key in name.split("."):
        raw = raw[key]
    return f"{name}: got {_shown(raw)}; expected {_expected(schema)}"


def _find(location: tuple[int | str, ...]) -> tuple[dict[str, Any], str]:
    """Return the JSON schema of the key at `location`, and the key's dotted name.

    After the keys, Pydantic adds the members of a union and positions in a list; these are left out.
    """
    whole = Params.model_json_schema()
    schema, keys = whole, list[str]()
    for part in map(str, location):
        if part not in schema.get("properties", {}):
            break
        keys.append(part)
        schema = schema["properties"][part]
        section = next((each["$ref"] for each in schema.get("anyOf", [schema]) if "$ref" in each), None)
        schema = whole["$defs"][section.rpartition("/")[2]] if section else schema
    return schema, ".".join(keys)


def _expected(schema: dict[str, Any]) -> str:
    """Describe in words what a JSON schema allows."""
    if "expected" in schema:
        return str(schema["expected"])
    if "properties" in schema:
        return f"the keys {', '.join(schema['properties'])}"
    if "anyOf" in schema:
        return " or ".join(map(_expected, schema["anyOf"]))
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if values:
        return ", ".join(values)
    if schema["type"] == "array":
        return f"a list, each {_expected(schema['items'])}"
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "null"}
    kind = kinds.get(schema["type"], "text (in quotes if it looks like a number)")
    bounds = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "to"}
    return " ".join([kind, *(f"{word} {schema[key]:.10g}" for key, word in bounds.items() if key in schema)])


def _shown(value: Any) -> str:
    """Return the value as in YAML, on one line and cut if it is long."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
