"""The names behind the actors of the audit trail."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select

from widget_backend.accounts.models import ApiKey, Membership, User
from widget_backend.bridge.tenancy import transaction


def actor_names(account_id: UUID) -> dict[str, str]:
    """Name the people and keys of an account by actor (`user:<id>`, `key:<id>`)."""
    people = (
        select(User.id, User.name, User.email)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.account_id == account_id)
    )
    programs = select(ApiKey.id, ApiKey.title).where(ApiKey.account_id == account_id)
    with transaction(account_id) as session:
        names = {f"user:{row.id}": row.name or row.email for row in session.execute(people)}
        return names | {f"key:{row.id}": row.title for row in session.execute(programs)}
