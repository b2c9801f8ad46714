"""The set-up page of an integration: what its form at the provider asks for, its keys, its widget, its end. Its chat channels are in `apps_channels`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

from flask import flash, make_response, request
from flask.wrappers import Response
from werkzeug.wrappers import Response as Redirect

from oauth.keys import addresses
from widget_backend import language, texts, widget_archive, widget_check
from widget_backend.accounts import access, integrations, server_owner
from widget_backend.accounts.models import App
from widget_backend.accounts.sessions import Who
from widget_backend.bridge import registry, runtime
from widget_backend.bridge.ends import Manifest
from widget_backend.pages import apps_messengers, words
from widget_backend.pages.shell import blueprint, go, not_found, page, say
from widget_backend.widget_archive import Brand, UnfitBrand

PLAIN = re.compile(r"[\x21-\x7e]{1,200}")
BRAND_FIELDS = ("brand", "brand_ru", "support_email", "terms")


@blueprint.get("/apps")
@access.requires(access.may_configure)
def apps_list() -> str:
    """List the integrations that this person may change."""
    who = access.who()
    is_owner = server_owner.is_owner(who)
    found = integrations.listed(who.account_id, [one.key for one in manifests()], with_servers=is_owner)
    return page("apps.html", rows=_rows(who, found), manifests=manifests(), is_owner=is_owner, platforms=platforms)


@blueprint.get("/apps/server")
@access.requires(access.may_configure)
def manage_server() -> Redirect:
    """Let in whoever comes from the console with a fresh link."""
    if server_owner.admit(access.who(), request.args.get("ticket", "")):
        say("apps.owner_admitted")
    else:
        say("apps.owner_ticket_old", is_error=True)
    return go("apps_list")


@blueprint.post("/apps/new/<adapter>")
@access.requires(access.may_configure)
def begin_app(adapter: str) -> Redirect:
    """Begin an integration: its addresses are known from now on."""
    who = access.who()
    if adapter not in [one.key for one in manifests()]:
        not_found()
    owner_id = None if request.form.get("scope") == "server" else who.account_id
    if not server_owner.may_manage(who, owner_id):
        not_found()
    known = platforms(adapter)
    platform = request.form.get("platform", "")
    platform = platform if platform in known else known[0]
    app_id = integrations.begin(who.account_id, adapter, owner_id=owner_id, platform=platform, actor=who.actor)
    return go("integration", app_id=str(app_id))


@blueprint.get("/apps/<uuid:app_id>")
@access.requires(access.may_configure)
def integration(app_id: UUID) -> str:
    """Show everything that setting up an integration needs."""
    return shown(managed(app_id))


@blueprint.post("/apps/<uuid:app_id>/keys")
@access.requires(access.may_configure)
def change_keys(app_id: UUID) -> Response | Redirect:
    """Take the keys that the provider gave, or a new secret; the id stays while connections work through it."""
    app, who = managed(app_id), access.who()
    client_id, secret = _typed("client_id"), _typed("client_secret")
    secret = "" if secret == words.MASK else secret
    if integrations.is_draft(app) and not (client_id and secret):
        return _refused(app, "apps.error_keys")
    if not all(PLAIN.fullmatch(one) for one in (client_id, secret) if one):
        return _refused(app, "apps.error_unlike_keys")
    if client_id and client_id != app.client_id and any(one.state != "off" for one in integrations.users(app)):
        return _refused(app, "apps.error_id_in_use")
    title = request.form.get("title", "").strip()[:120]
    try:
        integrations.change(who.account_id, app.id, actor=who.actor, title=title, client_id=client_id, secret=secret)
    except integrations.Taken:
        return _refused(app, "apps.error_taken")
    say("apps.secret_replaced" if secret and not integrations.is_draft(app) else "apps.keys_saved")
    return go("integration", app_id=str(app.id))


@blueprint.post("/apps/<uuid:app_id>/widget")
@access.requires(access.may_configure)
def download_widget(app_id: UUID) -> Response:
    """Build the widget's archive for this server and brand, check it, and send it. Every archive has a higher version than the one before."""
    app, who = managed(app_id), access.who()
    given = {name: _typed(name) for name in BRAND_FIELDS}
    builds = int(str(app.settings.get("widget_builds") or 0)) + 1
    try:
        brand = Brand(
            server=runtime.get().config.public_url,
            name=given["brand"],
            name_ru=given["brand_ru"],
            support_email=given["support_email"],
            terms=given["terms"],
            version=f"{widget_archive.widget_version()}.{builds}",
        )
        archive = widget_archive.build(brand)
    except UnfitBrand:
        return _refused(app, "apps.error_brand", given)
    if findings := widget_check.check(archive):
        for finding in findings:
            flash(str(finding), "error")
        return _refused(app, "apps.error_archive", given)
    integrations.change(who.account_id, app.id, actor=who.actor, settings={**given, "widget_builds": builds})
    sent = make_response(archive)
    sent.headers["Content-Type"] = "application/zip"
    sent.headers["Content-Disposition"] = 'attachment; filename="widget.zip"'
    sent.headers["Cache-Control"] = "no-store"
    return sent


@blueprint.post("/apps/<uuid:app_id>/code")
@access.requires(access.may_configure)
def change_widget_code(app_id: UUID) -> Response | Redirect:
    """Take the code that the provider gave to the uploaded widget."""
    app, who = managed(app_id), access.who()
    code = _typed("widget_code")
    if not PLAIN.fullmatch(code):
        return _refused(app, "apps.error_code")
    integrations.change(who.account_id, app.id, actor=who.actor, settings={"widget_code": code})
    say("apps.code_saved")
    return go("integration", app_id=str(app.id))


@blueprint.route("/apps/<uuid:app_id>/delete", methods=["GET", "POST"])
@access.requires(access.may_configure)
def delete_app(app_id: UUID) -> str | Redirect:
    """Say what deleting an integration means, then delete it: only when no connection works through it."""
    app, who = managed(app_id), access.who()
    if request.method == "POST":
        try:
            integrations.remove(who.account_id, app, actor=who.actor)
            say("apps.deleted")
            return go("apps_list")
        except integrations.InUse:
            say("apps.delete_in_use", is_error=True)
            return go("delete_app", app_id=str(app.id))
    used = integrations.users(app)
    return page(
        "app_delete.html",
        app=app,
        title=title_of(app),
        in_use=[one for one in used if one.state != "off"],
        off=[one for one in used if one.state == "off"],
    )


def managed(app_id: UUID) -> App:
    """Return an integration that this person may change; one of somebody else looks as if it were not there."""
    app = integrations.find(app_id)
    known = [one.key for one in manifests()]
    if app is None or app.adapter not in known or not server_owner.may_manage(access.who(), app.account_id):
        not_found()
        raise KeyError(app_id)
    return app


def shown(app: App, error: str = "", given: dict[str, str] | None = None) -> str:
    """Render the set-up page."""
    who = access.who()
    used = integrations.users(app)
    mine = [one for one in used if one.account_id == who.account_id]
    ours = {"brand": texts.text("pages.common.brand", "en"), "brand_ru": texts.text("pages.common.brand", "ru")}
    told = {name: str(app.settings.get(name) or "") for name in (*BRAND_FIELDS, "widget_code", "platform")}
    facts = told if told["brand"] else {**told, **ours}
    return page(
        "app_setup.html",
        app=app,
        title=title_of(app),
        is_draft=integrations.is_draft(app),
        manifest=registry.manifest(app.adapter),
        addresses=addresses(app),
        facts={**facts, **(given or {})},
        error=error,
        mine=mine,
        elsewhere=len(used) - len(mine),
        messengers=apps_messengers.messengers(app, mine),
        features=apps_messengers.FEATURES,
        guide=lambda slug: texts.text(f"pages.apps.{app.adapter}_{slug}", language.current()),
        may_change_id=not any(one.state != "off" for one in used),
    )


def manifests() -> list[Manifest]:
    """Return the CRMs whose apps are set up here: those with one address for every account."""
    return [one for one in registry.manifests() if one.needs_app and one.door == "app"]


def platforms(adapter: str) -> list[str]:
    """Return where an integration of this kind can live."""
    prefix = f"{adapter}_platform_"
    return [slug.removeprefix(prefix) for slug in texts.slugs("pages.apps") if slug.startswith(prefix)]


def title_of(app: App) -> str:
    """Name an integration."""
    name = app.title or ("" if integrations.is_draft(app) else app.client_id)
    return name or texts.text("pages.apps.unnamed", language.current(), name=registry.manifest(app.adapter).title)


def _rows(who: Who, found: Sequence[App]) -> list[dict[str, object]]:
    return [
        {
            "app": app,
            "title": title_of(app),
            "crm": registry.manifest(app.adapter).title,
            "is_draft": integrations.is_draft(app),
            "in_use": sum(one.state != "off" for one in integrations.users(app)),
            "chats": len(app.channels),
        }
        for app in found
    ]


def _refused(app: App, slug: str, given: dict[str, str] | None = None) -> Response:
    return make_response(shown(app, slug, given), 422)


def _typed(name: str) -> str:
    return request.form.get(name, "").strip()[:250]
