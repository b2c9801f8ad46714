"""Shared quick replies offered by CRMs themselves: written to those that keep such a list, so that their own pickers show them too.

What a CRM was last given is remembered as a mark of all shared replies: whatever is lost, the next turn finds that the marks differ and writes again.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog
from redis import RedisError
from sqlalchemy import func, select

from widget_backend.bridge import life, registry, runtime, substitutions
from widget_backend.bridge.ends import Offered, Offers, Side
from widget_backend.bridge.errors import AccessLost, EndError, Retry, Uncertain
from widget_backend.bridge.models import EndKey, EndRecord, QuickReply
from widget_backend.bridge.tenancy import transaction
from widget_backend.limits import LimitWait
from widget_backend.reading import Malformed

log = structlog.get_logger()

WRITTEN = "replies_written"
"""In a connection's settings: the mark of the replies that its CRM was given last."""
NONE = "0:"
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)


def due() -> list[tuple[UUID, UUID]]:
    """Return the (account, connection) pairs whose CRM does not have the shared replies as they are now."""
    able = [one.key for one in registry.manifests(Side.CRM) if issubclass(registry.load(one.adapter), Offers)]
    known = select(EndKey.account_id, EndKey.end_id).where(EndKey.kind == "remote", EndKey.adapter.in_(able)).distinct()
    with transaction(None) as session:
        ends = [(row.account_id, row.end_id) for row in session.execute(known) if row.account_id and row.end_id]
    return [(account_id, end_id) for account_id, end_id in ends if _is_due(account_id, end_id)]


def write(account_id: UUID, end_id: UUID) -> None:
    """Give a CRM the shared replies as they are now. After trouble it is left alone for a while; what it refuses is not tried again unchanged."""
    mark, replies = _read(account_id)
    try:
        adapter = registry.adapter(life.snapshot(account_id, end_id))
        assert isinstance(adapter, Offers)
        adapter.write_quick_replies(replies)
    except (Retry, Uncertain, AccessLost, LimitWait, Malformed) as error:
        log.warning("replies_not_written", end=str(end_id), reason=getattr(error, "reason", type(error).__name__))
        _rest(end_id)
        return
    except EndError as error:
        log.warning("replies_refused", end=str(end_id), reason=error.reason, detail=error.detail)
    life.change(account_id, end_id, settings={WRITTEN: mark})
    _forget_rest(end_id)


def _is_due(account_id: UUID, end_id: UUID) -> bool:
    with transaction(account_id) as session:
        row = session.get(EndRecord, end_id)
        if row is None or row.state != "active":
            return False
        settings = row.settings
    return _mark(account_id) != settings.get(WRITTEN, NONE) and not _rests(end_id)


def _mark(account_id: UUID) -> str:
    """Return what is another whenever a shared reply is made, changed or deleted."""
    shared = select(func.count(), func.max(QuickReply.updated_at)).where(
        QuickReply.account_id == account_id, QuickReply.owner == ""
    )
    with transaction(account_id) as session:
        count, newest = session.execute(shared).one()
    return f"{count}:{newest.isoformat() if newest else ''}"


def _read(account_id: UUID) -> tuple[str, list[Offered]]:
    mark = _mark(account_id)  # before the replies: one that changes in between is written once more
    shared = select(QuickReply).where(QuickReply.account_id == account_id, QuickReply.owner == "")
    with transaction(account_id) as session:
        rows = session.scalars(shared.order_by(QuickReply.id)).all()
    return mark, [
        Offered(
            id=row.id.hex,
            title=row.title,
            text=row.text,
            language=row.language,
            facts=substitutions.named(row.text),
        )
        for row in rows
        if row.text
    ]


# -- rest after trouble, which grows; without Valkey there is none ------------------------------------------------------


def _key(end_id: UUID) -> str:
    return f"mostik:replies:{end_id.hex}"


def _rest(end_id: UUID) -> None:
    redis = runtime.get().redis
    try:
        tries = int(redis.incr(f"{_key(end_id)}:tries"))
        redis.expire(f"{_key(end_id)}:tries", LONGEST_WAIT * 2)
        redis.set(_key(end_id), 1, ex=min(FIRST_WAIT * 2 ** min(tries - 1, 10), LONGEST_WAIT))
    except RedisError as error:
        log.warning("replies_rest_away", error=type(error).__name__)


def _forget_rest(end_id: UUID) -> None:
    try:
        runtime.get().redis.delete(_key(end_id), f"{_key(end_id)}:tries")
    except RedisError as error:
        log.warning("replies_rest_away", error=type(error).__name__)


def _rests(end_id: UUID) -> bool:
    try:
        return bool(runtime.get().redis.exists(_key(end_id)))
    except RedisError as error:
        log.warning("replies_rest_away", error=type(error).__name__)
        return False
