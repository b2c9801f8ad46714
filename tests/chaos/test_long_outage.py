"""A portal that is down for a day while 10,000 messages come for it; then it is there again.

Simulated: the day. Its first hours are the real schedule of retries with shorter waits (`MOSTIK_EXCHANGE_END_RETRY_S`), its rest is jumped over by moving all
moments in the account's rows a day back. Real: the portal's limit (every plan but Enterprise: 2 requests a second, 50 at once), kept with the settings as
delivered; hooks of other companies, who write over their own communities to their own portals all the while. The 10,000 are kept by what the door keeps
hooks with, without HTTP, to spare a minute.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from sqlalchemy import create_engine, text

from tests.bench import fleet
from tests.bench.fleet import Tenant
from tests.chaos.storm import strip_marks
from tests.stack import Json, Stack, running, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

MESSAGES = 10_000
TALKS = 200
KNOWN = 150
"""So many of the conversations were there before the outage; the others begin in it."""
RATE, BURST = 2.0, 50
"""bitrix24.md 2.2."""
LIMIT_USED = 0.95
LATENCY_S = 2.0
RESTING_CPU = 0.25
"""Of one core, for all exchange processes together, while nothing can be delivered."""
SETTINGS: Json = {"MOSTIK_EXCHANGE_END_RETRY_S": "1,2,4,6"}
DAY = "interval '1 day'"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Give the product, as delivered but for the waits of a failing end."""
    with running(**SETTINGS) as product:
        product.tend()
        yield product


@dataclass
class Neighbours:
    """Companies that have nothing to do with the outage: one after another says something, twice a second."""

    stack: Stack
    tenants: Sequence[Tenant]
    said_at: dict[str, float] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def talk(self) -> threading.Thread:
        """Talk until `over`."""

        def loop() -> None:
            count = 0
            while not self.over.wait(0.5):
                tenant = self.tenants[count % len(self.tenants)]
                said = f"neighbour {count}"
                self.said_at[said] = time.time()
                fleet.say(self.stack, tenant, f"neighbour-{count % len(self.tenants)}", said)
                count += 1

        thread = threading.Thread(target=loop)
        thread.start()
        return thread

    def latencies(self, shown: Sequence[Json]) -> list[float]:
        """Return how long each text took to its portal. Units: seconds, in the order of saying."""
        at = {strip_marks(item["text"]): item["real_at"] for item in shown}
        return [at[said] - said_at for said, said_at in self.said_at.items()]


def test_ten_thousand_messages_wait_for_a_portal_and_arrive_once_in_order(stack: Stack) -> None:
    """Keep 10,000 messages through a day's outage; then judge the catch-up, the limit, the neighbours and the rest in between."""
    patient, *others = fleet.make(stack, 4, plan="standard")
    said = _texts()
    fleet.keep_hooks(patient, [(talk, f"{talk} hello") for talk in range(KNOWN)])
    wait_for(lambda: len(_shown(stack, patient)) == KNOWN, within_s=60, what="the first messages")
    stack.control("bitrix24", "faults", only_account=patient.portal["member_id"], outage=True)
    fleet.keep_hooks(patient, said)
    wait_for(lambda: _ask(stack, "select count(*) from messages") >= MESSAGES + KNOWN, within_s=120, what="recorded")
    _pass_a_day(stack, patient)
    assert len(_shown(stack, patient)) == KNOWN
    resting = _cpu_while(stack, 12)
    print(f"\nexchange while the gate rests: {resting:.2f} of a core")
    neighbours = Neighbours(stack, others)
    talking = neighbours.talk()
    time.sleep(10)
    back_at = time.time()
    stack.control("bitrix24", "faults", only_account="", outage=False)
    _wait_until_shown(stack, patient, MESSAGES + KNOWN, within_s=240)
    neighbours.over.set()
    talking.join()
    wait_for(lambda: _ask(stack, "select count(*) from lanes where settled_seq < last_seq") == 0, what="empty lanes")
    _judge(stack, patient, said, back_at)
    latencies = neighbours.latencies(stack.ledger("bitrix24", "message"))
    print(f"neighbours: {len(latencies)} messages, at most {max(latencies):.2f} s")
    assert max(latencies) < LATENCY_S
    assert resting < RESTING_CPU


def _judge(stack: Stack, patient: Tenant, said: Sequence[tuple[int, str]], back_at: float) -> None:
    shown = [strip_marks(item["text"]) for item in _shown(stack, patient)]
    assert len(shown) == len(set(shown)) == MESSAGES + KNOWN
    for talk in range(TALKS):
        mine = [one for one in shown if one.startswith(f"{talk} ")]
        assert mine == [f"{talk} hello"] * (talk < KNOWN) + [one for number, one in said if number == talk]
    statuses = _rows(stack, "select status, count(*) from deliveries where act = 'new' group by 1")
    assert {status for status, _count in statuses} == {"delivered"}
    buckets = {bucket["account"]: bucket for bucket in stack.look("bitrix24", "limits")["buckets"]}
    for bucket in buckets.values():
        assert not bucket["refused"] and bucket["peak"] <= BURST, bucket
    assert _limit_used(stack, patient, back_at) >= LIMIT_USED


def _limit_used(stack: Stack, patient: Tenant, back_at: float) -> float:
    """Return the share of the limit that the catch-up used, from when the first burst was spent to the last full request."""
    calls = stack.ledger("bitrix24", "call")
    mine = [call for call in calls if call["account"] == patient.portal["member_id"] and not call.get("batch")]
    steady = [call["real_at"] for call in mine if call["real_at"] > back_at][BURST:-5]
    share = float((len(steady) - 1) / (steady[-1] - steady[0]) / RATE)
    longest = max(later - earlier for earlier, later in pairwise(steady))
    print(
        f"catch-up: {len(steady)} requests in {steady[-1] - steady[0]:.1f} s, {share:.1%} of the limit; pause {longest:.2f} s"
    )
    return share


def _texts() -> list[tuple[int, str]]:
    return [(number % TALKS, f"{number % TALKS} says {number // TALKS}") for number in range(MESSAGES)]


def _pass_a_day(stack: Stack, tenant: Tenant) -> None:
    """Move whatever happened in an account a day back."""
    moments = {
        "messages": ("sent_at", "recorded_at"),
        "deliveries": ("created_at", "first_tried_at"),
        "parts": ("attempted_at",),
        "attempts": ("started_at",),
        "conversations": ("last_in_at", "last_at", "created_at"),
        "lanes": ("due_since",),
        "gates": ("ok_at",),
    }
    engine = create_engine(stack.config.database_owner_url)
    with engine.begin() as connection:
        for table, columns in moments.items():
            changes = ", ".join(f"{column} = {column} - {DAY}" for column in columns)
            connection.execute(
                text(f"update {table} set {changes} where account_id = :account"), {"account": tenant.account_id}
            )
    engine.dispose()


def _shown(stack: Stack, tenant: Tenant) -> list[Json]:
    items = stack.ledger("bitrix24", "message")
    return [item for item in items if item["account"] == tenant.portal["member_id"] and item["direction"] == "in"]


def _wait_until_shown(stack: Stack, tenant: Tenant, expected: int, *, within_s: float) -> None:
    """Wait without reading the whole ledger again and again."""
    deadline, since, count = time.monotonic() + within_s, 0, 0
    while count < expected:
        assert time.monotonic() < deadline, f"{count} of {expected} messages within {within_s} s"
        time.sleep(1)
        news = stack.look("bitrix24", f"ledger?since={since}&kind=message")
        since = news["last"]
        count += sum(1 for item in news["items"] if item["account"] == tenant.portal["member_id"])


def _cpu_while(stack: Stack, seconds: float) -> float:
    """Return how much of one core the exchange processes use for a while."""
    names = [name for name in stack.processes if name.startswith("exchange")]
    begun, used = time.monotonic(), [_cpu_s(stack, name) for name in names]
    time.sleep(seconds)
    more = sum(_cpu_s(stack, name) for name in names) - sum(used)
    return float(more / (time.monotonic() - begun))


def _cpu_s(stack: Stack, name: str) -> float:
    running = stack.processes[name].running
    assert running is not None
    with open(f"/proc/{running.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ask(stack: Stack, query: str) -> int:
    return int(str(_rows(stack, query)[0][0]))


def _rows(stack: Stack, query: str) -> list[tuple[object, ...]]:
    engine = create_engine(stack.config.database_owner_url)
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]
    finally:
        engine.dispose()
