"""Jobs by the clock that go over all ends."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest

from jobs import schedules
from tests.unit.bridge.conftest import make_channel
from widget_backend.bridge import registry


def test_trouble_with_one_end_does_not_keep_the_others_from_their_check(
    account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Broken:
        def check(self) -> None:
            asked.append(self)
            raise ValueError

    for _ in range(2):
        make_channel(account_id)
    monkeypatch.setattr(registry, "adapter", lambda end: Broken())
    schedules.check_ends()
    assert len(asked) == 2


def test_a_slow_end_holds_up_no_other_check(account_id: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(schedules.AT_ONCE)

    class Slow:
        def check(self) -> None:
            together.wait(10)

    for _ in range(schedules.AT_ONCE):
        make_channel(account_id)
    monkeypatch.setattr(registry, "adapter", lambda end: Slow())
    schedules.check_ends()
    assert not together.broken
