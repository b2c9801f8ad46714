"""Edits, deletions, statuses and read marks: what happens to a message after it was written. Used by the Recorder, in its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from widget_backend import clock
from widget_backend.bridge import codec, settle
from widget_backend.bridge.ends import Act, Side
from widget_backend.bridge.events import Attachment, Direction, MessageDeleted, MessageEdited, ReadUpTo, StatusChanged
from widget_backend.bridge.models import (
    AttachmentRecord,
    ConversationRecord,
    Delivery,
    Message,
    MessageVersion,
    Part,
)
from widget_backend.bridge.route import Matter
from widget_backend.bridge.statuses import Status

if TYPE_CHECKING:
    from widget_backend.bridge.record import Recorder

ECHO_WAIT = timedelta(seconds=60)
"""How long after a call its echo may come."""

Change = MessageEdited | MessageDeleted | StatusChanged | ReadUpTo


def take(recorder: Recorder, event: Change, trace_id: str) -> str:
    """Apply one change, or park it under the id of the message that has not come yet."""
    known = recorder.keys.get((event.scope, event.remote_id))
    if isinstance(event, StatusChanged):
        return _status(recorder, event, trace_id, known.part_id if known else None)
    if known is None:
        return recorder.park(event, trace_id, waits_for="message")
    message = recorder.session.get_one(Message, known.message_id)
    settle.lock(recorder.session, [message.conversation_id])
    recorder.session.refresh(message)  # as it is now that nobody else may change it
    match event:
        case MessageEdited():
            return _edited(recorder, event, message, known.part_id)
        case MessageDeleted():
            return _deleted(recorder, event, message)
        case ReadUpTo():
            return _read(recorder, event, message)


def _edited(recorder: Recorder, event: MessageEdited, message: Message, part_id: UUID | None) -> str:
    session = recorder.session
    if message.deleted_at is not None or (event.revision and event.revision == message.revision):
        return "duplicate"
    if message.origin_end_id == recorder.stop.id and _is_older(event, message):
        return "older"
    ours = _ours(session, recorder.stop.id, message.id, event.remote_id) if part_id else []
    said = _text(ours[-1]) if ours else message.text
    same_files = event.attachments is None or _same_files(event.attachments, message)
    if same_files and (event.text == said or _is_echo(ours, event.text)):
        message.revision = event.revision or message.revision
        return "duplicate"  # the echo of our own edit, or an edit of something we do not keep
    keep_version(session, message)
    message.text, message.version = _whole_text(message, ours, event.text), message.version + 1
    message.revision = event.revision
    message.edited_at = event.edited_at
    if event.attachments is not None and not same_files:
        last = session.scalar(
            select(func.max(AttachmentRecord.number)).where(AttachmentRecord.message_id == message.id)
        )
        stored = recorder.files.add(message.id, message.conversation_id, event.attachments, after=last or 0)
        message.content = {**message.content, "attachments": stored}
    session.flush()
    recorder.files.flush()
    recorder.outbox.change(_matter(session, recorder, message, Act.EDIT))
    return "recorded"


def _is_older(event: MessageEdited, message: Message) -> bool:
    """Tell whether a newer edit came first: hooks overtake each other when they are repeated. Told by the time and, where both have numbers, by those."""
    if message.edited_at is None or event.edited_at > message.edited_at:
        return False
    told, known = (revision.partition("-")[0] for revision in (event.revision, message.revision))
    return told.isdecimal() and known.isdecimal() and int(told) < int(known)


def _deleted(recorder: Recorder, event: MessageDeleted, message: Message) -> str:
    if message.deleted_at is not None:
        return "duplicate"
    keep_version(recorder.session, message)
    message.version += 1
    message.deleted_at = event.deleted_at
    recorder.session.flush()
    recorder.outbox.change(_matter(recorder.session, recorder, message, Act.DELETE))
    return "recorded"


def _status(recorder: Recorder, event: StatusChanged, trace_id: str, part_id: UUID | None) -> str:
    session = recorder.session
    part = session.get(Part, part_id) if part_id else None
    if part is None and event.own_key:
        part = settle.part_by_key(session, recorder.stop.id, event.own_key)
    if part is None:
        return recorder.park(event, trace_id, waits_for="message")
    delivery = session.get_one(Delivery, part.delivery_id)
    settle.lock(session, [delivery.conversation_id])
    session.refresh(delivery)
    moved = recorder.settlement.move(delivery, Status(event.status), event.reason)
    return "recorded" if moved else "duplicate"


def _read(recorder: Recorder, event: ReadUpTo, message: Message) -> str:
    """Everything up to a message was read: by the client, or (told by a CRM) by the manager, which the network then shows."""
    session = recorder.session
    if recorder.stop.side is Side.CRM:
        recorder.outbox.read(_matter(session, recorder, message, Act.READ), message.seq)
        return "recorded"
    sent = session.scalars(
        select(Delivery)
        .join(Message, Message.id == Delivery.message_id)
        .where(
            Delivery.end_id == recorder.stop.id,
            Delivery.conversation_id == message.conversation_id,
            Delivery.act == Act.NEW.value,
            Delivery.status.in_([Status.SENT.value, Status.RECEIVED.value]),
            Message.direction == Direction.OUT.value,
            Message.seq <= message.seq,
        )
        .order_by(Delivery.lane_seq)
    ).all()
    for delivery in sent:
        recorder.settlement.move(delivery, Status.READ)
    return "recorded" if sent else "duplicate"


def keep_version(session: Session, message: Message) -> None:
    """Keep what a message said until now."""
    session.add(
        MessageVersion(
            account_id=message.account_id,
            message_id=message.id,
            version=message.version,
            text=message.text,
            content=message.content,
            replaced_at=func.now(),
        )
    )


def _ours(session: Session, end_id: UUID, message_id: UUID, remote_id: str) -> list[Part]:
    """Return what we made of one remote message, oldest first: the part that it was new with, then its edits."""
    parts = session.scalars(
        select(Part)
        .join(Delivery, Delivery.id == Part.delivery_id)
        .where(Delivery.message_id == message_id, Delivery.end_id == end_id, Part.attempted_at.is_not(None))
        .order_by(Part.attempted_at)
    )
    return [part for part in parts if remote_id in (*part.remote_ids, *part.content.get("targets", []))]  # type: ignore[misc]


def _text(part: Part) -> str:
    return str(part.content.get("text", ""))


def _is_echo(ours: Sequence[Part], text: str) -> bool:
    """Tell whether an edit is one that we made a moment ago; a newer one of ours may have left since."""
    return any(
        part.attempted_at > clock.now() - ECHO_WAIT for part in ours if part.attempted_at and _text(part) == text
    )


def _whole_text(message: Message, ours: Sequence[Part], text: str) -> str:
    """Return the text of a message of which one part now says `text`."""
    if not ours or int(str(ours[-1].content.get("of", 1))) == 1:
        return text
    said = _text(ours[-1])
    ours[-1].content = {**ours[-1].content, "text": text}
    return message.text.replace(said, text, 1)


def _same_files(attachments: Sequence[Attachment], message: Message) -> bool:
    stored: list[dict[str, object]] = message.content.get("attachments", [])  # type: ignore[assignment]
    known = [{name: value for name, value in one.items() if name != "no"} for one in stored]
    return [codec.dump_attachment(attachment) for attachment in attachments] == known


def _matter(session: Session, recorder: Recorder, message: Message, act: Act) -> Matter:
    conversation = session.get_one(ConversationRecord, message.conversation_id)
    return Matter(
        account_id=message.account_id,
        channel_id=conversation.channel_id,
        conversation_id=conversation.id,
        message_id=message.id,
        origin_id=recorder.stop.id,
        act=act,
        direction=message.direction,
        place=conversation.place,
        thread=conversation.thread,
        text=message.text,
        version=message.version,
    )
