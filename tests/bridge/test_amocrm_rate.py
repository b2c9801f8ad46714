"""The real limits of amoCRM: 7 requests a second, by integration and by address, met by a backlog that wants more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests import stack as product
from tests.bridge.amocrm import Office, make_office
from tests.bridge.conftest import PATIENCE
from tests.bridge.pair import new_user
from tests.stack import Json, Stack, wait_for
from widget_backend.bridge import life, runtime
from widget_backend.crms.amocrm import client_pace as pacing
from widget_backend.crms.amocrm.client_pace import Pace
from widget_backend.limits import Kind

RATE = 6
CUSTOMERS = 40
REFUSED_AFTER = 7


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Give a product of its own that asks amoCRM as often as it is delivered."""
    settings = {name: value for name, value in PATIENCE.items() if name != "MOSTIK_AMOCRM_RATE"}
    with product.running(None, **settings) as running:
        running.tend()
        yield running


@pytest.fixture
def office(stack: Stack) -> Iterator[Office]:
    """Give an account that counts as amoCRM does, by integration and by address."""
    office = make_office(stack, mode="notes")
    stack.control("amocrm", "limits", integration=REFUSED_AFTER, address_ru=REFUSED_AFTER)
    yield office
    stack.control("amocrm", "limits", integration=0, address_ru=0)


def backlog(office: Office) -> None:
    """Let many customers write while nobody can deliver it."""
    life.set_state(office.account_id, office.connection_id, "error", "amocrm_unpaid")
    for number in range(CUSTOMERS):
        office.customer(new_user(), text=f"вопрос {number}")
    waiting = "select id from deliveries where end_id = :id and status = 'queued'"
    wait_for(lambda: len(office.rows(waiting, id=office.connection_id)) == CUSTOMERS, within_s=60, what="the backlog")


def moments(office: Office, since: int) -> list[float]:
    """Return when the account was asked, from a place of its ledger on. Units: s."""
    return [float(one["real_at"]) for one in calls(office)[since:]]


def calls(office: Office) -> list[Json]:
    """Return the calls of this account."""
    return office.calls("amocrm")


def test_backlog_uses_the_limit_and_is_never_refused(office: Office) -> None:
    backlog(office)
    before = len(calls(office))

    life.set_state(office.account_id, office.connection_id, "active")
    delivered = "select id from deliveries where end_id = :id and status = 'delivered'"
    wait_for(lambda: len(office.rows(delivered, id=office.connection_id)) == CUSTOMERS, within_s=90, what="all of it")

    asked = moments(office, before)
    lasted = max(asked) - min(asked)
    utilisation = (len(asked) - 1) / lasted / RATE
    assert not [one for one in office.stack.look("amocrm", "limits")["counters"] if one["refused"]]
    assert utilisation >= 0.95, f"{utilisation:.3f} of {RATE} a second: {len(asked)} calls in {lasted:.1f} s"


def rates(pace: Pace) -> list[int]:
    """Return how many requests a second the integration and the address may make."""
    return [limit.burst for limit in pace.limits() if limit.kind is Kind.WINDOW]


def test_first_refusal_makes_the_pace_slower(stack: Stack) -> None:
    forget_refusals()
    pace = Pace("client", "acme.amocrm.ru", RATE)
    assert rates(pace) == [RATE, RATE]

    pace.refused(timedelta(seconds=1))

    assert rates(pace) == [RATE - 1, RATE - 1]
    assert rates(Pace("another", "other.amocrm.ru", RATE)) == [RATE, RATE - 1], "the address is slower for all"
    forget_refusals()


def forget_refusals() -> None:
    """Begin as if amoCRM had never refused."""
    redis = runtime.get().redis
    for key in redis.scan_iter("mostik:memory:slow:*"):
        redis.delete(key)
    pacing._looked.clear()
