"""Setting up an integration: whose it is, what it shows, what it takes, its widget, its channels, its end."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from tests.unit.pages.house import Browser, House
from widget_backend import clock, crypto, widget_check
from widget_backend.accounts import apps, integrations, server_owner
from widget_backend.accounts.models import App
from widget_backend.bridge import life
from widget_backend.bridge.models import EndKey, EndRecord
from widget_backend.bridge.tenancy import transaction
from widget_backend.crms.amocrm import hooks

SECRET = "S3cretS3cretS3cret"
CHANNEL = {"remote_id": "ch-1", "secret": "channel-secret", "code": "amo.ext.acme", "bot_id": "bot-1"}
BRAND = {"brand": "Acme Chat", "support_email": "help@acme.example"}


def begin(browser: Browser, **form: str) -> str:
    """Begin an integration; return the address of its page."""
    answer = browser.post("/apps/new/amocrm", platform="amocrm", **form)
    assert answer.status_code == 303, answer.text
    return str(answer.location)


def complete(browser: Browser, client_id: str = "11111111-2222-4333-8444-555555555555") -> str:
    """Make an integration with its keys."""
    page = begin(browser)
    assert browser.post(f"{page}/keys", title="Acme", client_id=client_id, client_secret=SECRET).status_code == 303
    return page


def stored(page: str) -> App:
    app = integrations.find(UUID(page.rpartition("/")[2]))
    assert app is not None
    return app


def value(text: str, id: str) -> str:
    """Read what a field of a page holds."""
    found = re.search(rf'<input id="{id}"[^>]*? value="([^"]*)"', text)
    assert found, id
    return found[1]


def connected(house: House, app: App, remote_id: str = "30000001", **settings: object) -> UUID:
    """Make a connection through an integration."""
    facts = {"domain": "acme.amocrm.ru", "amojo_id": "amojo-1", **settings}
    end_id = life.create(house.account_id, "amocrm", title="Acme", settings=facts, remote_id=remote_id, app_id=app.id)
    with transaction(house.account_id) as session:
        row = session.get_one(EndRecord, end_id)
        row.state, row.connected_at = "active", clock.now()
    return end_id


def test_page_leads_from_addresses_to_keys(browser: Browser, house: House) -> None:
    offered = browser.get("/connections/new/amocrm").text
    assert "отказ от технической поддержки" in offered and "техническом аккаунте" in offered
    page = begin(browser)
    app = stored(page)
    text = browser.get(page).text
    assert value(text, "v-redirect") == f"https://mostik.test/oauth/install/{app.key}"
    assert value(text, "v-disable-hook") == f"https://mostik.test/oauth/farewell/{app.key}"
    for said in ("Множественные источники", "Контроль дублей", "Доступ к данным аккаунта"):
        assert said in text
    assert begin(browser) == page, "an unfinished one is gone on with"
    assert browser.client.get(f"/oauth/install/{app.key}").status_code == 200, "amoCRM asks whether it answers"

    assert browser.post(f"{page}/keys", client_id="x").status_code == 422
    assert browser.post(f"{page}/keys", client_id="два слова", client_secret="s").status_code == 422
    assert browser.post(f"{page}/keys", title="Acme", client_id="c-1", client_secret=SECRET).status_code == 303
    app = stored(page)
    assert (app.account_id, app.client_id, app.title) == (house.account_id, "c-1", "Acme")
    assert crypto.open_text(app.secret, f"app:{app.id}") == SECRET
    text = browser.get(page).text
    assert SECRET not in text and "••••" in value(text, "client_secret")
    assert "Acme" in browser.get("/apps").text and "Acme" in browser.get("/connections/new/amocrm").text


def test_several_stand_side_by_side_and_no_id_twice(browser: Browser) -> None:
    first, second = complete(browser), begin(browser)
    assert first != second
    taken = browser.post(f"{second}/keys", client_id=stored(first).client_id, client_secret="s")
    assert taken.status_code == 422 and "уже есть" in taken.text
    assert browser.post(f"{second}/keys", client_id="other", client_secret="s").status_code == 303
    assert {stored(first).client_id, stored(second).client_id} == {"11111111-2222-4333-8444-555555555555", "other"}


def test_secret_is_replaced_but_not_by_its_mask(browser: Browser, house: House) -> None:
    page = complete(browser)
    connected(house, stored(page))
    browser.post(f"{page}/keys", title="Acme 2", client_secret="••••••••")
    assert crypto.open_text(stored(page).secret, f"app:{stored(page).id}") == SECRET
    assert browser.post(f"{page}/keys", title="Acme 2", client_secret="next").status_code == 303
    assert crypto.open_text(stored(page).secret, f"app:{stored(page).id}") == "next"
    moved = browser.post(f"{page}/keys", client_id="another", client_secret="••••••••")
    assert moved.status_code == 422 and stored(page).client_id != "another"


def test_archive_is_built_for_this_server_and_brand_and_rises(browser: Browser) -> None:
    page = complete(browser)
    versions = []
    for _ in range(2):
        answer = browser.post(f"{page}/widget", **BRAND)
        assert answer.status_code == 200 and answer.mimetype == "application/zip"
        assert "widget.zip" in answer.headers["Content-Disposition"]
        assert widget_check.check(answer.data) == []
        with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
            assert b"https://mostik.test" in archive.read("script.js")
            assert "Acme Chat" in json.loads(archive.read("i18n/ru.json"))["widget"]["name"]
            versions.append(json.loads(archive.read("manifest.json"))["widget"]["version"].split("."))
    assert [int(one) for one in versions[0]] < [int(one) for one in versions[1]]
    assert value(browser.get(page).text, "brand") == "Acme Chat"
    for wrong in ({"support_email": "nobody"}, {"brand": 'Acme "Chat"'}, {"brand": "amoCRM chat"}):
        assert browser.post(f"{page}/widget", **(BRAND | wrong)).status_code == 422


def test_letter_to_the_support_holds_all_it_must(browser: Browser, house: House) -> None:
    page = complete(browser)
    app = stored(page)
    text = browser.get(page).text
    assert "Добавлять" in text and "(впишите)" in text and "e-mail для ошибок (шаг 3)" in text
    browser.post(f"{page}/widget", **BRAND)
    browser.post(f"{page}/code", widget_code="acme_widget")
    connected(house, app)
    text = browser.get(page).text
    assert "В письме ещё не хватает" not in text
    letters = re.findall(r"<textarea[^>]*>(.*?)</textarea>", text, re.S)
    assert len(letters) >= 2, "one for each network"
    for letter in letters:
        assert "(впишите)" not in letter
        for said in (app.client_id, "acme_widget", "amojo-1", "help@acme.example", "реакций", "14×14"):
            assert said in letter.lower() or said in letter
        assert f"https://mostik.test/hooks/{app.key}/{hooks.PLACE}/:scope_id" in letter
        assert re.search(r"^Название сервиса: Acme Chat [A-Za-z]", letter, re.M)
    # Kommo's support reads English
    integrations.change(house.account_id, app.id, actor="test", settings={"platform": "kommo"})
    assert "Please register a chat channel" in browser.get(page).text


def test_answer_of_the_support_is_kept_and_masked(browser: Browser) -> None:
    page = complete(browser)
    assert browser.post(f"{page}/channels/vk", remote_id="ch-1").status_code == 422
    form = CHANNEL | {"accounts": "amojo-1, amojo-2", "feature": ["quotes", "nonsense"]}
    assert browser.post(f"{page}/channels/vk", **form).status_code == 303
    channel = stored(page).channels[0]
    assert (channel.messenger, channel.remote_id) == ("vk", "ch-1")
    assert channel.settings == {
        "code": "amo.ext.acme",
        "bot_id": "bot-1",
        "allowed_accounts": ["amojo-1", "amojo-2"],
        "features": ["quotes"],
    }
    text = browser.get(f"{page}?open=vk").text
    assert "channel-secret" not in text and "проверить канал можно, когда подключён аккаунт" in text
    browser.post(f"{page}/channels/vk", **(CHANNEL | {"secret": "••••••••", "code": "amo.ext.two"}))
    channel = stored(page).channels[0]
    assert channel.settings["code"] == "amo.ext.two"
    assert crypto.open_text(channel.secret, f"app_channel:{channel.id}") == "channel-secret"
    taken = browser.post(f"{page}/channels/telegram_bot", **CHANNEL)
    assert taken.status_code == 422 and "у другого мессенджера" in taken.text
    assert browser.post(f"{page}/channels/nothing", **CHANNEL).status_code == 404
    assert browser.post(f"{page}/channels/vk/drop").status_code == 303
    assert stored(page).channels == []
    assert browser.post(f"{page}/channels/vk/check").status_code == 404


def test_page_says_how_each_messenger_works(browser: Browser, house: House) -> None:
    page = complete(browser)
    app = stored(page)
    with transaction(None) as session:
        for messenger in ("vk", "telegram"):
            facts: dict[str, object] = {}
            row = session.get_one(App, app.id)
            apps.set_channel(session, row, messenger, remote_id=f"id-{messenger}", secret="s", settings=facts)
    assert "канал есть, ещё не подключён" in browser.get(page).text
    connected(house, app, connected_channels=["id-vk"], refused_channels=["id-telegram"])
    text = browser.get(page).text
    assert "VK работает в чатах CRM" in text and "CRM отказала в этом канале" in text
    assert "Работает через общий канал: Telegram" in text


def test_only_one_that_nothing_uses_is_deleted(browser: Browser, house: House) -> None:
    page = complete(browser)
    app = stored(page)
    end_id = connected(house, app)
    assert "Сначала отключите" in browser.get(f"{page}/delete").text
    browser.post(f"{page}/delete")
    assert integrations.find(app.id) is not None
    life.set_state(house.account_id, end_id, "off", "disconnected")
    asked = browser.get(f"{page}/delete").text
    assert "Вернуть удалённое нельзя" in asked and "Отключённых подключений: 1" in asked
    assert browser.post(f"{page}/delete").location.endswith("/apps")
    assert browser.get(page).status_code == 404
    with transaction(None) as session:
        assert session.query(EndKey).filter_by(app_id=app.id).count() == 0


def test_server_integrations_open_to_whoever_comes_from_the_console(browser: Browser, house: House) -> None:
    assert browser.post("/apps/new/amocrm", scope="server").status_code == 404
    browser.get("/apps/server?ticket=nonsense")
    assert browser.post("/apps/new/amocrm", scope="server").status_code == 404
    browser.get(f"/apps/server?ticket={server_owner.ticket()}")
    page = begin(browser, scope="server")
    assert stored(page).account_id is None
    browser.post(f"{page}/keys", title="For all", client_id="c-all", client_secret=SECRET)
    assert "весь сервер" in browser.get(page).text
    browser.post("/sign-out")
    browser.sign_in(house.email)
    assert browser.get(page).status_code == 404
    offered = browser.get("/connections/new/amocrm").text
    assert "For all" in offered and f'href="{page}"' not in offered, "an admin may connect by it, and change nothing"


def test_another_accounts_integration_is_404(browser: Browser, houses: tuple[House, House]) -> None:
    with transaction(houses[1].account_id) as session:
        app = apps.add(session, "amocrm", client_id="theirs", secret="s", account_id=houses[1].account_id)
        apps.set_channel(session, app, "vk", remote_id="r", secret="s", settings={})
    page = f"/apps/{app.id}"
    browser.get(f"/apps/server?ticket={server_owner.ticket()}")  # not even the server's owner
    assert browser.get(page).status_code == browser.get(f"{page}/delete").status_code == 404
    for action in ("keys", "widget", "code", "delete", "start", "channels/vk", "channels/vk/check", "channels/vk/drop"):
        assert browser.post(f"{page}/{action}", **CHANNEL).status_code == 404, action
    assert "theirs" not in browser.get("/apps").text + browser.get("/connections/new/amocrm").text


@pytest.mark.parametrize("role", ["manager", "reader"])
def test_only_admins_set_up_integrations(person: Callable[[str], Browser], role: str) -> None:
    browser = person(role)
    assert browser.get("/apps").status_code == browser.get("/connections/new/amocrm").status_code == 403
    assert browser.get(f"/apps/server?ticket={server_owner.ticket()}").status_code == 403


def test_forms_of_strangers_change_nothing(browser: Browser) -> None:
    page = complete(browser)
    for action in ("keys", "widget", "code", "delete", "channels/vk"):
        assert browser.client.post(f"{page}/{action}", data=CHANNEL).status_code == 403
    assert stored(page).channels == []


@pytest.mark.parametrize("language", ["ru", "en", "es"])
def test_every_page_speaks_every_language(browser: Browser, language: str, house: House) -> None:
    page = complete(browser)
    connected(house, stored(page))
    browser.post(f"{page}/channels/vk", **CHANNEL)
    browser.post("/language", language=language)
    for path in ("/apps", "/connections/new/amocrm", page, f"{page}/delete"):
        answer: Any = browser.get(path)
        assert answer.status_code == 200 and f'lang="{language}"' in answer.text
