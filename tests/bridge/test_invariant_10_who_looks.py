"""Invariant 10: every page inside a CRM proves who is looking, with the CRM's own token, and relies on no cookie."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
import requests

from tests.bridge.pair import Pair, make_pair
from tests.stack import Json, Stack
from widget_backend.accounts.models import App
from widget_backend.extensions import db


@pytest.fixture(scope="module")
def pairs(stack: Stack) -> tuple[Pair, Pair]:
    """Give two companies with the same app on their portals."""
    return make_pair(stack), make_pair(stack)


def _frame(pair: Pair, **body: object) -> Json:
    """Return what the portal's frame posts when an employee opens our page."""
    app = pair.stack.peers["bitrix24"]["client_id"]
    return pair.stack.control("bitrix24", "frame", account=pair.portal["member_id"], app=app, **body)


def _open(pair: Pair, frame: Json, **over: str) -> requests.Response:
    with pair.stack.app.app_context():
        key = db.session.query(App.key).filter_by(client_id=pair.stack.peers["bitrix24"]["client_id"]).scalar()
    url = f"{pair.stack.url}/embedded/{key}?{urlsplit(frame['action']).query}"
    return requests.post(url, data={**frame["fields"], **over}, timeout=20)


def test_portals_own_frame_is_let_in_without_cookies_and_by_this_portal_only(pairs: tuple[Pair, Pair]) -> None:
    for pair in pairs:
        answer = _open(pair, _frame(pair))
        assert answer.status_code == 200, answer.text
        assert "Set-Cookie" not in answer.headers
        ancestors = re.search(r"frame-ancestors ([^;]+)", answer.headers["Content-Security-Policy"])
        assert ancestors and ancestors[1].split() == ["'self'", pair.portal["url"]]


def test_forged_token_is_403_and_noted(pairs: tuple[Pair, Pair]) -> None:
    pair = pairs[0]
    before = pair.rows("select count(*) as n from security_events")[0].n
    assert _open(pair, _frame(pair), AUTH_ID="f" * 70, APPLICATION_TOKEN="f" * 32).status_code == 403
    assert pair.rows("select count(*) as n from security_events")[0].n == before + 1


def test_person_whose_token_the_portal_does_not_know_sees_nothing(pairs: tuple[Pair, Pair]) -> None:
    pair = pairs[0]
    answer = _open(pair, _frame(pair), AUTH_ID="f" * 70)
    assert answer.status_code == 503 and "<form" not in answer.text


def test_token_of_one_portal_opens_no_other(pairs: tuple[Pair, Pair]) -> None:
    mine, other = pairs
    stolen = _frame(other)
    assert _open(mine, stolen, member_id=mine.portal["member_id"]).status_code == 403


def test_employee_without_rights_sees_the_state_and_may_change_nothing(pairs: tuple[Pair, Pair]) -> None:
    pair = pairs[0]
    admin = _open(pair, _frame(pair))
    operator = _open(pair, _frame(pair, user=pair.portal["operators"][0]))
    assert 'name="do"' in admin.text
    assert operator.status_code == 200 and 'name="do"' not in operator.text
    settings = pair.rows("select settings from ends where id = :id", id=pair.connection_id)
    line = {
        "placement": "SETTING_CONNECTOR",
        "connector": settings[0].settings["connector"],
        "line": pair.portal["lines"][0],
    }
    _open(pair, _frame(pair, user=pair.portal["operators"][0], **line))
    assert pair.rows("select settings from ends where id = :id", id=pair.connection_id) == settings


def test_form_of_one_portals_page_acts_on_no_other(pairs: tuple[Pair, Pair]) -> None:
    """The page's own signed token says whose it is, whatever else the form claims."""
    mine, other = pairs
    page = _open(other, _frame(other))
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    assert token
    with mine.stack.app.app_context():
        key = db.session.query(App.key).filter_by(client_id=mine.stack.peers["bitrix24"]["client_id"]).scalar()
    before = mine.rows("select state, settings, connected_at from ends where id = :id", id=mine.connection_id)
    form = {"token": token[1], "do": "reconnect", "member_id": mine.portal["member_id"]}
    requests.post(f"{mine.stack.url}/embedded/{key}/act", data=form, timeout=20)
    requests.post(f"{mine.stack.url}/embedded/{key}/act", data={**form, "token": token[1][:-4] + "AAAA"}, timeout=20)
    assert mine.rows("select state, settings, connected_at from ends where id = :id", id=mine.connection_id) == before
