"""How a CRM's page opens one of ours: it shows the CRM's one-time token, and gets the address of a page to frame, good for a minute.

That page holds a token of its own, bound to the person, his account, the connection and the card; it is renewed while the page is looked at. No cookie
takes part, so blocked third-party cookies change nothing. A token proves the person; his right to the card is proved by reading it, see `panel.py`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from flask import Blueprint, Response, jsonify, request, url_for
from redis import RedisError
from sqlalchemy import select

from oauth import store
from oauth.keys import redirect_uri
from widget_backend import clock, crypto, language
from widget_backend.accounts import forgeries
from widget_backend.accounts.models import Account, App
from widget_backend.bridge import life, registry, runtime
from widget_backend.bridge.ends import Manifest, Side
from widget_backend.bridge.errors import EndError, NotGenuine
from widget_backend.bridge.models import EndRecord
from widget_backend.bridge.tenancy import transaction
from widget_backend.problems import Unauthenticated
from widget_backend.reading import Malformed, Reader, read_json
from widget_backend.texts import text

blueprint = Blueprint("panel", __name__)
log = structlog.get_logger()

OPEN_FOR = timedelta(minutes=1)
SEAT_FOR = timedelta(minutes=30)
RENEW_AFTER = timedelta(minutes=5)
LONGEST = timedelta(hours=12)
MAX_BODY = 16 * 1024
CARDS = ("lead", "contact", "company", "deal")
PLACES = ("card", "settings", "advanced")
_ID = re.compile(r"[1-9][0-9]{0,19}")
_NOBODY = UUID(int=0)
"""Whose door it is before anything is proved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Who looks at a page of ours, from where, at what. Everything but `kind` and `id` has been proved; empty `account_id`: nobody's yet.

    Units: `since`, when the page was opened, Unix seconds.
    """

    adapter: str
    app_id: str
    account_id: str
    end_id: str
    remote_id: str
    user_id: str
    is_admin: bool
    origin: str
    locale: str
    place: str
    view: str
    kind: str
    id: str
    since: int

    @property
    def account(self) -> UUID:
        """The account."""
        return UUID(self.account_id)

    @property
    def connection(self) -> UUID:
        """The connection."""
        return UUID(self.end_id)

    @property
    def card(self) -> str:
        """The card as the bridge names it."""
        return f"{self.kind}:{self.id}"

    @property
    def actor(self) -> str:
        """Who acts, for the audit trail and as the owner of personal things."""
        return f"{self.adapter}:{self.remote_id}:{self.user_id}"

    def of(self, known: tuple[UUID, UUID]) -> Seat:
        """Return the same seat at a connection that was found: (account, end)."""
        return replace(self, account_id=str(known[0]), end_id=str(known[1]))

    def words(self, slug: str, /, **values: object) -> str:
        """Return a text of the panel in the viewer's language."""
        return text(f"pages.panel.{slug}", self.locale, **values)

    def sign(self, purpose: str, ttl: timedelta) -> str:
        """Make a token of it."""
        facts: dict[str, object] = {name: getattr(self, name) for name in self.__slots__}
        return crypto.sign({**facts, "at": int(clock.now().timestamp())}, purpose, ttl)


def read_seat(token: str, purpose: str) -> tuple[Seat, timedelta]:
    """Read a token of ours and how old it is; the connection must still be there. Raises: Unauthenticated."""
    try:
        facts: dict[str, Any] = crypto.unsign(token, purpose)
    except crypto.BadToken as error:
        raise Unauthenticated() from error
    now = int(clock.now().timestamp())
    age = timedelta(seconds=now - facts.pop("at"))
    seat = Seat(**facts)
    if now - seat.since > LONGEST.total_seconds() or (seat.end_id and not _is_there(seat)):
        raise Unauthenticated()
    return seat, age


def framed(response: Response, seat: Seat) -> Response:
    """Let a page be framed by the page of the CRM that asked for it, and by no other; it loads nothing from elsewhere and keeps no cookie."""
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; media-src 'self'; connect-src 'self'; "
        f"form-action 'self'; base-uri 'none'; frame-ancestors {seat.origin}"
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


# -- the call from the CRM's page --------------------------------------------------------------------------------------


@blueprint.route("/embedded/<adapter>/open", methods=["OPTIONS"], provide_automatic_options=False)
def may_open(adapter: str) -> Response:
    """Answer a browser's question whether a page of the CRM may call. Source: amocrm.md 1.8 "CORS"."""
    answer = Response(status=204)
    if _allowed_origin(adapter):
        answer.headers["Access-Control-Allow-Methods"] = "POST"
        answer.headers["Access-Control-Allow-Headers"] = "X-Auth-Token, Content-Type"
        answer.headers["Access-Control-Max-Age"] = "600"
    return _for_origin(answer, adapter)


@blueprint.post("/embedded/<adapter>/open")
def open_page(adapter: str) -> Response:
    """Take a click in the CRM: prove who it was, and say what address to frame. 403 not proved; 404 no such CRM; 422 what is asked makes no sense."""
    manifest = _manifest(adapter)
    if manifest is None:
        return _said(adapter, 404, "")
    if not _allowed_origin(adapter):
        return _refused(adapter, "wrong_origin")
    try:
        asked = read_json(request.get_data(cache=False), max_bytes=MAX_BODY)
        locale = registry.load(manifest.widget).language(asked["lang"].text_or(""))
        seat = _seat(manifest, asked, locale)
    except NotGenuine as error:
        return _refused(adapter, error.why)
    except Malformed:
        return _said(adapter, 422, "open_malformed")
    if seat.place == "card" and not _ID.fullmatch(seat.id):
        return _said(adapter, 422, "save_first", locale)
    if seat.place == "card" and not seat.end_id:
        return _said(adapter, 409, "not_connected", locale)
    ticket = seat.sign("panel_open", OPEN_FOR)
    base = runtime.get().config.public_url
    answer = jsonify(url=f"{base}{url_for('panel.page', ticket=ticket)}")
    answer.headers["Cache-Control"] = "no-store"
    return _for_origin(answer, adapter)


def _seat(manifest: Manifest, asked: Reader, locale: str) -> Seat:
    """Prove the token of a call and bind it to what was asked for. Raises: NotGenuine, Malformed."""
    pages = registry.load(manifest.widget)
    token = request.headers.get(pages.HEADER, "")
    app = _app(manifest.key, pages.client_of(token))
    opened = life.app_owner(app).secrets["client_secret"]
    visitor = pages.read_token(
        token, client_id=app.client_id, secret=opened, audience=redirect_uri(app), now=clock.now()
    )
    _note_repeat(manifest.key, visitor.token_id, visitor.expires_at)
    known = life.find(manifest.key, visitor.remote_id, app.id)
    place, kind = asked["place"].text_or("card"), asked["card"]["kind"].text_or("")
    if place not in PLACES or (place == "card" and kind not in CARDS):
        raise Malformed("place", "a place of ours", "another")
    return Seat(
        adapter=manifest.key,
        app_id=str(app.id),
        account_id=str(known[0]) if known else "",
        end_id=str(known[1]) if known else "",
        remote_id=visitor.remote_id,
        user_id=visitor.user_id,
        is_admin=_is_admin(pages, app, visitor, known) if place != "card" else bool(visitor.is_admin),
        origin=request.headers["Origin"],
        locale=locale,
        place=place,
        view="start" if asked["view"].text_or("") == "start" else "talks",
        kind=kind,
        id=asked["card"]["id"].text_or("")[:40],
        since=int(clock.now().timestamp()),
    )


def _is_admin(pages: Any, app: App, visitor: Any, known: tuple[UUID, UUID] | None) -> bool:
    """Tell whether a visitor may change settings: his token says so, else the account, else it was he who installed."""
    if visitor.is_admin is not None:
        return bool(visitor.is_admin)
    if known is None:
        waiting = store.unclaimed(app.id, visitor.remote_id)
        return waiting is not None and crypto.same(waiting.facts.get("user_id", ""), visitor.user_id)
    try:
        return bool(pages.is_administrator(life.snapshot(*known), visitor.user_id))
    except EndError as error:
        log.warning("administrator_unknown", adapter=app.adapter, reason=error.reason)
        return False


# -- small parts -------------------------------------------------------------------------------------------------------


def _manifest(adapter: str) -> Manifest | None:
    """Return the manifest of a CRM whose pages open ours this way."""
    return next((one for one in registry.manifests(Side.CRM) if one.key == adapter and one.widget), None)


def _allowed_origin(adapter: str) -> bool:
    manifest = _manifest(adapter)
    if manifest is None:
        return False
    config = runtime.get().config
    origin = request.headers.get("Origin", "")
    return bool(registry.load(manifest.widget).may_ask_from(origin, lambda name: config.server(adapter, name)))


def _for_origin(answer: Response, adapter: str) -> Response:
    """Let the page of the CRM that asked read the answer, and no other."""
    answer.headers["Vary"] = "Origin"
    if _allowed_origin(adapter):
        answer.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
    return answer


def _refused(adapter: str, why: str) -> Response:
    log.warning("visit_not_genuine", adapter=adapter, why=why)
    _note(adapter, why)
    return _said(adapter, 403, "not_genuine")


def _said(adapter: str, status: int, slug: str, locale: str = "") -> Response:
    body = {"detail": text(f"pages.panel.{slug}", locale or language.current()), "reason": slug} if slug else {}
    answer = jsonify(body)
    answer.status_code = status
    answer.headers["Cache-Control"] = "no-store"
    return _for_origin(answer, adapter)


def _note_repeat(adapter: str, token_id: str, until: datetime) -> None:
    """Write down that a one-time token came twice. The CRM does not promise that it makes one per call, so it is not refused (amocrm.md 1.8)."""
    key = f"mostik:token:{hashlib.sha256(f'{adapter}:{token_id}'.encode()).hexdigest()}"
    left_s = max(int((until - clock.now()).total_seconds()), 0) + 120
    try:
        is_new = runtime.get().redis.set(key, 1, nx=True, ex=left_s)
    except RedisError as error:
        log.warning("token_memory_away", error=type(error).__name__)
        return
    if not is_new:
        log.warning("token_repeated", adapter=adapter)
        _note(adapter, "token_repeated")


def _note(adapter: str, why: str) -> None:
    with transaction(None) as session:
        forgeries.note(session, _NOBODY, adapter=adapter, why=why, remote_address=request.remote_addr or "")


def _app(adapter: str, client_id: str) -> App:
    with transaction(None) as session:
        app = session.scalars(select(App).where(App.adapter == adapter, App.client_id == client_id)).first()
    if app is None:
        raise NotGenuine("unknown_client")
    return app


def _is_there(seat: Seat) -> bool:
    with transaction(seat.account) as session:
        row = session.get(EndRecord, seat.connection)
        account = session.get(Account, seat.account)
        is_open = account is not None and account.blocked_at is None
        return is_open and row is not None and row.account_id == seat.account and row.deleted_at is None
