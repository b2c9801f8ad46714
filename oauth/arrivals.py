"""Installs that a provider brings to one address of ours per app: a browser that comes back from the consent page, or the provider itself.

The provider waits seconds, asks once and shows nobody our answer (amocrm.md 1.3): its code is kept and answered, and a job turns it into tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import structlog
from flask import Blueprint, Response, request
from redis import RedisError
from sqlalchemy import select

from jobs import queues
from oauth import installs, routes, store
from oauth.grants import Bearer, Grant
from oauth.keys import keys_of
from oauth.refresh import provider
from oauth.store import Unclaimed
from widget_backend import clock
from widget_backend.accounts import throttle
from widget_backend.accounts.models import App, SecurityEvent
from widget_backend.bridge import life, registry
from widget_backend.bridge.errors import EndError, Misconfigured, NotGenuine, Retry
from widget_backend.bridge.models import EndRecord, Gate
from widget_backend.bridge.tenancy import transaction
from widget_backend.crypto import BadToken, Secret

blueprint = Blueprint("oauth_arrivals", __name__)
log = structlog.get_logger()

CODE_LIVES = timedelta(minutes=20)
GRANT_LIVES = timedelta(days=1)
"""How long we go on with a code that was exchanged already: as long as its access token lives (amocrm.md 1.4)."""
DEPARTED_FOR = timedelta(days=30)
DEPARTED_AT = "departed_at"
"""In an end's settings: when its account switched the app off. Units: ISO 8601, UTC."""
TAKE_ALL = "jobs.schedules.take_installs"
ARRIVALS = 300
ARRIVALS_WINDOW = timedelta(minutes=15)


@blueprint.get("/oauth/install/<key>")
def arrive(key: str) -> Response:
    """Take a code: with a state from the browser that we sent off, without one from the provider itself."""
    app = _app(key)
    if app is None or request.args.get("client_id", app.client_id) != app.client_id:
        return _plain(404)
    if not request.args:
        return _plain(200)  # the provider asks whether its form names an address that answers (amocrm.md 1.1)
    if "state" in request.args:
        return _consented(app)
    if request.args.get("error"):
        return _plain(200)
    if throttle.take("arrival", request.remote_addr or "", limit=ARRIVALS, window=ARRIVALS_WINDOW).is_over:
        return _plain(429)
    code, address = request.args.get("code", ""), request.args.get("referer", "")
    try:
        provider(app.adapter).known_address(address)
    except EndError:
        return _suspicious(app, "foreign_host")
    if code:
        mark = f"code:{hashlib.sha256(code.encode()).hexdigest()}"
        facts = {"code": code, "referer": address, "until": (clock.now() + CODE_LIVES).isoformat()}
        store.remember(Unclaimed(adapter=app.adapter, app_id=app.id, remote_id=mark, facts=facts))
        _hurry()
    return _plain(200)


def _hurry() -> None:
    """Have arrivals looked at now; the admin waits at a screen. If Valkey is away the schedule finds them."""
    try:
        queues.queue(queues.SCHEDULES).enqueue_call(TAKE_ALL, timeout=120, ttl=60, result_ttl=0, failure_ttl=0)
    except RedisError as error:
        log.warning("arrival_not_hurried", error=type(error).__name__)


@blueprint.get("/oauth/farewell/<key>")
def farewell(key: str) -> Response:
    """Take the news that an account switched the app off: its tokens are void, what is written meanwhile waits for the reinstall."""
    app = _app(key)
    if app is None:
        return _plain(404)
    client_id = request.args.get("client_uuid") or request.args.get("client_id", "")
    remote_id = request.args.get("account_id", "")
    if not provider(app.adapter).is_farewell(keys_of(app), client_id, remote_id, request.args.get("signature", "")):
        return _suspicious(app, "wrong_secret")
    known = life.find(app.adapter, remote_id, app.id)
    if known is None:
        store.claimed(app.id, remote_id)
        return _plain(200)
    store.forget(*known)
    life.change(*known, settings={DEPARTED_AT: clock.now().isoformat()})
    life.set_state(*known, "error", f"{app.adapter}_disabled", actor=app.adapter)
    log.info("farewell", adapter=app.adapter, end=str(known[1]))
    return _plain(200)


def forget_departed() -> None:
    """Erase what accounts left behind that switched their app off long ago and have not come back."""
    with transaction(None) as session:
        closed = session.execute(select(Gate.account_id, Gate.end_id).where(Gate.is_open.is_(False))).all()
    limit = (clock.now() - DEPARTED_FOR).isoformat()
    for account_id, end_id in closed:
        with transaction(account_id) as session:
            row = session.get(EndRecord, end_id)
            departed_at = str(row.settings.get(DEPARTED_AT) or "") if row is not None else ""
        if departed_at and departed_at < limit:
            log.info("departed_erased", end=str(end_id))
            life.erase(account_id, end_id)


def take_all() -> None:
    """Turn the codes that arrived into tokens. Safe to run twice: a code works once."""
    for install in store.arrived():
        with transaction(None) as session:
            app = session.get_one(App, install.app_id)
        try:
            _take(app, install)
        except Retry as error:
            log.warning("arrival_waits", adapter=app.adapter, reason=error.reason)
            now_known = store.unclaimed(app.id, install.remote_id)
            if now_known is not None and now_known.facts["until"] > clock.now().isoformat():
                continue
        except (EndError, NotGenuine, installs.Taken) as error:
            log.warning("arrival_failed", adapter=app.adapter, why=getattr(error, "reason", type(error).__name__))
        store.claimed(app.id, install.remote_id)


def _take(app: App, install: Unclaimed) -> None:
    """Go on with an arrival from wherever it is: a code works once, so that what it gave is kept before anything else is asked."""
    facts = install.facts
    if "code" in facts:
        facts = _keep(install, _exchanged(app, facts["referer"], facts["code"]))
    if "end" not in facts:
        bearer, granted = _proved(app, facts)
        known = life.find(app.adapter, bearer.remote_id, app.id)
        account_id = known[0] if known else app.account_id
        if account_id is None:
            store.remember(Unclaimed(adapter=app.adapter, app_id=app.id, remote_id=bearer.remote_id, facts=granted))
            log.info("install_unclaimed", adapter=app.adapter)
            return
        end_id = installs.attach(account_id, app, bearer.remote_id, {**granted, DEPARTED_AT: ""})
        # the end has the tokens now, and may renew them: the copy here must not come back over them
        place = {"account": str(account_id), "end": str(end_id), "user_id": bearer.user_id}
        facts = _keep(install, place)
    actor = f"{app.adapter}:{facts['user_id']}"
    installs.connect(UUID(facts["account"]), UUID(facts["end"]), app, actor=actor)


def _keep(install: Unclaimed, facts: Mapping[str, str]) -> Mapping[str, str]:
    """Write down how far an arrival has come."""
    kept = {**facts, "until": (clock.now() + GRANT_LIVES).isoformat()}
    store.remember(replace(install, facts=kept))
    return kept


def _consented(app: App) -> Response:
    """Take back the browser of an administrator whom the cabinet sent to the consent page."""
    try:
        facts = routes.returned(request.args["state"])
        if facts["app"] != str(app.id):
            raise BadToken("forged")
    except BadToken:
        return routes.said(f"{app.adapter}_state_lost", app.adapter, "ru", 400)
    locale = str(facts["locale"])
    if request.args.get("error"):
        return routes.said(f"{app.adapter}_consent_refused", app.adapter, locale, 400)
    try:
        exchanged = _exchanged(app, request.args.get("referer", ""), request.args.get("code", ""))
        bearer, granted = _proved(app, exchanged)
        end_id = installs.attach(UUID(str(facts["account"])), app, bearer.remote_id, {**granted, DEPARTED_AT: ""})
        installs.connect(UUID(str(facts["account"])), end_id, app, actor=f"{app.adapter}:{bearer.user_id}")
    except installs.Taken:
        return routes.said(f"{app.adapter}_taken", app.adapter, locale, 409)
    except NotGenuine:
        return routes.said("token_revoked", app.adapter, locale, 502)
    except EndError as error:
        log.warning("oauth_failed", adapter=app.adapter, reason=error.reason)
        return routes.said(error.reason, app.adapter, locale, 502)
    log.info("oauth_connected", adapter=app.adapter, account=str(facts["account"]), end=str(end_id))
    return routes.said("", app.adapter, locale, 200)


def _exchanged(app: App, address: str, code: str) -> dict[str, str]:
    grant: Grant = provider(app.adapter).exchange(keys_of(app), address, code)
    tokens = {"access": grant.access.reveal(), "refresh": grant.refresh.reveal()}
    return {**tokens, "endpoint": grant.endpoint, "facts": json.dumps(dict(grant.facts))}


def _proved(app: App, exchanged: Mapping[str, str]) -> tuple[Bearer, dict[str, str]]:
    """Ask whose the tokens are; return what his end will need. Raises: Misconfigured also when he is no administrator over there."""
    bearer = provider(app.adapter).prove(exchanged["endpoint"], Secret(exchanged["access"]))
    if bearer.is_admin is False:
        raise Misconfigured(f"{app.adapter}_not_admin")
    facts: dict[str, str] = json.loads(exchanged["facts"])
    tokens = {name: exchanged[name] for name in ("access", "refresh")}
    return bearer, {**facts, **bearer.facts, "user_id": bearer.user_id, **tokens}


def _app(key: str) -> App | None:
    with transaction(None) as session:
        app = session.scalars(select(App).where(App.key == key)).first()
    # others bring their codes to the callback, or to the pages in their own frame
    return app if app is not None and registry.manifest(app.adapter).door == "app" else None


def _suspicious(app: App, why: str) -> Response:
    log.warning("arrival_not_genuine", adapter=app.adapter, why=why)
    with transaction(None) as session:
        session.add(SecurityEvent(adapter=app.adapter, why=why, remote_address=request.remote_addr or ""))
    return _plain(403)


def _plain(status: int) -> Response:
    return Response("", status, content_type="text/plain; charset=utf-8")
