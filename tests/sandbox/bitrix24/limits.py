"""How much a portal lets itself be asked (bitrix24.md 2.2): the leaky bucket and the operating time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from tests.sandbox.bitrix24.errors import RestError
from tests.sandbox.bitrix24.state import Options

PLANS: dict[str, tuple[int, float]] = {"standard": (50, 2.0), "enterprise": (250, 5.0)}
WINDOW_MINUTES = 10


@dataclass(slots=True)
class Bucket:
    """The counter of one portal and one source address."""

    level: float = 0.0
    seen_at: float = 0.0
    requests: int = 0
    refused: int = 0
    peak: float = 0.0


class Limits:
    """All counters. A refused request does not add to the bucket; the peak shows how near the caller came."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.buckets: dict[tuple[str, str], Bucket] = defaultdict(Bucket)
        self._spent: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)

    def count(self, member_id: str, source: str, options: Options) -> None:
        """Count one HTTP request. Raises RestError 503 over the limit of the plan."""
        bucket = self.buckets[member_id, source]
        bucket.requests += 1
        if options.plan not in PLANS:
            return
        size, leak = PLANS[options.plan]
        now = self._now()
        bucket.level = max(0.0, bucket.level - (now - bucket.seen_at) * leak)
        bucket.seen_at = now
        if bucket.level + 1 > size:
            bucket.refused += 1
            raise RestError(503, "QUERY_LIMIT_EXCEEDED", "Too many requests")
        bucket.level += 1
        bucket.peak = max(bucket.peak, bucket.level)

    def check_operating(self, member_id: str, client_id: str, method: str, options: Options) -> None:
        """Refuse with 429 when the ten minutes before have used up the time of this method."""
        if self.operating(member_id, client_id, method)[0] > options.operation_limit_s:
            raise RestError(429, "OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit.")

    def spend(self, member_id: str, client_id: str, method: str, seconds: float) -> None:
        """Add the time of one call to the bucket of this minute."""
        minutes = self._spent[member_id, client_id, method]
        minute = int(self._now() // 60)
        minutes[minute] = minutes.get(minute, 0.0) + seconds

    def operating(self, member_id: str, client_id: str, method: str) -> tuple[float, int]:
        """Return the seconds spent in the window and when its oldest minute falls out."""
        minutes = self._spent[member_id, client_id, method]
        minute = int(self._now() // 60)
        for old in [number for number in minutes if number <= minute - WINDOW_MINUTES]:
            del minutes[old]
        return sum(minutes.values()), (min(minutes, default=minute) + WINDOW_MINUTES) * 60

    def show(self) -> list[dict[str, object]]:
        """List the buckets for GET /_sandbox/limits."""
        return [
            {
                "account": member_id,
                "source": source,
                "requests": bucket.requests,
                "refused": bucket.refused,
                "level": round(bucket.level, 2),
                "peak": round(bucket.peak, 2),
            }
            for (member_id, source), bucket in self.buckets.items()
        ]

    def clear(self) -> None:
        """Forget all counters."""
        self.buckets.clear()
        self._spent.clear()
