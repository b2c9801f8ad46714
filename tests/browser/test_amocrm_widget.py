"""What a manager sees who works in a card of amoCRM: our real archive, loaded by pages like amoCRM's, and the panel it opens, in a real browser."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests import stack as product
from tests.bridge.amocrm import Office, make_office, register
from tests.bridge.conftest import PATIENCE
from tests.bridge.pair import new_user
from tests.bridge.test_corrections import on_phone
from tests.browser.conftest import SHOTS, Window, need_browser
from tests.sandbox import samples
from tests.stack import Json, Stack, wait_for
from widget_backend import configure_bridge, crypto, widget_archive, widget_check
from widget_backend.accounts.signup import create_account
from widget_backend.bridge import quick_replies
from widget_backend.bridge.quick_replies import Template
from widget_backend.extensions import db
from widget_backend.widget_archive import Brand

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
Open = Callable[[], Window]
ONE_PRESS = "В наличии, привезём завтра."


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Give a running product; skipped without a browser, which CI has."""
    need_browser()
    with product.running(None, **PATIENCE) as running:
        crypto.configure(crypto.KeyRing.of(running.config.keys))
        with running.app.app_context():
            configure_bridge(running.config, db.engine)
            # several companies share this one address, as hosting would; none of these tests is about limits
            running.control("amocrm", "limits", address=100, address_ru=100, account=100, integration=100)
            yield running


def upload(stack: Stack, client_id: str) -> None:
    """Upload our archive as the integration's developer does."""
    archive = widget_archive.build(Brand(server=stack.url, name="Mostik", support_email="help@acme.example"))
    assert widget_check.check(archive) == []
    stack.control("amocrm", "widget", client_id=client_id, archive_b64=base64.b64encode(archive).decode())


@pytest.fixture(scope="module")
def office(stack: Stack) -> Office:
    """Give a company whose amoCRM has our widget, a quick reply, and a deal with a contact who can be written to."""
    made = make_office(stack)
    first = made.made["account"]["pipelines"][0]
    made.settings(stage=f"{first['id']}:{first['statuses'][1]['id']}")
    upload(stack, made.client_id)
    quick_replies.create(made.account_id, Template(title="наличие", text="%CONTACT_NAME%, всё есть в наличии."))
    quick_replies.create(made.account_id, Template(title="доставка", text="Доставка завтра, 300 ₽."))
    return made


def api(office: Office, method: str, path: str, body: object) -> Json:
    """Call the account's REST API as its administrator."""
    token = office.act("pair", client_id=office.client_id)["access_token"]
    url = f"{office.stack.peers['amocrm']['account_url'].replace('{host}', office.host)}/api/v4/{path}"
    answer = requests.request(method, url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert answer.ok, answer.text
    return dict(answer.json())


def person(office: Office, name: str, user: int, **more: str) -> Json:
    """Make a contact who has a phone, and a link to a page in VK."""
    made = office.act("contact", name=name, phone="+7 900 111-22-33", **more)
    page = {"field_code": "POSITION", "values": [{"value": f"https://vk.com/id{user}"}]}
    api(office, "PATCH", f"contacts/{made['contact']}", {"custom_fields_values": [page]})
    return made


def deal(office: Office, name: str, user: int) -> int:
    """Make a deal with such a contact."""
    return int(person(office, name, user, lead=f"Заказ: {name}")["lead"])


def talked(office: Office, user: int, text: str) -> int:
    """Let a customer write; return the deal that was made of it."""
    office.customer(user, text=text)
    office.wait_seen(user, text)
    leads = wait_for(lambda: [one for one in office.desk("entity") if one["entity"] == "leads"], what="a deal")
    return int(leads[-1]["id"])


class Card:
    """A browser at a card of amoCRM."""

    def __init__(self, window: Window, office: Office, path: str) -> None:
        self.window = window
        window.open(f"{office.stack.peers['amocrm']['base_url']}/pages/{office.host}/{path}")
        window.find("#widgets_block .mostik-widget__button_start")

    def press(self, name: str) -> None:
        """Press a button of the widget and go into the panel it opens."""
        self.window.find(f".mostik-widget__button_{name}").click()
        self.window.driver.switch_to.frame(self.window.find(".mostik-widget__frame"))

    def leave_panel(self) -> None:
        self.window.driver.switch_to.default_content()

    def shoot(self, name: str) -> None:
        """Keep what a manager sees: the card at 1280 px."""
        self.leave_panel()
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.window.size(1280, 800)
        time.sleep(0.4)
        self.window.driver.save_screenshot(str(SHOTS / f"{name}-1280.png"))
        frame = self.window.driver.find_elements(By.CSS_SELECTOR, ".mostik-widget__frame")
        if frame:
            self.window.driver.switch_to.frame(frame[0])
            wide, inner = self.window.driver.execute_script(
                "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            )
            assert wide <= inner, f"{name}: the panel is {wide} px wide in a frame of {inner}"

    def complaints(self) -> list[str]:
        """Return what the widget did wrong, and what the browser complained of."""
        self.leave_panel()
        return self.window.all("#complaints li") + self.window.complaints()


def test_manager_writes_first_from_the_deal(office: Office, window: Open) -> None:
    user = new_user()
    office.customer(user, allow=True)
    card = Card(window(), office, f"leads/detail/{deal(office, 'Анна', user)}")
    page = card.window

    card.press("start")
    page.find(".choice.off", says="+7 900")
    assert page.find(".choice.off .why").text
    if not page.driver.find_elements(By.CSS_SELECTOR, "[name=recipient]:checked"):
        page.find(".choice:not(.off)", says="vk.com").click()
    page.find("[name=channel]:checked")
    card.shoot("amocrm-start")
    page.find("#text").send_keys(f"Здравствуйте, Анна! {ONE_PRESS}", Keys.ENTER)
    page.find(".bubble.mine", says=ONE_PRESS)
    page.find(".bubble.mine .mark.good")
    office.wait_got(user, f"Здравствуйте, Анна! {ONE_PRESS}")
    card.shoot("amocrm-started")

    card.leave_panel()
    page.find(".feed .said.out", says=ONE_PRESS)
    assert card.complaints() == [] and page.driver.get_cookies() == []


def test_manager_answers_in_the_list_with_a_quick_reply(office: Office, window: Open) -> None:
    user = new_user()
    office.customer(user, text="Есть ли синие, и сколько стоит доставка?")
    office.wait_seen(user, "Есть ли синие, и сколько стоит доставка?")
    lead = wait_for(lambda: [one for one in office.desk("entity") if one["entity"] == "leads"], what="a deal")[-1]
    card = Card(window(), office, f"leads/detail/{lead['id']}")
    page = card.window

    card.press("talks")
    page.find(".talk.waits", says="Есть ли синие")
    page.find(".tab .mark", says="1")
    card.shoot("amocrm-talks")
    page.find(".talk").click()
    page.find(".bubble", says="Есть ли синие")
    page.find("#text").send_keys("/дост")
    card.shoot("amocrm-replies")
    page.find(".offer", says="доставка")
    page.find("#text").send_keys(Keys.ENTER)
    page.wait(
        lambda driver: driver.find_element(By.ID, "text").get_attribute("value") == "Доставка завтра, 300 ₽.", "reply"
    )
    page.find("#text").send_keys(Keys.ENTER)
    page.find(".bubble.mine", says="Доставка завтра, 300 ₽.")
    office.wait_got(user, "Доставка завтра, 300 ₽.")
    page.find(".bubble.mine .mark.good")
    card.shoot("amocrm-talk")

    page.find("[aria-label='Развернуть']").click()
    page.find(".list-place .talk")
    card.shoot("amocrm-wide")
    page.find("body").send_keys(Keys.ESCAPE, Keys.ESCAPE)
    assert card.complaints() == []


def test_answer_that_cannot_leave_says_why_and_how_to_repeat(office: Office, window: Open) -> None:
    user = new_user()
    office.customer(user, text="Вопрос")
    office.wait_seen(user, "Вопрос")
    lead = [one for one in office.desk("entity") if one["entity"] == "leads"][-1]
    card = Card(window(), office, f"leads/detail/{lead['id']}")
    page = card.window
    card.press("talks")
    page.find(".talk.waits").click()
    page.find(".bubble", says="Вопрос")
    office.customer(user, deny=True)
    page.find(".open-talk .notice")
    card.shoot("amocrm-denied")
    assert card.complaints() == []


def test_message_that_failed_says_why_and_is_sent_again_by_a_button(office: Office, window: Open) -> None:
    user = new_user()
    office.customer(user, text="Перезвоните")
    office.wait_seen(user, "Перезвоните")
    lead = [one for one in office.desk("entity") if one["entity"] == "leads"][-1]
    card = Card(window(), office, f"leads/detail/{lead['id']}")
    page = card.window
    card.press("talks")
    page.click(".talk.waits")
    page.find(".bubble", says="Перезвоните")
    office.stack.control("vk", "faults", drop_hooks_rate=1.0)
    office.customer(user, deny=True)  # we are not told
    page.find("#text").send_keys("Уже звоним", Keys.ENTER)
    page.find(".bubble.mine .mark.bad")
    assert page.find(".bubble.mine .why").text
    card.shoot("amocrm-failed")

    office.stack.control("vk", "faults", drop_hooks_rate=0.0)
    office.customer(user, allow=True)
    page.click(".bubble.mine button", says="ещё раз")
    page.find(".bubble.mine .mark.good")
    office.wait_got(user, "Уже звоним")
    assert card.complaints() == []


def test_chat_is_begun_without_a_word_and_a_file_follows(office: Office, window: Open, tmp_path: Path) -> None:
    user = new_user()
    office.customer(user, allow=True)
    lead = deal(office, "Ольга", user)
    card = Card(window(), office, f"leads/detail/{lead}")
    page = card.window
    card.press("start")
    page.find("[name=channel]:checked")
    page.click("button[type=submit]")
    page.find(".bubble.mine", says="Чат инициализирован")
    assert page.find(".talk-head strong").text == "Ольга"
    office.wait_quiet()
    assert office.got(user) == []

    price = tmp_path / "price.pdf"
    price.write_bytes(samples.pdf())
    page.driver.execute_script("document.querySelector('input[type=file]').click = () => {}")
    page.driver.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(price))
    page.find(".files li", says="КБ")
    page.find("#text").send_keys("Наш прайс", Keys.ENTER)
    page.find(".bubble.mine .file", says="price.pdf")
    office.wait_got(user, "Наш прайс")
    card.shoot("amocrm-file")
    assert card.complaints() == []


def test_manager_corrects_his_words_and_takes_a_message_back(office: Office, window: Open) -> None:
    user = new_user()
    card = Card(window(), office, f"leads/detail/{talked(office, user, 'Сколько стоит?')}")
    page = card.window
    card.press("talks")
    page.click(".talk.waits")
    page.find(".bubble", says="Сколько стоит?")
    page.find("#text").send_keys("Сто рублей", Keys.ENTER)
    page.find(".bubble.mine .mark.good")
    page.click(".bubble.mine .menu")
    card.shoot("amocrm-correct-menu")
    page.click(".correction button", says="Исправить")
    page.find("#correct-text").send_keys(Keys.CONTROL, "a")
    page.find("#correct-text").send_keys("Двести рублей")
    card.shoot("amocrm-correct")
    page.click(".correction button", says="Сохранить")
    page.find(".bubble.mine .foot", says="изменено")
    wait_for(lambda: on_phone(office, user) == ["Двести рублей"], what="the edit")
    page.find(".bubble.mine .mark.good")

    page.click(".bubble.mine .menu")
    page.click(".correction button", says="Удалить у клиента")
    page.find(".correction", says="Клиент больше не увидит")
    card.shoot("amocrm-delete")
    page.click(".correction #correct-yes")
    page.find(".bubble.mine .gone")
    wait_for(lambda: on_phone(office, user) == [], what="the deletion")
    page.wait(lambda driver: not driver.find_elements(By.CSS_SELECTOR, ".bubble.mine .mark"), "only that it is deleted")
    card.shoot("amocrm-deleted")
    assert not page.driver.find_elements(By.CSS_SELECTOR, ".bubble.mine .menu")
    assert card.complaints() == []


@pytest.mark.parametrize("kind", ["companies", "contacts"])
def test_manager_writes_first_from_the_card_of_a_company_and_of_a_contact(
    office: Office, window: Open, kind: str
) -> None:
    user = new_user()
    office.customer(user, allow=True)
    contact = int(person(office, "Ирина", user)["contact"])
    number = contact
    if kind == "companies":
        made = api(office, "POST", "companies", [{"name": "acme"}])
        number = int(made["_embedded"]["companies"][0]["id"])
        link = {"to_entity_id": contact, "to_entity_type": "contacts"}
        api(office, "POST", f"companies/{number}/link", [link])
    card = Card(window(), office, f"{kind}/detail/{number}")
    page = card.window

    card.press("start")
    page.find(".choice:not(.off)", says="vk.com")
    card.shoot(f"amocrm-{kind}")
    page.find("#text").send_keys(f"Здравствуйте из карточки {kind}", Keys.ENTER)
    page.find(".bubble.mine .mark.good")
    office.wait_got(user, f"Здравствуйте из карточки {kind}")
    page.click("#tab-talks")
    page.find(".talk", says=f"из карточки {kind}")
    assert card.complaints() == []


def test_panel_is_whole_in_a_column_of_360_pixels(office: Office, window: Open) -> None:
    user = new_user()
    office.customer(user, allow=True)
    card = Card(window(), office, f"leads/detail/{deal(office, 'Анна', user)}")
    page = card.window
    card.press("start")
    card.leave_panel()
    address = str(page.find(".mostik-widget__frame").get_attribute("src"))
    page.size(360, 740)
    page.open(address)
    page.find(".choice.off .why")
    narrow(page, "start")
    page.find("#text").send_keys("очень-" * 20 + "длинно", Keys.ENTER)
    page.find(".bubble.mine .mark.good")
    narrow(page, "talk")
    page.click(".bubble.mine .menu")
    page.click(".correction button", says="Исправить")
    page.find("#correct-text")
    narrow(page, "correct")
    page.find("#correct-text").send_keys(Keys.ESCAPE)
    page.click("#replies")
    page.find(".offer")
    narrow(page, "replies")
    page.find("#find-reply").send_keys(Keys.ESCAPE)
    page.click("#tab-talks")
    page.find(".talk")
    narrow(page, "talks")


def narrow(page: Window, name: str) -> None:
    """Keep what is seen in a narrow column; nothing is cut off or hidden behind its edge."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    time.sleep(0.3)
    page.driver.save_screenshot(str(SHOTS / f"amocrm-narrow-{name}-360.png"))
    cut = page.driver.execute_script(
        "return [...document.querySelectorAll('button, textarea, input, label')].filter(one => one.checkVisibility())"
        ".filter(one => one.getBoundingClientRect().right > 360.5 || one.getBoundingClientRect().left < 0)"
        ".map(one => one.outerHTML)"
    )
    assert cut == [] and page.driver.execute_script("return document.documentElement.scrollWidth") <= 360


class Keyboard:
    """Somebody who has no mouse."""

    def __init__(self, page: Window) -> None:
        self.page = page

    def press(self, *keys: str) -> None:
        ActionChains(self.page.driver).send_keys(*keys).perform()

    def go_to(self, selector: str, *, back: bool = False) -> None:
        """Press Tab until something has the focus."""
        for _ in range(80):
            if self.page.driver.execute_script("return document.activeElement?.matches(arguments[0])", selector):
                return
            self.press(*([Keys.SHIFT, Keys.TAB] if back else [Keys.TAB]))
        raise AssertionError(f"Tab never came to {selector}")


def test_keyboard_alone_opens_chooses_writes_sends_and_corrects(office: Office, window: Open) -> None:
    user = new_user()
    office.customer(user, allow=True)
    card = Card(window(), office, f"leads/detail/{deal(office, 'Анна', user)}")
    page, keyboard = card.window, Keyboard(card.window)
    keyboard.go_to(".mostik-widget__button_start")
    keyboard.press(Keys.ENTER)
    page.find(".mostik-widget__frame")
    keyboard.go_to(".mostik-widget__frame")
    page.driver.switch_to.frame(page.find(".mostik-widget__frame"))
    page.find(".choice")
    keyboard.go_to("[name=recipient]")
    keyboard.press(Keys.SPACE)
    keyboard.go_to("[name=channel]")
    keyboard.press(Keys.SPACE)
    keyboard.go_to("#text")
    keyboard.press("Без мышы", Keys.ENTER)
    page.find(".bubble.mine .mark.good")
    office.wait_got(user, "Без мышы")

    keyboard.go_to(".bubble.mine .menu", back=True)
    keyboard.press(Keys.ENTER)
    page.wait(lambda driver: driver.switch_to.active_element.text == "Исправить", "the first of the menu")
    keyboard.press(Keys.ENTER)
    page.wait(lambda driver: driver.switch_to.active_element.get_attribute("id") == "correct-text", "the editor")
    keyboard.press(Keys.BACKSPACE, "и", Keys.ENTER)
    page.find(".bubble.mine .foot", says="изменено")
    wait_for(lambda: on_phone(office, user) == ["Без мыши"], what="the edit")
    page.wait(lambda driver: driver.switch_to.active_element.get_attribute("id") == "text", "the answer box")
    assert card.complaints() == []


@pytest.mark.parametrize("language", ["en", "es"])
def test_panel_speaks_the_language_of_the_crm_and_fits_the_narrow_column(
    office: Office, window: Open, language: str
) -> None:
    lead = deal(office, "Anna", new_user())
    card = Card(window(), office, f"leads/detail/{lead}?lang={language}")
    card.press("start")
    card.window.find(".choice")
    card.shoot(f"amocrm-start-{language}")
    said = card.window.find("main").text
    assert not re.search("[А-Яа-яЁё]", said.replace("Должность", "").replace("Телефон", "").replace("Сообщество", ""))


def test_new_card_asks_to_be_saved_first(office: Office, window: Open) -> None:
    card = Card(window(), office, "contacts/detail/0")
    card.window.find(".mostik-widget__button_start").click()
    assert "сохраните карточку" in card.window.find(".mostik-widget__trouble").text
    assert card.complaints() == []


def test_employee_without_rights_sees_whom_to_ask(office: Office, window: Open) -> None:
    stranger = office.act("user", name="Иван", rights="D")["id"]
    lead = deal(office, "Мария", new_user())
    card = Card(window(), office, f"leads/detail/{lead}?user={stranger}")
    card.press("talks")
    card.window.find(".notice", says="нет доступа")
    card.shoot("amocrm-forbidden")
    assert not card.window.driver.find_elements(By.CSS_SELECTOR, ".talk")


# -- settings ----------------------------------------------------------------------------------------------------------


def pages(office_url: str, host: str) -> str:
    """Return where the pages of an account are."""
    return f"{office_url}/pages/{host}"


def into_frame(page: Window) -> None:
    """Go into the page of ours that the widget has opened."""
    page.driver.switch_to.default_content()
    page.driver.switch_to.frame(page.find(".mostik-widget__frame"))


def test_admin_installs_from_the_marketplace_and_claims_with_his_password(stack: Stack, window: Open) -> None:
    with stack.app.app_context():
        create_account("acme", email="maria@acme.example", password="a good password")
    made = stack.control("amocrm", "make", channels=[{"title": "VK"}])
    register(stack, made, None)
    upload(stack, made["integration"]["client_id"])
    page, tile = window(), f".tile[data-code={made['integration']['widget_code']}]"
    market = f"{pages(stack.peers['amocrm']['base_url'], made['account']['host'])}/marketplace"
    page.open(market)
    page.click(tile)
    page.find(".mostik-widget__note", says="Установить")
    page.click(".install")
    page.find(".done")

    page.open(market)
    page.click(tile)
    into_frame(page)
    until = time.monotonic() + 30
    while not page.driver.find_elements(By.ID, "email"):
        assert time.monotonic() < until, "the install never arrived"
        page.click("button")
        time.sleep(0.5)
    page.driver.switch_to.default_content()
    shoot(page, "amocrm-claim")
    into_frame(page)
    page.find("#email").send_keys("maria@acme.example")
    page.find("#password").send_keys("a good password", Keys.ENTER)
    page.find(".mark.good")
    shoot(page, "amocrm-settings-modal")
    assert page.all("#complaints li") + page.complaints() == []


def test_admin_changes_settings_in_place_and_others_only_read_them(office: Office, window: Open) -> None:
    page, base = window(), pages(office.stack.peers["amocrm"]["base_url"], office.host)
    code = office.made["integration"]["widget_code"]
    page.open(f"{base}/settings/{code}")
    into_frame(page)
    page.find(".mark.good")
    shoot(page, "amocrm-settings")
    into_frame(page)
    page.driver.execute_script("document.querySelector('[name=deal_name]').value = 'Из чата: %NAME%'")
    page.driver.execute_script("document.querySelector('[name=deal_name]').form.querySelector('button').click()")
    page.find(".notice.done")
    assert office.rows("select settings from ends where id = :id", id=office.connection_id)[0].settings[
        "deal_name"
    ] == ("Из чата: %NAME%")

    reader = office.act("user", name="Иван", rights="A")["id"]
    page.open(f"{base}/settings/{code}?user={reader}")
    into_frame(page)
    page.find(".notice", says="администратор")
    assert not page.driver.find_elements(By.CSS_SELECTOR, "form button")
    shoot(page, "amocrm-settings-reader")
    page.driver.switch_to.default_content()
    assert page.all("#complaints li") + page.complaints() == []


def shoot(page: Window, name: str) -> None:
    """Keep what is seen at 1280 px."""
    page.driver.switch_to.default_content()
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.size(1280, 900)
    time.sleep(0.4)
    page.driver.save_screenshot(str(SHOTS / f"{name}-1280.png"))
