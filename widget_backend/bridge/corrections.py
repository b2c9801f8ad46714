"""Corrections: what the company's side wrote is changed or taken back, in a panel or by a program, where the client's network can do that.

The change is recorded like one that an end tells of, and goes as ordinary deliveries: to the network, and to every CRM that shows the message. A CRM in
which it was written by hand cannot be made to change it: there a line below says so (`plan`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from widget_backend import clock
from widget_backend.accounts.models import AuditEntry
from widget_backend.bridge import changes, composer, gate, routes, settle, standing, wake
from widget_backend.bridge.composer import Draft, KeyReused, Refused, Writer, Written
from widget_backend.bridge.ends import Act, Priority, Side
from widget_backend.bridge.events import Direction
from widget_backend.bridge.models import OURSELVES, Composition, ConversationRecord, Delivery, Message
from widget_backend.bridge.repeat import REPEATABLE
from widget_backend.bridge.route import NEVER_THERE, Matter, Outbox
from widget_backend.bridge.routes import Map, Stop
from widget_backend.bridge.standing import There
from widget_backend.bridge.statuses import Status
from widget_backend.bridge.tenancy import transaction

_TOLD = frozenset({Status.QUEUED, *REPEATABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """One press of an editor. `key` is the editor's own, for ever; `text` None: the message is taken back."""

    key: str
    writer: Writer
    message_id: UUID
    text: str | None = None

    @property
    def act(self) -> Act:
        """What is asked for."""
        return Act.DELETE if self.text is None else Act.EDIT


@dataclass(frozen=True, slots=True)
class Ways:
    """What may be done about a message. `edit`, `delete`: why not, empty when one may; `last`: its newest change on the way to the network, or in trouble."""

    edit: str
    delete: str
    last: Delivery | None


def correct(account_id: UUID, correction: Correction) -> Written:
    """Change a message or take it back; the same editor pressed again, whenever, changes nothing.

    Raises: KeyError: this account has no such message; composer.Refused (nothing was stored), KeyReused.
    """
    digest = composer.digest_of([correction.act.value, correction.message_id, correction.text])
    with transaction(account_id) as session:
        found = session.get(Message, correction.message_id)
        if found is None or found.account_id != account_id:
            raise KeyError(correction.message_id)
        settle.lock(session, [found.conversation_id])
        known = composer.earlier_in(session, account_id, correction.key, digest)
        if known is not None:
            return known
        message = session.get_one(Message, found.id, populate_existing=True)
        is_new = _apply(session, message, correction)
        _remember(session, message, correction, digest)
    wake.poke()
    return Written(message.conversation_id, message.id, is_new=is_new)


def ways(session: Session, channel: Stop, messages: Sequence[Message]) -> Mapping[UUID, Ways]:
    """Say what may be done about the company's messages of one channel."""
    ours = {one.id: one for one in messages if one.direction == Direction.OUT}
    if not ours:
        return {}
    there, last, now = standing.read(session, channel.id, list(ours)), _last(session, channel, list(ours)), clock.now()
    return {
        id: Ways(
            refusal(channel, one, there.get(id, standing.NOTHING), Act.EDIT, now),
            refusal(channel, one, there.get(id, standing.NOTHING), Act.DELETE, now),
            last.get(id),
        )
        for id, one in ours.items()
    }


def refusal(channel: Stop, message: Message, there: There, act: Act, now: datetime) -> str:
    """Say why a message cannot be changed at its client's; empty when it can, as far as we know without asking the network."""
    facts, is_edit = channel.capabilities, act is Act.EDIT
    if message.direction != Direction.OUT:
        return "not_ours"
    if message.deleted_at is not None:
        return "deleted_already"
    if message.origin_end_id == channel.id:
        return "written_in_network"
    if channel.state != "active":
        return "channel_off" if channel.is_off else "channel_broken"
    if not (facts.can_edit if is_edit else facts.can_delete):
        return "network_cannot_edit" if is_edit else "network_cannot_delete"
    if not there.status or there.status in NEVER_THERE:
        return "message_not_there"
    if there.status == Status.UNCERTAIN:
        return "message_open"
    if is_edit and not message.text:
        return "nothing_to_edit"
    window = facts.edit_window if is_edit else facts.delete_window
    if there.parts and not gate.may_change(there.parts[0].at, window, now):
        return "edit_window_closed" if is_edit else "delete_window_closed"
    return ""


def _apply(session: Session, message: Message, correction: Correction) -> bool:
    """Record the change and route it; tell whether there was anything to do. Raises: Refused."""
    act, text = correction.act, correction.text
    if text is not None and not text.strip():
        raise Refused("empty")
    composer.check(Draft(text=text or ""))
    if (act is Act.DELETE and message.deleted_at is not None) or (text == message.text and message.deleted_at is None):
        return False
    map, conversation = routes.read(session), session.get_one(ConversationRecord, message.conversation_id)
    channel = map.stops[conversation.channel_id]
    there = standing.read(session, channel.id, [message.id]).get(message.id, standing.NOTHING)
    if reason := refusal(channel, message, there, act, clock.now()):
        raise Refused(reason, channel.adapter)
    changes.keep_version(session, message)
    message.version += 1
    if text is None:
        message.deleted_at = clock.now()
    else:
        message.text, message.edited_at = text, clock.now()
    session.flush()
    _route(session, map, conversation, message, act)
    session.add(
        AuditEntry(
            account_id=message.account_id,
            actor=correction.writer.actor,
            action=f"message.{act.value}",
            subject=str(message.id),
            details={"version": message.version},
        )
    )
    return True


def _route(session: Session, map: Map, conversation: ConversationRecord, message: Message, act: Act) -> None:
    outbox, written_in = Outbox(session, map), map.working(message.origin_end_id)
    matter = Matter(
        account_id=message.account_id,
        channel_id=conversation.channel_id,
        conversation_id=conversation.id,
        message_id=message.id,
        origin_id=OURSELVES,
        act=act,
        direction=message.direction,
        place=conversation.place,
        thread=conversation.thread,
        text=message.text,
        version=message.version,
        priority=Priority.PERSON,
    )
    by_hand = written_in is not None and written_in.side is Side.CRM
    outbox.change(matter, besides=[message.origin_end_id] if by_hand else ())
    outbox.flush()


def _remember(session: Session, message: Message, correction: Correction, digest: bytes) -> None:
    """Take the editor's key. Raises: KeyReused: at this moment it was used for a message of another conversation."""
    taken = insert(Composition).values(
        account_id=message.account_id,
        key=correction.key,
        digest=digest,
        conversation_id=message.conversation_id,
        message_id=message.id,
        actor=correction.writer.actor,
    )
    if session.scalar(taken.on_conflict_do_nothing().returning(Composition.key)) is None:
        raise KeyReused()


def _last(session: Session, channel: Stop, message_ids: Sequence[UUID]) -> dict[UUID, Delivery]:
    """Return the newest change of each message at its network, where that is still to be told of."""
    newest = (
        select(Delivery.message_id, func.max(Delivery.version).label("version"))
        .where(
            Delivery.end_id == channel.id,
            Delivery.message_id.in_(message_ids),
            Delivery.act.in_((Act.EDIT.value, Act.DELETE.value)),
        )
        .group_by(Delivery.message_id)
        .subquery()
    )
    rows = session.scalars(
        select(Delivery)
        .join(newest, (Delivery.message_id == newest.c.message_id) & (Delivery.version == newest.c.version))
        .where(Delivery.end_id == channel.id, Delivery.act.in_((Act.EDIT.value, Act.DELETE.value)))
        .order_by(Delivery.id)
    )
    return {one.message_id: one for one in rows if one.status in _TOLD or one.reason.startswith("cannot_")}
