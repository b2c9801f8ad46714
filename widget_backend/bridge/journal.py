"""The message journal: a page of it, and one message with everything that became of it. Reading only."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select, tuple_
from sqlalchemy.orm import Session

from widget_backend import clock
from widget_backend.accounts.models import AuditEntry
from widget_backend.bridge import gate, routes
from widget_backend.bridge.ends import Act
from widget_backend.bridge.models import (
    AttachmentRecord,
    Attempt,
    ClientRecord,
    ConversationRecord,
    Delivery,
    EndRecord,
    Message,
    MessageVersion,
    Part,
    Trace,
)
from widget_backend.bridge.statuses import Status
from widget_backend.bridge.tenancy import transaction

PAGE = 50
CLIENTS_FOUND = 200


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: behind this moment and id."""

    at: datetime
    id: str

    def encode(self) -> str:
        """Write it for an address."""
        return base64.urlsafe_b64encode(f"{self.at.isoformat()}|{self.id}".encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Read what `encode` wrote. Raises: ValueError."""
        try:
            raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode()
        except (binascii.Error, UnicodeError) as error:
            raise ValueError(text) from error
        at, _, id = raw.partition("|")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError(text)
        return cls(moment, str(UUID(id)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages. Empty fields do not narrow; `client` is any part of a client's name."""

    channel_id: UUID | None = None
    direction: str = ""
    status: str = ""
    client: str = ""
    cursor: Cursor | None = None
    limit: int = PAGE


@dataclass(frozen=True, slots=True)
class Line:
    """One message of the journal; `deliveries` are those of the message itself, not of its edits and reports."""

    message: Message
    conversation: ConversationRecord
    client: ClientRecord
    deliveries: list[Delivery] = field(default_factory=list)
    files_count: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """A page, newest first, and where the next one begins."""

    lines: list[Line]
    next: Cursor | None


@dataclass(frozen=True, slots=True)
class Dossier:
    """One message with everything that became of it. `time_left`: how long its client may still be answered (see gate.time_left)."""

    line: Line
    versions: Sequence[MessageVersion]
    attachments: Sequence[AttachmentRecord]
    deliveries: Sequence[Delivery]
    parts: Sequence[Part]
    attempts: Sequence[Attempt]
    traces: Sequence[Trace]
    time_left: timedelta | None


def page(account_id: UUID, wanted: Wanted) -> Page:
    """Read one page of the journal."""
    with transaction(account_id) as session:
        keys = [(row[0], row[1]) for row in session.execute(page_query(account_id, wanted))]
        lines = lines_of(session, [id for _, id in keys[: wanted.limit]])
    last = keys[wanted.limit - 1] if len(keys) > wanted.limit else None
    return Page(lines, Cursor(last[0], str(last[1])) if last else None)


def page_query(account_id: UUID, wanted: Wanted) -> Select[datetime, UUID]:
    """Select (moment, message id) of a page and one more, newest first, along an index.

    A status is looked for from its deliveries: the rare ones, failures, would else be searched for through the whole journal.
    """
    moment: ColumnElement[datetime] = Delivery.created_at if wanted.status else Message.recorded_at  # type: ignore[assignment]
    id: ColumnElement[UUID] = Delivery.message_id if wanted.status else Message.id  # type: ignore[assignment]
    query = select(moment, id).where((Delivery if wanted.status else Message).account_id == account_id)
    if wanted.status:
        query = query.where(Delivery.status == wanted.status, Delivery.act == Act.NEW.value).distinct()
    needs_message = bool(wanted.direction) or (not wanted.status and bool(wanted.channel_id or wanted.client))
    if wanted.status and needs_message:
        query = query.join(Message, Message.id == Delivery.message_id)
    if wanted.direction:
        query = query.where(Message.direction == wanted.direction)
    conversation_id = Delivery.conversation_id if wanted.status else Message.conversation_id
    if wanted.channel_id or wanted.client:
        query = query.where(conversation_id.in_(_conversations(account_id, wanted)))
    if wanted.cursor:
        query = query.where(tuple_(moment, id) < tuple_(wanted.cursor.at, UUID(wanted.cursor.id)))
    return query.order_by(moment.desc(), id.desc()).limit(wanted.limit + 1)


def message(account_id: UUID, message_id: UUID) -> Dossier:
    """Read one message with everything. Raises: KeyError."""
    with transaction(account_id) as session:
        lines = lines_of(session, [message_id])
        if not lines or lines[0].message.account_id != account_id:
            raise KeyError(message_id)
        deliveries = session.scalars(
            select(Delivery).where(Delivery.message_id == message_id).order_by(Delivery.created_at, Delivery.id)
        ).all()
        ids = [delivery.id for delivery in deliveries]
        return Dossier(
            lines[0],
            session.scalars(
                select(MessageVersion).where(MessageVersion.message_id == message_id).order_by(MessageVersion.version)
            ).all(),
            session.scalars(
                select(AttachmentRecord)
                .where(AttachmentRecord.message_id == message_id)
                .order_by(AttachmentRecord.number)
            ).all(),
            deliveries,
            session.scalars(select(Part).where(Part.delivery_id.in_(ids)).order_by(Part.generation, Part.number)).all(),
            session.scalars(select(Attempt).where(Attempt.delivery_id.in_(ids)).order_by(Attempt.id)).all(),
            session.scalars(select(Trace).where(Trace.message_id == message_id).order_by(Trace.id)).all(),
            time_left(session, lines[0].conversation),
        )


def time_left(session: Session, conversation: ConversationRecord) -> timedelta | None:
    """Return how long a manager may still answer in a conversation: None without a limit, zero when its window is closed."""
    channel = session.get_one(EndRecord, conversation.channel_id)
    return gate.time_left(conversation, routes.stop_of(channel).capabilities, clock.now())


def delivery(account_id: UUID, delivery_id: UUID) -> Delivery:
    """Read one delivery. Raises: KeyError."""
    with transaction(account_id) as session:
        row = session.get(Delivery, delivery_id)
    if row is None or row.account_id != account_id:
        raise KeyError(delivery_id)
    return row


def troubles(account_id: UUID, since: datetime) -> dict[str, int]:
    """Count the deliveries made since then that need a look, by status."""
    needy = (Status.FAILED.value, Status.UNCERTAIN.value, Status.EXPIRED.value)
    query = (
        select(Delivery.status, func.count())
        .where(
            Delivery.account_id == account_id,
            Delivery.status.in_(needy),
            Delivery.created_at > since,
            Delivery.act == Act.NEW.value,
        )
        .group_by(Delivery.status)
    )
    with transaction(account_id) as session:
        return {row[0]: row[1] for row in session.execute(query)}


def audit(account_id: UUID, *, before: int | None = None, limit: int = PAGE) -> tuple[Sequence[AuditEntry], int | None]:
    """Read a page of the audit trail, newest first, and where the next one begins."""
    query = select(AuditEntry).where(AuditEntry.account_id == account_id)
    if before is not None:
        query = query.where(AuditEntry.id < before)
    with transaction(account_id) as session:
        rows = session.scalars(query.order_by(AuditEntry.id.desc()).limit(limit + 1)).all()
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def _conversations(account_id: UUID, wanted: Wanted) -> Select[UUID]:
    query = select(ConversationRecord.id).where(ConversationRecord.account_id == account_id)
    if wanted.channel_id:
        query = query.where(ConversationRecord.channel_id == wanted.channel_id)
    if wanted.client:
        pattern = "%" + wanted.client.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        clients = select(ClientRecord.id).where(ClientRecord.account_id == account_id, ClientRecord.name.ilike(pattern))
        query = query.where(ConversationRecord.client_id.in_(clients.limit(CLIENTS_FOUND)))
    return query


def lines_of(session: Session, ids: Sequence[UUID]) -> list[Line]:
    """Read messages with their deliveries, inside a transaction, in the order of their ids."""
    if not ids:
        return []
    rows = session.execute(
        select(Message, ConversationRecord, ClientRecord)
        .join(ConversationRecord, ConversationRecord.id == Message.conversation_id)
        .join(ClientRecord, ClientRecord.id == ConversationRecord.client_id)
        .where(Message.id.in_(ids))
    ).all()
    deliveries: dict[UUID, list[Delivery]] = {}
    for row in session.scalars(
        select(Delivery)
        .where(Delivery.message_id.in_(ids), Delivery.act == Act.NEW.value)
        .order_by(Delivery.created_at, Delivery.id)
    ):
        deliveries.setdefault(row.message_id, []).append(row)
    counting = (
        select(AttachmentRecord.message_id, func.count())
        .where(AttachmentRecord.message_id.in_(ids))
        .group_by(AttachmentRecord.message_id)
    )
    counts = {row[0]: row[1] for row in session.execute(counting)}
    by_id = {
        row[0].id: Line(*row, deliveries=deliveries.get(row[0].id, []), files_count=counts.get(row[0].id, 0))
        for row in rows
    }
    return [by_id[id] for id in ids if id in by_id]
