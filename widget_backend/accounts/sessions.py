"""Who asks: sign-in with e-mail and password, the session cookie, keys of programs, the tokens that prove a form is ours."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from flask import request, session
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from werkzeug.security import check_password_hash, generate_password_hash

from widget_backend import clock, crypto, language
from widget_backend.accounts import keys, throttle
from widget_backend.accounts.models import Account, AuditEntry, Membership, User
from widget_backend.bridge import runtime
from widget_backend.bridge.tenancy import transaction
from widget_backend.problems import Problem, TooMany, Unauthenticated

WINDOW = timedelta(minutes=15)
TRIES_PER_EMAIL = 10
TRIES_PER_ADDRESS = 50
CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"
_WHO = "mostik.who"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_NOBODY = generate_password_hash(secrets.token_urlsafe(16))
"""What a password is compared with when there is no such user, so that both answers take the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Whoever asks, in the account he works in now. `accounts` are all of his, as (id, name); a program has one and no user."""

    account_id: UUID
    account_name: str
    role: str
    actor: str
    name: str
    locale: str
    time_zone: str
    user_id: UUID | None = None
    accounts: tuple[tuple[UUID, str], ...] = ()


def sign_in(email: str, password: str) -> bool:
    """Begin a session. False: no such person, a wrong password, or no account that is open to him. Raises: TooMany."""
    email = email.strip().lower()
    address = request.remote_addr or ""
    for what, whose, limit in (("sign_in", email, TRIES_PER_EMAIL), ("sign_in_from", address, TRIES_PER_ADDRESS)):
        allowance = throttle.take(what, whose, limit=limit, window=WINDOW)
        if allowance.is_over:
            raise TooMany(allowance.resets_in, "too_many_sign_ins")
    with transaction(None) as db:
        user = db.scalars(select(User).where(User.email == email)).first()
        is_right = check_password_hash(user.password_hash if user else _NOBODY, password)
        accounts = _accounts_of(db, user.id) if user and is_right else []
    if user is None or not accounts:
        return False
    throttle.forget("sign_in", email)
    account_id = accounts[0][0].id
    _begin(user, account_id)
    _note(account_id, user.id, "user.sign_in")
    return True


def sign_out() -> None:
    """End this session."""
    session.clear()


def sign_out_everywhere(who: Who) -> None:
    """End every session of a user, this one too."""
    with transaction(None) as db:
        db.execute(update(User).where(User.id == who.user_id).values(sessions_valid_from=clock.now()))
    if who.user_id:
        _note(who.account_id, who.user_id, "user.sign_out_everywhere")
    session.clear()


def switch_account(who: Who, account_id: UUID) -> bool:
    """Work in another account of the same user from now on. False when it is none of his."""
    if account_id not in dict(who.accounts):
        return False
    session["account"] = str(account_id)
    session[CSRF_FIELD] = secrets.token_urlsafe(24)
    return True


def speak(who: Who, locale: str) -> None:
    """Remember the language a user chose."""
    with transaction(None) as db:
        db.execute(update(User).where(User.id == who.user_id).values(locale=locale))
    session[language.REMEMBERED] = locale


def current() -> Who | None:
    """Return who asks, by the session cookie; None for nobody."""
    if _WHO not in request.environ:
        request.environ[_WHO] = _by_session()
    found: Who | None = request.environ[_WHO]
    if found is not None:
        language.choose(found.locale)
    return found


def by_token() -> Who | None:
    """Return which program asks, by its bearer key; None when it shows none. Raises: Unauthenticated."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    found = keys.find(token.strip())
    if found is None:
        raise Unauthenticated("key_wrong")
    key, account = found
    return Who(
        account_id=account.id,
        account_name=account.name,
        role=key.role,
        actor=f"key:{key.id}",
        name=key.title,
        locale=language.current(),
        time_zone=account.time_zone,
    )


def csrf_token() -> str:
    """Return what a form of this session must bring back."""
    if CSRF_FIELD not in session:
        session[CSRF_FIELD] = secrets.token_urlsafe(24)
    return str(session[CSRF_FIELD])


def check_csrf() -> None:
    """Refuse a change that does not come from one of our own pages. Raises: Problem."""
    if request.method in SAFE_METHODS:
        return
    given = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
    if not given or not crypto.same(given, str(session.get(CSRF_FIELD, ""))):
        raise Problem(403, "form_expired")


def _begin(user: User, account_id: UUID) -> None:
    session.clear()  # whatever a stranger may have planted in the browser before ends here
    session.permanent = True
    session["user"], session["account"] = str(user.id), str(account_id)
    session[language.REMEMBERED] = user.locale
    session["at"] = max(clock.now(), user.sessions_valid_from).timestamp()
    session[CSRF_FIELD] = secrets.token_urlsafe(24)
    request.environ.pop(_WHO, None)


def _by_session() -> Who | None:
    user_id, at = session.get("user"), session.get("at")
    if not isinstance(user_id, str) or not isinstance(at, float):
        return None
    if at + runtime.get().config.session_hours * 3600 < clock.now().timestamp():
        return None
    with transaction(None) as db:
        user = db.get(User, UUID(user_id))
        accounts = _accounts_of(db, user.id) if user else []
    if user is None or at < user.sessions_valid_from.timestamp() or not accounts:
        return None
    wanted = session.get("account")
    account, role = next((one for one in accounts if str(one[0].id) == wanted), accounts[0])
    return Who(
        account_id=account.id,
        account_name=account.name,
        role=role,
        actor=f"user:{user.id}",
        name=user.name or user.email,
        locale=user.locale,
        time_zone=account.time_zone,
        user_id=user.id,
        accounts=tuple((one.id, one.name) for one, _ in accounts),
    )


def _accounts_of(db: Session, user_id: UUID) -> list[tuple[Account, str]]:
    query = (
        select(Account, Membership.role)
        .join(Membership, Membership.account_id == Account.id)
        .where(Membership.user_id == user_id, Account.blocked_at.is_(None))
        .order_by(Account.created_at, Account.id)
    )
    return [(account, role) for account, role in db.execute(query)]


def _note(account_id: UUID, user_id: UUID, action: str) -> None:
    with transaction(account_id) as db:
        db.add(AuditEntry(account_id=account_id, actor=f"user:{user_id}", action=action, subject=str(user_id)))
