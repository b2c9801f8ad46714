"""The keys of this server at a provider: one app for every account (the server owner's), or for one account (a local app)."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy.orm import Session

from widget_backend import crypto, ids
from widget_backend.accounts.models import App, AppChannel
from widget_backend.bridge import life, registry
from widget_backend.bridge.models import EndKey


def add(
    session: Session,
    adapter: str,
    *,
    client_id: str,
    secret: str,
    account_id: UUID | None = None,
    key: str = "",
    title: str = "",
    settings: Mapping[str, object] | None = None,
) -> App:
    """Add an app; `key` is the unguessable part of its addresses, that of its hooks too. Raises: IntegrityError when these keys are known already."""
    id = ids.new_id()
    app = App(
        id=id,
        account_id=account_id,
        adapter=adapter,
        title=title,
        key=key or ids.new_key(),
        client_id=client_id,
        secret=crypto.seal_text(secret, f"app:{id}"),
        settings=dict(settings or {}),
        channels=[],
    )
    session.add(app)
    session.flush()
    if registry.manifest(adapter).door == "app":
        session.add(EndKey(digest=life.hook_digest(app.key), kind="hook", adapter=adapter, app_id=id))
        session.flush()
    return app


def set_channel(
    session: Session, app: App, messenger: str, *, remote_id: str, secret: str, settings: Mapping[str, object]
) -> AppChannel:
    """Give an app its registration for one kind of messenger, or replace it; an empty secret leaves the known one as it is."""
    known = next((one for one in app.channels if one.messenger == messenger), None)
    if known is None:
        known = AppChannel(id=ids.new_id(), app_id=app.id, messenger=messenger, secret=b"")
        app.channels.append(known)
    known.remote_id, known.settings = remote_id, dict(settings)
    if secret or not known.secret:
        known.secret = crypto.seal_text(secret, f"app_channel:{known.id}")
    session.flush()
    return known
