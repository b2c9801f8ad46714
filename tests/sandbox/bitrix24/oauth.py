"""The OAuth server: codes, refreshes and app.info on its own host (bitrix24.md 1.2, 1.3)."""

from __future__ import annotations

from collections.abc import Mapping

from tests.sandbox.bitrix24.cloud import Cloud
from tests.sandbox.bitrix24.errors import RestError
from tests.sandbox.bitrix24.moments import clocked, moment
from tests.sandbox.bitrix24.state import App, Token


def token_answer(cloud: Cloud, fields: Mapping[str, str]) -> dict[str, object]:
    """Answer /oauth/token/. Raises RestError with the codes of 1.2; an unknown client_id is a 200."""
    grant_type = fields.get("grant_type", "")
    if grant_type not in ("authorization_code", "refresh_token"):
        raise RestError(400, "invalid_request", "The request is malformed: grant_type")
    app = cloud.apps.get(fields.get("client_id", ""))
    if app is None:
        raise RestError(200, "wrong_client", "Wrong client")
    if fields.get("client_secret", "") != app.client_secret:
        raise RestError(400, "invalid_client", "Invalid client secret")
    if grant_type == "authorization_code":
        return cloud.grant(_by_code(cloud, app, fields.get("code", "")))
    return cloud.grant(_by_refresh(cloud, app, fields.get("refresh_token", "")))


def app_info(cloud: Cloud, access: str) -> dict[str, object]:
    """Answer app.info of the OAuth host, which is what proves a first contact (bitrix24.md 1.3)."""
    token = find_token(cloud, access)
    install, portal = cloud.install_of(token), cloud.portals[token.member_id]
    if install is None:
        raise RestError(401, "NOT_INSTALLED", "Application not installed")
    return {
        "result": {
            "client_id": token.client_id,
            "scope": ",".join(token.scopes),
            "expires": moment(token.expires_at),
            "user_id": token.user_id,
            "install": {
                "installed": install.installed,
                "version": install.app.version,
                "status": install.app.status,
                "scope": ",".join(install.app.scopes),
                "domain": portal.domain,
                "uri": portal.base,
                "client_endpoint": portal.endpoint,
                "member_id": portal.member_id,
                "member_type": "b24",
            },
        },
        "time": clocked(cloud.peer.now(), 0.0),
    }


def find_token(cloud: Cloud, access: str) -> Token:
    """Find a living access token. Raises RestError 401 otherwise."""
    token = cloud.access.get(access)
    if token is None:
        raise RestError(401, "NO_AUTH_FOUND", "Wrong authorization data")
    if cloud.install_of(token) is None:
        raise RestError(401, "ERROR_OAUTH", "Application not installed")
    if token.expires_at <= cloud.peer.now():
        raise RestError(401, "expired_token", "The access token provided has expired.")
    return token


def _by_code(cloud: Cloud, app: App, text: str) -> Token:
    code = cloud.codes.pop(text, None)
    if code is None or code.client_id != app.client_id or code.expires_at <= cloud.peer.now():
        raise RestError(400, "invalid_grant", "The code is expired or used")
    portal = cloud.portals[code.member_id]
    if app.client_id not in portal.installs:
        raise RestError(401, "NOT_INSTALLED", "Application not installed")
    return cloud.issue(app, portal, code.user_id)


def _by_refresh(cloud: Cloud, app: App, text: str) -> Token:
    if not text:
        raise RestError(400, "invalid_request", "The request is malformed: refresh_token")
    old = cloud.refresh.get(text)
    if old is None or old.client_id != app.client_id or old.refresh_expires_at <= cloud.peer.now():
        raise RestError(400, "invalid_grant", "The refresh token is invalid or expired")
    portal = cloud.portals[old.member_id]
    if cloud.install_of(old) is None:
        raise RestError(401, "NOT_INSTALLED", "Application not installed")
    if old.refresh_used and portal.options.strict_refresh:
        raise RestError(400, "invalid_grant", "The refresh token is invalid or expired")
    if portal.options.refuse == "PAYMENT_REQUIRED":
        raise RestError(401, "PAYMENT_REQUIRED", "Payment required")
    old.refresh_used = True
    return cloud.issue(app, portal, old.user_id)
