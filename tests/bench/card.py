"""Writing first from a card: how long from the click to the message at the network, and what opening the card and the panel loads."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import requests
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.bench.figures import Figure
from tests.bridge.amocrm import Office, make_office
from tests.bridge.pair import new_user
from tests.bridge.test_amocrm_panel import Manager
from tests.browser.conftest import CHROMIUM, DRIVER, FLAGS, Window
from tests.browser.test_amocrm_widget import Card, deal, upload
from tests.stack import running, wait_for
from widget_backend import ids
from widget_backend.accounts import keys

LATENCY_MS = 100
CLICKS = 30
WRITES_S = 1.5
"""So long a person writes at least: what opening the panel used of amoCRM's limit is there again."""


def click() -> list[Figure]:
    """Begin dialogs one after another, by a program and in the panel of a deal; every simulated service takes 100 ms to answer."""
    with running(is_durable=True) as stack:
        office = make_office(stack)
        users = [_allowed(office) for _ in range(2 * CLICKS)]
        with ThreadPoolExecutor(4) as pool:
            deals = list(pool.map(lambda user: deal(office, f"Анна {user}", user), users[CLICKS:]))
        for peer in ("vk", "amocrm"):
            stack.control(peer, "faults", latency_ms=LATENCY_MS)
        by_program = _waits(office, users[:CLICKS], _program(office))
        panels = dict(zip(users[CLICKS:], deals, strict=True))
        in_panel = _waits(office, users[CLICKS:], lambda user: _panel(office, panels[user]))
    return [*_told("/api/v1", by_program), *_told("panel", in_panel)]


def _told(where: str, waits: list[float]) -> list[Figure]:
    ordered = sorted(waits)
    details = f"{len(waits)} clicks, VK and amoCRM answer in {LATENCY_MS} ms; longest {ordered[-1]:.0f} ms"
    what = f"click to message at the network, {where}"
    return [
        Figure(f"{what}, median", statistics.median(waits), "ms", details=details),
        Figure(f"{what}, 95th percentile", ordered[int(len(ordered) * 0.95)], "ms", details=details),
    ]


def _allowed(office: Office) -> int:
    user = new_user()
    office.customer(user, allow=True)
    asked = "select 1 from clients where remote_id = :user and may_write"
    wait_for(lambda: office.rows(asked, user=str(user)), what="VK's word")
    return user


def _waits(office: Office, users: list[int], ready: Callable[[int], Callable[[str], requests.Response]]) -> list[float]:
    """Let each be written to; return how long after the click VK had the message. Units: ms."""
    clicked: dict[str, float] = {}
    for user in users:
        press, text = ready(user), f"Здравствуйте {user}"
        time.sleep(WRITES_S)
        clicked[text] = time.time()
        answer = press(text)
        assert answer.ok, answer.text
        office.wait_got(user, text)
    came = {item["text"]: item["real_at"] for item in office.stack.ledger("vk", "message")}
    return [(came[text] - at) * 1000 for text, at in clicked.items()]


def _program(office: Office) -> Callable[[int], Callable[[str], requests.Response]]:
    key = keys.issue(office.account_id, title="bench", role="admin", actor="bench")
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {key}"

    def ready(user: int) -> Callable[[str], requests.Response]:
        to = {"kind": "link", "value": f"https://vk.com/id{user}"}

        def press(text: str) -> requests.Response:
            body = {"channel_id": str(office.channel_id), "to": to, "text": text, "author": {"name": "Иван"}}
            headers = {"Idempotency-Key": ids.new_key()}
            return session.post(f"{office.stack.url}/api/v1/dialogs", json=body, headers=headers, timeout=30)

        return press

    return ready


def _panel(office: Office, lead: int) -> Callable[[str], requests.Response]:
    """Open the panel of a deal, as far as the moment before the click on "send"."""
    manager = Manager(office, {"kind": "lead", "id": str(lead)}).opened()
    whom = next(one for one in manager.get("card")["recipients"] if one["can"])
    body = {"recipient": whom["key"], "channel": whom["channels"][0]["id"], "files": [], "key": ids.new_key()}
    return lambda text: manager.call("POST", "dialogs", json={**body, "text": text})


# ---------------------------------------------------------------------------------------------------- what is loaded


@dataclass(frozen=True)
class Loaded:
    """What a browser loaded: addresses with the bytes that came, headers too."""

    sizes: dict[str, tuple[str, int]]

    def of(self, start: str) -> tuple[int, float, str]:
        """Return requests, KB and paths of what begins so."""
        mine = [(url, size) for url, size in self.sizes.values() if url.startswith(start)]
        names = ", ".join(url.removeprefix(start).partition("?")[0].rpartition("/")[2] for url, _size in mine)
        return len(mine), sum(size for _url, size in mine) / 1024, names


def opening() -> list[Figure]:
    """Open a deal and press "start a dialog" in a real browser, its cache empty, then once more."""
    if not (CHROMIUM and DRIVER):
        return [Figure("requests when a card opens", 0, "", details="not measured: no chromium here")]
    figures: list[Figure] = []
    with running() as stack, _browser() as window:
        office = make_office(stack)
        upload(stack, office.client_id)
        path = f"leads/detail/{deal(office, 'Анна', _allowed(office))}"
        for again in ("", " again"):
            card = Card(window, office, path)
            time.sleep(1)
            figures += _loads(office, f"card opens{again}", _loaded(window))
            card.press("start")
            window.find(".choice")
            time.sleep(1)
            figures += _loads(office, f"click{again}", _loaded(window))
            card.leave_panel()
    return figures


def _loads(office: Office, when: str, loaded: Loaded) -> list[Figure]:
    count, size, names = loaded.of(office.stack.url)
    widget = loaded.of(f"{office.stack.peers['amocrm']['base_url']}/pages/{office.host}/widgets/")
    details = f"from our server: {names or 'nothing'}"
    if widget[0]:
        details += f"; the widget's own files from amoCRM: {widget[0]}, {widget[1]:.1f} KB"
    return [
        Figure(f"requests, {when}", count, "", details=details),
        Figure(f"loaded, {when}", size, "KB", details=details),
    ]


def _loaded(window: Window) -> Loaded:
    """Return what was loaded since the last look."""
    urls: dict[str, str] = {}
    sizes: dict[str, tuple[str, int]] = {}
    for entry in window.driver.get_log("performance"):
        said = json.loads(entry["message"])["message"]
        about = said["params"]
        if said["method"] == "Network.requestWillBeSent":
            urls[about["requestId"]] = about["request"]["url"]
        elif said["method"] == "Network.loadingFinished" and about["requestId"] in urls:
            sizes[about["requestId"]] = (urls[about["requestId"]], int(about["encodedDataLength"]))
    return Loaded({id: (url, size) for id, (url, size) in sizes.items() if size})


@contextmanager
def _browser() -> Iterator[Window]:
    with tempfile.TemporaryDirectory(prefix="mostik-chromium-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM or ""
        for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1280,800"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        driver = webdriver.Chrome(options, Service(DRIVER))
        try:
            yield Window(driver)
        finally:
            driver.quit()
