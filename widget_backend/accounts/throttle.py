"""How often something may be tried, counted in Valkey over fixed windows. Lost counts start again: a throttle slows guessing, it guards nothing alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

import structlog
from redis import RedisError

from widget_backend.bridge import runtime

log = structlog.get_logger()

# one atomic step: a counter that could stay without an end would lock somebody out for ever
_COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
"""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a window."""

    limit: int
    count: int
    resets_in: timedelta

    @property
    def is_over(self) -> bool:
        """Whether this try is one too many."""
        return self.count > self.limit

    @property
    def remaining(self) -> int:
        """How many more tries the window allows."""
        return max(self.limit - self.count, 0)


def take(what: str, whose: str, *, limit: int, window: timedelta) -> Allowance:
    """Count one try. Without Valkey nothing is counted, and everything is allowed."""
    try:
        count, left_ms = runtime.get().redis.eval(_COUNT, 1, _key(what, whose), int(window.total_seconds() * 1000))
    except RedisError as error:
        log.warning("throttle_away", what=what, error=type(error).__name__)
        return Allowance(limit, 0, window)
    return Allowance(limit, int(count), timedelta(milliseconds=max(int(left_ms), 0)))


def forget(what: str, whose: str) -> None:
    """Start a window anew, after a success."""
    try:
        runtime.get().redis.delete(_key(what, whose))
    except RedisError as error:
        log.warning("throttle_away", what=what, error=type(error).__name__)


def _key(what: str, whose: str) -> str:
    # addresses and e-mails are nobody's business, not even in Valkey
    return f"mostik:throttle:{what}:{hashlib.sha256(whose.encode()).hexdigest()[:32]}"
