"""The queries that run all the time find their rows by an index, however many there are."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Select, event, select, text
from sqlalchemy.dialects import postgresql

from tests.unit.bridge.conftest import make_channel
from widget_backend import clock
from widget_backend.bridge import errands, inbox, keep, lanes, pull, split
from widget_backend.bridge.models import Inbox, Message, MessageKey, Parked
from widget_backend.bridge.tenancy import transaction
from widget_backend.config import Config
from widget_backend.database import plain_url

BIG = {
    "lanes",
    "messages",
    "deliveries",
    "parts",
    "attempts",
    "message_keys",
    "conversations",
    "clients",
    "errands",
    "parked",
}
ROWS = 6000


@pytest.fixture
def crowded(config: Config, account_id: UUID) -> UUID:
    """Give a channel among many, with thousands of rows in every table."""
    ends = [make_channel(account_id) for _ in range(20)]
    fill = """
        with numbers as (select n, (%(ends)s::uuid[])[1 + n %% 20] as end_id from generate_series(1, %(rows)s) n),
        made as (select n, end_id, gen_random_uuid() as client, gen_random_uuid() as conversation,
                        gen_random_uuid() as message, gen_random_uuid() as delivery from numbers),
        c as (insert into clients (id, account_id, channel_id, remote_id, name, profile)
              select client, %(account)s, end_id, n::text, '', '{}' from made),
        v as (insert into conversations (id, account_id, channel_id, client_id, thread, scope, place, title, last_seq, last_at)
              select conversation, %(account)s, end_id, client, '', '', 'direct', '', 1, now() from made),
        m as (insert into messages (id, account_id, conversation_id, origin_end_id, seq, direction, author, author_id, text,
                                    content, version, revision, is_late, is_automatic, trace_id, sent_at)
              select message, %(account)s, conversation, end_id, 1, 'in', '', '', 'привет', '{}', 1, '', false, false, '', now()
              from made),
        k as (insert into message_keys (account_id, end_id, scope, remote_id, message_id)
              select %(account)s, end_id, '', n::text, message from made),
        d as (insert into deliveries (id, account_id, end_id, conversation_id, message_id, lane_seq, act, dedupe, version,
                                      status, reason, detail, trigger)
              select delivery, %(account)s, end_id, conversation, message, 1, 'new', 'new', 1, 'sent', '', '', 'auto' from made),
        p as (insert into parts (id, account_id, delivery_id, end_id, number, generation, status, content)
              select gen_random_uuid(), %(account)s, delivery, end_id, 1, 1, 'accepted', '{}' from made),
        e as (insert into errands (subject_id, kind, account_id, end_id, conversation_id, not_before)
              select client, 'profile', %(account)s, end_id, conversation, now() + interval '1 hour' from made),
        w as (insert into parked (account_id, end_id, waits_for, scope, remote_id, event, trace_id)
              select %(account)s, end_id, 'message', '', 'x' || n, '{}', '' from made),
        i as (insert into inbox (owner_id, account_id, is_app, month, dedupe, trace_id, meta, body, received_at, state)
              select end_id, %(account)s, false, date_trunc('month', now()), 'e:' || n, '', '{}', 'x', now(),
                     case when n %% 500 = 0 then 0 else 1 end from made)
        insert into lanes (end_id, conversation_id, account_id, last_seq, settled_seq, priority)
        select end_id, conversation, %(account)s, 1, case when n %% 100 = 0 then 0 else 1 end, 1 from made
    """
    with psycopg.connect(plain_url(config.database_owner_url), autocommit=True) as connection:
        connection.execute("select set_config('mostik.account_id', %s, false)", (str(account_id),))
        connection.execute(fill, {"ends": ends, "rows": ROWS, "account": account_id})
        connection.execute("analyze")
    return ends[0]


def _scanned(account_id: UUID, statement: Any, values: dict[str, Any]) -> set[str]:
    """Return the tables that a statement reads from end to end, as the application role and as the account."""
    with transaction(account_id) as session:
        if isinstance(statement, Select):
            dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
            compiled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
            plan = session.execute(text(f"explain (format json) {compiled}")).scalar_one()
        else:
            plan = session.execute(text(f"explain (format json) {statement.text}"), values).scalar_one()
        session.rollback()
    nodes, found = [plan[0]["Plan"]], set()
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if node["Node Type"] == "Seq Scan":
            found.add(str(node["Relation Name"]))
    return found


def test_taking_lanes(account_id: UUID, crowded: UUID) -> None:
    values = {"ends": 8, "token": uuid4(), "lease_s": 60, "probe_s": 18, "full_ends": [uuid4()], "full_adapters": ["x"]}
    assert not _scanned(account_id, lanes._TAKE, values) & BIG
    assert not _scanned(account_id, lanes._NEXT, {}) & BIG


def test_finding_and_reading_inboxes(account_id: UUID, crowded: UUID) -> None:
    assert not _inboxes(_scanned(account_id, inbox._DUE, {"limit": 8}))
    unread = select(Inbox.id).where(Inbox.owner_id == crowded, Inbox.state == 0).order_by(Inbox.id).limit(40)
    assert not _inboxes(_scanned(account_id, unread, {}))
    assert not _inboxes(_scanned(account_id, split._DUE, {"limit": 1, "busy": [uuid4()]}))
    assert not _inboxes(_scanned(account_id, split._CALLED, {"adapters": ["switchboard"]}))
    assert not _inboxes(_scanned(account_id, split._STRANGERS, {}))


def test_age_of_the_oldest_hook(account_id: UUID, crowded: UUID) -> None:
    for statement in _said(lambda: keep.oldest_waiting_s()):
        assert not _inboxes(_scanned(account_id, text(statement), {}))


def test_taking_errands(account_id: UUID, crowded: UUID) -> None:
    values = {"token": uuid4(), "limit": 4, "per_end": 4, "lease_s": 400, "full_ends": [uuid4()]}
    found = _scanned(account_id, errands._TAKE, values)
    assert "errands" not in found


def test_taking_pulls_and_keys_and_parked(account_id: UUID, crowded: UUID) -> None:
    assert not _scanned(account_id, pull._TAKE, {"limit": 1, "token": uuid4(), "lease_s": 300}) & BIG
    keys = select(MessageKey.message_id).where(
        MessageKey.end_id == crowded, MessageKey.scope == "", MessageKey.remote_id.in_(["20", "40"])
    )
    assert not _scanned(account_id, keys, {}) & BIG
    parked = select(Parked.id).where(Parked.end_id == crowded, Parked.scope == "", Parked.remote_id == "x20")
    assert not _scanned(account_id, parked, {}) & BIG


def test_journal_page(account_id: UUID, crowded: UUID) -> None:
    page = (
        select(Message.id)
        .where(Message.account_id == account_id)
        .order_by(Message.recorded_at.desc(), Message.id.desc())
    )
    assert not _scanned(account_id, page.limit(50), {}) & BIG


def _inboxes(found: set[str]) -> set[str]:
    """Return the partition of this month, when it was scanned: the others are empty, and nothing is cheaper to scan."""
    return found & {f"inbox_{clock.now():%Y_%m}"}


def _said(action: Any) -> list[str]:
    """Return the selects that an action sends to the database."""
    from widget_backend.bridge import runtime

    said: list[str] = []

    def hear(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "select" in statement.lower() and "set_config" not in statement:
            said.append(statement)

    event.listen(runtime.get().engine, "before_cursor_execute", hear)
    try:
        action()
    finally:
        event.remove(runtime.get().engine, "before_cursor_execute", hear)
    assert said
    return said
