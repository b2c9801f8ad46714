"""How fast an account may be asked (amocrm.md 6): 7 requests a second, counted per integration in an account or per address; the pages differ, so both are obeyed.

Whoever was refused once is slower for some minutes, in all processes: going on in the same way ends in a ban of the address.
"""

from __future__ import annotations

import time
from datetime import timedelta

import structlog
from redis import RedisError

from widget_backend import limits
from widget_backend.bridge import runtime
from widget_backend.limits import Limit

log = structlog.get_logger()

SLOW_FOR = timedelta(minutes=10)
SLOWER_BY = 1
_ADDRESS = "amocrm:our_address"
_AT_ONCE = 2
_LOOK_EVERY_S = 1.0
_looked: dict[str, tuple[float, bool]] = {}


class Pace:
    """The limits of one integration in one account, and of this server's address."""

    def __init__(self, client_id: str, host: str, rate: int) -> None:
        self._own = f"amocrm:{client_id}:{host}"
        self._rate = rate

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits as they are now: so many in any second, and evenly, because a burst that is held up on its way meets the next one."""
        found: list[Limit] = []
        for key in (self._own, _ADDRESS):
            rate = self._now(key)
            found += (Limit.window(key, rate, timedelta(seconds=1)), Limit.bucket(f"{key}:even", rate, _AT_ONCE))
        return tuple(found)

    def refused(self, pause: timedelta) -> None:
        """Note a 429: silence for as long as it says, then a slower pace. Whether it was the address that was counted is not told: it is slower too."""
        redis = runtime.get().redis
        limits.penalize(redis, self._own, pause)
        for key in (self._own, _ADDRESS):
            try:
                redis.set(_slow_key(key), 1, px=int((pause + SLOW_FOR).total_seconds() * 1000))
            except RedisError as error:
                log.warning("pace_not_kept", error=type(error).__name__)
            _looked.pop(key, None)
        log.warning("slower", key=self._own, pause_s=pause.total_seconds())

    def _now(self, key: str) -> int:
        return max(self._rate - SLOWER_BY, 1) if _is_slow(key) else self._rate


def _is_slow(key: str) -> bool:
    now = time.monotonic()
    known = _looked.get(key)
    if known is not None and now - known[0] < _LOOK_EVERY_S:
        return known[1]
    try:
        is_slow = bool(runtime.get().redis.exists(_slow_key(key)))
    except RedisError as error:
        log.warning("pace_not_known", error=type(error).__name__)
        is_slow = True
    if len(_looked) > 10_000:
        _looked.clear()
    _looked[key] = (now, is_slow)
    return is_slow


def _slow_key(key: str) -> str:
    return f"mostik:slow:{key}"
