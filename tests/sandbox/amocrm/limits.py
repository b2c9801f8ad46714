"""How much amoCRM lets itself be asked (amocrm.md 6): requests a second, 429, then the ban of the address."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.sandbox.amocrm.problems import HtmlRefusal, Refusal

RETRY_AFTER_S = 300  # in the sample of 3.1
BAN_AFTER = 20  # refusals of one address within ten seconds; the real number is not published
BAN_WINDOW_S = 10.0
BAN_S = 300.0


@dataclass(slots=True)
class Counter:
    """The last second of one counted thing."""

    times: deque[float] = field(default_factory=deque)
    requests: int = 0
    refused: int = 0
    peak: int = 0


class Limits:
    """Counters per integration in an account, per account, per address. A rate of 0 = not counted.

    `address` counts for accounts of kommo.com (the vendor counts by address there), `address_ru` for amocrm.ru, where it
    counts by integration: off, to be switched on by a test.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.rates = {"integration": 7, "account": 50, "address": 7, "address_ru": 0}
        self.counters: dict[tuple[str, str], Counter] = defaultdict(Counter)
        self.banned_until: dict[str, float] = {}
        self._refusals: dict[str, deque[float]] = defaultdict(deque)

    def count(self, account: str, client_id: str, address: str, *, by_address: bool) -> None:
        """Count one request. Raises Refusal 429, and HtmlRefusal while the address is banned."""
        now = self._now()
        if self.banned_until.get(address, 0) > now:
            raise HtmlRefusal()
        keys = [
            ("integration", f"{account} {client_id}"),
            ("account", account),
            ("address" if by_address else "address_ru", address),
        ]
        full = [key for key in keys if self._is_full(key, now)]
        for key in keys:
            self.counters[key].requests += 1
            if full:
                self.counters[key].refused += key in full
            else:
                counter = self.counters[key]
                counter.times.append(now)
                counter.peak = max(counter.peak, len(counter.times))
        if full:
            self._note_refusal(address, now)
            raise Refusal(429, "Too Many Requests", retry_after=RETRY_AFTER_S)

    def check_ban(self, address: str) -> None:
        """Raise HtmlRefusal while the address is banned: everything answers so."""
        if self.banned_until.get(address, 0) > self._now():
            raise HtmlRefusal()

    def _is_full(self, key: tuple[str, str], now: float) -> bool:
        times, rate = self.counters[key].times, self.rates[key[0]]
        while times and times[0] <= now - 1:
            times.popleft()
        return bool(rate) and len(times) >= rate

    def _note_refusal(self, address: str, now: float) -> None:
        times = self._refusals[address]
        times.append(now)
        while times[0] < now - BAN_WINDOW_S:
            times.popleft()
        if len(times) > BAN_AFTER:
            self.banned_until[address] = now + BAN_S
            times.clear()

    def show(self) -> list[dict[str, object]]:
        """List the counters."""
        now = self._now()
        return [
            {
                "kind": kind,
                "key": key,
                "requests": counter.requests,
                "refused": counter.refused,
                "peak": counter.peak,
                "is_banned": kind.startswith("address") and self.banned_until.get(key, 0) > now,
            }
            for (kind, key), counter in self.counters.items()
        ]

    def clear(self) -> None:
        """Forget all counters and bans."""
        self.counters.clear()
        self.banned_until.clear()
        self._refusals.clear()
