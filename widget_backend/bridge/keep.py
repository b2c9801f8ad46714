"""Keep: the raw thing, sealed, in one INSERT, before anybody thinks about it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import func, text
from sqlalchemy.dialects.postgresql import insert

from widget_backend import crypto, ids
from widget_backend.bridge import runtime
from widget_backend.bridge.ends import Hook, Kept, Raw
from widget_backend.bridge.models import Inbox
from widget_backend.bridge.tenancy import transaction

_INSERT = insert(Inbox).on_conflict_do_nothing(index_elements=["owner_id", "dedupe", "month"]).returning(Inbox.id)


@dataclass(frozen=True, slots=True)
class Door:
    """Whose inbox it is: an end's, or an app's (is_app), whose bodies are first split."""

    owner_id: UUID
    account_id: UUID | None
    is_app: bool = False


def keep(door: Door, hook: Hook, kept: Kept, trace_id: str) -> bool:
    """Store a genuine hook; False when the same event is already there. On return it is committed."""
    body = hook.body if kept.body is None else kept.body
    meta = {"name": hook.name, "content_type": hook.content_type, **({"query": hook.query} if hook.query else {})}
    with runtime.get().engine.begin() as connection:
        row = _row(door, body, meta, kept.event_id, hook.received_at, trace_id)
        return connection.execute(_INSERT, row).first() is not None


def keep_pulled(door: Door, raws: Sequence[Raw], at: datetime) -> int:
    """Store what a pull brought; count what was new. On return it is committed."""
    if not raws:
        return 0
    kept = 0
    with runtime.get().engine.begin() as connection:
        for raw in raws:
            row = _row(door, raw.body, {"name": raw.name, "content_type": ""}, raw.event_id, at, ids.new_id().hex)
            kept += connection.execute(_INSERT, row).first() is not None
    return kept


def oldest_waiting_s() -> float:
    """Return the age of the oldest hook that nobody has read yet, in seconds; 0 when there is none."""
    # one index probe per gate instead of a scan of the inbox
    query = text("""
        select coalesce(extract(epoch from now() - min(i.received_at)), 0) from gates g
        cross join lateral (
            select received_at from inbox where owner_id = g.end_id and state = 0 order by id limit 1
        ) i where g.is_open
    """)
    with transaction(None) as session:
        return float(session.scalar(query) or 0)


def first_of_month(moment: datetime) -> date:
    """Return the partition key of a moment."""
    return date(moment.year, moment.month, 1)


def body_of(row: Inbox) -> bytes:
    """Open the sealed body of a row."""
    return crypto.open_sealed(row.body, f"inbox:{row.owner_id}")


def count_waiting() -> int:
    """Count hooks that nobody has read yet."""
    with transaction(None) as session:
        return int(session.scalar(func.count(Inbox.id).filter(Inbox.state == 0).select()) or 0)


def _row(
    door: Door, body: bytes, meta: dict[str, str], event_id: str, received_at: datetime, trace_id: str
) -> dict[str, object]:
    dedupe = f"e:{event_id}" if event_id else f"d:{hashlib.sha256(body).hexdigest()}"
    return {
        "owner_id": door.owner_id,
        "account_id": door.account_id,
        "is_app": door.is_app,
        "month": first_of_month(received_at),
        "dedupe": dedupe,
        "trace_id": trace_id,
        "meta": meta,
        "body": crypto.seal(body, f"inbox:{door.owner_id}"),
        "received_at": received_at,
    }
