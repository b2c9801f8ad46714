"""The OAuth servers of Bitrix24: exactly the ones this server's settings name, for every call that carries a secret (bitrix24.md 1.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

from oauth.grants import Bearer, Grant, Keys
from widget_backend import clock, outside
from widget_backend.bridge import runtime
from widget_backend.bridge.errors import AccessLost, EndError, Misconfigured, NotGenuine, Retry, Unsafe
from widget_backend.crypto import Secret
from widget_backend.reading import Malformed, Reader

_DEADLINE = timedelta(seconds=20)
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?(?::\d{1,5})?", re.IGNORECASE)

# bitrix24.md 1.2 "OAuth errors"; the HTTP status differs between docs and SDK, so the code alone counts.
_ERRORS: Mapping[str, tuple[type[EndError], str]] = {
    "invalid_request": (Misconfigured, "bitrix24_keys_wrong"),
    "wrong_client": (Misconfigured, "bitrix24_keys_wrong"),
    "invalid_client": (Misconfigured, "bitrix24_keys_wrong"),
    "invalid_grant": (AccessLost, "token_revoked"),
    "insufficient_scope": (Misconfigured, "bitrix24_scope"),
    "invalid_scope": (Misconfigured, "bitrix24_scope"),
    "not_installed": (AccessLost, "bitrix24_uninstalled"),
    "error_oauth": (AccessLost, "bitrix24_uninstalled"),
    "no_auth_found": (AccessLost, "token_revoked"),
    "expired_token": (AccessLost, "token_revoked"),
    "payment_required": (AccessLost, "bitrix24_payment"),
}


def refresh(keys: Keys, endpoint: str, refresh_token: Secret) -> Grant:
    """Fetch the next pair; the provider counts refreshes, so this is called for an expired token only.

    Raises: AccessLost, Misconfigured, Retry.
    Source: bitrix24.md 1.2 "Refresh".
    """
    return _token(endpoint, keys, {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()})


def exchange(keys: Keys, endpoint: str, code: str) -> Grant:
    """Turn a code, which lives 30 s, into a pair.

    Raises: AccessLost, Misconfigured, Retry.
    Source: bitrix24.md 1.2 C.
    """
    return _token(endpoint, keys, {"grant_type": "authorization_code", "code": code})


def prove(endpoint: str, access: Secret) -> Bearer:
    """Ask the OAuth server whose an access token is: the proof at a first contact. Older portals do not say which server; then it is the usual one.

    Raises: NotGenuine: the server does not know the token; Misconfigured: a foreign host; Retry.
    Source: bitrix24.md 1.3 "Trust".
    """
    server = server_of(endpoint) if endpoint else servers()[0]
    body = _get(f"{server}/rest/app.info/", {"auth": access.reveal()})
    try:
        if "error" in body:
            raise NotGenuine("unknown_token")
        result = body["result"]
        install = result["install"]
        return Bearer(
            client_id=result["client_id"].text(),
            remote_id=install["member_id"].text(),
            user_id=result["user_id"].remote_id_or(""),
            facts={
                "domain": install["domain"].text_or(""),
                "client_endpoint": install["client_endpoint"].text(),
                "server_endpoint": f"{server}/rest/",
            },
        )
    except Malformed as error:
        raise NotGenuine("unknown_token") from error


def authorize_url(keys: Keys, address: str, state: str) -> str:
    """Return the page of a portal that grants access and comes back with a code. The redirect address is the one in the app's card.

    Raises: Misconfigured: not the address of a portal.
    Source: bitrix24.md 1.2 C.
    """
    parts = urlsplit(address if "//" in address else f"https://{address}")
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(parts.netloc):
        raise Misconfigured("bitrix24_domain_wrong")
    return (
        f"{parts.scheme}://{parts.netloc}/oauth/authorize/?{urlencode({'client_id': keys.client_id, 'state': state})}"
    )


def server_of(endpoint: str) -> str:
    """Return the OAuth server that an endpoint belongs to, if it is one of ours to use; no other ever sees a secret.

    Shape: a bare host, as in `server_domain`, is read as https.
    Raises: Misconfigured.
    Source: bitrix24.md 1.2 "OAuth host".
    """
    parts = urlsplit(endpoint if "//" in endpoint else f"https://{endpoint}")
    for known in servers():
        if (parts.scheme, parts.netloc.lower()) == (urlsplit(known).scheme, urlsplit(known).netloc.lower()):
            return known
    raise Misconfigured("bitrix24_oauth_host")


def servers() -> list[str]:
    """Return the OAuth servers of the settings, the usual one first. Source: bitrix24.md 1.2."""
    return [url.rstrip("/") for url in runtime.get().config.server("bitrix24", "oauth_urls")]


def _token(endpoint: str, keys: Keys, grant: Mapping[str, str]) -> Grant:
    server = server_of(endpoint) if endpoint else servers()[0]
    params = {**grant, "client_id": keys.client_id, "client_secret": keys.client_secret.reveal()}
    body = _get(f"{server}/oauth/token/", params)
    try:
        if "error" in body:
            kind, reason = _ERRORS.get(body["error"].text().lower(), (Retry, "unknown_answer"))
            raise kind(reason, body["error"].text()[:80])
        return Grant(
            access=Secret(body["access_token"].text()),
            refresh=Secret(body["refresh_token"].text()),
            expires_at=clock.now() + timedelta(seconds=body["expires_in"].integer_or(3600)),
            endpoint=_known_or(body["server_endpoint"].text_or(""), server),
            remote_id=body["member_id"].text_or(""),
            facts=_facts(body),
        )
    except Malformed as error:
        raise Retry("unknown_answer", str(error)) from error


def _facts(body: Reader) -> dict[str, str]:
    facts = {
        "client_endpoint": body["client_endpoint"].text_or(""),
        "user_id": body["user_id"].remote_id_or(""),
        "domain": urlsplit(body["client_endpoint"].text_or("")).netloc,
    }
    return {name: value for name, value in facts.items() if value}


def _known_or(endpoint: str, server: str) -> str:
    """Take the server the answer names only if it is one of ours."""
    try:
        return server_of(endpoint) if endpoint else server
    except Misconfigured:
        return server


def _get(url: str, params: Mapping[str, str]) -> Reader:
    """Call an OAuth server. A call without an answer is repeated by whoever needs the token: nothing else can be done about it."""
    try:
        answer = outside.session("bitrix24_oauth").request(
            "GET", url, params=params, headers={"Accept": "application/json"}, deadline=_DEADLINE
        )
    except (outside.NotSent, outside.MaybeSent) as error:
        raise Retry("oauth_unreachable", error.reason) from error
    except Unsafe as error:
        raise Misconfigured("unsafe_address", error.reason) from error
    try:
        body = answer.json()
        if answer.status >= 500 or not ("error" in body or answer.ok):
            raise Retry("oauth_unreachable", f"HTTP {answer.status}")
        return body
    except Malformed as error:
        raise Retry("oauth_unreachable", f"HTTP {answer.status} without JSON") from error
