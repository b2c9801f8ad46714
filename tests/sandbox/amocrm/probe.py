"""A product in miniature for trying the twin: a door that takes calls, tokens, and signed calls of the chats API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.sandbox.amocrm import signing
from tests.sandbox.amocrm.peer import AmoCrmPeer
from tests.sandbox.frame import Options

Json = dict[str, Any]
WAIT_S = 3.0
QUIET_S = 0.15
NOW_MS = 1_767_607_200_000


@dataclass(frozen=True)
class Heard:
    """One call that came to the door."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        """The body as an object."""
        told: Json = json.loads(self.body)
        return told


@dataclass
class Probe:
    """What a test holds: the running peer, the door, and what the integration knows."""

    peer: AmoCrmPeer
    http: aiohttp.ClientSession
    door: str
    heard: list[Heard] = field(default_factory=list)
    answer_after_s: float = 0.0
    answer_status: int = 200
    tokens: Json = field(default_factory=dict)
    scope: str = ""
    count: int = 0

    # -- what is seeded ----------------------------------------------------------------------------------------------

    @property
    def account(self) -> Json:
        """The seeded account."""
        return dict(self.peer.credentials()["account"])

    @property
    def integration(self) -> Json:
        """The integration's form."""
        return dict(self.peer.credentials()["integration"])

    @property
    def channel(self) -> Json:
        """The first channel."""
        return dict(self.peer.credentials()["channels"][0])

    async def control(self, path: str, body: Json | None = None) -> Json:
        """Call a control route; a refusal comes back as {"error"}."""
        async with self.http.post(f"{self.peer.base_url}/_sandbox/{path}", json=body or {}) as response:
            told: Json = await response.json()
            return told

    def ledger(self, kind: str) -> list[Json]:
        """List what the ledger has of one kind."""
        return self.peer.ledger.since(0, kind)

    async def calls(self, start: str, count: int = 1) -> list[Heard]:
        """Wait for so many calls whose path begins so; for none, wait a little and look."""
        until = asyncio.get_running_loop().time() + (WAIT_S if count else QUIET_S)
        while asyncio.get_running_loop().time() < until:
            found = [one for one in self.heard if one.path.startswith(start)]
            if count and len(found) >= count:
                break
            await asyncio.sleep(0.02)
        found = [one for one in self.heard if one.path.startswith(start)]
        assert len(found) == count, (start, len(found), count)
        return found

    async def look(self, kind: str) -> Json:
        """Wait for the first ledger item of a kind."""
        until = asyncio.get_running_loop().time() + WAIT_S
        while not (found := self.ledger(kind)) and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.02)
        assert found, kind
        return found[0]

    # -- OAuth and REST ----------------------------------------------------------------------------------------------

    async def fill_in(self) -> None:
        """Fill in the integration's form and the channel's address."""
        urls = {"redirect_uri": f"{self.door}/oauth", "disable_hook_url": f"{self.door}/disable"}
        await self.control("integration", {"client_id": self.integration["client_id"], **urls})
        await self.control("channel", {"id": self.channel["id"], "hook_url": f"{self.door}/chats/:scope_id"})

    async def token(self, grant_type: str, *, host: str = "", **over: str) -> tuple[int, Json]:
        """Ask the token endpoint of the account's host."""
        form = self.integration
        body = {name: form[name] for name in ("client_id", "client_secret", "redirect_uri")}
        url = f"{self.peer.base_url}/{host or self.account['host']}/oauth2/access_token"
        async with self.http.post(url, json={**body, "grant_type": grant_type, **over}) as response:
            return response.status, await response.json()

    async def install(self) -> None:
        """Install from the marketplace and exchange the code."""
        await self.fill_in()
        await self.control("install")
        status, self.tokens = await self.token("authorization_code", code=self.heard[-1].query["code"])
        assert status == 200, self.tokens

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str = "", headers: Json | None = None, host: str = ""
    ) -> tuple[int, Any]:
        """Call REST v4 with the integration's token."""
        sent = {"Authorization": f"Bearer {token or self.tokens.get('access_token', '')}", **(headers or {})}
        url = f"{self.peer.base_url}/{host or self.account['host']}/api/v4/{path}"
        async with self.http.request(method, url, json=body, headers=sent) as response:
            if response.content_type == "text/html" or response.status in (202, 204):
                return response.status, await response.text()
            return response.status, await response.json(content_type=None)

    async def result(self, method: str, path: str, body: Any = None) -> Any:
        """Call and return the body; a refusal fails the test."""
        status, told = await self.call(method, path, body)
        assert status < 300, (method, path, status, told)
        return told

    # -- chats -------------------------------------------------------------------------------------------------------

    async def chat(
        self,
        method: str,
        tail: str,
        body: Any = None,
        *,
        secret: str = "",
        at_s: float = 0.0,
        over: Json | None = None,
    ) -> tuple[int, Any]:
        """Call the chats API; tail is what follows /v2/origin/custom/. `over` replaces headers after signing."""
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        path = f"/v2/origin/custom/{tail}"
        sent = self.peer.now() + at_s
        headers = {
            "Date": format_datetime(datetime.fromtimestamp(sent, UTC)),
            "Content-Type": "application/json",
            "Content-MD5": signing.md5(raw),
        }
        secret = secret or self.channel["secret"]
        headers["X-Signature"] = signing.request_signature(secret, method, headers, path.partition("?")[0])
        headers |= over or {}
        url = f"{self.peer.cloud.chats_url}{path}"
        async with self.http.request(method, url, data=raw, headers=headers) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    async def connect(self) -> None:
        """Install, and connect the channel."""
        await self.install()
        body = {"account_id": self.account["amojo_id"], "hook_api_version": "v2", "title": "acme"}
        status, told = await self.chat("POST", f"{self.channel['id']}/connect", body)
        assert status == 200, told
        self.scope = told["scope_id"]

    def message(self, text: str = "Здравствуйте", **over: Any) -> Json:
        """Build a new_message of a client."""
        self.count += 1
        payload = {
            "timestamp": NOW_MS // 1000 + self.count,
            "msec_timestamp": NOW_MS + self.count * 1000,
            "msgid": f"m{self.count}",
            "conversation_id": "vk-1",
            "silent": False,
            "sender": {"id": "u1", "name": "Анна"},
            "message": {"type": "text", "text": text},
        }
        kept = {name: value for name, value in {**payload, **over}.items() if value is not None}
        return {"event_type": "new_message", "payload": kept}

    async def post(self, body: Json) -> Json:
        """Send a message; a refusal fails the test. Returns the inside of new_message."""
        status, told = await self.chat("POST", self.scope, body)
        assert status == 200, told
        return dict(told.get("new_message", {}))

    async def refused(self, body: Any) -> str:
        """Send what must be refused with 400 and return the description."""
        status, told = await self.chat("POST", self.scope, body)
        assert status == 400 and told["error_code"] == 400, (status, told)
        return str(told["error_description"])


@asynccontextmanager
async def probing() -> AsyncIterator[Probe]:
    """Start the peer and the door for one test."""
    app = web.Application()
    peer = AmoCrmPeer(Options())
    await peer.start()
    server = TestServer(app)
    async with aiohttp.ClientSession() as http:
        probe = Probe(peer, http, "")

        async def hear(request: web.Request) -> web.Response:
            query = {name: values[0] for name, values in parse_qs(urlsplit(request.path_qs).query).items()}
            body = await request.read()
            probe.heard.append(Heard(request.method, request.path, query, dict(request.headers), body))
            await asyncio.sleep(probe.answer_after_s)
            return web.Response(status=probe.answer_status)

        async def photo(request: web.Request) -> web.Response:
            return web.Response(body=b"\x89PNG picture", content_type="image/png")

        app.router.add_get("/files/photo.png", photo)
        app.router.add_route("*", "/{tail:.*}", hear)
        await server.start_server()
        probe.door = f"http://127.0.0.1:{server.port}"
        try:
            yield probe
        finally:
            await server.close()
            await peer.stop()
