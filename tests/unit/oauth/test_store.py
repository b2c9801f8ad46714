"""Installs that wait for their account (oauth/store.py)."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, text, update

from oauth import store
from oauth.models import Install
from tests.unit.oauth.conftest import TokenedEnd
from widget_backend.bridge.tenancy import transaction


def _install(end: TokenedEnd) -> store.Unclaimed:
    return store.Unclaimed(adapter="bitrix24", app_id=end.app_id, remote_id="m2", facts={"access": "a-secret"})


def test_install_is_found_by_its_code_however_it_is_typed(end: TokenedEnd) -> None:
    code = store.remember(_install(end))

    found = store.by_code(f" {code[:4]}-{code[4:8].lower()} {code[8:]}")
    assert found == _install(end)
    assert store.by_code("AAAA") is None


def test_new_install_of_the_same_company_replaces_the_old_one(end: TokenedEnd) -> None:
    old = store.remember(_install(end))
    store.remember(_install(end))

    assert store.by_code(old) is None
    assert store.unclaimed(end.app_id, "m2") is not None


def test_claimed_install_is_gone(end: TokenedEnd) -> None:
    code = store.remember(_install(end))
    store.claimed(end.app_id, "m2")

    assert store.by_code(code) is None


def test_code_works_for_a_week_only(end: TokenedEnd) -> None:
    code = store.remember(_install(end))
    with transaction(None) as session:
        session.execute(update(Install).values(claim_until=func.now() - timedelta(seconds=1)))

    assert store.by_code(code) is None


def test_facts_are_sealed_at_rest(end: TokenedEnd) -> None:
    store.remember(_install(end))
    with transaction(None) as session:
        sealed = session.execute(text("select facts_sealed from oauth_installs")).scalar_one()

    assert b"a-secret" not in bytes(sealed)
