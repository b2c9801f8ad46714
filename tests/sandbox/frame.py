"""What all simulated peers share: `Peer` with its ledger, faults, clock, files, hook sender and control routes.

A peer is a subclass of `Peer` in `tests/sandbox/<key>/peer.py`, made by `make_peer(options) -> Peer` there. It must set
`name`, and implement `add_routes`, `credentials`, `say`, `make` and `forget`. It reads time only through `self.now()`,
sends hooks only through `self.hooks`, and writes into `self.ledger` whatever it receives or shows. Faults act on every
route except those under `PLAIN_PREFIXES` (control, pages, files).

Control routes, the same for every peer: POST /_sandbox/say, GET /_sandbox/ledger (?since=n&kind=&wait_s=),
GET|POST /_sandbox/faults, POST /_sandbox/reset, POST /_sandbox/make, POST /_sandbox/clock, GET /_sandbox/credentials.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from aiohttp import web

from tests.sandbox.files import FileStore
from tests.sandbox.hooks import HookSender

HOST = "127.0.0.1"
PLAIN_PREFIXES = ("/_sandbox/", "/phone", "/files/", "/pages/")
BODY_LIMIT_BYTES = 220 * 1024 * 1024
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BadControl(Exception):
    """A control call that makes no sense; answered with 400 and this text."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to start: fixed ports by peer name (missing = any free), and where hooks go whatever host was registered."""

    ports: Mapping[str, int] = field(default_factory=dict)
    hook_base: str = ""


@dataclass(slots=True)
class Faults:
    """Troubles a peer can be told to have. Rates are 0..1, `own` holds switches that only one peer knows.

    With `only_account` they act on one account alone, for peers that override `account_of`.
    """

    only_account: str = ""
    latency_ms: float = 0.0
    latency_jitter_ms: float = 0.0
    error_rate: float = 0.0
    outage: bool = False
    outage_s: float = 0.0  # counts from the moment it is set, real seconds
    outage_mode: str = "503"  # 503 | reset | hang
    lose_answers_rate: float = 0.0
    expire_tokens: bool = False
    rate_limit: bool = False  # every API call answers "too many requests"
    repeat_hooks_rate: float = 0.0
    reorder_hooks_rate: float = 0.0
    drop_hooks_rate: float = 0.0
    hook_delay_ms: float = 0.0
    hook_retry_scale: float = 1.0  # 0.01 = retries come a hundred times sooner
    own: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """Everything the peer received or showed, in order. Items are numbered from 1."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.items: list[dict[str, Any]] = []
        self._waiting: list[asyncio.Future[None]] = []

    def add(self, kind: str, **values: Any) -> dict[str, Any]:
        """Append an item: `at` is simulated, `real_at` real Unix seconds."""
        item = {"n": len(self.items) + 1, "at": self._now(), "real_at": time.time(), "kind": kind, **values}
        self.items.append(item)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()
        return item

    def since(self, n: int, kind: str = "") -> list[dict[str, Any]]:
        """Return the items after number n, of one kind when given."""
        return [item for item in self.items[max(n, 0) :] if not kind or item["kind"] == kind]

    async def wait(self, seconds: float) -> None:
        """Return at the next item or after so many seconds."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(waiter, seconds)


class Clock:
    """Simulated time: real time plus what was advanced."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self._moved = asyncio.Event()

    def now(self) -> float:
        """Return simulated Unix seconds."""
        return time.time() + self.ahead_s

    def advance(self, seconds: float) -> None:
        """Move forward and wake those who sleep by this clock."""
        self.ahead_s += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Sleep in simulated time."""
        until = self.now() + seconds
        while (left_s := until - self.now()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), left_s)


def json_answer(body: Any, status: int = 200) -> web.Response:
    """Answer JSON with readable Cyrillic."""
    return web.Response(
        text=json.dumps(body, ensure_ascii=False), status=status, content_type="application/json", charset="utf-8"
    )


def local_port(request: web.Request) -> int:
    """Return the port the request came to: a peer with several ports (one per portal) finds the portal by it."""
    return int(request["local_port"])


class Peer:
    """One simulated service. Subclasses override what is named in the module's text."""

    name = "peer"

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock = Clock()
        self.ledger = Ledger(self.clock.now)
        self.faults = Faults()
        self.files = FileStore()
        self.hooks = HookSender(self, options.hook_base)
        self.others: Mapping[str, Peer] = {}
        self.port = 0
        self._outage_until = 0.0
        self._dice = random.Random(11)
        self._runner: web.AppRunner | None = None

    # -- what a peer overrides ---------------------------------------------------------------------------------------

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the API and pages of the service."""

    async def ready(self) -> None:
        """Seed the state; ports are open now, so base_url is known."""

    def credentials(self) -> dict[str, Any]:
        """Return what the product needs to reach the seeded account."""
        return {"base_url": self.base_url}

    async def say(self, body: dict[str, Any]) -> dict[str, Any]:
        """Let a customer (or operator) do something; return {"id": ...}. Raises BadControl."""
        raise BadControl(f"{self.name} cannot say anything")

    async def make(self, body: dict[str, Any]) -> dict[str, Any]:
        """Make one more account and return its credentials. Raises BadControl."""
        raise BadControl(f"{self.name} cannot make accounts")

    async def forget(self, *, everything: bool) -> None:
        """Forget conversations; with `everything` also the accounts, back to the seed."""

    async def account_of(self, request: web.Request) -> str:
        """Tell whose request this is (group id, portal, bot id), so that faults can act on one account."""
        return ""

    def faults_changed(self, changed: Mapping[str, Any]) -> None:
        """Hear which faults were just set, for those that are actions (expire_tokens)."""

    def fault_answer(self, kind: str) -> web.Response:
        """Answer "error" (error_rate), "outage" or "rate_limit" in the shape of the service."""
        return web.Response(status=429 if kind == "rate_limit" else 502 if kind == "error" else 503, text=kind)

    def phone(self, conversation: str) -> dict[str, Any] | None:
        """Show the customer's side for the phone page, see tests/sandbox/phone/routes.py. None = no phone here."""
        return None

    # -- life --------------------------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """Return http://127.0.0.1:<port> without a slash."""
        return f"http://{HOST}:{self.port}"

    def now(self) -> float:
        """Return simulated Unix seconds."""
        return self.clock.now()

    async def start(self) -> None:
        """Open the port and seed the state."""
        app = web.Application(middlewares=[self._with_faults], client_max_size=BODY_LIMIT_BYTES)
        self._add_control(app.router)
        self.add_routes(app.router)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        self.port = await self.listen(self.options.ports.get(self.name, 0))
        await self.ready()

    async def listen(self, port: int = 0) -> int:
        """Open one more port on the same routes and return it; `local_port` tells them apart."""
        assert self._runner is not None
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
        await web.SockSite(self._runner, sock, backlog=512).start()
        return int(sock.getsockname()[1])

    async def stop(self) -> None:
        """Stop sending and close all ports."""
        await self.hooks.stop()
        if self._runner:
            await self._runner.cleanup()

    # -- faults ------------------------------------------------------------------------------------------------------

    @web.middleware
    async def _with_faults(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.transport is None:
            return web.Response()  # the caller has gone before anybody looked
        request["arrived_s"] = time.monotonic()
        # noted now: a caller who does not wait for a slow answer is served all the same, as by the real service
        request["local_port"] = request.transport.get_extra_info("sockname")[1]
        if request.path.startswith(PLAIN_PREFIXES):
            return await handler(request)
        faults = self.faults
        if faults.only_account and await self.account_of(request) != faults.only_account:
            return await handler(request)
        if faults.latency_ms or faults.latency_jitter_ms:
            await asyncio.sleep((faults.latency_ms + self._dice.random() * faults.latency_jitter_ms) / 1000)
        if faults.outage or time.monotonic() < self._outage_until:
            return await self._outage(request)
        if faults.rate_limit:
            return self.fault_answer("rate_limit")
        if faults.error_rate and self._dice.random() < faults.error_rate:
            return self.fault_answer("error")
        response = await handler(request)
        if faults.lose_answers_rate and self._dice.random() < faults.lose_answers_rate:
            return cut(request)
        return response

    async def _outage(self, request: web.Request) -> web.StreamResponse:
        if self.faults.outage_mode == "hang":
            await asyncio.sleep(120)
        if self.faults.outage_mode in {"hang", "reset"}:
            return cut(request)
        return self.fault_answer("outage")

    def set_faults(self, changed: Mapping[str, Any]) -> None:
        """Change some faults. Raises BadControl for an unknown name or a wrong type."""
        known = {f.name: type(getattr(self.faults, f.name)) for f in fields(Faults)}
        for key, value in changed.items():
            kind = known.get(key)
            if kind is None:
                raise BadControl(f"unknown fault {key}; known: {', '.join(sorted(known))}")
            if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
                value = float(value)
            if not isinstance(value, kind):
                raise BadControl(f"fault {key} must be {kind.__name__}")
            setattr(self.faults, key, value)
        if "outage_s" in changed:
            self._outage_until = time.monotonic() + self.faults.outage_s
        self.faults_changed(changed)

    # -- control -----------------------------------------------------------------------------------------------------

    def _add_control(self, router: web.UrlDispatcher) -> None:
        router.add_post("/_sandbox/say", self._control(self.say))
        router.add_post("/_sandbox/make", self._control(self.make))
        router.add_post("/_sandbox/faults", self._control(self._post_faults))
        router.add_post("/_sandbox/reset", self._control(self._post_reset))
        router.add_post("/_sandbox/clock", self._control(self._post_clock))
        router.add_get("/_sandbox/faults", self._get_faults)
        router.add_get("/_sandbox/ledger", self._get_ledger)
        router.add_get("/_sandbox/credentials", self._get_credentials)
        router.add_get("/files/{key}/{name}", self._get_file)

    def _control(self, action: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                body = await request.json() if request.can_read_body else {}
                if not isinstance(body, dict):
                    raise BadControl("the body must be a JSON object")
                return json_answer(await action(body))
            except (BadControl, json.JSONDecodeError) as trouble:
                return json_answer({"error": str(trouble)}, status=400)

        return handle

    async def _post_faults(self, body: dict[str, Any]) -> dict[str, Any]:
        self.set_faults(body)
        return asdict(self.faults)

    async def _post_reset(self, body: dict[str, Any]) -> dict[str, Any]:
        self.hooks.cancel()
        self.ledger.items.clear()
        self.faults = Faults()
        self._outage_until = 0.0
        await self.forget(everything=bool(body.get("all")))
        return {"ok": True, **self.credentials()}

    async def _post_clock(self, body: dict[str, Any]) -> dict[str, Any]:
        seconds = body.get("advance_s", 0)
        if not isinstance(seconds, int | float) or seconds < 0:
            raise BadControl("advance_s must be a number, not negative")
        self.clock.advance(seconds)
        return {"now": self.now()}

    async def _get_faults(self, request: web.Request) -> web.StreamResponse:
        return json_answer(asdict(self.faults))

    async def _get_credentials(self, request: web.Request) -> web.StreamResponse:
        return json_answer(self.credentials())

    async def _get_ledger(self, request: web.Request) -> web.StreamResponse:
        since, kind = int(request.query.get("since", 0)), request.query.get("kind", "")
        wait_until = time.monotonic() + float(request.query.get("wait_s", 0))
        while not (items := self.ledger.since(since, kind)) and (left_s := wait_until - time.monotonic()) > 0:
            await self.ledger.wait(left_s)
        return json_answer({"items": items, "last": len(self.ledger.items)})

    async def _get_file(self, request: web.Request) -> web.StreamResponse:
        stored = self.files.get(request.match_info["key"])
        if stored is None:
            raise web.HTTPNotFound(text="no such file")
        return web.Response(body=stored.content, content_type=stored.content_type)


def cut(request: web.Request) -> web.StreamResponse:
    """Cut the connection without an answer."""
    if request.transport:
        request.transport.abort()
    return web.Response()
