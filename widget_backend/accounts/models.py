"""Who is who: accounts, users, memberships, the keys of this server at providers, the audit trail and security events."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, LargeBinary, Text, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from widget_backend.extensions import Model
from widget_backend.ids import new_id


class Account(Model):
    """One tenant: a company."""

    __tablename__ = "accounts"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(Text)
    locale: Mapped[str] = mapped_column(Text, default="ru")
    time_zone: Mapped[str] = mapped_column(Text, default="Europe/Moscow")
    settings: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict)
    blocked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class User(Model):
    """A person who signs in; may belong to several accounts."""

    __tablename__ = "users"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    email: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text, default="")
    password_hash: Mapped[str] = mapped_column(Text)
    locale: Mapped[str] = mapped_column(Text, default="ru")
    sessions_valid_from: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Membership(Model):
    """A user's place in an account. Roles: owner, admin, manager, reader."""

    __tablename__ = "memberships"
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(Text, default="owner")


class App(Model):
    """The keys of this server at a provider. Without account_id it serves every account; with it, one account only (a local app)."""

    __tablename__ = "apps"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    adapter: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text, default="")
    key: Mapped[str] = mapped_column(Text, unique=True)
    client_id: Mapped[str] = mapped_column(Text)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    settings: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    channels: Mapped[list[AppChannel]] = relationship(
        lazy="selectin", order_by="AppChannel.created_at", cascade="all, delete-orphan", passive_deletes=True
    )
    __table_args__ = (UniqueConstraint("adapter", "client_id"),)


class AppChannel(Model):
    """A registration of its own that a provider gives to an app for one kind of messenger, with a secret of its own (an amoCRM chat channel).

    `settings` hold what belongs to it there: code, bot id, accounts allowed while it is not public, what was switched on for it.
    """

    __tablename__ = "app_channels"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    app_id: Mapped[UUID] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    messenger: Mapped[str] = mapped_column(Text)
    remote_id: Mapped[str] = mapped_column(Text)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    settings: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    __table_args__ = (UniqueConstraint("app_id", "messenger"), UniqueConstraint("app_id", "remote_id"))


class ApiKey(Model):
    """A key with which a program works for an account. Only its digest is kept; the roles are those of people."""

    __tablename__ = "api_keys"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    __table_args__ = (Index("api_keys_account", "account_id", "created_at"),)


class AuditEntry(Model):
    """Who did what, when; the application role may only add and read."""

    __tablename__ = "audit_entries"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    actor: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text, default="")
    details: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict)
    __table_args__ = (Index("audit_entries_journal", "account_id", "id"),)


class SecurityEvent(Model):
    """A call that was not what it claimed to be. Holds nothing of its contents."""

    __tablename__ = "security_events"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now(), index=True)
    end_id: Mapped[UUID | None]
    adapter: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text)
    remote_address: Mapped[str] = mapped_column(Text, default="")
