"""The frame that all simulated peers share."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from threading import Thread
from typing import Any

import aiohttp
import pytest
import requests
from aiohttp import web

from tests.sandbox.frame import Options, Peer, json_answer, local_port
from tests.sandbox.hooks import Hook, Repeat
from tests.sandbox.run import ROOT, start


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


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_process_ends_on_stop_even_with_a_waiting_call() -> None:
    running = start()
    base = next(one["base_url"] for one in running.addresses.values() if isinstance(one, dict))

    def wait() -> None:
        with contextlib.suppress(requests.ConnectionError):
            requests.get(f"{base}/_sandbox/ledger?wait_s=60", timeout=70)

    waiting = Thread(target=wait)
    waiting.start()
    time.sleep(0.3)
    began = time.monotonic()
    running.stop()
    waiting.join()
    assert running.process.returncode == 0 and time.monotonic() - began < 4


def test_the_process_ends_when_its_parent_dies() -> None:
    code = (
        "import os, subprocess, sys\n"
        "command = [sys.executable, '-m', 'tests.sandbox', '--json', '--with-parent']\n"
        "child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)\n"
        "print(child.stdout.readline(), flush=True)\n"
        "os._exit(0)\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    pid = json.loads(printed.stdout)["pid"]
    until = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not is_running(pid)
