"""Keeping: many threads at once share an INSERT; each learns what became of its own hook."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from tests.bridge.pair import Pair
from widget_backend.bridge import keep, keeper
from widget_backend.bridge.ends import Hook, Kept, Raw

THREADS = 24


@pytest.fixture
def door() -> keep.Door:
    """Give a door of nobody, so that nothing takes away what is kept."""
    return keep.Door(uuid4(), uuid4())


def _keep(door: keep.Door, event_id: str, *, body: bytes = b"{}", meta: str = "") -> bool:
    return keep.keep(
        door, Hook(body=body, received_at=datetime.now(UTC), query=meta), Kept(event_id=event_id), uuid4().hex
    )


def _kept(pair: Pair, door: keep.Door) -> list[str]:
    rows = pair.rows("select dedupe from inbox where owner_id = :id order by id", id=door.owner_id)
    return [row.dedupe.removeprefix("e:") for row in rows]


def test_each_event_is_new_once_however_many_bring_it_at_once(pair: Pair, door: keep.Door) -> None:
    events = [f"event {number % 200}" for number in range(600)]
    with ThreadPoolExecutor(THREADS) as pool:
        news = list(pool.map(lambda event: _keep(door, event), events))
    told_new = Counter(event for event, is_new in zip(events, news, strict=True) if is_new)
    assert told_new == Counter(set(events))
    assert Counter(_kept(pair, door)) == told_new


def test_what_cannot_be_kept_takes_nobody_with_it(pair: Pair, door: keep.Door) -> None:
    """A NUL is what PostgreSQL cannot hold in a text: the sixth thread's hook raises, in that thread alone."""

    def one(number: int) -> bool | str:
        try:
            return _keep(door, f"event {number}" if number % 6 else f"bad\x00 {number}")
        except psycopg.Error as error:
            return type(error).__name__

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(one, range(240)))
    assert [isinstance(outcome, str) for outcome in outcomes] == [number % 6 == 0 for number in range(240)]
    assert sorted(_kept(pair, door)) == sorted(f"event {number}" for number in range(240) if number % 6)


def test_a_connection_that_was_cut_costs_nothing(pair: Pair, door: keep.Door) -> None:
    assert _keep(door, "before")
    pair.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity where query like '%into inbox%' and pid <> pg_backend_pid()"
    )
    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(lambda number: _keep(door, f"event {number}"), range(100)))
    assert len(_kept(pair, door)) == 101


def test_what_a_pull_brings_keeps_its_order(pair: Pair, door: keep.Door) -> None:
    raws = [Raw(event_id=f"{number:05}", body=b"{}") for number in range(1200)]
    assert keep.keep_pulled(door, raws, datetime.now(UTC)) == 1200
    assert keep.keep_pulled(door, raws, datetime.now(UTC)) == 0
    assert _kept(pair, door) == [raw.event_id for raw in raws]


def test_a_database_that_is_away_is_found_out_once_for_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def connect(url: str, **_options: object) -> None:
        tried.append(url)
        raise psycopg.OperationalError("no answer")

    monkeypatch.setattr(psycopg, "connect", connect)
    asked = keeper._Keeper(make_url("postgresql://nowhere/x"))
    with pytest.raises(psycopg.OperationalError):
        asked.keep([("row",)] * 100)
    assert len(tried) == 2


def test_who_waits_for_a_thread_that_is_ended_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), threading.Event()
    asked = keeper._Keeper(make_url("postgresql://nowhere/x"))

    def connect(_url: str, **_options: object) -> None:
        begun.set()
        ended.wait(10)
        raise SystemExit

    monkeypatch.setattr(psycopg, "connect", connect)

    def keep_one() -> str:
        try:
            asked.keep([("row",)])
        except (psycopg.OperationalError, SystemExit) as error:
            return type(error).__name__
        return "kept"

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(keep_one)
        begun.wait(10)
        others = [pool.submit(keep_one) for _number in range(2)]
        while len(asked._waiting) < 2:
            time.sleep(0.01)
        ended.set()
        assert first.result(10) == "SystemExit"
        assert {other.result(10) for other in others} <= {"SystemExit", "OperationalError"}
