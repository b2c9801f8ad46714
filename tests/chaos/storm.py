"""A storm: customers and operators write at a steady rate while processes are killed and peers misbehave; afterwards the ledgers are judged.

What is judged (design.md 5): every text arrives at each of its destinations exactly once, in the order in which it was recorded: a customer's in every CRM of
his company, an operator's on the phone and in the company's other CRM. What the invariants admit is counted and told: deliveries left `uncertain` (nobody
can know; they may be there once or not at all), and texts whose recorded order differs from the order of saying, because a hook came late or was lost.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from uuid import UUID

import requests
from sqlalchemy import create_engine, text

from tests.bench.fleet import Desk, Tenant
from tests.stack import Json, Stack

HTTP_S = 30
_INVISIBLE = re.compile(r"[\u200b-\u200f\u2060-\u206f\ufeff\U000e0000-\U000e007f]")


def strip_marks(shown: str) -> str:
    """Return a text without what no reader sees."""
    return _INVISIBLE.sub("", shown).strip()


@dataclass
class Talk:
    """One conversation and what was said in it, each side in its own order. `remotes`: what each CRM calls it; `answers`: those of each CRM."""

    tenant: Tenant
    user: str
    remotes: dict[Desk, str] = field(default_factory=dict)
    from_client: list[str] = field(default_factory=list)
    answers: dict[Desk, list[str]] = field(default_factory=dict)

    @property
    def from_operators(self) -> list[str]:
        """Return all answers in the order of saying: the desks take turns."""
        return sorted((one for said in self.answers.values() for one in said), key=lambda said: int(said.split()[-1]))


@dataclass
class Verdict:
    """What the ledgers say about one direction."""

    said: int = 0
    arrived: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    uncertain: int = 0
    misordered: list[tuple[str, str]] = field(default_factory=list)
    late_by_hook: int = 0

    def __str__(self) -> str:
        return (
            f"said {self.said}, arrived {self.arrived}, lost {len(self.lost)}, doubled {len(self.doubled)}, "
            f"misordered {len(self.misordered)}, uncertain {self.uncertain}, recorded late {self.late_by_hook}"
        )


class Storm:
    """Talks at a rate, kills at random, waits for calm, judges."""

    def __init__(self, stack: Stack, tenants: Sequence[Tenant], talks_per_tenant: int, *, seed: int = 7) -> None:
        self.stack = stack
        self.dice = random.Random(seed)
        self.talks = [
            Talk(tenant, f"user-{number}-{place}")
            for place, tenant in enumerate(tenants)
            for number in range(talks_per_tenant)
        ]
        self.kills: Counter[str] = Counter()
        self.over = threading.Event()
        self.session = requests.Session()
        self.lock = threading.Lock()

    # ----------------------------------------------------------------------------------------------------------- talking

    def introduce(self) -> None:
        """Let every customer write once, so that both sides know every conversation."""
        for talk in self.talks:
            self._client_says(talk)
        deadline = time.monotonic() + 90
        missing = {(desk, talk.from_client[0]): talk for talk in self.talks for desk in talk.tenant.desks}
        while missing:
            assert time.monotonic() < deadline, f"the first messages did not arrive: {list(missing)[:5]}"
            for peer in {desk.peer for desk, _said in missing}:
                for item in self.stack.ledger(peer, "message"):
                    for desk, said in list(missing):
                        if desk.account == item["account"] and strip_marks(item["text"]) == said:
                            missing.pop((desk, said)).remotes[desk] = item["conversation"]
            time.sleep(0.3)

    def talk(self, rate_s: float, seconds: float) -> None:
        """Let customers and operators write in turn, at so many messages a second together."""
        threads = [threading.Thread(target=self._speak, args=(side, rate_s / 2, seconds)) for side in ("in", "out")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.over.set()

    def _speak(self, side: str, rate_s: float, seconds: float) -> None:
        begun, count = time.monotonic(), 0
        while time.monotonic() - begun < seconds:
            talk = self.talks[(count * 7) % len(self.talks)]
            if side == "in":
                self._client_says(talk)
            else:
                self._operator_says(talk)
            count += 1
            time.sleep(max(0.0, begun + count / rate_s - time.monotonic()))

    def _client_says(self, talk: Talk) -> None:
        said = f"{talk.user} in {len(talk.from_client)}"
        talk.from_client.append(said)
        self._say("vk", {"account": talk.tenant.community["group_id"], "user": talk.user, "text": said})

    def _operator_says(self, talk: Talk) -> None:
        count = sum(len(said) for said in talk.answers.values())
        desk = talk.tenant.desks[count % len(talk.tenant.desks)]
        said = f"{talk.user} out {count}"
        talk.answers.setdefault(desk, []).append(said)
        place = "user" if desk.peer == "bitrix24" else "conversation"
        self._say(desk.peer, {"account": desk.account, place: talk.remotes[desk], "text": said})

    def _say(self, peer: str, body: Json) -> None:
        with self.lock:
            answer = self.session.post(f"{self.stack.peers[peer]['base_url']}/_sandbox/say", json=body, timeout=HTTP_S)
        assert answer.ok, answer.text

    # ----------------------------------------------------------------------------------------------------------- killing

    def kill_at_random(self, names: Sequence[str], pause_s: tuple[float, float]) -> threading.Thread:
        """Kill one process after another until the talking is over; whoever tends the stack starts them again."""

        def loop() -> None:
            bag: list[str] = []
            while not self.over.wait(self.dice.uniform(*pause_s)):
                bag = bag or self.dice.sample(list(names), len(names))  # each kind as often as the others
                name = bag.pop()
                self.stack.kill(name)
                self.kills[name] += 1

        thread = threading.Thread(target=loop)
        thread.start()
        return thread

    # ----------------------------------------------------------------------------------------------------------- judging

    def wait_for_calm(self, within_s: float) -> float:
        """Wait until nothing waits anywhere (or nothing moves any more); return how long it took."""
        begun = time.monotonic()
        still = 0
        before: tuple[int, ...] = ()
        while time.monotonic() - begun < within_s:
            now = self.waiting()
            if sum(now[:3]) == 0:
                return time.monotonic() - begun
            still = still + 1 if now == before else 0
            before = now
            time.sleep(1)
        raise AssertionError(f"no calm within {within_s} s: inbox, lanes, parked = {self.waiting()}")

    def waiting(self) -> tuple[int, ...]:
        """Count unread hooks, waiting deliveries, held events; and the messages."""
        query = """
            select (select count(*) from inbox where state = 0),
                   (select coalesce(sum(last_seq - settled_seq), 0) from lanes where settled_seq < last_seq),
                   (select count(*) from parked where waits_for = 'echo'),
                   (select count(*) from messages)
        """
        rows = self._ask(query)
        return tuple(int(value) for value in rows[0]) if rows else (1, 0, 0, 0)

    def pull_all(self, within_s: float) -> None:
        """Do what happens every few minutes, and wait for its end: ask every end what its hooks did not bring.

        A worker killed while it pulled keeps its lease for a minute: only then is that end asked.
        """
        self._ask("update gates set pull_at = now(), pulled_at = null where pull_at is not null returning 1")
        deadline = time.monotonic() + within_s
        while self._ask("select 1 from gates where pull_at is not null and pulled_at is null"):
            assert time.monotonic() < deadline, f"not every end was pulled within {within_s} s"
            time.sleep(1)

    def judge(self) -> dict[str, Verdict]:
        """Return the verdicts: customers' texts in each CRM, operators' texts on the phones, and those of one CRM in the other."""
        recorded = self._recorded()
        phones = self._shown("vk", "out")
        verdicts = {way: Verdict() for way in ("to bitrix24", "to amocrm", "to phones", "to the other CRM")}
        arrived = {peer: self._shown(peer, "in") for peer in ("bitrix24", "amocrm")}
        mirrored = {peer: self._shown(peer, "out") for peer in ("bitrix24", "amocrm")}
        for talk in self.talks:
            channel_id = talk.tenant.channel_id
            self._judge_one(verdicts["to phones"], talk.from_operators, phones, channel_id, recorded)
            for desk in talk.tenant.desks:
                shown, way = arrived[desk.peer], verdicts[f"to {desk.peer}"]
                self._judge_one(way, talk.from_client, shown, desk.connection_id, recorded)
                foreign = [one for other, said in talk.answers.items() if other != desk for one in said]
                shown, way = mirrored[desk.peer], verdicts["to the other CRM"]
                self._judge_one(way, foreign, shown, desk.connection_id, recorded)
        return verdicts

    def _judge_one(
        self,
        verdict: Verdict,
        said: Sequence[str],
        shown: dict[str, list[int]],
        end_id: UUID,
        recorded: dict[str, tuple[int, dict[UUID, str]]],
    ) -> None:
        verdict.said += len(said)
        seen: list[tuple[int, str]] = []
        seqs = {what: recorded[what][0] if what in recorded else 0 for what in said}
        for what in said:
            places = shown.get(what, [])
            status = recorded[what][1].get(end_id) if what in recorded else None
            if status == "uncertain":
                verdict.uncertain += 1
            if not places and status != "uncertain":
                verdict.lost.append(what)
            if len(places) > 1:
                verdict.doubled.append(what)
            if places:
                verdict.arrived += 1
                seen.append((places[0], what))
        order = [what for _place, what in sorted(seen)]
        verdict.misordered += [pair for pair in pairwise(order) if seqs[pair[0]] > seqs[pair[1]]]
        by_seq = sorted(said, key=lambda what: seqs[what])
        verdict.late_by_hook += sum(1 for at, what in enumerate(by_seq) if said[at] != what)

    def _shown(self, peer: str, direction: str) -> dict[str, list[int]]:
        """Return where in the ledger each text was shown; above the text of a colleague in another CRM stands his name."""
        found: dict[str, list[int]] = {}
        for item in self.stack.ledger(peer, "message"):
            if item["direction"] == direction:
                found.setdefault(strip_marks(item["text"]).rpartition("\n")[2], []).append(item["n"])
        return found

    def _recorded(self) -> dict[str, tuple[int, dict[UUID, str]]]:
        """Return the number of each text in its conversation, and what became of it at each end."""
        rows = self._ask("""
            select m.text, m.seq, d.end_id, d.status from messages m
            left join deliveries d on d.message_id = m.id and d.act = 'new'
        """)
        found: dict[str, tuple[int, dict[UUID, str]]] = {}
        for row in rows:
            statuses = found.setdefault(str(row[0]), (int(str(row[1])), {}))[1]
            if isinstance(row[2], UUID):
                statuses[row[2]] = str(row[3])
        return found

    def _ask(self, query: str) -> list[tuple[object, ...]]:
        engine = create_engine(self.stack.config.database_owner_url)
        try:
            with engine.begin() as connection:
                return [tuple(row) for row in connection.execute(text(query))]
        finally:
            engine.dispose()

    def undone(self) -> dict[str, int]:
        """Count the deliveries of messages by status, for the report."""
        rows = self._ask("select status, count(*) from deliveries where act = 'new' group by 1")
        return {str(status): int(str(count)) for status, count in rows}
