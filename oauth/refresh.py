"""One refresh however many workers need it (design.md 5.9).

The row of the pair carries a lease, timed by the database's clock. Whoever gets it asks the provider, with no transaction open, and commits the new
pair before anybody uses it; the others wait for the next generation. Whoever dies while holding it leaves a lease that runs out.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from oauth.grants import Grant, Keys, Provider
from oauth.keys import keys_of
from oauth.models import ACCESS_PLACE, REFRESH_PLACE, Token
from widget_backend import clock
from widget_backend.accounts.models import App
from widget_backend.bridge import life
from widget_backend.bridge.errors import AccessLost, Misconfigured, Retry
from widget_backend.bridge.tenancy import transaction
from widget_backend.crypto import Secret, same, seal_text

log = structlog.get_logger()

LEASE = timedelta(seconds=40)
"""Longer than a refresh may take (a provider's call is bounded at 20 s), shorter than anybody's patience."""

WAIT = timedelta(seconds=20)
SETTLE_FOR = timedelta(seconds=20)
SETTLE_PAUSE = timedelta(milliseconds=500)
_POLL = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """The right to refresh one generation of a pair, and all that is needed for it."""

    lease: UUID
    generation: int
    provider: str
    keys: Keys
    endpoint: str
    refresh: Secret


class StoredTokens:
    """An end's tokens (`bridge.ends.Tokens`); every call reads the database, so that no worker holds an old pair."""

    def __init__(self, account_id: UUID, end_id: UUID) -> None:
        self._account_id = account_id
        self._end_id = end_id

    def current(self) -> str:
        """Return the access token; whether it has expired, the remote will say. Raises: AccessLost."""
        with transaction(self._account_id) as session:
            access: str = self._alive(session).access.reveal()
            return access

    def renew(self, stale: str) -> str:
        """Return a token newer than `stale`. Raises: AccessLost, Retry."""
        until = clock.monotonic() + WAIT.total_seconds()
        while True:
            claim = self._claim(stale)
            if isinstance(claim, str):
                return claim
            if claim is not None:
                return self._refresh(claim)
            if clock.monotonic() > until:
                raise Retry("token_busy", after=timedelta(seconds=5))
            clock.sleep(_POLL)

    def _claim(self, stale: str) -> _Claim | str | None:
        """Return the newer token, or the right to fetch one, or None while somebody else is fetching it."""
        with transaction(self._account_id) as session:
            row = self._alive(session, for_update=True)
            access: str = row.access.reveal()
            if not same(access, stale):
                return access
            now = session.scalar(select(func.clock_timestamp()))
            assert now is not None
            if row.lease_until is not None and row.lease_until > now:
                return None
            row.lease_token, row.lease_until = uuid4(), now + LEASE
            return _Claim(
                lease=row.lease_token,
                generation=row.generation,
                provider=row.provider,
                keys=keys_of(session.get_one(App, row.app_id)),
                endpoint=row.endpoint,
                refresh=row.refresh,
            )

    def _refresh(self, claim: _Claim) -> str:
        try:
            grant = provider(claim.provider).refresh(claim.keys, claim.endpoint, claim.refresh)
        except Retry:
            self._release(claim)
            raise
        except (AccessLost, Misconfigured) as error:
            # our lease may have run out while another worker fetched the pair that made ours void
            if not self._lose(claim, error.reason):
                return self.current()
            raise AccessLost(error.reason, error.detail) from error
        self._settle(claim, grant)
        if grant.endpoint != claim.endpoint:
            life.change(self._account_id, self._end_id, settings=grant.facts)  # the account has moved
        return self.current()

    def _settle(self, claim: _Claim, grant: Grant) -> None:
        """Commit the new pair. The generation decides, not the lease: a pair that was fetched is never thrown away for having taken long."""
        row = {"account_id": self._account_id, "end_id": self._end_id}
        self._write_surely(
            claim,
            access_sealed=seal_text(grant.access.reveal(), ACCESS_PLACE.aad(row)),
            refresh_sealed=seal_text(grant.refresh.reveal(), REFRESH_PLACE.aad(row)),
            expires_at=grant.expires_at,
            endpoint=grant.endpoint,
            generation=claim.generation + 1,
            lost="",
            saved_at=func.now(),
        )

    def _write_surely(self, claim: _Claim, **values: Any) -> None:
        """Write through a restart of the database: the provider has spent the old pair, only we hold the new one."""
        until = clock.monotonic() + SETTLE_FOR.total_seconds()
        while True:
            try:
                self._write(claim, **values)
                return
            except DBAPIError:
                if clock.monotonic() > until:
                    raise
                clock.sleep(SETTLE_PAUSE)

    def _lose(self, claim: _Claim, reason: str) -> bool:
        return self._write(claim, lost=reason)

    def _release(self, claim: _Claim) -> None:
        self._write(claim, owned_only=True)

    def _write(self, claim: _Claim, *, owned_only: bool = False, **values: object) -> bool:
        """Change the row while it still holds the generation we started from, and give the lease back."""
        statement = update(Token).where(Token.end_id == self._end_id, Token.generation == claim.generation)
        if owned_only:
            statement = statement.where(Token.lease_token == claim.lease)
        statement = statement.values(lease_token=None, lease_until=None, **values).returning(Token.end_id)
        with transaction(self._account_id) as session:
            return session.execute(statement).first() is not None

    def _alive(self, session: Session, *, for_update: bool = False) -> Token:
        query = select(Token).where(Token.end_id == self._end_id)
        row = session.scalars(query.with_for_update() if for_update else query).first()
        if row is None:
            raise AccessLost("not_connected")
        if row.lost:
            raise AccessLost(row.lost)
        return row


def keep_alive(account_id: UUID, end_id: UUID) -> None:
    """Refresh a pair that has been idle for as long as its provider says it may be."""
    with transaction(account_id) as session:
        row = session.get(Token, (account_id, end_id))
    every = getattr(provider(row.provider), "REFRESH_EVERY", None) if row is not None and not row.lost else None
    if row is None or every is None or row.saved_at > clock.now() - every:
        return
    try:
        StoredTokens(account_id, end_id).renew(row.access.reveal())
    except (AccessLost, Misconfigured) as error:
        life.mark_lost(account_id, end_id, error)
    except Retry as error:
        log.warning("refresh_waits", end=str(end_id), reason=error.reason)


def provider(name: str) -> Provider:
    """Return a provider's file. Raises: ModuleNotFoundError."""
    return cast(Provider, importlib.import_module(f"oauth.{name}"))
