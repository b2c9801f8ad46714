"""Events and attachments as JSON: for parked events and for the content of messages. Empty fields are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from widget_backend.bridge import events
from widget_backend.bridge.events import Attachment, Direction, Event, Forward, Kind, Person, Place, Quote

_CLASSES: dict[str, Any] = {
    name: getattr(events, name)
    for name in (
        "MessageReceived",
        "MessageEdited",
        "MessageDeleted",
        "StatusChanged",
        "ReadUpTo",
    )
}
_ENUMS = {"kind": Kind, "direction": Direction, "place": Place}
_NESTED = {"client": Person, "quote": Quote, "attachments": Attachment, "forwards": Forward}


def dump(event: Event) -> dict[str, object]:
    """Turn an event that may be parked into JSON."""
    return {"_": type(event).__name__, **_dump_fields(event)}


def load(stored: Mapping[str, Any]) -> Event:
    """Turn what `dump` made back into the event."""
    event: Event = _load_fields(_CLASSES[stored["_"]], stored)
    return event


def dump_attachment(attachment: Attachment) -> dict[str, object]:
    """Turn an attachment into JSON, without the address of its file: that may hold a secret and is kept sealed."""
    stored = _dump_fields(attachment)
    stored.pop("url", None)
    stored.pop("handle", None)
    return stored


def dump_fields(value: Any) -> dict[str, object]:
    """Turn any of the events' dataclasses into JSON."""
    return _dump_fields(value)


def load_attachment(stored: Mapping[str, Any]) -> Attachment:
    """Turn JSON back into an attachment."""
    attachment: Attachment = _load_fields(Attachment, stored)
    return attachment


def load_forward(stored: Mapping[str, Any]) -> Forward:
    """Turn JSON back into a forwarded message."""
    forward: Forward = _load_fields(Forward, stored)
    return forward


def _dump_fields(value: Any) -> dict[str, object]:
    stored: dict[str, object] = {}
    for field in fields(value):
        item = getattr(value, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if item != default or (field.name == "attachments" and item is not None):
            stored[field.name] = _dump(item)
    return stored


def _dump(item: Any) -> object:
    if isinstance(item, Enum):
        return item.value
    if isinstance(item, datetime):
        return item.isoformat()
    if isinstance(item, timedelta):
        return item.total_seconds()
    if isinstance(item, tuple):
        return [_dump(one) for one in item]
    if hasattr(item, "__dataclass_fields__"):
        return _dump_fields(item)
    return item


def _load_fields(kind: Any, stored: Mapping[str, Any]) -> Any:
    values: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in stored:
            values[field.name] = _load(field.name, str(field.type), stored[field.name])
    return kind(**values)


def _load(name: str, kind: str, item: Any) -> Any:
    if item is None:
        return None
    if name in _ENUMS:
        return _ENUMS[name](item)
    if kind.startswith("datetime"):
        return datetime.fromisoformat(item)
    if kind.startswith("timedelta"):
        return timedelta(seconds=item)
    if name in _NESTED:
        inner = _NESTED[name]
        return tuple(_load_fields(inner, one) for one in item) if isinstance(item, list) else _load_fields(inner, item)
    return item
