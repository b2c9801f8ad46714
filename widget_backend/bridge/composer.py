"""Composer: a message written on our side, in a panel inside a CRM or by a program, is recorded, shown to the CRM and sent, on the same road as all others.

A composer has one key for its whole life: however often it is pressed, and whenever, there is one message.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from redis import RedisError
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from widget_backend import clock, crypto, ids, logs, texts
from widget_backend.bridge import codec, gate, plan, runtime
from widget_backend.bridge.ends import CARD, CONTACT, Act, Priority
from widget_backend.bridge.errors import MostikError
from widget_backend.bridge.events import Direction
from widget_backend.bridge.models import (
    OURSELVES,
    AttachmentRecord,
    ClientRecord,
    Composition,
    ConversationRecord,
    LinkRecord,
    Message,
    MessageKey,
)
from widget_backend.bridge.route import Matter, Outbox
from widget_backend.bridge.routes import Map, Stop
from widget_backend.bridge.tenancy import transaction
from widget_backend.bridge.uploads import Upload

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger()

TEXT_LIMIT = 20_000
FILES_LIMIT = 10
ALONE_S = 20.0
"""How long one press of a composer may take, of which the others wait."""


class Refused(MostikError):
    """A message that would fail, or may not be written; nothing was stored. `reason` is a slug of the locales' reasons, `adapter` says whose."""

    def __init__(self, reason: str, adapter: str = "") -> None:
        super().__init__(reason, adapter)
        self.reason = reason
        self.adapter = adapter


class KeyReused(MostikError):
    """The key was used for something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes: a user of the CRM (`id` is that CRM's), or a program (no id). `actor` is for the audit trail."""

    actor: str
    id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is written; without text and files nothing is sent, and the CRM is shown that the chat is there."""

    text: str = ""
    files: tuple[Upload, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self.text.strip() and not self.files


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What goes with a message besides itself. `card`, `contact`: as `cards.key` names them; `connection_id`: the CRM it is written in.

    Shape: a dialog that `is_begun` from a card belongs there from now on; one that goes on stays where it belongs. `remote_id`: the connection has the
    message already and calls it so, and it is not shown to it again; `session` is remembered
    of a conversation that is new there.
    """

    key: str
    digest: bytes
    writer: Writer
    connection_id: UUID | None = None
    card: str = ""
    contact: str = ""
    is_begun: bool = True
    remote_id: str = ""
    session: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a press: where the message is. `is_new` False: an earlier press of the same composer made it."""

    conversation_id: UUID
    message_id: UUID
    is_new: bool = field(default=True, compare=False)


def digest_of(body: object) -> bytes:
    """Return what tells one body from another. Shape: anything that JSON can say, and ids."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str, ensure_ascii=False).encode()).digest()


def earlier(account_id: UUID, key: str, digest: bytes) -> Written | None:
    """Return what an earlier press of the same composer made. Raises: KeyReused."""
    with transaction(account_id) as session:
        return earlier_in(session, account_id, key, digest)


def earlier_in(session: Session, account_id: UUID, key: str, digest: bytes) -> Written | None:
    """As `earlier`, inside a transaction."""
    known = session.get(Composition, (account_id, key))
    if known is None:
        return None
    if known.digest != digest:
        raise KeyReused()
    return Written(known.conversation_id, known.message_id, is_new=False)


@contextmanager
def alone(account_id: UUID, key: str) -> Iterator[None]:
    """Let identical presses wait for each other, so that the network is asked once. Without Valkey they do not wait; the key still makes one message."""
    name = f"mostik:composer:{account_id.hex}:{hashlib.sha256(key.encode()).hexdigest()}"
    lock = runtime.get().redis.lock(name, timeout=ALONE_S, blocking_timeout=ALONE_S, sleep=0.05)
    is_held = False
    try:
        is_held = bool(lock.acquire())
    except RedisError as error:
        log.warning("composer_lock_away", error=type(error).__name__)
    try:
        yield
    finally:
        if is_held:
            try:
                lock.release()
            except RedisError as error:
                log.warning("composer_lock_lost", error=type(error).__name__)


def check(draft: Draft) -> None:
    """Refuse what no network takes from us. Raises: Refused."""
    if len(draft.text) > TEXT_LIMIT:
        raise Refused("text_too_long")
    if len(draft.files) > FILES_LIMIT:
        raise Refused("too_many_files")


def refusal(channel: Stop, client: ClientRecord | None, conversation: ConversationRecord | None) -> str:
    """Say why nobody can write there now, as far as we know without asking the network; empty when one can."""
    facts = channel.capabilities
    if channel.state != "active":
        return "channel_off" if channel.is_off else "channel_broken"
    if client is not None and client.may_write is False:
        return "client_forbade"
    has_written = conversation is not None and conversation.last_in_at is not None
    if not has_written and not facts.can_write_first:
        return "cannot_write_first"
    if conversation is None:
        return "window_closed" if facts.window is not None else ""
    return "window_closed" if gate.time_left(conversation, facts, clock.now()) == timedelta(0) else ""


def write(
    session: Session, map: Map, conversation: ConversationRecord, client: ClientRecord, draft: Draft, note: Note
) -> Written:
    """Record a message and route it, in a transaction that holds the conversation's lock. The caller wakes the exchange after the commit.

    Raises: Refused.
    """
    channel = map.stops[conversation.channel_id]
    if reason := refusal(channel, client, conversation):
        raise Refused(reason, channel.adapter)
    shown_to = _connections(map, conversation.channel_id, note.connection_id)
    if draft.is_empty and not shown_to:
        raise Refused("empty", channel.adapter)
    if draft.is_empty and note.connection_id is not None:
        shown_to = frozenset({note.connection_id})
    if note.remote_id and note.connection_id is not None:
        shown_to -= {note.connection_id}
    text = texts.text("represent.begun", plan.LOCALE) if draft.is_empty else draft.text
    message = _record(session, conversation, draft, text, note)
    if note.connection_id is not None:
        _remember_card(session, conversation, note.connection_id, note)
        if note.remote_id:
            named = {"account_id": conversation.account_id, "end_id": note.connection_id, "scope": ""}
            session.execute(insert(MessageKey).values(**named, remote_id=note.remote_id, message_id=message.id))
    _route(session, map, conversation, message, shown_to if draft.is_empty else shown_to | {conversation.channel_id})
    session.add(
        Composition(
            account_id=conversation.account_id,
            key=note.key,
            digest=note.digest,
            conversation_id=conversation.id,
            message_id=message.id,
            actor=note.writer.actor,
        )
    )
    return Written(conversation.id, message.id)


def _connections(map: Map, channel_id: UUID, connection_id: UUID | None) -> frozenset[UUID]:
    """Return the connections that are shown what is written. Raises: Refused when it is written in one that the channel does not feed."""
    fed = frozenset(id for id in map.connections_by_channel.get(channel_id, ()) if map.working(id) is not None)
    if connection_id is not None and connection_id not in fed:
        raise Refused("not_joined", map.stops[channel_id].adapter)
    return fed


def _route(
    session: Session, map: Map, conversation: ConversationRecord, message: Message, only_to: frozenset[UUID]
) -> None:
    outbox = Outbox(session, map)
    matter = Matter(
        account_id=conversation.account_id,
        channel_id=conversation.channel_id,
        conversation_id=conversation.id,
        message_id=message.id,
        origin_id=message.origin_end_id,
        act=Act.NEW,
        direction=message.direction,
        place=conversation.place,
        thread=conversation.thread,
        text=message.text,
        priority=Priority.PERSON,
        only_to=only_to,
    )
    outbox.message(matter)
    if not message.is_automatic:
        outbox.read(matter, message.seq)  # who answers has read
    outbox.flush()


def _record(session: Session, conversation: ConversationRecord, draft: Draft, text: str, note: Note) -> Message:
    now = clock.now()
    conversation.last_seq += 1
    conversation.last_at = func.now()
    message = Message(
        id=ids.new_id(),
        account_id=conversation.account_id,
        conversation_id=conversation.id,
        origin_end_id=note.connection_id or OURSELVES,
        seq=conversation.last_seq,
        direction=Direction.OUT.value,
        author=note.writer.name,
        author_id=note.writer.id,
        text=text,
        content=_content(draft.files),
        is_automatic=draft.is_empty,
        trace_id=logs.trace() or "",
        sent_at=now,
        recorded_at=now,
    )
    session.add(message)
    session.flush()
    session.add_all(_files(message, conversation, draft.files))
    session.flush()
    return message


def _content(files: Sequence[Upload]) -> dict[str, Any]:
    stored = [{**codec.dump_attachment(one.attachment), "no": number} for number, one in enumerate(files, start=1)]
    return {"attachments": stored} if stored else {}


def _files(message: Message, conversation: ConversationRecord, files: Sequence[Upload]) -> list[AttachmentRecord]:
    rows = []
    for number, one in enumerate(files, start=1):
        id = ids.new_id()
        rows.append(
            AttachmentRecord(
                id=id,
                account_id=message.account_id,
                message_id=message.id,
                end_id=conversation.channel_id,
                conversation_id=conversation.id,
                number=number,
                state="stored",
                source=crypto.seal_text(json.dumps({"url": "", "handle": ""}), f"attachment:{id}"),
                file_ref=one.sha256,
                name=one.name,
                mime=one.mime,
                size_bytes=one.size_bytes,
            )
        )
    return rows


def _remember_card(session: Session, conversation: ConversationRecord, connection_id: UUID, note: Note) -> None:
    """Tell the CRM's adapter for which card and contact the conversation was begun."""
    state = {name: value for name, value in ((CARD, note.card), (CONTACT, note.contact)) if value}
    known_there = select(LinkRecord.conversation_id).where(
        LinkRecord.connection_id == connection_id, LinkRecord.conversation_id == conversation.id
    )
    if note.session and session.scalar(known_there) is None:
        state |= note.session
    if not state:
        return
    adding = insert(LinkRecord).values(
        account_id=conversation.account_id,
        connection_id=connection_id,
        conversation_id=conversation.id,
        remote_id=conversation.id.hex,
        state=state,
    )
    told, known = adding.excluded.state, LinkRecord.state
    merged = known.op("||")(told) if note.is_begun else told.op("||")(known)
    session.execute(
        adding.on_conflict_do_update(index_elements=["connection_id", "conversation_id"], set_={"state": merged})
    )
