"""Invariant 11: under overload the door answers 503 with Retry-After instead of accepting what it cannot keep."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from tests.bridge.pair import Pair, new_user
from tests.stack import wait_for
from widget_backend import hooks
from widget_backend.bridge import runtime


@contextmanager
def _bounds(pair: Pair, **bounds: Any) -> Iterator[None]:
    """Let the door of this process have other bounds."""
    before = runtime.get()
    runtime.configure(replace(before.config, **bounds), before.engine, before.redis)
    hooks._overload = (-math.inf, False)
    yield
    runtime.configure(before.config, before.engine, before.redis)
    hooks._overload = (-math.inf, False)


def _knock(pair: Pair, said: str, number: int) -> Any:
    body = {
        "type": "message_new",
        "group_id": pair.community["group_id"],
        "event_id": f"{number}",
        "object": pair.message_new(new_user(), said, number),
        "secret": pair.secrets_of(pair.channel_id)["callback_secret"],
    }
    path = pair.hook_url(pair.channel_id).removeprefix(pair.stack.url)
    return pair.stack.app.test_client().post(path, json=body)


def test_too_little_disk_is_503_with_a_date_to_retry_after_and_nothing_kept(pair: Pair) -> None:
    with _bounds(pair, disk_floor_bytes=1 << 60):
        answer = _knock(pair, "не сохранить", 1)
    assert answer.status_code == 503
    # vk.md 3.1: VK obeys a date only, less than three hours ahead
    ahead = parsedate_to_datetime(answer.headers["Retry-After"]) - datetime.now(UTC)
    assert timedelta(0) < ahead < timedelta(hours=3)
    assert not pair.rows("select 1 from inbox where owner_id = :id", id=pair.channel_id)
    answer = _knock(pair, "сохранить", 2)
    assert (answer.status_code, answer.text) == (200, "ok")


def test_inbox_that_nobody_empties_is_503(pair: Pair) -> None:
    pair.change(
        "update gates set inbox_lease_until = now() + interval '1 minute' where end_id = :id", id=pair.channel_id
    )
    assert _knock(pair, "ждёт", 1).status_code == 200
    pair.change("update inbox set received_at = now() - interval '5 seconds' where owner_id = :id", id=pair.channel_id)
    with _bounds(pair, inbox_ceiling_s=3):
        assert _knock(pair, "рано", 2).status_code == 503
    pair.change("update gates set inbox_lease_until = now() where end_id = :id", id=pair.channel_id)
    wait_for(lambda: pair.rows("select 1 from messages where text = 'ждёт'"), what="the waiting hook")
    with _bounds(pair, inbox_ceiling_s=3):
        assert _knock(pair, "можно", 3).status_code == 200


def test_database_away_is_503_and_no_500(pair: Pair) -> None:
    from sqlalchemy import create_engine

    assert _knock(pair, "до", 1).status_code == 200  # the door knows its owner now
    before = runtime.get()
    nowhere = create_engine("postgresql+psycopg://nobody@127.0.0.1:9/none", connect_args={"connect_timeout": 1})
    runtime.configure(before.config, nowhere, before.redis)
    try:
        answer = _knock_path(pair)
    finally:
        runtime.configure(before.config, before.engine, before.redis)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def _knock_path(pair: Pair) -> Any:
    return pair.stack.app.test_client().post(f"/hooks/{'x' * 43}", json={})
