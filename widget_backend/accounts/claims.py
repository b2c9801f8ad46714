"""Whose an install is: somebody inside a CRM proves with his e-mail and password which accounts of ours he may connect it to."""

from __future__ import annotations

import secrets
from datetime import timedelta

from sqlalchemy import select
from werkzeug.security import check_password_hash, generate_password_hash

from widget_backend.accounts import throttle
from widget_backend.accounts.models import Account, Membership, User
from widget_backend.bridge.errors import MostikError
from widget_backend.bridge.tenancy import transaction

TRIES = 10
WINDOW = timedelta(minutes=15)
ROLES = ("owner", "admin")
_NOBODY = generate_password_hash(secrets.token_urlsafe(16))
"""What a password is compared with when there is no such user, so that both answers take the same time."""


class NotProved(MostikError):
    """No account can be had so. `slug`: too_many_tries, wrong_password, no_account; a text of the embedded pages."""

    def __init__(self, slug: str) -> None:
        super().__init__(slug)
        self.slug = slug


def accounts_by_password(email: str, password: str) -> list[Account]:
    """Return the accounts that a person may connect a CRM to, oldest first. Raises: NotProved."""
    if throttle.take("embedded_sign_in", email, limit=TRIES, window=WINDOW).is_over:
        raise NotProved("too_many_tries")
    with transaction(None) as session:
        user = session.scalars(select(User).where(User.email == email)).first()
        is_right = check_password_hash(user.password_hash if user else _NOBODY, password)
        if not is_right or user is None:
            raise NotProved("wrong_password")
        query = select(Account).join(Membership, Membership.account_id == Account.id)
        mine = query.where(Membership.user_id == user.id, Membership.role.in_(ROLES), Account.blocked_at.is_(None))
        found = list(session.scalars(mine.order_by(Account.created_at)))
    if not found:
        raise NotProved("no_account")
    return found


def chosen(accounts: list[Account], id: str) -> Account | None:
    """Return the account that was chosen, or the only one there is; None: he has yet to choose."""
    named = next((one for one in accounts if str(one.id) == id), None)
    return named or (accounts[0] if len(accounts) == 1 else None)
