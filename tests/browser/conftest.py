"""A running demo, started by its own command, and browsers to look at it with. What they see is kept in var/screenshots."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from widget_backend import processes

ROOT = Path(__file__).parent.parent.parent
SHOTS = ROOT / "var" / "screenshots"
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--lang=ru",
]
WAIT_S = 20


class Window:
    """One person's browser."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        """Open a page."""
        self.driver.get(address)

    def find(self, selector: str, *, says: str = "") -> WebElement:
        """Wait for an element that is shown and says something."""

        def look(driver: webdriver.Chrome) -> WebElement | None:
            found = driver.find_elements(By.CSS_SELECTOR, selector)
            return next((one for one in found if one.is_displayed() and says in one.text), None)

        return self.wait(look, f"{selector} with «{says}»")

    def click(self, selector: str, *, says: str = "") -> None:
        """Click what is shown; a page that draws itself anew between the look and the click is looked at again."""

        def press(driver: webdriver.Chrome) -> bool:
            for one in driver.find_elements(By.CSS_SELECTOR, selector):
                if one.is_displayed() and says in one.text:
                    one.click()
                    return True
            return False

        self.wait(press, f"{selector} with «{says}» to click")

    def all(self, selector: str) -> list[str]:
        """Return the texts of all elements, as they are shown."""
        return [one.text for one in self.driver.find_elements(By.CSS_SELECTOR, selector)]

    def wait(self, look: Callable[[webdriver.Chrome], Any], what: str) -> Any:
        """Wait until something is true; a page that draws itself anew meanwhile is no trouble."""
        waiting = WebDriverWait(self.driver, WAIT_S, 0.1, ignored_exceptions=[StaleElementReferenceException])
        return waiting.until(look, f"never seen: {what}")

    def size(self, width: int, height: int) -> None:
        """Be as large as a desktop or a phone; a window cannot be narrower than 500 px, a screen can."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)

    def shoot(self, name: str) -> None:
        """Keep what is seen, on a desktop and on a phone; nothing may be wider than the screen."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        for width, height in ((360, 740), (1280, 800)):
            self.size(width, height)
            time.sleep(0.3)  # what moves comes to rest
            self.driver.save_screenshot(str(SHOTS / f"{name}-{width}.png"))
            wide = self.driver.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} px wide on a screen of {width}"

    def complaints(self) -> list[str]:
        """Return what the browser complained of: broken scripts, refused frames, missing files."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def window() -> Iterator[Callable[[], Window]]:
    """Give new browsers, each with a profile of its own."""
    drivers: list[tuple[webdriver.Chrome, str]] = []

    def make() -> Window:
        profile = tempfile.mkdtemp(prefix="mostik-chromium-")
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM or ""
        for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1280,800"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, Service(DRIVER))
        drivers.append((driver, profile))
        return Window(driver)

    yield make
    for driver, profile in drivers:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


@contextmanager
def running_demo() -> Iterator[dict[str, Any]]:
    """Run `mostik demo --json` in a folder of its own; give what it says."""
    var = Path(tempfile.mkdtemp(prefix="mostik-demo-"))
    var.chmod(0o755)
    names = ("PATH", "HOME", "LANG")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "widget_backend.cli", "demo", "--json"],
        cwd=ROOT,
        env={**kept, "MOSTIK_VAR": str(var), "MOSTIK_WEB_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: processes.die_with_parent(signal.SIGTERM),
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield {**json.loads(line), "var": str(var)}
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)
        shutil.rmtree(var, ignore_errors=True)


def need_browser() -> None:
    """Skip what cannot be seen without a browser; CI has one, and fails without."""
    if not (CHROMIUM and DRIVER) and not os.environ.get("CI"):
        pytest.skip("chromium and chromedriver are not installed")


@pytest.fixture(scope="module")
def demo() -> Iterator[dict[str, Any]]:
    """Give a running demo; skipped without a browser, which CI has."""
    need_browser()
    with running_demo() as started:
        yield started
