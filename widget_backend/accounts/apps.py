"""The keys of this server at a provider: one app for every account (the server owner's), or for one account (a local app)."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from widget_backend import crypto, ids
from widget_backend.accounts.models import App


def add(
    session: Session,
    adapter: str,
    *,
    client_id: str,
    secret: str,
    account_id: UUID | None = None,
    key: str = "",
    title: str = "",
) -> App:
    """Add an app; `key` is the unguessable part of its addresses. Raises: IntegrityError when these keys are known already."""
    id = ids.new_id()
    app = App(
        id=id,
        account_id=account_id,
        adapter=adapter,
        title=title,
        key=key or ids.new_key(),
        client_id=client_id,
        secret=crypto.seal_text(secret, f"app:{id}"),
        settings={},
    )
    session.add(app)
    session.flush()
    return app
