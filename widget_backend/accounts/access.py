"""Who may do what: one function per right, used by pages and API alike. Every route says which right it asks for, or that it is open."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import request

from widget_backend.accounts import sessions
from widget_backend.accounts.sessions import Who
from widget_backend.bridge.tenancy import as_account
from widget_backend.problems import Forbidden, Unauthenticated

View = TypeVar("View", bound=Callable[..., Any])
Right = Callable[[Who], bool]

ADMINS = frozenset({"owner", "admin"})
WORKERS = ADMINS | {"manager"}
EVERYBODY = WORKERS | {"reader"}
_ASKING = "mostik.asking"


def may_look(who: Who) -> bool:
    """See channels, connections and messages."""
    return who.role in EVERYBODY


def may_repeat(who: Who) -> bool:
    """Send a message again."""
    return who.role in WORKERS


def may_write(who: Who) -> bool:
    """Write to clients and keep quick replies of one's own."""
    return who.role in WORKERS


def may_configure(who: Who) -> bool:
    """Connect, change and disconnect channels and connections, and what feeds what."""
    return who.role in ADMINS


def may_audit(who: Who) -> bool:
    """See who did what."""
    return who.role in ADMINS


def may_hold_keys(who: Who) -> bool:
    """Issue and revoke keys for programs."""
    return who.role in ADMINS and who.user_id is not None


def may_leave(who: Who) -> bool:
    """Sign out, switch the account, choose the language: about oneself only."""
    return who.user_id is not None


def requires(right: Right) -> Callable[[View], View]:
    """Let a view run only for somebody with a right, inside his account. A program shows a key; a browser's change shows our form's token."""

    def wrap(view: View) -> View:
        @wraps(view)
        def guarded(*arguments: Any, **named: Any) -> Any:
            who = _whoever_asks()
            if not right(who):
                raise Forbidden()
            with as_account(who.account_id):
                return view(*arguments, **named)

        guarded.right = right  # type: ignore[attr-defined]
        return guarded  # type: ignore[return-value]

    return wrap


def is_open(view: View) -> View:
    """Say of a view that everybody may call it. Its forms must be ours all the same."""

    @wraps(view)
    def guarded(*arguments: Any, **named: Any) -> Any:
        sessions.check_csrf()
        return view(*arguments, **named)

    guarded.right = is_open  # type: ignore[attr-defined]
    return guarded  # type: ignore[return-value]


def who() -> Who:
    """Return who asks, inside a view that requires a right."""
    asking: Who = request.environ[_ASKING]
    return asking


def _whoever_asks() -> Who:
    # a key opens the API and nothing else: a page is for people
    found = sessions.by_token() if request.path.startswith("/api/") else None
    if found is None:
        found = sessions.current()
        if found is None:
            raise Unauthenticated()
        sessions.check_csrf()
    request.environ[_ASKING] = found
    return found
