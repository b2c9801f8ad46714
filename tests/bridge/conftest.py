"""One whole product for all tests of the bridge, and a company of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import stack as product
from tests.bridge.pair import Pair, make_pair
from tests.stack import Stack
from widget_backend import configure_bridge, crypto, files, outside
from widget_backend.bridge import runtime
from widget_backend.extensions import db

PATIENCE: dict[str, Any] = {
    "MOSTIK_BITRIX24_RATE": "500",
    "MOSTIK_BITRIX24_BURST": "500",
    "MOSTIK_AMOCRM_RATE": "500",
    "MOSTIK_EXCHANGE_LEASE_S": "5",
    "MOSTIK_EXCHANGE_HEARTBEAT_S": "1",
    "MOSTIK_EXCHANGE_SWEEP_S": "2",
    "MOSTIK_EXCHANGE_SLICE_S": "4",
    "MOSTIK_EXCHANGE_END_RETRY_S": "1,1,2,2",
    "MOSTIK_EXCHANGE_MESSAGE_RETRY_S": "1,1,1,1",
    "MOSTIK_OUTSIDE_READ_S": "3",
}
"""Shorter waits than people have; everything else as delivered."""


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Give the running product with the simulated outside world."""
    with product.running(None, **PATIENCE) as running:
        running.tend()
        yield running


@pytest.fixture(autouse=True)
def _in_its_process(stack: Stack) -> Iterator[None]:
    """Let this process work with the stack's engines for the time of a test, and with what it had before afterwards."""
    before = (runtime._runtime, crypto._ring, files._store, outside._setup)
    crypto.configure(crypto.KeyRing.of(stack.config.keys))
    with stack.app.app_context():
        configure_bridge(stack.config, db.engine)
        yield
    runtime._runtime, crypto._ring, files._store, outside._setup = before


@pytest.fixture
def pair(stack: Stack) -> Iterator[Pair]:
    """Give a company of its own; whatever trouble the test made outside is over afterwards."""
    yield make_pair(stack)
    for peer in ("vk", "bitrix24"):
        stack.control(
            peer,
            "faults",
            only_account="",
            latency_ms=0,
            error_rate=0,
            outage=False,
            outage_mode="503",
            lose_answers_rate=0,
            rate_limit=False,
            repeat_hooks_rate=0,
            reorder_hooks_rate=0,
            drop_hooks_rate=0,
            hook_delay_ms=0,
            hook_retry_scale=1,
        )
