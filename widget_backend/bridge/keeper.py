"""The connection over which one process keeps hooks: whoever finds it free keeps all that wait, in one transaction.

Keeping is a web process's main work. One INSERT per hook costs the database and this process a round trip, a commit and a wake-up each; under load a
few hooks share them, and alone a hook waits for nobody.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import psycopg
from sqlalchemy import URL

from widget_backend.bridge import runtime

_COLUMNS = "owner_id, account_id, is_app, month, dedupe, trace_id, meta, body, received_at"
_ONCE = "on conflict (owner_id, dedupe, month) do nothing"
INSERT = f"""
    insert into inbox ({_COLUMNS}, state, tries) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, 0, 0) {_ONCE}
"""
_INSERT_MANY = f"""
    insert into inbox ({_COLUMNS}, state, tries)
    select owner_id, account_id, is_app, month, dedupe, trace_id, meta::jsonb, body, received_at, 0, 0
    from unnest(
        %s::uuid[], %s::uuid[], %s::bool[], %s::date[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::timestamptz[]
    ) with ordinality as came ({_COLUMNS}, place) order by place {_ONCE} returning trace_id
"""
_TRACE = 5
_AT_ONCE = 500
_CONNECT_S = 5

Row: TypeAlias = tuple[object, ...]
"""The values of _COLUMNS; the trace id is its own in every row."""


@dataclass(slots=True)
class _Waiting:
    """One row that a thread wants kept, and what became of it."""

    row: Row
    is_new: bool | None = None
    error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.is_new is not None or self.error is not None


class _Keeper:
    """One process's keeper of one database."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def keep(self, rows: Sequence[Row]) -> int:
        mine = [_Waiting(row) for row in rows]
        self._waiting.extend(mine)
        while not mine[-1].is_done:  # the queue is in order: what is behind is done last
            with self._lock:
                if not mine[-1].is_done:
                    self._keep([self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))])
        for one in mine:
            if one.error is not None:
                raise one.error
        return sum(bool(one.is_new) for one in mine)

    def _keep(self, waiting: Sequence[_Waiting]) -> None:
        try:
            self._insert(waiting)
        except Exception:
            self._keep_apart(waiting)
        finally:
            # this thread may be being ended: who waits for what it left is told so, and does not wait for ever
            for one in waiting:
                if not one.is_done:
                    one.error = psycopg.OperationalError("interrupted")

    def _keep_apart(self, waiting: Sequence[_Waiting]) -> None:
        """Insert rows one by one, so that what cannot be kept takes nobody with it; a repeat is harmless, the key is unique.

        Each error is raised by the thread that waits for it.
        """
        for place, one in enumerate(waiting):
            try:
                self._connected()
            except psycopg.Error as error:  # found out once, not by everybody in turn: that may take seconds each
                for left in waiting[place:]:
                    left.error = error
                return
            try:
                self._insert([one])
            except Exception as error:
                one.error = error

    def _insert(self, waiting: Sequence[_Waiting]) -> None:
        try:
            connection = self._connected()
            if len(waiting) == 1:
                waiting[0].is_new = connection.execute(INSERT, waiting[0].row, prepare=True).rowcount == 1
                return
            columns = [list(column) for column in zip(*(one.row for one in waiting), strict=True)]
            new = {row[0] for row in connection.execute(_INSERT_MANY, columns, prepare=True)}
        except psycopg.OperationalError:
            self._leave()  # the database was restarted since it was last spoken with
            raise
        for one in waiting:
            one.is_new = one.row[_TRACE] in new

    def _connected(self) -> psycopg.Connection[tuple[object, ...]]:
        if self._connection is None or self._connection.closed:
            url = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
            self._connection = psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_S)
        return self._connection

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


_keepers: dict[int, _Keeper] = {}


def keep(rows: Sequence[Row]) -> int:
    """Store rows of the inbox; count what was not there yet. On return all are committed.

    Raises: psycopg.Error of the first row that could not be kept; the others may be.
    """
    pid, url = os.getpid(), runtime.get().engine.url
    keeper = _keepers.get(pid)
    if keeper is None or keeper.url is not url:  # after a fork the child connects by itself
        keeper = _keepers[pid] = _Keeper(url)
    return keeper.keep(rows) if rows else 0
