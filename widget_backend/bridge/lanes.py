"""Lanes: who may work what, in which order. A lane is due while settled_seq < last_seq; a lease says who works it; a gate closes an end's lanes."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, func, select, text, tuple_, update
from sqlalchemy.orm import Session

from widget_backend.bridge import runtime
from widget_backend.bridge.models import Gate, Lane
from widget_backend.bridge.tenancy import at_once, transaction

# One probe per end with due lanes, however many lanes wait; a gate that failed lets one lane through to find out (the probe), and counts as
# not due until that probe must have ended; its row is locked, so that two workers make no two probes. SKIP LOCKED: two workers never wait for each other here. By ctid: the rows are locked by this
# very statement, and a join by key made PostgreSQL read the whole table.
_TAKE = text("""
    with probing as (
        select end_id from gates where failures > 0 and is_open and not_before <= now() for update skip locked
    ),
    ready as (
        select g.end_id, g.account_id, g.adapter, g.batch, g.failures,
               case when g.failures > 0 then 1 when g.batch > 1 then g.batch else g.cap end as room
        from gates g
        where g.is_open and g.not_before <= now() and (g.failures = 0 or g.end_id in (select end_id from probing))
          and g.end_id <> all(:full_ends) and g.adapter <> all(:full_adapters)
          and exists (
              select 1 from lanes l where l.end_id = g.end_id and l.settled_seq < l.last_seq
                and l.not_before <= now() and l.lease_until <= now()
          )
        order by random() limit :ends
    ),
    picked as (
        select l.place from ready r cross join lateral (
            select ctid as place from lanes
            where end_id = r.end_id and settled_seq < last_seq and not_before <= now() and lease_until <= now()
            order by priority, due_since limit r.room for update skip locked
        ) l
    ),
    leased as (
        update lanes l set lease = :token, lease_until = now() + make_interval(secs => :lease_s)
        where l.ctid = any(array(select place from picked))
        returning l.end_id, l.conversation_id, l.account_id
    ),
    probed as (
        update gates g set not_before = now() + make_interval(secs => :probe_s)
        where g.failures > 0 and g.end_id in (select end_id from leased)
    )
    select leased.end_id, leased.conversation_id, leased.account_id, r.adapter, r.batch, r.failures
    from leased join ready r on r.end_id = leased.end_id
""")

_NEXT = text("""
    select extract(epoch from min(greatest(l.not_before, g.not_before)) - now())
    from gates g cross join lateral (
        select min(not_before) as not_before from lanes
        where end_id = g.end_id and settled_seq < last_seq and lease_until <= now()
    ) l where g.is_open and l.not_before is not null
    union all
    select extract(epoch from min(greatest(pull_at, pull_lease_until)) - now()) from gates
    where is_open and pull_at is not null
    order by 1 limit 1
""")

_SKIP_HOLES = text("""
    update lanes l set settled_seq = coalesce(
        (select min(d.lane_seq) - 1 from deliveries d
         where d.end_id = l.end_id and d.conversation_id = l.conversation_id and d.lane_seq > l.settled_seq),
        l.last_seq
    )
    where l.end_id = :end_id and l.conversation_id = any(:conversations)
""")

FINE_S = 3.0
_SUCCEED = text("""
    update gates set failures = 0, ok_at = now(), not_before = case when failures > 0 then now() else not_before end
    where end_id = :end_id
""")

_FAIL = text("""
    update gates set failures = failures + 1, not_before = now() + make_interval(secs => :wait_s)
    where end_id = :end_id and failures = :seen
""")


@dataclass(frozen=True, slots=True)
class Batch:
    """Lanes of one end, leased together; one call can carry them all."""

    end_id: UUID
    account_id: UUID
    adapter: str
    token: UUID
    conversations: tuple[UUID, ...]
    failures: int = 0
    """How often in a row the end had failed when the lanes were leased; the batch is the probe unless never."""


def take(ends: int, *, full_ends: Collection[UUID] = (), full_adapters: Collection[str] = ()) -> list[Batch]:
    """Lease due lanes of up to `ends` ends, live before mailings before history, oldest first."""
    config = runtime.get().config
    token = uuid4()
    with at_once() as connection:
        rows = connection.execute(
            _TAKE,
            {
                "ends": ends,
                "token": token,
                "lease_s": config.lease_s,
                "probe_s": config.outside_connect_s + config.outside_read_s + 5,
                "full_ends": list(full_ends),
                "full_adapters": list(full_adapters),
            },
        ).all()
    by_end: dict[UUID, list[UUID]] = {}
    facts = {row.end_id: row for row in rows}
    for row in rows:
        by_end.setdefault(row.end_id, []).append(row.conversation_id)
    return [
        Batch(
            end_id,
            facts[end_id].account_id,
            facts[end_id].adapter,
            token,
            tuple(conversations[i : i + size]),
            facts[end_id].failures,
        )
        for end_id, conversations in by_end.items()
        for size in [facts[end_id].batch]
        for i in range(0, len(conversations), size)
    ]


def release(batch: Batch) -> None:
    """Give the lanes of a batch back."""
    with transaction(None) as session:
        # by conversation: other batches of the same end may hold lanes with the same token
        held = Lane.conversation_id.in_(batch.conversations)
        mine = _locked(session, Lane.end_id == batch.end_id, held, Lane.lease == batch.token)
        session.execute(
            update(Lane)
            .where(Lane.end_id == batch.end_id, Lane.conversation_id.in_(mine))
            .values(lease=None, lease_until=func.now())
        )


def renew(tokens: Collection[UUID]) -> None:
    """Renew the leases that live holders have; the heartbeat of the exchange. One that ran out stays lost."""
    if not tokens:
        return
    until = func.now() + timedelta(seconds=runtime.get().config.lease_s)
    with transaction(None) as session:
        # whoever holds one of these rows may want another of them: wait for nobody, the next beat renews what this one left out
        mine = session.execute(
            select(Lane.end_id, Lane.conversation_id)
            .where(Lane.lease.in_(list(tokens)), Lane.lease_until > func.now())
            .with_for_update(skip_locked=True)
        ).all()
        at = tuple_(Lane.end_id, Lane.conversation_id)
        session.execute(update(Lane).where(at.in_([tuple(row) for row in mine])).values(lease_until=until))
    with transaction(None) as session:
        session.execute(
            update(Gate)
            .where(Gate.inbox_lease.in_(list(tokens)), Gate.inbox_lease_until > func.now())
            .values(inbox_lease_until=until)
        )


def skip_holes(session: Session, end_id: UUID, conversations: Collection[UUID]) -> None:
    """Let lanes go on behind places whose delivery is gone (erased, or moved to the end by a repeat); nothing waits behind nothing."""
    if conversations:
        session.execute(_SKIP_HOLES, {"end_id": end_id, "conversations": list(conversations)})


def _locked(session: Session, *which: ColumnElement[bool]) -> Sequence[UUID]:
    # everybody locks lanes in this order: nobody waits in a circle
    return session.scalars(
        select(Lane.conversation_id).where(*which).order_by(Lane.end_id, Lane.conversation_id).with_for_update()
    ).all()


def seconds_to_next() -> float | None:
    """Return in how many seconds the next lane or pull is due, at the earliest now; None when nothing waits."""
    with at_once() as connection:
        value = connection.scalar(_NEXT)
    return None if value is None else max(0.0, float(value))


def fail(batch: Batch, wait: timedelta) -> None:
    """Note trouble of an end: all its lanes wait, then one probe goes first. Calls that fail side by side are one failure."""
    _fine.pop(batch.end_id, None)
    with at_once() as connection:
        connection.execute(_FAIL, {"end_id": batch.end_id, "seen": batch.failures, "wait_s": wait.total_seconds()})


_fine: dict[UUID, float] = {}


def succeed(batch: Batch) -> None:
    """Note that an end works: its gate stands open again. Written at most every few seconds while it goes on working."""
    end_id = batch.end_id
    if not batch.failures and time.monotonic() - _fine.get(end_id, -math.inf) < FINE_S:
        return
    with at_once() as connection:
        connection.execute(_SUCCEED, {"end_id": end_id})
    _fine[end_id] = time.monotonic()


def probe_again(batch: Batch) -> None:
    """Let another lane be the probe: this one had nothing to call with, so nothing was found out about the end."""
    with transaction(None) as session:
        session.execute(
            update(Gate)
            .where(Gate.end_id == batch.end_id, Gate.failures == batch.failures)
            .values(not_before=func.now())
        )


def pause(end_id: UUID, wait: timedelta) -> None:
    """Let all lanes of an end wait as long as it asked; this is no failure, and needs no probe."""
    with transaction(None) as session:
        session.execute(update(Gate).where(Gate.end_id == end_id).values(not_before=func.now() + wait))
