"""The life of an end: made, connected, changed, lost, disconnected, erased; and the snapshots in which adapters see it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from widget_backend import clock, crypto, ids, outside
from widget_backend.accounts.models import App, AuditEntry
from widget_backend.bridge import registry, runtime
from widget_backend.bridge.ends import Connected, End, Owner, Side, Tokens
from widget_backend.bridge.errors import AccessLost, EndError, Misconfigured
from widget_backend.bridge.models import (
    ConversationRecord,
    Delivery,
    EndKey,
    EndRecord,
    Errand,
    Gate,
    Inbox,
    Lane,
    Route,
)
from widget_backend.bridge.tenancy import transaction

SNAPSHOT_S = 10.0
CONNECT_PATIENCE = timedelta(seconds=20)
PREVIOUS_SECRETS_FOR = timedelta(minutes=10)


def create(
    account_id: UUID | str,
    adapter: str,
    *,
    title: str = "",
    settings: Mapping[str, object] | None = None,
    secrets: Mapping[str, str] | None = None,
    remote_id: str = "",
    app_id: UUID | str | None = None,
    actor: str = "",
) -> UUID:
    """Make an end that is not connected yet, with an unguessable hook address; return its id."""
    manifest = registry.manifest(adapter)
    facts = manifest.capabilities
    end_id, account = ids.new_id(), UUID(str(account_id))
    sealed = _seal(end_id, {**(secrets or {}), "hook_key": ids.new_key()})
    with transaction(account) as session:
        session.add(
            EndRecord(
                id=end_id,
                account_id=account,
                side=manifest.side.value,
                adapter=adapter,
                title=title,
                settings=dict(settings or {}),
                secrets=sealed,
                remote_id=remote_id,
                app_id=UUID(str(app_id)) if app_id else None,
            )
        )
        session.flush()
        session.add(Gate(end_id=end_id, account_id=account, adapter=adapter, cap=facts.cap, batch=facts.batch))
        hook_key = _open(end_id, sealed)["hook_key"]
        session.add(
            EndKey(digest=hook_digest(hook_key), kind="hook", adapter=adapter, account_id=account, end_id=end_id)
        )
        _claim(session, account, end_id, adapter, app_id, [remote_id])
        session.add(AuditEntry(account_id=account, actor=actor or "server", action="end.create", subject=str(end_id)))
    return end_id


def find(adapter: str, remote_id: str, app_id: UUID | str | None = None) -> tuple[UUID, UUID] | None:
    """Find (account, end) by what the remote calls its account; None when we do not know it."""
    with transaction(None) as session:
        row = session.get(EndKey, remote_digest(adapter, remote_id, app_id))
    return (row.account_id, row.end_id) if row and row.account_id and row.end_id else None


def snapshot(account_id: UUID | str, end_id: UUID | str) -> End:
    """Return an end as its adapter sees it. Raises: KeyError when this account has no such end."""
    with transaction(account_id) as session:
        return snapshot_in(session, UUID(str(end_id)))


_snapshots: dict[tuple[UUID, str], tuple[float, End]] = {}
"""Snapshots by the version of their row, so that secrets are not opened for every call; a few seconds, for the app's sake."""


def snapshot_in(session: Session, end_id: UUID, *, version: str = "") -> End:
    """As `snapshot`, inside a transaction of the account. With the row's version it may be one made lately."""
    known = _snapshots.get((end_id, version))
    if known is not None and version and time.monotonic() - known[0] < SNAPSHOT_S:
        return known[1]
    end = _snapshot(session, end_id)
    if version:
        if len(_snapshots) > 10_000:
            _snapshots.clear()
        _snapshots[(end_id, version)] = (time.monotonic(), end)
    return end


def _snapshot(session: Session, end_id: UUID) -> End:
    row = session.get(EndRecord, end_id)
    if row is None:
        raise KeyError(end_id)
    secrets = _open(row.id, row.secrets)
    config = runtime.get().config
    app = session.get(App, row.app_id) if row.app_id else None
    adapter = row.adapter
    return End(
        id=str(row.id),
        account_id=str(row.account_id),
        adapter=adapter,
        side=Side(row.side),
        title=row.title,
        remote_id=row.remote_id,
        settings=row.settings,
        secrets=secrets,
        hook_url=f"{config.public_url}/hooks/{secrets['hook_key']}",
        server=lambda name: config.server(adapter, name),
        tokens=_tokens(row.account_id, row.id) if row.app_id else None,
        app=app_owner(app) if app else None,
    )


def app_owner(app: App) -> Owner:
    """Return an app as hooks and adapters see it. Each of its channels is in `channels` of the settings, its secret named `channel:<remote id>`."""
    secret = crypto.open_text(app.secret, f"app:{app.id}")
    channels = [{**one.settings, "messenger": one.messenger, "remote_id": one.remote_id} for one in app.channels]
    sealed = {f"channel:{one.remote_id}": crypto.open_text(one.secret, f"app_channel:{one.id}") for one in app.channels}
    return Owner(
        adapter=app.adapter,
        remote_id=app.client_id,
        settings={**app.settings, "channels": channels},
        secrets={"client_id": app.client_id, "client_secret": secret, **sealed},
        is_app=True,
    )


def connect(account_id: UUID | str, end_id: UUID | str, *, actor: str = "", is_repair: bool = False) -> Connected:
    """Let the adapter connect the end, store what it says and open its lanes.

    Raises: EndError; the end is then in `error`, unless this is a repair of a working end, which stays as it is when only that failed.
    """

    def keep(*, settings: Mapping[str, object] | None = None, secrets: Mapping[str, str] | None = None) -> None:
        change(account_id, end_id, settings=settings, secrets=secrets)

    with transaction(account_id) as session:
        # while it connects it is asked things at its door (VK's confirmation), which is shut for an end that is off
        is_off = (EndRecord.id == UUID(str(end_id))) & (EndRecord.state == "off")
        session.execute(update(EndRecord).where(is_off).values(state="new"))
    end = snapshot(account_id, end_id)
    try:
        with outside.patience(CONNECT_PATIENCE):
            connected: Connected = registry.adapter(end).connect(keep)
    except EndError as error:
        if isinstance(error, AccessLost) or not is_repair:
            mark_lost(account_id, end_id, error)
        raise
    account, id = UUID(str(account_id)), UUID(str(end_id))
    try:
        _store_connected(account, id, connected, actor)
    except IntegrityError as error:
        # the same remote account is connected already: take back what was just registered for it a second time. Behind an app's one door
        # there is one registration, and that is the other end's
        if registry.manifest(end.adapter).door == "end":
            registry.adapter(snapshot(account, id)).disconnect()
        twice = Misconfigured("already_connected")
        mark_lost(account, id, twice)
        raise twice from error
    return connected


def _store_connected(account: UUID, id: UUID, connected: Connected, actor: str) -> None:
    change(account, id, settings=connected.settings, secrets=connected.secrets)
    with transaction(account) as session:
        row = session.get_one(EndRecord, id)
        row.remote_id, row.title = connected.remote_id, row.title or connected.title
        if row.state == "error":
            _hurry(session, id)
        row.state, row.reason, row.detail = "active", "", ""
        row.connected_at = row.checked_at = clock.now()
        session.flush()
        _claim(session, account, id, row.adapter, row.app_id, [connected.remote_id, *connected.aliases])
        session.execute(
            update(Gate)
            .where(Gate.end_id == id)
            .values(is_open=True, failures=0, not_before=func.now(), pull_at=func.now() if _is_pulled(row) else None)
        )
        _join_routes(session, row)
        session.add(AuditEntry(account_id=account, actor=actor or "server", action="end.connect", subject=str(id)))


def _hurry(session: Session, id: UUID) -> None:
    """Let what waited for this connection too long not leave by itself now: nobody wants yesterday's answer; it can be sent again by hand."""
    wait = timedelta(minutes=runtime.get().config.reconnect_expiry_minutes)
    waiting = (Delivery.end_id == id, Delivery.status == "queued", Delivery.expires_at.is_not(None))
    sooner = func.least(Delivery.expires_at, Delivery.created_at + wait)
    session.execute(update(Delivery).where(*waiting, Delivery.trigger == "auto").values(expires_at=sooner))


def change(
    account_id: UUID | str,
    end_id: UUID | str,
    *,
    settings: Mapping[str, object] | None = None,
    secrets: Mapping[str, str] | None = None,
    title: str | None = None,
) -> None:
    """Merge facts into an end, in a transaction of its own. Old secrets stay valid for hooks a few minutes longer."""
    if not settings and not secrets and title is None:
        return
    id = UUID(str(end_id))
    with transaction(account_id) as session:
        row = session.scalars(select(EndRecord).where(EndRecord.id == id).with_for_update()).one()
        if settings:
            row.settings = {**row.settings, **settings}
        if title is not None:
            row.title = title
        if secrets:
            known = _open(id, row.secrets)
            if {**known, **secrets} != known:
                row.previous_secrets = _seal(id, {**known, "_until": (clock.now() + PREVIOUS_SECRETS_FOR).isoformat()})
                row.secrets = _seal(id, {**known, **secrets})


def mark_lost(account_id: UUID | str, end_id: UUID | str, error: EndError) -> bool:
    """Switch an end to `error` when the error says so (AccessLost, Misconfigured): its lanes close and wait. Tell whether it was switched."""
    if not isinstance(error, AccessLost | Misconfigured):
        return False
    set_state(account_id, end_id, "error", error.reason, error.detail)
    return True


def set_state(
    account_id: UUID | str, end_id: UUID | str, state: str, reason: str = "", detail: str = "", *, actor: str = "server"
) -> None:
    """Set the state of an end and open or close its gate with it."""
    id = UUID(str(end_id))
    wanted = update(EndRecord).where(EndRecord.id == id)
    if state == "error":
        wanted = wanted.where(
            EndRecord.state != "off"
        )  # trouble with calls that were still out when it was disconnected
    with transaction(account_id) as session:
        changed = wanted.values(state=state, reason=reason, detail=detail[:2000]).returning(EndRecord.id)
        if session.scalar(changed) is None:
            return
        session.execute(update(Gate).where(Gate.end_id == id).values(is_open=state == "active"))
        # an app's hooks pass by an end that is off, as if it were not there
        named = update(EndKey).where(EndKey.end_id == id, EndKey.kind != "hook")
        session.execute(named.values(kind="off" if state == "off" else "remote"))
        session.add(
            AuditEntry(
                account_id=UUID(str(account_id)),
                actor=actor or "server",
                action=f"end.{state}",
                subject=str(id),
                details={"reason": reason},
            )
        )


def disconnect(account_id: UUID | str, end_id: UUID | str, *, actor: str = "") -> None:
    """Take back what was registered outside and close the end; what waits stays. An end whose access is lost is closed all the same."""
    end = snapshot(account_id, end_id)
    with suppress(AccessLost, Misconfigured):  # then the outside no longer lets us in: nothing is left to take back
        registry.adapter(end).disconnect()
    set_state(account_id, end_id, "off", "disconnected", actor=actor)


def erase(account_id: UUID | str, end_id: UUID | str, *, actor: str = "") -> None:
    """Forget an end with everything that came and went over it."""
    account, id = UUID(str(account_id)), UUID(str(end_id))
    with transaction(account) as session:
        # lanes, errands and raw hooks have no foreign keys: they are found across accounts
        talks = select(ConversationRecord.id).where(ConversationRecord.channel_id == id)
        session.execute(delete(Lane).where((Lane.end_id == id) | Lane.conversation_id.in_(talks)))
        session.execute(delete(Errand).where((Errand.end_id == id) | Errand.conversation_id.in_(talks)))
        session.execute(delete(Inbox).where(Inbox.owner_id == id))
        session.execute(delete(EndKey).where(EndKey.end_id == id))
        session.execute(delete(Gate).where(Gate.end_id == id))
        session.execute(delete(Lane).where(Lane.end_id == id))
        session.execute(delete(Errand).where(Errand.end_id == id))
        session.execute(delete(Inbox).where(Inbox.owner_id == id))
        session.execute(delete(EndRecord).where(EndRecord.id == id))
        session.add(AuditEntry(account_id=account, actor=actor or "server", action="end.erase", subject=str(id)))


def join(account_id: UUID | str, channel_id: UUID | str, connection_id: UUID | str, **settings: object) -> None:
    """Let a channel feed a connection."""
    account = UUID(str(account_id))
    values = {"account_id": account, "channel_id": UUID(str(channel_id)), "connection_id": UUID(str(connection_id))}
    with transaction(account) as session:
        session.execute(
            insert(Route)
            .values(**values, settings=settings)
            .on_conflict_do_update(index_elements=list(values), set_={"settings": settings})
        )


def part(account_id: UUID | str, channel_id: UUID | str, connection_id: UUID | str) -> None:
    """Let a channel no longer feed a connection."""
    with transaction(account_id) as session:
        session.execute(
            delete(Route).where(
                Route.channel_id == UUID(str(channel_id)), Route.connection_id == UUID(str(connection_id))
            )
        )


def owner_of(row: EndRecord) -> Owner:
    """Return an end as its hooks see it, with the secrets that are still valid during a rotation."""
    previous: dict[str, str] = {}
    if row.previous_secrets:
        previous = _open(row.id, row.previous_secrets)
        if previous.pop("_until", "") < clock.now().isoformat():
            previous = {}
    return Owner(
        adapter=row.adapter,
        remote_id=row.remote_id,
        settings=row.settings,
        secrets=_open(row.id, row.secrets),
        previous=previous,
    )


def hook_digest(key: str) -> bytes:
    """Return the digest by which a hook key is found; the key itself has 256 random bits, so that a plain hash hides it."""
    return hashlib.sha256(b"hook:" + key.encode("utf-8", "surrogatepass")).digest()


def remote_digest(adapter: str, remote_id: str, app_id: UUID | str | None = None) -> bytes:
    """Return the digest by which a remote account is found."""
    return hashlib.sha256(f"remote:{adapter}:{app_id or ''}:{remote_id}".encode()).digest()


def reseal(row: EndRecord) -> None:
    """Seal the secrets of an end with the current key."""
    row.secrets = crypto.rotate(row.secrets, f"end:{row.id}")
    if row.previous_secrets:
        row.previous_secrets = crypto.rotate(row.previous_secrets, f"end:{row.id}")


def _claim(
    session: Session,
    account_id: UUID,
    end_id: UUID,
    adapter: str,
    app_id: UUID | str | None,
    names: Sequence[str],
) -> None:
    """Let an end be found by these names of its remote account; those it no longer has are free. Raises: IntegrityError when another end has one."""
    if not app_id:  # only an app's hooks are found by remote account
        return
    digests = {remote_digest(adapter, name, app_id) for name in names if name}
    mine = (EndKey.end_id == end_id) & (EndKey.kind != "hook")
    session.execute(delete(EndKey).where(mine, EndKey.digest.not_in(digests)))
    session.execute(update(EndKey).where(mine).values(kind="remote"))
    known = set(session.scalars(select(EndKey.digest).where(mine)))
    whose = {"account_id": account_id, "end_id": end_id, "app_id": UUID(str(app_id))}
    session.add_all(EndKey(digest=one, kind="remote", adapter=adapter, **whose) for one in digests - known)
    session.flush()


def _join_routes(session: Session, row: EndRecord) -> None:
    """A first connection takes every channel, a new channel goes to every connection, until the admin says otherwise."""
    others = session.scalars(
        select(EndRecord.id).where(EndRecord.side != row.side, EndRecord.deleted_at.is_(None))
    ).all()
    known = session.scalars(
        select(Route.channel_id).where((Route.channel_id == row.id) | (Route.connection_id == row.id)).limit(1)
    ).first()
    if known is not None:
        return
    for other in others:
        channel, connection = (row.id, other) if row.side == Side.NETWORK else (other, row.id)
        session.add(Route(account_id=row.account_id, channel_id=channel, connection_id=connection))


def _is_pulled(row: EndRecord) -> bool:
    capabilities = registry.manifest(row.adapter).capabilities
    return capabilities.once or capabilities.pull_every is not None


def _tokens(account_id: UUID, end_id: UUID) -> Tokens:
    from oauth.store import tokens  # the OAuth room knows the bridge's models; the bridge meets it only here

    return tokens(str(account_id), str(end_id))


def _seal(end_id: UUID, secrets: Mapping[str, str]) -> bytes:
    return crypto.seal_text(json.dumps(dict(secrets)), f"end:{end_id}")


def _open(end_id: UUID, sealed: bytes) -> dict[str, str]:
    opened: dict[str, Any] = json.loads(crypto.open_text(sealed, f"end:{end_id}"))
    return opened
