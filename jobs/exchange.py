"""The exchange: one job that drains whatever is due, in threads, for a slice of time. It carries nothing; a wake-up only says "look"."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache, partial
from uuid import UUID

import structlog
from redis import RedisError
from sqlalchemy.exc import DBAPIError, OperationalError

from widget_backend.bridge import deliver, errands, inbox, lanes, pull, registry, runtime, split, wake
from widget_backend.bridge.lanes import Batch
from widget_backend.bridge.outcomes import Trouble

log = structlog.get_logger()

POLL_S = 0.02
LEAST_POLL_S = 0.004
IDLE_POLL_S = 0.25
ERRAND_POLL_S = 0.1
PULL_POLL_S = 0.5
PULLS = 4
SHARES = {"errand": 0.5, "pull": 0.25}
"""How much of a process's threads may wait for what is slow."""
HOST_ENDS = 3
HOST_REST_S = 5.0

stopping = threading.Event()


def run() -> None:
    """Drain for a slice. Called by RQ, by wake-ups and by the sweep alike; may run any number of times at once."""
    try:
        wake.begin()
    except RedisError as error:
        log.warning("wake_generation_failed", error=type(error).__name__)
    try:
        Slice().drain()
    except (OperationalError, DBAPIError) as error:
        # the database is away: what was leased runs out and is taken again
        log.warning("slice_ended_by_database", error=type(error).__name__)
        time.sleep(0.5)


class HostBreaker:
    """The breaker of hosts that many ends share: when several ends fail one after another, all ends of the kind rest, then one probe goes first.

    One failing end says nothing about the host: its own gate closes.
    """

    def __init__(self) -> None:
        self._failing: dict[str, set[UUID]] = {}
        self._rest_until: dict[str, float] = {}

    def note(self, adapter: str, end_id: UUID, trouble: Trouble) -> None:
        """Count the result of one batch. A pause that the end asked for, or a lost access, is an answer: the host works."""
        if trouble is not Trouble.FAILING:
            self._failing.pop(adapter, None)
            self._rest_until.pop(adapter, None)
            return
        failing = self._failing.setdefault(adapter, set())
        failing.add(end_id)
        if len(failing) >= HOST_ENDS:
            self._rest_until[adapter] = time.monotonic() + HOST_REST_S

    def resting(self, busy: Counter[str]) -> set[str]:
        """Return the kinds that rest, or whose one probe is under way."""
        now = time.monotonic()
        return {adapter for adapter, until in self._rest_until.items() if until > now or busy[adapter] > 0}


hosts = HostBreaker()
"""One per process: what it learnt outlives a slice."""


@cache
def pool(threads: int) -> ThreadPoolExecutor:
    """Return this process's threads. They outlive a slice, and with them their connections to the outside."""
    return ThreadPoolExecutor(threads, thread_name_prefix="exchange")


_slow: dict[Future[object], tuple[str, UUID, UUID]] = {}
"""Fetches and pulls of this process that are under way: (kind, end, lease). They wait for slow hosts, so that a slice never waits for them."""


def keep_slow() -> None:
    """Renew the leases of what is slow; the heartbeat of the process. Raises: sqlalchemy.exc.DBAPIError."""
    tokens = [token for _kind, _end, token in list(_slow.values())]
    if tokens:
        errands.renew(tokens)
        pull.renew(tokens)


def leave() -> None:
    """Give back what is slow and end this process without waiting for it: another worker begins it anew."""
    tokens = [token for _kind, _end, token in list(_slow.values())]
    try:
        errands.give_back(tokens)
        pull.give_back(tokens)
    except DBAPIError as error:
        log.warning("give_back_failed", error=type(error).__name__)
    os._exit(0)  # the interpreter's own way out joins the threads, which may be minutes away


class Slice:
    """One slice of draining: a loop that hands work to threads, and a heartbeat for what they hold."""

    def __init__(self) -> None:
        config = runtime.get().config
        self.threads = config.exchange_threads
        self.until = time.monotonic() + config.slice_s
        self.pool = pool(self.threads)
        self.errands_at = self.pulls_at = 0.0
        self.has_worked = False
        self.futures: dict[Future[object], tuple[str, UUID, str]] = {}
        self.calls: Counter[UUID] = Counter()
        self.kinds: Counter[str] = Counter()
        self.inboxes: set[UUID] = set()
        self.tokens: Counter[UUID] = Counter()
        self.done = threading.Event()
        self.lock = threading.Lock()
        self.caps: dict[str, int] = {}

    def drain(self) -> None:
        """Work until nothing is due, the slice is over or the process stops; then wait for the calls that are out."""
        heartbeat = threading.Thread(target=self._renew, name="heartbeat", daemon=True)
        heartbeat.start()
        try:
            while self._may_go_on():
                self.done.clear()
                started = self._start_work()
                self.has_worked |= started > 0
                self._collect()
                if started or self.futures or _slow:
                    # what finished may have made new work; a short breath gathers what finishes together
                    self.done.wait(POLL_S)
                    time.sleep(LEAST_POLL_S)
                    continue
                if self._start_pulls() + self._start_errands():
                    continue
                break
        finally:
            try:
                # not for what is slow: that may take minutes, and nobody else should wait for it
                wait(list(self.futures))
                self._collect()
            finally:  # the job's own time may be over before a call is
                self.until = 0.0
        if not stopping.is_set():
            self._wake_in_time()

    def _may_go_on(self) -> bool:
        return time.monotonic() < self.until and not stopping.is_set()

    def _wake_in_time(self) -> None:
        """Set a wake-up for what is due next, so that this process can wait for wake-ups instead of looking again and again."""
        if inbox.is_due() or split.due(1):
            wake.poke()
        soon = lanes.seconds_to_next()
        if soon is not None and soon < runtime.get().config.sweep_s:
            # what is due and yet was not taken is somebody else's just now: no hurry to look again
            wake.poke_in(max(soon, POLL_S if self.has_worked else IDLE_POLL_S))

    # ------------------------------------------------------------------------------------------------------ handing out

    @property
    def _free(self) -> int:
        return self.threads - len(self.futures) - len(_slow)

    def _slow_room(self, kind: str) -> int:
        """Return how many more fetches, or pulls, may be under way."""
        under_way = sum(1 for known, _end, _token in list(_slow.values()) if known == kind)
        return min(self._free, max(1, int(self.threads * SHARES[kind])) - under_way)

    def _start_work(self) -> int:
        if self._free <= 0:
            return 0
        started = self._start_splits(max(1, self._free // 4))
        started += self._start_inboxes(max(1, self._free // 2))
        started += self._start_lanes(self._free)
        now = time.monotonic()
        if now > self.errands_at:
            self.errands_at = now + ERRAND_POLL_S
            started += self._start_errands()
        if now > self.pulls_at and self._free > 0:
            self.pulls_at = now + PULL_POLL_S
            started += self._start_pulls()
        return started

    def _start_pulls(self) -> int:
        room = self._slow_room("pull")
        tasks = pull.take(min(PULLS, room)) if room > 0 else []
        for task in tasks:
            self._submit("pull", task.end_id, "", partial(pull.run, task), task.token)
        return len(tasks)

    def _start_splits(self, room: int) -> int:
        apps = split.due(room, self.inboxes)
        for app_id in apps:
            self.inboxes.add(app_id)
            self._submit("inbox", app_id, "", partial(self._split, app_id))
        return len(apps)

    def _start_inboxes(self, room: int) -> int:
        leases = inbox.take(room, self.inboxes)
        for lease in leases:
            self.inboxes.add(lease.end_id)
            with self.lock:
                self.tokens[lease.token] += 1
            self._submit("inbox", lease.end_id, "", partial(self._read_inbox, lease))
        return len(leases)

    def _start_lanes(self, room: int) -> int:
        if room <= 0:
            return 0
        started = 0
        for batch in lanes.take(room, full_ends=self._full_ends(), full_adapters=self._full_adapters()):
            with self.lock:
                self.tokens[batch.token] += 1
            self._submit("lane", batch.end_id, batch.adapter, partial(self._deliver, batch))
            started += 1
        return started

    def _start_errands(self) -> int:
        room = self._slow_room("errand")
        if room <= 0:
            return 0
        by_end = Counter(end for kind, end, _token in list(_slow.values()) if kind == "errand")
        share = max(1, self.threads // 8)
        tasks = errands.take(room, [end for end, count in by_end.items() if count >= share], per_end=share)
        for task in tasks:
            self._submit("errand", task.end_id, "", partial(errands.run, task), task.token)
        return len(tasks)

    def _full_ends(self) -> list[UUID]:
        """Return the ends with as many calls out as they may have in this process."""
        return [end_id for end_id, count in self.calls.items() if count >= self.caps.get(str(end_id), 1)]

    def _full_adapters(self) -> set[str]:
        """Return the kinds whose shared host rests, or already holds so many threads that others could starve."""
        most = self.threads - max(2, self.threads // 4)
        full = {
            adapter
            for adapter, count in self.kinds.items()
            if count >= most and registry.manifest(adapter).capabilities.shared_host
        }
        return full | hosts.resting(self.kinds)

    def _submit(
        self, kind: str, end_id: UUID, adapter: str, work: Callable[[], object], token: UUID | None = None
    ) -> None:
        future = self.pool.submit(work)
        if token is not None:
            _slow[future] = (kind, end_id, token)
            future.add_done_callback(self._slow_is_done)
            return
        self.futures[future] = (kind, end_id, adapter)
        if kind == "lane":
            self.calls[end_id] += 1
            self.kinds[adapter] += 1
            self.caps[str(end_id)] = registry.manifest(adapter).capabilities.cap
        future.add_done_callback(lambda _future: self.done.set())

    # ------------------------------------------------------------------------------------------------------ in a thread

    def _read_inbox(self, lease: inbox.Lease) -> None:
        try:
            while self._may_go_on():
                has_more = inbox.work(lease)
                self.done.set()
                if not has_more:
                    break
        finally:
            inbox.release(lease)
            with self.lock:
                self.tokens[lease.token] -= 1

    def _split(self, app_id: UUID) -> None:
        while self._may_go_on() and split.work(app_id):
            self.done.set()

    def _deliver(self, batch: Batch) -> None:
        try:
            result = deliver.deliver(batch, may_go_on=self._may_go_on)
            if result.calls and registry.manifest(batch.adapter).capabilities.shared_host:
                hosts.note(batch.adapter, batch.end_id, result.trouble)
        finally:
            with self.lock:
                self.tokens[batch.token] -= 1

    # --------------------------------------------------------------------------------------------------------- the loop

    def _slow_is_done(self, future: Future[object]) -> None:
        kind, end_id, _token = _slow.pop(future)
        self._tell_failure(future, kind, end_id)
        self.done.set()
        if not self.until:
            wake.poke()  # the slice that began this is over, and a message may wait for what was fetched

    def _collect(self) -> None:
        for future in [future for future in self.futures if future.done()]:
            kind, end_id, adapter = self.futures.pop(future)
            if kind == "lane":
                self.calls[end_id] -= 1
                self.kinds[adapter] -= 1
            elif kind == "inbox":
                self.inboxes.discard(end_id)
            self._tell_failure(future, kind, end_id)

    def _tell_failure(self, future: Future[object], kind: str, end_id: UUID) -> None:
        error = future.exception()
        if isinstance(error, DBAPIError):
            log.warning("work_interrupted", kind=kind, end=str(end_id), error=type(error.orig).__name__)
        elif error is not None:
            log.error("work_failed", kind=kind, end=str(end_id), exc_info=error)

    def _renew(self) -> None:
        """Renew the leases of the batches under way until the slice is over and they are done, whoever waits for them."""
        every = runtime.get().config.heartbeat_s
        last = time.monotonic()
        while self.until or not all(future.done() for future in list(self.futures)):
            time.sleep(0.2)
            if time.monotonic() - last < every:
                continue
            last = time.monotonic()
            with self.lock:
                tokens = [token for token, count in self.tokens.items() if count > 0]
            try:
                lanes.renew(tokens)
            except DBAPIError as error:
                log.warning("renew_failed", error=type(error).__name__)
