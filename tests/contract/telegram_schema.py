"""Check Telegram requests, answers and updates against the official machine-readable spec (api.json of the Bot API).

The spec is found in `<CONTRACT_SCHEMAS>/telegram/api.json`. Its type language: `Integer`, `String`, `Boolean`, `Float`,
`InputFile`, `Array of X`, or the name of another type, which has fields or subtypes; several names mean any of them.
Each check returns a list of troubles, each with the path where it is; empty means valid.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "CONTRACT_SCHEMAS"
WORDS = {"true": True, "false": False}


def spec_path() -> Path | None:
    """Return the place of the spec, or None when there is none."""
    folder = os.environ.get(VARIABLE, "")
    path = Path(folder) / "telegram" / "api.json"
    return path if folder and path.is_file() else None


def skip_without_spec() -> None:
    """Skip the running test, with the reason, when the spec is not there."""
    if spec_path() is None:
        pytest.skip(f"{VARIABLE} does not name a folder with telegram/api.json: the official spec is not at hand")


@lru_cache(maxsize=4)
def _load(path: Path) -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def spec() -> Mapping[str, Any]:
    """Return the spec. Raises: LookupError when it is not at hand."""
    path = spec_path()
    if path is None:
        raise LookupError(f"{VARIABLE} does not name a folder with telegram/api.json")
    return _load(path)


@lru_cache(maxsize=4)
def _methods_by_lower(path: Path) -> Mapping[str, Any]:
    return {name.lower(): method for name, method in _load(path)["methods"].items()}


def _method(name: str) -> Mapping[str, Any] | None:
    spec()
    path = spec_path()
    assert path is not None
    found: Mapping[str, Any] | None = _methods_by_lower(path).get(name.lower())
    return found


def check_request(method: str, params: Mapping[str, Any]) -> list[str]:
    """Check the parameters of a call. Uploads are bytes; text stands for numbers and JSON, as in forms.

    Parts that the spec does not name are allowed only when another parameter names them by attach://.
    """
    known = _method(method)
    if known is None:
        return [f"{method}: no such method in the spec"]
    attached = {name for name, value in params.items() if isinstance(value, bytes) and _is_attached(name, params)}
    plain = {name: value for name, value in params.items() if name not in attached}
    return _fields(known.get("fields", []), plain, known["name"], from_form=True)


def _is_attached(name: str, params: Mapping[str, Any]) -> bool:
    mark = f"attach://{name}"
    return any(mark in json.dumps(value) for value in params.values() if not isinstance(value, bytes))


def check_response(method: str, result: object) -> list[str]:
    """Check the `result` of an answer."""
    known = _method(method)
    if known is None:
        return [f"{method}: no such method in the spec"]
    return _any_of(known["returns"], result, known["name"], from_form=False)


def check_update(update: object) -> list[str]:
    """Check an update: the type Update, with exactly one kind in it."""
    troubles = _any_of(["Update"], update, "Update", from_form=False)
    if isinstance(update, Mapping) and len(update) != 2:
        troubles.append(f"Update: exactly one kind beside update_id expected, got {sorted(update)}")
    return troubles


def _fields(
    fields: Sequence[Mapping[str, Any]], values: Mapping[str, Any], where: str, *, from_form: bool
) -> list[str]:
    known = {field["name"]: field for field in fields}
    troubles = [f"{where}: unknown field {name}" for name in values if name not in known]
    for name, field in known.items():
        if name in values:
            troubles += _any_of(field["types"], values[name], f"{where}.{name}", from_form=from_form)
        elif field["required"]:
            troubles.append(f"{where}: required field {name} is missing")
    return troubles


def _any_of(types: Sequence[str], value: object, where: str, *, from_form: bool) -> list[str]:
    best: list[str] | None = None
    items = [name.removeprefix("Array of ") for name in types if name.startswith("Array of ")]
    if len(items) > 1:  # the spec means an array that mixes them, as albums do
        value = _from_json(value) if from_form else value
        if isinstance(value, list):
            return [t for i, one in enumerate(value) for t in _any_of(items, one, f"{where}[{i}]", from_form=False)]
    for name in types:
        troubles = _one(name, value, where, from_form=from_form)
        if not troubles:
            return []
        if best is None or len(troubles) < len(best):
            best = troubles
    return best or [f"{where}: no type expected"]


def _one(name: str, value: object, where: str, *, from_form: bool) -> list[str]:
    """Check against one type name."""
    if name.startswith("Array of "):
        value = _from_json(value) if from_form else value
        if not isinstance(value, list):
            return [f"{where}: {name} expected, got {_shown(value)}"]
        of = name.removeprefix("Array of ")
        return [t for i, item in enumerate(value) for t in _one(of, item, f"{where}[{i}]", from_form=False)]
    if name in {"Integer", "Float", "Boolean", "String", "InputFile"}:
        return (
            [] if _is_simple(name, value, from_form=from_form) else [f"{where}: {name} expected, got {_shown(value)}"]
        )
    return _object(name, _from_json(value) if from_form else value, where)


def _is_simple(name: str, value: object, *, from_form: bool) -> bool:
    if name == "InputFile":
        return isinstance(value, bytes) or (isinstance(value, str) and value.startswith("attach://"))
    if name == "String":
        return isinstance(value, str)
    if from_form and isinstance(value, str):
        value = WORDS.get(value.lower(), _from_json(value))
    if name == "Boolean":
        return isinstance(value, bool)
    number = int if name == "Integer" else int | float
    return isinstance(value, number) and not isinstance(value, bool)


def _object(name: str, value: object, where: str) -> list[str]:
    known = spec()["types"].get(name)
    if known is None:
        return [f"{where}: the spec does not know the type {name}"]
    if subtypes := known.get("subtypes"):
        return _any_of(_likely(subtypes, value), value, where, from_form=False)
    if not isinstance(value, Mapping):
        return [f"{where}: {name} expected, got {_shown(value)}"]
    return _told_apart(known, value, where) + _fields(known.get("fields", []), value, where, from_form=False)


def _likely(subtypes: Sequence[str], value: object) -> Sequence[str]:
    """Keep the subtypes whose fixed word (type, status, source) fits, so that the trouble told is the right one."""
    if not isinstance(value, Mapping):
        return subtypes
    types = spec()["types"]
    return [name for name in subtypes if not _told_apart(types[name], value, name)] or subtypes


def _told_apart(known: Mapping[str, Any], value: Mapping[str, Any], where: str) -> list[str]:
    """Check the fixed word that tells a subtype, written in the spec as: always "kicked", must be photo."""
    for field in known.get("fields", []):
        if field["name"] not in {"type", "status", "source"} or field["types"] != ["String"]:
            continue
        text = field["description"].replace("\u201c", '"').replace("\u201d", '"')
        fixed = ""
        if "always " in text:
            fixed = text.partition("always ")[2].split()[0].strip('".,')
        elif "must be " in text and " or " not in text and "one of" not in text:
            fixed = text.partition("must be ")[2].split()[0].strip('".,')
        if fixed and value.get(field["name"]) != fixed:
            return [f'{where}.{field["name"]}: "{fixed}" expected, got {_shown(value.get(field["name"]))}']
    return []


def _from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parsed: object = json.loads(value)
    except json.JSONDecodeError:
        return value
    return parsed


def _shown(value: object) -> str:
    return f"{type(value).__name__} {str(value)[:60]!r}"
