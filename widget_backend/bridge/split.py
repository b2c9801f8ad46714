"""The inbox of an app: each body is cut into the parts of its tenants, and each part goes into the inbox of its own end. Nothing is parsed here.

One app is worked by one worker at a time, in the order in which its hooks were kept, and a body is done in the transaction that stores its parts:
whatever is killed, nothing is lost or doubled. A body that cannot be cut is given up, counted and shown, and the next one's turn comes.

A part of a remote account that no end has (not connected yet, switched off, erased) is a stranger's. It waits, sealed, under the digest of that
account and is handed over once an end has that name, before anything newer; after STRANGERS_FOR it is forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from functools import cache
from uuid import UUID

import structlog
from sqlalchemy import Connection, func, select, text
from sqlalchemy.orm import Session

from widget_backend import clock, metrics
from widget_backend.accounts.models import App
from widget_backend.bridge import inbox, keep, life, registry
from widget_backend.bridge.ends import Raw
from widget_backend.bridge.inbox import DONE, GIVEN_UP, NEW
from widget_backend.bridge.models import EndKey, Inbox
from widget_backend.bridge.tenancy import at_once, is_away, transaction
from widget_backend.crypto import CryptoError

log = structlog.get_logger()

STRANGERS_FOR = timedelta(days=3)
"""How long parts wait for their end: longer than a weekend between an install and its account."""
BATCH = 40
HANDED_OVER = 500
"""How many waiting parts one turn hands over; what is behind them waits for the next."""
REST_S = 0.25
CALLED_EVERY_S = 2.0

_DUE = text("""
    select a.id from apps a
    where a.id <> all(:busy) and exists (select 1 from inbox i where i.owner_id = a.id and i.state = 0)
    order by random() limit :limit
""")
_CALLED = text("""
    select k.app_id, k.digest from end_keys k
    where k.kind = 'remote' and k.adapter = any(:adapters)
      and exists (
          select 1 from inbox i where i.owner_id = encode(substr(k.digest, 1, 16), 'hex')::uuid and i.state = 0
      )
""")
_FORGET = text("""
    delete from inbox i
    where i.state = 0 and i.account_id is null and i.received_at < now() - make_interval(secs => :for_s)
      and not exists (select 1 from apps a where a.id = i.owner_id)
""")
_STRANGERS = text("""
    select count(*) from inbox i
    where i.state = 0 and i.account_id is null and not i.is_app
""")

_resting: dict[UUID, float] = {}
"""Apps that another worker is at, and until when this process lets them be."""
_called: dict[UUID, set[bytes]] = {}
"""Remote accounts of apps whose end has come since parts of theirs were kept."""
_called_at = 0.0


def due(limit: int, busy: Collection[UUID] = ()) -> list[UUID]:
    """Return the apps with something to cut or to hand over that this process is not at."""
    if limit <= 0 or not adapters():
        return []
    now = time.monotonic()
    skip = {*busy, *(app_id for app_id, until in list(_resting.items()) if until > now)}
    with at_once() as connection:
        found = list(connection.scalars(_DUE, {"busy": list(skip), "limit": limit}))
        found += [app_id for app_id in _called_now(connection, now) if app_id not in skip]
    return list(dict.fromkeys(found))[:limit]


def _called_now(connection: Connection, now: float) -> Sequence[UUID]:
    """Return the apps whose strangers have an end now; looked for every few seconds."""
    global _called_at
    if now < _called_at + CALLED_EVERY_S:
        return list(_called)
    _called_at = now
    for row in connection.execute(_CALLED, {"adapters": adapters()}):
        _called.setdefault(row.app_id, set()).add(bytes(row.digest))
    return list(_called)


@cache
def adapters() -> list[str]:
    """Return the keys of the adapters whose apps have a door."""
    return [manifest.key for manifest in registry.manifests() if manifest.door == "app"]


def work(app_id: UUID, *, limit: int = BATCH) -> bool:
    """Cut one batch of an app's inbox; tell whether there may be more at once. Does nothing while another worker is at it."""
    with transaction(None) as session:
        # the lock ends with the transaction, however that ends: no lease to renew, none to wait for
        key = func.hashtextextended(f"mostik:split:{app_id}", 0)
        if not session.scalar(select(func.pg_try_advisory_xact_lock(key))):
            _resting[app_id] = time.monotonic() + REST_S
            return False
        app = session.get(App, app_id)
        if app is None:
            _called.pop(app_id, None)  # it was deleted meanwhile: nobody else would forget it
            return False
        ends = _Ends(session, app)
        for digest in _called.pop(app_id, ()):
            ends.door(digest)
        rows = _unread(session, app_id, limit)
        for row in rows:
            _cut(session, app, row, ends)
    return len(rows) == limit or ends.has_more


def forget_strangers() -> int:
    """Forget parts that waited for their end too long; count them."""
    with transaction(None) as session:
        forgotten = session.execute(_FORGET, {"for_s": STRANGERS_FOR.total_seconds()})
    count = int(getattr(forgotten, "rowcount", 0))
    if count:
        log.warning("strangers_forgotten", count=count)
    return count


def strangers() -> int:
    """Count the parts that wait for an end."""
    with transaction(None) as session:
        return int(session.scalar(_STRANGERS) or 0)


class _Ends:
    """Where the parts of one app go, asked once a turn for each remote account: within a turn an end has either come or not."""

    def __init__(self, session: Session, app: App) -> None:
        self._session = session
        self._app = app
        self._doors: dict[bytes, keep.Door] = {}
        self.has_more = False

    def door(self, digest: bytes) -> keep.Door:
        """Return the inbox for the parts of a remote account: its end's, once nothing older waits for that."""
        if digest not in self._doors:
            self._doors[digest] = self._find(digest)
        return self._doors[digest]

    def _find(self, digest: bytes) -> keep.Door:
        waiting = keep.Door(UUID(bytes=digest[:16]), None)
        key = self._session.get(EndKey, digest)
        if key is None or key.kind != "remote" or key.end_id is None:
            return waiting
        door = keep.Door(key.end_id, key.account_id)
        if self._hand_over(waiting.owner_id, door):
            return door
        self.has_more = True
        _called.setdefault(self._app.id, set()).add(digest)
        return waiting  # what comes now stays behind what waits

    def _hand_over(self, stranger_id: UUID, door: keep.Door) -> bool:
        """Hand over what waits, oldest first; tell whether that was all."""
        rows = _unread(self._session, stranger_id, HANDED_OVER)
        there = self._there(door.owner_id, [row.dedupe for row in rows if row.dedupe])
        for row in rows:
            if (row.dedupe, row.month) in there:  # a pull was faster
                self._session.delete(row)
                continue
            try:
                keep.hand_over(row, door)
            except CryptoError as error:
                row.state, row.done_at, row.note = GIVEN_UP, clock.now(), type(error).__name__
        if rows:
            self._session.flush()
            metrics.app_parts.labels(self._app.adapter, "handed_over").inc(len(rows))
            log.info("strangers_handed_over", app=str(self._app.id), end=str(door.owner_id), count=len(rows))
        return len(rows) < HANDED_OVER

    def _there(self, end_id: UUID, dedupes: Sequence[str]) -> set[tuple[str | None, object]]:
        known = select(Inbox.dedupe, Inbox.month).where(Inbox.owner_id == end_id, Inbox.dedupe.in_(dedupes))
        return {(row.dedupe, row.month) for row in self._session.execute(known)} if dedupes else set()


def _unread(session: Session, owner_id: UUID, limit: int) -> Sequence[Inbox]:
    unread = select(Inbox).where(Inbox.owner_id == owner_id, Inbox.state == NEW)
    return session.scalars(unread.order_by(Inbox.id).limit(limit)).all()


def _cut(session: Session, app: App, row: Inbox, ends: _Ends) -> None:
    """Put the parts of one body where they belong. One that we cannot cut is a bug, here or there: it is kept, and stops nobody."""
    row.done_at = clock.now()
    try:
        parts = list(_parts(app, row))
    except Exception as error:
        _give_up(app, row, error)
        return
    placed = [(ends.door(digest), raw) for digest, raw in parts]
    try:
        with session.begin_nested():
            stored = [
                (door, keep.put(session, door, raw, row.meta, row.received_at, row.trace_id)) for door, raw in placed
            ]
    except Exception as error:
        if is_away(error):
            raise
        _give_up(app, row, error)
        return
    strangers = sum(1 for door, _is_new in stored if door.account_id is None)
    for door, is_new in stored:
        outcome = "repeated" if not is_new else "waiting" if door.account_id is None else "kept"
        metrics.app_parts.labels(app.adapter, outcome).inc()
    row.state, row.note = DONE, f"{strangers} parts wait for their ends" if strangers else None
    if row.dedupe and row.dedupe.startswith("d:"):
        row.dedupe = None  # as in an end's inbox: the same body may come again and mean something new
    log.info("app_hook_split", app=str(app.id), trace=row.trace_id, parts=len(stored), strangers=strangers)


def _give_up(app: App, row: Inbox, error: Exception) -> None:
    log.error("app_hook_failed", app=str(app.id), adapter=app.adapter, trace=row.trace_id, exc_info=error)
    metrics.hooks.labels(app.adapter, "unreadable").inc()
    row.state, row.tries, row.note = GIVEN_UP, row.tries + 1, type(error).__name__


def _parts(app: App, row: Inbox) -> Iterator[tuple[bytes, Raw]]:
    hooks = registry.hooks(app.adapter)
    for number, (remote_id, event_id, body) in enumerate(hooks.split(inbox.hook_of(row))):
        yield (
            life.remote_digest(app.adapter, remote_id, app.id),
            Raw(event_id=event_id or f"{row.id}:{number}", body=body),
        )
