"""Events to the outside: Callback API servers with their retries and suspension, and the Long Poll queue (vk.md 3.1, 3.6)."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from tests.sandbox.hooks import Answer, Hook
from tests.sandbox.vk.state import Community, Json, Server

if TYPE_CHECKING:
    from tests.sandbox.vk.peer import VkPeer

# VK publishes neither the pauses nor the counts (vk.md 3.1): these are the twin's own.
PAUSES_S = (2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0)
SUSPEND_AFTER = 5
SUSPEND_S = 60.0
FAIL_AFTER = 10
LONGEST_RETRY_AFTER_S = 3 * 3600
SLOW_DOWN = (410, 429, 503)
JSON_HEADERS = {"Content-Type": "application/json", "User-Agent": "VKTestPlatform/callback"}


@dataclass(frozen=True, slots=True)
class CallbackPolicy:
    """VK's rule for one server: success is 200 with exactly "ok"."""

    peer: VkPeer
    server: Server
    timeout_s: float = 10.0

    def accepted(self, answer: Answer) -> bool:
        """Take only 200 and the body ok; "remove" also ends the matter."""
        return answer.status == 200 and answer.body in (b"ok", b"remove")

    def pause_s(self, attempt: int, answer: Answer) -> float | None:
        """Wait longer each time; obey Retry-After; give up when the server has failed."""
        if self.server.status != "ok" or attempt > len(PAUSES_S):
            return None
        asked_s = retry_after_s(answer) if answer.status in SLOW_DOWN else None
        if asked_s is not None:
            return asked_s
        return max(PAUSES_S[attempt - 1], self.server.suspended_until - self.peer.now())

    def headers(self, attempt: int) -> Mapping[str, str]:
        """Number the repeats."""
        return {"X-Retry-Counter": str(attempt - 1)} if attempt > 1 else {}


def retry_after_s(answer: Answer) -> float | None:
    """Read Retry-After, an HTTP date less than three hours ahead. The date is the product's, so real time counts."""
    value = next((value for name, value in answer.headers.items() if name.lower() == "retry-after"), "")
    try:
        ahead_s = parsedate_to_datetime(value).timestamp() - time.time()
    except (TypeError, ValueError):
        return None
    return max(ahead_s, 0.0) if ahead_s < LONGEST_RETRY_AFTER_S else None


class Events:
    """Hands each event of a community to its servers and to Long Poll."""

    def __init__(self, peer: VkPeer) -> None:
        self._peer = peer
        self._arrived = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def emit(self, community: Community, kind: str, body: Json) -> None:
        """Send one event everywhere it is wanted; all get the same event_id."""
        event = {"type": kind, "group_id": community.id, "event_id": secrets.token_hex(20), "object": body}
        poll = community.longpoll
        if poll.is_enabled and poll.events.get(kind):
            poll.updates.append({**event, "v": poll.api_version})
            poll.last += 1
            self._arrived.set()
            self._arrived = asyncio.Event()
        for server in community.servers.values():
            if server.status == "ok" and server.events.get(kind):
                self._send(community, server, event)

    async def wait(self, seconds: float) -> None:
        """Return when any Long Poll queue grew, or after so many seconds."""
        try:
            await asyncio.wait_for(self._arrived.wait(), seconds)
        except TimeoutError:
            return

    def _send(self, community: Community, server: Server, event: Json) -> None:
        suspended_s = server.suspended_until - self._peer.now()
        if suspended_s <= 0:
            self._peer.hooks.send(self._hook(community, server, event))
            return
        task = asyncio.create_task(self._send_later(community, server, event, suspended_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_later(self, community: Community, server: Server, event: Json, pause_s: float) -> None:
        await self._peer.clock.sleep(pause_s)
        if server.status == "ok":
            self._peer.hooks.send(self._hook(community, server, event))

    def _hook(self, community: Community, server: Server, event: Json) -> Hook:
        def on_answer(attempt: int, answer: Answer) -> None:
            self._heard(community, server, answer)

        return Hook(
            url=server.url,
            body=envelope(server, event),
            headers=JSON_HEADERS,
            policy=CallbackPolicy(self._peer, server),
            label=str(event["type"]),
            account=str(community.id),
            on_answer=on_answer,
            alive=lambda: server.status == "ok" and community.servers.get(server.id) is server,
        )

    def _heard(self, community: Community, server: Server, answer: Answer) -> None:
        """Count failures in a row: five suspend the server for a minute, ten end it."""
        if answer.status == 200 and answer.body == b"remove":
            community.servers.pop(server.id, None)
            return
        if answer.status == 200 and answer.body == b"ok":
            server.failures, server.suspended_until = 0, 0.0
            return
        if answer.status in SLOW_DOWN and retry_after_s(answer) is not None:
            return
        server.failures += 1
        if server.failures >= FAIL_AFTER:
            server.status = "failed"
        elif server.failures >= SUSPEND_AFTER:
            server.suspended_until = self._peer.now() + SUSPEND_S * self._peer.faults.hook_retry_scale

    def confirm(self, community: Community, server: Server) -> None:
        """Ask the server for the confirmation code, in the background."""
        server.status = "wait"
        task = asyncio.create_task(self._confirm(community, server))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _confirm(self, community: Community, server: Server) -> None:
        event = {"type": "confirmation", "group_id": community.id, "event_id": secrets.token_hex(20)}
        hook = Hook(server.url, envelope(server, event), JSON_HEADERS, label="confirmation", account=str(community.id))
        answer = await self._peer.hooks.once(hook)
        is_right = answer.status == 200 and answer.body == community.confirmation_code.encode()
        server.status = "ok" if is_right else "failed"
        server.failures, server.suspended_until = 0, 0.0

    def cancel(self) -> None:
        """Forget what waits."""
        for task in list(self._tasks):
            task.cancel()


def envelope(server: Server, event: Json) -> bytes:
    """Write the body for one server: its version, its secret."""
    body = {**event, "v": server.api_version}
    if server.secret:
        body["secret"] = server.secret
    return json.dumps(body, ensure_ascii=False).encode()
