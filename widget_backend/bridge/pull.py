"""Pull: ends are asked what their hooks may not have brought - after outages, at start, every few minutes - or everything, where no hook can reach us.

What a pull brings is kept in the inbox like a hook; the once-only keys make what was already there a duplicate.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog
from sqlalchemy import case, func, select, text, update
from sqlalchemy.orm import Session

from widget_backend import clock
from widget_backend.bridge import items, keep, life, registry, runtime, wake
from widget_backend.bridge.ends import Conversation, End, Pulled, PullRequest, Side
from widget_backend.bridge.errors import EndError, Retry
from widget_backend.bridge.models import ClientRecord, ConversationRecord, EndRecord, Gate, LinkRecord, Route
from widget_backend.bridge.tenancy import transaction
from widget_backend.limits import LimitWait
from widget_backend.outside import OutsideError

log = structlog.get_logger()

ACTIVE_FOR = timedelta(hours=24)
OVERLAP = timedelta(minutes=5)
CONVERSATIONS = 200
CONVERSATIONS_AFTER_OUTAGE = 2000
FIRST_SINCE = timedelta(minutes=30)
ROUNDS = 50
LEASE_S = 60

_TAKE = text("""
    with due as (
        select end_id from gates
        where pull_at <= now() and is_open and pull_lease_until <= now()
        order by pull_at limit :limit for update skip locked
    )
    update gates g set pull_lease = :token, pull_lease_until = now() + make_interval(secs => :lease_s)
    from due where g.end_id = due.end_id
    returning g.end_id, g.account_id, g.cursor, g.pulled_at, now() as taken_at
""")


@dataclass(frozen=True, slots=True)
class Task:
    """One end to pull. `taken_at`: by the database's clock; what happens from then on is the next pull's affair."""

    end_id: UUID
    account_id: UUID
    cursor: dict[str, object]
    pulled_at: datetime | None
    taken_at: datetime
    token: UUID

    @property
    def since(self) -> datetime:
        """Since when something may have been missed."""
        return (self.pulled_at or self.taken_at - FIRST_SINCE) - OVERLAP


@dataclass(frozen=True, slots=True)
class _Done:
    """What a pull brought: how much was new, when the next one is due, and whether all of it was fetched."""

    new: int
    next_in: timedelta | None
    is_whole: bool


def take(limit: int) -> list[Task]:
    """Lease ends whose pull is due."""
    token = uuid4()
    with transaction(None) as session:
        rows = session.execute(_TAKE, {"limit": limit, "token": token, "lease_s": LEASE_S}).all()
    return [Task(row.end_id, row.account_id, row.cursor, row.pulled_at, row.taken_at, token) for row in rows]


def renew(tokens: Collection[UUID]) -> None:
    """Keep what is being pulled: one round of a slow end may take longer than a lease."""
    until = func.now() + timedelta(seconds=LEASE_S)
    with transaction(None) as session:
        session.execute(update(Gate).where(Gate.pull_lease.in_(list(tokens))).values(pull_lease_until=until))


def give_back(tokens: Collection[UUID]) -> None:
    """Let others begin anew what was leased here and will not be finished."""
    with transaction(None) as session:
        session.execute(
            update(Gate).where(Gate.pull_lease.in_(list(tokens))).values(pull_lease=None, pull_lease_until=func.now())
        )


def run(task: Task) -> int:
    """Pull an end until it has nothing more (or a bound); count what was new; set when it is next."""
    try:
        end = life.snapshot(task.account_id, task.end_id)
        done = _pull(task, end)
    except EndError as error:
        log.warning("pull_trouble", end=str(task.end_id), reason=error.reason)
        life.mark_lost(task.account_id, task.end_id, error)
        after = error.after if isinstance(error, Retry) else None
        # also when the access is lost: what was missed since the last whole pull is asked for after the reconnect
        _finish(task, after or timedelta(seconds=30), is_done=False)
        return 0
    except (OutsideError, LimitWait) as error:
        log.warning("pull_trouble", end=str(task.end_id), reason=getattr(error, "reason", "limit"))
        _finish(task, timedelta(seconds=30), is_done=False)
        return 0
    if done.new:
        wake.poke()
    _finish(task, done.next_in, is_done=done.is_whole)
    return done.new


def _pull(task: Task, end: End) -> _Done:
    facts = registry.manifest(end.adapter).capabilities
    missed_one = task.pulled_at is not None and task.taken_at - task.pulled_at > 2 * _every(facts.pull_every)
    most = CONVERSATIONS_AFTER_OUTAGE if missed_one else CONVERSATIONS
    with transaction(task.account_id) as session:
        conversations = _active(session, end, task.since, most) if facts.once else ()
    groups = [conversations[i : i + CONVERSATIONS] for i in range(0, len(conversations), CONVERSATIONS)] or [()]
    cursor, new, next_in = task.cursor, 0, facts.pull_every
    for group in groups:
        for _round in range(ROUNDS):
            request = PullRequest(since=task.since, cursor=cursor, conversations=group)
            pulled: Pulled = registry.adapter(end).pull(request)
            new += keep.keep_pulled(keep.Door(task.end_id, task.account_id), pulled.raws, clock.now())
            cursor, next_in = dict(pulled.cursor), pulled.next_in or next_in
            # the cursor is moved after what it stands for is kept: a crash between pulls the same once more
            _move_cursor(task, cursor)
            if pulled.raws:
                wake.poke()
            if not pulled.more:
                break
        else:
            return _Done(new, timedelta(0), is_whole=False)
    return _Done(new, next_in, is_whole=True)


def _move_cursor(task: Task, cursor: dict[str, object]) -> None:
    lease = func.now() + timedelta(seconds=LEASE_S)
    with transaction(None) as session:
        session.execute(
            update(Gate)
            .where(Gate.end_id == task.end_id, Gate.pull_lease == task.token)
            .values(cursor=cursor, pull_lease_until=lease)
        )


def _active(
    session: Session, end: End, since: datetime | None = None, most: int = CONVERSATIONS
) -> tuple[Conversation, ...]:
    """Return the conversations of this end that were active lately, newest first; lately as it was at `since`, before we were away."""
    end_id = UUID(end.id)
    since = since or clock.now()
    query = (
        select(ConversationRecord, ClientRecord, EndRecord, LinkRecord, Route.settings)
        .join(ClientRecord, ClientRecord.id == ConversationRecord.client_id)
        .join(EndRecord, EndRecord.id == ConversationRecord.channel_id)
        .join(
            LinkRecord,
            (LinkRecord.conversation_id == ConversationRecord.id) & (LinkRecord.connection_id == end_id),
            isouter=end.side is Side.NETWORK,
        )
        .outerjoin(Route, (Route.channel_id == EndRecord.id) & (Route.connection_id == end_id))
        .where(ConversationRecord.last_at > since - ACTIVE_FOR)
        .order_by(ConversationRecord.last_at.desc())
        .limit(most)
    )
    if end.side is Side.NETWORK:
        query = query.where(ConversationRecord.channel_id == end_id)
    return tuple(items.conversation_of(*row) for row in session.execute(query))


def _finish(task: Task, next_in: timedelta | None, *, is_done: bool) -> None:
    values: dict[str, object] = {
        "pull_lease": None,
        "pull_lease_until": func.now(),
        # whoever asked for a pull while this one was under way is not forgotten
        "pull_at": case((Gate.pull_at > task.taken_at, Gate.pull_at), else_=func.now() + _every(next_in)),
    }
    if is_done:
        values["pulled_at"] = task.taken_at
    with transaction(None) as session:
        session.execute(update(Gate).where(Gate.end_id == task.end_id, Gate.pull_lease == task.token).values(**values))


def _every(asked: timedelta | None) -> timedelta:
    return timedelta(seconds=runtime.get().config.pull_s) if asked is None else asked
