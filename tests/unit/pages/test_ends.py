"""Setting up ends: forms from schemas, secrets that never come back, what feeds what, apps of a CRM, codes of installs."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from oauth import store
from oauth.store import Unclaimed
from tests.unit.pages.house import Browser, House
from widget_backend import clock, crypto, ids
from widget_backend.accounts.models import App
from widget_backend.bridge import life, setup
from widget_backend.bridge.setup import MASK
from widget_backend.bridge.tenancy import transaction

SECRET = "vk1.a." + "s3cret" * 8


def test_a_channel_is_made_from_its_form_and_goes_on_to_connecting(browser: Browser, house: House) -> None:
    answer = browser.post("/channels/new/vk", token=SECRET, title="Наш", mark_read="on")
    assert answer.status_code == 303
    assert answer.location.endswith("/connect")
    end_id = UUID(answer.location.split("/")[2])
    end = life.snapshot(house.account_id, end_id)
    assert (end.title, end.secrets["token"]) == ("Наш", SECRET)
    assert (end.settings["mark_read"], end.settings["show_typing"]) == (True, False)
    assert "token" not in end.settings
    page = browser.get(answer.location).text
    assert "data-send-now" in page
    assert SECRET not in page + browser.get(f"/ends/{end_id}").text


@pytest.mark.parametrize(("token", "why"), [("", "Заполните это поле"), ("short", "Это значение не подходит")])
def test_a_wrong_form_says_so_beside_the_field_and_echoes_no_secret(browser: Browser, token: str, why: str) -> None:
    answer = browser.post("/channels/new/vk", token=token, title="Наш")
    assert answer.status_code == 422
    assert why in answer.text
    assert 'value="Наш"' in answer.text
    assert "short" not in answer.text


def test_the_mask_leaves_the_secret_and_something_else_replaces_it(browser: Browser, house: House) -> None:
    path = f"/ends/{house.channel_id}/settings"
    before = life.snapshot(house.account_id, house.channel_id).secrets
    assert browser.post(path, token=MASK, title="VK", group_chats="on").location.endswith(str(house.channel_id))
    after = life.snapshot(house.account_id, house.channel_id)
    assert after.secrets == before
    assert (after.settings["group_chats"], after.settings["mark_read"]) == (True, False)
    assert browser.post(path, token=SECRET, title="VK").location.endswith("/connect")
    assert life.snapshot(house.account_id, house.channel_id).secrets["token"] == SECRET
    assert browser.post(path, token="no", title="VK").status_code == 422


def test_every_setting_of_a_channel_stands_in_its_form_and_is_kept(browser: Browser, house: House) -> None:
    path = f"/ends/{house.channel_id}/settings"
    shown = browser.get(f"/ends/{house.channel_id}").text
    for field in setup.fields_of("vk"):
        assert f'name="{field.name}"' in shown
    assert 'name="expiry_hours" id="f-expiry_hours" value=""' in shown, "nobody has said how long"
    browser.post(path, token=MASK, title="VK", automatic_texts="on", auto_read="on", expiry_hours="6")
    settings = life.snapshot(house.account_id, house.channel_id).settings
    assert (settings["automatic_texts"], settings["auto_read"], settings["expiry_hours"]) == (True, True, 6)
    assert 'value="6"' in browser.get(f"/ends/{house.channel_id}").text
    for wrong in ("0", "169", "день"):
        assert browser.post(path, token=MASK, title="VK", expiry_hours=wrong).status_code == 422
    browser.post(path, token=MASK, title="VK", expiry_hours="")
    assert life.snapshot(house.account_id, house.channel_id).settings["expiry_hours"] is None


def test_a_connection_that_fails_shows_its_reason(browser: Browser, house: House) -> None:
    """The tests' own settings name the real network, which nobody reaches from here."""
    location = browser.post(f"/ends/{house.channel_id}/connect").location
    page = browser.get(location).text
    assert 'class="notice error"' in page


def test_what_feeds_what_follows_the_boxes(browser: Browser, house: House) -> None:
    path = f"/ends/{house.connection_id}/routes"
    browser.post(path)
    assert setup.pairs(house.account_id) == set()
    browser.post(path, other=str(house.channel_id))
    assert setup.pairs(house.account_id) == {(house.channel_id, house.connection_id)}


def test_the_trail_says_who_changed_what(browser: Browser, house: House) -> None:
    browser.post(f"/ends/{house.connection_id}/routes")
    browser.post(f"/ends/{house.channel_id}/settings", token=MASK, title="VK")
    page = browser.get("/audit").text
    for words in (house.email, "вход", "канал отвязан от CRM", "изменены настройки", "добавлен канал", "сервер"):
        assert words in page, words


@pytest.mark.parametrize(
    ("actor", "words"),
    [
        ("bitrix24:1", "Битрикс24, сотрудник 1"),
        ("amocrm", "amoCRM"),
        ("demo", "демонстрация"),
        ("user:x", "бывший пользователь"),
    ],
)
def test_the_trail_names_whoever_is_no_person_of_ours(browser: Browser, house: House, actor: str, words: str) -> None:
    life.erase(house.account_id, house.channel_id, actor=actor)
    page = browser.get("/audit").text
    assert f"<td>{words}</td>" in page and actor not in re.findall("<td>(.*?)</td>", page)


def test_an_end_that_never_worked_is_removed_and_another_is_not(browser: Browser, house: House) -> None:
    new = life.create(house.account_id, "vk", secrets={"token": SECRET})
    assert "Удалить" in browser.get(f"/ends/{new}/disconnect").text
    assert browser.post(f"/ends/{new}/disconnect").status_code == 303
    assert browser.get(f"/ends/{new}").status_code == 404
    assert "останется в журнале" in browser.get(f"/ends/{house.channel_id}/disconnect").text


@pytest.mark.parametrize("path", ["/channels/new/nothing", "/connections/new/nothing", "/ends/nothing"])
def test_what_is_not_there_is_404(browser: Browser, path: str) -> None:
    answer = browser.client.get(path, follow_redirects=True)
    assert answer.status_code == 404


def app_form(page: str) -> dict[str, str]:
    return {"app": page.split('name="app" value="', 1)[1].split('"', 1)[0], "client_id": "local.1"}


def test_an_app_is_kept_under_the_addresses_that_were_shown(browser: Browser, house: House) -> None:
    page = browser.get("/connections/new/bitrix24").text
    address = page.split('id="handler" class="code" value="', 1)[1].split('"', 1)[0]
    saved = browser.post("/connections/new/bitrix24", **app_form(page), client_secret="the secret")
    assert saved.status_code == 303
    with transaction(house.account_id) as session:
        app = session.query(App).filter_by(account_id=house.account_id).one()
    assert address == f"https://mostik.test/embedded/{app.key}"
    assert crypto.open_text(app.secret, f"app:{app.id}") == "the secret"
    again = browser.get("/connections/new/bitrix24").text
    assert address in again
    assert "the secret" not in again
    taken = browser.post("/connections/new/bitrix24", **app_form(again), client_secret="x")
    assert taken.status_code == 422
    assert "уже добавлено" in taken.text


def test_a_form_of_another_account_makes_no_app(browser: Browser, houses: tuple[House, House]) -> None:
    foreign = crypto.sign({"key": "k", "account": str(houses[1].account_id)}, "new_app", timedelta(hours=1))
    for token in (foreign, "", "nonsense"):
        answer = browser.post("/connections/new/bitrix24", app=token, client_id="c", client_secret="s")
        assert answer.status_code == 422
        assert "Страница устарела" in answer.text


def waiting_install(account_id: UUID | None) -> str:
    app_id = ids.new_id()
    with transaction(None) as session:
        session.add(
            App(
                id=app_id,
                account_id=account_id,
                adapter="bitrix24",
                key=ids.new_key(),
                client_id=f"app.{app_id}",
                secret=crypto.seal_text("s", f"app:{app_id}"),
                settings={},
            )
        )
    facts = {
        "access": "a",
        "refresh": "r",
        "server_endpoint": "https://oauth.bitrix.info/rest/",
        "client_endpoint": "https://127.0.0.1:1/rest/",
        "domain": "acme.bitrix24.ru",
    }
    return store.remember(Unclaimed(adapter="bitrix24", app_id=app_id, remote_id="m9", facts=facts))


def test_a_code_brings_an_install_into_the_account(browser: Browser, house: House) -> None:
    code = waiting_install(None)
    answer = browser.post("/connections/claim", code=f" {code[:4].lower()}-{code[4:]} ")
    assert answer.status_code == 303
    row = setup.find(house.account_id, UUID(answer.location.rpartition("/")[2]))
    assert (row.adapter, row.remote_id) == ("bitrix24", "m9")
    assert store.by_code(code) is None


def test_a_wrong_code_and_one_of_anothers_app_say_the_same(browser: Browser, houses: tuple[House, House]) -> None:
    for code in ("ABCD-EFGH-JKLM", waiting_install(houses[1].account_id)):
        location = browser.post("/connections/claim", code=code).location
        assert location == "/connections/new"
        assert "Такого кода нет" in browser.get(location).text


def test_codes_cannot_be_guessed_quickly(browser: Browser) -> None:
    statuses = [browser.post("/connections/claim", code="WRONG").status_code for _ in range(21)]
    assert statuses[:20] == [303] * 20
    assert statuses[20] == 429


def test_a_lost_end_says_why_and_what_to_do(browser: Browser, house: House) -> None:
    life.set_state(house.account_id, house.channel_id, "error", "token_revoked", "code 5")
    page = browser.get(f"/ends/{house.channel_id}").text
    assert "Ключ доступа ВКонтакте больше не действует" in page
    assert "Переподключить" in page
    assert "ошибка" in browser.get("/").text


def test_numbers_of_the_last_day_lead_to_their_messages(browser: Browser, house: House) -> None:
    page = browser.get("/").text
    assert "не удалось отправить: 1" in page
    assert "/messages?status=failed" in page
    assert f"/messages/{house.answer_id}" in browser.get("/messages?status=failed").text


def test_moments_are_told_in_the_accounts_time(browser: Browser, house: House, db: Any) -> None:
    now = clock.now() + timedelta(hours=3)  # Moscow
    assert (
        f"{now:%H:%M}" in browser.get("/messages").text
        or f"{now - timedelta(minutes=1):%H:%M}" in browser.get("/messages").text
    )
