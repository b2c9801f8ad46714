"""Keep: the raw thing, sealed, in one INSERT, before anybody thinks about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from widget_backend import crypto, ids
from widget_backend.bridge import keeper
from widget_backend.bridge.ends import Hook, Kept, Raw
from widget_backend.bridge.models import Inbox
from widget_backend.bridge.tenancy import transaction


@dataclass(frozen=True, slots=True)
class Door:
    """Whose inbox it is: an end's, or an app's (is_app), whose bodies are first split."""

    owner_id: UUID
    account_id: UUID | None
    is_app: bool = False


def keep(door: Door, hook: Hook, kept: Kept, trace_id: str) -> bool:
    """Store a genuine hook; False when the same event is already there. On return it is committed. Raises: psycopg.Error."""
    body = hook.body if kept.body is None else kept.body
    meta = _meta(hook.name, hook.content_type, hook.query)
    return keeper.keep([_row(door, body, meta, kept.event_id, hook.received_at, trace_id)]) == 1


def keep_pulled(door: Door, raws: Sequence[Raw], at: datetime) -> int:
    """Store what a pull brought; count what was new. On return it is committed. Raises: psycopg.Error."""
    return keeper.keep([_row(door, raw.body, _meta(raw.name), raw.event_id, at, ids.new_id().hex) for raw in raws])


def put(session: Session, door: Door, raw: Raw, meta: dict[str, str], received_at: datetime, trace_id: str) -> bool:
    """Store a part of a kept hook as a hook of its own, in a transaction under way; False when the same event is already there."""
    row = _row(door, raw.body, json.dumps(meta), raw.event_id, received_at, trace_id)
    return session.connection().exec_driver_sql(keeper.INSERT, row).rowcount == 1


def hand_over(row: Inbox, door: Door) -> None:
    """Give a hook that was kept for one owner to another; it keeps its place in the order."""
    body = body_of(row)
    row.owner_id, row.account_id = door.owner_id, door.account_id
    row.body = crypto.seal(body, f"inbox:{door.owner_id}")


def oldest_waiting_s() -> float:
    """Return the age of the oldest hook that nobody has read yet, in seconds; 0 when there is none. What waits for an unknown end does not count."""
    # one index probe per gate and per app instead of a scan of the inbox
    query = text("""
        select coalesce(extract(epoch from now() - min(i.received_at)), 0)
        from (select end_id as id from gates where is_open union all select id from apps) owner
        cross join lateral (
            select received_at from inbox where owner_id = owner.id and state = 0 order by id limit 1
        ) i
    """)
    with transaction(None) as session:
        return float(session.scalar(query) or 0)


def first_of_month(moment: datetime) -> date:
    """Return the partition key of a moment."""
    return date(moment.year, moment.month, 1)


def body_of(row: Inbox) -> bytes:
    """Open the sealed body of a row."""
    return crypto.open_sealed(row.body, f"inbox:{row.owner_id}")


@lru_cache(256)
def _meta(name: str, content_type: str = "", query: str = "") -> str:
    return json.dumps({"name": name, "content_type": content_type, **({"query": query} if query else {})})


def _row(door: Door, body: bytes, meta: str, event_id: str, received_at: datetime, trace_id: str) -> keeper.Row:
    dedupe = f"e:{event_id}" if event_id else f"d:{hashlib.sha256(body).hexdigest()}"
    sealed = crypto.seal(body, f"inbox:{door.owner_id}")
    month = first_of_month(received_at)
    owner, account = door.owner_id, door.account_id
    return owner, account, door.is_app, month, dedupe, trace_id, meta, sealed, received_at
