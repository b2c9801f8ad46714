"""Changing the encryption key while messages flow."""

from __future__ import annotations

import base64
import os
import signal
from dataclasses import replace

import psycopg
from psycopg import sql

from tests.bridge.pair import Pair, new_user
from tests.stack import Stack, wait_for
from widget_backend import crypto, rotation
from widget_backend.database import plain_url

WRITERS = ("web", "exchange-1", "exchange-2", "schedules", "cron")


def test_new_key_seals_everything_while_messages_flow(stack: Stack, pair: Pair) -> None:
    user = new_user()
    pair.faults("vk", hook_retry_scale=0.05)  # the door is shut for moments, and VK would wait for many seconds
    pair.customer(user, text="до")
    pair.wait_seen(user, "до")
    old = stack.processes["web"].environ["MOSTIK_KEYS"]  # type: ignore[index]
    new = f"k{os.urandom(3).hex()}:{base64.b64encode(os.urandom(32)).decode()}"
    _restart_with(stack, f"{old},{new}")  # first known, then current
    pair.customer(user, text="между")
    _restart_with(stack, f"{new},{old}")
    pair.wait_seen(user, "до", "между", within_s=30)
    assert rotation.reseal(stack.config) > 0
    pair.operator(user, text="ответ")
    pair.wait_got(user, "ответ", within_s=30)
    assert rotation.reseal(stack.config) == 0, "everything is sealed with the new key"
    _restart_with(stack, new)
    pair.customer(user, text="после")
    pair.wait_seen(user, "до", "между", "ответ", "после", within_s=30)


def test_every_sealed_column_is_on_the_list_of_the_rotation(stack: Stack) -> None:
    known = {(sealed.table, sealed.column) for sealed in rotation.SEALED}
    with psycopg.connect(plain_url(stack.config.database_owner_url)) as connection:
        columns = connection.execute(
            "select c.table_name, c.column_name from information_schema.columns c join pg_class t"
            " on t.relname = c.table_name and not t.relispartition where c.table_schema = 'public' and c.data_type = 'bytea'"
        ).fetchall()
        for table, column in columns:
            if (table, column) in known:
                continue
            query = sql.SQL("select {} from {} where {} is not null").format(
                sql.Identifier(column), sql.Identifier(table), sql.Identifier(column)
            )
            for (value,) in connection.execute(query):
                assert not _is_sealed(bytes(value)), f"{table}.{column} is sealed and would lose its key"


def _is_sealed(value: bytes) -> bool:
    """Tell whether it names a key of ours: a digest may begin like a sealed value by chance."""
    try:
        return crypto.ring().find(crypto.key_id(value)) is not None
    except (crypto.CryptoError, ValueError):
        return False


def _restart_with(stack: Stack, keys: str) -> None:
    starts = {name: stack.processes[name].starts for name in WRITERS}
    for name in WRITERS:
        environ = stack.processes[name].environ
        assert environ is not None
        environ["MOSTIK_KEYS"] = keys
        running = stack.processes[name].running
        assert running is not None
        running.send_signal(signal.SIGKILL if name == "web" else signal.SIGTERM)
    wait_for(
        lambda: all(stack.processes[name].starts > starts[name] for name in WRITERS), within_s=60, what="the new start"
    )
    wait_for(lambda: _is_ready(stack), within_s=30, what="the web")
    stack.config = replace(stack.config, keys=_ring(keys))
    crypto.configure(crypto.KeyRing.of(stack.config.keys))


def _ring(keys: str) -> tuple[tuple[str, bytes], ...]:
    pairs = (item.split(":", 1) for item in keys.split(","))
    return tuple((key_id, base64.b64decode(encoded)) for key_id, encoded in pairs)


def _is_ready(stack: Stack) -> bool:
    import requests

    try:
        return requests.get(f"{stack.url}/readyz", timeout=2).ok
    except requests.RequestException:
        return False
