"""The error tree: everything an adapter may raise or return, and what the door and the guard raise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum


class MostikError(Exception):
    """Anything that Mostik raises on purpose."""


class Scope(StrEnum):
    """Whose trouble it is: the end's (all its lanes back off) or this message's (a few tries, then failed)."""

    END = "end"
    MESSAGE = "message"


class EndError(MostikError):
    """The only errors an adapter may raise or return.

    Shape: reason is a slug from the locales' list of reasons (`window_closed`, `token_revoked`, ...); detail is for support, masked, never
    a text, a token or a phone number.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Retry(EndError):
    """Surely not accepted, and worth another try after `after`: the end, or our own count for it, said when. None: the schedule decides."""

    def __init__(self, reason: str, detail: str = "", after: timedelta | None = None, scope: Scope = Scope.END) -> None:
        EndError.__init__(self, reason, detail)
        self.args = (reason, detail, after, scope)
        self.after = after
        self.scope = scope


class Uncertain(EndError):
    """The request left and no answer came: the end's rule of `repeat` decides what happens."""


class Rejected(EndError):
    """Permanent, for this message."""


class AccessLost(EndError):
    """The end can no longer be used until its admin connects it again: its lanes close and wait."""


class Misconfigured(EndError):
    """As AccessLost, but a setting (ours or the admin's) is at fault."""


class Unregistered(Misconfigured):
    """What we had registered at the outside (a callback, event handlers) is gone or was given up: `connect` puts it right by itself."""


class NotGenuine(MostikError):
    """A hook that its alleged sender did not send. Nothing of it is stored; `why` is for the security event."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Unsafe(MostikError):
    """The guard refused an outside URL."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def preparing() -> Iterator[None]:
    """Turn `Uncertain` into `Retry` for a call that prepares a message (an upload, a look-up) and can be repeated harmlessly."""
    try:
        yield
    except Uncertain as error:
        raise Retry(error.reason, error.detail) from error
