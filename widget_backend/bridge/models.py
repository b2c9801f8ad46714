"""The tables of the bridge.

Tenant tables carry `account_id` and point at each other by composite keys, so that a row of one account cannot point into another; row-level
security (migration 0001) is the second lock. Exempt from it, because work is found there across accounts, and free of readable texts: `inbox`,
`end_keys`, `lanes`, `gates`, `errands`, `workers`.
"""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Sequence,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from widget_backend.extensions import Model
from widget_backend.ids import new_id

Moment = DateTime(timezone=True)

part_counter = Sequence("part_counter", start=1, minvalue=1, maxvalue=2**31 - 1, metadata=Model.metadata)
"""Numbers for `Item.counter`; the first migration moves it to a random place, so that two servers of one community do not repeat each other's."""


def _to(*columns: str, table: str, key: tuple[str, ...] = ("account_id", "id")) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["account_id", *columns], [f"{table}.{name}" for name in key], ondelete="CASCADE")


class EndRecord(Model):
    """A channel (side network) or a connection (side crm). States: new, active, error, off."""

    __tablename__ = "ends"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID]
    side: Mapped[str] = mapped_column(Text)
    adapter: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text, default="")
    remote_id: Mapped[str] = mapped_column(Text, default="")
    app_id: Mapped[UUID | None]
    state: Mapped[str] = mapped_column(Text, default="new")
    reason: Mapped[str] = mapped_column(Text, default="")
    detail: Mapped[str] = mapped_column(Text, default="")
    settings: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict)
    secrets: Mapped[bytes] = mapped_column(LargeBinary)
    previous_secrets: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    connected_at: Mapped[datetime | None] = mapped_column(Moment)
    checked_at: Mapped[datetime | None] = mapped_column(Moment)
    deleted_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (
        ForeignKeyConstraint(["account_id"], ["accounts.id"], ondelete="CASCADE"),
        UniqueConstraint("account_id", "id"),
        Index(
            "ends_remote",
            "account_id",
            "adapter",
            "remote_id",
            unique=True,
            postgresql_where=text("remote_id <> '' and deleted_at is null"),
        ),
    )


class EndKey(Model):
    """Finds an end (or an app) from what a hook shows: the digest of the key in its address, or of (adapter, app, remote account)."""

    __tablename__ = "end_keys"
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    adapter: Mapped[str] = mapped_column(Text)
    account_id: Mapped[UUID | None]
    end_id: Mapped[UUID | None] = mapped_column(index=True)
    app_id: Mapped[UUID | None]


class Route(Model):
    """This channel feeds this connection. `settings` are those of the pair (a line of its own)."""

    __tablename__ = "routes"
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    channel_id: Mapped[UUID] = mapped_column(primary_key=True)
    connection_id: Mapped[UUID] = mapped_column(primary_key=True)
    settings: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict)
    __table_args__ = (
        _to("channel_id", table="ends"),
        _to("connection_id", table="ends"),
        Index("routes_connection", "account_id", "connection_id"),
    )


class Gate(Model):
    """The door of one end's work: its state, its breaker, the lease of its inbox, when it was and will be pulled. Not tenant data."""

    __tablename__ = "gates"
    end_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    adapter: Mapped[str] = mapped_column(Text)
    is_open: Mapped[bool] = mapped_column(Boolean, default=False)
    failures: Mapped[int] = mapped_column(Integer, server_default="0", default=0)
    not_before: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    cap: Mapped[int] = mapped_column(Integer, default=8)
    batch: Mapped[int] = mapped_column(Integer, default=1)
    ok_at: Mapped[datetime | None] = mapped_column(Moment)
    inbox_lease: Mapped[UUID | None]
    inbox_lease_until: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    inbox_not_before: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    pull_at: Mapped[datetime | None] = mapped_column(Moment)
    pulled_at: Mapped[datetime | None] = mapped_column(Moment)
    pull_lease: Mapped[UUID | None]
    pull_lease_until: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    cursor: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict, server_default=text("'{}'"))
    __table_args__ = (Index("gates_pull", "pull_at", postgresql_where=text("pull_at is not null and is_open")),)


class Inbox(Model):
    """A genuine hook, raw and sealed, before anything else happens. States: 0 new, 1 done, 2 not understood, 3 given up.

    Partitioned by month: `month` is part of every key. `dedupe` is the sender's event id, or a digest of the body while unprocessed.
    """

    __tablename__ = "inbox"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    owner_id: Mapped[UUID]
    account_id: Mapped[UUID | None]
    is_app: Mapped[bool] = mapped_column(Boolean, default=False, server_default=text("false"))
    dedupe: Mapped[str | None] = mapped_column(Text)
    trace_id: Mapped[str] = mapped_column(Text)
    meta: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    state: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    tries: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    note: Mapped[str | None] = mapped_column(Text)
    done_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (
        UniqueConstraint("owner_id", "dedupe", "month"),
        Index("inbox_new", "owner_id", "id", postgresql_where=text("state = 0")),
        Index("inbox_apps", "owner_id", postgresql_where=text("state = 0 and is_app")),
        {"postgresql_partition_by": "RANGE (month)"},
    )


class ClientRecord(Model):
    """The person on the network side."""

    __tablename__ = "clients"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID]
    channel_id: Mapped[UUID]
    remote_id: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text, default="")
    profile: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict)
    may_write: Mapped[bool | None]
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    profile_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (
        _to("channel_id", table="ends"),
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("channel_id", "remote_id"),
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
        _to("channel_id", table="ends"),
        _to("client_id", table="clients"),
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
    __table_args__ = (
        _to("connection_id", table="ends"),
        _to("conversation_id", table="conversations"),
        UniqueConstraint("connection_id", "remote_id"),
        Index("links_conversation", "conversation_id"),
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
        _to("conversation_id", table="conversations"),
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
    __table_args__ = (_to("message_id", table="messages"),)


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
        _to("message_id", table="messages"),
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
        _to("message_id", table="messages"),
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


class Delivery(Model):
    """One act on its way to one end. It alone has a status."""

    __tablename__ = "deliveries"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID]
    end_id: Mapped[UUID]
    conversation_id: Mapped[UUID]
    message_id: Mapped[UUID]
    lane_seq: Mapped[int | None] = mapped_column(BigInteger)
    act: Mapped[str] = mapped_column(Text)
    dedupe: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer, default=1)
    status: Mapped[str] = mapped_column(Text, default="queued")
    reason: Mapped[str] = mapped_column(Text, default="")
    detail: Mapped[str] = mapped_column(Text, default="")
    trigger: Mapped[str] = mapped_column(Text, default="auto")
    payload: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict, server_default=text("'{}'"))
    tries: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    lost_leases: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    first_tried_at: Mapped[datetime | None] = mapped_column(Moment)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    settled_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (
        _to("end_id", table="ends"),
        _to("conversation_id", table="conversations"),
        _to("message_id", table="messages"),
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("end_id", "message_id", "dedupe"),
        UniqueConstraint("end_id", "conversation_id", "lane_seq"),
        Index("deliveries_message", "message_id"),
        Index("deliveries_journal", "account_id", "status", "created_at"),
        Index("deliveries_lately", "created_at", postgresql_using="brin"),  # for /metrics; rows come in this order
    )


class Part(Model):
    """One outside call's worth of a delivery. `key` (its id) and `counter` stay the same over automatic repeats."""

    __tablename__ = "parts"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID]
    delivery_id: Mapped[UUID]
    end_id: Mapped[UUID]
    number: Mapped[int] = mapped_column(SmallInteger)
    generation: Mapped[int] = mapped_column(SmallInteger, default=1)
    counter: Mapped[int] = mapped_column(BigInteger, part_counter, server_default=part_counter.next_value())
    status: Mapped[str] = mapped_column(Text, default="queued")
    remote_ids: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default=text("'{}'"))
    content: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict)
    attempt_id: Mapped[int | None] = mapped_column(BigInteger)
    attempted_at: Mapped[datetime | None] = mapped_column(Moment)
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    __table_args__ = (
        _to("delivery_id", table="deliveries"),
        UniqueConstraint("delivery_id", "generation", "number"),
        UniqueConstraint("end_id", "counter"),
    )


class Attempt(Model):
    """One outside call, committed before it is made. Outcomes: open, accepted, retry, rejected, uncertain, access_lost, misconfigured, lost."""

    __tablename__ = "attempts"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    account_id: Mapped[UUID]
    delivery_id: Mapped[UUID]
    part_id: Mapped[UUID]
    number: Mapped[int] = mapped_column(SmallInteger)
    outcome: Mapped[str] = mapped_column(Text, default="open")
    reason: Mapped[str] = mapped_column(Text, default="")
    detail: Mapped[str] = mapped_column(Text, default="")
    trigger: Mapped[str] = mapped_column(Text, default="auto")
    started_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    next_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (
        Index("attempts_delivery", "delivery_id"),
        {"postgresql_partition_by": "RANGE (month)"},
    )


class Lane(Model):
    """The deliveries of one (end, conversation), in order. Due while settled_seq < last_seq. Not tenant data."""

    __tablename__ = "lanes"
    end_id: Mapped[UUID] = mapped_column(primary_key=True)
    conversation_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    last_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    settled_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    priority: Mapped[int] = mapped_column(SmallInteger, default=1)
    lease: Mapped[UUID | None]
    lease_until: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    not_before: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    due_since: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    __table_args__ = (
        Index("lanes_due", "end_id", "priority", "due_since", postgresql_where=text("settled_seq < last_seq")),
        Index("lanes_leased", "end_id", postgresql_where=text("lease is not null")),
    )


class RepeatRecord(Model):
    """A repeat that a person or a program asked for. `key` is the asker's own, so that a second click is the same repeat."""

    __tablename__ = "repeats"
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    delivery_id: Mapped[UUID]
    actor: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    __table_args__ = (
        _to("delivery_id", table="deliveries"),
        Index("repeats_delivery", "delivery_id"),
    )


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
        _to("end_id", table="ends"),
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


class Worker(Model):
    """A worker process that is alive: its heartbeat."""

    __tablename__ = "workers"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(Text)
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    beat_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    busy: Mapped[int] = mapped_column(Integer, default=0)
