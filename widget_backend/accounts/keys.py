"""Keys with which programs work for an account: issued, found, revoked. A key is shown once; only its digest is kept.

The key names its account, so that it is looked up inside that account only: row-level security holds for the look-up too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select

from widget_backend import clock, ids
from widget_backend.accounts.models import Account, ApiKey, AuditEntry
from widget_backend.bridge.tenancy import transaction

PREFIX = "mostik_api"
ROLES = ("admin", "manager", "reader")
USED_EVERY = timedelta(minutes=5)


def issue(account_id: UUID, *, title: str, role: str, actor: str) -> str:
    """Make a key and return it: the only time that it is seen."""
    assert role in ROLES
    token = ids.new_token(f"{PREFIX}_{account_id.hex}")
    row = ApiKey(id=ids.new_id(), account_id=account_id, title=title, role=role, digest=_digest(token))
    with transaction(account_id) as session:
        session.add(row)
        session.add(AuditEntry(account_id=account_id, actor=actor, action="key.issue", subject=str(row.id)))
    return token


def find(token: str) -> tuple[ApiKey, Account] | None:
    """Return whose key this is; None for a wrong, revoked or blocked one."""
    try:
        account_id = UUID(hex=token.removeprefix(f"{PREFIX}_").partition("_")[0])
    except ValueError:
        return None
    with transaction(account_id) as session:
        row = session.scalars(
            select(ApiKey).where(
                ApiKey.account_id == account_id, ApiKey.digest == _digest(token), ApiKey.revoked_at.is_(None)
            )
        ).first()
        account = session.get(Account, account_id)
        if row is None or account is None or account.blocked_at is not None:
            return None
        if row.used_at is None or row.used_at < clock.now() - USED_EVERY:
            row.used_at = clock.now()
        return row, account


def listed(account_id: UUID) -> Sequence[ApiKey]:
    """Return the keys in force, newest first."""
    query = (
        select(ApiKey)
        .where(ApiKey.account_id == account_id, ApiKey.revoked_at.is_(None))
        .order_by(ApiKey.created_at.desc())
    )
    with transaction(account_id) as session:
        return session.scalars(query).all()


def revoke(account_id: UUID, key_id: UUID, *, actor: str) -> bool:
    """Let a key open nothing any more. False when this account has no such key."""
    with transaction(account_id) as session:
        row = session.get(ApiKey, key_id)
        if row is None:
            return False
        if row.revoked_at is None:
            row.revoked_at = clock.now()
            session.add(AuditEntry(account_id=account_id, actor=actor, action="key.revoke", subject=str(key_id)))
        return True


def _digest(token: str) -> bytes:
    return hashlib.sha256(b"api:" + token.encode("utf-8", "surrogatepass")).digest()
