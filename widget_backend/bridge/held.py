"""Held events: echoes that waited for an open attempt of their conversation to close, and whatever waited too long."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from widget_backend.bridge import codec
from widget_backend.bridge.models import EndRecord, Parked
from widget_backend.bridge.record import Recorder
from widget_backend.bridge.routes import Map, Stop, read, stop_of
from widget_backend.bridge.tenancy import transaction

ECHO_WAIT = timedelta(seconds=60)
MESSAGE_WAIT = timedelta(days=7)


def release(session: Session, stop: Stop, map: Map, account_id: UUID, conversation_ids: Sequence[UUID]) -> bool:
    """Record the echoes held for conversations whose attempts have closed; tell whether anything now waits in a lane."""
    waiting = session.scalars(
        select(Parked)
        .where(Parked.conversation_id.in_(conversation_ids), Parked.end_id == stop.id, Parked.waits_for == "echo")
        .order_by(Parked.id)
    ).all()
    return _record(session, stop, map, account_id, waiting)


def release_overdue(account_id: UUID, end_id: UUID) -> bool:
    """Record the echoes of one end that waited longer than any call lasts, and forget changes of messages that never came."""
    with transaction(account_id) as session:
        row = session.get(EndRecord, end_id)
        if row is None:
            return False
        overdue = session.scalars(
            select(Parked)
            .where(Parked.end_id == end_id, Parked.waits_for == "echo", Parked.at < func.now() - ECHO_WAIT)
            .order_by(Parked.id)
        ).all()
        session.execute(
            delete(Parked).where(
                Parked.end_id == end_id, Parked.waits_for == "message", Parked.at < func.now() - MESSAGE_WAIT
            )
        )
        return _record(session, stop_of(row), read(session), account_id, overdue)


def _record(session: Session, stop: Stop, map: Map, account_id: UUID, waiting: Sequence[Parked]) -> bool:
    if not waiting:
        return False
    events = [(codec.load(parked.event), parked.trace_id) for parked in waiting]
    for parked in waiting:
        session.delete(parked)
    session.flush()
    recorder = Recorder(session, account_id, stop, map)
    recorder.prepare([event for event, _trace in events])
    for event, trace_id in events:
        recorder.take(event, trace_id)
    return recorder.flush()
