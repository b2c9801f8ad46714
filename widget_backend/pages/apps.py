"""CRMs that are connected from inside of themselves: the account's own app there (a local application), and the claiming of a catalogue install."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from flask import flash, make_response, request
from flask.wrappers import Response
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from werkzeug.wrappers import Response as Redirect

from oauth import installs, routes, store
from widget_backend import crypto, ids, language
from widget_backend.accounts import access, apps, integrations, server_owner, throttle
from widget_backend.accounts.models import App, AuditEntry
from widget_backend.bridge import registry, runtime, setup
from widget_backend.bridge.tenancy import transaction
from widget_backend.crypto import BadToken
from widget_backend.pages import apps_setup, words
from widget_backend.pages.shell import blueprint, go, not_found, page, say
from widget_backend.problems import TooMany

PURPOSE = "new_app"
FORM_FOR = timedelta(days=1)
CLAIM_TRIES = 20
CLAIM_WINDOW = timedelta(minutes=15)


@blueprint.route("/connections/new/<adapter>", methods=["GET", "POST"])
@access.requires(access.may_configure)
def new_app(adapter: str) -> str | Response | Redirect:
    """Show the addresses that the CRM asks for, and take the keys that it gives for them."""
    manifest = next((one for one in registry.manifests() if one.key == adapter and one.needs_app), None)
    if manifest is None:
        return go("new_end", adapter=adapter)
    who = access.who()
    if manifest.door == "app":
        return page(
            "app_begin.html",
            manifest=manifest,
            apps=[one for one in integrations.listed(who.account_id, [adapter]) if not integrations.is_draft(one)],
            may_manage=lambda app: server_owner.may_manage(who, app.account_id),
            title_of=apps_setup.title_of,
            platforms=apps_setup.platforms,
            is_owner=server_owner.is_owner(who),
        )
    key, error = ids.new_key(), ""
    client_id, secret = request.form.get("client_id", "").strip(), request.form.get("client_secret", "").strip()
    if request.method == "POST":
        shown_key = _key(request.form.get("app", ""), who.account_id)
        key = shown_key or key
        error = "expired" if not shown_key else "" if client_id and secret else "required"
        error = error or _add(who.account_id, adapter, key, client_id, secret, who.actor)
        if not error:
            say("app.saved")
            return go("new_app", adapter=adapter)
    address = f"{runtime.get().config.public_url}/embedded/{key}"
    shown = page(
        "app.html",
        manifest=manifest,
        address=address,
        app_token=crypto.sign({"key": key, "account": str(who.account_id)}, PURPOSE, FORM_FOR),
        apps=_apps(who.account_id, adapter),
        server_apps=_apps(None, adapter),
        base=f"{runtime.get().config.public_url}/embedded/",
        client_id=client_id,
        error=error,
    )
    return make_response(shown, 422) if error else shown


@blueprint.post("/connections/claim")
@access.requires(access.may_configure)
def claim() -> Redirect:
    """Take an install that showed a code into this account."""
    who = access.who()
    allowance = throttle.take("claim", str(who.account_id), limit=CLAIM_TRIES, window=CLAIM_WINDOW)
    if allowance.is_over:
        raise TooMany(allowance.resets_in)
    found = store.by_code(request.form.get("code", ""))
    with transaction(None) as session:
        app = session.get(App, found.app_id) if found else None
    if found is None or app is None or app.account_id not in (None, who.account_id):
        say("app.code_wrong", is_error=True)
        return go("choose_crm")
    try:
        end_id = installs.claim(who.account_id, app, found)
        with setup.explained():
            installs.connect(who.account_id, end_id, app, actor=who.actor)
        say("end.connected")
    except installs.Taken:
        say("app.taken", is_error=True)
        return go("choose_crm")
    except setup.Trouble as error:
        flash(words.reason(error.reason, app.adapter), "error")
    return go("end", end_id=str(end_id))


@blueprint.post("/apps/<uuid:app_id>/start")
@access.requires(access.may_configure)
def start_grant(app_id: UUID) -> Response:
    """Go to the CRM at an address, where its admin grants access to an app of this server or account."""
    who = access.who()
    with transaction(who.account_id) as session:
        app = session.get(App, app_id)
    if app is None or app.account_id not in (None, who.account_id):
        not_found()
        raise KeyError(app_id)
    address = request.form.get("address", "").strip()[:200]
    way = routes.start_url(who.account_id, app.id, address, locale=language.current())
    left = make_response(page("leaving.html", way=way, name=words.adapter(app.adapter)))
    # our policy lets no form lead to another site, not even by a redirect: the page itself goes there
    left.headers["Refresh"] = f"0; url={way}"
    return left


@blueprint.post("/apps/<uuid:app_id>/secret")
@access.requires(access.may_configure)
def change_secret(app_id: UUID) -> Redirect:
    """Take a new secret for an app of this account."""
    who = access.who()
    secret = request.form.get("client_secret", "").strip()
    with transaction(who.account_id) as session:
        app = session.get(App, app_id)
        if app is None or app.account_id != who.account_id:
            not_found()
            raise KeyError(app_id)
        adapter = app.adapter
        if secret:
            app.secret = crypto.seal_text(secret, f"app:{app.id}")
            session.add(
                AuditEntry(account_id=who.account_id, actor=who.actor, action="app.change", subject=str(app.id))
            )
    say("app.secret_saved" if secret else "form.required", is_error=not secret)
    return go("new_app", adapter=adapter)


def _apps(account_id: UUID | None, adapter: str) -> list[App]:
    """Return the apps of an account, or those of the server (None)."""
    query = select(App).where(App.account_id == account_id, App.adapter == adapter).order_by(App.created_at)
    with transaction(account_id) as session:
        return list(session.scalars(query))


def _key(token: str, account_id: UUID) -> str:
    """Return the key whose addresses the form showed; empty when the form is not ours or too old."""
    try:
        facts = crypto.unsign(token, PURPOSE)
    except BadToken:
        return ""
    return str(facts["key"]) if facts["account"] == str(account_id) else ""


def _add(account_id: UUID, adapter: str, key: str, client_id: str, secret: str, actor: str) -> str:
    try:
        with transaction(account_id) as session:
            app = apps.add(session, adapter, client_id=client_id, secret=secret, account_id=account_id, key=key)
            session.add(AuditEntry(account_id=account_id, actor=actor, action="app.add", subject=str(app.id)))
    except IntegrityError:
        return "taken"
    return ""
