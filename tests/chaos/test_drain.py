"""SIGTERM drains: calls that are out finish, leases are given back, the process ends in its grace time, and nothing is lost or sent twice."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.bridge.pair import Pair, make_pair, new_user
from tests.stack import Stack, running, wait_for
from widget_backend.programs import server_programs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SLOW_PEER_MS = 2500
USERS = 6


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Give the product, tended by nobody."""
    with running(MOSTIK_BITRIX24_RATE="500", MOSTIK_BITRIX24_BURST="500") as product:
        yield product


@pytest.fixture
def pair(stack: Stack) -> Pair:
    """Give a company."""
    return make_pair(stack)


def _end(stack: Stack, *names: str) -> float:
    """Ask processes to end; return how long the last one took. Their status must say that all is well."""
    begun = time.monotonic()
    for name in names:
        process = stack.processes[name].running
        assert process is not None
        process.send_signal(signal.SIGTERM)
    for name in names:
        process = stack.processes[name].running
        assert process is not None
        assert process.wait(60) == 0, name
    return time.monotonic() - begun


def _grace_s(stack: Stack, name: str) -> float:
    """Return how long the supervisor waits before it kills."""
    return min(program.stop_wait_s for program in server_programs(stack.config) if program.name.startswith(name))


def test_workers_finish_their_calls_and_give_back_their_leases(stack: Stack, pair: Pair) -> None:
    """End both workers while their calls are out and more is waiting; new ones do the rest, at once and once."""
    users = [new_user() for _ in range(USERS)]
    for user in users:
        pair.customer(user, text="first")
        pair.wait_seen(user, "first")
    pair.wait_quiet()
    for peer in ("vk", "bitrix24"):
        stack.control(peer, "faults", latency_ms=SLOW_PEER_MS)
    for user in users:
        pair.customer(user, text="second")
        pair.customer(user, text="third")
        pair.operator(user, text="answer")
    wait_for(
        lambda: pair.rows("select 1 from attempts where outcome = 'open'"), every_s=0.01, what="calls that are out"
    )
    took = _end(stack, "exchange-1", "exchange-2")
    print(f"\nthe workers took {took:.1f} s to end")
    assert took < _grace_s(stack, "exchange")
    assert not pair.rows("select 1 from attempts where outcome <> 'accepted'")
    assert not pair.rows("select 1 from lanes where lease is not null and lease_until > now()")
    assert not pair.rows("select 1 from gates where inbox_lease is not null or pull_lease is not null")
    for peer in ("vk", "bitrix24"):
        stack.control(peer, "faults", latency_ms=0)
    stack.start("exchange-1")
    stack.start("exchange-2")
    for user in users:
        wait_for(lambda user=user: len(pair.seen(user)) == 4 and pair.got(user), what="the rest")  # type: ignore[misc]
        assert pair.got(user) == ["answer"]
        assert sorted(pair.seen(user)) == ["answer", "first", "second", "third"]
    pair.wait_quiet()
    assert {row.outcome for row in pair.rows("select outcome from attempts")} == {"accepted"}


def test_the_web_answers_the_hooks_it_has_before_it_ends(stack: Stack, pair: Pair) -> None:
    """End the web while a crowd writes; whatever was answered is kept, whatever was not comes again."""
    users = [new_user() for _ in range(20)]
    for user in users:
        pair.customer(user, text="hello")
    took = _end(stack, "web")
    assert took < _grace_s(stack, "web")
    stack.start("web")
    for user in users:
        pair.wait_seen(user, "hello", within_s=40)
