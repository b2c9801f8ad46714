"""Who may change what belongs to the whole server. Whoever holds its console is its owner: the console makes a link that opens this right in a browser."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from flask import session

from widget_backend import clock, crypto
from widget_backend.accounts.sessions import Who
from widget_backend.crypto import BadToken

TICKET_FOR = timedelta(minutes=15)
STAYS_FOR = timedelta(hours=8)
_PURPOSE = "server_owner"
_FIELD = "server_owner"


def ticket() -> str:
    """Make what the link from the console carries."""
    return crypto.sign({}, _PURPOSE, TICKET_FOR)


def admit(who: Who, shown: str) -> bool:
    """Let the person at this browser be the server's owner for some hours. False: the ticket is not ours, or too old."""
    try:
        crypto.unsign(shown, _PURPOSE)
    except BadToken:
        return False
    session[_FIELD] = {"user": str(who.user_id), "until": (clock.now() + STAYS_FOR).timestamp()}
    return True


def is_owner(who: Who) -> bool:
    """Tell whether whoever asks came from the console."""
    admitted = session.get(_FIELD) or {}
    return bool(admitted) and admitted["user"] == str(who.user_id) and admitted["until"] > clock.now().timestamp()


def may_manage(who: Who, account_id: UUID | None) -> bool:
    """Tell whether he may change an app of this account; of the whole server (None) only as its owner."""
    return account_id == who.account_id or (account_id is None and is_owner(who))
