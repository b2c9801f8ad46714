"""The frame that all simulated peers share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.sandbox.frame import Options, Peer, json_answer, local_port
from tests.sandbox.hooks import Hook, Repeat


class Parrot(Peer):
    """A peer with one API route and one door that hooks are sent to."""

    name = "parrot"
    door_status = (500, 500, 200)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/api", self._api)
        router.add_post("/pages/door", self._door)

    async def _api(self, request: web.Request) -> web.StreamResponse:
        self.ledger.add("call", port=local_port(request))
        return json_answer({"ok": True})

    async def _door(self, request: web.Request) -> web.StreamResponse:
        item = self.ledger.add("door", text=await request.text())
        seen = len(self.ledger.since(0, "door"))
        return web.Response(status=self.door_status[min(seen, 3) - 1] if item else 500)

    async def say(self, body: dict[str, Any]) -> dict[str, Any]:
        self.hooks.send(Hook(self.base_url + "/pages/door", body["text"].encode(), policy=Repeat(pauses_s=(5.0, 5.0))))
        return {"id": "1"}


@asynccontextmanager
async def parrot() -> AsyncIterator[tuple[Parrot, aiohttp.ClientSession]]:
    peer = Parrot(Options())
    await peer.start()
    async with aiohttp.ClientSession(peer.base_url) as session:
        yield peer, session
    await peer.stop()


def in_loop(test: Callable[[Parrot, aiohttp.ClientSession], Awaitable[None]]) -> None:
    async def body() -> None:
        async with parrot() as (peer, session):
            await test(peer, session)

    asyncio.run(body())


def test_latency_acts_on_the_api_and_not_on_control() -> None:
    async def body(peer: Parrot, session: aiohttp.ClientSession) -> None:
        await session.post("/_sandbox/faults", json={"latency_ms": 200})
        began = time.monotonic()
        await session.get("/_sandbox/ledger")
        assert time.monotonic() - began < 0.15
        await session.get("/api")
        assert time.monotonic() - began > 0.2

    in_loop(body)


def test_a_lost_answer_was_accepted_and_the_connection_is_cut() -> None:
    async def body(peer: Parrot, session: aiohttp.ClientSession) -> None:
        await session.post("/_sandbox/faults", json={"lose_answers_rate": 1})
        with pytest.raises(aiohttp.ClientError):
            await session.get("/api")
        assert peer.ledger.since(0, "call")

    in_loop(body)


def test_outage_by_seconds_ends_by_itself() -> None:
    async def body(peer: Parrot, session: aiohttp.ClientSession) -> None:
        await session.post("/_sandbox/faults", json={"outage_s": 0.3})
        assert (await session.get("/api")).status == 503
        await asyncio.sleep(0.35)
        assert (await session.get("/api")).status == 200

    in_loop(body)


@pytest.mark.parametrize("wrong", [{"no_such": 1}, {"outage": "yes"}, {"latency_ms": True}])
def test_an_unknown_or_mistyped_fault_is_refused(wrong: dict[str, object]) -> None:
    async def body(peer: Parrot, session: aiohttp.ClientSession) -> None:
        assert (await session.post("/_sandbox/faults", json=wrong)).status == 400

    in_loop(body)


def test_hooks_are_repeated_by_the_policy_in_simulated_time() -> None:
    async def body(peer: Parrot, session: aiohttp.ClientSession) -> None:
        await session.post("/_sandbox/say", json={"text": "hello"})
        for expected in (1, 2, 3):
            while len(peer.ledger.since(0, "hook")) < expected:
                await asyncio.wait_for(peer.ledger.wait(2), 3)
            await session.post("/_sandbox/clock", json={"advance_s": 6})
        assert [item["attempt"] for item in peer.ledger.since(0, "hook")] == [1, 2, 3]
        await asyncio.sleep(0.05)
        assert peer.hooks.pending == 0

    in_loop(body)


def test_a_second_port_reaches_the_same_routes_and_can_be_told_apart() -> None:
    async def body(peer: Parrot, session: aiohttp.ClientSession) -> None:
        port = await peer.listen()
        await session.get(f"http://127.0.0.1:{port}/api")
        assert peer.ledger.items[-1]["port"] == port != peer.port

    in_loop(body)


def test_ledger_can_be_waited_for_and_is_forgotten_by_reset() -> None:
    async def body(peer: Parrot, session: aiohttp.ClientSession) -> None:
        waiting = asyncio.create_task(session.get("/_sandbox/ledger?since=0&wait_s=3"))
        await asyncio.sleep(0.05)
        await session.get("/api")
        assert len((await (await waiting).json())["items"]) == 1
        await session.post("/_sandbox/reset", json={})
        assert peer.ledger.items == []

    in_loop(body)
