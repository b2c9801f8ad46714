"""What every page of the cabinet shares: the blueprint, the helpers of its templates, its assets, its way to ask for a sign-in."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from babel.dates import format_datetime, format_skeleton
from flask import Blueprint, Response, abort, flash, redirect, render_template, request, send_from_directory, url_for
from werkzeug.wrappers import Response as Redirect

from widget_backend import clock, language, texts
from widget_backend.accounts import access, sessions
from widget_backend.pages import words
from widget_backend.problems import Unauthenticated, respond

blueprint = Blueprint("pages", __name__)

ASSETS = Path(__file__).parent.parent.parent / "widget_frontend" / "pages" / "assets"
YEAR_S = 365 * 24 * 3600
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; media-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def secure(response: Response) -> Response:
    """Give every page of the application the strictest headers, unless it has a policy of its own (pages inside a CRM do)."""
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if response.mimetype == "text/html" and "Content-Security-Policy" not in response.headers:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Frame-Options"] = "DENY"
        response.headers.setdefault("Referrer-Policy", "same-origin")
        response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def page(template: str, **values: object) -> str:
    """Render a page with the helpers that templates use."""
    who = sessions.current()
    return render_template(
        template,
        t=t,
        language=language.current(),
        languages=texts.LANGUAGES,
        who=who,
        access=access,
        when=when,
        moment=moment,
        asset=asset,
        words=words,
        csrf_value=sessions.csrf_token(),
        csrf_field=sessions.CSRF_FIELD,
        here=request.endpoint,
        **values,
    )


def t(slug: str, /, **values: object) -> str:
    """Return a text of the pages in the language of this request."""
    return texts.text(f"pages.{slug}", language.current(), **values)


def say(slug: str, *, is_error: bool = False, **values: object) -> None:
    """Show a sentence on the next page."""
    flash(t(slug, **values), "error" if is_error else "done")


def go(endpoint: str, **values: str) -> Redirect:
    """Show another page after a form."""
    return redirect(url_for(f"pages.{endpoint}", **values), 303)  # type: ignore[arg-type]


def when(at: datetime | None) -> str:
    """Write a moment shortly, in the account's time zone: today only the time, else the day too, another year in full."""
    if at is None:
        return "—"
    zone = _zone()
    local, today = at.astimezone(zone), clock.now().astimezone(zone)
    time = format_datetime(local, "HH:mm", locale=language.current())
    if local.date() == today.date():
        return time
    skeleton = "MMMd" if local.year == today.year else "yMMMd"
    return f"{format_skeleton(skeleton, local, locale=language.current())}, {time}"


def moment(at: datetime | None) -> str:
    """Write a moment in full."""
    return (
        "" if at is None else format_datetime(at.astimezone(_zone()), "d MMMM y, HH:mm:ss", locale=language.current())
    )


def asset(name: str) -> str:
    """Return the address of an asset, with a mark of its content, so that it may be cached for ever."""
    return url_for("pages.assets", name=name, v=_mark(name))


@blueprint.get("/assets/<path:name>")
@access.is_open
def assets(name: str) -> Response:
    """Send a style sheet, script or picture."""
    response = send_from_directory(ASSETS, name)
    marked = (ASSETS / name).is_file() and request.args.get("v") == _mark(name)
    response.headers["Cache-Control"] = f"public, max-age={YEAR_S}, immutable" if marked else "no-cache"
    return response


@blueprint.errorhandler(Unauthenticated)
def ask_to_sign_in(error: Unauthenticated) -> Response | Redirect:
    """Send a stranger to the sign-in page and remember where he wanted to go."""
    if request.method not in sessions.SAFE_METHODS:
        return respond(error)
    wanted = request.full_path.rstrip("?")
    return redirect(url_for("pages.sign_in", **({"next": wanted} if wanted != "/" else {})))  # type: ignore[arg-type]


def own_path(address: str) -> str:
    """Return an address to go to after the sign-in, if it is one of ours; else the home page."""
    parts = urlsplit(address)
    is_own = address.startswith("/") and not address.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return address if is_own else url_for("pages.home")


def not_found() -> None:
    """End with 404: not there, or not of this account; the two look the same."""
    abort(404)


def _zone() -> ZoneInfo:
    who = sessions.current()
    return ZoneInfo(who.time_zone if who else "Europe/Moscow")


@cache
def _mark(name: str) -> str:
    return hashlib.sha256((ASSETS / name).read_bytes()).hexdigest()[:12]
