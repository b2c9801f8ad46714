"""Outgoing hooks of the sandbox: one sender for all peers; each peer brings the retry rule of the real service.

A peer builds a `Hook` and gives it to `HookSender.send` (in the background) or awaits `HookSender.deliver`. Hooks with
the same `lane` leave one after another; without a lane they are independent.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import aiohttp

if TYPE_CHECKING:
    from tests.sandbox.frame import Peer

REORDER_BY_S = 0.3


@dataclass(frozen=True, slots=True)
class Answer:
    """What the product's door said. `status` is 0 when there was no HTTP answer (refused, cut, time-out)."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""


class RetryPolicy(Protocol):
    """The retry rule of one real service."""

    @property
    def timeout_s(self) -> float:
        """Return how long the service waits for an answer."""

    def accepted(self, answer: Answer) -> bool:
        """Tell whether the service takes this answer as success."""

    def pause_s(self, attempt: int, answer: Answer) -> float | None:
        """Return seconds until the next try after failed try number `attempt` (1, 2, ...), or None to give up."""

    def headers(self, attempt: int) -> Mapping[str, str]:
        """Return additional headers of try number `attempt` (1 = first)."""


@dataclass(frozen=True, slots=True)
class Once:
    """Try once, success = any 2xx, never repeat."""

    timeout_s: float = 10.0

    def accepted(self, answer: Answer) -> bool:
        """Take any 2xx."""
        return 200 <= answer.status < 300

    def pause_s(self, attempt: int, answer: Answer) -> float | None:
        """Never repeat."""
        return None

    def headers(self, attempt: int) -> Mapping[str, str]:
        """Add nothing."""
        return {}


@dataclass(frozen=True, slots=True)
class Repeat(Once):
    """Repeat after each pause of a list, success = any 2xx."""

    pauses_s: tuple[float, ...] = ()

    def pause_s(self, attempt: int, answer: Answer) -> float | None:
        """Give the next pause of the list."""
        return self.pauses_s[attempt - 1] if attempt <= len(self.pauses_s) else None


@dataclass(frozen=True, slots=True)
class Hook:
    """One outgoing call. `on_answer(attempt, answer)` hears every try; `alive()` False drops it before the next try."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    policy: RetryPolicy = field(default_factory=Once)
    lane: str = ""
    label: str = ""
    account: str = ""
    method: str = "POST"
    on_answer: Callable[[int, Answer], None] | None = None
    alive: Callable[[], bool] | None = None


class HookSender:
    """Sends hooks for one peer, with the faults of that peer (delay, repeat, reorder, drop)."""

    def __init__(self, peer: Peer, hook_base: str = "") -> None:
        self._peer = peer
        self._hook_base = hook_base.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._lanes: dict[str, asyncio.Lock] = {}
        self._dice = random.Random(7)

    @property
    def pending(self) -> int:
        """Count hooks that are on the way or wait for their next try."""
        return len(self._tasks)

    def send(self, hook: Hook) -> None:
        """Deliver in the background. Must be called inside the loop."""
        faults = self._peer.faults
        if faults.only_account not in ("", hook.account):
            self._start(self.deliver(hook))
            return
        if faults.drop_hooks_rate and self._dice.random() < faults.drop_hooks_rate:
            return
        copies = 1 + (self._dice.random() < faults.repeat_hooks_rate)
        late_s = REORDER_BY_S if self._dice.random() < faults.reorder_hooks_rate else 0.0
        for _ in range(copies):
            self._start(self._deliver_later(hook, late_s))

    def _start(self, work: Coroutine[Any, Any, object]) -> None:
        task: asyncio.Task[object] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver_later(self, hook: Hook, late_s: float) -> None:
        pause_s = late_s + self._peer.faults.hook_delay_ms / 1000
        if pause_s:
            await asyncio.sleep(pause_s)
        await self.deliver(hook)

    async def deliver(self, hook: Hook) -> Answer:
        """Send with all retries and return the last answer."""
        if not hook.lane:
            return await self._with_retries(hook)
        async with self._lanes.setdefault(hook.lane, asyncio.Lock()):
            return await self._with_retries(hook)

    async def _with_retries(self, hook: Hook) -> Answer:
        attempt = 0
        while True:
            attempt += 1
            answer = await self.once(hook, attempt)
            if hook.on_answer:
                hook.on_answer(attempt, answer)
            if hook.policy.accepted(answer):
                return answer
            pause_s = hook.policy.pause_s(attempt, answer)
            if pause_s is None:
                return answer
            await self._peer.clock.sleep(pause_s * self._peer.faults.hook_retry_scale)
            if hook.alive and not hook.alive():
                return answer

    async def once(self, hook: Hook, attempt: int = 1) -> Answer:
        """Make one try; never raises for network trouble. Redirects are not followed."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        headers = {**hook.headers, **hook.policy.headers(attempt)}
        timeout = aiohttp.ClientTimeout(total=hook.policy.timeout_s)
        try:
            async with self._session.request(
                hook.method,
                self._rebased(hook.url),
                data=hook.body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                answer = Answer(response.status, await response.read(), dict(response.headers))
        except (aiohttp.ClientError, TimeoutError, ValueError) as trouble:
            answer = Answer(0, trouble=type(trouble).__name__)
        self._peer.ledger.add(
            "hook",
            account=hook.account,
            label=hook.label,
            attempt=attempt,
            status=answer.status,
            trouble=answer.trouble,
        )
        return answer

    def _rebased(self, url: str) -> str:
        """Replace scheme and host by --hook-base, so that a product with a public https address is reached on loopback."""
        if not self._hook_base:
            return url
        base, parts = urlsplit(self._hook_base), urlsplit(url)
        return urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + parts.path, parts.query, ""))

    async def stop(self) -> None:
        """Cancel what is on the way and close the session."""
        self.cancel()
        if self._session:
            await self._session.close()
            self._session = None

    def cancel(self) -> None:
        """Forget every hook that is on the way."""
        for task in list(self._tasks):
            task.cancel()
        self._lanes.clear()
