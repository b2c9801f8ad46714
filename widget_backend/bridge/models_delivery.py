"""Tables of delivery: acts on their way to ends, their parts, the outside calls made for them, and the lanes in which they wait."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Date,
    Identity,
    Index,
    Integer,
    Sequence,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from widget_backend.bridge.columns import Moment, points_to
from widget_backend.extensions import Model
from widget_backend.ids import new_id

part_counter = Sequence("part_counter", start=1, minvalue=1, maxvalue=2**31 - 1, metadata=Model.metadata)
"""Numbers for `Item.counter`; the first migration moves it to a random place, so that two servers of one community do not repeat each other's."""


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
        points_to("end_id", table="ends"),
        points_to("conversation_id", table="conversations"),
        points_to("message_id", table="messages"),
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
        points_to("delivery_id", table="deliveries"),
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
        points_to("delivery_id", table="deliveries"),
        Index("repeats_delivery", "delivery_id"),
    )
