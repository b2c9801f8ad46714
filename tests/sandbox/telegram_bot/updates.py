"""The queue of updates of one bot, and its two ways out: getUpdates and the webhook (telegram.md A2)."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.sandbox.hooks import Answer, Hook
from tests.sandbox.telegram_bot.errors import OTHER_POLL, WEBHOOK_ACTIVE, conflict
from tests.sandbox.telegram_bot.state import DAY_S, HOUR_S, Json

if TYPE_CHECKING:
    from tests.sandbox.frame import Peer

KINDS = (
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "callback_query",
    "my_chat_member",
    "chat_member",
    "message_reaction",
    "message_reaction_count",
)
NOT_BY_DEFAULT = {"chat_member", "message_reaction", "message_reaction_count"}
GONE_FOR_S = 23 * HOUR_S
HOOK_TIMEOUT_S = 60.0
RETRY_AFTER_MAX_S = 3600


@dataclass(frozen=True, slots=True)
class Update:
    """One update; updates with the same `key` leave one after another."""

    id: int
    kind: str
    body: Json
    key: str
    created_at: float

    def json(self) -> Json:
        """Build the type Update."""
        return {"update_id": self.id, self.kind: self.body}


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where updates go."""

    url: str
    secret_token: str = ""
    max_connections: int = 40
    ip_address: str = ""
    has_certificate: bool = False


@dataclass(frozen=True, slots=True)
class UntilAccepted:
    """The retry rule of one update: at once, then 2, 4, 8, ... s up to 60-120 s, for 24 h."""

    queue: UpdateQueue
    update: Update
    timeout_s: float = HOOK_TIMEOUT_S

    def accepted(self, answer: Answer) -> bool:
        """Take any 2xx."""
        return 200 <= answer.status < 300

    def pause_s(self, attempt: int, answer: Answer) -> float | None:
        """Give the pause; None when the next try would come after the update expires."""
        told = next((value for name, value in answer.headers.items() if name.lower() == "retry-after"), "")
        pause_s = 0.0 if attempt == 1 else float(min(2 ** (attempt - 1), random.uniform(60, 120)))
        if told.isdigit():
            pause_s = float(min(int(told), RETRY_AFTER_MAX_S))
        if self.queue.now() + pause_s > self.update.created_at + DAY_S:
            self.queue.settle(self.update)
            return None
        return pause_s

    def headers(self, attempt: int) -> dict[str, str]:
        """Add nothing."""
        return {}


class UpdateQueue:
    """Keeps updates for 24 h, numbers them, and lets them out."""

    def __init__(self, peer: Peer, account: str, check: Callable[[Json], None]) -> None:
        self._peer = peer
        self._account = account
        self._check = check
        self._pending: dict[int, Update] = {}
        self._last_id = random.randrange(100_000_000, 900_000_000)
        self.webhook: Webhook | None = None
        self.allowed: list[str] = []
        self.next_set_at = 0.0
        self._generation = 0
        self._held: dict[int, Update] = {}  # waits for a free connection
        self._busy: Counter[str] = Counter()  # keys on the way, with the number of their updates
        self._in_flight: set[int] = set()
        self._last_error: tuple[int, str] | None = None
        self._gone_since: float | None = None
        self._poll: asyncio.Future[None] | None = None
        self._last_poll: tuple[int, float] = (0, 0.0)

    def now(self) -> float:
        """Return simulated Unix seconds."""
        return self._peer.now()

    # -- in ----------------------------------------------------------------------------------------------------------

    def add(self, kind: str, body: Json, key: str) -> int:
        """Queue an update, unless its kind was not asked for (then 0), and return its number."""
        wanted = self.allowed or [name for name in KINDS if name not in NOT_BY_DEFAULT]
        if kind not in wanted:
            return 0
        self._last_id += 1
        update = Update(self._last_id, kind, body, key, self.now())
        self._check(update.json())
        self._pending[update.id] = self._held[update.id] = update
        if self._poll and not self._poll.done():
            self._poll.set_result(None)
        self.push()
        return self._last_id

    def waiting(self) -> list[Json]:
        """List the updates that were not confirmed yet."""
        return [update.json() for update in self._pending.values()]

    def clear(self) -> None:
        """Forget all updates."""
        self._pending.clear()
        self._start_over()

    def _start_over(self) -> None:
        """Take back what is on the way: the old sender's tries no longer count."""
        self._generation += 1
        self._held = dict(self._pending)
        self._busy.clear()
        self._in_flight.clear()

    def _expire(self) -> None:
        while self._pending:
            oldest = next(iter(self._pending.values()))
            if oldest.created_at + DAY_S >= self.now():
                return
            self.settle(oldest)

    # -- webhook -----------------------------------------------------------------------------------------------------

    def set_webhook(self, webhook: Webhook | None) -> None:
        """Set, replace or remove the webhook; a waiting poll is cut off."""
        if webhook and self._poll and not self._poll.done():
            self._poll.set_exception(conflict("terminated by setWebhook request"))
        self.webhook, self._gone_since = webhook, None
        self._start_over()
        if webhook is None:
            self._last_error = None
        self.push()

    def push(self) -> None:
        """Hand over to the sender: at most max_connections keys at once, one update of a key at a time."""
        if self.webhook is None:
            return
        self._expire()
        for update in list(self._held.values()):
            if update.key in self._busy or len(self._busy) < self.webhook.max_connections:
                self._hand_over(update, self.webhook)

    def _hand_over(self, update: Update, webhook: Webhook) -> None:
        generation = self._generation
        headers = {"Content-Type": "application/json"}
        if webhook.secret_token:
            headers["X-Telegram-Bot-Api-Secret-Token"] = webhook.secret_token
        self._held.pop(update.id)
        self._in_flight.add(update.id)
        self._busy[update.key] += 1
        before = self._peer.hooks.pending
        self._peer.hooks.send(
            Hook(
                webhook.url,
                json_bytes(update.json()),
                headers,
                policy=UntilAccepted(self, update),
                lane=f"{self._account}/{generation}/{update.key}",
                label=update.kind,
                account=self._account,
                on_answer=lambda attempt, answer: self._heard(update, generation, answer),
                alive=lambda: generation == self._generation and update.id in self._pending,
            )
        )
        if self._peer.hooks.pending == before:  # the fault drop_hooks_rate: lost on the way
            self.settle(update)

    def _heard(self, update: Update, generation: int, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            if generation == self._generation:
                self._gone_since = None  # the last error stays shown, as the service does
            self.settle(update)
            return
        if generation != self._generation:
            return
        text = f"Wrong response from the webhook: {answer.status}" if answer.status else "Connection refused"
        self._last_error = (int(self.now()), "Read timeout expired" if answer.trouble == "TimeoutError" else text)
        self._watch_gone(answer.status)

    def _watch_gone(self, status: int) -> None:
        """Remove the webhook after 23 h of nothing but 410."""
        if status != 410:
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = self.now()
        elif self.now() - self._gone_since >= GONE_FOR_S:
            self.set_webhook(None)

    def settle(self, update: Update) -> None:
        """Forget an update that was accepted, confirmed or has expired."""
        self._pending.pop(update.id, None)
        self._held.pop(update.id, None)
        if update.id not in self._in_flight:
            return
        self._in_flight.discard(update.id)
        self._busy[update.key] -= 1
        if not self._busy[update.key]:
            del self._busy[update.key]
            asyncio.get_running_loop().call_soon(self.push)

    def info(self) -> Json:
        """Build the answer of getWebhookInfo."""
        self._expire()
        webhook = self.webhook or Webhook("")
        info: Json = {
            "url": webhook.url,
            "has_custom_certificate": webhook.has_certificate,
            "pending_update_count": len(self._pending),
        }
        if self.webhook:
            info["max_connections"] = webhook.max_connections
            info["ip_address"] = webhook.ip_address or "127.0.0.1"
        if self._last_error:
            info["last_error_date"], info["last_error_message"] = self._last_error
        if self.allowed:
            info["allowed_updates"] = self.allowed
        return info

    # -- getUpdates --------------------------------------------------------------------------------------------------

    async def poll(self, offset: int, limit: int, timeout_s: int) -> list[Json]:
        """Confirm what is before `offset` and return the next updates, waiting for the first.

        Raises: ApiError 409 with a webhook set, and for the older of two polls.
        """
        if self.webhook:
            raise conflict(WEBHOOK_ACTIVE)
        last_offset, last_at = self._last_poll
        since_s = time.monotonic() - last_at
        if offset == last_offset and since_s < 3:
            timeout_s, limit = max(timeout_s, 3), 1 if since_s < 0.5 else limit
        self._last_poll = (offset, time.monotonic())
        self._confirm(offset)
        if not self._pending and timeout_s:
            await self._wait(timeout_s)
        return self.waiting()[:limit]

    def _confirm(self, offset: int) -> None:
        self._expire()
        ids = list(self._pending)
        for update_id in ids[:offset] if offset < 0 else [known for known in ids if known < offset]:
            self._pending.pop(update_id)
            self._held.pop(update_id, None)

    async def _wait(self, timeout_s: int) -> None:
        if self._poll and not self._poll.done():
            self._poll.set_exception(conflict(OTHER_POLL))
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._poll = mine
        try:
            await asyncio.wait_for(mine, timeout_s)
        except TimeoutError:
            return
        finally:
            if self._poll is mine:
                self._poll = None


def clean_allowed(wanted: Sequence[object]) -> list[str]:
    """Keep the kinds we know; an empty list means the default again."""
    return [kind for kind in KINDS if kind in wanted]


def json_bytes(value: Json) -> bytes:
    """Write JSON as it travels."""
    return json.dumps(value, ensure_ascii=False).encode()
