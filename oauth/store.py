"""Where tokens lie: saved, read, handed over to adapters; and the installs that wait for their account."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from oauth.grants import Grant
from oauth.models import ACCESS_PLACE, FACTS_PLACE, REFRESH_PLACE, Install, Token
from oauth.refresh import StoredTokens
from widget_backend import clock, ids
from widget_backend.bridge.ends import Tokens
from widget_backend.bridge.tenancy import transaction
from widget_backend.crypto import open_text, seal_text

CLAIM_FOR = timedelta(days=7)
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_CODE_LENGTH = 12  # 60 random bits: typed by hand, valid for days


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclaimed:
    """An install without an account. `facts` hold what the end will need, tokens among them."""

    adapter: str
    app_id: UUID
    remote_id: str
    facts: Mapping[str, str]


def tokens(account_id: str, end_id: str) -> Tokens:
    """Return an end's access to its tokens; nothing is read yet."""
    return StoredTokens(UUID(account_id), UUID(end_id))


def save(account_id: UUID, end_id: UUID, *, provider: str, app_id: UUID, grant: Grant) -> None:
    """Store the pair an admin has just granted, over whatever was there: it ends a loss, and a refresh under way is outdated."""
    row = {"account_id": account_id, "end_id": end_id}
    values = {
        "provider": provider,
        "app_id": app_id,
        "endpoint": grant.endpoint,
        "access_sealed": seal_text(grant.access.reveal(), ACCESS_PLACE.aad(row)),
        "refresh_sealed": seal_text(grant.refresh.reveal(), REFRESH_PLACE.aad(row)),
        "expires_at": grant.expires_at,
        "lease_token": None,
        "lease_until": None,
        "lost": "",
        "saved_at": clock.now(),
    }
    again = {**values, "generation": Token.generation + 1}
    with transaction(account_id) as session:
        session.execute(
            insert(Token).values(**row, **values).on_conflict_do_update(index_elements=list(row), set_=again)
        )


def forget(account_id: UUID, end_id: UUID) -> None:
    """Delete an end's pair."""
    with transaction(account_id) as session:
        session.execute(delete(Token).where(Token.end_id == end_id))


def remember(install: Unclaimed) -> str:
    """Keep an install until somebody claims it; return the code to claim it with. A new install of the same company replaces the old one."""
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))
    place = {"app_id": install.app_id, "remote_id": install.remote_id}
    values = {
        "adapter": install.adapter,
        "facts_sealed": seal_text(json.dumps(dict(install.facts)), FACTS_PLACE.aad(place)),
        "claim_digest": claim_digest(code),
        "claim_until": clock.now() + CLAIM_FOR,
    }
    statement = insert(Install).values(id=ids.new_id(), **place, **values)
    with transaction(None) as session:
        session.execute(statement.on_conflict_do_update(index_elements=list(place), set_=values))
    return code


def unclaimed(app_id: UUID, remote_id: str) -> Unclaimed | None:
    """Find a waiting install by its company."""
    with transaction(None) as session:
        row = session.scalars(select(Install).where(Install.app_id == app_id, Install.remote_id == remote_id)).first()
        return _read(row) if row else None


def arrived() -> list[Unclaimed]:
    """Return the codes that a provider brought and nobody has turned into tokens yet, oldest first."""
    query = select(Install).where(Install.remote_id.startswith("code:")).order_by(Install.made_at).limit(100)
    with transaction(None) as session:
        return [_read(row) for row in session.scalars(query)]


def by_code(code: str) -> Unclaimed | None:
    """Find a waiting install by the code its admin was shown; spaces, dashes and case do not matter."""
    query = select(Install).where(Install.claim_digest == claim_digest(code), Install.claim_until > func.now())
    with transaction(None) as session:
        row = session.scalars(query).first()
        return _read(row) if row else None


def claimed(app_id: UUID, remote_id: str) -> None:
    """Forget an install: it has its account now, or it was uninstalled."""
    with transaction(None) as session:
        session.execute(delete(Install).where(Install.app_id == app_id, Install.remote_id == remote_id))


def claim_digest(code: str) -> bytes:
    """Return the digest by which a claim code is found."""
    plain = "".join(char for char in code.upper() if char in _ALPHABET)
    return hashlib.sha256(b"claim:" + plain.encode()).digest()


def _read(row: Install) -> Unclaimed:
    place = {"app_id": row.app_id, "remote_id": row.remote_id}
    facts: dict[str, str] = json.loads(open_text(row.facts_sealed, FACTS_PLACE.aad(place)))
    return Unclaimed(adapter=row.adapter, app_id=row.app_id, remote_id=row.remote_id, facts=facts)
