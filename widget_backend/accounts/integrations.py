"""Integrations: apps whose form at the provider names addresses of ours before it gives its keys, and which get a chat channel for each messenger.

One begins as a draft, so that its addresses are known and answer before its keys are. Apps have no account or that of their owner; who may change one
is for the caller to ask (`server_owner.may_manage`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import delete, or_, select
from sqlalchemy.exc import IntegrityError

from widget_backend import crypto, ids, outside
from widget_backend.accounts import apps
from widget_backend.accounts.models import App, AppChannel, AuditEntry
from widget_backend.bridge import life, registry, setup
from widget_backend.bridge.ends import End
from widget_backend.bridge.errors import MostikError
from widget_backend.bridge.models import EndKey, EndRecord
from widget_backend.bridge.tenancy import transaction

_DRAFT = "draft:"


class Taken(MostikError):
    """These keys, or this channel, are known already."""


class InUse(MostikError):
    """Connections still work through the integration."""


def is_draft(app: App) -> bool:
    """Tell whether the provider's keys are still to come."""
    return app.client_id.startswith(_DRAFT)


def listed(account_id: UUID, adapters: Iterable[str], *, with_servers: bool = True) -> Sequence[App]:
    """Return the apps of an account, and those of the whole server, oldest first."""
    whose = App.account_id == account_id
    query = select(App).where(
        or_(whose, App.account_id.is_(None)) if with_servers else whose, App.adapter.in_(list(adapters))
    )
    with transaction(account_id) as session:
        return session.scalars(query.order_by(App.created_at, App.id)).all()


def find(app_id: UUID) -> App | None:
    """Return an app, whosever it is."""
    with transaction(None) as session:
        return session.get(App, app_id)


def begin(account_id: UUID, adapter: str, *, owner_id: UUID | None, platform: str, actor: str) -> UUID:
    """Make a draft, or find the one that its owner has not finished; return its id. `account_id`: whose audit trail tells of it."""
    unfinished = select(App).where(App.account_id == owner_id, App.adapter == adapter, App.client_id.startswith(_DRAFT))
    with transaction(account_id) as session:
        app = session.scalars(unfinished.order_by(App.created_at)).first()
        if app is None:
            client_id = f"{_DRAFT}{ids.new_key()}"
            app = apps.add(session, adapter, client_id=client_id, secret="", account_id=owner_id)
            session.add(_entry(account_id, actor, "app.add", app.id))
        app.settings = {**app.settings, "platform": platform}
        return app.id


def change(
    account_id: UUID,
    app_id: UUID,
    *,
    actor: str,
    title: str | None = None,
    client_id: str = "",
    secret: str = "",
    settings: Mapping[str, object] | None = None,
) -> None:
    """Change what an integration is called, its keys (empty: as they are) and its facts. Raises: Taken."""
    try:
        with transaction(account_id) as session:
            app = session.get_one(App, app_id)
            app.title = app.title if title is None else title
            app.client_id = client_id or app.client_id
            app.settings = {**app.settings, **(settings or {})}
            if secret:
                app.secret = crypto.seal_text(secret, f"app:{app.id}")
            changed = sorted(
                {*(settings or {}), *(("secret",) if secret else ()), *(("client_id",) if client_id else ())}
            )
            session.add(_entry(account_id, actor, "app.change", app_id, fields=changed))
            session.flush()
    except IntegrityError as error:
        raise Taken(client_id) from error


def set_channel(
    account_id: UUID,
    app_id: UUID,
    messenger: str,
    *,
    remote_id: str,
    secret: str,
    settings: Mapping[str, object],
    actor: str,
) -> None:
    """Keep what the provider gave for one messenger; an empty secret leaves the known one. Raises: Taken."""
    try:
        with transaction(account_id) as session:
            app = session.get_one(App, app_id)
            known = next((one for one in app.channels if one.messenger == messenger), None)
            facts = {**(known.settings if known else {}), **settings}
            apps.set_channel(session, app, messenger, remote_id=remote_id, secret=secret, settings=facts)
            session.add(_entry(account_id, actor, "app.channel", app_id, messenger=messenger))
            session.flush()
    except IntegrityError as error:
        raise Taken(remote_id) from error


def drop_channel(account_id: UUID, app_id: UUID, messenger: str, *, actor: str) -> None:
    """Forget what the provider gave for a messenger."""
    wanted = delete(AppChannel).where(AppChannel.app_id == app_id, AppChannel.messenger == messenger)
    with transaction(account_id) as session:
        session.execute(wanted)
        session.add(_entry(account_id, actor, "app.channel_drop", app_id, messenger=messenger))


def users(app: App) -> list[EndRecord]:
    """Return the connections of every account that were made through an app. It looks into one account after the other."""
    with transaction(None) as session:
        named = select(EndKey.account_id, EndKey.end_id).where(EndKey.app_id == app.id, EndKey.end_id.is_not(None))
        places = session.execute(named.distinct()).all()
    found: list[EndRecord] = []
    for account_id, end_id in places:
        with transaction(account_id) as session:
            row = session.get(EndRecord, end_id)
        if row is not None and row.deleted_at is None:
            found.append(row)
    return sorted(found, key=lambda one: one.created_at)


def remove(account_id: UUID, app: App, *, actor: str) -> None:
    """Forget an integration with its channels and with the installs that wait for their account. Raises: InUse."""
    if any(one.state != "off" for one in users(app)):
        raise InUse(str(app.id))
    with transaction(account_id) as session:
        # these have no foreign key: they are found before an account is known
        session.execute(delete(EndKey).where(EndKey.app_id == app.id))
        session.execute(delete(App).where(App.id == app.id))
        session.add(_entry(account_id, actor, "app.remove", app.id))


def try_channel(account_id: UUID, end_id: UUID, remote_id: str) -> str:
    """Let a connection connect one channel of its integration and no other; return the reason of a refusal, or nothing. Raises: Trouble."""
    end = life.snapshot(account_id, end_id)
    with setup.explained(), outside.patience(life.CONNECT_PATIENCE):
        warnings: Sequence[str] = registry.adapter(_with_only(end, remote_id)).connect(_keep_nothing).warnings
    return warnings[0] if warnings else ""


def _with_only(end: End, remote_id: str) -> End:
    if end.app is None:
        return end
    channels = end.app.settings["channels"]
    assert isinstance(channels, list)
    alone = [one for one in channels if one["remote_id"] == remote_id]
    return replace(end, app=replace(end.app, settings={**end.app.settings, "channels": alone}))


def _keep_nothing(*, settings: Mapping[str, object] | None = None, secrets: Mapping[str, str] | None = None) -> None:
    """Let a trial change nothing of the connection."""


def _entry(account_id: UUID, actor: str, action: str, app_id: UUID, **details: object) -> AuditEntry:
    return AuditEntry(account_id=account_id, actor=actor, action=action, subject=str(app_id), details=details)
