"""A product in miniature for trying the twin: a door that takes POSTs and an installed application that makes calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.sandbox.bitrix24 import php
from tests.sandbox.bitrix24.peer import Bitrix24Peer
from tests.sandbox.frame import Options

Json = dict[str, Any]
ICON = {"DATA_IMAGE": "data:image/svg+xml,%3Csvg/%3E", "COLOR": "#4680c2"}
EVENTS = ("MessageAdd", "MessageUpdate", "MessageDelete", "DialogStart", "DialogFinish", "StatusDelete", "LineDelete")
WAIT_S = 3.0
QUIET_S = 0.15


@dataclass
class Probe:
    """What a test holds: the running peer, the door, and what the application knows."""

    peer: Bitrix24Peer
    http: aiohttp.ClientSession
    door: str
    seen: list[Json] = field(default_factory=list)
    tokens: Json = field(default_factory=dict)
    line: int = 1

    @property
    def account(self) -> str:
        """The seeded portal."""
        return str(self.peer.credentials()["portal"]["member_id"])

    @property
    def endpoint(self) -> str:
        """client_endpoint of the seeded portal."""
        return str(self.peer.credentials()["portal"]["client_endpoint"])

    async def call(self, method: str, params: Json | None = None, *, token: str = "") -> tuple[int, Json]:
        """Call a REST method as JSON with the application's token."""
        auth = token or self.tokens.get("AUTH_ID", "")
        async with self.http.post(
            f"{self.endpoint}{method}", json={**(params or {}), "auth": auth}, allow_redirects=False
        ) as response:
            return response.status, await response.json(content_type=None)

    async def result(self, method: str, params: Json | None = None) -> Any:
        """Call and return the result; anything else fails the test."""
        status, body = await self.call(method, params)
        assert status == 200 and "error" not in body, (method, status, body)
        return body["result"]

    async def oauth(self, **fields: str) -> tuple[int, Json]:
        """Ask the OAuth server for tokens with the catalogue application's keys."""
        keys = {"client_id": self.app, "client_secret": self.peer.credentials()["client_secret"]}
        url = f"{self.peer.cloud.oauth_urls[0]}/oauth/token/"
        async with self.http.get(url, params={**keys, **fields}) as response:
            return response.status, await response.json()

    @property
    def app(self) -> str:
        """client_id of the catalogue application."""
        return str(self.peer.credentials()["client_id"])

    async def control(self, path: str, body: Json | None = None) -> Json:
        """Call a control route; a refusal comes back as {"error"}."""
        async with self.http.post(f"{self.peer.base_url}/_sandbox/{path}", json=body or {}) as response:
            told: Json = await response.json()
            return told

    def ledger(self, kind: str) -> list[Json]:
        """List what the ledger has of one kind."""
        return self.peer.ledger.since(0, kind)

    async def events(self, name: str, count: int = 1) -> list[Json]:
        """Wait for so many events of one name; 0 waits a little and expects none."""
        until = asyncio.get_running_loop().time() + (WAIT_S if count else QUIET_S)
        while asyncio.get_running_loop().time() < until:
            found = [event for event in self.seen if event["event"] == name.upper()]
            if count and len(found) >= count:
                return found
            await asyncio.sleep(0.01)
        found = [event for event in self.seen if event["event"] == name.upper()]
        assert len(found) == count, (name, [event["event"] for event in self.seen])
        return found

    async def install(self, *, finish: bool = True) -> Json:
        """Press Install; the tokens of the installer's POST become the application's."""
        body = {"account": self.account, "app": self.app, "install_url": f"{self.door}/install"}
        form = await self.control("install", body | {"handler_url": f"{self.door}/app"})
        self.tokens = form["fields"]
        if finish:
            await self.control("install-finish", {"account": self.account, "app": self.app})
        return form

    async def connect(self, **register: object) -> None:
        """Install, bind all events, register a connector and bring it to life on the line."""
        await self.install()
        for event in EVENTS:
            await self.result("event.bind", {"event": f"OnImConnector{event}", "handler": f"{self.door}/ev"})
        await self.register(**register)
        await self.result("imconnector.activate", {"CONNECTOR": "acme_vk", "LINE": self.line, "ACTIVE": 1})
        data = {"ID": "1", "NAME": "acme", "URL": "https://vk.example/acme"}
        await self.result("imconnector.connector.data.set", {"CONNECTOR": "acme_vk", "LINE": self.line, "DATA": data})

    async def register(self, **over: object) -> Any:
        """Register the connector, with changes."""
        params = {"ID": "acme_vk", "NAME": "acme VK", "ICON": ICON, "PLACEMENT_HANDLER": f"{self.door}/settings"}
        return await self.result("imconnector.register", params | over)

    async def send(self, text: str = "Привет", *, user: str = "79", mid: str = "m1", **message: object) -> Json:
        """Send one client message and return its item of the answer."""
        item = {
            "user": {"id": user, "name": "Анна"},
            "message": {"id": mid, "date": 1790001000, "text": text, **message},
            "chat": {"id": user},
        }
        return await self.send_item(item)

    async def send_item(self, item: Json) -> Json:
        """Send one ready item and return its part of the answer."""
        params = {"CONNECTOR": "acme_vk", "LINE": self.line, "MESSAGES": [item]}
        told = await self.result("imconnector.send.messages", params)
        answer: Json = told["DATA"]["RESULT"][0]
        return answer

    async def deliver(self, event: Json, *mids: str) -> Any:
        """Report an operator's message of an event as delivered."""
        one = event["data"]["MESSAGES"][0]
        item = {"im": one["im"], "message": {"id": list(mids), "date": 1790001105}, "chat": one["chat"]}
        params = {"CONNECTOR": "acme_vk", "LINE": self.line, "MESSAGES": [item]}
        return await self.result("imconnector.send.status.delivery", params)


@asynccontextmanager
async def probing() -> AsyncIterator[Probe]:
    """Run a peer and a door for one test."""
    peer = Bitrix24Peer(Options())
    seen: list[Json] = []

    async def take(request: web.Request) -> web.Response:
        raw = await request.text()
        seen.append({**php.parse(raw), "path": request.path, "raw": raw, "event": php.parse(raw).get("event", "")})
        return web.Response(text="<p>ok</p>", content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    server = TestServer(app)
    await server.start_server()
    await peer.start()
    try:
        async with aiohttp.ClientSession() as http:
            yield Probe(peer, http, str(server.make_url("")).rstrip("/"), seen)
    finally:
        await peer.stop()
        await server.close()
