"""Faults of ours in deciding what leaves a lane: that conversation waits and is tried again, its message fails after a few tries, nobody else is held."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from widget_backend.bridge import life, outcomes, routes, runtime
from widget_backend.bridge.ends import Act
from widget_backend.bridge.lanes import Batch
from widget_backend.bridge.models import Delivery, Lane
from widget_backend.bridge.route import Outbox
from widget_backend.bridge.settle import Settlement, lock
from widget_backend.bridge.statuses import Status
from widget_backend.bridge.tenancy import transaction

log = structlog.get_logger()

REASON = "not_made"


def set_aside(batch: Batch, conversation_id: UUID) -> None:
    """Let a conversation wait whose next delivery we failed to prepare. When the end itself is what we cannot read, no message is to blame.

    Raises: what judging the delivery raises; the conversation waits all the same.
    """
    steps = runtime.get().config.message_retry_s
    _wait(batch, conversation_id, timedelta(seconds=steps[-1]))
    try:
        life.snapshot(batch.account_id, batch.end_id)
    except Exception:
        log.exception("end_unreadable", end=str(batch.end_id))
        return
    with transaction(batch.account_id) as session:
        lock(session, [conversation_id])
        delivery = _next(session, batch, conversation_id)
        if delivery is None or delivery.status != Status.QUEUED:
            return
        if delivery.tries < len(steps):
            wait = timedelta(seconds=steps[delivery.tries])
            delivery.tries += 1
            delivery.reason = REASON
        else:
            wait = timedelta(0)
            _give_up(session, delivery)
    _wait(batch, conversation_id, wait)


def rest(batch: Batch) -> None:
    """Let all lanes of a batch wait a little."""
    wait = timedelta(seconds=runtime.get().config.message_retry_s[0])
    with transaction(None) as session:
        mine = Lane.conversation_id.in_(batch.conversations)
        held = select(Lane.conversation_id).where(Lane.end_id == batch.end_id, mine, Lane.lease == batch.token)
        found = session.scalars(held.order_by(Lane.conversation_id).with_for_update()).all()
        here = (Lane.end_id == batch.end_id, Lane.conversation_id.in_(found))
        session.execute(update(Lane).where(*here).values(not_before=func.now() + wait))


def _next(session: Session, batch: Batch, conversation_id: UUID) -> Delivery | None:
    return session.scalar(
        select(Delivery)
        .join(Lane, (Lane.end_id == Delivery.end_id) & (Lane.conversation_id == Delivery.conversation_id))
        .where(
            Lane.end_id == batch.end_id,
            Lane.conversation_id == conversation_id,
            Lane.lease == batch.token,
            Delivery.lane_seq == Lane.settled_seq + 1,
        )
    )


def _give_up(session: Session, delivery: Delivery) -> None:
    outbox = Outbox(session, routes.read(session))
    settlement = Settlement(session, outbox)
    is_in_doubt = delivery.act == Act.NEW and outcomes.in_doubt(session, delivery)
    settlement.move(delivery, Status.UNCERTAIN if is_in_doubt else Status.FAILED, REASON)
    settlement.flush()
    outbox.flush()


def _wait(batch: Batch, conversation_id: UUID, wait: timedelta) -> None:
    mine = (Lane.end_id == batch.end_id, Lane.conversation_id == conversation_id, Lane.lease == batch.token)
    with transaction(None) as session:
        session.execute(update(Lane).where(*mine).values(not_before=func.now() + wait))
