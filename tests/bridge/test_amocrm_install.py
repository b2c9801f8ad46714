"""How an amoCRM account comes, goes and comes back: installs, consent, renaming, access that is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from sqlalchemy import select, text

from oauth import arrivals, installs, refresh, routes, store
from oauth.models import Install
from tests.bridge.amocrm import Office, make_office, register
from tests.bridge.pair import new_user
from tests.stack import Json, Stack, wait_for
from widget_backend.accounts.models import App
from widget_backend.bridge import life, setup
from widget_backend.bridge.tenancy import transaction


@pytest.fixture
def office(stack: Stack) -> Office:
    """Give a company that works in amoCRM."""
    return make_office(stack)


def app_of(office: Office) -> App:
    """Return the integration's record."""
    with transaction(office.account_id) as session:
        return session.get_one(App, office.app_id)


def start(stack: Stack, office_app: App, account_id: object) -> tuple[requests.Session, str]:
    """Begin to connect as the cabinet does; return the browser and the state it carries to the consent page."""
    browser = requests.Session()
    with stack.app.test_request_context():
        link = routes.start_url(account_id, office_app.id, "amocrm")  # type: ignore[arg-type]
    sent = browser.get(f"{stack.url}{link}", allow_redirects=False, timeout=30)
    assert sent.status_code == 302
    query = parse_qs(urlsplit(sent.headers["Location"]).query)
    assert query["client_id"] == [office_app.client_id]
    return browser, query["state"][0]


def made_apart(stack: Stack) -> tuple[Json, object, App]:
    """Make an account here and one in amoCRM that nobody has installed yet."""
    made = stack.control("amocrm", "make", channels=[{"title": "VK"}])
    account_id = stack.make_account()
    return made, account_id, register(stack, made, account_id)


def connections(account_id: object) -> list[object]:
    """Return the amoCRM connections of an account."""
    with transaction(account_id) as session:  # type: ignore[arg-type]
        return list(session.execute(text("select id, state, reason, title from ends where adapter = 'amocrm'")).all())


# ------------------------------------------------------------------------------------------------------- consent


def test_administrator_connects_from_the_cabinet(stack: Stack) -> None:
    made, account_id, app = made_apart(stack)
    browser, state = start(stack, app, account_id)
    host = made["account"]["host"]

    url = stack.control("amocrm", "consent", account=host, client_id=app.client_id, state=state)["url"]
    said = browser.get(url, timeout=60)

    assert said.status_code == 200, said.text
    assert [one.state for one in connections(account_id)] == ["active"]  # type: ignore[attr-defined]


def test_consent_brought_by_another_browser_is_refused(stack: Stack) -> None:
    made, account_id, app = made_apart(stack)
    _browser, state = start(stack, app, account_id)
    host = made["account"]["host"]

    url = stack.control("amocrm", "consent", account=host, client_id=app.client_id, state=state)["url"]

    assert requests.get(url, timeout=30).status_code == 400
    assert not connections(account_id)


def test_consent_that_was_refused_says_so(stack: Stack) -> None:
    made, account_id, app = made_apart(stack)
    browser, state = start(stack, app, account_id)

    refused = {"account": made["account"]["host"], "client_id": app.client_id, "state": state, "refuse": True}
    said = browser.get(stack.control("amocrm", "consent", **refused)["url"], timeout=30)

    assert said.status_code == 400
    assert "Отказать" in said.text


def test_consent_of_a_common_employee_replaces_nothing(office: Office) -> None:
    app = app_of(office)
    browser, state = start(office.stack, app, office.account_id)
    before = office.rows("select generation, saved_at from oauth_tokens")
    employee = next(one["id"] for one in office.made["account"]["users"] if not one["is_admin"])

    said = browser.get(office.act("consent", client_id=app.client_id, state=state, user=employee)["url"], timeout=30)

    assert said.status_code == 502
    assert "администратор" in said.text.lower()
    assert office.rows("select generation, saved_at from oauth_tokens") == before


@pytest.mark.parametrize("host", ["evil.example", "acme.amocrm.ru.evil.example", "www.amocrm.ru", "127.0.0.1:1"])
def test_forged_address_of_an_account_gets_nothing(office: Office, host: str) -> None:
    app = app_of(office)
    query = {"code": "x", "referer": host, "client_id": app.client_id, "platform": "1", "from_widget": "1"}

    said = requests.get(f"{office.stack.url}/oauth/install/{app.key}", params=query, timeout=30)

    assert said.status_code == 403
    assert not [install for install in store.arrived() if install.app_id == app.id]


# ------------------------------------------------------------------------------------------------------- unclaimed


def test_install_without_an_account_waits_until_it_is_claimed(stack: Stack) -> None:
    made = stack.control("amocrm", "make", channels=[{"title": "VK"}])
    app = register(stack, made, None)
    host, remote_id = made["account"]["host"], str(made["account"]["id"])

    stack.control("amocrm", "install", account=host, client_id=app.client_id)
    waiting = wait_for(lambda: store.unclaimed(app.id, remote_id), within_s=60, what="the install that waits")
    account_id = stack.make_account()
    end_id = installs.claim(account_id, app, waiting)
    installs.connect(account_id, end_id, app, actor="test")

    assert [one.state for one in connections(account_id)] == ["active"]  # type: ignore[attr-defined]
    with pytest.raises(installs.Taken):
        installs.claim(stack.make_account(), app, waiting)


def test_install_whose_owner_could_not_be_asked_at_once_is_not_lost_with_its_code(stack: Stack) -> None:
    made, account_id, app = made_apart(stack)
    host = made["account"]["host"]
    stack.control(
        "amocrm", "limits", integration=1
    )  # the code is exchanged, and of the two questions after it one is refused
    try:
        stack.control("amocrm", "install", account=host, client_id=app.client_id)
        kept = wait_for(lambda: kept_pair(app), within_s=30, what="the pair that is kept")
    finally:
        stack.control("amocrm", "limits", integration=0)

    assert "code" not in kept.facts
    with transaction(None) as session:
        sealed = session.scalars(select(Install.facts_sealed).where(Install.app_id == app.id)).all()
    assert not [one for one in sealed if kept.facts["access"].encode() in one]
    arrivals.take_all()
    wait_for(lambda: [one.state for one in connections(account_id)] == ["active"], what="the connection")  # type: ignore[attr-defined]
    assert not [install for install in store.arrived() if install.app_id == app.id]


def kept_pair(app: App) -> store.Unclaimed | None:
    """Return an arrival of an app whose code was exchanged and whose owner is not known yet."""
    return next((one for one in store.arrived() if one.app_id == app.id and "access" in one.facts), None)


# ------------------------------------------------------------------------------------------------- lost and found


def test_what_comes_while_the_integration_is_off_arrives_after_the_reinstall(office: Office) -> None:
    user = new_user()
    office.customer(user, text="до")
    office.wait_seen(user, "до")

    assert office.act("disable", client_id=office.client_id)["status"] == 200
    assert office.state() == ("error", "amocrm_disabled")
    office.customer(user, text="во время")
    office.act("install", client_id=office.client_id)

    office.wait_seen(user, "до", "во время", within_s=40)
    assert office.state()[0] == "active"
    office.operator(user, text="после")
    office.wait_got(user, "после")


def test_what_an_account_left_behind_is_erased_after_a_month(office: Office) -> None:
    office.act("disable", client_id=office.client_id)
    arrivals.forget_departed()
    assert office.state() == ("error", "amocrm_disabled"), "not yet"

    long_ago = (datetime.now(UTC) - timedelta(days=31)).isoformat()
    life.change(office.account_id, office.connection_id, settings={arrivals.DEPARTED_AT: long_ago})
    arrivals.forget_departed()

    assert not connections(office.account_id)


def test_farewell_that_amocrm_did_not_sign_is_refused(office: Office) -> None:
    app = app_of(office)
    query = {"client_uuid": app.client_id, "account_id": str(office.made["account"]["id"]), "signature": "0" * 64}

    said = requests.get(f"{office.stack.url}/oauth/farewell/{app.key}", params=query, timeout=30)

    assert said.status_code == 403
    assert office.state()[0] == "active"


@pytest.mark.parametrize("moved_status", [401, 404])
def test_renamed_account_is_followed(office: Office, moved_status: int) -> None:
    office.act("options", moved_status=moved_status)
    user = new_user()
    office.customer(user, text="до")
    office.wait_seen(user, "до")
    new = office.act("rename", subdomain=f"new{user}")
    office.made["account"]["host"] = new["host"]
    office.stack.control("amocrm", "faults", expire_tokens=True)

    life.snapshot(office.account_id, office.connection_id).tokens.renew(  # type: ignore[union-attr]
        life.snapshot(office.account_id, office.connection_id).tokens.current()  # type: ignore[union-attr]
    )

    assert life.snapshot(office.account_id, office.connection_id).settings["domain"] == new["host"]
    office.customer(user, text="после")
    wait_for(lambda: [one for one in office.desk("message") if one["text"] == "после"], what="the message after")


def test_expired_token_is_renewed_on_the_way(office: Office) -> None:
    office.stack.control("amocrm", "faults", expire_tokens=True)
    user = new_user()

    office.customer(user, text="вопрос")

    office.wait_seen(user, "вопрос")


# ------------------------------------------------------------------------------------------------------- causes


@pytest.mark.parametrize(
    ("trouble", "reason"), [("unpaid", "amocrm_unpaid"), ("refuse_address", "amocrm_refused_address")]
)
def test_access_that_is_lost_says_why_and_what_comes_waits(office: Office, trouble: str, reason: str) -> None:
    user = new_user()
    office.act("options", **{trouble: True})
    with pytest.raises(setup.Trouble):
        setup.check(office.account_id, office.connection_id)
    assert office.state() == ("error", reason)
    office.customer(user, text="во время")
    office.wait_status("во время", office.connection_id, "queued")

    office.act("options", **{trouble: False})
    setup.connect(office.account_id, office.connection_id, actor="test")

    office.wait_seen(user, "во время")


def test_pair_that_was_idle_for_a_week_is_refreshed(office: Office) -> None:
    before = office.rows("select generation from oauth_tokens")[0].generation

    refresh.keep_alive(office.account_id, office.connection_id)
    assert office.rows("select generation from oauth_tokens")[0].generation == before, "it is fresh"
    office.change("update oauth_tokens set saved_at = now() - interval '8 days'")
    refresh.keep_alive(office.account_id, office.connection_id)

    assert office.rows("select generation from oauth_tokens")[0].generation == before + 1


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"only_accounts": ["another"]}, "amocrm_chat_account"),
        ({"secret": "f" * 40}, "amocrm_chat_secret"),
    ],
)
def test_chat_channel_that_is_refused_leaves_notes_and_says_why(office: Office, change: Json, warning: str) -> None:
    office.stack.control("amocrm", "channel", id=office.made["channels"][0]["id"], **change)

    assert setup.connect(office.account_id, office.connection_id, actor="test") == (warning,)

    office.customer(new_user(), text="вопрос")
    wait_for(lambda: office.entities("leads"))
    office.wait_status("вопрос", office.connection_id, "delivered")
    assert not office.desk("message")
