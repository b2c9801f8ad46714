"""Two accounts that know nothing of each other, and people of the first one at their browsers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from redis import Redis

from tests.unit.pages.house import Browser, House, furnish
from widget_backend.accounts.models import Membership, User
from widget_backend.bridge.tenancy import transaction


@pytest.fixture
def houses(db: Any, redis: Redis[bytes]) -> tuple[House, House]:
    """Give two accounts that know nothing of each other."""
    return furnish("first"), furnish("second")


@pytest.fixture
def house(houses: tuple[House, House]) -> House:
    """Give the first of them."""
    return houses[0]


@pytest.fixture
def browser(app: Flask, house: House) -> Browser:
    """Give the owner of the first account, signed in."""
    made = Browser(app.test_client())
    assert made.sign_in(house.email).status_code == 303
    return made


@pytest.fixture
def person(app: Flask, house: House) -> Callable[[str], Browser]:
    """Give a way to sign in as somebody of the first account with a role."""

    def make(role: str) -> Browser:
        with transaction(house.account_id) as session:
            user = session.query(User).filter_by(email=house.email).one()
            session.get_one(Membership, (house.account_id, user.id)).role = role
        made = Browser(app.test_client())
        made.sign_in(house.email)
        return made

    return make
