"""Route: a message becomes deliveries, each with a verdict; the same rules for every network and CRM.

Runs inside a transaction that holds the conversation's lock (record, settle). Decisions are collected in an Outbox and written together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from widget_backend import clock, ids
from widget_backend.bridge import channel_settings, rules, runtime
from widget_backend.bridge.ends import Act, Priority, Side
from widget_backend.bridge.events import Direction
from widget_backend.bridge.keep import first_of_month
from widget_backend.bridge.models import Delivery, Message, Trace
from widget_backend.bridge.routes import Map, Stop
from widget_backend.bridge.statuses import Status

RANK = {Priority.PERSON: 0, Priority.LIVE: 1, Priority.MAILING: 2, Priority.HISTORY: 3}
ALBUM_WAIT = timedelta(seconds=1)
_LENGTHEN = text("""
    insert into lanes (end_id, conversation_id, account_id, last_seq, settled_seq, priority, not_before,
                       lease_until, due_since)
    select end_id, conversation_id, :account, places, 0, rank, coalesce(at, now()), now(), now()
    from unnest(
        cast(:ends as uuid[]), cast(:conversations as uuid[]), cast(:counts as int[]), cast(:ranks as smallint[]),
        cast(:times as timestamptz[])
    ) as wanted (end_id, conversation_id, places, rank, at)
    on conflict (end_id, conversation_id) do update set
        last_seq = lanes.last_seq + excluded.last_seq,
        due_since = case when lanes.settled_seq >= lanes.last_seq then now() else lanes.due_since end,
        priority = case when lanes.settled_seq >= lanes.last_seq then excluded.priority
                        else least(lanes.priority, excluded.priority) end,
        not_before = greatest(lanes.not_before, excluded.not_before)
    returning end_id, conversation_id, last_seq
""")
_ARRIVED = (Status.RECEIVED, Status.READ)
NEVER_THERE = (Status.FILTERED, Status.DROPPED, Status.DISCARDED, Status.FAILED, Status.EXPIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """What is to be routed: an act about one message of one conversation."""

    account_id: UUID
    channel_id: UUID
    conversation_id: UUID
    message_id: UUID
    origin_id: UUID
    act: Act
    direction: str
    place: str = "direct"
    thread: str = ""
    text: str = ""
    version: int = 1
    is_automatic: bool = False
    priority: Priority = Priority.LIVE
    not_before: datetime | None = None
    send_until: datetime | None = None
    only_to: frozenset[UUID] | None = None
    """The ends to tell of a new message, its origin perhaps among them; None: all that hear of it, but not where it came from."""


class Outbox:
    """Collects what one transaction decided about deliveries; `flush` writes it in a few statements, whatever its size."""

    def __init__(self, session: Session, map: Map) -> None:
        self.session = session
        self.map = map
        self._waiting: list[tuple[Matter, UUID, dict[str, object]]] = []
        self._held: list[tuple[Matter, Delivery]] = []
        self._settled: list[dict[str, object]] = []
        self._traces: list[dict[str, object]] = []

    def message(self, matter: Matter) -> bool:
        """Decide where a new message goes; tell whether it is of use to anybody, or the rules kept it from every end."""
        channel = self.map.stops.get(matter.channel_id)
        stops = self.map.others(matter.channel_id, matter.origin_id)
        if matter.only_to is not None:
            stops = [stop for id, stop in self.map.stops.items() if id in matter.only_to]
        is_wanted = not stops
        for stop in stops:
            question = rules.Question(
                direction=matter.direction,
                place=matter.place,
                text=matter.text,
                is_automatic=matter.is_automatic,
                to_side=stop.side,
                can_group=stop.capabilities.can_group,
                channel_settings=channel.settings if channel else {},
                end_settings=stop.settings,
            )
            if stop.is_off:
                self._refuse(matter, stop, "channel_off")
                is_wanted = True
                continue
            status, trace = rules.judge(question)
            self._traces += [_trace(matter, stop.id, rule, verdict) for rule, verdict in trace]
            if status is None:
                self._queue(matter, stop, Act.NEW.value)
                is_wanted = True
            else:
                self._settled.append(_row(matter, stop, Act.NEW.value, status=status, reason=trace[-1][1].why))
        if not stops:
            self._traces.append(_trace(matter, None, "routes", rules.Verdict(Status.FILTERED, "no_route")))
        return is_wanted

    def _refuse(self, matter: Matter, stop: Stop, reason: str) -> None:
        """Note that a message cannot go to an end, and tell who wrote it."""
        row = _row(matter, stop, Act.NEW.value, status=Status.FAILED, reason=reason)
        self._settled.append(row)
        self._traces.append(_trace(matter, stop.id, "routes", rules.Verdict(Status.FAILED, reason)))
        told = replace(matter, act=Act.STATUS)
        self.report(told, status=Status.FAILED.value, reason=reason, delivery_id=row["id"])  # type: ignore[arg-type]

    def change(self, matter: Matter, *, besides: Sequence[UUID] = ()) -> None:
        """Decide where an edit or a deletion goes: to every end that has, or will have, the message itself.

        `besides`: the CRM in which it was written; where that was done by hand, it is only told.
        """
        holders = self.session.scalars(
            select(Delivery.end_id).where(
                Delivery.message_id == matter.message_id,
                Delivery.act == Act.NEW.value,
                Delivery.end_id != matter.origin_id,
                Delivery.status.not_in(NEVER_THERE),
            )
        ).all()
        for id in dict.fromkeys([*holders, *besides]):
            stop = self.map.working(id)
            if stop is not None:
                self._queue_once(matter, stop, f"{matter.act.value}:{matter.version}")

    def report(self, matter: Matter, *, status: str, reason: str, delivery_id: UUID) -> None:
        """Tell the end where a message was written what became of it: a report is itself a delivery."""
        stop = self.map.working(matter.origin_id)
        if stop is None or stop.side is not Side.CRM or not stop.capabilities.reports:
            return
        if status in _ARRIVED and status not in stop.capabilities.told:
            status = Status.SENT.value  # one mark for all of them, told once, whichever comes first
        if status in stop.capabilities.told:
            payload = {"status": status, "reason": reason, "delivery": str(delivery_id)}
            self._queue_once(matter, stop, f"status:{status}:{reason}", payload)

    def arrived(self, matter: Matter) -> None:
        """Mark a client's message as read at once where the channel's admin wants that, whoever has seen it."""
        stop = self._reading(matter)
        if stop is not None and channel_settings.marks_read_at_once(stop.settings):
            self._queue_read(matter, stop)

    def read(self, matter: Matter, up_to: int) -> None:
        """Mark the client's messages up to this place of the conversation as read in his network: somebody has read or answered them."""
        stop = self._reading(matter)
        if stop is None or not channel_settings.marks_read(stop.settings):
            return
        last = select(Message.id).where(
            Message.conversation_id == matter.conversation_id,
            Message.direction == Direction.IN.value,
            Message.seq <= up_to,
        )
        message_id = self.session.scalar(last.order_by(Message.seq.desc()).limit(1))
        if message_id is not None:
            self._queue_read(replace(matter, message_id=message_id), stop)

    def _reading(self, matter: Matter) -> Stop | None:
        """Return the channel of a conversation where it can show that something was read."""
        stop = self.map.working(matter.channel_id)
        if stop is None or not stop.capabilities.can_mark_read:
            return None
        return stop if matter.thread or not stop.capabilities.reads_threads_only else None

    def _queue_read(self, matter: Matter, stop: Stop) -> None:
        """Plan a read mark; it speaks for all messages before, so that one decided a moment ago is not needed any more."""
        matter = replace(matter, act=Act.READ)
        self._waiting = [
            (known, end_id, row)
            for known, end_id, row in self._waiting
            if known.act is not Act.READ or known.conversation_id != matter.conversation_id or end_id != stop.id
        ]
        self._queue_once(matter, stop, Act.READ.value)

    def catch_up(self, matter: Matter, stop: Stop, held: Delivery | None) -> None:
        """Queue an edit or a deletion for a message that turned out to be there after all; `held` waited for that outside its lane."""
        if held is not None:
            self._held.append((matter, held))
            return
        dedupe = f"{matter.act.value}:{matter.version}"
        known = select(Delivery.status).where(
            Delivery.end_id == stop.id, Delivery.message_id == matter.message_id, Delivery.dedupe == dedupe
        )
        was_given_up = self.session.scalar(known) == Status.DISCARDED
        self._queue_once(matter, stop, f"{dedupe}:late" if was_given_up else dedupe)

    def flush(self) -> bool:
        """Write everything collected; tell whether anything now waits in a lane."""
        has_work = bool(self._waiting or self._held)
        if has_work:
            seqs = self._take_places()
            rows = []
            for matter, held in self._held:
                seqs[(held.end_id, matter.conversation_id)] += 1
                held.lane_seq, held.reason = seqs[(held.end_id, matter.conversation_id)], ""
            for matter, end_id, row in self._waiting:
                seqs[(end_id, matter.conversation_id)] += 1
                rows.append({**row, "lane_seq": seqs[(end_id, matter.conversation_id)]})
            if rows:
                self.session.execute(insert(Delivery), rows)
        if self._settled:
            self.session.execute(insert(Delivery).on_conflict_do_nothing(), self._settled)
        if self._traces:
            self.session.execute(insert(Trace), self._traces)
        self._waiting, self._held, self._settled, self._traces = [], [], [], []
        return has_work

    def _take_places(self) -> dict[tuple[UUID, UUID], int]:
        """Lengthen the lanes; return the last place taken before ours, by (end, conversation)."""
        counts: dict[tuple[UUID, UUID], list[Matter]] = {}
        places = [(held.end_id, matter) for matter, held in self._held]
        places += [(end_id, matter) for matter, end_id, _row in self._waiting]
        for end_id, matter in places:
            counts.setdefault((end_id, matter.conversation_id), []).append(matter)
        # everybody locks lanes in this order
        last = lengthen(self.session, [(place, counts[place]) for place in sorted(counts)])
        return {place: last[place] - len(counts[place]) for place in counts}

    def _queue(self, matter: Matter, stop: Stop, dedupe: str, payload: Mapping[str, str] | None = None) -> None:
        row = _row(matter, stop, dedupe, status=Status.QUEUED, payload=payload)
        self._waiting.append((matter, stop.id, row))

    def _queue_once(self, matter: Matter, stop: Stop, dedupe: str, payload: Mapping[str, str] | None = None) -> None:
        known = select(Delivery.id).where(
            Delivery.end_id == stop.id, Delivery.message_id == matter.message_id, Delivery.dedupe == dedupe
        )
        planned = any(
            end == stop.id and m.message_id == matter.message_id and row["dedupe"] == dedupe
            for m, end, row in self._waiting
        )
        if not planned and self.session.scalar(known) is None:
            self._queue(matter, stop, dedupe, payload)


def lengthen(
    session: Session, wanted: Sequence[tuple[tuple[UUID, UUID], Sequence[Matter]]]
) -> dict[tuple[UUID, UUID], int]:
    """Take places at the end of lanes, one for each matter, opening those that are new; return the last place of each (end, conversation)."""
    rows = session.execute(
        _LENGTHEN,
        {
            "ends": [end_id for (end_id, _conversation), _matters in wanted],
            "conversations": [conversation_id for (_end, conversation_id), _matters in wanted],
            "account": wanted[0][1][0].account_id,
            "counts": [len(matters) for _place, matters in wanted],
            "ranks": [min(RANK[matter.priority] for matter in matters) for _place, matters in wanted],
            "times": [max((m.not_before for m in matters if m.not_before), default=None) for _place, matters in wanted],
        },
    )
    return {(row.end_id, row.conversation_id): row.last_seq for row in rows}


def expires_at(stop: Stop, act: Act) -> datetime | None:
    """Return when a delivery to this end, made now, is no longer sent by itself; None where it never expires."""
    if not stop.capabilities.expires or act not in (Act.NEW, Act.READ):
        return None
    return clock.now() + channel_settings.patience(stop.settings, runtime.get().config.expiry_hours)


def _sooner(expires: datetime | None, send_until: datetime | None) -> datetime | None:
    return expires if expires is None or send_until is None else min(expires, send_until)


def _row(
    matter: Matter,
    stop: Stop,
    dedupe: str,
    *,
    status: Status,
    reason: str = "",
    payload: Mapping[str, str] | None = None,
) -> dict[str, object]:
    return {
        "id": ids.new_id(),
        "account_id": matter.account_id,
        "end_id": stop.id,
        "conversation_id": matter.conversation_id,
        "message_id": matter.message_id,
        "lane_seq": None,
        "act": matter.act.value,
        "dedupe": dedupe,
        "version": matter.version,
        "status": status.value,
        "reason": reason,
        "detail": "",
        "trigger": "auto",
        "payload": dict(payload or {}),
        "expires_at": _sooner(expires_at(stop, matter.act), matter.send_until),
        "settled_at": None if status is Status.QUEUED else clock.now(),
    }


def _trace(matter: Matter, end_id: UUID | None, rule: str, verdict: rules.Verdict) -> dict[str, object]:
    return {
        "month": first_of_month(clock.now()),
        "account_id": matter.account_id,
        "message_id": matter.message_id,
        "end_id": end_id,
        "rule": rule,
        "verdict": verdict.status.value if verdict.status else "pass",
        "why": verdict.why,
    }
