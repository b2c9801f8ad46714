"""A new account with its first user."""

from werkzeug.security import generate_password_hash

from widget_backend.accounts.models import Account, Membership, User
from widget_backend.extensions import db


def create_account(name: str, *, email: str, password: str) -> Account:
    """Make an account and its owner; a user who exists already keeps the password he has."""
    account = Account(name=name)
    db.session.add(account)
    user = db.session.query(User).filter_by(email=email.lower()).one_or_none()
    if user is None:
        user = User(email=email.lower(), password_hash=generate_password_hash(password))
        db.session.add(user)
    db.session.flush()
    db.session.add(Membership(account_id=account.id, user_id=user.id, role="owner"))
    db.session.commit()
    return account
