"""What a person sees who starts the demo and does what it says: a customer's phone, a portal, the cabinet, in real browsers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from tests.browser.conftest import Window, running_demo
from tests.sandbox import samples
from widget_backend.texts import text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

QUESTION = text("demo.question")
PAGES = (
    "/channels/new",
    "/channels/new/vk",
    "/connections/new",
    "/connections/new/bitrix24",
    "/audit",
    "/api-keys",
    "/api-reference",
)
Json = dict[str, Any]
Open = Callable[[], Window]


def cabinet(window: Window, demo: Json) -> None:
    """Sign in as the demo says."""
    window.open(demo["web"])
    window.find("[name=email]").send_keys(demo["login"]["email"])
    window.find("[name=password]").send_keys(demo["login"]["password"], Keys.ENTER)
    window.find("main", says="acme")


def test_question_and_answer_go_through_and_the_journal_tells(demo: Json, window: Open) -> None:
    phone, portal, own = window(), window(), window()

    phone.open(demo["peers"]["vk"]["page"])
    phone.click(".chat", says="Анна")
    phone.find(".bubble.mine", says=QUESTION)
    phone.find("#composer textarea").send_keys("И в синем цвете?", Keys.ENTER)

    portal.open(demo["peers"]["bitrix24"]["page"])
    portal.find(".message", says=QUESTION)
    portal.find(".message", says="И в синем цвете?")
    portal.find("#composer textarea").send_keys("Есть, 500 ₽. Доставка завтра.", Keys.ENTER)
    portal.find(".message.operator", says="Есть, 500 ₽. Доставка завтра.")

    phone.find(".bubble:not(.mine)", says="Есть, 500 ₽. Доставка завтра.")
    portal.find(".message.operator [title=Доставлено]")
    phone.shoot("phone-talk")
    portal.shoot("portal-talk")

    cabinet(own, demo)
    own.shoot("cabinet-home")
    own.open(f"{demo['web']}/messages")
    asked = own.find("tr", says=QUESTION).text
    assert "выгружено Портал acme" in asked and "выгружено amoCRM – acme.amocrm.ru" in asked, "each CRM has its own"
    assert "выгружено" in own.find("tr", says="И в синем цвете?").text
    assert "прочитано" in own.find("tr", says="Есть, 500 ₽").text  # the phone lies open
    own.shoot("cabinet-messages")
    assert phone.complaints() == portal.complaints() == own.complaints() == []


def test_new_customer_of_the_bot_gets_an_answer(demo: Json, window: Open) -> None:
    phone, portal = window(), window()
    phone.open(demo["peers"]["vk"]["page"])
    account = Select(phone.find("#new-chat select"))
    phone.wait(lambda _: account.options, "bots and communities")
    account.select_by_visible_text("@acme_bot · Telegram")
    phone.find("#new-chat [name=name]").send_keys("Иван")
    phone.find("#new-chat [name=text]").send_keys("Привет из Telegram", Keys.ENTER)
    phone.find(".bubble.mine", says="Привет из Telegram")

    portal.open(demo["peers"]["bitrix24"]["page"])
    portal.click(".list a", says="Иван")
    portal.find(".message", says="Привет из Telegram")
    portal.find("#composer textarea").send_keys("И вам привет", Keys.ENTER)
    phone.find(".bubble:not(.mine)", says="И вам привет")


def test_pictures_and_files_go_both_ways(demo: Json, window: Open, tmp_path: Path) -> None:
    picture, price = tmp_path / "bridge.png", tmp_path / "price.pdf"
    picture.write_bytes(samples.png(320, 200))
    price.write_bytes(samples.pdf())
    phone, portal = window(), window()
    phone.open(demo["peers"]["vk"]["page"])
    phone.click(".chat", says="Анна")
    phone.find(".bubble.mine")
    # the button would open the system's own dialog, which no script can use
    phone.driver.execute_script("document.querySelector('#composer input[type=file]').click = () => {}")
    phone.click("[data-pick=photo]")
    phone.driver.find_element("css selector", "#composer input[type=file]").send_keys(str(picture))
    phone.find(".bubble.mine img")

    portal.open(demo["peers"]["bitrix24"]["page"])
    portal.click(".list a", says="Анна")
    portal.find(".message img")
    portal.driver.find_element("css selector", "#composer input[type=file]").send_keys(str(price))
    portal.find("#composer textarea").send_keys("Цены", Keys.ENTER)
    phone.find(".bubble:not(.mine) .file", says="price.pdf")
    phone.shoot("phone-files")
    portal.shoot("portal-files")


def test_message_tells_its_story(demo: Json, window: Open) -> None:
    own = window()
    cabinet(own, demo)
    own.open(f"{demo['web']}/messages")
    own.click("tr a", says=QUESTION)
    own.find("main", says="выгружено")
    own.shoot("cabinet-message")
    assert own.complaints() == []


def test_settings_of_the_connector_open_inside_the_portal(demo: Json, window: Open) -> None:
    portal = window()
    portal.open(demo["peers"]["bitrix24"]["page"] + "#center")
    portal.click(".tile button", says="Настроить")
    portal.find("#slider")
    portal.driver.switch_to.frame(portal.find("#slider iframe"))
    portal.find("main", says="@acme_bot")
    portal.driver.switch_to.default_content()
    portal.shoot("portal-settings")
    assert portal.complaints() == []


def test_application_page_opens_inside_the_portal(demo: Json, window: Open) -> None:
    portal = window()
    portal.open(demo["peers"]["bitrix24"]["page"])
    portal.click("#widgets a")
    portal.driver.switch_to.frame(portal.find("main iframe"))
    portal.find("main", says="@acme_bot")
    portal.driver.switch_to.default_content()
    portal.shoot("portal-app")
    assert portal.complaints() == []


def test_every_page_of_the_cabinet_fits_every_screen(demo: Json, window: Open) -> None:
    own = window()
    cabinet(own, demo)
    ends = {
        one.text: one.get_attribute("href") for one in own.driver.find_elements("css selector", "a[href*='/ends/']")
    }
    assert set(ends) == {"Магазин acme", "@acme_bot", "Портал acme", "amoCRM – acme.amocrm.ru"}
    pages = {path.strip("/").replace("/", "-"): demo["web"] + path for path in PAGES}
    pages |= {"end-vk": ends["Магазин acme"], "end-bitrix24": ends["Портал acme"]}
    for name, address in pages.items():
        own.open(address)
        own.find("h1")
        own.shoot(f"cabinet-{name}")
    assert own.complaints() == []


def test_demo_says_all_that_a_program_needs_and_leaves_nothing() -> None:
    with running_demo() as said:
        assert requests.get(f"{said['web']}/readyz", timeout=10).ok
        assert set(said["login"]) == {"email", "password"}
        assert set(said["pids"]) >= {"run", "web", "exchange-1", "schedules", "cron", "postgres", "valkey", "sandbox"}
        for name, peer in said["peers"].items():
            ledger = requests.get(f"{peer['base_url']}/_sandbox/ledger", timeout=10).json()
            assert "items" in ledger, name
        pids = list(said["pids"].values())
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    left = [one for one in psutil.process_iter() if _mentions(one, said["var"])]
    assert left == []


def _mentions(process: psutil.Process, folder: str) -> bool:
    try:
        return folder in " ".join(process.cmdline())
    except psutil.Error:
        return False
