"""Tables of writing from our side: what was begun in a composer, where clients were found, quick replies."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, LargeBinary, Text, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from widget_backend.bridge.columns import Moment, points_to
from widget_backend.extensions import Model
from widget_backend.ids import new_id


class Composition(Model):
    """What one opened composer sent. `key` is the asker's own, so that a second click, whenever, is the same message; `digest` tells another body apart."""

    __tablename__ = "compositions"
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    conversation_id: Mapped[UUID]
    message_id: Mapped[UUID]
    actor: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    __table_args__ = (
        points_to("message_id", table="messages"),
        Index("compositions_message", "message_id"),
    )


class ClientAddress(Model):
    """Whom a network found by an address (in one spelling), so that it is not asked at every click."""

    __tablename__ = "client_addresses"
    account_id: Mapped[UUID]
    channel_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[str] = mapped_column(Text, primary_key=True)
    client_id: Mapped[UUID]
    found_at: Mapped[datetime] = mapped_column(Moment)
    __table_args__ = (
        points_to("channel_id", table="ends"),
        points_to("client_id", table="clients"),
        Index("client_addresses_client", "client_id"),
    )


class QuickReply(Model):
    """A text template offered while one writes. `owner`: empty when shared, else whose it is; `files`: what `uploads` gave, as stored."""

    __tablename__ = "quick_replies"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID]
    owner: Mapped[str] = mapped_column(Text, default="", server_default="")
    language: Mapped[str] = mapped_column(Text, default="", server_default="")
    title: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text, default="", server_default="")
    files: Mapped[list[dict[str, object]]] = mapped_column(JSONB, default=list, server_default="[]")
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    __table_args__ = (
        ForeignKeyConstraint(["account_id"], ["accounts.id"], ondelete="CASCADE"),
        UniqueConstraint("account_id", "id"),
        Index("quick_replies_listed", "account_id", "owner", "title"),
    )
