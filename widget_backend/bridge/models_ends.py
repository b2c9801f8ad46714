"""Tables of ends: what is connected, what feeds what, their gates and their raw hooks; the workers that serve them."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    ForeignKeyConstraint,
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
    """Finds an end (or an app) from what a hook shows: the digest of the key in its address, or of (adapter, app, name of the remote account).

    Kinds: hook, remote (one row for every name, `Connected.aliases`), off (remote, while the end is off).
    """

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
        points_to("channel_id", table="ends"),
        points_to("connection_id", table="ends"),
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
