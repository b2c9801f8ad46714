"""The customer's phone, served at /phone of the VK peer's port; it shows every peer whose `phone()` is not None.

Shape of `Peer.phone(conversation)`: {"title", "color", "accounts": [{"id", "name"}],
"chats": [{"id", "who", "avatar", "account", "account_name", "last", "at", "unread", "say": {...}}]} and, for a known
conversation, "is_typing" and "messages": [{"id", "number", "is_mine", "author", "text", "at", "is_edited", "is_read",
"attachments": [{"type", "url", "name", "size"}], "quote": {"text"} | None, "forwarded": [{"text"}], "buttons": [label]}].
`is_mine` = written by the customer. What the customer does goes to `Peer.say` of that peer: the chat's "say" plus
{"text", "attachments": [{"type": photo|doc|voice, "file": key}], "reply_to": number, "edit": id, "delete": id,
"read": true, "typing": true}; a new customer is {"account", "user": name}. Files are put into `Peer.files` first.
"""

from __future__ import annotations

import asyncio
import mimetypes
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.sandbox.frame import BadControl, Peer, json_answer

HERE = Path(__file__).parent
LONGEST_WAIT_S = 25.0


class PhoneRoutes:
    """The page and the few calls that it makes."""

    def __init__(self, host: Peer) -> None:
        self._host = host

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add everything under /phone."""
        router.add_get("/phone", self._page)
        router.add_get("/phone/{name:app.js|style.css}", self._static)
        router.add_get("/phone/state", self._state)
        router.add_post("/phone/say", self._say)
        router.add_post("/phone/files", self._file)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=(HERE / "page.html").read_bytes(), content_type="text/html", charset="utf-8")

    async def _static(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        kind = "text/javascript" if name.endswith(".js") else "text/css"
        return web.Response(body=(HERE / name).read_bytes(), content_type=kind, charset="utf-8")

    def _peers(self) -> dict[str, Peer]:
        return dict(self._host.others) or {self._host.name: self._host}

    def _peer(self, name: str) -> Peer:
        peer = self._peers().get(name)
        if peer is None:
            raise web.HTTPBadRequest(text=f"no network {name}")
        return peer

    async def _state(self, request: web.Request) -> web.StreamResponse:
        """Answer at once when something happened since `seen`, else at the next happening."""
        seen = request.query.get("seen", "")
        if seen == self._seen():
            waiting = [asyncio.ensure_future(peer.ledger.wait(LONGEST_WAIT_S)) for peer in self._peers().values()]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for one in waiting:
                one.cancel()
        wanted, conversation = request.query.get("network", ""), request.query.get("chat", "")
        networks: dict[str, Any] = {}
        for name, peer in self._peers().items():
            shown = peer.phone(conversation if name == wanted else "")
            if shown is not None:
                networks[name] = shown
        return json_answer({"seen": self._seen(), "now": self._host.now(), "networks": networks})

    def _seen(self) -> str:
        return "-".join(str(len(peer.ledger.items)) for peer in self._peers().values())

    async def _say(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        try:
            return json_answer(await self._peer(str(body.get("network"))).say(body["say"]))
        except BadControl as trouble:
            return json_answer({"error": str(trouble)}, status=400)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        peer = self._peer(request.query.get("network", ""))
        field = (await request.post()).get("file")
        if not isinstance(field, web.FileField):
            raise web.HTTPBadRequest(text="file is missing")
        name = field.filename
        kind = field.content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        stored = peer.files.put(name, kind, field.file.read())
        return json_answer({"file": stored.key, "name": stored.name})
