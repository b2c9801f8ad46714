"""Ids are ordered by time and unique; keys are long and url-safe."""

import re
import threading
from datetime import timedelta
from uuid import UUID

import pytest

from widget_backend import clock, ids


def test_new_id_is_version_7_and_carries_its_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_last_ms", -1)  # a test before this one may have been in the future
    made = ids.new_id()
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert abs((made.int >> 80) / 1000 - clock.now().timestamp()) < 1


def test_new_id_grows_within_a_millisecond_and_when_the_clock_goes_back() -> None:
    before = [ids.new_id() for _ in range(5000)]
    with clock.shifted(timedelta(minutes=-5)):
        after = [ids.new_id() for _ in range(100)]
    assert before + after == sorted(before + after)


def test_new_id_is_unique_across_threads() -> None:
    made: list[UUID] = []
    threads = [threading.Thread(target=lambda: made.extend(ids.new_id() for _ in range(2000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8000


def test_new_key_is_url_safe_and_long() -> None:
    keys = {ids.new_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", key) for key in keys)


def test_new_token_shows_its_prefix() -> None:
    assert re.fullmatch(r"mostik_api_[A-Za-z0-9_-]{43}", ids.new_token("mostik_api"))
