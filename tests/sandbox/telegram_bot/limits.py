"""Rate limits: about one message a second in a chat, 30 a second in all, 20 a minute in a group (telegram.md A7)."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from tests.sandbox.telegram_bot.errors import too_many

OVERALL_PER_S = 30
CHAT_BURST = 3  # "short bursts tolerated"; the number is ours, Telegram names none
CHAT_PER_S = 1.0
GROUP_PER_MIN = 20
# Evenly paced calls arrive a little unevenly; the real counter is not sharper than this either.
SECOND_S = 0.97


class Limits:
    """Counts the messages of one bot in simulated time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._all: deque[float] = deque()
        self._groups: dict[int, deque[float]] = defaultdict(deque)
        self._buckets: dict[int, tuple[float, float]] = {}
        self.accepted = 0
        self.peak_per_s = 0
        self.by_chat: dict[int, int] = defaultdict(int)
        self.refused = {"overall": 0, "chat": 0, "group": 0}

    def take(self, chat_id: int, count: int = 1) -> None:
        """Count a call that sends `count` messages; a refused call is not counted. Raises: ApiError 429."""
        now = self._now()
        waits = {"overall": self._overall_wait(now, count), "chat": self._chat_wait(now, chat_id)}
        if chat_id < 0:
            waits["group"] = self._group_wait(now, chat_id, count)
        scope = max(waits, key=lambda name: waits[name])
        if waits[scope] > 0:
            self.refused[scope] += 1
            raise too_many(waits[scope])
        self._all.extend([now] * count)
        if chat_id < 0:
            self._groups[chat_id].extend([now] * count)
        level, at = self._buckets.get(chat_id, (float(CHAT_BURST), now))
        self._buckets[chat_id] = (min(CHAT_BURST, level + (now - at) * CHAT_PER_S) - 1, now)
        self.accepted += count
        self.by_chat[chat_id] += count
        self.peak_per_s = max(self.peak_per_s, len(self._all))

    def _overall_wait(self, now: float, count: int) -> float:
        while self._all and self._all[0] <= now - SECOND_S:
            self._all.popleft()
        return SECOND_S - (now - self._all[0]) if len(self._all) + count > OVERALL_PER_S and self._all else 0.0

    def _group_wait(self, now: float, chat_id: int, count: int) -> float:
        sent = self._groups[chat_id]
        while sent and sent[0] <= now - 60:
            sent.popleft()
        return 60 - (now - sent[0]) if len(sent) + count > GROUP_PER_MIN and sent else 0.0

    def _chat_wait(self, now: float, chat_id: int) -> float:
        level, at = self._buckets.get(chat_id, (float(CHAT_BURST), now))
        missing = 1 - min(CHAT_BURST, level + (now - at) * CHAT_PER_S)
        return missing / CHAT_PER_S if missing > 0.03 else 0.0

    def counts(self) -> dict[str, Any]:
        """Show what was counted, for GET /_sandbox/limits."""
        chats = {str(chat_id): count for chat_id, count in self.by_chat.items()}
        return {"accepted": self.accepted, "refused": self.refused, "peak_per_s": self.peak_per_s, "chats": chats}
