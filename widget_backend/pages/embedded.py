"""Pages inside a CRM: the installer, the application page, the settings of a placement; and the app's life events at the same addresses.

Generic over CRMs: an adapter's `pages` module reads what was posted, its OAuth file proves it. No cookie is relied on: what one page hands to the next
is a short-lived signed token in its form, and the tokens of an install are sealed within.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from flask import Blueprint, Response, make_response, render_template, request, url_for
from sqlalchemy import select

from oauth import installs, store
from oauth.grants import Bearer
from widget_backend import clock, crypto
from widget_backend.accounts import claims, forgeries
from widget_backend.bridge import life, registry
from widget_backend.bridge.ends import Hook
from widget_backend.bridge.errors import EndError, NotGenuine
from widget_backend.bridge.models import EndRecord, Route
from widget_backend.bridge.tenancy import transaction
from widget_backend.crypto import BadToken
from widget_backend.pages.embedded_door import Door, find, learn, life_event, prove, row_of
from widget_backend.texts import reason, text

blueprint = Blueprint("embedded", __name__)
log = structlog.get_logger()

PURPOSE = "embedded"
FORM_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What one page hands to the next: who looks, from where, at what. Everything in it has been proved."""

    remote_id: str
    origin: str
    user_id: str
    is_admin: bool
    locale: str
    page: str
    line: str = ""
    sealed: str = ""

    def token(self, door: Door) -> str:
        """Sign it for the forms of the page."""
        facts = {name: getattr(self, name) for name in self.__slots__}
        return crypto.sign({**facts, "key": door.key}, PURPOSE, FORM_FOR)

    @classmethod
    def of(cls, token: str, door: Door) -> Frame:
        """Read a token of ours. Raises: BadToken."""
        facts = crypto.unsign(token, PURPOSE)
        if facts.pop("key", None) != door.key:
            raise BadToken("forged")
        return cls(**facts)  # type: ignore[arg-type]

    def words(self, slug: str, **values: object) -> str:
        """Return a text of these pages in the viewer's language."""
        return text(f"pages.embedded.{slug}", self.locale, **values)


@blueprint.post("/embedded/<key>")
@blueprint.post("/embedded/<key>/<name>")
def visit(key: str, name: str = "app") -> Response:
    """Open a page, or take an event of the app's life. 404 unknown key or page; 403 not proved."""
    door = find(key)
    if door is None or name not in ("app", "install", "setting", "act"):
        return _plain(404, "not found")
    if name == "act":
        return _act(door)
    hook = Hook(
        body=request.get_data(cache=False, parse_form_data=False),
        received_at=clock.now(),
        name=name,
        query=request.query_string.decode("latin-1"),
        content_type=request.content_type or "",
    )
    try:
        seen = door.pages.read_visit(hook)
        return _plain(life_event(door, seen), "") if seen.event else _open(door, seen, name)
    except NotGenuine as error:
        log.warning("visit_not_genuine", adapter=door.manifest.key, why=error.why)
        with transaction(None) as session:
            where = request.remote_addr or ""
            forgeries.note(session, door.app.id, adapter=door.manifest.key, why=error.why, remote_address=where)
        return _plain(403, "forbidden")


@blueprint.get("/embedded/<key>")
@blueprint.get("/embedded/<key>/<name>")
def outside_of_the_portal(key: str, name: str = "app") -> Response:
    """Say to a browser that came by itself where this page belongs."""
    if find(key) is None:
        return _plain(404, "not found")
    return _plain(200, text("pages.embedded.only_inside", "ru"))


# -- opening a page --------------------------------------------------------------------------------------------------


def _open(door: Door, seen: Any, name: str) -> Response:
    known = life.find(door.manifest.key, seen.remote_id, door.app.id)
    row = row_of(known)
    bearer: Bearer | None = None
    try:
        if (
            row is None
            or not door.pages.is_proved(seen, life.owner_of(row))
            or row.state == "error"
            or name == "install"
        ):
            bearer = prove(door, seen)
        endpoint = bearer.facts["client_endpoint"] if bearer else str(row.settings["client_endpoint"]) if row else ""
        viewer = door.pages.viewer(seen.access, seen.remote_id, endpoint, door.server)
    except EndError as error:
        return _refused(door, seen.locale, error)
    frame = Frame(
        remote_id=seen.remote_id,
        origin=_origin(endpoint),
        user_id=viewer.user_id,
        is_admin=viewer.is_admin,
        locale=seen.locale,
        page=name,
        line=seen.options.get("LINE", ""),
        sealed=_seal_install(door, seen, bearer) if bearer and viewer.is_admin else "",
    )
    if bearer and row is not None and known is not None:
        learn(known, row, bearer, seen)
    if known is None or row is None:
        return _first_visit(door, frame)
    if name == "install" and frame.is_admin:
        return _begin(door, frame, known[0])
    if name == "setting":
        return _setting(door, frame, row)
    return _overview(door, frame, row)


def _first_visit(door: Door, frame: Frame) -> Response:
    """A company we do not know: connect it at once when the app belongs to an account, else ask whose it is."""
    if not frame.is_admin:
        return _page(door, frame, "state", title=frame.words("only_admin"), body=frame.words("only_admin_help"))
    if door.app.account_id is not None:
        return _begin(door, frame, door.app.account_id)
    facts = _unseal_install(frame)
    install = store.Unclaimed(adapter=door.manifest.key, app_id=door.app.id, remote_id=frame.remote_id, facts=facts)
    return _page(door, frame, "claim", code=_spaced(store.remember(install)))


def _begin(door: Door, frame: Frame, account_id: UUID) -> Response:
    """Store what the install brought, and show a page that goes on by itself while the connection is made."""
    try:
        installs.attach(account_id, door.app, frame.remote_id, _unseal_install(frame))
    except installs.Taken:
        return _page(door, frame, "state", title=frame.words("taken"), body=frame.words("taken_help"), is_error=True)
    return _page(door, frame, "progress")


def _overview(door: Door, frame: Frame, row: EndRecord, message: str = "") -> Response:
    return _page(
        door,
        frame,
        "app",
        end=row,
        state=frame.words(f"state_{row.state}"),
        reason=reason(row.reason, row.adapter, frame.locale) if row.reason else "",
        line=str(row.settings.get("line", "")),
        channels=_channels(row),
        message=message,
    )


def _setting(door: Door, frame: Frame, row: EndRecord) -> Response:
    """The settings placement: a line was picked in the CRM; the first one is taken at once, another one on a button."""
    chosen = str(row.settings.get("line", ""))
    if not frame.line.isdecimal():
        return _overview(door, frame, row)
    if frame.is_admin and chosen in ("", frame.line):
        return _choose_line(door, frame, row)
    is_here = chosen == frame.line and row.state == "active"
    return _page(door, frame, "line", end=row, chosen=chosen, is_here=is_here, channels=_channels(row))


def _choose_line(door: Door, frame: Frame, row: EndRecord) -> Response:
    life.change(row.account_id, row.id, settings={"line": frame.line})
    try:
        installs.connect(row.account_id, row.id, door.app, actor=f"{row.adapter}:{frame.user_id}")
    except EndError as error:
        return _trouble(door, frame, error)
    return _page(door, frame, "line", end=row, chosen=frame.line, is_here=True, channels=_channels(row))


# -- forms of our own pages ------------------------------------------------------------------------------------------


def _act(door: Door) -> Response:
    """Take a form of one of our pages: its token says who and where, the field `do` what."""
    try:
        frame = Frame.of(request.form.get("token", ""), door)
    except BadToken:
        return _plain(403, text("pages.embedded.form_expired", "ru"))
    if not frame.is_admin:
        return _page(door, frame, "state", title=frame.words("only_admin"), body=frame.words("only_admin_help"))
    do = request.form.get("do", "")
    if do == "sign_in":
        return _sign_in(door, frame)
    known = life.find(door.manifest.key, frame.remote_id, door.app.id)
    row = row_of(known)
    if known is None or row is None:
        again = _page(door, frame, "claim", code=_code(), error=frame.words("not_claimed_yet"))
        return again if door.app.account_id is None else _first_visit(door, frame)
    if do == "line" and frame.line.isdecimal():
        return _choose_line(door, frame, row)
    if do == "reconnect":
        return _reconnect(door, frame, row)
    return _connect(door, frame, known)


def _connect(door: Door, frame: Frame, known: tuple[UUID, UUID]) -> Response:
    try:
        connected = installs.connect(*known, door.app, actor=f"{door.manifest.key}:{frame.user_id}")
    except EndError as error:
        return _trouble(door, frame, error)
    warnings = [reason(slug, door.manifest.key, frame.locale) for slug in connected.warnings]
    return _page(door, frame, "done", warnings=warnings)


def _reconnect(door: Door, frame: Frame, row: EndRecord) -> Response:
    """Connect again; with the viewer's own pair if the page brought one (the first admin may have left)."""
    if frame.sealed:
        installs.attach(row.account_id, door.app, frame.remote_id, _unseal_install(frame))
    try:
        installs.connect(row.account_id, row.id, door.app, actor=f"{row.adapter}:{frame.user_id}")
    except EndError as error:
        return _trouble(door, frame, error)
    fresh = row_of((row.account_id, row.id))
    assert fresh is not None
    return _overview(door, frame, fresh, frame.words("reconnected"))


def _sign_in(door: Door, frame: Frame) -> Response:
    """Let the person who owns an account of ours take the install into it, with his e-mail and password."""
    email = request.form.get("email", "").strip().lower()
    try:
        accounts = claims.accounts_by_password(email, request.form.get("password", ""))
    except claims.NotProved as error:
        return _page(door, frame, "claim", code=_code(), error=frame.words(error.slug), email=email)
    account = claims.chosen(accounts, request.form.get("account", ""))
    if account is None:
        return _page(door, frame, "claim", code=_code(), accounts=accounts, email=email)
    return _begin(door, frame, account.id)


# -- small parts -----------------------------------------------------------------------------------------------------


def _channels(row: EndRecord) -> list[str]:
    """Return the titles of the channels that feed a connection."""
    query = (
        select(EndRecord.title, EndRecord.adapter)
        .join(Route, Route.channel_id == EndRecord.id)
        .where(Route.connection_id == row.id, EndRecord.deleted_at.is_(None))
        .order_by(EndRecord.title)
    )
    with transaction(row.account_id) as session:
        return [f"{title or '—'} ({registry.manifest(adapter).title})" for title, adapter in session.execute(query)]


def _seal_install(door: Door, seen: Any, bearer: Bearer) -> str:
    facts = installs.facts_of(bearer, access=seen.access, refresh=seen.refresh, secrets=seen.secrets)
    return base64.urlsafe_b64encode(crypto.seal_text(json.dumps(facts), f"embedded:{seen.remote_id}")).decode()


def _unseal_install(frame: Frame) -> Mapping[str, str]:
    sealed = base64.urlsafe_b64decode(frame.sealed)
    facts: dict[str, str] = json.loads(crypto.open_text(sealed, f"embedded:{frame.remote_id}"))
    return facts


def _frame_query() -> dict[str, Any]:
    """Return what a portal puts into the address of its frame: its library on the next page needs it as well (bitrix24.md 1.3)."""
    return {name: request.args[name] for name in ("DOMAIN", "PROTOCOL", "LANG", "APP_SID") if name in request.args}


def _code() -> str:
    """Return the claim code that the form carries on, to be shown again and for nothing else."""
    return request.form.get("code", "")[:20]


def _origin(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc}"


def _spaced(code: str) -> str:
    return "-".join(code[at : at + 4] for at in range(0, len(code), 4))


def _trouble(door: Door, frame: Frame, error: EndError) -> Response:
    log.warning("embedded_connect_failed", adapter=door.manifest.key, reason=error.reason)
    why = reason(error.reason, door.manifest.key, frame.locale)
    return _page(door, frame, "trouble", reason=why, detail=error.detail)


def _refused(door: Door, locale: str, error: EndError) -> Response:
    """Say why a page cannot be shown before anything is proved: no form, no token, and framed by nobody but ourselves."""
    log.warning("visit_failed", adapter=door.manifest.key, reason=error.reason)
    return _plain(503, reason(error.reason, door.manifest.key, locale))


def _page(door: Door, frame: Frame, template: str, **values: object) -> Response:
    nonce = secrets.token_urlsafe(16)
    script = str(door.server("frame_script"))
    shown = {"error": "", "email": "", "accounts": [], "message": "", "is_error": False, **values}
    html = render_template(
        f"embedded/{template}.html",
        t=frame.words,
        frame=frame,
        act=url_for("embedded.visit", key=door.key, name="act", **_frame_query()),
        token=frame.token(door),
        nonce=nonce,
        script=script,
        host=f"embedded/{door.manifest.key}.js",
        **shown,
    )
    response = make_response(html)
    sources = f"'nonce-{nonce}' {_origin(script)}"
    # no X-Frame-Options: it knows no list, and any value of it leaves the frame blank (bitrix24.md 12.21)
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src {sources}; img-src data:; form-action 'self'; base-uri 'none'; "
        f"connect-src {frame.origin}; frame-ancestors 'self' {frame.origin}"
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _plain(status: int, body: str) -> Response:
    return Response(body, status, content_type="text/plain; charset=utf-8")
