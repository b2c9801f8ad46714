"""Whose embedded page it is, what proves a visit, and the events of an app's life that come to the address of its installer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select

from oauth import installs, store
from oauth.grants import Bearer
from oauth.refresh import provider
from widget_backend import crypto
from widget_backend.accounts.models import App
from widget_backend.bridge import life, registry, runtime
from widget_backend.bridge.ends import Manifest
from widget_backend.bridge.errors import EndError, NotGenuine
from widget_backend.bridge.models import EndRecord
from widget_backend.bridge.tenancy import transaction
from widget_backend.crypto import Secret

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Door:
    """Whose page it is."""

    key: str
    app: App
    manifest: Manifest

    @property
    def pages(self) -> Any:
        """The adapter's module that reads visits."""
        return registry.load(self.manifest.pages)

    def server(self, name: str) -> object:
        """Read a server setting of the adapter."""
        return runtime.get().config.server(self.manifest.key, name)


def find(key: str) -> Door | None:
    """Find the app of an address. The key is the app's, never an end's hook key: a page's address is seen by every employee."""
    with transaction(None) as session:
        app = session.scalars(select(App).where(App.key == key)).first()
    if app is None:
        return None
    manifest = registry.manifest(app.adapter)
    return Door(key, app, manifest) if manifest.pages else None


def row_of(known: tuple[UUID, UUID] | None) -> EndRecord | None:
    """Return the row of an (account, end) pair, None when there is none."""
    if known is None:
        return None
    with transaction(known[0]) as session:
        return session.get(EndRecord, known[1])


def life_event(door: Door, seen: Any) -> int:
    """Take an event of the app's life. Those with a token are proved by the OAuth server, the farewell by the secret we know.

    Shape: the status to answer with.
    Raises: NotGenuine.
    """
    known = life.find(door.manifest.key, seen.remote_id, door.app.id)
    row = row_of(known)
    if seen.event == "ONAPPUNINSTALL":
        return _farewell(door, seen, row)
    try:
        bearer = prove(door, seen)
        facts = installs.facts_of(bearer, access=seen.access, refresh=seen.refresh, secrets=seen.secrets)
        account_id = row.account_id if row else door.app.account_id
        if seen.refresh and account_id:
            known = (account_id, installs.attach(account_id, door.app, seen.remote_id, facts))
        elif seen.refresh:
            install = store.Unclaimed(
                adapter=door.manifest.key, app_id=door.app.id, remote_id=seen.remote_id, facts=facts
            )
            store.remember(install)
        elif row is not None and known is not None:
            learn(known, row, bearer, seen)
        if known is not None:
            installs.connect(*known, door.app, actor=door.manifest.key)
    except installs.Taken:
        return 409
    except EndError as error:
        # the event does not come again; the end is in `error` with this reason, and its page says what to do
        log.warning("life_event_failed", adapter=door.manifest.key, kind=seen.event, reason=error.reason)
    return 200


def _farewell(door: Door, seen: Any, row: EndRecord | None) -> int:
    if row is None:
        waiting = store.unclaimed(door.app.id, seen.remote_id)
        if waiting is None or not crypto.same(waiting.facts.get("application_token", ""), seen.application_token):
            raise NotGenuine("unknown_portal")
        store.claimed(door.app.id, seen.remote_id)
        return 200
    if not door.pages.is_proved(seen, life.owner_of(row)):
        raise NotGenuine("wrong_secret")
    store.forget(row.account_id, row.id)
    if seen.erase:
        life.erase(row.account_id, row.id, actor=door.manifest.key)
    else:
        life.set_state(row.account_id, row.id, "error", f"{door.manifest.key}_uninstalled")
    return 200


def prove(door: Door, seen: Any) -> Bearer:
    """Ask the OAuth server whose the token is: it must be of our app and of the company it claims to be. Raises: NotGenuine, EndError."""
    bearer = provider(door.manifest.key).prove(seen.server_endpoint, Secret(seen.access))
    if not crypto.same(bearer.client_id, door.app.client_id) or not crypto.same(bearer.remote_id, seen.remote_id):
        raise NotGenuine("foreign_token")
    return bearer


def learn(known: tuple[UUID, UUID], row: EndRecord, bearer: Bearer, seen: Any) -> None:
    """Take over what the OAuth server vouches for: the portal's new address, and with it a new application_token."""
    new = {name: value for name, value in bearer.facts.items() if value and row.settings.get(name) != value}
    life.change(*known, settings=new, secrets=seen.secrets)
