"""Chat channels of an integration: what support answered is taken for one messenger after the other, and tried at once."""

from __future__ import annotations

import re
from uuid import UUID

from flask import flash, make_response, request
from flask.wrappers import Response
from werkzeug.wrappers import Response as Redirect

from widget_backend.accounts import access, integrations
from widget_backend.accounts.models import App, AppChannel
from widget_backend.bridge import registry, setup
from widget_backend.bridge.ends import Side
from widget_backend.bridge.setup import Trouble
from widget_backend.pages import apps_setup, words
from widget_backend.pages.apps_messengers import FEATURES, title_of
from widget_backend.pages.shell import blueprint, go, not_found, say, t


@blueprint.post("/apps/<uuid:app_id>/channels/<messenger>")
@access.requires(access.may_configure)
def change_channel(app_id: UUID, messenger: str) -> Response | Redirect:
    """Take what support answered for a messenger, and try it."""
    app, who = apps_setup.managed(app_id), access.who()
    known = _known(app, messenger)
    remote_id, secret = request.form.get("remote_id", "").strip(), request.form.get("secret", "").strip()
    secret = "" if secret == words.MASK else secret
    if not remote_id or not (secret or known):
        return make_response(apps_setup.shown(app, "apps.error_channel"), 422)
    if not all(apps_setup.PLAIN.fullmatch(one) for one in (remote_id, secret) if one):
        return make_response(apps_setup.shown(app, "apps.error_unlike_keys"), 422)
    facts = {
        "code": request.form.get("code", "").strip()[:120],
        "bot_id": request.form.get("bot_id", "").strip()[:120],
        "allowed_accounts": re.findall(r"[\w-]+", request.form.get("accounts", ""))[:200],
        "features": [one for one in FEATURES if one in request.form.getlist("feature")],
    }
    try:
        integrations.set_channel(
            who.account_id, app.id, messenger, remote_id=remote_id, secret=secret, settings=facts, actor=who.actor
        )
    except integrations.Taken:
        return make_response(apps_setup.shown(app, "apps.error_channel_taken"), 422)
    say("apps.channel_saved", name=title_of(messenger))
    _try(app, messenger, remote_id)
    return go("integration", app_id=str(app.id), open=messenger, _anchor=messenger)


@blueprint.post("/apps/<uuid:app_id>/channels/<messenger>/check")
@access.requires(access.may_configure)
def check_channel(app_id: UUID, messenger: str) -> Redirect:
    """Connect a channel to every connected account of ours, and say how it went."""
    app = apps_setup.managed(app_id)
    known = _known(app, messenger)
    if known is None:
        not_found()
        raise KeyError(messenger)
    _try(app, messenger, known.remote_id)
    return go("integration", app_id=str(app.id), open=messenger, _anchor=messenger)


@blueprint.post("/apps/<uuid:app_id>/channels/<messenger>/drop")
@access.requires(access.may_configure)
def drop_channel(app_id: UUID, messenger: str) -> Redirect:
    """Forget a channel: its messenger goes on with notes."""
    app, who = apps_setup.managed(app_id), access.who()
    if _known(app, messenger) is None:
        not_found()
    integrations.drop_channel(who.account_id, app.id, messenger, actor=who.actor)
    say("apps.channel_dropped", name=title_of(messenger))
    return go("integration", app_id=str(app.id), open=messenger, _anchor=messenger)


def _try(app: App, messenger: str, remote_id: str) -> None:
    """Try a channel in every connected account of this person's; whatever is refused is said with its cure."""
    who, name = access.who(), title_of(messenger)
    ends = [one for one in integrations.users(app) if one.account_id == who.account_id and one.state != "off"]
    if not ends:
        flash(t("apps.check_nobody", name=name), "warning")
    for end in ends:
        try:
            reason = integrations.try_channel(who.account_id, end.id, remote_id)
            # the connection itself is to know how each of its channels fares
            setup.connect(who.account_id, end.id, actor=who.actor)
        except Trouble as error:
            reason = error.reason
        if not reason:
            say("apps.check_good", name=name, account=words.title(end))
            continue
        cure = words.reason(reason, app.adapter)
        own_id = str(end.settings.get("amojo_id") or end.remote_id)
        flash(t("apps.check_bad", name=name, account=words.title(end), cure=cure, id=own_id), "error")


def _known(app: App, messenger: str) -> AppChannel | None:
    """Return the channel of a messenger; 404 for what is no messenger."""
    known = next((one for one in app.channels if one.messenger == messenger), None)
    if known is None and messenger not in {one.key for one in registry.manifests(Side.NETWORK)}:
        not_found()
    return known
