"""The generation scheme of wake-ups, with RQ's own worker: one runs, at most one waits, none is lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
import rq
from redis import Redis

from jobs import exchange, queues, worker
from widget_backend.bridge import wake


@pytest.fixture(autouse=True)
def _empty(redis: Redis, account_id: UUID) -> None:
    """Begin with an empty Valkey."""


def test_burst_of_wake_ups_is_one_job(redis: Redis) -> None:
    assert [wake.wake() for _ in range(5)] == [True, False, False, False, False]
    assert queues.queue("exchange").job_ids == ["wake-0"]


def test_producers_at_the_same_moment_make_one_job(redis: Redis) -> None:
    with ThreadPoolExecutor(8) as pool:
        for generation in range(20):
            at_once = threading.Barrier(8)

            def produce(at_once: threading.Barrier = at_once) -> bool:
                at_once.wait()
                return wake.wake()

            made = [one.result() for one in [pool.submit(produce) for _ in range(8)]]
            assert made.count(True) == 1
            assert queues.queue("exchange").job_ids == [f"wake-{at}" for at in range(generation + 1)]
            wake.begin()


def test_wake_up_during_a_run_waits_for_the_next_and_only_once(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Drain:
        def drain(self) -> None:
            """Be woken twice while running."""
            if len(seen) < 3:
                seen.append((wake.wake(), wake.wake(), list(queues.queue("exchange").job_ids)))

    monkeypatch.setattr(exchange, "Slice", Drain)
    wake.wake()
    worker.work("exchange", burst=True)
    assert seen == [(True, False, ["wake-1"]), (True, False, ["wake-2"]), (True, False, ["wake-3"])]
    assert queues.queue("exchange").job_ids == []


def test_real_slice_with_nothing_to_do_ends_at_once_and_leaves_nothing(redis: Redis) -> None:
    wake.wake()
    worker.work("exchange", burst=True)
    assert wake.wake(), "its id is free again"
    assert int(redis.get(wake.GENERATION) or 0) == 1


def test_wake_up_lost_between_pop_and_run_is_made_good_by_a_sweep(redis: Redis) -> None:
    wake.wake()
    redis.delete("rq:queue:exchange")  # a worker took it and died before its first act
    assert not wake.wake(), "nobody knows"
    wake.begin()  # the first act of the sweep
    assert wake.wake()


def test_emptied_valkey_starts_again(redis: Redis) -> None:
    wake.wake()
    wake.begin()
    redis.flushdb()
    assert wake.wake()
    assert queues.queue("exchange").job_ids == ["wake-0"]


def test_jobs_are_json(redis: Redis) -> None:
    wake.wake()
    job = queues.queue("exchange").fetch_job("wake-0")
    assert isinstance(job, rq.job.Job) and job.serializer is rq.serializers.JSONSerializer
