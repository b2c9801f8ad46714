"""What an admin sees who sets up an integration of amoCRM: values to paste, keys, the archive, consent, the support's answer, in a real browser."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from tests import stack as product
from tests.bridge.conftest import PATIENCE
from tests.browser.conftest import Window, need_browser
from tests.stack import Json, Stack
from widget_backend import configure_bridge, crypto, widget_check
from widget_backend.accounts import server_owner
from widget_backend.accounts.signup import create_account
from widget_backend.extensions import db

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
Open = Callable[[], Window]
EMAIL, PASSWORD = "admin@acme.test", "correct horse battery"
FETCH = """
const [form, done] = arguments;
fetch(form.action, {method: "POST", body: new FormData(form)}).then(async (answer) => {
  const bytes = new Uint8Array(await answer.arrayBuffer());
  done([answer.status, btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))]);
});
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Give a running product with an account of its own; skipped without a browser, which CI has."""
    need_browser()
    # nobody switches the limits of this amoCRM off, so the product keeps to them
    settings = {name: value for name, value in PATIENCE.items() if name != "MOSTIK_AMOCRM_RATE"}
    with product.running(None, **settings) as running:
        crypto.configure(crypto.KeyRing.of(running.config.keys))
        with running.app.app_context():
            configure_bridge(running.config, db.engine)
            create_account("acme", email=EMAIL, password=PASSWORD)
            yield running


class Admin:
    """An admin at his browser, who also has amoCRM's form open."""

    def __init__(self, stack: Stack, page: Window) -> None:
        self.stack, self.page = stack, page
        page.open(f"{stack.url}/sign-in")
        page.find("[name=email]").send_keys(EMAIL)
        page.find("[name=password]").send_keys(PASSWORD, Keys.ENTER)
        page.find(".who", says="acme")

    def value(self, id: str) -> str:
        """Read a value to paste."""
        return str(self.page.driver.find_element(By.ID, id).get_attribute("value"))

    def fill(self, form: str, **values: str) -> None:
        """Type into the fields of a form and send it."""
        for name, value in values.items():
            field = self.page.find(f"{form} [name={name}]")
            field.clear()
            field.send_keys(value)
        self.page.click(f"{form} button:not(.plain):not(.danger)")

    def answer(self, messenger: str, **values: str) -> str:
        """Fill in what support answered; return what the page says to it."""
        before = self.page.find("#chats")
        self.fill(f"#{messenger} form[action$='/channels/{messenger}']", **values)
        self.page.wait(lambda _: _is_gone(before), "the next page")
        return "\n".join(self.page.all(f"#{messenger} .notice"))


def _is_gone(element: WebElement) -> bool:
    try:
        element.is_enabled()
    except WebDriverException:  # "stale", or another name for the same
        return True
    return False


def test_admin_goes_from_nothing_to_a_chat_channel(stack: Stack, window: Open) -> None:
    made = stack.control("amocrm", "make", channels=[{"title": "VK"}])
    integration, channel = made["integration"], made["channels"][0]
    admin = Admin(stack, window())
    page = admin.page

    page.open(f"{stack.url}/connections/new")
    page.click("a.tile", says="amoCRM")
    page.find("h2", says="Чем платят")
    page.shoot("amocrm-setup-begin")
    page.click("button", says="Начать настройку")
    page.find("h1", says="Новая интеграция")
    page.click("[data-copy=v-redirect]")
    page.find("[data-copy=v-redirect]", says="Скопировано")
    form = {"redirect_uri": admin.value("v-redirect"), "disable_hook_url": admin.value("v-disable-hook")}
    stack.control("amocrm", "integration", client_id=integration["client_id"], **form)
    page.shoot("amocrm-setup-draft")

    admin.fill("#keys", title="Acme", client_id=integration["client_id"], client_secret=integration["client_secret"])
    page.find(".notice.done")
    upload(stack, admin, integration)
    page.find(".notice.done", says="Код виджета")
    consent(page, made["account"]["host"])

    page.open(f"{stack.url}/apps")
    page.find(".mark.good", says="1")
    page.click("td a", says="Acme")
    page.find("#connect .mark.good")
    assert admin.value(page.find("#connect input.code").get_attribute("id") or "") == made["account"]["amojo_id"]
    page.shoot("amocrm-setup-connected")
    page.click("#vk summary")
    page.find("#vk", says="Добавлять")
    letter = admin.value("r-vk")
    assert made["account"]["amojo_id"] in letter and "впишите" not in letter
    hook_url = next(line for line in letter.splitlines() if line.startswith("Адрес для хуков: ")).partition(": ")[2]
    stack.control("amocrm", "channel", id=channel["id"], hook_url=hook_url)
    page.click("[data-copy=r-vk]")
    page.find("[data-copy=r-vk]", says="Скопировано")
    shoot_messenger(page, "amocrm-setup-letter")
    answers(stack, admin, made, channel)
    # amoCRM's page of consent and the one that we answer it with have no icon
    assert [said for said in page.complaints() if "favicon" not in said] == []


def shoot_messenger(page: Window, name: str) -> None:
    """Keep what is seen of a messenger, on a phone too."""
    page.size(360, 740)
    page.driver.execute_script("document.getElementById('vk').scrollIntoView()")
    page.shoot(name)


def upload(stack: Stack, admin: Admin, integration: Json) -> None:
    """Download the archive, upload it at amoCRM, and bring back its code."""
    page = admin.page
    page.find("#widget [name=support_email]").send_keys("help@acme.example")
    built = page.find("#widget form[action$='/widget']")
    page.driver.set_script_timeout(20)
    status, archive = page.driver.execute_async_script(FETCH, built)
    assert status == 200 and widget_check.check(base64.b64decode(archive)) == []
    stack.control("amocrm", "widget", client_id=integration["client_id"], archive_b64=archive)
    page.find("#widget [name=widget_code]").send_keys(integration["widget_code"], Keys.ENTER)


def consent(page: Window, host: str) -> None:
    """Allow access on amoCRM's own page, as the account's administrator."""
    page.click("#connect button", says="Подключить аккаунт")
    choice = Select(page.find("[name=who]"))
    choice.select_by_visible_text(next(one.text for one in choice.options if host in one.text and "админ" in one.text))
    page.click("[value=allow]")
    page.find("body", says="подключён")


def answers(stack: Stack, admin: Admin, made: Json, channel: Json) -> None:
    """Give wrong answers, each with its cure, then the right one."""
    page = admin.page
    right = {"remote_id": channel["id"], "secret": channel["secret"], "code": channel["code"]}
    assert "Проверьте секрет" in admin.answer("vk", **(right | {"secret": "wrong"}))
    page.shoot("amocrm-setup-refused")
    assert "Проверьте ID канала" in admin.answer(
        "vk", **(right | {"remote_id": "11111111-0000-4000-8000-000000000000"})
    )
    stack.control("amocrm", "channel", id=channel["id"], only_accounts=["somebody-else"])
    said = admin.answer("vk", **right)
    assert "добавить аккаунт в список" in said and made["account"]["amojo_id"] in said
    page.find("#vk .mark.bad")
    stack.control("amocrm", "channel", id=channel["id"], only_accounts=[])
    page.click("#vk button", says="Проверить")
    page.find(".notice.done", says="канал подключён")
    page.find("#vk .mark.good", says="Чаты")
    shoot_messenger(page, "amocrm-setup-chats")


def test_integration_in_use_is_not_deleted_and_a_spare_one_is(stack: Stack, window: Open) -> None:
    admin = Admin(stack, window())
    page = admin.page
    page.open(f"{stack.url}/apps")
    page.click("td a", says="Acme")
    page.click("a.danger")
    page.find(".notice.error", says="Сначала отключите")
    page.shoot("amocrm-setup-in-use")

    page.open(f"{stack.url}/apps/server?ticket={server_owner.ticket()}")
    page.find(".notice", says="всего сервера")
    page.find("[name=scope]").send_keys("весь")
    page.click("button", says="Начать настройку")
    page.find("h1", says="весь сервер")
    page.click("a.danger")
    page.shoot("amocrm-setup-delete")
    page.click("button.danger")
    page.find(".notice.done", says="удалена")
    page.shoot("amocrm-setup-list")
    assert page.complaints() == []


def test_other_languages_fit_too(stack: Stack, window: Open) -> None:
    admin = Admin(stack, window())
    page = admin.page
    for language in ("en", "es"):
        page.driver.execute_script(
            "document.querySelector('#language').value = arguments[0];"
            "document.querySelector('#language').form.requestSubmit()",
            language,
        )
        page.find(f"html[lang={language}]")
        page.open(f"{stack.url}/apps")
        page.click("td a", says="Acme")
        page.click("#telegram_bot summary")
        page.shoot(f"amocrm-setup-{language}")
    assert json.dumps(page.complaints()) == "[]"
