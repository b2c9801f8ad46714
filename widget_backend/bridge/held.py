"""What is held: echoes until an open attempt of their conversation closes, changes until their message is known; and whatever waited too long."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import delete, exists, func, select, tuple_
from sqlalchemy.orm import Session

from widget_backend.bridge import codec, runtime, settle
from widget_backend.bridge.changes import ECHO_WAIT
from widget_backend.bridge.models import Delivery, EndRecord, MessageKey, Parked
from widget_backend.bridge.record import Recorder
from widget_backend.bridge.route import Outbox
from widget_backend.bridge.routes import Map, Stop, read, stop_of
from widget_backend.bridge.statuses import Status
from widget_backend.bridge.tenancy import is_away, transaction

log = structlog.get_logger()

MESSAGE_WAIT = timedelta(days=7)
CLOSED_AT_ONCE = 500
UNKNOWN = "message_unknown"


def release(
    session: Session,
    stop: Stop,
    map: Map,
    account_id: UUID,
    conversation_ids: Sequence[UUID],
    named: Collection[tuple[str, str]],
) -> bool:
    """Record the echoes held for conversations whose attempts have closed, and what came about messages before the end had `named` them to us.

    Shape: `named` are (scope, remote id). Tells whether anything now waits in a lane.
    """
    freed = Parked.conversation_id.in_(conversation_ids) & (Parked.waits_for == "echo")
    if named:
        freed |= tuple_(Parked.scope, Parked.remote_id).in_(named) & (Parked.waits_for == "message")
    mine = select(Parked).where(Parked.end_id == stop.id, freed).with_for_update(skip_locked=True)
    waiting = sorted(session.scalars(mine), key=lambda row: (row.waits_for != "echo", row.id))
    return _record(session, stop, map, account_id, waiting)


def release_overdue(account_id: UUID, end_id: UUID) -> bool:
    """Record the echoes of one end that waited longer than any call lasts, and changes whose message came while they were being parked.

    Changes of messages that never came are forgotten, and so is what could not be recorded in all that time.
    """
    with transaction(account_id) as session:
        row = session.get(EndRecord, end_id)
        if row is None:
            return False
        is_known = exists().where(
            MessageKey.end_id == end_id, MessageKey.scope == Parked.scope, MessageKey.remote_id == Parked.remote_id
        )
        overdue = session.scalars(
            select(Parked)
            .where(
                Parked.end_id == end_id,
                ((Parked.waits_for == "echo") & (Parked.at < func.now() - ECHO_WAIT))
                | ((Parked.waits_for == "message") & is_known),
            )
            .order_by(Parked.id)
            .with_for_update(skip_locked=True)  # whoever settles may be at them
        ).all()
        has_work = _record(session, stop_of(row), read(session), account_id, overdue)
        session.execute(delete(Parked).where(Parked.end_id == end_id, Parked.at < func.now() - MESSAGE_WAIT))
        return has_work


def close_changes(account_id: UUID) -> int:
    """Close edits and deletions whose message has been in doubt for as long as an answer may wait; count them.

    Nothing is lost by that: if the message turns out to be there, or is sent again, it gets its newest wording.
    """
    wait = timedelta(hours=runtime.get().config.expiry_hours)
    waiting = (
        Delivery.account_id == account_id,
        Delivery.status == Status.QUEUED.value,
        Delivery.created_at < func.now() - wait,
        Delivery.lane_seq.is_(None),
    )
    with transaction(account_id) as session:
        here = session.scalars(select(Delivery.conversation_id).where(*waiting).limit(CLOSED_AT_ONCE)).all()
        settle.lock(session, here)
        deliveries = session.scalars(select(Delivery).where(*waiting, Delivery.conversation_id.in_(here))).all()
        settlement = settle.Settlement(session, Outbox(session, read(session)))
        for delivery in deliveries:
            settlement.move(delivery, Status.DISCARDED, UNKNOWN)
        settlement.flush()
        return len(deliveries)


def _record(session: Session, stop: Stop, map: Map, account_id: UUID, waiting: Sequence[Parked]) -> bool:
    """Record what waited. What cannot be recorded stops nobody: it goes on waiting, is logged each time, and is forgotten like the rest."""
    if not waiting:
        return False
    try:
        with session.begin_nested():
            return _take(session, stop, map, account_id, waiting)
    except Exception as error:
        if is_away(error):
            raise
    has_work = False
    for parked in waiting:
        try:
            with session.begin_nested():
                has_work |= _take(session, stop, map, account_id, [parked])
        except Exception as error:
            if is_away(error):
                raise
            log.exception("held_event_failed", end=str(stop.id), trace=parked.trace_id)
    return has_work


def _take(session: Session, stop: Stop, map: Map, account_id: UUID, waiting: Sequence[Parked]) -> bool:
    events = [(codec.load(parked.event), parked.trace_id) for parked in waiting]
    for parked in waiting:
        session.delete(parked)
    session.flush()
    recorder = Recorder(session, account_id, stop, map)
    recorder.prepare([event for event, _trace in events])
    for event, trace_id in events:
        recorder.take(event, trace_id)
    return recorder.flush()
