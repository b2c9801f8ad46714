"""The one gate in front of every send: what would surely fail, or may not leave any more, is refused here with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from widget_backend.bridge.ends import Act, Capabilities
from widget_backend.bridge.models import ClientRecord, ConversationRecord, Delivery, Message
from widget_backend.bridge.statuses import Status

RESTORED_AT = "restored_at"
"""In an end's settings: when this server was last restored from a backup (bridge/restore.py). Units: ISO 8601, UTC."""


def refuse(
    delivery: Delivery,
    message: Message,
    conversation: ConversationRecord,
    client: ClientRecord,
    facts: Capabilities,
    settings: Mapping[str, object],
    now: datetime,
) -> tuple[Status, str] | None:
    """Say why a delivery to a network may not leave; None when it may."""
    if is_too_late(delivery, now):
        return Status.EXPIRED, "too_late"
    if delivery.act == Act.NEW and facts.expires:
        if message.deleted_at is not None:
            return Status.DISCARDED, "deleted_before_sending"
        if client.may_write is False:
            return Status.FAILED, "client_forbade"
        if time_left(conversation, facts, now) == timedelta(0):
            return Status.FAILED, "window_closed"
        if delivery.trigger == "auto" and _is_before_restore(message.sent_at, settings):
            return Status.UNCERTAIN, "restored"
    return None


def is_too_late(delivery: Delivery, now: datetime) -> bool:
    """Tell whether a delivery may not leave by itself any more. What a person sends again is his own decision."""
    return delivery.expires_at is not None and delivery.expires_at <= now and delivery.trigger == "auto"


def _is_before_restore(sent_at: datetime, settings: Mapping[str, object]) -> bool:
    """Tell whether a message may have been sent by the server that was lost, although this one has just learnt of it."""
    restored_at = settings.get(RESTORED_AT)
    return isinstance(restored_at, str) and sent_at < datetime.fromisoformat(restored_at)


def time_left(conversation: ConversationRecord, facts: Capabilities, now: datetime) -> timedelta | None:
    """Return how long a manager may still answer: None without a limit, zero when the window is closed.

    Shape: `facts` are the channel's; the smaller of its window and the conversation's own counts.
    """
    windows = [facts.window] if facts.window is not None else []
    if conversation.window_s is not None:
        windows.append(timedelta(seconds=conversation.window_s))
    if not windows:
        return None
    if conversation.last_in_at is not None:
        return max(timedelta(0), conversation.last_in_at + min(windows) - now)
    if facts.window is not None:
        return timedelta(0)
    # the owner wrote by himself in a chat that is older than our knowledge of it: the client may have written just before
    return max(timedelta(0), conversation.created_at + min(windows) - now)


def may_change(message_at: datetime | None, window: timedelta | None, now: datetime) -> bool:
    """Tell whether a message delivered then may still be edited or deleted."""
    return window is None or (message_at is not None and now < message_at + window)
