"""Settings that channels have in common: the fields of their forms, and what the bridge reads in them. A network's schema takes those that fit it.

Texts: the locales' `settings/channel.json`, unless a network has better words of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from marshmallow import fields, validate

MOST_EXPIRY_HOURS = 24 * 7


def _switch(name: str, *, is_on: bool) -> fields.Boolean:
    return fields.Boolean(load_default=is_on, metadata={"label": f"channel.{name}", "help": f"channel.{name}_help"})


MARK_READ = _switch("mark_read", is_on=True)
AUTO_READ = _switch("auto_read", is_on=False)
SHOW_TYPING = _switch("show_typing", is_on=True)
AUTOMATIC_TEXTS = _switch("automatic_texts", is_on=True)
EXPIRY_HOURS = fields.Integer(
    load_default=None,  # as the server's owner says
    allow_none=True,
    validate=validate.Range(1, MOST_EXPIRY_HOURS),
    metadata={"label": "channel.expiry_hours", "help": "channel.expiry_hours_help"},
)

Settings = Mapping[str, object]


def takes_groups(settings: Settings) -> bool:
    """Tell whether what is written in group chats goes to the CRMs."""
    return bool(settings.get("group_chats", False))


def takes_automatic_texts(settings: Settings) -> bool:
    """Tell whether texts that a CRM sends by itself go to clients."""
    return bool(settings.get("automatic_texts", True))


def marks_read(settings: Settings) -> bool:
    """Tell whether a client sees that somebody has read or answered his messages."""
    return bool(settings.get("mark_read", True))


def marks_read_at_once(settings: Settings) -> bool:
    """Tell whether a client's messages are marked as read when they arrive, whoever has seen them."""
    return bool(settings.get("auto_read", False))


def shows_typing(settings: Settings) -> bool:
    """Tell whether a client sees that a manager is typing."""
    return bool(settings.get("show_typing", True))


def patience(settings: Settings, default_hours: int) -> timedelta:
    """Return how long a message to a client may wait to be sent."""
    hours = settings.get("expiry_hours")
    return timedelta(hours=hours if isinstance(hours, int) and hours > 0 else default_hours)
