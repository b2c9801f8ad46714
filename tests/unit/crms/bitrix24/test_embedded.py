"""Installing, opening, updating and removing the app, as a portal does it: the twin makes the POSTs, over real HTTP.

Who may see what once it is installed: tests/bridge/test_invariant_10_who_looks.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from sqlalchemy import func, select

from oauth import installs, routes, store
from oauth.models import Install, Token
from tests.unit.crms.bitrix24.conftest import World, make_app
from widget_backend.accounts import claims
from widget_backend.accounts.models import SecurityEvent
from widget_backend.bridge import life
from widget_backend.bridge.models import Inbox
from widget_backend.bridge.tenancy import transaction


def _wait(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def _count(model: Any) -> int:
    with transaction(None) as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


# -- installing ------------------------------------------------------------------------------------------------------


def test_installing_connects_the_portal_and_its_hooks_are_kept(world: World) -> None:
    end = world.connected()

    assert (end.state, end.remote_id, end.settings["domain"]) == ("active", world.account, world.portal["domain"])
    line = world.portal["lines"][0]
    shown = world.open(placement="SETTING_CONNECTOR", connector=end.settings["connector"], line=line)
    assert (shown["status"], shown["trouble"]) == (200, "")
    assert world.end().settings["active_line"] == str(line)
    assert world.unguessable() not in shown["text"]
    world.control("disconnect", connector=end.settings["connector"], line=line)
    _wait(lambda: _count(Inbox) == 1)


def test_installing_again_replaces_the_tokens_and_keeps_the_end(world: World) -> None:
    first = world.connected()
    again = world.install()
    assert "finishInstall()" in world.act(again.text, "connect").text

    assert world.end().id == first.id
    with transaction(world.account_id) as session:
        assert session.scalars(select(Token)).one().generation == 2


def test_install_without_pages_is_connected_by_its_event(world: World) -> None:
    world.control("install", install_url="", handler_url="", event_url=world.page("install"))

    if world.app.account_id is None:
        _wait(lambda: _count(Install) == 1)
    else:
        _wait(lambda: life.find("bitrix24", world.account, world.app.id) is not None and world.end().state == "active")


def test_catalogue_install_is_claimed_by_a_code(world: World) -> None:
    page = world.install()
    if world.app.account_id is not None:
        pytest.skip("a local app belongs to an account")
    code = re.search(r'class="code">([^<]+)<', page.text)
    assert code
    early = world.act(page.text, "connect", code=code[1])
    assert code[1] in early.text

    waiting = store.by_code(code[1])
    assert waiting is not None
    installs.claim(world.account_id, world.app, waiting)
    done = world.act(page.text, "connect")

    assert "finishInstall()" in done.text and _count(Install) == 0 and world.end().state == "active"


def test_wrong_password_claims_nothing_and_tries_are_counted(world: World) -> None:
    page = world.install()
    if world.app.account_id is not None:
        pytest.skip("a local app belongs to an account")
    answers = [
        world.act(page.text, "sign_in", email="anna@acme.example", password="guess").text
        for _ in range(claims.TRIES + 1)
    ]

    assert life.find("bitrix24", world.account, world.app.id) is None
    assert answers[0] != answers[-1]
    right = world.act(page.text, "sign_in", email="anna@acme.example", password="a good password")
    assert "progress" not in right.text and life.find("bitrix24", world.account, world.app.id) is None


# -- who may see what ------------------------------------------------------------------------------------------------


def test_forged_visit_is_refused_and_noted(world: World) -> None:
    form = {"url": world.page("install"), "data": {"AUTH_ID": "x", "member_id": "m", "APPLICATION_TOKEN": "t"}}

    assert requests.post(**form, timeout=10).status_code == 403
    assert (_count(SecurityEvent), _count(Install)) == (1, 0)


def test_token_of_one_portal_does_not_open_another(world: World) -> None:
    form = world.control("install", install_url=world.page("install"), handler_url=world.page(""))
    stolen = {**form["fields"], "member_id": "f" * 32}

    assert requests.post(form["action"], data=stolen, timeout=10).status_code == 403


def test_form_of_another_apps_page_is_refused(world: World) -> None:
    page = world.install()
    other = make_app("local.other", "another secret", world.account_id)
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    assert token
    url = f"{world.url}/embedded/{other.key}/act"

    assert requests.post(url, data={"token": token[1], "do": "connect"}, timeout=10).status_code == 403


@pytest.mark.parametrize("name", ["", "/install", "/setting", "/nothing"])
def test_unknown_key_is_not_found(world: World, name: str) -> None:
    assert requests.post(f"{world.url}/embedded/{'x' * 43}{name}", data={"a": "b"}, timeout=10).status_code == 404


# -- later -----------------------------------------------------------------------------------------------------------


def test_moving_to_another_line_asks_first(world: World) -> None:
    end = world.connected()
    connector = end.settings["connector"]
    first = world.portal["lines"][0]
    second = int(requests.post(
        f"{world.portal['webhook']}imopenlines.config.add", json={"PARAMS": {"LINE_NAME": "Вторая"}}, timeout=10
    ).json()["result"])  # fmt: skip
    world.open(placement="SETTING_CONNECTOR", connector=connector, line=first)

    asked = world.open(placement="SETTING_CONNECTOR", connector=connector, line=second)
    assert world.end().settings["active_line"] == str(first)
    moved = world.act(asked["text"], "line")

    assert moved.status_code == 200 and world.end().settings["active_line"] == str(second)


def test_update_of_the_app_brings_its_new_token_and_handlers(world: World) -> None:
    world.connected()
    before = world.snapshot().secrets["application_token"]

    world.control("update")

    _wait(lambda: world.snapshot().secrets["application_token"] != before)
    form = world.control("frame")
    _wait(lambda: world.snapshot().secrets["application_token"] == form["fields"]["APPLICATION_TOKEN"])
    _wait(lambda: world.end().state == "active")


@pytest.mark.parametrize("clean", [False, True])
def test_removing_the_app_closes_the_end_and_erases_when_asked(world: World, clean: bool) -> None:
    end = world.connected()
    world.control("app", client_id=world.app.client_id, event_url=world.page("install"))

    world.control("uninstall", clean=clean)

    if clean:
        _wait(lambda: life.find("bitrix24", world.account, world.app.id) is None)
    else:
        _wait(lambda: world.end().state == "error")
        assert (world.end().id, world.end().reason) == (end.id, "bitrix24_uninstalled")


def test_admin_connects_again_with_his_own_access_when_the_first_is_lost(world: World) -> None:
    world.connected()
    with transaction(world.account_id) as session:
        row = session.scalars(select(Token)).one()
        row.lost = "token_revoked"
    life.set_state(world.account_id, world.end().id, "error", "token_revoked")

    page = world.open()
    answer = world.act(page["text"], "reconnect")

    assert answer.status_code == 200 and world.end().state == "active"


def test_access_is_granted_from_the_cabinet(world: World) -> None:
    world.control("app", client_id=world.app.client_id, redirect_url=f"{world.url}/oauth/callback")
    world.connected()
    with world.flask.test_request_context():
        link = routes.start_url(world.account_id, world.app.id, world.portal["url"])
    browser = requests.Session()
    sent = browser.get(f"{world.url}{link}", allow_redirects=False, timeout=10)
    target = urlsplit(sent.headers["Location"])
    assert f"{target.scheme}://{target.netloc}" == world.portal["url"]
    state = parse_qs(target.query)["state"][0]
    code = world.control("code")["code"]
    back = {"code": code, "state": state, "member_id": world.account, "server_domain": world.twin["oauth_urls"][0]}

    stranger = requests.get(f"{world.url}/oauth/callback", params=back, timeout=10)
    assert stranger.status_code == 400
    answer = browser.get(f"{world.url}/oauth/callback", params=back, timeout=20)

    assert answer.status_code == 200, answer.text
    with transaction(world.account_id) as session:
        assert session.scalars(select(Token)).one().generation == 2
