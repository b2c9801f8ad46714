"""The inbox of one end, single-flight and in arrival order: parse, record and route in one transaction per batch.

A batch that fails is taken again hook by hook, so that one bad hook stops nobody; a hook that fails by itself is tried a few times, then kept as
given up (state 3), counted and shown. Nothing is deleted here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from widget_backend import clock, metrics
from widget_backend.bridge import keep, life, presence, registry, routes, runtime, wanted
from widget_backend.bridge.ends import Hook, Owner, Side
from widget_backend.bridge.errors import AccessLost, EndError
from widget_backend.bridge.events import (
    DialogWanted,
    EndBroken,
    EndChanged,
    EndRevoked,
    Event,
    Ignored,
    TypingStarted,
    Unparsed,
)
from widget_backend.bridge.models import EndRecord, Gate, Inbox
from widget_backend.bridge.record import Recorder
from widget_backend.bridge.tenancy import at_once, is_away, transaction

log = structlog.get_logger()

BATCH = 40
TRIES = 5
NEW, DONE, UNPARSED, GIVEN_UP = 0, 1, 2, 3

_WAITS = """
    g.inbox_lease_until < now() and g.inbox_not_before <= now()
    and exists (select 1 from inbox i where i.owner_id = g.end_id and i.state = 0)
"""
_DUE = text(f"select exists (select 1 from gates g where {_WAITS})")
_TAKE = text(f"""
    update gates t set inbox_lease = gen_random_uuid(), inbox_lease_until = now() + make_interval(secs => :lease_s)
    from (
        select g.end_id from gates g where {_WAITS} and g.end_id <> all(:busy)
        order by random() limit :limit for update skip locked
    ) due
    where t.end_id = due.end_id
    returning t.end_id, t.account_id, t.inbox_lease
""")
_RELEASE = text(
    "update gates set inbox_lease = null, inbox_lease_until = now() where end_id = :end and inbox_lease = :token"
)


FollowUp = EndRevoked | EndChanged | EndBroken | DialogWanted
"""What is carried out after the transaction: it may have to ask outside."""


@dataclass(slots=True)
class Lease:
    """The right to work one end's inbox for a while."""

    end_id: UUID
    account_id: UUID
    token: UUID
    is_held: bool = True


@dataclass(frozen=True, slots=True)
class _Parsed:
    row: Inbox
    events: Sequence[Event]

    @property
    def follow_ups(self) -> list[FollowUp]:
        """What it says about the end itself, or wants of others."""
        return [event for event in self.events if isinstance(event, FollowUp)]


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of a hook."""

    state: int
    note: str | None


def is_due() -> bool:
    """Tell whether there is an unread hook that nobody works on."""
    with at_once() as connection:
        return bool(connection.scalar(_DUE))


def take(limit: int, busy: Collection[UUID] = ()) -> list[Lease]:
    """Lease inboxes with unread hooks that nobody works on, but none of `busy`."""
    with at_once() as connection:
        values = {"limit": limit, "busy": list(busy), "lease_s": runtime.get().config.lease_s}
        return [Lease(row.end_id, row.account_id, row.inbox_lease) for row in connection.execute(_TAKE, values)]


def release(lease: Lease) -> None:
    """Give an inbox back, unless that was done with its last batch."""
    if not lease.is_held:
        return
    with at_once() as connection:
        connection.execute(_RELEASE, {"end": lease.end_id, "token": lease.token})


def work(lease: Lease, *, limit: int = BATCH) -> bool:
    """Take one batch of an inbox; tell whether there may be more at once."""
    try:
        return _work(lease, limit)
    except Exception as error:
        if is_away(error):
            raise  # the same batch again, later
        log.exception("inbox_batch_failed", end=str(lease.end_id))
        return _one_by_one(lease)


def _work(lease: Lease, limit: int) -> bool:
    with transaction(lease.account_id) as session:
        if not _still_ours(session, lease):
            return False
        rows = _unread(session, lease.end_id, limit)
        end = session.get(EndRecord, lease.end_id)
        if not rows or end is None:
            return False
        map = routes.read(session)
        recorder = Recorder(session, lease.account_id, map.stops[end.id], map)
        parsed = [_Parsed(row, _parse(row, life.owner_of(end))) for row in rows]
        recorder.prepare([event for one in parsed for event in one.events])
        results = [(one, _record(recorder, one)) for one in parsed]
        for one, result in results:
            if not one.follow_ups:
                _done(one.row, result)
        recorder.flush()
        has_more = len(rows) == limit
        is_held = has_more or any(one.follow_ups for one in parsed)
        if not is_held:  # in the same breath: most inboxes hold one hook
            session.execute(_RELEASE, {"end": lease.end_id, "token": lease.token})
    lease.is_held = is_held
    if end.side == Side.CRM:
        presence.show_typing(lease.account_id, lease.end_id, _typing_now(parsed))
    for one, result in results:
        if one.follow_ups:
            _follow(lease, one, result)
    return has_more


def _follow(lease: Lease, one: _Parsed, result: _Result) -> None:
    """Carry out what a hook says about its end. Only then it is read: whoever dies before leaves it to be read again, which does no harm."""
    for event in one.follow_ups:
        _follow_up(lease, event)
    with transaction(lease.account_id) as session:
        row = session.get(Inbox, (one.row.id, one.row.month))
        if row is not None:  # else it was erased with its end
            _done(row, result)


def _one_by_one(lease: Lease) -> bool:
    """Take the first hook alone; if it fails again it is counted, and after a few tries given up."""
    with transaction(lease.account_id) as session:
        first = next(iter(_unread(session, lease.end_id, 1)), None)
    if first is None:
        return False
    try:
        return _work(lease, 1)
    except Exception as error:
        if is_away(error):
            raise
        log.exception("inbox_hook_failed", end=str(lease.end_id), trace=first.trace_id)
        tries = first.tries + 1
        with transaction(lease.account_id) as session:
            session.execute(
                update(Inbox)
                .where(Inbox.id == first.id, Inbox.month == first.month)
                .values(tries=tries, state=GIVEN_UP if tries >= TRIES else NEW, note=type(error).__name__)
            )
            session.execute(
                update(Gate)
                .where(Gate.end_id == lease.end_id)
                .values(inbox_not_before=func.now() + text(f"interval '{min(tries, 5)} seconds'"))
            )
        return tries >= TRIES


def _still_ours(session: Session, lease: Lease) -> bool:
    # not locked: whoever settles holds conversations and would wait for us here while we wait for them
    held = session.execute(
        select(Gate.inbox_lease, Gate.inbox_lease_until > func.now()).where(Gate.end_id == lease.end_id)
    ).one()
    return held[0] == lease.token and bool(held[1])


def _unread(session: Session, owner_id: UUID, limit: int) -> Sequence[Inbox]:
    return session.scalars(
        select(Inbox).where(Inbox.owner_id == owner_id, Inbox.state == NEW).order_by(Inbox.id).limit(limit)
    ).all()


def _parse(row: Inbox, owner: Owner) -> Sequence[Event]:
    return registry.hooks(owner.adapter).parse(hook_of(row), owner)


def hook_of(row: Inbox) -> Hook:
    """Open a kept hook."""
    return Hook(
        body=keep.body_of(row),
        received_at=row.received_at,
        name=row.meta.get("name", ""),
        query=row.meta.get("query", ""),
        content_type=row.meta.get("content_type", ""),
    )


def _typing_now(parsed: Sequence[_Parsed]) -> set[str]:
    """Return the conversations in which somebody is typing; what was told a while ago is over."""
    fresh = [one for one in parsed if one.row.received_at > clock.now() - presence.FRESH]
    return {event.thread for one in fresh for event in one.events if isinstance(event, TypingStarted)}


def _record(recorder: Recorder, one: _Parsed) -> _Result:
    state, notes = DONE, []
    for event in one.events:
        kind = type(event).__name__
        metrics.events.labels(recorder.stop.adapter, kind).inc()
        if isinstance(event, Unparsed):
            state = UNPARSED
            notes.append(f"{event.kind}: {event.why}")
        elif not isinstance(event, Ignored | TypingStarted | FollowUp):
            outcome = recorder.take(event, one.row.trace_id)
            if outcome.startswith("unknown"):
                state = UNPARSED
                notes.append(f"{kind}: {outcome}")
            log.info(
                "event_recorded",
                trace=one.row.trace_id,
                end=str(recorder.stop.id),
                account=str(recorder.account_id),
                kind=kind,
                outcome=outcome,
            )
    return _Result(state, "; ".join(notes)[:500] or None)


def _done(row: Inbox, result: _Result) -> None:
    row.state, row.done_at, row.note = result.state, clock.now(), result.note
    if row.dedupe and row.dedupe.startswith("d:"):
        row.dedupe = None  # without an id of its own the same body may come again and mean a new event


def _follow_up(lease: Lease, event: FollowUp) -> None:
    """Carry out what the outside said about the end itself; its own failures are told by the end's state."""
    match event:
        case EndRevoked():
            life.mark_lost(lease.account_id, lease.end_id, AccessLost(event.reason))
            if event.erase:
                life.erase(lease.account_id, lease.end_id)
        case DialogWanted():
            wanted.begin(lease.account_id, lease.end_id, event)
        case EndBroken():
            life.set_state(lease.account_id, lease.end_id, "error", event.reason, event.detail)
        case EndChanged():
            life.change(lease.account_id, lease.end_id, settings=event.settings, secrets=event.secrets)
            if event.reconnect:
                try:
                    life.connect(lease.account_id, lease.end_id)
                except EndError as error:
                    log.warning("reconnect_failed", end=str(lease.end_id), reason=error.reason)
