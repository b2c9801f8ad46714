"""How fast an account may be asked (amocrm.md 6): 7 requests a second, counted per integration in an account or per address; the pages differ, so both are obeyed.

Whoever was refused once is slower for some minutes, in all processes: going on in the same way ends in a ban of the address.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from widget_backend import clock, short_memory
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
        """Note a 429: a slower pace for some minutes after the silence that it asks for, which the end keeps (`Retry.after`).

        Whether it was the address that was counted is not told: it is slower too.
        """
        for key in (self._own, _ADDRESS):
            short_memory.remember(f"slow:{key}", "1", pause + SLOW_FOR)
            _looked.pop(key, None)
        log.warning("slower", key=self._own, pause_s=pause.total_seconds())

    def _now(self, key: str) -> int:
        return max(self._rate - SLOWER_BY, 1) if _is_slow(key) else self._rate


def _is_slow(key: str) -> bool:
    now = clock.monotonic()
    known = _looked.get(key)
    if known is not None and now - known[0] < _LOOK_EVERY_S:
        return known[1]
    is_slow = bool(short_memory.recall(f"slow:{key}", unreachable="1"))
    if len(_looked) > 10_000:
        _looked.clear()
    _looked[key] = (now, is_slow)
    return is_slow
