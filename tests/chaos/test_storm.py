"""The chaos proof: whatever is killed, whatever the peers do, nothing is lost, doubled or misordered."""

from __future__ import annotations

import os

import pytest

from tests.bench import fleet
from tests.bench.fleet import Tenant
from tests.chaos.storm import Storm, Verdict
from tests.stack import Stack, running

SECONDS = float(os.environ.get("CHAOS_SECONDS", "20"))  # `make chaos` storms for a minute
RATE = 50.0
SOON = {"MOSTIK_EXCHANGE_END_RETRY_S": "1,2,4,6", "MOSTIK_EXCHANGE_LEASE_S": "15", "MOSTIK_AMOCRM_RATE": "100"}
"""A minute of storm has the troubles of days: the waits after each are as much shorter, so that the calm after it comes within minutes."""
KILLABLE = ("web", "exchange-1", "exchange-2", "cron", "schedules", "valkey", "postgres")


def _judged(storm: Storm) -> None:
    storm.wait_for_calm(300)
    storm.pull_all(150)
    storm.wait_for_calm(300)
    verdicts = storm.judge()
    print(f"\nkills: {dict(storm.kills)} = {storm.kills.total()}\ndeliveries: {storm.undone()}")
    for way, verdict in verdicts.items():
        print(f"{way}: {verdict}")
    for verdict in verdicts.values():
        _nothing_wrong(verdict)


def _nothing_wrong(verdict: Verdict) -> None:
    assert not verdict.lost, verdict.lost[:10]
    assert not verdict.doubled, verdict.doubled[:10]
    assert not verdict.misordered, verdict.misordered[:10]
    assert verdict.said - verdict.arrived <= verdict.uncertain


def _trouble(stack: Stack) -> None:
    troubles = {"latency_ms": 60, "latency_jitter_ms": 100, "error_rate": 0.02, "lose_answers_rate": 0.01}
    hooks = {"repeat_hooks_rate": 0.05, "reorder_hooks_rate": 0.05, "hook_retry_scale": 0.05}
    stack.control("vk", "faults", **troubles, **hooks)
    stack.control("bitrix24", "faults", **troubles, repeat_hooks_rate=0.05, reorder_hooks_rate=0.05)
    # amoCRM sends a hook once: what is lost on its way comes by a pull (amocrm.md 4.1)
    stack.control("amocrm", "faults", **troubles, drop_hooks_rate=0.05, reorder_hooks_rate=0.05)


def _tenants(stack: Stack, count: int) -> list[Tenant]:
    """Make companies, one in four working in amoCRM, one in four there and in a portal."""
    quarter = count // 4
    both = fleet.make_amocrm(stack, quarter, with_portal=True)
    return fleet.make(stack, count - 2 * quarter) + fleet.make_amocrm(stack, quarter) + both


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_storm_of_kills_and_troubles_loses_doubles_and_misorders_nothing() -> None:
    """Kill every kind of process, at least 20 times in a minute, at 50 messages a second both ways over 40 conversations of 8 accounts."""
    with running(**SOON) as stack:
        tenants = _tenants(stack, 8)
        storm = Storm(stack, tenants, 5)
        storm.introduce()
        _trouble(stack)
        stack.tend()
        killer = storm.kill_at_random(KILLABLE, (1.0, 3.0))
        storm.talk(RATE, SECONDS)
        killer.join()
        _judged(storm)
        assert storm.kills.total() >= 20 * SECONDS / 60 * 0.9


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_valkey_emptied_again_and_again_loses_doubles_and_misorders_nothing() -> None:
    """Empty Valkey every second while messages flow: it holds wake-ups and limits only."""
    with running(**SOON) as stack:
        tenants = _tenants(stack, 4)
        storm = Storm(stack, tenants, 5)
        storm.introduce()
        from redis import Redis

        valkey = Redis.from_url(stack.config.redis_url)
        stack.tend()

        def empty() -> None:
            while not storm.over.wait(1.0):
                valkey.flushall()

        import threading

        flusher = threading.Thread(target=empty)
        flusher.start()
        storm.talk(20.0, min(SECONDS, 20.0))
        flusher.join()
        _judged(storm)
