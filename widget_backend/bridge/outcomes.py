"""Outcomes: the answers to outside calls become statuses, waits or closed gates, with the reports, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from random import uniform
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from widget_backend import clock, metrics
from widget_backend.bridge import held, lanes, life, routes, runtime
from widget_backend.bridge.ends import Accepted, Act, NotThere, Outcome, Repeat, Side
from widget_backend.bridge.errors import (
    AccessLost,
    EndError,
    Misconfigured,
    Rejected,
    Retry,
    Scope,
    Uncertain,
    Unregistered,
)
from widget_backend.bridge.lanes import Batch
from widget_backend.bridge.models import Attempt, Delivery, Gate, Lane, LinkRecord, Message, Part
from widget_backend.bridge.route import Outbox
from widget_backend.bridge.routes import Stop
from widget_backend.bridge.settle import Settlement, lock
from widget_backend.bridge.statuses import Status
from widget_backend.bridge.tenancy import transaction

if TYPE_CHECKING:
    from widget_backend.bridge.deliver import Call

log = structlog.get_logger()

WELL_FOR = timedelta(seconds=10)
LOOKUP_AFTER = timedelta(seconds=2)
JITTER = 0.2
NOT_CALLED = "not_called"
"""Reason of a call that was not made, because one before it in the same batch met trouble of the end."""
NO_ROOM = "no_room"
"""Reason of a read mark that was not made, because messages needed the limit."""
OUTCOMES = {
    Accepted: "accepted",
    NotThere: "not_there",
    Retry: "retry",
    Rejected: "rejected",
    Uncertain: "uncertain",
    AccessLost: "access_lost",
    Misconfigured: "misconfigured",
    Unregistered: "misconfigured",
}


class Trouble(StrEnum):
    """What an end is in: nothing, a pause that it asked for, an access that is lost, or a failure to answer that makes it back off."""

    NONE = ""
    PAUSED = "paused"
    LOST = "lost"
    FAILING = "failing"


def settle(
    batch: Batch, calls: Sequence[Call], results: Sequence[tuple[Outcome | NotThere, int]]
) -> tuple[Trouble, list[UUID]]:
    """Write what became of calls, and give back the lanes that are empty now. Return the end's trouble, and the lanes with more."""
    trouble: list[EndError] = []
    with transaction(batch.account_id) as session:
        lock(session, [call.conversation_id for call in calls])
        map = routes.read(session)
        stop = map.stops.get(batch.end_id)
        if stop is None:
            return Trouble.LOST, []  # the end was erased while we spoke with it
        deliveries = _deliveries(session, calls)
        outbox = Outbox(session, map)
        settlement = Settlement(session, outbox)
        gate = _Gate(session, batch.end_id)
        for call, (outcome, ms) in zip(calls, results, strict=True):
            delivery, part, _message = deliveries[call.part_id]
            _one(settlement, stop, gate, delivery, part, call, outcome, ms, trouble)
            _note(call, stop, outcome, ms)
        settlement.flush()
        outbox.flush()
        conversations = [call.conversation_id for call in calls]
        held.release(session, stop, map, batch.account_id, conversations, settlement.named)
        more = _give_back_empty(session, batch, conversations)
    if any(_has_answered(outcome) for outcome, _ms in results):
        lanes.succeed(batch)
    return _after(batch, trouble), more


def _has_answered(outcome: Outcome | NotThere) -> bool:
    """Tell whether the end itself said something, which shows that it works."""
    if isinstance(outcome, Rejected):
        return outcome.reason != NO_ROOM
    return isinstance(outcome, Accepted | NotThere)


def _give_back_empty(session: Session, batch: Batch, conversations: Sequence[UUID]) -> list[UUID]:
    """Give back the lanes of settled conversations with nothing more in them; return the others."""
    mine = (Lane.end_id == batch.end_id, Lane.lease == batch.token, Lane.conversation_id.in_(conversations))
    empty = session.scalars(
        update(Lane)
        .where(*mine, Lane.settled_seq >= Lane.last_seq)
        .values(lease=None, lease_until=func.now())
        .returning(Lane.conversation_id)
        .execution_options(synchronize_session=False)
    ).all()
    return [conversation for conversation in conversations if conversation not in set(empty)]


@dataclass(slots=True)
class _Gate:
    """The gate of the end, read only when there was trouble."""

    session: Session
    end_id: UUID

    @property
    def ok_at(self) -> datetime | None:
        """When the end last worked."""
        return self.session.get_one(Gate, self.end_id).ok_at

    @property
    def is_well(self) -> bool:
        """Tell whether the end worked a moment ago."""
        return self.ok_at is not None and self.ok_at > clock.now() - WELL_FOR


def _deliveries(session: Session, calls: Sequence[Call]) -> dict[UUID, tuple[Delivery, Part, Message]]:
    """Read what calls stand for; the messages too, which settling asks for: the session keeps only what somebody holds."""
    rows = session.execute(
        select(Part, Delivery, Message)
        .join(Delivery, Delivery.id == Part.delivery_id)
        .join(Message, Message.id == Delivery.message_id)
        .where(Part.id.in_([call.part_id for call in calls]))
    )
    return {part.id: (delivery, part, message) for part, delivery, message in rows}


def _one(
    settlement: Settlement,
    stop: Stop,
    gate: _Gate,
    delivery: Delivery,
    part: Part,
    call: Call,
    outcome: Outcome | NotThere,
    ms: int,
    trouble: list[EndError],
) -> None:
    reason = outcome.reason if isinstance(outcome, EndError) else ""
    detail = outcome.detail if isinstance(outcome, EndError) else ""
    settlement.close_attempt(
        call.attempt_id, outcome=OUTCOMES[type(outcome)], reason=reason, detail=detail, duration_ms=ms
    )
    is_current = part.attempt_id == call.attempt_id
    if is_current:
        part.attempt_id = None
    if isinstance(outcome, Accepted):
        _accepted(settlement, stop, delivery, part, call, outcome)  # a true answer wins, however late
    elif delivery.status != Status.QUEUED or not is_current:
        return  # an echo was faster than the answer, or our lease ran out and somebody else has judged this attempt
    elif isinstance(outcome, NotThere):
        part.status = "queued"
    elif isinstance(outcome, Rejected):
        settlement.move(delivery, Status.FAILED, reason, detail)
    elif call.item.act is Act.READ and isinstance(outcome, Retry | Uncertain) and reason != NOT_CALLED:
        _give_up_mark(settlement, gate, delivery, outcome, trouble)
    elif isinstance(outcome, Uncertain):
        _uncertain(settlement, stop, gate, delivery, part, call, outcome, trouble)
    elif isinstance(outcome, Retry) and call.is_lookup and outcome.after is not None:
        _wait(settlement.session, delivery, outcome.after)  # too early to tell: this conversation's affair only
    elif isinstance(outcome, Retry):
        _retry(settlement, gate, delivery, outcome, trouble, attempt_id=call.attempt_id)
    else:
        trouble.append(outcome)


def _accepted(
    settlement: Settlement, stop: Stop, delivery: Delivery, part: Part, call: Call, outcome: Accepted
) -> None:
    is_new = call.item.act is Act.NEW
    scope = call.item.conversation.scope if stop.side is Side.NETWORK else ""
    settlement.accept(delivery, part, outcome.remote_ids if is_new else (), scope, outcome.status)
    link = call.item.conversation.link
    if link is not None and outcome.state and {**link.state, **outcome.state} != dict(link.state):
        settlement.session.execute(
            update(LinkRecord)
            .where(LinkRecord.connection_id == stop.id, LinkRecord.conversation_id == delivery.conversation_id)
            .values(state=LinkRecord.state.op("||")(dict(outcome.state)))
        )


def _uncertain(
    settlement: Settlement,
    stop: Stop,
    gate: _Gate,
    delivery: Delivery,
    part: Part,
    call: Call,
    outcome: Uncertain,
    trouble: list[EndError],
) -> None:
    repeat = stop.capabilities.repeat
    is_harmless = call.item.act in (Act.EDIT, Act.DELETE)
    # one lost answer of an end that works is this message's affair; without any answer lately it is the end's
    is_well = gate.is_well
    if repeat is Repeat.KEY or is_harmless:
        scope = Scope.MESSAGE if is_well else Scope.END
        _retry(settlement, gate, delivery, Retry(outcome.reason, outcome.detail, scope=scope), trouble)
        return
    part.status = "uncertain"
    if not is_well:
        trouble.append(outcome)  # else one conversation after another would become uncertain
    limit = timedelta(seconds=runtime.get().config.reconcile_wait_s)
    is_over = part.attempted_at is not None and clock.now() > part.attempted_at + limit
    if repeat is Repeat.LOOKUP and not is_over:
        _wait(settlement.session, delivery, LOOKUP_AFTER)
    else:
        settlement.move(delivery, Status.UNCERTAIN, outcome.reason, outcome.detail)


def _give_up_mark(
    settlement: Settlement, gate: _Gate, delivery: Delivery, outcome: Retry | Uncertain, trouble: list[EndError]
) -> None:
    """Give up a read mark at its first trouble: no message waits behind it, and the next mark speaks for it too."""
    settlement.move(delivery, Status.FAILED, outcome.reason, outcome.detail)
    is_pause = isinstance(outcome, Retry) and outcome.after is not None
    is_of_end = not (isinstance(outcome, Retry) and outcome.scope is Scope.MESSAGE)
    if is_of_end and (is_pause or not gate.is_well):
        trouble.append(outcome)


def _retry(
    settlement: Settlement,
    gate: _Gate,
    delivery: Delivery,
    outcome: Retry,
    trouble: list[EndError],
    *,
    attempt_id: int | None = None,
) -> None:
    """Trouble of the end backs off all its lanes; trouble of a message gets a few tries.

    An end that works for others right now blames the message, unless it said when to come again: a pause is nobody's fault and costs no try.
    `attempt_id`: the attempt that surely did not arrive, if it is one.
    """
    now = clock.now()
    is_pause = outcome.after is not None or outcome.reason == NOT_CALLED
    works_for_others = gate.ok_at is not None and gate.ok_at > max(delivery.first_tried_at or now, now - WELL_FOR)
    if outcome.scope is Scope.END and (is_pause or not works_for_others):
        trouble.append(outcome)
        # the next probe should be another lane's
        settlement.session.execute(
            update(Lane)
            .where(Lane.end_id == delivery.end_id, Lane.conversation_id == delivery.conversation_id)
            .values(due_since=func.now())
        )
        return
    if outcome.reason == "limit" and outcome.after is not None:
        _wait(settlement.session, delivery, outcome.after)  # a limit of this conversation alone
        return
    steps = runtime.get().config.message_retry_s
    if delivery.tries >= len(steps):
        is_in_doubt = delivery.act == Act.NEW and in_doubt(settlement.session, delivery, besides=attempt_id)
        settlement.move(delivery, Status.UNCERTAIN if is_in_doubt else Status.FAILED, outcome.reason, outcome.detail)
        return
    wait = outcome.after or timedelta(seconds=steps[delivery.tries])
    delivery.tries += 1
    delivery.reason, delivery.detail = outcome.reason, outcome.detail[:2000]
    _wait(settlement.session, delivery, _jittered(wait))


def in_doubt(
    session: Session, delivery: Delivery, *, besides: int | None = None, parts: Collection[UUID] | None = None
) -> bool:
    """Tell whether any attempt of a delivery (of these parts alone, when given) may have arrived, besides one of which we know better."""
    unknown = select(Attempt.id).where(
        Attempt.delivery_id == delivery.id,
        Attempt.outcome.in_(("uncertain", "lost", "open")),
        Attempt.id.is_distinct_from(besides),
    )
    if parts is not None:
        unknown = unknown.where(Attempt.part_id.in_(parts))
    return session.scalar(unknown.limit(1)) is not None


def _wait(session: Session, delivery: Delivery, wait: timedelta) -> None:
    session.execute(
        update(Lane)
        .where(Lane.end_id == delivery.end_id, Lane.conversation_id == delivery.conversation_id)
        .values(not_before=func.now() + wait)
    )


def _after(batch: Batch, trouble: Sequence[EndError]) -> Trouble:
    """Close the gate of an end that lost its access, back off one in trouble; tell what it is in."""
    for error in trouble:
        if life.mark_lost(batch.account_id, batch.end_id, error):
            return Trouble.LOST
    if not trouble:
        return Trouble.NONE
    afters = [error.after for error in trouble if isinstance(error, Retry) and error.after is not None]
    if afters:
        lanes.pause(batch.end_id, max(afters))
        return Trouble.PAUSED
    steps = runtime.get().config.end_retry_s
    step = steps[min(batch.failures, len(steps) - 1)]
    lanes.fail(batch, _jittered(timedelta(seconds=step)))
    return Trouble.FAILING


def _jittered(wait: timedelta) -> timedelta:
    return wait * uniform(1 - JITTER, 1 + JITTER)


def _note(call: Call, stop: Stop, outcome: Outcome | NotThere, ms: int) -> None:
    name = OUTCOMES[type(outcome)]
    metrics.attempts.labels(stop.adapter, name).inc()
    log.info(
        "attempt_made",
        trace=call.trace_id,
        end=str(stop.id),
        delivery=str(call.delivery_id),
        conversation=str(call.conversation_id),
        act=call.item.act.value,
        is_lookup=call.is_lookup,
        outcome=name,
        reason=outcome.reason if isinstance(outcome, EndError) else "",
        duration_ms=ms,
    )
