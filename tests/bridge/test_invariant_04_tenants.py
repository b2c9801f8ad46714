"""Invariant 4: one account never sees, moves or guesses another account's anything. Here: the database's own locks, and the door."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.bridge.pair import Pair, make_pair, new_user
from tests.stack import Stack
from widget_backend.database import plain_url

EXEMPT = {"accounts", "apps", "end_keys", "errands", "gates", "inbox", "lanes", "memberships"}
"""Tables with an account that row-level security does not guard: design.md 6, "Tenants in the database"."""
_TABLES = """
    select c.relname, c.relrowsecurity and exists (select 1 from pg_policy p where p.polrelid = c.oid)
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'account_id' and not a.attisdropped
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
"""


@pytest.fixture(scope="module")
def talked(stack: Stack) -> tuple[Pair, Pair]:
    """Give two companies that have both had a talk with everything in it."""
    pairs = make_pair(stack), make_pair(stack)
    for pair in pairs:
        user = new_user()
        pair.customer(user, text="секрет", attachments=[{"type": "photo"}])
        pair.wait_seen(user, "секрет")
        pair.operator(user, text="ответ")
        pair.wait_got(user, "ответ")
        pair.customer(user, text="секрет второй", attachments=[{"type": "photo"}])
        pair.wait_seen(user, "секрет", "ответ", "секрет второй")
        pair.wait_quiet()
    return pairs


def _tables(stack: Stack) -> dict[str, bool]:
    with psycopg.connect(plain_url(stack.config.database_owner_url)) as connection:
        return dict(connection.execute(_TABLES).fetchall())


def test_every_table_with_an_account_is_guarded_or_on_the_list(stack: Stack) -> None:
    unguarded = {table for table, is_guarded in _tables(stack).items() if not is_guarded}
    assert unguarded <= EXEMPT, "a tenant's table without a policy"


@pytest.mark.parametrize("who", ["nobody", "other"])
def test_row_security_alone_shows_nothing_of_another_account(stack: Stack, talked: tuple[Pair, Pair], who: str) -> None:
    mine, other = talked
    with psycopg.connect(plain_url(stack.config.database_url)) as connection:
        if who == "other":
            connection.execute("select set_config('mostik.account_id', %s, true)", (str(other.account_id),))
        for table, is_guarded in _tables(stack).items():
            if not is_guarded:
                continue
            query = sql.SQL("select count(*) from {} where account_id = %s").format(sql.Identifier(table))
            assert connection.execute(query, (mine.account_id,)).fetchone() == (0,), (
                f"{table} of another account is seen"
            )
            everything = sql.SQL("select count(*) from {} where account_id <> %s").format(sql.Identifier(table))
            assert connection.execute(everything, (other.account_id,)).fetchone() == (0,), f"{table} leaks"


def test_partitions_are_guarded_as_their_tables_are(stack: Stack, talked: tuple[Pair, Pair]) -> None:
    mine, _other = talked
    with psycopg.connect(plain_url(stack.config.database_url), autocommit=True) as connection:
        partitions = connection.execute(
            "select c.relname, p.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid"
            " join pg_class p on p.oid = i.inhparent where c.relkind = 'r'"
        ).fetchall()
        assert partitions
        for name, parent in partitions:
            if parent in EXEMPT:
                continue
            query = sql.SQL("select count(*) from {} where account_id = %s").format(sql.Identifier(name))
            try:
                seen = connection.execute(query, (mine.account_id,)).fetchone()
            except psycopg.errors.InsufficientPrivilege:
                continue
            assert seen == (0,), f"{name} shows what {parent} hides"


@pytest.mark.parametrize("table", ["messages", "deliveries", "ends", "clients", "conversations"])
def test_another_accounts_rows_can_be_neither_changed_nor_deleted_nor_taken_over(
    stack: Stack, talked: tuple[Pair, Pair], table: str
) -> None:
    mine, other = talked
    name = sql.Identifier(table)
    with psycopg.connect(plain_url(stack.config.database_url)) as connection:
        connection.execute("select set_config('mostik.account_id', %s, true)", (str(other.account_id),))
        deleted = connection.execute(sql.SQL("delete from {} where account_id = %s").format(name), (mine.account_id,))
        assert deleted.rowcount == 0
        take_over = sql.SQL("update {} set account_id = %s where account_id = %s").format(name)
        assert connection.execute(take_over, (other.account_id, mine.account_id)).rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(take_over, (mine.account_id, other.account_id))
        connection.rollback()


def test_a_row_cannot_point_into_another_account(stack: Stack, talked: tuple[Pair, Pair]) -> None:
    mine, other = talked
    message = mine.rows("select id, conversation_id from messages limit 1")[0]
    with psycopg.connect(plain_url(stack.config.database_url)) as connection:
        connection.execute("select set_config('mostik.account_id', %s, true)", (str(other.account_id),))
        with pytest.raises(psycopg.errors.ForeignKeyViolation), connection.transaction():
            connection.execute(
                "insert into deliveries (id, account_id, end_id, conversation_id, message_id, act, dedupe, version, status,"
                " reason, detail, trigger) values (%s, %s, %s, %s, %s, 'new', 'new', 1, 'queued', '', '', 'auto')",
                (uuid4(), other.account_id, other.channel_id, message.conversation_id, message.id),
            )
        with pytest.raises(psycopg.errors.ForeignKeyViolation), connection.transaction():
            connection.execute(
                "insert into routes (account_id, channel_id, connection_id, settings) values (%s, %s, %s, '{}')",
                (other.account_id, other.channel_id, mine.connection_id),
            )
        connection.rollback()


def test_application_role_owns_nothing_and_cannot_pass_row_security(stack: Stack) -> None:
    with psycopg.connect(plain_url(stack.config.database_url)) as connection:
        role = connection.execute(
            "select rolsuper, rolbypassrls, exists (select 1 from pg_class where relowner = pg_roles.oid)"
            " from pg_roles where rolname = current_user"
        ).fetchone()
    assert role == (False, False, False)


def test_audit_trail_can_only_grow(stack: Stack, talked: tuple[Pair, Pair]) -> None:
    mine, _other = talked
    with psycopg.connect(plain_url(stack.config.database_url)) as connection:
        connection.execute("select set_config('mostik.account_id', %s, true)", (str(mine.account_id),))
        assert connection.execute("select count(*) from audit_entries").fetchone() != (0,)
        for statement in ("update audit_entries set actor = 'nobody'", "delete from audit_entries"):
            refusals = (psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException)
            with pytest.raises(refusals), connection.transaction():
                connection.execute(statement)


def test_hook_that_names_another_accounts_messages_changes_nothing_there(talked: tuple[Pair, Pair]) -> None:
    mine, other = talked
    known = mine.rows("select k.remote_id, k.scope from message_keys k where end_id = :id", id=mine.channel_id)[0]
    client = mine.rows("select remote_id from clients")[0].remote_id
    before = mine.rows("select id, text, version, deleted_at from messages order by id")
    body = other.message_new(int(client), "подменено", int(known.remote_id), version=10**7)["message"]
    assert other.vk_hook("message_edit", body).text == "ok"
    other.wait_quiet()
    assert mine.rows("select id, text, version, deleted_at from messages order by id") == before


def test_same_customer_in_two_accounts_is_two_clients(stack: Stack, talked: tuple[Pair, Pair]) -> None:
    user = new_user()
    for pair in talked:
        pair.customer(user, text="я тут и там")
        pair.wait_seen(user, "я тут и там")
    ids = [pair.rows("select id from clients where remote_id = :user", user=str(user)) for pair in talked]
    assert [len(rows) for rows in ids] == [1, 1] and ids[0][0].id != ids[1][0].id
