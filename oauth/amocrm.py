"""Tokens of amoCRM and Kommo: per account host, one-time refresh tokens, accounts that are renamed (amocrm.md 1.2 to 1.7).

A pair's `endpoint` is `<account host> <shard host>`: the first gives tokens, the second knows the account's new name after it was renamed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlencode

from oauth.grants import Bearer, Grant, Keys
from widget_backend import clock, crypto, outside
from widget_backend.bridge import runtime
from widget_backend.bridge.errors import AccessLost, EndError, Misconfigured, NotGenuine, Retry, Unsafe
from widget_backend.crypto import Secret
from widget_backend.platforms import amocrm
from widget_backend.reading import Malformed, Reader, read_json

REFRESH_EVERY = timedelta(days=7)
"""An idle refresh token dies after three months (1.4)."""

_DEADLINE = timedelta(seconds=20)
_READ = timedelta(seconds=15)

# amocrm.md 1.4: the texts stand in the SDK's tracker; what is not here is judged by its status alone
_HINTS: Mapping[str, tuple[type[EndError], str]] = {
    "client authentication failed": (Misconfigured, "amocrm_keys_wrong"),
    "token has been revoked": (AccessLost, "token_revoked"),
    "token has expired": (AccessLost, "amocrm_idle"),
    "cannot decrypt the refresh token": (AccessLost, "token_revoked"),
    "authorization code has expired": (AccessLost, "amocrm_code_spent"),
    "authorization code has been revoked": (AccessLost, "amocrm_code_spent"),
    "cannot decrypt the authorization code": (AccessLost, "amocrm_code_spent"),
    "integration is disabled": (AccessLost, "amocrm_disabled"),
}


class _NotHere(Exception):
    """The account does not live at this host (any more)."""


def refresh(keys: Keys, endpoint: str, refresh_token: Secret) -> Grant:
    """Fetch the next pair, following the account to its new name if it was renamed.

    Raises: AccessLost, Misconfigured, Retry.
    Source: amocrm.md 1.4, 1.6.
    """
    host, shard = _places(endpoint)
    grant = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
    try:
        return _token(keys, host, shard, grant)
    except _NotHere as gone:
        renamed = _present_host(shard, refresh_token) if shard else ""
        if not renamed or renamed == host:
            raise AccessLost("token_revoked", "the account does not answer") from gone
    try:
        return _token(keys, renamed, shard, grant)
    except _NotHere as gone:
        raise Retry("oauth_unreachable", "renamed") from gone


def exchange(keys: Keys, endpoint: str, code: str) -> Grant:
    """Turn a code, which lives 20 minutes, into the first pair. `endpoint` is the host that came beside it (`referer`).

    Raises: AccessLost, Misconfigured: also a host that is none of amoCRM's; Retry.
    Source: amocrm.md 1.3, 1.4.
    """
    host = amocrm.account_host(endpoint)
    try:
        return _token(keys, host, "", {"grant_type": "authorization_code", "code": code})
    except _NotHere as gone:
        raise AccessLost("amocrm_code_spent", "the account does not answer") from gone


def prove(endpoint: str, access: Secret) -> Bearer:
    """Ask the account whose a token is, and whether he is an administrator: only they may list users.

    Raises: NotGenuine: the account does not know the token; AccessLost, Misconfigured, Retry.
    Source: amocrm.md 3.2 (`current_user_id`, users are for administrators).
    """
    host, shard = _places(endpoint)
    account = _rest(host, "account?with=amojo_id", access)
    if account is None:
        raise NotGenuine("unknown_token")
    try:
        user_id = account["current_user_id"].remote_id()
        user = _rest(host, f"users/{user_id}", access)
        is_admin = user is not None and user["rights"]["is_admin"].flag_or(False)
        return Bearer(
            client_id=claim(access, "aud"),
            remote_id=account["id"].remote_id(),
            user_id=user_id,
            facts={
                "domain": host,
                "amojo_id": account["amojo_id"].text_or(""),
                "server_endpoint": f"{host} {shard}",
            },
            is_admin=is_admin,
        )
    except Malformed as error:
        raise Retry("unknown_answer", str(error)) from error


def authorize_url(keys: Keys, address: str, state: str) -> str:
    """Return the consent page of a platform, `amocrm` or `kommo`; the redirect address is the one in the integration's form.

    Raises: Misconfigured: not a platform.
    Source: amocrm.md 1.2.
    """
    query = urlencode({"client_id": keys.client_id, "state": state, "mode": "popup"})
    return f"{amocrm.consent_url(address, _server)}?{query}"


def known_address(address: str) -> str:
    """Return the host of an account, if it is one of amoCRM's: only such are ever given our keys. Raises: Misconfigured. Source: amocrm.md 10.1."""
    return amocrm.account_host(address)


def is_farewell(keys: Keys, client_id: str, remote_id: str, signature: str) -> bool:
    """Tell whether amoCRM itself says that an account switched the integration off.

    Source: amocrm.md 1.7.
    """
    said = f"{client_id}|{remote_id}".encode()
    wanted = hmac.new(keys.client_secret.reveal().encode(), said, hashlib.sha256).hexdigest()
    return crypto.same(client_id, keys.client_id) and crypto.same(signature, wanted)


def claim(access: Secret, name: str) -> str:
    """Read a claim of an access token, which nobody but amoCRM can prove; empty where there is none. Source: amocrm.md 1.4."""
    parts = access.reveal().split(".")
    if len(parts) != 3:
        return ""
    try:
        body = read_json(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return body[name].remote_id_or("")
    except (ValueError, Malformed):
        return ""


def _token(keys: Keys, host: str, shard: str, grant: Mapping[str, str]) -> Grant:
    body = {
        **grant,
        "client_id": keys.client_id,
        "client_secret": keys.client_secret.reveal(),
        "redirect_uri": keys.redirect_uri,
    }
    answer = _call("POST", host, "/oauth2/access_token", json=body)
    if not answer.ok:
        raise _refusal(answer)
    try:
        said = answer.json()
        access = Secret(said["access_token"].text())
        shard = amocrm.api_host(claim(access, "api_domain")) or shard
        return Grant(
            access=access,
            refresh=Secret(said["refresh_token"].text()),
            expires_at=clock.now() + timedelta(seconds=said["expires_in"].integer_or(86400)),
            endpoint=f"{host} {shard}",
            remote_id=claim(access, "account_id"),
            facts={"domain": host, "server_endpoint": f"{host} {shard}"},
        )
    except Malformed as error:
        raise Retry("unknown_answer", str(error)) from error


def _refusal(answer: outside.Answer) -> Exception:
    """Say what a refusal means: by its hint, else by its status. Source: amocrm.md 1.4 "Errors of the token endpoint"."""
    try:
        said = answer.json()
        hint = said["hint"].text_or("")
    except Malformed:
        hint = ""
        if answer.status == 403:
            return AccessLost("amocrm_refused_address", "HTTP 403 without JSON")
    kind, reason = _HINTS.get(hint.lower(), (None, ""))
    if kind is not None:
        return kind(reason, hint)
    if hint.lower().startswith("check the"):
        return Misconfigured("amocrm_keys_wrong", hint[:80])
    if answer.status == 402:
        return AccessLost("amocrm_unpaid", "HTTP 402")
    if answer.status in (401, 404):
        return _NotHere()
    if answer.status < 500 and answer.status != 429:
        return AccessLost("token_revoked", f"HTTP {answer.status} {hint[:80]}".strip())
    return Retry("oauth_unreachable", f"HTTP {answer.status}", answer.retry_after)


def _present_host(shard: str, refresh_token: Secret) -> str:
    """Ask the shard what an account is called now; empty when it does not know the token. Source: amocrm.md 1.6."""
    headers = {"X-Refresh-Token": refresh_token.reveal()}
    answer = _call("GET", shard, "/oauth2/account/current/subdomain", headers=headers)
    if answer.status >= 500:
        raise Retry("oauth_unreachable", f"HTTP {answer.status}")
    try:
        return amocrm.api_host(answer.json()["domain"].text_or("")) if answer.ok else ""
    except Malformed:
        return ""


def _rest(host: str, path: str, access: Secret) -> Reader | None:
    """Read something with a token; None when it is refused."""
    answer = _call("GET", host, f"/api/v4/{path}", headers={"Authorization": f"Bearer {access.reveal()}"})
    if answer.status in (401, 403, 404):
        return None
    if answer.status == 402:
        raise AccessLost("amocrm_unpaid", "HTTP 402")
    if not answer.ok:
        raise Retry("oauth_unreachable", f"HTTP {answer.status}", answer.retry_after)
    try:
        return answer.json()
    except Malformed as error:
        raise Retry("unknown_answer", str(error)) from error


def _call(
    method: str, host: str, path: str, *, json: object = None, headers: Mapping[str, str] | None = None
) -> outside.Answer:
    """Call a host of amoCRM. A call without an answer is repeated by whoever needs the token."""
    try:
        return outside.session("amocrm_oauth").request(
            method,
            f"{amocrm.site(host, _server)}{path}",
            json=json,
            headers={"Accept": "application/json", **(headers or {})},
            timeout=_READ,
            deadline=_DEADLINE,
        )
    except outside.NotSent as error:
        if error.reason == "dns_failed":
            raise _NotHere from error
        raise Retry("oauth_unreachable", error.reason) from error
    except outside.MaybeSent as error:
        raise Retry("oauth_unreachable", error.reason) from error
    except Unsafe as error:
        raise Misconfigured("unsafe_address", error.reason) from error


def _places(endpoint: str) -> tuple[str, str]:
    host, _, shard = endpoint.partition(" ")
    return amocrm.account_host(host), amocrm.api_host(shard)


def _server(name: str) -> object:
    return runtime.get().config.server("amocrm", name)
