"""From rows to what an adapter is given: the heads of leased lanes, their parts, files, quotes and earlier ids, read in a few queries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from widget_backend import files, texts
from widget_backend.bridge import codec, content, represent, standing
from widget_backend.bridge.ends import Act, Client, Conversation, Item, Link, OutFile, OutQuote, Side
from widget_backend.bridge.events import Direction, Kind, Place
from widget_backend.bridge.models import (
    AttachmentRecord,
    ClientRecord,
    ConversationRecord,
    Delivery,
    EndRecord,
    Errand,
    LinkRecord,
    Message,
    MessageKey,
    Part,
    Route,
)
from widget_backend.bridge.routes import Stop


@dataclass(frozen=True, slots=True)
class File:
    """The file of an attachment, and the adapter of the end that it came from."""

    row: AttachmentRecord
    adapter: str

    @property
    def number(self) -> int:
        """Its attachment's number in the message."""
        return self.row.number

    @property
    def state(self) -> str:
        """Wait, stored or failed."""
        return self.row.state


@dataclass(slots=True)
class Head:
    """The first unsettled delivery of a lane with everything it needs."""

    delivery: Delivery
    message: Message
    conversation: ConversationRecord
    client: ClientRecord
    channel: EndRecord
    route: dict[str, object] | None
    link: LinkRecord | None
    parts: list[Part]
    attachments: list[File]
    there: standing.There
    has_profile_errand: bool = False
    quote_remote_id: str = ""
    other_remote_ids: tuple[str, ...] = ()


def heads(session: Session, stop: Stop, places: Sequence[tuple[UUID, int]]) -> list[Head]:
    """Read the deliveries at (conversation, lane_seq), oldest conversation id first."""
    # before the clients: a profile that comes in between would neither be waited for nor be seen
    first = [conversation for conversation, seq in places if seq == 1] if stop.side is Side.CRM else []
    waiting = _with_profile_errand(session, first) if first else set()
    rows = session.execute(
        select(Delivery, Message, ConversationRecord, ClientRecord, EndRecord, Route.settings)
        .join(Message, Message.id == Delivery.message_id)
        .join(ConversationRecord, ConversationRecord.id == Delivery.conversation_id)
        .join(ClientRecord, ClientRecord.id == ConversationRecord.client_id)
        .join(EndRecord, EndRecord.id == ConversationRecord.channel_id)
        .outerjoin(Route, (Route.channel_id == EndRecord.id) & (Route.connection_id == stop.id))
        .where(Delivery.end_id == stop.id, tuple_(Delivery.conversation_id, Delivery.lane_seq).in_(places))
        .order_by(ConversationRecord.id)
    ).all()
    found = [Head(*row, None, [], [], standing.NOTHING) for row in rows]
    if not found:
        return []
    for head in found:
        head.has_profile_errand = head.conversation.id in waiting
    _add_links(session, stop, found)
    _add_parts(session, stop, found)
    _add_files(session, found)
    _add_quotes(session, stop, found)
    return found


def _add_links(session: Session, stop: Stop, found: Sequence[Head]) -> None:
    if stop.side is not Side.CRM:
        return
    conversations = [head.conversation.id for head in found]
    known = {
        link.conversation_id: link
        for link in session.scalars(
            select(LinkRecord).where(LinkRecord.connection_id == stop.id, LinkRecord.conversation_id.in_(conversations))
        )
    }
    missing = [
        {
            "account_id": head.delivery.account_id,
            "connection_id": stop.id,
            "conversation_id": head.conversation.id,
            "remote_id": head.conversation.id.hex,
        }
        for head in found
        if head.conversation.id not in known
    ]
    if missing:
        session.execute(insert(LinkRecord).on_conflict_do_nothing(), missing)
        for link in session.scalars(
            select(LinkRecord).where(LinkRecord.connection_id == stop.id, LinkRecord.conversation_id.in_(conversations))
        ):
            known[link.conversation_id] = link
    for head in found:
        head.link = known[head.conversation.id]


def _with_profile_errand(session: Session, conversations: Sequence[UUID]) -> set[UUID]:
    asked = select(Errand.conversation_id).where(Errand.kind == "profile", Errand.conversation_id.in_(conversations))
    return set(session.scalars(asked))


def _add_parts(session: Session, stop: Stop, found: Sequence[Head]) -> None:
    parts: dict[UUID, list[Part]] = {}
    begun = [head.delivery.id for head in found if head.delivery.first_tried_at or head.delivery.trigger != "auto"]
    if begun:
        for part in session.scalars(select(Part).where(Part.delivery_id.in_(begun)).order_by(Part.number)):
            parts.setdefault(part.delivery_id, []).append(part)
    for head in found:
        mine = parts.get(head.delivery.id, [])
        last = max((part.generation for part in mine), default=1)
        head.parts = [part for part in mine if part.generation == last]
    changed = [head for head in found if head.delivery.act in (Act.EDIT, Act.DELETE)]
    if changed:
        there = standing.read(session, stop.id, [head.message.id for head in changed])
        for head in changed:
            head.there = there.get(head.message.id, standing.NOTHING)
    told = [head for head in found if head.delivery.act == Act.STATUS]
    if told:
        ids: dict[UUID, list[str]] = {}
        for message_id, remote_ids in session.execute(
            select(Delivery.message_id, Part.remote_ids)
            .join(Part, Part.delivery_id == Delivery.id)
            .where(Delivery.id.in_([UUID(head.delivery.payload["delivery"]) for head in told]))
            .order_by(Part.number)
        ):
            ids.setdefault(message_id, []).extend(remote_ids)
        for head in told:
            head.other_remote_ids = tuple(ids.get(head.message.id, ()))


def _add_files(session: Session, found: Sequence[Head]) -> None:
    with_files = [head.message.id for head in found if head.message.content.get("attachments")]
    if not with_files:
        return
    by_message: dict[UUID, list[File]] = {}
    for row, adapter in session.execute(
        select(AttachmentRecord, EndRecord.adapter)
        .join(EndRecord, EndRecord.id == AttachmentRecord.end_id)
        .where(AttachmentRecord.message_id.in_(with_files))
    ):
        by_message.setdefault(row.message_id, []).append(File(row, adapter))
    for head in found:
        head.attachments = by_message.get(head.message.id, [])


def _add_quotes(session: Session, stop: Stop, found: Sequence[Head]) -> None:
    """Find what this end calls the quoted messages, and for statuses and read marks what it calls the message itself."""
    wanted: dict[UUID, UUID] = {}
    for head in found:
        quote: Any = head.message.content.get("quote")
        if isinstance(quote, Mapping) and quote.get("message_id"):
            wanted[head.delivery.id] = UUID(str(quote["message_id"]))
        if head.delivery.act in (Act.STATUS, Act.READ):
            wanted[head.delivery.id] = head.message.id
    if not wanted:
        return
    names = {
        message_id: remote_id
        for message_id, remote_id in session.execute(
            select(MessageKey.message_id, MessageKey.remote_id)
            .where(MessageKey.end_id == stop.id, MessageKey.message_id.in_(list(wanted.values())))
            .order_by(MessageKey.remote_id.desc())
        )
        if not remote_id.startswith("album:")
    }
    for head in found:
        if head.delivery.id in wanted:
            head.quote_remote_id = names.get(wanted[head.delivery.id], "")


def things(head: Head, locale: str, told: Collection[int] = ()) -> list[represent.Thing]:
    """Return the attachments of a message with what is stored of them.

    Shape: `told` are the numbers of those that stand at the end as words already and stay so: an edit adds no file there.
    """
    by_number = {file.number: file for file in head.attachments}
    found = []
    for stored in head.message.content.get("attachments", []):  # type: ignore[attr-defined]
        file = by_number.get(int(stored["no"]))
        url, note = ("", "") if file is None else _whereabouts(file, locale)
        row = None if file is None else file.row
        thing = represent.thing_of(stored, codec.load_attachment(stored), file=row, url=url, note=note)
        found.append(replace(thing, is_stored=False) if thing.number in told else thing)
    return found


def not_there(head: Head) -> list[int]:
    """Return the numbers of the attachments whose file is not stored."""
    return [file.number for file in head.attachments if file.state != "stored"]


def item(head: Head, part: Part, stop: Stop, locale: str) -> Item:
    """Build what the adapter is given for one part."""
    quote: Any = head.message.content.get("quote")
    out_quote = None
    if isinstance(quote, Mapping) and part.number == 1 and head.delivery.act != Act.STATUS:
        out_quote = OutQuote(
            remote_id=head.quote_remote_id, text=str(quote.get("text", "")), author=str(quote.get("author", ""))
        )
    delivery, message, payload = head.delivery, head.message, head.delivery.payload
    status, reason = payload.get("status", ""), payload.get("reason", "")
    targets: Any = part.content.get("targets", [])
    is_about_message = delivery.act in (Act.STATUS, Act.READ)
    return Item(
        key=str(part.id),
        counter=part.counter,
        act=Act(str(part.content.get("act", delivery.act))),
        conversation=conversation(head),
        message_id=str(message.id),
        direction=Direction(message.direction),
        sent_at=message.sent_at,
        text=str(part.content.get("text", "")),
        files=tuple(_out_files(head, part, locale)),
        quote=out_quote,
        author=message.author,
        author_id=message.author_id,
        is_first=head.delivery.lane_seq == 1,
        is_from_here=delivery.act == Act.NEW and message.origin_end_id == stop.id,
        is_late=message.is_late,
        part=part.number,
        parts=int(str(part.content.get("of", 1))),
        remote_ids=(head.quote_remote_id,) if is_about_message else tuple(targets),
        other_remote_ids=(head.quote_remote_id,) if delivery.act == Act.READ else head.other_remote_ids,
        status=status,
        reason=reason,
        reason_text=texts.reason(reason, head.channel.adapter, locale) if reason else "",
        payload=payload,
        started_at=part.attempted_at,
    )


def conversation(head: Head) -> Conversation:
    """Build the conversation as adapters see it."""
    return conversation_of(head.conversation, head.client, head.channel, head.link, head.route)


def conversation_of(
    row: ConversationRecord,
    client: ClientRecord,
    channel: EndRecord,
    link: LinkRecord | None,
    route: dict[str, object] | None = None,
) -> Conversation:
    """Build a conversation as adapters see it, from its rows."""
    return Conversation(
        id=str(row.id),
        client=Client(id=str(client.id), person=content.person_of(client.remote_id, client.name, client.profile)),
        thread=row.thread,
        scope=row.scope,
        place=Place(row.place),
        title=row.title,
        network=channel.adapter,
        channel_title=channel.title,
        channel_id=str(channel.id),
        link=Link(remote_id=link.remote_id, state=link.state) if link else None,
        route=route or {},
    )


def _out_files(head: Head, part: Part, locale: str) -> list[OutFile]:
    wanted: Any = part.content.get("things", [])
    if not wanted:
        return []
    kinds = {int(number): Kind(kind) for number, kind in wanted}
    rows = {file.number: file.row for file in head.attachments}
    out = []
    for thing in things(head, locale):
        if thing.number not in kinds:
            continue
        facts = codec.load_attachment({**codec.dump_fields(thing.attachment), "kind": kinds[thing.number].value})
        row = rows.get(thing.number)
        out.append(OutFile(attachment=facts, url=thing.url, open=_opener(row)))
    return out


def _whereabouts(file: File, locale: str) -> tuple[str, str]:
    """Return (link, note) for a file: where it is or will be had, and what is to be said about one that is not there."""
    row = file.row
    match row.state:
        case "stored":
            return files.store().link(row.account_id, row.file_ref, row.name), ""
        case "wait":
            return files.store().late_link(row.account_id, row.id), texts.text("represent.file_late", locale)
        case _:
            reason = texts.reason(row.reason, file.adapter, locale)
            return "", texts.text("represent.file_failed", locale, reason=reason)


def _opener(row: AttachmentRecord | None) -> Any:
    if row is None or row.state != "stored":
        return None
    account_id, ref = row.account_id, row.file_ref

    def open_file() -> BinaryIO:
        return cast(BinaryIO, files.store().open(account_id, ref))

    return open_file
