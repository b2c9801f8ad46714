"""The journal with millions of messages: its first and its thousandth page, and whether any of its queries reads a table from end to end.

All messages belong to one account, the worst case, and half of them to one of its channels. The tables are filled by SQL, without the checks of foreign
keys, which reading does not need.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import event

from tests.bench.figures import Figure
from tests.stack import Stack, running
from widget_backend.bridge import journal, life, runtime
from widget_backend.bridge.journal import PAGE, Cursor, Wanted
from widget_backend.bridge.tenancy import transaction
from widget_backend.database import plain_url

SIZES = tuple(int(size) for size in os.environ.get("BENCH_JOURNAL_MESSAGES", "1000000,5000000").split(","))
DEEP = 999
"""So many pages are behind us on the thousandth one."""
CHUNK = 500_000
TALKS = 50_000
TURNS = 41
NAME = "Анна 777"
BIG = frozenset({"messages", "deliveries", "conversations", "attachments"})
"""Not `clients`: a part of a name is looked for among all of an account's clients, which here are all there are. That is measured by its time."""

_ID = "('{family}' || lpad(to_hex(({number})::bigint), 24, '0'))::uuid"  # ascending, like our own
_CLIENT = _ID.format(family="00000001", number="n % %(talks)s")
_TALK = _ID.format(family="00000002", number="n % %(talks)s")
_MESSAGE = _ID.format(family="00000003", number="n")
_DELIVERY = _ID.format(family="00000004", number="n")
_AT = "timestamptz '2020-01-01' + n * interval '17 seconds'"
# every other conversation is of the first channel; one message in a thousand has failed
_CHANNEL = "(%(channels)s::uuid[])[case when n %% 2 = 0 then 1 else 2 + n %% %(talks)s %% 4 end]"


def _sql(template: str) -> str:
    return template.replace(" % ", " %% ")


TALKS_SQL = _sql(f"""
    with numbers as (select n from generate_series(0, %(talks)s - 1) n),
    c as (insert into clients (id, account_id, channel_id, remote_id, name, profile)
          select {_CLIENT}, %(account)s, {_CHANNEL}, n::text, 'Анна ' || n, '{{}}' from numbers)
    insert into conversations (id, account_id, channel_id, client_id, thread, scope, place, title, last_seq, last_at)
    select {_TALK}, %(account)s, {_CHANNEL}, {_CLIENT}, '', '', 'direct', '', 0, now() from numbers
""")
MESSAGES_SQL = _sql(f"""
    insert into messages (id, account_id, conversation_id, origin_end_id, seq, direction, author, author_id, text, content,
                          version, revision, is_late, is_automatic, trace_id, sent_at, recorded_at)
    select {_MESSAGE}, %(account)s, {_TALK}, (%(channels)s::uuid[])[1], n / %(talks)s + 1,
           case when n / %(talks)s % 2 = 0 then 'in' else 'out' end, 'Анна', '', 'Сколько стоит доставка в другой город? ' || n,
           '{{}}', 1, '', false, false, '', {_AT}, {_AT}
    from generate_series(%(first)s::bigint, %(last)s::bigint) n
""")
DELIVERIES_SQL = _sql(f"""
    insert into deliveries (id, account_id, end_id, conversation_id, message_id, lane_seq, act, dedupe, version, status, reason,
                            detail, trigger, created_at)
    select {_DELIVERY}, %(account)s, %(connection)s, {_TALK}, {_MESSAGE}, n / %(talks)s + 1, 'new', 'new', 1,
           case when n % 1000 = 0 then 'failed' else 'delivered' end, '', '', 'auto', {_AT}
    from generate_series(%(first)s::bigint, %(last)s::bigint) n
""")
FOREIGN = """
    select conrelid::regclass::text, conname from pg_constraint
    where contype = 'f' and conrelid in ('messages'::regclass, 'deliveries'::regclass)
"""


@dataclass(frozen=True)
class House:
    """The account whose journal it is."""

    account_id: UUID
    channels: tuple[UUID, ...]


def measure() -> list[Figure]:
    """Fill, measure, look at the plans; at each size."""
    times: dict[str, float] = {}
    scanned: set[str] = set()
    filled: list[str] = []
    with running() as stack:
        for name in list(stack.processes):
            if name not in ("postgres", "valkey", "sandbox"):
                stack.kill(name)  # only the reading is measured
        house = _house(stack)
        done = 0
        for size in SIZES:
            filled.append(f"{_fill(stack, house, done, size):.0f} s")
            done = size
            deep = Cursor(*_place(stack, house, DEEP * PAGE - 1))
            for which, cursor in (("first", None), ("thousandth", deep)):
                times[f"{which} at {size / 1e6:g} M"] = _page_ms(house, Wanted(cursor=cursor))
            for wanted in _filters(house, deep):
                scanned |= _scanned(house, wanted)
        by_name_ms = _page_ms(house, Wanted(client=NAME))
    spread = max(times.values()) / min(times.values())
    told = ", ".join(f"{name} {value:.1f} ms" for name, value in times.items())
    details = f"{told}; filled in {', '.join(filled)}"
    whole = ", ".join(sorted(scanned))
    return [
        Figure("journal page, slowest / fastest", spread, "x", "<= 2", spread <= 2, details),
        Figure("tables that journal queries read whole", len(scanned), "", "0", not scanned, whole),
        Figure("journal page by a part of a name", by_name_ms, "ms", details=f"{TALKS} clients, {SIZES[-1]} messages"),
    ]


def _filters(house: House, deep: Cursor) -> Iterator[Wanted]:
    """Give what one may ask the journal for, on the first page and on a deep one."""
    for cursor in (None, deep):
        yield Wanted(cursor=cursor)
        for direction in ("in", "out"):
            yield Wanted(cursor=cursor, direction=direction)
        for status in ("failed", "delivered"):
            yield Wanted(cursor=cursor, status=status)
        for channel_id in house.channels[:2]:
            yield Wanted(cursor=cursor, channel_id=channel_id)
        yield Wanted(cursor=cursor, client=NAME)


# ------------------------------------------------------------------------------------------------------------ filling


def _house(stack: Stack) -> House:
    account_id = stack.make_account()
    channels = tuple(life.create(account_id, "vk", secrets={"token": "x"}) for _ in range(6))
    house = House(account_id, channels)
    with _owner(stack, house) as connection:
        for table, name in connection.execute(FOREIGN).fetchall():
            connection.execute(f'alter table {table} drop constraint "{name}"')
        connection.execute(TALKS_SQL, _values(house))
    return house


def _fill(stack: Stack, house: House, first: int, last: int) -> float:
    """Add messages with their deliveries up to a number; return how long it took. Units: seconds."""
    begun = time.monotonic()
    with _owner(stack, house) as connection:
        for start in range(first, last, CHUNK):
            bounds = {"first": start, "last": min(start + CHUNK, last) - 1}
            connection.execute(MESSAGES_SQL, _values(house) | bounds)
            connection.execute(DELIVERIES_SQL, _values(house) | bounds)
        connection.execute("vacuum analyze messages, deliveries, conversations, clients")
    return time.monotonic() - begun


def _values(house: House) -> dict[str, Any]:
    channels = [str(id) for id in house.channels[:5]]
    return {"account": house.account_id, "channels": channels, "connection": house.channels[5], "talks": TALKS}


@contextmanager
def _owner(stack: Stack, house: House) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(plain_url(stack.config.database_owner_url), autocommit=True) as connection:
        connection.execute("select set_config('mostik.account_id', %s, false)", (str(house.account_id),))
        yield connection


# ---------------------------------------------------------------------------------------------------------- measuring


def _place(stack: Stack, house: House, behind: int) -> tuple[Any, str]:
    with _owner(stack, house) as connection:
        query = "select recorded_at, id from messages order by recorded_at desc, id desc offset %s limit 1"
        row = connection.execute(query, (behind,)).fetchone()
    assert row
    return row[0], str(row[1])


def _page_ms(house: House, wanted: Wanted) -> float:
    """Read a page again and again; return the median. Units: ms."""
    times = []
    for _turn in range(TURNS):
        begun = time.perf_counter()
        page = journal.page(house.account_id, wanted)
        times.append((time.perf_counter() - begun) * 1000)
        assert len(page.lines) == PAGE and page.next
    return statistics.median(times)


def _scanned(house: House, wanted: Wanted) -> set[str]:
    """Return the big tables that a page's queries read from end to end, as the application and as the account, each with what was asked for."""
    said: list[tuple[str, Any]] = []

    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        said.append((statement, parameters))

    engine = runtime.get().engine
    event.listen(engine, "before_cursor_execute", hear)
    try:
        begun = time.monotonic()
        journal.page(house.account_id, wanted)
        took_s = time.monotonic() - begun
    finally:
        event.remove(engine, "before_cursor_execute", hear)
    found = set()
    with transaction(house.account_id) as session:
        for statement, parameters in said:
            if not statement.lstrip().lower().startswith("select") or "set_config" in statement:
                continue
            row = session.connection().exec_driver_sql(f"explain (format json) {statement}", parameters).scalar_one()
            plan = row if isinstance(row, list) else json.loads(row)
            found |= {f"{table} ({_asked(wanted)}, {took_s * 1000:.0f} ms)" for table in _read_whole(plan[0]["Plan"])}
    return found


def _read_whole(node: dict[str, Any]) -> set[str]:
    found = {str(node["Relation Name"])} & BIG if node["Node Type"] == "Seq Scan" else set()
    return found.union(*(_read_whole(one) for one in node.get("Plans", [])))


def _asked(wanted: Wanted) -> str:
    asked = [wanted.direction, wanted.status, wanted.client, "channel" if wanted.channel_id else ""]
    return " ".join(["deep" if wanted.cursor else "first", *(one for one in asked if one)])
