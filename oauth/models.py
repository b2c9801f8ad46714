"""Tokens of ends, and installs that nobody has claimed yet. Everything secret is sealed for its own row."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    LargeBinary,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from widget_backend.crypto import Place, SealedText
from widget_backend.extensions import Model
from widget_backend.ids import new_id

ACCESS_PLACE = Place("oauth_tokens.access", ("account_id", "end_id"))
REFRESH_PLACE = Place("oauth_tokens.refresh", ("account_id", "end_id"))
FACTS_PLACE = Place("oauth_installs.facts", ("app_id", "remote_id"))


class Token(Model):
    """The pair of one end. `generation` counts the pairs; the lease belongs to the one worker that is fetching the next.

    `lost` is the reason for which the provider took the access away; a new pair clears it.
    """

    __tablename__ = "oauth_tokens"
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    end_id: Mapped[UUID] = mapped_column(primary_key=True)
    provider: Mapped[str] = mapped_column(Text)
    app_id: Mapped[UUID] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    endpoint: Mapped[str] = mapped_column(Text)
    access_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    refresh_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    generation: Mapped[int] = mapped_column(BigInteger, default=1, server_default=text("1"))
    lease_token: Mapped[UUID | None]
    lease_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    lost: Mapped[str] = mapped_column(Text, default="", server_default=text("''"))
    saved_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "end_id"], ["ends.account_id", "ends.id"], ondelete="CASCADE"),
    )

    access = SealedText("access_sealed", ACCESS_PLACE)
    refresh = SealedText("refresh_sealed", REFRESH_PLACE)


class Install(Model):
    """An app installed by a company that no account of ours stands for yet. Found by the remote account or by the code its admin was shown."""

    __tablename__ = "oauth_installs"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    adapter: Mapped[str] = mapped_column(Text)
    app_id: Mapped[UUID] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    remote_id: Mapped[str] = mapped_column(Text)
    facts_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    claim_digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    claim_until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    __table_args__ = (UniqueConstraint("app_id", "remote_id"),)

    facts = SealedText("facts_sealed", FACTS_PLACE)
