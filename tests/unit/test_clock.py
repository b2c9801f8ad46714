"""The clock can be moved, and comes back."""

from datetime import UTC, datetime, timedelta

import pytest

from widget_backend import clock


def test_now_is_aware_utc_and_true() -> None:
    assert clock.now().tzinfo is UTC
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=1)


def test_shifted_moves_both_readings_and_nests() -> None:
    moment, reading = clock.now(), clock.monotonic()
    with clock.shifted(timedelta(hours=1)), clock.shifted(timedelta(hours=2)):
        assert timedelta(hours=3) <= clock.now() - moment < timedelta(hours=3, seconds=5)
        assert 10800 <= clock.monotonic() - reading < 10805
    assert clock.now() - moment < timedelta(seconds=5)


def test_shifted_ends_when_the_block_fails() -> None:
    moment = clock.now()
    with pytest.raises(RuntimeError), clock.shifted(timedelta(days=1)):
        raise RuntimeError
    assert clock.now() - moment < timedelta(seconds=5)


def test_sleep_waits_and_takes_a_negative_duration_for_none() -> None:
    started = clock.monotonic()
    clock.sleep(timedelta(seconds=-5))
    clock.sleep(timedelta(milliseconds=20))
    assert 0.02 <= clock.monotonic() - started < 2
