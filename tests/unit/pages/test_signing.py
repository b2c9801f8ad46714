"""Signing in: right and wrong, throttled, a new session each time, ended everywhere; no change without our own form."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.unit.pages.house import PASSWORD, Browser, House, token
from widget_backend import clock
from widget_backend.accounts.models import Account, Membership, User
from widget_backend.accounts.sessions import TRIES_PER_EMAIL
from widget_backend.bridge.tenancy import transaction


def stranger(app: Flask) -> Browser:
    return Browser(app.test_client())


def test_a_stranger_is_asked_to_sign_in_and_goes_where_he_wanted(app: Flask, house: House) -> None:
    browser = stranger(app)
    answer = browser.get(f"/messages/{house.message_id}?x=1")
    assert answer.status_code == 302 and answer.location.startswith("/sign-in?next=")
    assert (
        browser.sign_in(house.email, wanted=f"/messages/{house.message_id}").location == f"/messages/{house.message_id}"
    )
    assert browser.get(f"/messages/{house.message_id}").status_code == 200


@pytest.mark.parametrize("wanted", ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:alert(1)", ""])
def test_the_way_after_signing_in_stays_here(app: Flask, house: House, wanted: str) -> None:
    assert stranger(app).sign_in(house.email, wanted=wanted).location == "/"


@pytest.mark.parametrize(
    ("email", "password"), [("first@acme.test", "wrong"), ("nobody@acme.test", PASSWORD), ("", "-")]
)
def test_a_wrong_password_and_an_unknown_person_look_the_same(
    app: Flask, house: House, email: str, password: str
) -> None:
    answer = stranger(app).sign_in(email, password)
    assert (
        answer.status_code == 422
        and "Почта или пароль не подходят" in answer.text
        and password not in answer.text.split("</form>")[1]
    )


def test_the_email_is_found_in_any_case(app: Flask, house: House) -> None:
    assert stranger(app).sign_in(f" {house.email.upper()} ").status_code == 303


def test_guessing_is_slowed_down_for_an_email_and_not_for_others(app: Flask, houses: tuple[House, House]) -> None:
    first, second = houses
    browser = stranger(app)
    for _ in range(TRIES_PER_EMAIL):
        assert browser.sign_in(first.email, "wrong").status_code == 422
    refused = browser.sign_in(first.email)
    assert refused.status_code == 429 and int(refused.headers["Retry-After"]) > 0
    assert stranger(app).sign_in(second.email).status_code == 303


def test_signing_in_starts_a_new_session(app: Flask, house: House) -> None:
    browser = stranger(app)
    before = token(browser.get("/sign-in").text)
    with browser.client.session_transaction() as session:
        session["planted"] = "x"
    browser.sign_in(house.email)
    with browser.client.session_transaction() as session:
        assert session["csrf"] != before and "planted" not in session


def test_the_cookie_is_closed_to_scripts_and_other_sites(app: Flask, house: House) -> None:
    cookie = stranger(app).sign_in(house.email).headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" in cookie


def test_a_change_without_the_forms_token_is_refused(app: Flask, browser: Browser, house: House) -> None:
    for form in ({}, {"csrf": "wrong"}):
        answer = browser.client.post(f"/ends/{house.channel_id}/disconnect", data=form)
        assert answer.status_code == 403 and "Форма устарела" in answer.text
    assert stranger(app).client.post("/sign-in", data={"email": house.email, "password": PASSWORD}).status_code == 403


def test_hooks_need_no_form_token(app: Flask, house: House) -> None:
    assert app.test_client().post("/hooks/unknown").status_code == 404


def test_signing_out_everywhere_ends_every_session(app: Flask, browser: Browser, house: House) -> None:
    other = stranger(app)
    other.sign_in(house.email)
    assert browser.post("/sign-out", everywhere="1").status_code == 303
    assert other.get("/").status_code == 302 and browser.get("/").status_code == 302
    again = stranger(app)
    again.sign_in(house.email)
    assert again.get("/").status_code == 200


def test_signing_out_ends_this_session_only(app: Flask, browser: Browser, house: House) -> None:
    other = stranger(app)
    other.sign_in(house.email)
    browser.post("/sign-out")
    assert browser.get("/").status_code == 302 and other.get("/").status_code == 200


def test_somebody_of_two_accounts_works_in_the_one_he_chose(
    app: Flask, browser: Browser, houses: tuple[House, House]
) -> None:
    first, second = houses
    with transaction(None) as session:
        user = session.query(User).filter_by(email=first.email).one()
        session.add(Membership(account_id=second.account_id, user_id=user.id, role="reader"))
    assert "VK first" in browser.get("/").text
    assert browser.post("/account", account=str(second.account_id)).status_code == 303
    page = browser.get("/").text
    assert "VK second" in page and "VK first" not in page
    assert browser.post(f"/ends/{second.channel_id}/check").status_code == 403


def test_a_blocked_account_and_a_lost_membership_end_the_session(browser: Browser, house: House) -> None:
    with transaction(None) as session:
        session.get_one(Account, house.account_id).blocked_at = clock.now()
    assert browser.get("/").status_code == 302


def test_a_key_opens_no_page(app: Flask, house: House) -> None:
    answer = app.test_client().get("/messages", headers={"Authorization": f"Bearer {house.key}"})
    assert answer.status_code == 302


def test_assets_are_kept_for_ever_only_under_their_mark(app: Flask, house: House) -> None:
    client = app.test_client()
    page = client.get("/sign-in").text
    marked = page.split('rel="stylesheet" href="', 1)[1].split('"', 1)[0]
    assert "immutable" in client.get(marked).headers["Cache-Control"]
    assert client.get("/assets/style.css?v=old").headers["Cache-Control"] == "no-cache"
    assert client.get("/assets/../templates/base.html").status_code == 404
