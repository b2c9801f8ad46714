"""Presence: that a manager is typing is shown to the client at once, or not at all. Nothing of it is stored, waited for or repeated."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from threading import BoundedSemaphore
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from widget_backend import clock, outside
from widget_backend.bridge import channel_settings, gate, items, life, registry, routes
from widget_backend.bridge.ends import Conversation, End
from widget_backend.bridge.errors import MostikError
from widget_backend.bridge.models import ClientRecord, ConversationRecord, EndRecord, LinkRecord
from widget_backend.bridge.tenancy import transaction

log = structlog.get_logger()

FRESH = timedelta(seconds=8)
"""How long ago a CRM may have told that somebody types: networks show it about ten seconds (vk.md 2.4), amoCRM tells it every five."""
_THREADS = 2
_MOST_WAITING = 20
_NO_WAIT = timedelta(milliseconds=1)
_room = BoundedSemaphore(_MOST_WAITING)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="presence")


def show_typing(account_id: UUID, connection_id: UUID, threads: Iterable[str]) -> None:
    """Let clients see that a manager is typing; whoever calls goes on at once. `threads`: the conversations as the CRM names them.

    What finds no room beside slow networks is left out: the next sign comes in seconds.
    """
    for thread in threads:
        if _room.acquire(blocking=False):
            _pool().submit(_show, account_id, connection_id, thread).add_done_callback(lambda _done: _room.release())


def _show(account_id: UUID, connection_id: UUID, thread: str) -> None:
    try:
        with transaction(account_id) as session:
            found = _place(session, connection_id, thread)
        if found is not None:
            end, conversation = found
            with outside.patience(_NO_WAIT):  # messages need the limit more
                registry.adapter(end).typing(conversation)
    except (MostikError, DBAPIError) as error:
        log.info("typing_not_shown", end=str(connection_id), error=type(error).__name__)
    except Exception:
        log.exception("typing_failed", end=str(connection_id))


def _place(session: Session, connection_id: UUID, thread: str) -> tuple[End, Conversation] | None:
    """Return where the client would see it; None where he cannot, may not or should not."""
    row = session.execute(
        select(ConversationRecord, ClientRecord, EndRecord)
        .join(LinkRecord, LinkRecord.conversation_id == ConversationRecord.id)
        .join(ClientRecord, ClientRecord.id == ConversationRecord.client_id)
        .join(EndRecord, EndRecord.id == ConversationRecord.channel_id)
        .where(LinkRecord.connection_id == connection_id, LinkRecord.remote_id == thread)
    ).one_or_none()
    if row is None:
        return None
    conversation, client, channel = row
    facts = routes.stop_of(channel).capabilities
    is_wanted = facts.can_type and channel_settings.shows_typing(channel.settings)
    is_open = channel.state == "active" and channel.deleted_at is None and client.may_write is not False
    if not (is_wanted and is_open) or gate.time_left(conversation, facts, clock.now()) == timedelta(0):
        return None
    return life.snapshot_in(session, channel.id), items.conversation_of(conversation, client, channel, None)
