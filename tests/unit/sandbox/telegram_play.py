"""A stage for the tests of the Telegram twin: a started twin, its seeded bot and a client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.sandbox.frame import Options
from tests.sandbox.telegram_bot.peer import TelegramPeer
from tests.sandbox.telegram_bot.state import Bot

ANNA = 500100


@dataclass(slots=True)
class Stage:
    """What a scene works with."""

    peer: TelegramPeer
    session: aiohttp.ClientSession

    @property
    def bot(self) -> Bot:
        """Return the seeded bot."""
        return next(iter(self.peer.bots.values()))

    def url(self, method: str) -> str:
        """Return the address of a method."""
        return f"{self.peer.base_url}/bot{self.bot.token}/{method}"

    async def raw(self, method: str, **params: Any) -> dict[str, Any]:
        """Call and return the whole body."""
        answer = await self.session.post(self.url(method), json=params)
        body: dict[str, Any] = await answer.json()
        assert body.get("error_code", 200) == answer.status
        return body

    async def call(self, method: str, **params: Any) -> Any:
        """Call and return the result."""
        body = await self.raw(method, **params)
        assert body["ok"], body
        return body["result"]

    async def refused(self, method: str, **params: Any) -> tuple[int, str]:
        """Call and return code and text of the refusal."""
        body = await self.raw(method, **params)
        assert not body["ok"], body
        return body["error_code"], body["description"]

    async def say(self, **body: Any) -> dict[str, Any]:
        """Let Анна do something."""
        return await self.peer.say({"user": ANNA, **body})

    def queued(self) -> list[dict[str, Any]]:
        """Return the updates that wait."""
        return self.bot.queue.waiting()


def play(scene: Callable[[Stage], Awaitable[None]], *, with_spec: bool = True) -> None:
    """Run a scene; without the spec only the twin's own rules judge the requests."""

    async def body() -> None:
        peer = TelegramPeer(Options())
        peer.contract.is_on = peer.contract.is_on and with_spec
        await peer.start()
        try:
            async with aiohttp.ClientSession() as session:
                await scene(Stage(peer, session))
        finally:
            await peer.stop()

    asyncio.run(body())


@dataclass(slots=True)
class Door:
    """A webhook that answers as told: `answers` are (status, headers) to give in turn, then 200."""

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    hold: asyncio.Event | None = None
    at_once: int = 0

    async def take(self, request: web.Request) -> web.Response:
        """Take one hook."""
        self.bodies.append(await request.json())
        self.headers.append(dict(request.headers))
        self.at_once += 1
        if self.hold:
            await self.hold.wait()
        status, headers = self.answers.pop(0) if self.answers else (200, {})
        return web.Response(status=status, headers=headers)

    async def until(self, count: int) -> None:
        """Wait until so many hooks have come."""
        async with asyncio.timeout(20):
            while len(self.bodies) < count:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def door() -> AsyncIterator[Door]:
    """Open a door on loopback."""
    opened = Door()
    app = web.Application()
    app.router.add_post("/hook", opened.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    opened.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield opened
    finally:
        if opened.hold:
            opened.hold.set()
        await runner.cleanup()
