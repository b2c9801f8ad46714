"""Draw the pictures of the widget's archive: the logos, and for the tour the panel as it is, in every language, with a conversation made up for it.

`python -m tests.browser.draw_widget` writes widget_frontend/amocrm/archive/images; nothing but Chromium takes part.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from functools import partial
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.browser.conftest import CHROMIUM, DRIVER, FLAGS, ROOT
from widget_backend import texts
from widget_backend.pages.panel import LEFT_TO_SCRIPTS
from widget_backend.widget_archive import SOURCE
from widget_backend.widget_check import IMAGES, TOUR_IMAGE

Json = dict[str, Any]
MARK = ROOT / "widget_frontend" / "amocrm" / "art" / "mark.svg"
ASSETS = ROOT / "widget_frontend" / "pages" / "assets"
SAID = {
    "ru": ("Анна", "Мария", "Есть ли синие?", "Да, в трёх размерах. Какой нужен?", "Средний. Доставите завтра?", "Спасибо!", "доставлено"),
    "en": ("Anna", "Maria", "Do you have them in blue?", "Yes, in three sizes. Which one?", "Medium. Can it come tomorrow?", "Thank you!", "delivered"),
    "es": ("Ana", "María", "¿Los tienen en azul?", "Sí, en tres tallas. ¿Cuál necesita?", "La mediana. ¿Llega mañana?", "¡Gracias!", "entregado"),
}  # fmt: skip


def answers(language: str) -> Json:
    """Return what the panel's calls are answered with."""
    client, other, first, reply, last, thanks, status = SAID[language]
    at = "2026-11-20T10:{:02d}:00+00:00"
    nothing = {"status": "", "tone": "", "why": "", "repeat": ""}
    sent = {**nothing, "status": status, "tone": "good"}

    def talk(id: str, name: str, network: str, text: str, *, waits: bool) -> Json:
        told = {"text": text, "at": at.format(42), "is_ours": False, **nothing}
        return {
            "id": id,
            "client": name,
            "network": network,
            "channel": "Acme",
            "place": "",
            "unanswered": waits,
            "last": told,
        }

    def message(number: int, text: str, **more: Any) -> Json:
        plain = {"author": "", "quote": "", "is_edited": False, "is_deleted": False, "files": [], **nothing}
        return {"id": str(number), "text": text, "at": at.format(38 + number), "is_ours": False, **plain, **more}

    items = [message(1, first), message(2, reply, is_ours=True, **sent), message(3, last)]
    return {
        "conversations": {
            "items": [talk("1", client, "Telegram", last, waits=True), talk("2", other, "VK", thanks, waits=False)]
        },
        "messages": {"items": items, "earlier": "", "can_write": True, "why": ""},
    }


def page(language: str) -> str:
    """Write the panel's page with its calls answered by itself."""
    words = {
        slug: texts.text(f"pages.panel.{slug}", language, **LEFT_TO_SCRIPTS, crm="")
        for slug in texts.slugs("pages.panel")
    }
    facts = {"token": "", "api": "/api", "origin": "", "locale": language, "view": "talks"}
    start = escape(json.dumps({"facts": facts, "words": words}))
    stand_in = (
        f"const answers = {json.dumps(answers(language))};"
        "window.fetch = async (url) => new Response(JSON.stringify(answers[String(url).endsWith('messages') ? 'messages' : 'conversations']),"
        " {headers: {'Content-Type': 'application/json'}});"
    )
    return (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8"><link rel="stylesheet" href="panel.css">'
        f'<script>{stand_in}</script><script type="module" src="panel.js"></script>'
        f'<body class="wide" data-start="{start}"><main></main></body></html>'
    )


class Assets(SimpleHTTPRequestHandler):
    """Serves the panel's scripts and styles, and a page for each language."""

    def do_GET(self) -> None:
        """Answer."""
        language = self.path.strip("/")
        if language not in SAID:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(page(language).encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


def draw(driver: webdriver.Chrome, name: str, size: tuple[int, int]) -> None:
    """Keep what the browser shows."""
    width, height = size
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    drawn = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})["data"]
    (SOURCE / name).write_bytes(base64.b64decode(drawn))


def resize(driver: webdriver.Chrome, size: tuple[int, int]) -> None:
    """Be as large as the picture."""
    screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def draw_logos(driver: webdriver.Chrome) -> None:
    """Draw the mark in every size that the marketplace asks for."""
    for name, size in IMAGES.items():
        side = int(min(size) * 0.78)
        style = f"margin:0;width:{size[0]}px;height:{size[1]}px;background:#1f4e79;display:grid;place-items:center"
        html = f'<body style="{style}"><div style="width:{side}px;height:{side}px">{MARK.read_text()}</div></body>'
        driver.get("data:text/html;base64," + base64.b64encode(html.encode()).decode())
        resize(driver, size)
        draw(driver, name, size)


def draw_tour(driver: webdriver.Chrome, base: str) -> None:
    """Draw the panel with a conversation open, in every language."""
    resize(driver, TOUR_IMAGE)
    driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "UTC"})
    for language in SAID:
        driver.get(f"{base}/{language}")
        time.sleep(0.5)
        driver.execute_script("document.body.classList.add('wide'); document.querySelector('.talk').click()")
        time.sleep(0.5)
        driver.execute_script("document.activeElement.blur()")
        draw(driver, f"images/tour_{language}.png", TOUR_IMAGE)


def main() -> None:
    """Draw all."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Assets, directory=str(ASSETS)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, "--hide-scrollbars"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(DRIVER))
    draw_logos(driver)
    draw_tour(driver, f"http://127.0.0.1:{server.server_port}")
    driver.quit()
    server.shutdown()


if __name__ == "__main__":
    main()
