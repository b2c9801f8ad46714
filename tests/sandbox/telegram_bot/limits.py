"""Rate limits: about one message a second in a chat, 30 a second in all, 20 a minute in a group (telegram.md A7)."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from typing import Any

from tests.sandbox.telegram_bot.errors import too_many

OVERALL_PER_S = 30
CHAT_BURST = 3  # "short bursts tolerated"; the number is ours, Telegram names none
CHAT_PER_S = 1.0
GROUP_PER_MIN = 20
# Evenly paced calls arrive a little unevenly; the real counter is not sharper than this either.
SECOND_S = 0.97
SLACK = 0.03
MINUTE_S = 60.0


class Limits:
    """Counts the messages of one bot by the moment each call arrived, in simulated seconds."""

    def __init__(self) -> None:
        self._all: list[float] = []
        self._groups: dict[int, list[float]] = defaultdict(list)
        self._buckets: dict[int, tuple[float, float]] = {}
        self.accepted = 0
        self.peak_per_s = 0
        self.by_chat: dict[int, int] = defaultdict(int)
        self.refused = {"overall": 0, "chat": 0, "group": 0}

    def take(self, at: float, chat_id: int, count: int = 1) -> None:
        """Count a call that sends `count` messages; a refused call is not counted. Raises: ApiError 429."""
        waits = {
            "overall": _wait(self._all, at, count, OVERALL_PER_S, SECOND_S),
            "chat": self._chat_wait(at, chat_id),
            "group": _wait(self._groups[chat_id], at, count, GROUP_PER_MIN, MINUTE_S) if chat_id < 0 else 0.0,
        }
        scope = max(waits, key=lambda name: waits[name])
        if waits[scope] > 0:
            self.refused[scope] += 1
            raise too_many(waits[scope])
        for sent in (self._all, self._groups[chat_id]):
            for _ in range(count):
                insort(sent, at)
        since = self._buckets.get(chat_id, (0.0, at))[1]
        self._buckets[chat_id] = (self._level(at, chat_id) - 1, max(at, since))
        self.accepted += count
        self.by_chat[chat_id] += count
        self.peak_per_s = max(self.peak_per_s, len(self._all) - bisect_right(self._all, at - SECOND_S))

    def _level(self, at: float, chat_id: int) -> float:
        level, since = self._buckets.get(chat_id, (float(CHAT_BURST), at))
        return min(CHAT_BURST, level + max(at - since, 0) * CHAT_PER_S)

    def _chat_wait(self, at: float, chat_id: int) -> float:
        missing = 1 - self._level(at, chat_id)
        return missing / CHAT_PER_S if missing > SLACK else 0.0

    def counts(self) -> dict[str, Any]:
        """Show what was counted, for GET /_sandbox/limits."""
        chats = {str(chat_id): count for chat_id, count in self.by_chat.items()}
        return {"accepted": self.accepted, "refused": self.refused, "peak_per_s": self.peak_per_s, "chats": chats}


def _wait(sent: list[float], at: float, count: int, limit: int, window_s: float) -> float:
    """Tell how long to wait until `count` more fit into the window; forgets what lies far behind it."""
    del sent[: bisect_right(sent, at - 2 * window_s)]
    first, last = bisect_right(sent, at - window_s), bisect_right(sent, at)
    too_many_by = last - first + count - limit
    if too_many_by <= 0 or first == last:
        return 0.0
    return sent[min(first + too_many_by, last) - 1] + window_s - at
