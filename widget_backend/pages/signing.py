"""Signing in and out, the account one works in, the language."""

from __future__ import annotations

from uuid import UUID

from flask import Response, make_response, redirect, request
from werkzeug.wrappers import Response as Redirect

from widget_backend.accounts import access, sessions
from widget_backend.pages.shell import blueprint, go, not_found, own_path, page, say, t
from widget_backend.problems import TooMany
from widget_backend.texts import LANGUAGES


@blueprint.route("/sign-in", methods=["GET", "POST"])
@access.is_open
def sign_in() -> str | Response | Redirect:
    """Ask for e-mail and password; go where the person wanted to."""
    wanted = own_path(request.values.get("next", ""))
    if request.method == "GET":
        return redirect(wanted) if sessions.current() else page("sign_in.html", wanted=wanted, email="", error="")
    email = request.form.get("email", "")
    try:
        if sessions.sign_in(email, request.form.get("password", "")):
            return redirect(wanted, 303)
        answer = make_response(page("sign_in.html", wanted=wanted, email=email, error=t("sign.wrong")), 422)
    except TooMany as error:
        answer = make_response(page("sign_in.html", wanted=wanted, email=email, error=t("sign.too_many")), 429)
        if error.retry_after:
            answer.headers["Retry-After"] = str(int(error.retry_after.total_seconds()) + 1)
    return answer


@blueprint.post("/sign-out")
@access.requires(access.may_leave)
def sign_out() -> Redirect:
    """End this session, or all of this person's."""
    if request.form.get("everywhere"):
        sessions.sign_out_everywhere(access.who())
    else:
        sessions.sign_out()
    return go("sign_in")


@blueprint.post("/account")
@access.requires(access.may_leave)
def switch_account() -> Redirect:
    """Work in another account."""
    try:
        account_id = UUID(request.form.get("account", ""))
    except ValueError:
        not_found()
        raise
    if not sessions.switch_account(access.who(), account_id):
        not_found()
    return go("home")


@blueprint.post("/language")
@access.requires(access.may_leave)
def choose_language() -> Redirect:
    """Remember the language."""
    chosen = request.form.get("language", "")
    if chosen not in LANGUAGES:
        say("form.wrong", is_error=True)
    else:
        sessions.speak(access.who(), chosen)
    return redirect(own_path(request.form.get("next", "")), 303)
