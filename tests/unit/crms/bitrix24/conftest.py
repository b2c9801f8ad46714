"""A product that listens and a portal that may install its app: the twin makes the POSTs, over real HTTP."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import unescape
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import requests
from flask import Flask
from redis import Redis
from sqlalchemy import select
from werkzeug.security import generate_password_hash
from werkzeug.serving import make_server

from tests.sandbox.run import Running, start
from widget_backend import create_app, crypto, ids, limits, local_secrets
from widget_backend.accounts.models import Account, App, Membership, User
from widget_backend.bridge import life
from widget_backend.bridge.ends import End
from widget_backend.bridge.models import EndRecord
from widget_backend.bridge.tenancy import transaction
from widget_backend.config import Config

Json = dict[str, Any]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Running]:
    with start(["--only", "bitrix24", "--only", "vk"]) as running:
        yield running


@dataclass
class World:
    """A product that listens, an account with a person, an app of this server and a portal that may install it."""

    url: str
    twin: Json
    account: str
    portal: Json
    account_id: UUID
    app: App
    flask: Flask
    vk: Json

    def control(self, path: str, **body: Any) -> Json:
        told = {"account": self.account, "app": self.app.client_id, **body}
        answer = requests.post(f"{self.twin['base_url']}/_sandbox/{path}", json=told, timeout=20)
        assert answer.ok, answer.text
        return dict(answer.json())

    def open(self, **body: Any) -> Json:
        """Open a page in the portal's frame; the twin says whether a browser would show it."""
        return self.control("open", **body)

    def install(self, **body: Any) -> requests.Response:
        """Press "Install" on the portal and make the POST of the installer's frame."""
        urls = {"install_url": self.page("install"), "handler_url": self.page("")}
        form = self.control("install", **{**urls, **body})
        return requests.post(form["action"], data=form["fields"], timeout=20)

    def page(self, name: str) -> str:
        return f"{self.url}/embedded/{self.app.key}" + (f"/{name}" if name else "")

    def act(self, html: str, do: str, **fields: str) -> requests.Response:
        """Press a button of one of our pages."""
        action = re.search(r'action="([^"]+)"', html)
        token = re.search(r'name="token" value="([^"]+)"', html)
        assert action and token, html
        url = f"{self.url}{unescape(action[1])}"
        return requests.post(url, data={"token": token[1], "do": do, **fields}, timeout=20)

    def unguessable(self) -> str:
        """Return the key of the end's hooks, which no page may show."""
        return self.snapshot().hook_url.rpartition("/")[2]

    def connected(self) -> EndRecord:
        """Install with everything it takes, and return the end."""
        page = self.install()
        if 'name="password"' in page.text:
            page = self.act(page.text, "sign_in", email="anna@acme.example", password="a good password")
        done = self.act(page.text, "connect")
        assert "finishInstall()" in done.text, done.text
        self.control("install-finish")
        return self.end()

    def end(self) -> EndRecord:
        with transaction(self.account_id) as session:
            return session.scalars(select(EndRecord)).one()

    def snapshot(self) -> End:
        return life.snapshot(self.account_id, self.end().id)


@pytest.fixture(params=["catalogue", "local"])
def world(
    request: pytest.FixtureRequest, db: Any, config: Config, redis: Redis[bytes], sandbox: Running
) -> Iterator[World]:
    twin = sandbox.addresses["bitrix24"]
    url = f"http://127.0.0.1:{local_secrets.free_port()}"
    servers = {
        **config.servers,
        ("bitrix24", "oauth_urls"): tuple(twin["oauth_urls"]),
        ("bitrix24", "frame_script"): twin["frame_script"],
        ("vk", "api_url"): sandbox.addresses["vk"]["base_url"],
    }
    flask = create_app(replace(config, public_url=url, servers=servers))
    limits.take(redis, (limits.Limit("warm", 1.0, 1),))
    redis.set("mostik:limits:born", "0")
    server = make_server("127.0.0.1", urlsplit(url).port or 0, flask, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    local = {"local": {"title": "Mostik"}} if request.param == "local" else {}
    made = requests.post(f"{twin['base_url']}/_sandbox/make", json=local, timeout=10).json()
    account_id = make_account()
    keys = made if local else twin
    app = make_app(keys["client_id"], keys["client_secret"], account_id if local else None)
    yield World(url, dict(twin), made["account"], made["portal"], account_id, app, flask, dict(sandbox.addresses["vk"]))
    server.shutdown()


def make_account() -> UUID:
    account_id, user_id = ids.new_id(), ids.new_id()
    password = generate_password_hash("a good password")
    with transaction(account_id) as session:
        session.add(Account(id=account_id, name="acme"))
        session.add(User(id=user_id, email="anna@acme.example", password_hash=password))
        session.flush()
        session.add(Membership(account_id=account_id, user_id=user_id, role="owner"))
    return account_id


def make_app(client_id: str, secret: str, account_id: UUID | None) -> App:
    id = ids.new_id()
    app = App(
        id=id,
        account_id=account_id,
        adapter="bitrix24",
        key=ids.new_key(),
        client_id=client_id,
        secret=crypto.seal_text(secret, f"app:{id}"),
    )
    with transaction(account_id) as session:
        session.add(app)
    return app
