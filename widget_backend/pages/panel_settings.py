"""The settings of a connection inside its CRM: claimed by its administrator, its state, its settings in place; read-only for everybody else.

The form is made from the adapter's schema, by the same parts as the cabinet's; what a page hands to the next is its token, no cookie.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import structlog
from flask import Response, make_response, render_template, request

from oauth import installs, store
from widget_backend import language
from widget_backend.accounts import claims
from widget_backend.accounts.models import Account, App
from widget_backend.bridge import life, registry, setup
from widget_backend.bridge.errors import EndError
from widget_backend.bridge.models import EndRecord
from widget_backend.bridge.setup import Trouble, Unfit
from widget_backend.bridge.tenancy import transaction
from widget_backend.pages import forms, shell, words
from widget_backend.pages.panel_door import Seat, blueprint, framed, read_seat
from widget_backend.problems import Unauthenticated
from widget_backend.texts import reason

log = structlog.get_logger()

SEATED_FOR = timedelta(hours=1)
PURPOSE = "panel_settings"


def show(seat: Seat) -> Response:
    """Show what a viewer's connection needs: to be claimed, or its state and settings."""
    if not seat.end_id:
        return _claim(seat)
    return _connected(seat)


@blueprint.post("/embedded/panel/settings")
def act() -> Response:
    """Take a form of these pages: its token says who and where, the field `do` what."""
    try:
        seat, _age = read_seat(request.form.get("token", ""), PURPOSE)
    except Unauthenticated:
        return _said("page_expired", 403)
    language.choose(seat.locale)
    if not seat.is_admin:
        return show(seat)
    do = request.form.get("do", "")
    if not seat.end_id:
        return _take(seat) if do == "sign_in" else _claim(_seen_anew(seat))
    if do == "settings":
        return _change(seat)
    if do == "routes":
        forms.take_routes(_row(seat), actor=seat.actor)
        return _connected(seat, message=seat.words("settings_saved"))
    return _reconnect(seat)


# -- an install that nobody has claimed yet ----------------------------------------------------------------------------


def _claim(seat: Seat, *, error: str = "", email: str = "", accounts: list[Account] | None = None) -> Response:
    waiting = store.unclaimed(UUID(seat.app_id), seat.remote_id)
    return _page(seat, "claim", is_waiting=waiting is not None, error=error, email=email, accounts=accounts or [])


def _take(seat: Seat) -> Response:
    """Let the person who owns an account of ours take the install into it."""
    email = request.form.get("email", "").strip().lower()
    try:
        accounts = claims.accounts_by_password(email, request.form.get("password", ""))
    except claims.NotProved as error:
        return _claim(seat, error=shell.t(f"embedded.{error.slug}"), email=email)
    account = claims.chosen(accounts, request.form.get("account", ""))
    if account is None:
        return _claim(seat, email=email, accounts=accounts)
    waiting = store.unclaimed(UUID(seat.app_id), seat.remote_id)
    if waiting is None:
        return _claim(seat)
    app = _app(seat)
    try:
        end_id = installs.claim(account.id, app, waiting)
        installs.connect(account.id, end_id, app, actor=seat.actor)
    except installs.Taken:
        return _claim(seat, error=shell.t("embedded.taken_help"), email=email)
    except EndError as error:
        log.warning("panel_connect_failed", adapter=seat.adapter, reason=error.reason)
    return _connected(_seen_anew(seat))


def _seen_anew(seat: Seat) -> Seat:
    """Look whether the install was claimed meanwhile: in the cabinet, by its code, or just now."""
    known = life.find(seat.adapter, seat.remote_id, UUID(seat.app_id))
    return seat.of(known) if known else seat


# -- a connection ------------------------------------------------------------------------------------------------------


def _connected(
    seat: Seat, *, message: str = "", error: str = "", values: Mapping[str, object] | None = None,
    wrong: Mapping[str, str] | None = None,
) -> Response:  # fmt: skip
    if not seat.end_id:
        return _claim(seat)
    row = _row(seat)
    fields = setup.fields_of(row.adapter)
    stored = {field.name: row.settings.get(field.name, field.default) for field in fields}
    choices, trouble = forms.choices(row, fields) if seat.is_admin else ({}, "")
    return _page(
        seat,
        "settings",
        end=row,
        why=reason(row.reason, row.adapter, seat.locale) if row.reason else "",
        fields=fields if seat.is_admin else (),
        values={**stored, **(values or {})},
        wrong=wrong or {},
        choices=choices,
        others=forms.others(row),
        joined=forms.joined(row),
        message=message,
        error=error or (reason(trouble, row.adapter, seat.locale) if trouble else ""),
    )


def _change(seat: Seat) -> Response:
    row = _row(seat)
    given = forms.given(setup.fields_of(row.adapter))
    try:
        setup.change(row.account_id, row.id, title=None, given=given, actor=seat.actor)
    except Unfit as error:
        return _connected(seat, values=given, wrong=error.fields)
    return _connected(seat, message=seat.words("settings_saved"))


def _reconnect(seat: Seat) -> Response:
    row = _row(seat)
    try:
        warnings = setup.connect(row.account_id, row.id, actor=seat.actor)
    except Trouble as trouble:
        return _connected(seat, error=reason(trouble.reason, row.adapter, seat.locale))
    said = [seat.words("settings_connected"), *(reason(slug, row.adapter, seat.locale) for slug in warnings)]
    return _connected(seat, message=" ".join(said))


# -- small parts -------------------------------------------------------------------------------------------------------


def _row(seat: Seat) -> EndRecord:
    return setup.find(seat.account, seat.connection)


def _app(seat: Seat) -> App:
    with transaction(None) as session:
        return session.get_one(App, UUID(seat.app_id))


def _page(seat: Seat, template: str, **values: object) -> Response:
    html = render_template(
        f"panel/{template}.html",
        seat=seat,
        token=seat.sign(PURPOSE, SEATED_FOR),
        crm=registry.manifest(seat.adapter).title,
        t=shell.t,
        p=seat.words,
        words=words,
        asset=shell.asset,
        **values,
    )
    return framed(make_response(html), seat)


def _said(slug: str, status: int) -> Response:
    return Response(shell.t(f"panel.{slug}"), status, content_type="text/plain; charset=utf-8")
