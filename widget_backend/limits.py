"""Rate limits of remote services, kept across all processes by one atomic script in Valkey.

A limit is keyed by what the remote counts. Either all limits of a call give a token or none does and the caller learns how
long to wait. The script counts as the remote does, a little more strictly (`SLACK`), because requests travel unevenly:

* bucket (leaky): each call adds one, `rate_per_s` drain; above `burst` the remote refuses;
* window (sliding): at most `burst` calls in any `burst / rate_per_s` seconds, by a log of the calls.

Lost state counts as a full bucket: after a restart, a flush or a fail-over nobody gets a burst. A restart that kept its
data is noticed too (the script itself is gone then), because the last second before it may not have been written.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum, StrEnum
from typing import Any, Protocol

import structlog
from redis.exceptions import NoScriptError, RedisError

from widget_backend import clock
from widget_backend.bridge.errors import MostikError

SLACK = 0.03
PERSON_SHARE = 0.2
_PERSON_STAYS_S = 5
_TROUBLE_WAIT = timedelta(seconds=1)
_BORN = "mostik:limits:born"

log = structlog.get_logger(__name__)


class Priority(IntEnum):
    """Who goes first when tokens are short. A person at a screen also has a share of his own."""

    PERSON = 0
    LIVE = 1
    MAILING = 2
    HISTORY = 3


class Kind(StrEnum):
    """How the remote counts."""

    BUCKET = "bucket"
    WINDOW = "window"


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a remote, named by what the remote counts by, such as `bitrix24:portal.example`."""

    key: str
    rate_per_s: float
    burst: int
    kind: Kind = Kind.BUCKET

    def __post_init__(self) -> None:
        if not self.key or self.rate_per_s <= 0 or self.burst < 1:
            raise ValueError(f"not a limit: {self!r}")

    @classmethod
    def bucket(cls, key: str, rate_per_s: float, burst: int) -> "Limit":
        """Describe a leaky bucket: `burst` at once, then `rate_per_s`."""
        return cls(key, rate_per_s, burst, Kind.BUCKET)

    @classmethod
    def window(cls, key: str, count: int, per: timedelta) -> "Limit":
        """Describe a sliding window: at most `count` in any `per`."""
        return cls(key, count / per.total_seconds(), count, Kind.WINDOW)

    @property
    def capacity(self) -> int:
        """How much we let in at once.

        Some remotes drain their bucket once a second, not steadily: one second's drain is kept free for that.
        """
        if self.kind is Kind.WINDOW:
            return self.burst
        return self.burst - min(math.ceil(self.rate_per_s), self.burst // 5)

    @property
    def reserve(self) -> int:
        """How much of the capacity is kept for people waiting at a screen."""
        return min(math.floor(self.capacity * PERSON_SHARE), self.capacity - 1)

    @property
    def step_us(self) -> float:
        """Bucket: how long one token takes to drain; window: its length. Units: microseconds."""
        tokens = self.burst if self.kind is Kind.WINDOW else 1
        return tokens / self.rate_per_s * (1 + SLACK) * 1_000_000


class LimitWait(MostikError):
    """No token within the caller's bound; nothing was sent. `after`: when to ask again."""

    def __init__(self, after: timedelta) -> None:
        super().__init__(after)
        self.after = after


class Valkey(Protocol):
    """What is used of the client (`redis.Redis`)."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any: ...
    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any: ...
    def script_load(self, script: Any) -> Any: ...


# KEYS: born; then per limit: state, pause, marks.
# ARGV: rank, cost, how long a person counts as present (µs); then per limit: kind, capacity, reserve, step (µs).
# A mark says until when somebody of a rank waits for a token: lower ranks let him go first.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local rank, cost, stays = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local born = tonumber(redis.call('GET', KEYS[1]))
if not born or born > now then
  born = now
  redis.call('SET', KEYS[1], string.format('%.0f', now))
end
local count, longest, levels = (#KEYS - 1) / 3, 0, {}
for i = 1, count do
  local state, pause, marks = KEYS[3 * i - 1], KEYS[3 * i], KEYS[3 * i + 1]
  local kind, capacity, reserve, step = ARGV[4 * i], tonumber(ARGV[4 * i + 1]), tonumber(ARGV[4 * i + 2]), tonumber(ARGV[4 * i + 3])
  local mark = redis.call('HMGET', marks, '0', '1', '2', 'present')
  local share = capacity
  if rank > 0 and (kind == 'bucket' or (tonumber(mark[4]) or 0) > now) then share = math.max(capacity - reserve, cost) end
  local wait = 0
  if kind == 'bucket' then
    local kept = redis.call('HMGET', state, 'level', 'at')
    local at = math.min(tonumber(kept[2]) or now, now)
    local level = math.max((tonumber(kept[1]) or 0) - (now - at) / step, capacity - (now - born) / step, 0)
    levels[i] = level
    wait = (level + cost - share) * step
  else
    local newest = tonumber(redis.call('LINDEX', state, 0) or nil)
    if newest and newest > now then
      redis.call('DEL', state)
      redis.call('SET', KEYS[1], string.format('%.0f', now))
      wait = step
    else
      local oldest = tonumber(redis.call('LINDEX', state, share - cost) or nil) or 0
      wait = math.max(oldest, born) + step - now
    end
  end
  if wait > 0 and rank < 3 then
    redis.call('HSET', marks, rank, string.format('%.0f', now + wait + 100000))
    redis.call('PEXPIRE', marks, math.ceil((wait + stays) / 1000))
  end
  for higher = 0, rank - 1 do
    wait = math.max(wait, (tonumber(mark[higher + 1]) or 0) - now)
  end
  longest = math.max(longest, wait, redis.call('PTTL', pause) * 1000)
  if rank == 0 then
    redis.call('HSET', marks, 'present', string.format('%.0f', now + stays))
    redis.call('PEXPIRE', marks, math.ceil((math.max(wait, 0) + stays) / 1000))
  end
end
if longest > 0 then return math.ceil(longest) end
for i = 1, count do
  local state, marks = KEYS[3 * i - 1], KEYS[3 * i + 1]
  local kind, capacity, step = ARGV[4 * i], tonumber(ARGV[4 * i + 1]), tonumber(ARGV[4 * i + 3])
  if kind == 'bucket' then
    redis.call('HSET', state, 'level', string.format('%.6f', levels[i] + cost), 'at', string.format('%.0f', now))
    redis.call('PEXPIRE', state, math.ceil(capacity * step / 1000) + 1000)
  else
    for _ = 1, cost do redis.call('LPUSH', state, string.format('%.0f', now)) end
    redis.call('LTRIM', state, 0, capacity - 1)
    redis.call('PEXPIRE', state, math.ceil(step / 1000) + 1000)
  end
  redis.call('HDEL', marks, rank)
end
return 0
"""
_TAKE_SHA = hashlib.sha1(_TAKE.encode(), usedforsecurity=False).hexdigest()

_FORGET = """
local time = redis.call('TIME')
redis.call('SET', KEYS[1], string.format('%.0f', time[1] * 1000000 + time[2]))
"""

_PENALIZE = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], 1, 'PX', ARGV[1]) end
"""


def take(valkey: Valkey, limits: Sequence[Limit], priority: Priority = Priority.LIVE, cost: int = 1) -> timedelta:
    """Take tokens of all limits at once, or none, and say how long to wait: zero means taken. Never blocks.

    An unreachable Valkey gives no tokens: a limit that cannot be counted is not spent.
    """
    if not limits:
        return timedelta(0)
    if cost < 1 or any(cost > limit.capacity for limit in limits):
        raise ValueError(f"{cost} tokens can never be taken at once")
    keys = [_BORN]
    args: list[str | int | float] = [int(priority), cost, _PERSON_STAYS_S * 1_000_000]
    for limit in limits:
        keys += (_state_key(limit), _pause_key(limit.key), f"mostik:limits:{limit.key}:marks")
        args += (limit.kind.value, limit.capacity, limit.reserve, limit.step_us)
    try:
        return timedelta(microseconds=int(_run(valkey, keys, args)))
    except RedisError as error:
        log.warning("limits_unreachable", error=type(error).__name__)
        return _TROUBLE_WAIT


def wait(
    valkey: Valkey, limits: Sequence[Limit], priority: Priority = Priority.LIVE, cost: int = 1, *, bound: timedelta
) -> timedelta:
    """Take tokens, waiting for them at most `bound`; return how long it took.

    Raises: LimitWait: they come later than that; nothing was taken.
    """
    started = clock.monotonic()
    while True:
        after = take(valkey, limits, priority, cost)
        waited = timedelta(seconds=clock.monotonic() - started)
        if not after:
            return waited
        if waited + after > bound:
            raise LimitWait(after)
        clock.sleep(after)


def penalize(valkey: Valkey, key: str, duration: timedelta) -> None:
    """Give no tokens of a key for a while: the remote said so (429, 503, Retry-After). A longer penalty stands."""
    ms = max(math.ceil(duration.total_seconds() * 1000), 1)
    try:
        valkey.eval(_PENALIZE, 1, _pause_key(key), ms)
    except RedisError as error:
        log.warning("limits_unreachable", error=type(error).__name__)


def begin_anew(valkey: Valkey) -> None:
    """Count from nothing: for remotes that begin at this moment too, as a simulated world does. A real one remembers what we have forgotten."""
    valkey.script_load(_TAKE)
    valkey.eval("redis.call('SET', KEYS[1], 0)", 1, _BORN)


def _run(valkey: Valkey, keys: list[str], args: list[str | int | float]) -> int:
    try:
        return int(valkey.evalsha(_TAKE_SHA, len(keys), *keys, *args))
    except NoScriptError:
        # A server without our script has just started or taken over: what it knows of the last second may be missing.
        valkey.eval(_FORGET, 1, _BORN)
        valkey.script_load(_TAKE)
        return int(valkey.evalsha(_TAKE_SHA, len(keys), *keys, *args))


def _state_key(limit: Limit) -> str:
    return f"mostik:limits:{limit.key}:{limit.kind.value}"


def _pause_key(key: str) -> str:
    return f"mostik:limits:{key}:pause"
