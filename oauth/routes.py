"""Granting access from the cabinet: off to the provider with a state that is bound to this browser, and back with a code.

The cabinet makes the link (`start_url`) for a person who may connect ends of the account; nothing here asks for a session of ours.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for

from oauth import installs, store
from oauth.grants import Grant
from oauth.keys import keys_of
from oauth.refresh import provider
from widget_backend import crypto
from widget_backend.accounts.models import App
from widget_backend.bridge import life, registry, runtime
from widget_backend.bridge.errors import EndError, Misconfigured
from widget_backend.bridge.models import EndRecord
from widget_backend.bridge.tenancy import transaction
from widget_backend.crypto import BadToken
from widget_backend.texts import reason, text

blueprint = Blueprint("oauth", __name__)
log = structlog.get_logger()

START_FOR = timedelta(minutes=10)
COOKIE = "mostik_oauth"


def start_url(account_id: UUID, app_id: UUID, address: str, *, locale: str = "ru") -> str:
    """Return the link that begins to connect the company at an address (a portal's domain) to an account."""
    facts = {"account": str(account_id), "app": str(app_id), "address": address, "locale": locale}
    ticket = crypto.sign(facts, "oauth_start", START_FOR)
    return url_for("oauth.start", ticket=ticket, _external=False)


@blueprint.get("/oauth/start")
def start() -> Response:
    """Send the browser to the provider. The state goes with it, its secret half stays in a cookie of this browser."""
    try:
        facts = crypto.unsign(request.args.get("ticket", ""), "oauth_start")
    except BadToken:
        return said("bitrix24_state_lost", "bitrix24", "ru", 400)
    app = _app(UUID(str(facts["app"])))
    half = secrets.token_urlsafe(24)
    state = crypto.sign({**facts, "half": _digest(half)}, "oauth_state", START_FOR)
    try:
        target = provider(app.adapter).authorize_url(keys_of(app), str(facts["address"]), state)
    except EndError as error:
        return said(error.reason, app.adapter, str(facts["locale"]), 400)
    response = make_response(redirect(target))
    response.set_cookie(
        COOKIE,
        half,
        max_age=int(START_FOR.total_seconds()),
        path="/oauth/",
        secure=runtime.get().config.public_url.startswith("https://"),
        httponly=True,
        samesite="Lax",
    )
    return response


@blueprint.get("/oauth/callback")
def callback() -> Response:
    """Take the code back, turn it into tokens and connect. Whoever grants must be an administrator over there."""
    try:
        facts = returned(request.args.get("state", ""))
    except BadToken:
        return said("bitrix24_state_lost", "bitrix24", "ru", 400)
    app, locale = _app(UUID(str(facts["app"]))), str(facts["locale"])
    try:
        end_id = _connect(UUID(str(facts["account"])), app)
    except installs.Taken:
        return said("bitrix24_taken", app.adapter, locale, 409)
    except EndError as error:
        log.warning("oauth_failed", adapter=app.adapter, reason=error.reason)
        return said(error.reason, app.adapter, locale, 502)
    log.info("oauth_connected", adapter=app.adapter, account=str(facts["account"]), end=str(end_id))
    return said("", app.adapter, locale, 200)


def returned(state: str) -> Mapping[str, object]:
    """Read the state of a browser that comes back: it must be the one we sent off. Raises: BadToken."""
    facts = crypto.unsign(state, "oauth_state")
    if not crypto.same(_digest(request.cookies.get(COOKIE, "")), str(facts["half"])):
        raise BadToken("forged")
    return facts


def _connect(account_id: UUID, app: App) -> UUID:
    grant = provider(app.adapter).exchange(
        keys_of(app), request.args.get("server_domain", ""), request.args.get("code", "")
    )
    told = request.args.get("member_id", "")
    if told and not crypto.same(told, grant.remote_id):
        raise Misconfigured("bitrix24_other_portal")
    pages = registry.load(registry.manifest(app.adapter).pages)
    config = runtime.get().config
    viewer = pages.viewer(
        grant.access.reveal(),
        grant.remote_id,
        grant.facts["client_endpoint"],
        lambda name: config.server(app.adapter, name),
    )
    if not viewer.is_admin:
        raise Misconfigured("bitrix24_access_denied")
    facts = {**_earlier(app, grant), **_facts(grant), "user_id": viewer.user_id}
    end_id = installs.attach(account_id, app, grant.remote_id, facts)
    installs.connect(account_id, end_id, app, actor=f"{app.adapter}:{viewer.user_id}")
    return end_id


def _earlier(app: App, grant: Grant) -> dict[str, str]:
    """Return the secret of the app's events, which only an opening of the app brings: from an install that waits, or from the end itself.

    Raises: Misconfigured: the app has never been opened on that portal.
    """
    if waiting := store.unclaimed(app.id, grant.remote_id):
        return dict(waiting.facts)
    known = life.find(app.adapter, grant.remote_id, app.id)
    if known is not None:
        with transaction(known[0]) as session:
            row = session.get(EndRecord, known[1])
            if row is not None and life.owner_of(row).secrets.get("application_token"):
                return {}
    raise Misconfigured("bitrix24_not_installed")


def _facts(grant: Grant) -> dict[str, str]:
    return {
        **grant.facts,
        "server_endpoint": f"{grant.endpoint}/rest/",
        "access": grant.access.reveal(),
        "refresh": grant.refresh.reveal(),
    }


def _app(app_id: UUID) -> App:
    with transaction(None) as session:
        return session.get_one(App, app_id)


def _digest(half: str) -> str:
    return hashlib.sha256(half.encode()).hexdigest()


def said(slug: str, adapter: str, locale: str, status: int) -> Response:
    """Say to the person in front of the browser how it went; without a slug, well."""
    values: dict[str, Any] = {
        "title": text(f"pages.embedded.{'trouble' if slug else 'done'}", locale),
        "body": reason(slug, adapter, locale) if slug else text("pages.embedded.may_close", locale),
        "back": text("pages.embedded.back", locale),
        "home": f"{request.script_root}/",
        "locale": locale,
    }
    response = make_response(render_template("embedded/outside.html", **values), status)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.delete_cookie(COOKIE, path="/oauth/")
    return response
