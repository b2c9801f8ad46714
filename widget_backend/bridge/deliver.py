"""Deliver: the heads of leased lanes go to their end.

Three steps, no session open in the middle one: **prepare** (decide, make parts, commit an open attempt for each call), **call** (the adapter),
**settle** (outcomes become statuses, with the reports, in one transaction).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from widget_backend import clock, outside
from widget_backend.bridge import faults, gate, items, lanes, life, outcomes, plan, registry, routes, runtime
from widget_backend.bridge.ends import Act, End, Item, NotThere, Outcome, Repeat, Side
from widget_backend.bridge.errors import EndError, Rejected, Retry, Uncertain
from widget_backend.bridge.items import Head
from widget_backend.bridge.keep import first_of_month
from widget_backend.bridge.lanes import Batch
from widget_backend.bridge.models import Attempt, Delivery, Lane, Part
from widget_backend.bridge.outcomes import Trouble
from widget_backend.bridge.route import Outbox
from widget_backend.bridge.routes import Stop
from widget_backend.bridge.settle import Settlement, lock
from widget_backend.bridge.statuses import Status
from widget_backend.bridge.tenancy import is_away, transaction
from widget_backend.limits import LimitWait
from widget_backend.outside import MaybeSent, NotSent, OutsideError

log = structlog.get_logger()

LOST_LEASES = 3
SETTLE_PATIENCE_S = 20.0
SETTLE_AGAIN_S = 0.5
FILE_POLL = timedelta(seconds=1)
PROFILE_WAIT = timedelta(seconds=15)
NO_WAIT = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Call:
    """One part on its way: what the adapter gets, and the rows it stands for."""

    item: Item
    delivery_id: UUID
    part_id: UUID
    attempt_id: int
    conversation_id: UUID
    trace_id: str
    is_lookup: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the first step decided. `held`: conversations without a call whose next head is to be looked at at once."""

    end: End | None
    calls: list[Call]
    held: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one batch of calls, for the breaker of the exchange."""

    calls: int
    trouble: Trouble


def deliver(batch: Batch, *, may_go_on: Callable[[], bool]) -> Result:
    """Work leased lanes until nothing is due in them, trouble stops them or `may_go_on` says no; then give them back."""
    count, trouble = 0, Trouble.NONE
    held: Sequence[UUID] = batch.conversations
    kept = set(held)
    try:
        while held and may_go_on():
            prepared = _prepared(batch, held)
            if not prepared.calls or prepared.end is None:
                held = prepared.held
                continue
            results = call(prepared.end, prepared.calls)
            count += len(prepared.calls)
            try:
                trouble, held = _settled(batch, prepared.calls, results)
            except Exception as error:
                if not is_away(error):
                    faults.rest(batch)  # what we fail to settle would be called again at once, and again
                raise
            kept -= {one.conversation_id for one in prepared.calls} - set(held)
            if trouble:
                break
    finally:
        if kept:
            lanes.release(batch)
        if batch.failures and not count:
            lanes.probe_again(batch)
    return Result(count, trouble)


def _settled(
    batch: Batch, calls: Sequence[Call], results: Sequence[tuple[Outcome | NotThere, int]]
) -> tuple[Trouble, list[UUID]]:
    """Settle, again and again while the database is away: these answers come only once, and are true even when the lease has run out."""
    until = time.monotonic() + SETTLE_PATIENCE_S
    while True:
        try:
            return outcomes.settle(batch, calls, results)
        except DBAPIError as error:
            if time.monotonic() > until or not is_away(error):
                raise
            log.warning("settle_again", end=str(batch.end_id), error=type(error.orig).__name__)
            time.sleep(SETTLE_AGAIN_S)


# -------------------------------------------------------------------------------------------------------------- prepare


def _prepared(batch: Batch, conversations: Sequence[UUID]) -> Prepared:
    """Prepare; after a fault of ours each conversation apart, so that one that we cannot handle holds no other."""
    try:
        return prepare(batch, conversations)
    except Exception as error:
        if is_away(error):
            raise
        if len(conversations) == 1:
            log.exception("prepare_failed", end=str(batch.end_id), conversation=str(conversations[0]))
            faults.set_aside(batch, conversations[0])
            return Prepared(None, [], ())
    apart = [_prepared(batch, [conversation]) for conversation in conversations]
    return Prepared(
        next((one.end for one in apart if one.end is not None), None),
        [call for one in apart for call in one.calls],
        tuple(conversation for one in apart for conversation in one.held),
    )


def prepare(batch: Batch, conversations: Sequence[UUID]) -> Prepared:
    """Decide what leaves now and commit an open attempt for each call. Lanes that are not ours any more are left alone."""
    now = clock.now()
    with transaction(batch.account_id) as session:
        lock(session, conversations)
        held = _still_ours(session, batch, conversations)
        map = routes.read(session)
        stop = map.stops.get(batch.end_id)
        if stop is None or stop.state != "active":
            return Prepared(None, [], ())
        due = [(conversation, settled + 1) for conversation, settled, last in held if settled < last]
        if not due:
            return Prepared(None, [], ())
        outbox = Outbox(session, map)
        settlement = Settlement(session, outbox)
        found = items.heads(session, stop, due)
        lanes.skip_holes(session, batch.end_id, {c for c, _seq in due} - {head.conversation.id for head in found})
        ready = [(head, part) for head in found if (part := _decide(session, settlement, stop, head, now)) is not None]
        settlement.flush()
        outbox.flush()
        end = life.snapshot_in(session, batch.end_id, version=stop.version)
        calls = _open_attempts(session, ready, stop, end.locale, now)
    return Prepared(end, calls, tuple(settlement.moved))


def _still_ours(session: Session, batch: Batch, conversations: Sequence[UUID]) -> list[tuple[UUID, int, int]]:
    """Lock the lanes that this batch still holds and that are due; return (conversation, settled, last)."""
    rows = session.execute(
        select(Lane.conversation_id, Lane.settled_seq, Lane.last_seq)
        .where(
            Lane.end_id == batch.end_id,
            Lane.conversation_id.in_(conversations),
            Lane.lease == batch.token,
            Lane.lease_until > func.now(),
            Lane.not_before <= func.now(),
        )
        .order_by(Lane.conversation_id)
        .with_for_update()
    )
    return [(row.conversation_id, row.settled_seq, row.last_seq) for row in rows]


def _decide(session: Session, settlement: Settlement, stop: Stop, head: Head, now: datetime) -> Part | None:
    """Return the part to deliver now, or None: the delivery was settled here, or waits."""
    delivery = head.delivery
    if delivery.status != Status.QUEUED:
        settlement.pass_turn(delivery)
        return None
    lost = [part for part in head.parts if part.attempt_id is not None]
    if lost and not _after_lost_lease(settlement, stop, head, lost[0]):
        return None
    is_stale = plan.is_stale(head) and not _in_doubt(session, head)
    if is_stale or not any(part.attempts for part in head.parts):
        if _has_no_turn(settlement, head):
            return None
        facts, settings = stop.capabilities, stop.settings
        refused = gate.refuse(delivery, head.message, head.conversation, head.client, facts, settings, now)
        if refused is not None:
            settlement.move(delivery, *refused)
            return None
        if wait := _waits_until(head, stop, now):
            postpone(session, delivery, wait)
            return None
    elif gate.is_too_late(delivery, now):
        settlement.move(delivery, *_expired(session, delivery))
        return None
    if not head.parts:
        head.parts = plan.parts(session, stop, head, now)
    elif is_stale:
        head.parts = plan.anew(session, stop, head, now)
    if not head.parts:
        settlement.move(delivery, *plan.nothing_to_do(delivery))
        return None
    part = next((part for part in head.parts if part.status != "accepted"), None)
    if part is None:
        settlement.accept(delivery, head.parts[-1], (), "")
    return part


def _in_doubt(session: Session, head: Head) -> bool:
    """Tell whether what is still to be sent of a delivery may have arrived already."""
    parts = [part for part in head.parts if part.status != "accepted"]
    is_unknown = any(part.status == "uncertain" for part in parts)
    return is_unknown or outcomes.in_doubt(session, head.delivery, parts=[part.id for part in parts])


def _has_no_turn(settlement: Settlement, head: Head) -> bool:
    """Settle an edit or a deletion that has nothing to do; let one wait whose message nobody knows to be there. Tell whether it was either."""
    if head.delivery.act not in (Act.EDIT, Act.DELETE):
        return False
    if head.there.is_open:
        settlement.hold(head.delivery)
        return True
    why = plan.needless(head)
    if why:
        settlement.move(head.delivery, Status.DISCARDED, why)
    return bool(why)


def _after_lost_lease(settlement: Settlement, stop: Stop, head: Head, part: Part) -> bool:
    """Judge an attempt that nobody finished: the worker died, or its lease ran out. Tell whether the delivery may go on."""
    delivery = head.delivery
    assert part.attempt_id is not None
    settlement.close_attempt(part.attempt_id, outcome="lost", reason="lease_lost")
    part.attempt_id = None
    # whoever looks up in time may be lost with his process: that is no sign that this delivery kills its workers
    in_time = timedelta(seconds=runtime.get().config.reconcile_wait_s)
    left_at = part.attempted_at if part.status == "uncertain" else None
    if left_at is None or clock.now() > left_at + in_time:
        delivery.lost_leases += 1
    is_harmless = part.content.get("act") not in (Act.NEW.value, Act.STATUS.value)
    if stop.capabilities.repeat is Repeat.KEY or is_harmless:
        may_go_on = delivery.lost_leases < LOST_LEASES
        if not may_go_on:
            settlement.move(delivery, Status.UNCERTAIN if delivery.act == Act.NEW else Status.FAILED, "quarantined")
        return may_go_on
    part.status = "uncertain"
    if stop.capabilities.repeat is Repeat.LOOKUP and delivery.lost_leases < LOST_LEASES:
        return True
    settlement.move(delivery, Status.UNCERTAIN, "lease_lost")
    return False


def _expired(session: Session, delivery: Delivery) -> tuple[Status, str]:
    """Say what a delivery that was tried in vain becomes when its time is over: only what surely did not arrive has expired."""
    if outcomes.in_doubt(session, delivery):
        return Status.UNCERTAIN, "lease_lost"
    return Status.EXPIRED, "too_late"


def _waits_until(head: Head, stop: Stop, now: datetime) -> datetime | None:
    """Return when to look again at a message whose file, or whose client's name, is still on its way."""
    if head.delivery.act not in (Act.NEW, Act.EDIT):
        return None
    wait = timedelta(seconds=runtime.get().config.attachment_wait_s)
    since = head.message.recorded_at if head.delivery.act == Act.NEW else head.delivery.created_at
    if any(row.state == "wait" for row in head.attachments) and now < since + wait:
        return now + FILE_POLL
    is_first = head.delivery.lane_seq == 1 and stop.side is Side.CRM
    if is_first and head.has_profile_errand and now < head.message.recorded_at + PROFILE_WAIT:
        return now + FILE_POLL
    return None


def postpone(session: Session, delivery: Delivery, until: datetime) -> None:
    """Let a lane wait."""
    session.execute(
        update(Lane)
        .where(Lane.end_id == delivery.end_id, Lane.conversation_id == delivery.conversation_id)
        .values(not_before=func.greatest(until, func.now()))
    )


def _open_attempts(
    session: Session, ready: Sequence[tuple[Head, Part]], stop: Stop, locale: str, now: datetime
) -> list[Call]:
    if not ready:
        return []
    rows = [_opened(head, part, now) for head, part in ready]
    session.flush()  # new parts get their counters
    numbers = session.scalars(insert(Attempt).returning(Attempt.id, sort_by_parameter_order=True), rows).all()
    calls = []
    for (head, part), attempt_id in zip(ready, numbers, strict=True):
        is_lookup = part.status == "uncertain"
        built = items.item(head, part, stop, locale)
        part.attempt_id = attempt_id
        if not is_lookup:
            part.attempted_at = now
        head.delivery.first_tried_at = head.delivery.first_tried_at or now
        calls.append(
            Call(
                item=built,
                delivery_id=head.delivery.id,
                part_id=part.id,
                attempt_id=attempt_id,
                conversation_id=head.conversation.id,
                trace_id=head.message.trace_id,
                is_lookup=is_lookup,
            )
        )
    return calls


def _opened(head: Head, part: Part, now: datetime) -> dict[str, object]:
    part.attempts += 1
    return {
        "month": first_of_month(now),
        "account_id": head.delivery.account_id,
        "delivery_id": head.delivery.id,
        "part_id": part.id,
        "number": part.attempts,
        "trigger": head.delivery.trigger,
        "outcome": "open",
        "started_at": now,
    }


# ----------------------------------------------------------------------------------------------------------------- call


def call(end: End, calls: Sequence[Call]) -> list[tuple[Outcome | NotThere, int]]:
    """Make the outside calls, new messages in as few as the end allows; return each one's outcome and duration in ms."""
    adapter = registry.adapter(end)
    results: dict[int, tuple[Outcome | NotThere, int]] = {}
    news = [i for i, one in enumerate(calls) if one.item.act is Act.NEW and not one.is_lookup]
    told = [i for i, one in enumerate(calls) if one.item.act is Act.STATUS and not one.is_lookup]
    send = adapter.send if end.side is Side.NETWORK else adapter.import_messages
    for numbers, method in ((news, send), (told, getattr(adapter, "report", None))):
        if numbers and method is not None:
            batch = [calls[i].item for i in numbers]
            found, ms = _guarded(end, partial(method, batch))
            many: list[Outcome | NotThere] = found if isinstance(found, list) else [found] * len(numbers)
            results |= {i: (outcome, ms) for i, outcome in zip(numbers, many, strict=True)}
    stopped: EndError | None = None
    for i, one in enumerate(calls):
        if i in results:
            continue
        if stopped is not None:
            results[i] = (Retry(outcomes.NOT_CALLED, after=stopped.after if isinstance(stopped, Retry) else None), 0)
            continue
        outcome, ms = _guarded(end, partial(_single, adapter, one))
        results[i] = (outcome, ms)
        stopped = outcome if isinstance(outcome, Retry) else None
    return [results[i] for i in range(len(calls))]


def _single(adapter: Any, one: Call) -> Outcome | NotThere:
    if one.is_lookup:
        found: Outcome | NotThere = adapter.lookup(one.item)
        return found
    if one.item.act is Act.READ:
        return _mark_read(adapter, one.item)
    method = {Act.EDIT: "edit", Act.DELETE: "delete"}[one.item.act]
    outcome: Outcome = getattr(adapter, method)(one.item)
    return outcome


def _mark_read(adapter: Any, item: Item) -> Outcome:
    """Mark as read if the limits have room right now: messages need them more, and the next mark speaks for this one too."""
    try:
        with outside.patience(NO_WAIT):
            outcome: Outcome = adapter.mark_read(item)
        return outcome
    except LimitWait:
        return Rejected(outcomes.NO_ROOM)


def _guarded(end: End, make: Callable[[], Any]) -> tuple[Any, int]:
    """Run one call; what it raises becomes its outcome. An error that nobody expected leaves the attempt uncertain, and is reported."""
    started = time.perf_counter()
    try:
        found = make()
        outcome: Any = list(found) if isinstance(found, Sequence) else found
    except EndError as error:
        outcome = error
    except LimitWait as error:
        outcome = Retry("limit", after=error.after)
    except NotSent as error:
        outcome = Retry(error.reason, error.host)
    except (MaybeSent, OutsideError) as error:
        outcome = Uncertain(error.reason, error.host)
    except Exception as error:
        log.exception("adapter_failed", end=end.id, adapter=end.adapter)
        outcome = Uncertain("our_fault", type(error).__name__)
    return outcome, round((time.perf_counter() - started) * 1000)
