"""The panel of a card, without a browser: who may open it, what it tells, and that every press of it makes one message."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.bridge.amocrm import Office, make_office
from tests.bridge.pair import new_user
from tests.stack import Json, Stack, wait_for
from widget_backend import ids
from widget_backend.bridge import quick_replies
from widget_backend.bridge.quick_replies import Template


class Manager:
    """Somebody at a card of amoCRM: his widget, and the panel it opened."""

    def __init__(self, office: Office, card: Json, user: int = 0) -> None:
        self.office = office
        self.card = card
        self.user = {"user": user} if user else {}
        self.facts: Json = {}

    @property
    def origin(self) -> str:
        parts = urlsplit(self.office.stack.peers["amocrm"]["base_url"])
        return f"{parts.scheme}://{parts.netloc}"

    def token(self, **claims: Any) -> str:
        said = self.office.act("token", client_id=self.office.client_id, claims=claims, **self.user)
        return str(said["token"])

    def click(self, *, token: str = "", origin: str = "", **body: Any) -> requests.Response:
        """Press the widget's button, as its script does."""
        asked = {"place": "card", "view": "start", "card": self.card, "lang": "ru", **body}
        headers = {"X-Auth-Token": token or self.token(), "Origin": origin or self.origin}
        return requests.post(f"{self.office.stack.url}/embedded/amocrm/open", json=asked, headers=headers, timeout=20)

    def opened(self) -> Manager:
        """Open the panel."""
        answer = self.click()
        assert answer.status_code == 200, answer.text
        page = requests.get(answer.json()["url"], timeout=20)
        assert page.status_code == 200 and "Set-Cookie" not in page.headers
        found = re.search(r'data-start="([^"]+)"', page.text)
        assert found
        self.facts = json.loads(unescape(found[1]))["facts"]
        self.policy = page.headers["Content-Security-Policy"]
        assert "X-Frame-Options" not in page.headers
        return self

    def call(self, method: str, path: str, **named: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.facts['token']}"}
        url = f"{self.office.stack.url}{self.facts['api']}/{path}"
        return requests.request(method, url, headers=headers, timeout=30, **named)

    def get(self, path: str) -> Json:
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def post(self, path: str, **body: Any) -> Json:
        answer = self.call("POST", path, json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture
def office(stack: Stack) -> Office:
    """Give a company that works in amoCRM, its new deals in the first stage."""
    made = make_office(stack)
    pipeline = made.made["account"]["pipelines"][0]
    made.settings(stage=f"{pipeline['id']}:{pipeline['statuses'][1]['id']}")
    return made


def contacts(office: Office) -> list[Json]:
    """Return the contacts that were made in the account, without asking its API, whose limit is ours as well."""
    return [one for one in office.desk("entity") if one["entity"] == "contacts"]


@pytest.fixture
def talked(office: Office) -> tuple[Office, int, Json]:
    """Give a company with one customer who has written, and the card of his contact."""
    user = new_user()
    office.customer(user, text="Здравствуйте!")
    office.wait_seen(user, "Здравствуйте!")
    contact = wait_for(lambda: contacts(office), what="a contact")[0]
    return office, user, {"kind": "contact", "id": str(contact["id"])}


# -- the door ----------------------------------------------------------------------------------------------------------


def test_preflight_allows_pages_of_accounts_and_nobody_else(office: Office) -> None:
    url, origin = f"{office.stack.url}/embedded/amocrm/open", Manager(office, {}).origin
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-auth-token,content-type"}

    allowed = requests.options(url, headers={"Origin": origin, **asking}, timeout=10).headers
    assert (
        allowed["Access-Control-Allow-Origin"] == origin and "X-Auth-Token" in allowed["Access-Control-Allow-Headers"]
    )
    assert allowed["Vary"] == "Origin" and "Access-Control-Allow-Credentials" not in allowed
    stranger = requests.options(url, headers={"Origin": "https://evil.example", **asking}, timeout=10).headers
    assert not [name for name in stranger if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://evil.example"},
        {"exp": 1},
        {"key": "another secret"},
        {"alg": "none"},
        {"alg": "HS512"},
        {"client_uuid": "00000000-0000-4000-8000-000000000000"},
        {"iss": "https://acme.evil.example"},
    ],
)
def test_token_that_proves_nothing_is_refused_and_noted(office: Office, claims: Json) -> None:
    manager = Manager(office, {"kind": "lead", "id": "1"})
    count = "select count(*) from security_events"
    before = office.rows(count)[0][0]
    answer = manager.click(token=manager.token(**claims))

    assert answer.status_code == 403 and "url" not in answer.text
    assert office.rows(count)[0][0] == before + 1


def test_repeated_token_is_noted(office: Office) -> None:
    manager = Manager(office, {"kind": "lead", "id": "1"})
    token = manager.token()
    assert {manager.click(token=token).status_code for _ in range(2)} == {200}
    assert office.rows("select count(*) from security_events where why = 'token_repeated'")[0][0] >= 1


def test_unsaved_card_and_nonsense_are_told(office: Office) -> None:
    manager = Manager(office, {"kind": "lead", "id": "0"})
    for unsaved in ("", "0"):
        assert manager.click(card={"kind": "lead", "id": unsaved}).json()["reason"] == "save_first"
    assert manager.click(card={"kind": "invoice", "id": "1"}).status_code == 422
    assert manager.click(origin="https://evil.example").status_code == 403


def test_page_is_framed_by_the_crm_only_and_its_ticket_is_no_token(talked: tuple[Office, int, Json]) -> None:
    office, _user, card = talked
    manager = Manager(office, card).opened()
    assert f"frame-ancestors {manager.origin}" in manager.policy
    ticket = manager.click().json()["url"].partition("ticket=")[2]
    manager.facts["token"] = ticket
    assert manager.call("GET", "card").status_code == 401
    assert requests.get(f"{office.stack.url}/embedded/panel?ticket=x", timeout=10).status_code == 403


# -- what it tells -----------------------------------------------------------------------------------------------------


def test_panel_shows_the_conversation_and_answers_in_it(talked: tuple[Office, int, Json]) -> None:
    office, user, card = talked
    manager = Manager(office, card).opened()
    listed = manager.get("conversations")["items"]
    assert [(one["unanswered"], one["last"]["text"]) for one in listed] == [(True, "Здравствуйте!")]

    path = f"conversations/{listed[0]['id']}/messages"
    key = ids.new_key()[:32]
    first = manager.post(path, key=key, text="Добрый день", files=[])
    again = manager.post(path, key=key, text="Добрый день", files=[])
    office.wait_got(user, "Добрый день")

    assert (first["is_new"], again["is_new"]) == (True, False)
    assert manager.call("POST", path, json={"key": key, "text": "Другое", "files": []}).status_code == 409
    told = wait_for(lambda: [one for one in manager.get(path)["items"] if one["status"] == "отправлено"], what="sent")
    assert told[0]["is_ours"] and not manager.get("conversations")["items"][0]["unanswered"]


def test_fifty_presses_at_once_make_one_message(talked: tuple[Office, int, Json]) -> None:
    office, user, card = talked
    manager = Manager(office, card).opened()
    path = f"conversations/{manager.get('conversations')['items'][0]['id']}/messages"
    body = {"key": "0123456789abcdef" * 2, "text": "Один раз", "files": []}
    with ThreadPoolExecutor(50) as crowd:
        answers = list(crowd.map(lambda _: manager.call("POST", path, json=body), range(50)))
    office.wait_got(user, "Один раз")
    office.wait_quiet()

    assert {one.status_code for one in answers} == {200}
    assert len({one.json()["message"] for one in answers}) == 1
    assert office.seen(user).count("Один раз") == 1


def test_whoever_may_not_see_the_card_gets_the_reason_and_nothing_else(talked: tuple[Office, int, Json]) -> None:
    office, _user, card = talked
    stranger = office.act("user", name="Пётр", rights="D")["id"]
    manager = Manager(office, card, stranger).opened()
    conversation = Manager(office, card).opened().get("conversations")["items"][0]["id"]

    for path in ("card", "conversations", "quick-replies", f"conversations/{conversation}/messages"):
        answer = manager.call("GET", path)
        assert (answer.status_code, answer.json()["reason"]) == (403, "card_forbidden"), path
    body = {"key": "k" * 32, "text": "x", "files": []}
    assert manager.call("POST", f"conversations/{conversation}/messages", json=body).status_code == 403


def test_conversation_of_another_card_is_not_there(talked: tuple[Office, int, Json]) -> None:
    office, _user, card = talked
    conversation = Manager(office, card).opened().get("conversations")["items"][0]["id"]
    other = office.act("contact", name="Иван", phone="+79001112233", lead="Заказ")
    manager = Manager(office, {"kind": "lead", "id": str(other["lead"])}).opened()

    assert manager.get("conversations")["items"] == []
    assert manager.call("GET", f"conversations/{conversation}/messages").status_code == 404


def test_addresses_that_nothing_reaches_are_greyed_with_the_reason(office: Office) -> None:
    made = office.act("contact", name="Иван", phone="+79001112233", lead="Заказ")
    manager = Manager(office, {"kind": "lead", "id": str(made["lead"])}).opened()
    found = manager.get("card")["recipients"]

    assert [(one["person"], one["can"]) for one in found] == [("Иван", False)] and found[0]["why"]


def test_panel_reads_its_card_once_however_many_calls_come_at_once(talked: tuple[Office, int, Json]) -> None:
    office, _user, card = talked
    manager = Manager(office, card).opened()
    with ThreadPoolExecutor(6) as calls:
        list(calls.map(manager.get, ["card", "conversations", "quick-replies"] * 2))

    read = [one for one in office.desk("call") if one["method"] == f"GET contacts/{card['id']}"]
    assert len(read) == 1


def test_quick_replies_are_found_and_filled_from_the_card(talked: tuple[Office, int, Json]) -> None:
    office, _user, card = talked
    quick_replies.create(office.account_id, Template(title="привет", text="Здравствуйте, %CONTACT_NAME%!"))
    manager = Manager(office, card).opened()
    found = manager.get("quick-replies?q=прив")["items"]
    assert [(one["title"], one["text"]) for one in found] == [
        ("привет", f"Здравствуйте, {contacts(office)[0]['text']}!")
    ]
    assert manager.get("quick-replies?q=нет такого")["items"] == []


def test_file_goes_with_the_message(talked: tuple[Office, int, Json]) -> None:
    office, user, card = talked
    manager = Manager(office, card).opened()
    stored = manager.call("POST", "files?name=price.txt", data="цены".encode()).json()
    path = f"conversations/{manager.get('conversations')['items'][0]['id']}/messages"
    manager.post(path, key="f" * 32, text="Прайс", files=[stored["id"]])
    office.wait_got(user, "Прайс")

    shown = manager.get(path)["items"][-1]["files"]
    assert [one["name"] for one in shown] == ["price.txt"] and requests.get(shown[0]["url"], timeout=10).ok


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["administrator", "employee"])
def test_role_that_the_token_does_not_say_is_asked_of_the_account(office: Office, who: str) -> None:
    employee = 0 if who == "administrator" else office.act("user", rights="A")["id"]
    manager = Manager(office, {}, employee)
    answer = manager.click(place="settings", token=manager.token(is_admin=None))
    page = requests.get(answer.json()["url"], timeout=20).text

    assert ('name="do" value="settings"' in page) is (who == "administrator")
    assert manager.origin in page


def test_form_of_an_employee_changes_nothing(office: Office) -> None:
    employee = office.act("user", rights="A")["id"]
    page = requests.get(Manager(office, {}, employee).click(place="advanced").json()["url"], timeout=20).text
    token = re.search(r'name="token" value="([^"]+)"', page)
    assert token
    url = f"{office.stack.url}/embedded/panel/settings"
    for do in ("routes", "settings", "reconnect"):
        assert "<button" not in requests.post(url, data={"token": token[1], "do": do}, timeout=20).text
    assert office.rows("select count(*) from routes")[0][0] == 1
    ticket = Manager(office, {"kind": "lead", "id": "5"}).click().json()["url"].partition("ticket=")[2]
    assert requests.post(url, data={"token": ticket, "do": "settings"}, timeout=10).status_code == 403


def test_fifty_beginnings_at_once_make_one_conversation_and_one_message(office: Office) -> None:
    user = new_user()
    office.customer(user, allow=True)
    made = office.act("contact", name="Анна", lead="Заказ")
    page = {"field_code": "POSITION", "values": [{"value": f"https://vk.com/id{user}"}]}
    url = f"{office.stack.peers['amocrm']['account_url'].replace('{host}', office.host)}/api/v4/contacts/{made['contact']}"
    token = office.act("pair", client_id=office.client_id)["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert requests.patch(url, json={"custom_fields_values": [page]}, headers=headers, timeout=10).ok
    manager = Manager(office, {"kind": "lead", "id": str(made["lead"])}).opened()
    whom = next(one for one in manager.get("card")["recipients"] if one["can"])
    body = {
        "recipient": whom["key"],
        "channel": whom["channels"][0]["id"],
        "text": "Первое слово",
        "files": [],
        "key": "b" * 32,
    }

    with ThreadPoolExecutor(50) as crowd:
        answers = list(crowd.map(lambda _: manager.call("POST", "dialogs", json=body), range(50)))
    office.wait_got(user, "Первое слово")
    office.wait_quiet()

    done = [one.json() for one in answers if one.status_code == 200]
    assert done and len({(one["id"], one["message"]) for one in done}) == 1
    assert len(manager.get("conversations")["items"]) == 1
    assert office.got(user).count("Первое слово") == 1
