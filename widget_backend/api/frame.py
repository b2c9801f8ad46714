"""What all calls of /api/v1 share: rights, the account's rate limit, pages by cursor, our 404 and 409."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar
from uuid import UUID

from flask import Response, request
from flask_smorest import Blueprint

from widget_backend import language
from widget_backend.accounts import access, throttle
from widget_backend.accounts.throttle import Allowance
from widget_backend.bridge import cards, setup
from widget_backend.bridge.cards import CardRefused
from widget_backend.bridge.composer import KeyReused, Refused
from widget_backend.bridge.ends import Side
from widget_backend.bridge.journal import Cursor
from widget_backend.bridge.models import EndRecord
from widget_backend.bridge.setup import Trouble, Unfit
from widget_backend.problems import Conflict, Invalid, NotFound, Problem, TooMany
from widget_backend.texts import reason, text

PREFIX = "/api/v1"
LIMIT = 600
WINDOW = timedelta(minutes=1)
_ALLOWANCE = "mostik.allowance"

View = TypeVar("View", bound=Callable[..., Any])


def room(name: str, description: str) -> Blueprint:
    """Make the blueprint of one kind of thing."""
    blueprint = Blueprint(f"api_{name}", __name__, url_prefix=PREFIX, description=description)
    blueprint.after_request(_tell_allowance)
    return blueprint


def requires(right: access.Right) -> Callable[[View], View]:
    """Let a call run for whoever has a right, counted against the account's rate limit."""

    def wrap(view: View) -> View:
        @wraps(view)
        def counted(*arguments: Any, **named: Any) -> Any:
            allowance = throttle.take("api", str(access.who().account_id), limit=LIMIT, window=WINDOW)
            request.environ[_ALLOWANCE] = allowance
            if allowance.is_over:
                raise TooMany(allowance.resets_in)
            return view(*arguments, **named)

        return access.requires(right)(counted)  # type: ignore[return-value]

    return wrap


def end_of(side: Side, end_id: UUID) -> EndRecord:
    """Return a channel or connection of the asking account. Raises: NotFound."""
    with found():
        row = setup.find(access.who().account_id, end_id)
    if row.side != side:
        raise NotFound()
    return row


@contextmanager
def found() -> Any:
    """Turn "this account has no such thing" into 404."""
    try:
        yield
    except KeyError as error:
        raise NotFound() from error


@contextmanager
def explained(adapter: str) -> Any:
    """Turn trouble with an outside system into 502 with its reason, and unfit settings into 422."""
    try:
        yield
    except Trouble as error:
        sentence = reason(error.reason, adapter, language.current())
        raise Problem(502, "end_trouble", sentence, fields={"reason": [error.reason]}) from error
    except Unfit as error:
        fields = {
            f"settings.{name}": [text(f"pages.form.{slug}", language.current())] for name, slug in error.fields.items()
        }
        raise Invalid(fields=fields) from error


@contextmanager
def writing() -> Any:
    """Turn what forbids writing into its problem: 403 and 404 for the card, 409 for the key, 422 for a message that would fail, 502 for an outside system."""
    try:
        with found():
            yield
    except KeyReused as error:
        raise Conflict("key_reused") from error
    except Refused as error:
        raise Invalid("refused", _sentence(error), fields={"reason": [error.reason]}) from error
    except CardRefused as error:
        status = {cards.FORBIDDEN: 403, cards.GONE: 404}.get(error.reason, 409)
        raise Problem(status, error.reason, _sentence(error)) from error
    except Trouble as error:
        raise Problem(502, "end_trouble", _sentence(error), fields={"reason": [error.reason]}) from error


def _sentence(error: Refused | CardRefused | Trouble) -> str:
    return reason(error.reason, getattr(error, "adapter", ""), language.current())


def cursor_of(given: str) -> Cursor | None:
    """Read a page's cursor. Raises: Invalid."""
    try:
        return Cursor.decode(given) if given else None
    except ValueError as error:
        raise Invalid("bad_cursor", fields={"cursor": [given[:80]]}) from error


def _tell_allowance(response: Response) -> Response:
    allowance: Allowance | None = request.environ.get(_ALLOWANCE)
    if allowance is not None:
        response.headers["RateLimit-Limit"] = str(allowance.limit)
        response.headers["RateLimit-Remaining"] = str(allowance.remaining)
        response.headers["RateLimit-Reset"] = str(math.ceil(allowance.resets_in.total_seconds()))
    response.headers.setdefault("Cache-Control", "no-store")
    return response
