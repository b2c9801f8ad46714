"""From a proved install to an end: made or found, given its tokens and facts; and the claiming of one that came before its account."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from oauth import store
from oauth.grants import Bearer, Grant
from oauth.store import Unclaimed
from widget_backend import clock
from widget_backend.accounts.models import App
from widget_backend.bridge import life, registry, runtime
from widget_backend.bridge.ends import Connected
from widget_backend.bridge.errors import MostikError
from widget_backend.crypto import Secret

_ACCESS_FOR = timedelta(hours=1)
_SECRETS = ("application_token",)
_TOKENS = ("access", "refresh")


class Taken(MostikError):
    """The company is connected already, in another account or by another app."""


def facts_of(bearer: Bearer, *, access: str, refresh: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """Collect what an end will need from a proved install."""
    return {**bearer.facts, **secrets, "user_id": bearer.user_id, "access": access, "refresh": refresh}


def attach(account_id: UUID, app: App, remote_id: str, facts: Mapping[str, str]) -> UUID:
    """Make the end of a company in an account, or find it, and store its tokens and facts; return its id. It is not connected here.

    Raises: Taken.
    """
    known = life.find(app.adapter, remote_id, app.id)
    if known is not None and known[0] != account_id:
        raise Taken(remote_id)
    settings: dict[str, object] = {name: facts[name] for name in facts if name not in (*_SECRETS, *_TOKENS)}
    settings["pages_url"] = _pages_url(app)
    secrets = {name: facts[name] for name in _SECRETS if facts.get(name)}
    if known is None:
        end_id = _create(account_id, app, remote_id, settings, secrets)
    else:
        end_id = known[1]
        life.change(account_id, end_id, settings=settings, secrets=secrets)
    grant = Grant(
        access=Secret(facts["access"]),
        refresh=Secret(facts["refresh"]),
        expires_at=clock.now() + _ACCESS_FOR,
        endpoint=facts["server_endpoint"],
    )
    store.save(account_id, end_id, provider=app.adapter, app_id=app.id, grant=grant)
    store.claimed(app.id, remote_id)
    return end_id


def connect(account_id: UUID, end_id: UUID, app: App, *, actor: str) -> Connected:
    """Connect an end, after telling it where the pages of its app are now. Raises: EndError."""
    life.change(account_id, end_id, settings={"pages_url": _pages_url(app)})
    return life.connect(account_id, end_id, actor=actor)


def claim(account_id: UUID, app: App, install: Unclaimed) -> UUID:
    """Give a waiting install to the account whose person claimed it. Raises: Taken."""
    return attach(account_id, app, install.remote_id, install.facts)


def _pages_url(app: App) -> str:
    return f"{runtime.get().config.public_url}/embedded/{app.key}"


def _create(
    account_id: UUID, app: App, remote_id: str, settings: Mapping[str, object], secrets: Mapping[str, str]
) -> UUID:
    title = f"{registry.manifest(app.adapter).title} – {settings.get('domain') or remote_id}"
    try:
        return life.create(
            account_id, app.adapter, title=title, settings=settings, secrets=secrets, remote_id=remote_id, app_id=app.id
        )
    except IntegrityError as error:
        raise Taken(remote_id) from error
