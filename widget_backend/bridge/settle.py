"""Settle: what an outside call, an echo or a status report says about a delivery becomes its status, and the report to where it was written.

Everything here runs in a transaction that holds the conversation's lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from widget_backend import clock
from widget_backend.bridge import standing, statuses
from widget_backend.bridge.ends import Act, Side
from widget_backend.bridge.events import MessageReceived
from widget_backend.bridge.models import Attempt, ConversationRecord, Delivery, Lane, Message, MessageKey, Part
from widget_backend.bridge.route import Matter, Outbox
from widget_backend.bridge.statuses import Status

_CLOSE_ATTEMPT = (
    update(Attempt.__table__)  # type: ignore[arg-type]
    .where(Attempt.__table__.c.id == bindparam("attempt"))
    .values(
        outcome=bindparam("result"),
        reason=bindparam("why"),
        detail=bindparam("said"),
        duration_ms=bindparam("took_ms"),
        next_at=bindparam("again_at"),
    )
)
_PASS_TURN = (
    update(Lane.__table__)  # type: ignore[arg-type]
    .where(
        Lane.__table__.c.end_id == bindparam("end"),
        Lane.__table__.c.conversation_id == bindparam("conversation"),
        Lane.__table__.c.settled_seq == bindparam("before"),
    )
    .values(settled_seq=bindparam("seq"), not_before=func.now(), due_since=func.now())
)

HELD = "message_open"


def lock(session: Session, conversation_ids: Iterable[UUID]) -> None:
    """Lock conversations in the order that everybody uses; they are in the session afterwards."""
    session.scalars(
        select(ConversationRecord)
        .where(ConversationRecord.id.in_(set(conversation_ids)))
        .order_by(ConversationRecord.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()


class Settlement:
    """What one transaction decides about deliveries; `flush` writes what was collected in a few statements."""

    def __init__(self, session: Session, outbox: Outbox) -> None:
        self.session = session
        self.outbox = outbox
        self.moved: set[UUID] = set()
        self.named: dict[tuple[str, str], tuple[UUID, UUID]] = {}
        """(scope, remote id) -> (message, part) of what ends took in this transaction."""
        self._keys: list[dict[str, object]] = []
        self._turns: list[dict[str, object]] = []
        self._attempts: list[dict[str, object]] = []

    def confirm_own(self, end_id: UUID, conversation_id: UUID, event: MessageReceived) -> bool:
        """Match an echo with our own part by its key; a match settles the part even if its call never answered. Tell whether it was ours.

        Programs of others choose their numbers too: one of ours that comes from another conversation is a coincidence.
        """
        part = part_by_key(self.session, end_id, event.own_key)
        delivery = self.session.get_one(Delivery, part.delivery_id) if part is not None else None
        if part is None or delivery is None or delivery.conversation_id != conversation_id:
            return False
        self.accept(delivery, part, (event.remote_id,), event.scope)
        return True

    def accept(self, delivery: Delivery, part: Part, remote_ids: Sequence[str], scope: str, status: str = "") -> None:
        """Note that an end took a part; when it was the last one, the delivery is settled. Safe to repeat."""
        if part.status != "accepted":
            part.status, part.remote_ids = "accepted", list(remote_ids) or part.remote_ids
            if part.attempt_id is not None:
                # an echo is faster than the answer; if the caller is dead, nobody else would close his attempt
                self.close_attempt(part.attempt_id, outcome="accepted")
            part.attempt_id = None
            if delivery.trigger != "auto":
                self._spare_repeat(part)
            self.named |= {(scope, remote_id): (delivery.message_id, part.id) for remote_id in remote_ids}
            self._keys += [
                {
                    "account_id": delivery.account_id,
                    "end_id": delivery.end_id,
                    "scope": scope,
                    "remote_id": remote_id,
                    "message_id": delivery.message_id,
                    "part_id": part.id,
                }
                for remote_id in dict.fromkeys(remote_ids)
            ]
        if self._is_complete(delivery, part):
            stop = self.outbox.map.stops.get(delivery.end_id)
            done = Status.SENT if stop is not None and stop.side is Side.NETWORK else Status.DELIVERED
            self.move(delivery, Status(status) if status else done)

    def move(self, delivery: Delivery, status: Status, reason: str = "", detail: str = "") -> bool:
        """Move a delivery along the table of statuses, end its turn in the lane, report. False when the table forbids the move."""
        stop = self.outbox.map.stops.get(delivery.end_id)
        is_network = stop is not None and stop.side is Side.NETWORK
        now = Status(delivery.status)
        table = statuses.TO_NETWORK if is_network else statuses.TO_CRM
        if now is status or not statuses.may_move(table, now, status):
            return False
        delivery.status, delivery.reason, delivery.detail = status.value, reason, detail[:2000]
        delivery.settled_at = delivery.settled_at or clock.now()
        self.pass_turn(delivery)
        if delivery.act == Act.NEW.value:
            if now not in standing.ARRIVED:
                self._catch_up(delivery)
            if is_network:
                self._report(delivery)  # what became of a message in one CRM is no news for another
        return True

    def hold(self, delivery: Delivery) -> None:
        """Let a change wait outside its lane until it is known whether its message is there."""
        self.pass_turn(delivery)
        delivery.lane_seq, delivery.reason = None, HELD

    def pass_turn(self, delivery: Delivery) -> None:
        """Let the lane go on behind this delivery."""
        if delivery.lane_seq is not None:
            self.moved.add(delivery.conversation_id)
            self._turns.append(
                {
                    "end": delivery.end_id,
                    "conversation": delivery.conversation_id,
                    "before": delivery.lane_seq - 1,
                    "seq": delivery.lane_seq,
                }
            )

    def close_attempt(
        self,
        attempt_id: int,
        *,
        outcome: str,
        reason: str = "",
        detail: str = "",
        duration_ms: int | None = None,
        next_at: object = None,
    ) -> None:
        """Write what became of an outside call."""
        self._attempts.append(
            {
                "attempt": attempt_id,
                "result": outcome,
                "why": reason,
                "said": detail[:2000],
                "took_ms": duration_ms,
                "again_at": next_at,
            }
        )

    def flush(self) -> None:
        """Write keys, turns and attempts."""
        self.session.flush()
        if self._keys:
            self.session.execute(insert(MessageKey).on_conflict_do_nothing(), self._keys)
        connection = self.session.connection()
        if self._turns:
            turns = sorted(self._turns, key=lambda t: (str(t["end"]), str(t["conversation"]), t["seq"]))
            connection.execute(_PASS_TURN, turns)
        if self._attempts:
            connection.execute(_CLOSE_ATTEMPT, self._attempts)
        self._keys, self._turns, self._attempts = [], [], []

    def _spare_repeat(self, part: Part) -> None:
        """Do not send again a part that arrived after all, if the repeat a person asked for has not sent it yet."""
        repeats = select(Part).where(
            Part.delivery_id == part.delivery_id,
            Part.number == part.number,
            Part.generation > part.generation,
            Part.attempts == 0,
        )
        for again in self.session.scalars(repeats):
            again.status, again.remote_ids, again.attempted_at = "accepted", part.remote_ids, part.attempted_at
            again.content = part.content

    def _is_complete(self, delivery: Delivery, part: Part) -> bool:
        if int(str(part.content.get("of", 1))) == 1:
            return True
        self.session.flush()
        open_parts = select(func.count()).where(
            Part.delivery_id == delivery.id, Part.generation == part.generation, Part.status != "accepted"
        )
        return not self.session.scalar(open_parts)

    def _catch_up(self, delivery: Delivery) -> None:
        """Decide about the edits and deletions that a message met while nobody knew whether it is there, or which it missed."""
        message = self.session.get_one(Message, delivery.message_id)
        if message.version == 1 or delivery.status in standing.OPEN:
            return
        self.session.flush()
        waiting = self.session.scalars(
            select(Delivery)
            .where(
                Delivery.end_id == delivery.end_id,
                Delivery.message_id == message.id,
                Delivery.act.in_((Act.EDIT.value, Act.DELETE.value)),
                Delivery.status == Status.QUEUED.value,
                Delivery.lane_seq.is_(None),
            )
            .order_by(Delivery.version)
        ).all()
        act = self._missing(delivery, message)
        newest = next((one for one in reversed(waiting) if one.act == act), None)
        for one in waiting:
            if one is not newest:
                why = "superseded" if delivery.status in standing.ARRIVED else "message_not_there"
                self.move(one, Status.DISCARDED, why)
        stop = self.outbox.map.working(delivery.end_id)
        if act is not None and stop is not None:
            self.outbox.catch_up(self._matter(delivery, message, act), stop, newest)

    def _missing(self, delivery: Delivery, message: Message) -> Act | None:
        """Return what is still to be done at an end that has a message, None when it has it as it is now, or not at all."""
        if delivery.status not in standing.ARRIVED:
            return None
        if message.deleted_at is not None:
            return Act.DELETE
        there = standing.read(self.session, delivery.end_id, [message.id])[message.id]
        return Act.EDIT if there.version < message.version else None

    def _report(self, delivery: Delivery) -> None:
        message = self.session.get_one(Message, delivery.message_id)
        if message.origin_end_id == delivery.end_id:
            return
        matter = self._matter(delivery, message, Act.STATUS)
        self.outbox.report(matter, status=delivery.status, reason=delivery.reason, delivery_id=delivery.id)

    def _matter(self, delivery: Delivery, message: Message, act: Act) -> Matter:
        conversation = self.session.get_one(ConversationRecord, delivery.conversation_id)
        return Matter(
            account_id=delivery.account_id,
            channel_id=conversation.channel_id,
            conversation_id=conversation.id,
            message_id=message.id,
            origin_id=message.origin_end_id,
            act=act,
            direction=message.direction,
            place=conversation.place,
            version=message.version,
        )


def part_by_key(session: Session, end_id: UUID, own_key: str) -> Part | None:
    """Find our part from the key an end echoes: its counter or its id."""
    if own_key.isdecimal() and len(own_key) < 19:
        return session.scalars(select(Part).where(Part.end_id == end_id, Part.counter == int(own_key))).first()
    try:
        id = UUID(own_key)
    except ValueError:
        return None
    return session.scalars(select(Part).where(Part.end_id == end_id, Part.id == id)).first()
