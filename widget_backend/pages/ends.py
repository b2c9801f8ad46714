"""Channels and connections: choose, fill in, connect, check, change, disconnect, and what feeds what. One form for every adapter, from its schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar
from uuid import UUID

from flask import flash, make_response, request
from flask.wrappers import Response
from werkzeug.wrappers import Response as Redirect

from widget_backend.accounts import access
from widget_backend.bridge import life, registry, setup
from widget_backend.bridge.ends import Choice, Manifest, Side
from widget_backend.bridge.models import EndRecord
from widget_backend.bridge.setup import MASK, Field, Trouble, Unfit
from widget_backend.pages import forms, words
from widget_backend.pages.shell import blueprint, go, not_found, page, say

View = TypeVar("View", bound=Callable[..., Any])


def of_account(view: View) -> View:
    """Answer 404 when the account has no such end."""

    @wraps(view)
    def guarded(*arguments: Any, **named: Any) -> Any:
        try:
            return view(*arguments, **named)
        except KeyError:
            not_found()

    return guarded  # type: ignore[return-value]


@blueprint.get("/channels/new")
@access.requires(access.may_configure)
def choose_network() -> str:
    """Let the admin choose a network."""
    return page("choose.html", side="network", manifests=registry.manifests(Side.NETWORK))


@blueprint.get("/connections/new")
@access.requires(access.may_configure)
def choose_crm() -> str:
    """Let the admin choose a CRM, or type the code that an install showed him."""
    return page("choose.html", side="crm", manifests=registry.manifests(Side.CRM))


@blueprint.route("/channels/new/<adapter>", methods=["GET", "POST"])
@access.requires(access.may_configure)
def new_end(adapter: str) -> str | Response | Redirect:
    """Show the form of a network, take it, and go on to connecting."""
    manifest = _manifest(adapter)
    if manifest.needs_app:
        return go("new_app", adapter=adapter)
    who = access.who()
    fields, wrong = setup.fields_of(adapter), {}
    values: Mapping[str, object] = {field.name: field.default for field in fields}
    title = request.form.get("title", "").strip()[:120]
    if request.method == "POST":
        values = forms.given(fields)
        try:
            end_id = setup.create(who.account_id, adapter, title=title, given=values, actor=who.actor)
            return go("connecting", end_id=str(end_id))
        except Unfit as error:
            wrong = error.fields
    shown = page("new_end.html", manifest=manifest, fields=fields, values=values, title=title, wrong=wrong, choices={})
    return make_response(shown, 422) if wrong else shown


@blueprint.get("/ends/<uuid:end_id>")
@access.requires(access.may_look)
@of_account
def end(end_id: UUID) -> str:
    """Show one channel or connection."""
    return _end_page(setup.find(access.who().account_id, end_id), {}, {})


@blueprint.post("/ends/<uuid:end_id>/settings")
@access.requires(access.may_configure)
@of_account
def change_end(end_id: UUID) -> str | Response | Redirect:
    """Change settings; a new secret is tried by connecting again."""
    account_id = access.who().account_id
    row = setup.find(account_id, end_id)
    fields = setup.fields_of(row.adapter)
    given = forms.given(fields)
    try:
        title = request.form.get("title", "").strip()[:120]
        setup.change(account_id, end_id, title=title, given=given, actor=access.who().actor)
    except Unfit as error:
        return make_response(_end_page(row, given, error.fields), 422)
    secrets = [field.name for field in fields if field.kind == "secret"]
    if any(given.get(name) not in (MASK, "", None) for name in secrets):
        return go("connecting", end_id=str(end_id))
    say("end.saved")
    return go("end", end_id=str(end_id))


@blueprint.get("/ends/<uuid:end_id>/connect")
@access.requires(access.may_configure)
@of_account
def connecting(end_id: UUID) -> str:
    """Show that the connection is being made: the page sends its form by itself, and stays until the answer is there."""
    return page("connecting.html", end=setup.find(access.who().account_id, end_id))


@blueprint.post("/ends/<uuid:end_id>/connect")
@access.requires(access.may_configure)
@of_account
def connect_end(end_id: UUID) -> Redirect:
    """Connect, or connect again."""
    who = access.who()
    row = setup.find(who.account_id, end_id)
    try:
        warnings = setup.connect(who.account_id, end_id, actor=who.actor)
        say("end.connected")
        for slug in warnings:
            flash(words.reason(slug, row.adapter), "warning")
    except Trouble as error:
        flash(words.reason(error.reason, row.adapter), "error")
    return go("end", end_id=str(end_id))


@blueprint.post("/ends/<uuid:end_id>/check")
@access.requires(access.may_configure)
@of_account
def check_end(end_id: UUID) -> Redirect:
    """Ask the outside whether it works."""
    row = setup.find(access.who().account_id, end_id)
    try:
        setup.check(row.account_id, end_id)
        say("end.check_good" if row.state == "active" else "end.check_good_reconnect")
    except Trouble as error:
        flash(words.reason(error.reason, row.adapter), "error")
    return go("end", end_id=str(end_id))


@blueprint.route("/ends/<uuid:end_id>/disconnect", methods=["GET", "POST"])
@access.requires(access.may_configure)
@of_account
def disconnect_end(end_id: UUID) -> str | Redirect:
    """Ask, then disconnect. One that never worked is removed: nothing came over it."""
    who = access.who()
    row = setup.find(who.account_id, end_id)
    if request.method == "GET":
        return page("disconnect.html", end=row)
    if row.connected_at is None:
        life.erase(who.account_id, end_id, actor=who.actor)
        say("end.removed")
        return go("home")
    try:
        setup.disconnect(who.account_id, end_id, actor=who.actor)
        say("end.disconnected")
    except Trouble as error:
        flash(words.reason(error.reason, row.adapter), "error")
    return go("end", end_id=str(end_id))


@blueprint.post("/ends/<uuid:end_id>/routes")
@access.requires(access.may_configure)
@of_account
def change_routes(end_id: UUID) -> Redirect:
    """Take what feeds what from the boxes of an end's page."""
    who = access.who()
    row = setup.find(who.account_id, end_id)
    forms.take_routes(row, actor=who.actor)
    say("end.routes_saved")
    return go("end", end_id=str(end_id))


def _end_page(row: EndRecord, values: Mapping[str, object], wrong: Mapping[str, str]) -> str:
    fields = setup.fields_of(row.adapter)
    stored = {field.name: row.settings.get(field.name, field.default) for field in fields}
    return page(
        "end.html",
        end=row,
        manifest=registry.manifest(row.adapter),
        fields=fields,
        values={**stored, **values},
        wrong=wrong,
        choices=_choices(row, fields),
        title=row.title,
        others=forms.others(row),
        joined=forms.joined(row),
    )


def _choices(row: EndRecord, fields: tuple[Field, ...]) -> dict[str, list[Choice]]:
    """Ask for the choices of whoever may choose, and say why some cannot be asked."""
    if not access.may_configure(access.who()):
        return {}
    found, trouble = forms.choices(row, fields)
    if trouble:
        flash(words.reason(trouble, row.adapter), "warning")
    return found


def _manifest(adapter: str) -> Manifest:
    try:
        return registry.manifest(adapter)
    except KeyError:
        not_found()
        raise
