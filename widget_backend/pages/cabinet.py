"""The home page, the audit trail, the keys for programs."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from flask import make_response, request
from flask.wrappers import Response
from werkzeug.wrappers import Response as Redirect

from widget_backend import clock
from widget_backend.accounts import access, keys, people
from widget_backend.bridge import journal, setup
from widget_backend.bridge.ends import Side
from widget_backend.pages.shell import blueprint, go, not_found, page, say

LATELY = timedelta(days=1)


@blueprint.get("/")
@access.requires(access.may_look)
def home() -> str:
    """Show channels and connections, whether they work, and what needs a look."""
    account_id = access.who().account_id
    ends = setup.listed(account_id)
    return page(
        "home.html",
        channels=[end for end in ends if end.side == Side.NETWORK],
        connections=[end for end in ends if end.side == Side.CRM],
        pairs=setup.pairs(account_id),
        by_id={end.id: end for end in ends},
        troubles=journal.troubles(account_id, clock.now() - LATELY),
    )


@blueprint.get("/audit")
@access.requires(access.may_audit)
def audit() -> str:
    """Show who did what."""
    account_id = access.who().account_id
    before = request.args.get("before", "")
    entries, next_before = journal.audit(
        account_id, before=int(before) if before.isdecimal() and len(before) < 19 else None
    )
    return page(
        "audit.html",
        entries=entries,
        next_before=next_before,
        names=people.actor_names(account_id),
        ends={str(end.id): end for end in setup.listed(account_id)},
    )


@blueprint.route("/api-keys", methods=["GET", "POST"])
@access.requires(access.may_hold_keys)
def api_keys() -> str | Response:
    """List the keys for programs, and issue one: it is shown this once."""
    who = access.who()
    made, error = "", ""
    if request.method == "POST":
        title, role = request.form.get("title", "").strip()[:80], request.form.get("role", "")
        if title and role in keys.ROLES:
            made = keys.issue(who.account_id, title=title, role=role, actor=who.actor)
        else:
            error = "form.required"
    shown = page("keys.html", keys=keys.listed(who.account_id), made=made, error=error, roles=keys.ROLES)
    return make_response(shown, 422) if error else shown


@blueprint.post("/api-keys/<uuid:key_id>/revoke")
@access.requires(access.may_hold_keys)
def revoke_key(key_id: UUID) -> Redirect:
    """Revoke a key."""
    who = access.who()
    if not keys.revoke(who.account_id, key_id, actor=who.actor):
        not_found()
    say("keys.revoked")
    return go("api_keys")
