"""Tables of the talk: clients, conversations, messages with their versions, names and files, what waits for them and why they went where."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Computed,
    Date,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from widget_backend.bridge.columns import Moment, points_to
from widget_backend.extensions import Model
from widget_backend.ids import new_id

OURSELVES = UUID(int=0)
"""`Message.origin_end_id` of what was written through our API, in no CRM. What was written in our panel inside a CRM has that connection."""

# Row-level security lets no index see into JSON: what is looked for stands in columns of its own, made by the database.
PHONE = r"nullif(regexp_replace(profile ->> 'phone', '\D', '', 'g'), '')"
USERNAME = "nullif(lower(profile ->> 'username'), '')"
PAGE = "nullif(lower(regexp_replace(rtrim(profile ->> 'profile_url', '/'), '^.*/', '')), '')"


class ClientRecord(Model):
    """The person on the network side. `phone`, `username`, `page`: what leads to him, in one spelling (see bridge/addresses.py)."""

    __tablename__ = "clients"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID]
    channel_id: Mapped[UUID]
    remote_id: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text, default="")
    profile: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict)
    may_write: Mapped[bool | None]
    may_write_at: Mapped[datetime | None] = mapped_column(Moment)
    phone: Mapped[str | None] = mapped_column(Text, Computed(PHONE, persisted=True))
    username: Mapped[str | None] = mapped_column(Text, Computed(USERNAME, persisted=True))
    page: Mapped[str | None] = mapped_column(Text, Computed(PAGE, persisted=True))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    profile_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (
        points_to("channel_id", table="ends"),
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("channel_id", "remote_id"),
        *(
            Index(f"clients_{name}", "account_id", name, postgresql_where=text(f"{name} is not null"))
            for name in ("phone", "username", "page")
        ),
    )


class ConversationRecord(Model):
    """(channel, client, thread). `last_seq` numbers its messages: this row is locked first in every transaction about the conversation.

    `window_s`: how long after the client's last message one may answer here, where the network says so for this conversation alone.
    """

    __tablename__ = "conversations"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID]
    channel_id: Mapped[UUID]
    client_id: Mapped[UUID]
    thread: Mapped[str] = mapped_column(Text, default="")
    scope: Mapped[str] = mapped_column(Text, default="")
    place: Mapped[str] = mapped_column(Text, default="direct")
    title: Mapped[str] = mapped_column(Text, default="")
    last_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    last_in_at: Mapped[datetime | None] = mapped_column(Moment)
    last_at: Mapped[datetime | None] = mapped_column(Moment)
    window_s: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    __table_args__ = (
        points_to("channel_id", table="ends"),
        points_to("client_id", table="clients"),
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("client_id", "thread"),
        Index("conversations_recent", "account_id", "last_at"),
        Index("conversations_channel", "channel_id", "last_at"),
    )


class LinkRecord(Model):
    """A conversation as one connection knows it."""

    __tablename__ = "links"
    account_id: Mapped[UUID]
    connection_id: Mapped[UUID] = mapped_column(primary_key=True)
    conversation_id: Mapped[UUID] = mapped_column(primary_key=True)
    remote_id: Mapped[str] = mapped_column(Text)
    state: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict, server_default=text("'{}'"))
    card: Mapped[str | None] = mapped_column(Text, Computed("state ->> 'card'", persisted=True))
    contact: Mapped[str | None] = mapped_column(Text, Computed("state ->> 'contact'", persisted=True))
    __table_args__ = (
        points_to("connection_id", table="ends"),
        points_to("conversation_id", table="conversations"),
        UniqueConstraint("connection_id", "remote_id"),
        Index("links_conversation", "conversation_id"),
        Index("links_card", "connection_id", "card", postgresql_where=text("card is not null")),
        Index("links_contact", "connection_id", "contact", postgresql_where=text("contact is not null")),
    )


class Message(Model):
    """One unit of talk, in its newest version; older versions are kept beside it."""

    __tablename__ = "messages"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID]
    conversation_id: Mapped[UUID]
    origin_end_id: Mapped[UUID]
    seq: Mapped[int] = mapped_column(BigInteger)
    direction: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(Text, default="")
    author_id: Mapped[str] = mapped_column(Text, default="")
    text: Mapped[str] = mapped_column(Text, default="")
    content: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict)
    version: Mapped[int] = mapped_column(Integer, default=1)
    revision: Mapped[str] = mapped_column(Text, default="")
    is_late: Mapped[bool] = mapped_column(Boolean, default=False)
    is_automatic: Mapped[bool] = mapped_column(Boolean, default=False)
    trace_id: Mapped[str] = mapped_column(Text, default="")
    sent_at: Mapped[datetime] = mapped_column(Moment)
    recorded_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    edited_at: Mapped[datetime | None] = mapped_column(Moment)
    deleted_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (
        points_to("conversation_id", table="conversations"),
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("conversation_id", "seq"),
        Index("messages_journal", "account_id", "recorded_at", "id"),
    )


class MessageVersion(Model):
    """What a message said before an edit or a deletion."""

    __tablename__ = "message_versions"
    account_id: Mapped[UUID]
    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    content: Mapped[dict[str, object]] = mapped_column(JSONB)
    replaced_at: Mapped[datetime] = mapped_column(Moment)
    __table_args__ = (points_to("message_id", table="messages"),)


class MessageKey(Model):
    """What an end calls a message: the once-only of everything. Lives as long as the message."""

    __tablename__ = "message_keys"
    account_id: Mapped[UUID]
    end_id: Mapped[UUID] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(Text, primary_key=True)
    remote_id: Mapped[str] = mapped_column(Text, primary_key=True)
    message_id: Mapped[UUID]
    part_id: Mapped[UUID | None]
    __table_args__ = (
        points_to("message_id", table="messages"),
        Index("message_keys_message", "message_id"),
    )


class AttachmentRecord(Model):
    """A file of a message. States: wait, stored, failed."""

    __tablename__ = "attachments"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID]
    message_id: Mapped[UUID]
    end_id: Mapped[UUID]
    conversation_id: Mapped[UUID]
    number: Mapped[int] = mapped_column(SmallInteger)
    state: Mapped[str] = mapped_column(Text, default="wait")
    source: Mapped[bytes] = mapped_column(LargeBinary)
    file_ref: Mapped[str] = mapped_column(Text, default="")
    name: Mapped[str] = mapped_column(Text, default="")
    mime: Mapped[str] = mapped_column(Text, default="")
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    __table_args__ = (
        points_to("message_id", table="messages"),
        UniqueConstraint("message_id", "number"),
    )


class Errand(Model):
    """Something to fetch from an end beside the road: a file (`subject_id` is the attachment) or a client's profile. Not tenant data."""

    __tablename__ = "errands"
    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    account_id: Mapped[UUID]
    end_id: Mapped[UUID]
    conversation_id: Mapped[UUID]
    tries: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    not_before: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    lease: Mapped[UUID | None]
    __table_args__ = (Index("errands_due", "end_id", "not_before"),)


class Parked(Model):
    """An event that waits: for its message (`message`), or for an open attempt of its conversation to close (`echo`)."""

    __tablename__ = "parked"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[UUID]
    end_id: Mapped[UUID]
    waits_for: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(Text, default="")
    remote_id: Mapped[str] = mapped_column(Text, default="")
    conversation_id: Mapped[UUID | None]
    event: Mapped[dict[str, object]] = mapped_column(JSONB)
    trace_id: Mapped[str] = mapped_column(Text, default="")
    at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    __table_args__ = (
        points_to("end_id", table="ends"),
        Index("parked_message", "end_id", "scope", "remote_id"),
        Index("parked_conversation", "conversation_id"),
        Index("parked_at", "at"),
    )


class Trace(Model):
    """The decision trace: which rule a message met, and why it decided as it did."""

    __tablename__ = "traces"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    account_id: Mapped[UUID]
    message_id: Mapped[UUID]
    end_id: Mapped[UUID | None]
    at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    rule: Mapped[str] = mapped_column(Text)
    verdict: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text, default="")
    __table_args__ = (
        Index("traces_message", "message_id"),
        {"postgresql_partition_by": "RANGE (month)"},
    )
