"""Our identifiers: time-ordered ids of rows, unguessable keys of hooks, tokens.

Ids are not secrets and their order is not the order of commits; keys and tokens are secrets.
"""

import secrets
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

from widget_backend import clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TICK_BITS = 42  # rand_a (12 bits) and the top of rand_b (30 bits) count within one millisecond
_NOISE_BITS = 32

_lock = threading.Lock()
_last_ms = -1
_last_tick = 0


def new_id() -> UUID:
    """Make a time-ordered UUID, version 7; within one process each is greater than the one before.

    Source: RFC 9562, 5.7 and 6.2 (method 2: the monotonic counter starts at a random value).
    """
    ms, tick = _next_tick((clock.now() - _EPOCH) // _MILLISECOND)
    value = (ms & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76
    value |= (tick >> 30) << 64
    value |= 0b10 << 62
    value |= (tick & ((1 << 30) - 1)) << _NOISE_BITS
    value |= secrets.randbits(_NOISE_BITS)
    return UUID(int=value)


def new_key() -> str:
    """Make an unguessable key for a path or a header: 43 url-safe characters, 256 random bits."""
    return secrets.token_urlsafe(32)


def new_token(prefix: str) -> str:
    """Make a bearer token that shows what it is for, such as `mostik_api_...`; 256 random bits."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def _next_tick(ms: int) -> tuple[int, int]:
    global _last_ms, _last_tick
    with _lock:
        if ms > _last_ms:
            _last_ms, _last_tick = ms, secrets.randbits(_TICK_BITS - 1)
        elif _last_tick + 1 < 1 << _TICK_BITS:
            _last_tick += 1
        else:
            _last_ms, _last_tick = _last_ms + 1, secrets.randbits(_TICK_BITS - 1)
        return _last_ms, _last_tick
