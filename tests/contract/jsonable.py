"""Our dataclasses as JSON and back, for fixtures: only what differs from the default is written, so that fixtures read like facts."""

from __future__ import annotations

import dataclasses
import io
import types
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from widget_backend.bridge.errors import EndError

TYPE = "type"


def jsonable(value: Any) -> Any:
    """Turn a value into plain JSON. A dataclass becomes its fields that are not the default, and "type", its name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        told = {TYPE: type(value).__name__}
        for field in dataclasses.fields(value):
            one = getattr(value, field.name)
            if one != _default(field):
                told[field.name] = jsonable(one)
        return told
    if isinstance(value, EndError):
        told = {TYPE: type(value).__name__, "reason": value.reason}
        after = getattr(value, "after", None)
        scope = getattr(value, "scope", None)
        return told | ({"after": jsonable(after)} if after else {}) | ({"scope": scope.value} if scope else {})
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Mapping):
        return {str(key): jsonable(one) for key, one in value.items()}
    if isinstance(value, AbstractSet):
        return sorted(jsonable(one) for one in value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [jsonable(one) for one in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"{type(value).__name__} is not for fixtures")


def build(kind: Any, value: Any) -> Any:
    """Make a value of a type from plain JSON: the way back of `jsonable`. A text for a file's `open` is what the file holds."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else build(next(one for one in get_args(kind) if one is not type(None)), value)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: build(hints[name], one) for name, one in value.items() if name != TYPE})
    if origin is not None and isinstance(value, str) and "Callable" in str(origin):
        return lambda: io.BytesIO(value.encode())
    if origin in (tuple, Sequence):
        return tuple(build(get_args(kind)[0], one) for one in value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if kind is datetime:
        return datetime.fromisoformat(value)
    return value


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else dataclasses.MISSING
