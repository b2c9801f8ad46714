"""Invariant 8: a rate limit is never exceeded, as the remote counts it, and a backlog uses at least 95 % of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
import redis as redis_client

from widget_backend import limits
from widget_backend.bridge import runtime
from widget_backend.ids import new_key
from widget_backend.limits import Limit, LimitWait

SECOND = timedelta(seconds=1)


@pytest.fixture
def valkey() -> redis_client.Redis:
    """Give the product's Valkey, as one that has known the limits for long: full bursts."""
    client: redis_client.Redis = runtime.get().redis
    limits.take(client, [Limit.bucket("warm", 1, 1)])
    client.set("mostik:limits:born", 0)
    return client


class Remote:
    """Counts calls as a remote does: a strict sliding window, or a bucket drained once a second."""

    def __init__(self) -> None:
        self.arrived: list[float] = []
        self._lock = threading.Lock()

    def call(self) -> None:
        with self._lock:
            self.arrived.append(time.monotonic())

    def most_in_window(self, window_s: float) -> int:
        return max(sum(at <= other < at + window_s for other in self.arrived) for at in self.arrived)

    def highest_level(self, rate_per_s: int) -> int:
        level, drained, highest = 0, self.arrived[0], 0
        for at in self.arrived:
            while at - drained >= 1:
                level, drained = max(level - rate_per_s, 0), drained + 1
            level += 1
            highest = max(highest, level)
        return highest

    def rate_per_s(self, skip: int) -> float:
        steady = self.arrived[skip:]
        return (len(steady) - 1) / (steady[-1] - steady[0])


def backlog(
    client: redis_client.Redis, limit: Limit, seconds: float, threads: int, before: Callable[[], None]
) -> Remote:
    """Let threads send as fast as the limit lets them."""
    remote, until = Remote(), time.monotonic() + seconds

    def work() -> None:
        while (rest := until - time.monotonic()) > 0:
            try:
                limits.wait(client, [limit], bound=timedelta(seconds=rest))
            except LimitWait:
                return
            before()
            remote.call()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return remote


def test_sliding_window_of_20_per_second_is_kept_and_used(valkey: redis_client.Redis) -> None:
    jitter = iter(number % 7 / 1000 for number in range(10_000))  # up to 6 ms on the way
    remote = backlog(valkey, Limit.window(f"vk:{new_key()}", 20, SECOND), 4, 4, lambda: time.sleep(next(jitter)))
    assert remote.most_in_window(1.0) <= 20
    assert remote.rate_per_s(skip=20) >= 0.95 * 20 * 0.99  # 1 % for the edges of so short a run
    assert len(remote.arrived) >= 0.95 * 4 * 20


def test_leaky_bucket_of_2_per_second_and_50_is_kept_and_used(valkey: redis_client.Redis) -> None:
    limit = Limit.bucket(f"b24:{new_key()}", 2, 50)
    remote = backlog(valkey, limit, 4, 3, lambda: None)
    burst = limit.capacity - limit.reserve
    assert remote.highest_level(2) <= 50
    assert len(remote.arrived) >= burst + 7
    assert remote.rate_per_s(skip=burst) >= 0.95 * 2
