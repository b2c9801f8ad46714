"""The demo: the simulated outside world beside the server, and what is set up in it beforehand.

The sandbox is part of the source checkout, not of the installed package.
"""

import base64
import html
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import requests

from widget_backend import create_app, crypto, ids, limits, widget_archive
from widget_backend.accounts import integrations
from widget_backend.accounts.models import App, Membership, User
from widget_backend.accounts.signup import create_account
from widget_backend.bridge import life, runtime, setup
from widget_backend.config import Config, adapter_settings, env_name
from widget_backend.demo_browser import TIMEOUT_S, Browser, FormMissing
from widget_backend.doctor import DEMO_LOGIN as LOGIN
from widget_backend.extensions import db
from widget_backend.local_secrets import free_port
from widget_backend.supervision import ROOT, Program
from widget_backend.texts import text
from widget_backend.widget_archive import Brand

SANDBOX_DIR = ROOT / "tests" / "sandbox"


class DemoError(Exception):
    """Say why the demo cannot start."""


def sandbox_program() -> Program:
    """Give the simulated peers as a program; each keeps its port when it is restarted."""
    names = sorted(path.parent.name for path in SANDBOX_DIR.glob("*/peer.py"))
    if not names:
        raise DemoError("the demo needs the source checkout: its simulated peers are in tests/sandbox")
    command = [sys.executable, "-m", "tests.sandbox", "--json"]
    for name in names:
        command += [f"--port-{name.replace('_', '-')}", str(free_port())]
    return Program(name="sandbox", command=command, order=200)


def read_peers(log: Path, *, wait_s: float = 60) -> dict[str, dict[str, Any]]:
    """Wait for the line in which the sandbox tells its addresses and credentials."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines() if log.exists() else ():
            if line.startswith("{"):
                return {name: value for name, value in json.loads(line).items() if isinstance(value, dict)}
        time.sleep(0.1)
    raise DemoError(f"the simulated peers did not start: see {log}")


def peer_settings(peers: Mapping[str, Mapping[str, Any]], allowed: tuple[str, ...] = ()) -> dict[str, str]:
    """Turn the peers' addresses into settings: a peer's value is the server setting of the same name.

    Shape: allowed are the private hosts that may be called already; the peers' are added.
    """
    settings: dict[str, str] = {}
    for manifest, setting in adapter_settings():
        value = peers.get(manifest.key, {}).get(setting.name)
        if value is not None:
            settings[env_name(manifest.key, setting.name)] = ",".join(value) if isinstance(value, list) else str(value)
    # any port of them: a simulated portal has one of its own, and more can be made while the demo runs
    hosts = {urlsplit(str(peer["base_url"])).hostname or "" for peer in peers.values()}
    settings["MOSTIK_OUTSIDE_PRIVATE_HOSTS"] = ",".join(sorted({*allowed, *hosts}))
    return settings


def clear(config: Config) -> None:
    """Forget what was connected to the outside world of an earlier demo: a new one numbers its messages from one again.

    Raises: DemoError on the data of a real server, which must not meet a simulated world.
    """
    with _database(config):
        if not db.session.query(User).filter_by(email=LOGIN["email"]).count() and db.session.query(User).count():
            raise DemoError(f"{config.var_dir} holds a real server: give the demo a folder of its own with MOSTIK_VAR")
        for account_id in _accounts():
            for end in setup.listed(account_id):
                life.erase(account_id, end.id, actor="demo")
            for app in integrations.listed(account_id, ["amocrm"], with_servers=False):
                integrations.remove(account_id, app, actor="demo")
        limits.begin_anew(runtime.get().redis)


def seed(config: Config, peers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Set up what the demo starts with, over the roads that people go. Raises: DemoError.

    Shape: {login: {email, password}, deal: address of a deal's card with our widget}.
    """
    with _database(config):
        if not _accounts():
            create_account("acme", email=LOGIN["email"], password=LOGIN["password"])
        app_key = _register_app(peers["bitrix24"])
    try:
        browser = Browser()
        browser.open(f"{config.public_url}/sign-in")
        browser.send(**LOGIN)
        _install(config.public_url, app_key, peers["bitrix24"])
        _set_up_integration(browser, config.public_url, peers["amocrm"])
        for network in ("vk", "telegram_bot"):
            _connect(browser, config.public_url, network, peers[network]["token"])
        with _database(config):
            _look_over()
        _control(peers["vk"], "say", user="Анна", text=text("demo.question"))
        _wait_for_first_question(peers["bitrix24"])
        deal = _wait_for_deal(peers["amocrm"])
    except (requests.RequestException, FormMissing) as error:
        raise DemoError(f"the demo could not be set up: {error}; see {config.var_dir}/log") from error
    return {"login": LOGIN, "deal": deal}


@contextmanager
def _database(config: Config) -> Iterator[None]:
    with create_app(config).app_context():
        try:
            yield
        finally:
            db.session.remove()
            db.engine.dispose()


def _accounts() -> list[UUID]:
    """Return the accounts of the demo's user."""
    query = db.session.query(Membership.account_id).join(User, User.id == Membership.user_id)
    return [row.account_id for row in query.filter(User.email == LOGIN["email"])]


def _register_app(portals: Mapping[str, Any]) -> str:
    """Give the server the keys of its application in the catalogue, as its owner does; return the key of its addresses."""
    app = db.session.query(App).filter_by(adapter="bitrix24", account_id=None).first()
    if app is None:
        app = App(id=ids.new_id(), adapter="bitrix24", title="Mostik", key=ids.new_key())
        db.session.add(app)
    app.client_id = portals["client_id"]
    app.secret = crypto.seal_text(portals["client_secret"], f"app:{app.id}")
    db.session.commit()
    return app.key


def _install(web: str, app_key: str, portals: Mapping[str, Any]) -> None:
    """Install the application as the admin of the portal: its pages in his browser, the open line in the contact center."""
    pages = f"{web}/embedded/{app_key}"
    who = {"account": portals["portal"]["member_id"], "app": portals["client_id"]}
    addresses = {"handler_url": pages, "install_url": f"{pages}/install"}
    installer = _control(portals, "install", **who, **addresses)
    browser = Browser()
    browser.open(installer["action"], installer["fields"])
    browser.send(do="sign_in", **LOGIN)
    browser.send(do="connect")
    _control(portals, "install-finish", **who)
    shown = requests.get(f"{portals['portal']['url']}/pages/api/state", timeout=TIMEOUT_S).json()
    line = {"line": portals["portal"]["lines"][0], "connector": shown["connectors"][0]["id"]}
    opened = _control(portals, "open", placement="SETTING_CONNECTOR", **who, **line)
    if opened["status"] != 200 or opened["trouble"]:
        raise DemoError(f"the settings page in the portal answers {opened['status']} {opened['trouble']}")


def _set_up_integration(browser: Browser, web: str, crm: Mapping[str, Any]) -> None:
    """Set up a private integration as the admin does: our addresses into its form, its keys to us, the widget, the consent, the chat channel."""
    card, host = crm["integration"], crm["account"]["host"]
    browser.open(f"{web}/connections/new/amocrm")
    browser.send(platform="amocrm")
    page = browser.address
    form = {"redirect_uri": _shown(browser, "v-redirect"), "disable_hook_url": _shown(browser, "v-disable-hook")}
    _control(crm, "integration", client_id=card["client_id"], **form)
    browser.send(client_id=card["client_id"], client_secret=card["client_secret"], title="acme")
    brand = Brand(server=web, name="Mostik", name_ru=text("pages.common.brand"), support_email=LOGIN["email"])
    archive = widget_archive.build(brand)
    _control(crm, "widget", client_id=card["client_id"], archive_b64=base64.b64encode(archive).decode())
    browser.send(widget_code=card["widget_code"])
    browser.send("/start")
    way = re.search(r'href="(/oauth/start[^"]+)"', browser.page)
    if way is None:
        raise DemoError("the cabinet does not lead to the consent page")
    browser.open(f"{web}{html.unescape(way[1])}")
    state = parse_qs(urlsplit(browser.address).query)["state"][0]
    browser.open(_control(crm, "consent", account=host, client_id=card["client_id"], state=state)["url"])
    for channel in crm["channels"]:
        browser.open(page)
        hooks = re.search(rf"{re.escape(web)}/hooks/\S+:scope_id", browser.page)
        if hooks is None:
            raise DemoError("the letter to the support names no address")
        _control(crm, "channel", id=channel["id"], hook_url=hooks[0])
        given = {"remote_id": channel["id"], "secret": channel["secret"], "code": channel["code"]}
        browser.send(f"/channels/{channel['title'].lower()}", **given, bot_id=channel["bot_id"])


def _shown(browser: Browser, id: str) -> str:
    """Read a value that a page shows for copying."""
    found = re.search(rf'<input id="{id}"[^>]*? value="([^"]*)"', browser.page)
    if found is None:
        raise DemoError(f"{urlsplit(browser.address).path} does not show {id}")
    return html.unescape(found[1])


def _connect(browser: Browser, web: str, network: str, token: str) -> None:
    """Connect a channel as the account's owner: the form of its network, then the page that goes on by itself."""
    browser.open(f"{web}/channels/new/{network}")
    browser.send(token=token)
    browser.send("/connect")


def _look_over() -> None:
    """Let no demo start half connected, and give the portal a name: its address is no more than a port here. Raises: DemoError."""
    for account_id in _accounts():
        for end in setup.listed(account_id):
            if end.state != "active":
                raise DemoError(f"{end.adapter} is not connected: {end.reason or end.state} {end.detail}")
            if end.adapter == "bitrix24":
                setup.change(account_id, end.id, title=text("demo.portal"), given={}, actor="demo")


def _wait_for_first_question(portals: Mapping[str, Any], *, wait_s: float = 30) -> None:
    """Wait until the operators see the first question. Raises: DemoError."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        ledger = requests.get(f"{portals['base_url']}/_sandbox/ledger", timeout=TIMEOUT_S).json()
        if any(item["kind"] == "message" and text("demo.question") in item["text"] for item in ledger["items"]):
            return
        time.sleep(0.1)
    raise DemoError(f"the first question did not arrive in the CRM within {wait_s:g} s")


def _wait_for_deal(crm: Mapping[str, Any], *, wait_s: float = 30) -> str:
    """Wait until the first question has made a deal; return the address of its card. Raises: DemoError."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        ledger = requests.get(f"{crm['base_url']}/_sandbox/ledger", timeout=TIMEOUT_S).json()
        for item in ledger["items"]:
            if item["kind"] == "entity" and item["entity"] == "leads":
                return f"{crm['base_url']}/pages/{crm['account']['host']}/leads/detail/{item['id']}"
        time.sleep(0.1)
    raise DemoError(f"the first question made no deal within {wait_s:g} s")


def _control(peer: Mapping[str, Any], action: str, **body: object) -> dict[str, Any]:
    answer = requests.post(f"{peer['base_url']}/_sandbox/{action}", json=body, timeout=TIMEOUT_S)
    answer.raise_for_status()
    return dict(answer.json())
