"""A flood of forged hooks leaves a few rows a minute, and a sum of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from widget_backend import clock
from widget_backend.accounts import forgeries
from widget_backend.accounts.models import SecurityEvent


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forgeries._counts.clear()
    forgeries._left_out.clear()
    yield
    forgeries._counts.clear()


def _forge(db: Any, owner_id: UUID, why: str = "wrong secret") -> bool:
    return forgeries.note(db.session, owner_id, adapter="vk", why=why, remote_address="192.0.2.1", end_id=owner_id)


def _rows(db: Any) -> list[tuple[UUID | None, str]]:
    return [(row.end_id, row.why) for row in db.session.query(SecurityEvent).order_by(SecurityEvent.id)]


def test_flood_leaves_a_few_rows_and_the_next_minute_says_how_many_more(db: Any) -> None:
    one, other = uuid4(), uuid4()
    noted = [_forge(db, one) for _ in range(300)]
    assert sum(noted) == forgeries.A_MINUTE
    assert _forge(db, other), "another end's events are noted all the same"
    with clock.shifted(timedelta(minutes=1)):
        assert _forge(db, other)
        assert _forge(db, other)
    assert _rows(db) == [
        *[(one, "wrong secret")] * forgeries.A_MINUTE,
        (other, "wrong secret"),
        (one, "wrong secret: 295 more"),
        *[(other, "wrong secret")] * 2,
    ]


def test_reasons_that_are_ever_new_fill_nothing_either(db: Any) -> None:
    noted = [_forge(db, uuid4(), why=f"reason {number}") for number in range(forgeries.KINDS * 3)]
    assert sum(noted) == forgeries.KINDS
