"""Dialogs: begun from a card or by a program, listed for a card, read message by message with what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from widget_backend import clock, files, ids
from widget_backend.bridge import (
    cards,
    codec,
    composer,
    content,
    corrections,
    gate,
    journal,
    quick_replies,
    recipients,
    routes,
    settle,
    setup,
    spots,
    wake,
)
from widget_backend.bridge.composer import Draft, Note, Refused, Writer, Written
from widget_backend.bridge.corrections import Ways
from widget_backend.bridge.ends import Act, Address, Card, Side
from widget_backend.bridge.events import Direction
from widget_backend.bridge.journal import Cursor, Line
from widget_backend.bridge.models import (
    AttachmentRecord,
    ClientAddress,
    ClientRecord,
    ConversationRecord,
    Delivery,
    LinkRecord,
    Message,
)
from widget_backend.bridge.recipients import Target
from widget_backend.bridge.routes import Map, Stop
from widget_backend.bridge.tenancy import transaction
from widget_backend.bridge.uploads import Upload

PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One press of a composer. Whom: `conversation_id`, `client_id`, or `channel_id` and `address`.

    Shape: `key` is the composer's own, for ever. `quick_reply_id`: its text stands where `text` is empty, its files are added. `card` and `contact`
    are named as by `cards.key`; a `writer` with an id must see the card, which is read for that, unless it is `shown`: read with his rights a moment ago. `remote_id`, `session`: as in `composer.Note`.
    """

    key: str
    writer: Writer
    channel_id: UUID | None = None
    address: Address | None = None
    client_id: UUID | None = None
    conversation_id: UUID | None = None
    text: str = ""
    files: tuple[Upload, ...] = ()
    quick_reply_id: UUID | None = None
    connection_id: UUID | None = None
    card: str = ""
    contact: str = ""
    shown: Card | None = None
    remote_id: str = ""
    session: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> bytes:
        """What tells it from another press; the writer's name and what a file is called outside do not."""
        whom = [self.channel_id, self.client_id, self.conversation_id]
        to = [self.address.kind, self.address.value] if self.address else []
        what = [self.text, [[one.sha256, one.name] for one in self.files], self.quick_reply_id]
        return composer.digest_of([whom, to, what, self.connection_id, self.card, self.contact, self.writer.id])


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialog:
    """A conversation as a card's panel shows it. `sending`: the delivery of our last message to the network; `reason`: why one cannot write now."""

    conversation: ConversationRecord
    client: ClientRecord
    channel: Stop
    card: str
    contact: str
    last: Message | None
    sending: Delivery | None
    reason: str
    left_s: int | None

    @property
    def is_unanswered(self) -> bool:
        """Whether the client had the last word."""
        return self.last is not None and self.last.direction == Direction.IN


@dataclass(frozen=True, slots=True)
class Dialogs:
    """A page of dialogs, the latest first."""

    items: list[Dialog]
    next: Cursor | None


@dataclass(frozen=True, slots=True)
class Thing:
    """Something attached, as a panel shows it. `url`: our signed link to its file, or where it is in the network; empty when there is neither."""

    kind: str
    name: str
    mime: str
    size_bytes: int | None
    url: str


@dataclass(frozen=True, slots=True)
class Talk:
    """A page of a conversation, newest first, with what is attached and what may be done by message, and the number behind which the next page begins."""

    lines: list[Line]
    channel: Stop
    things: Mapping[UUID, list[Thing]]
    ways: Mapping[UUID, Ways]
    next: int | None = None

    def telling(self, line: Line) -> Delivery | None:
        """Return the delivery whose status is the message's: to the network for ours, to a CRM for the client's; of several the one in trouble.

        A change of ours that is on its way, or in trouble, speaks for its message.
        """
        is_ours = line.message.direction == Direction.OUT
        ways = self.ways.get(line.message.id)
        if ways is not None and ways.last is not None:
            return ways.last
        mine = [one for one in line.deliveries if (one.end_id == self.channel.id) == is_ours]
        return next((one for one in mine if one.reason), mine[0] if mine else None)


def start(account_id: UUID, opening: Opening) -> Written:
    """Begin a dialog or go on with one; the same composer pressed again, whenever, gives the first result.

    Raises: composer.KeyReused, Refused (nothing was stored), cards.CardRefused, setup.Trouble; KeyError: this account has no such thing.
    """
    digest = opening.digest
    with composer.alone(account_id, opening.key):
        known = composer.earlier(account_id, opening.key, digest)
        if known is not None:
            return known
        card = _card(account_id, opening)
        target = recipients.find(
            account_id,
            channel_id=opening.channel_id,
            address=opening.address,
            client_id=opening.client_id,
            conversation_id=opening.conversation_id,
        )
        draft = _draft(account_id, opening, card, target)
        if draft.is_empty and opening.quick_reply_id is not None:
            raise Refused("empty")
        composer.check(draft)
        note = Note(
            key=opening.key,
            digest=digest,
            writer=opening.writer,
            connection_id=opening.connection_id,
            card=opening.card,
            contact=opening.contact,
            is_begun=opening.conversation_id is None,
            remote_id=opening.remote_id,
            session=opening.session,
        )
        written = _written(account_id, target, draft, note)
    wake.poke()
    return written


def send(account_id: UUID, opening: Opening) -> Written:
    """As `start`, with something to say. Raises: as `start`; Refused "empty"."""
    if not opening.text.strip() and not opening.files and opening.quick_reply_id is None:
        raise Refused("empty")
    return start(account_id, opening)


def for_card(
    account_id: UUID, connection_id: UUID, card: Card, *, cursor: Cursor | None = None, limit: int = PAGE
) -> Dialogs:
    """List the conversations of a card and of its people, the latest first."""
    names = cards.keys(card)
    query = (
        select(ConversationRecord, ClientRecord, LinkRecord)
        .join(LinkRecord, LinkRecord.conversation_id == ConversationRecord.id)
        .join(ClientRecord, ClientRecord.id == ConversationRecord.client_id)
        .where(
            LinkRecord.connection_id == connection_id,
            or_(LinkRecord.card.in_(names), LinkRecord.contact.in_(names)),
            ConversationRecord.last_at.is_not(None),
        )
    )
    if cursor is not None:
        query = query.where(
            tuple_(ConversationRecord.last_at, ConversationRecord.id) < tuple_(cursor.at, UUID(cursor.id))
        )
    ordered = query.order_by(ConversationRecord.last_at.desc(), ConversationRecord.id.desc()).limit(limit + 1)
    with transaction(account_id) as session:
        rows: Sequence[Any] = session.execute(ordered).all()
        items = _dialogs(session, routes.read(session), rows[:limit])
    last = rows[limit - 1][0] if len(rows) > limit else None
    return Dialogs(items, Cursor(last.last_at, str(last.id)) if last is not None else None)


def talk(account_id: UUID, conversation_id: UUID, *, before: int | None = None, limit: int = PAGE) -> Talk:
    """Read a page of a conversation. Raises: KeyError."""
    query = select(Message.id, Message.seq).where(Message.conversation_id == conversation_id)
    if before is not None:
        query = query.where(Message.seq < before)
    with transaction(account_id) as session:
        conversation = session.get(ConversationRecord, conversation_id)
        if conversation is None or conversation.account_id != account_id:
            raise KeyError(conversation_id)
        rows = session.execute(query.order_by(Message.seq.desc()).limit(limit + 1)).all()
        page = _page(session, [row.id for row in rows[:limit]], conversation.channel_id)
    return replace(page, next=rows[limit - 1].seq if len(rows) > limit else None)


def told(account_id: UUID, written: Written) -> tuple[Talk, Line]:
    """Read what was written just now."""
    with transaction(account_id) as session:
        conversation = session.get_one(ConversationRecord, written.conversation_id)
        page = _page(session, [written.message_id], conversation.channel_id)
    return page, page.lines[0]


def _page(session: Session, message_ids: Sequence[UUID], channel_id: UUID) -> Talk:
    lines = journal.lines_of(session, message_ids)
    with_things = [line.message for line in lines if line.message.content.get("attachments")]
    known: dict[tuple[UUID, int], AttachmentRecord] = {}
    if with_things:
        query = select(AttachmentRecord).where(AttachmentRecord.message_id.in_([one.id for one in with_things]))
        known = {(row.message_id, row.number): row for row in session.scalars(query)}
    things = {one.id: _things(one, known) for one in with_things}
    channel = routes.read(session).stops[channel_id]
    return Talk(lines, channel, things, corrections.ways(session, channel, [line.message for line in lines]))


def _things(message: Message, known: Mapping[tuple[UUID, int], AttachmentRecord]) -> list[Thing]:
    stored: Any = message.content["attachments"]
    made = []
    for one in stored:
        thing, row = codec.load_attachment(one), known.get((message.id, int(one["no"])))
        is_here = row is not None and row.state == "stored"
        url = files.store().link(row.account_id, row.file_ref, row.name) if row is not None and is_here else thing.link
        made.append(
            Thing(
                kind=thing.kind.value,
                name=thing.name or thing.title or (row.name if row else ""),
                mime=(row.mime if row else "") or thing.mime,
                size_bytes=row.size_bytes if row else thing.size_bytes,
                url=url,
            )
        )
    return made


def _card(account_id: UUID, opening: Opening) -> Card | None:
    """Read the card that one writes from, as he who writes sees it. Raises: CardRefused when he may not."""
    if opening.connection_id is not None and setup.find(account_id, opening.connection_id).side != Side.CRM:
        raise KeyError(opening.connection_id)
    if opening.connection_id is None or not opening.card:
        return None
    if opening.shown is not None and cards.key(opening.shown.kind, opening.shown.id) == opening.card:
        return opening.shown
    if not opening.writer.id:
        return None  # a program with the account's own key, for nobody in the CRM
    return cards.read(account_id, opening.connection_id, opening.card, opening.writer.id)


def _draft(account_id: UUID, opening: Opening, card: Card | None, target: Target) -> Draft:
    if opening.quick_reply_id is None:
        return Draft(text=opening.text, files=opening.files)
    with transaction(account_id) as session:
        channel = routes.read(session).stops[target.channel_id]
    name, username = (target.client.name, target.client.username) if target.client else ("", "")
    if target.person is not None:
        name, username = target.person.name, target.person.username
    facts = {"NAME": name, "USERNAME": username or "", "CHANNEL": channel.title, "USER_NAME": opening.writer.name}
    rendered = quick_replies.render(quick_replies.find(account_id, opening.quick_reply_id), card, facts)
    return Draft(text=opening.text or rendered.text, files=(*opening.files, *rendered.files))


def _written(account_id: UUID, target: Target, draft: Draft, note: Note) -> Written:
    try:
        with transaction(account_id) as session:
            conversation, client = _place(session, account_id, target)
            settle.lock(session, [conversation.id])
            known = composer.earlier_in(session, account_id, note.key, note.digest)
            if known is not None:
                return known
            return composer.write(session, routes.read(session), conversation, client, draft, note)
    except IntegrityError:
        # the same key, pressed at the same moment for somebody else
        known = composer.earlier(account_id, note.key, note.digest)
        if known is None:
            raise
        return known


def _place(session: Session, account_id: UUID, target: Target) -> tuple[ConversationRecord, ClientRecord]:
    """Return the conversation to write in, making it and its client where they are new."""
    client = session.get_one(ClientRecord, target.client.id) if target.client else _met(session, account_id, target)
    if target.person is not None and target.address is not None:
        _remember_address(session, client, target.address)
    if target.conversation is not None:
        return session.get_one(ConversationRecord, target.conversation.id), client
    values = {"id": ids.new_id(), "account_id": account_id, "channel_id": client.channel_id, "client_id": client.id}
    made = insert(ConversationRecord).values(**values, thread="", scope="", place="direct", title="", last_seq=0)
    session.execute(made.on_conflict_do_nothing(index_elements=["client_id", "thread"]))
    begun = select(ConversationRecord).where(ConversationRecord.client_id == client.id, ConversationRecord.thread == "")
    conversation = session.scalars(begun).one()
    if not client.name:
        content.ask_profile(session, account_id, client.channel_id, client.id, conversation.id)
    return conversation, client


def _met(session: Session, account_id: UUID, target: Target) -> ClientRecord:
    """Make the client whom the network has just named."""
    assert target.person is not None
    client_id, _name = spots.known_client(session, account_id, target.channel_id, target.person)
    client = session.get_one(ClientRecord, client_id, populate_existing=True)
    if target.may_write is not None:
        client.may_write, client.may_write_at = target.may_write, clock.now()
    return client


def _remember_address(session: Session, client: ClientRecord, address: Address) -> None:
    found = insert(ClientAddress).values(
        account_id=client.account_id,
        channel_id=client.channel_id,
        kind=address.kind,
        value=address.value,
        client_id=client.id,
        found_at=clock.now(),
    )
    newer = {"client_id": found.excluded.client_id, "found_at": found.excluded.found_at}
    session.execute(found.on_conflict_do_update(index_elements=["channel_id", "kind", "value"], set_=newer))


def _dialogs(session: Session, map: Map, rows: Sequence[Any]) -> list[Dialog]:
    """Add to conversations their last message, what became of our last one, and whether one can write."""
    last = {one.conversation_id: one for one in session.scalars(_last_messages(rows))} if rows else {}
    ours = [one.id for one in last.values() if one.direction == Direction.OUT]
    sendings = {
        one.message_id: one
        for one in session.scalars(select(Delivery).where(Delivery.message_id.in_(ours), Delivery.act == Act.NEW.value))
        if map.stops[one.end_id].side is Side.NETWORK
    }
    made = []
    for conversation, client, link in rows:
        channel, message = map.stops[conversation.channel_id], last.get(conversation.id)
        left = gate.time_left(conversation, channel.capabilities, clock.now())
        made.append(
            Dialog(
                conversation=conversation,
                client=client,
                channel=channel,
                card=link.card or "",
                contact=link.contact or "",
                last=message,
                sending=sendings.get(message.id) if message else None,
                reason=composer.refusal(channel, client, conversation),
                left_s=None if left is None else int(left.total_seconds()),
            )
        )
    return made


def _last_messages(rows: Sequence[Any]) -> Any:
    places = [(conversation.id, conversation.last_seq) for conversation, _client, _link in rows]
    return select(Message).where(tuple_(Message.conversation_id, Message.seq).in_(places))
