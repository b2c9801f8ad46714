"""One-time tokens that amoCRM's pages and bots bring, and the addresses such pages have (amocrm.md 1.8).

A token proves a person and his account, never his right to the card that came beside it. Each carrier has one algorithm; what
a token itself says about its algorithm is compared with it and otherwise not believed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from urllib.parse import urlsplit

from widget_backend import crypto
from widget_backend.bridge.ends import End
from widget_backend.bridge.errors import Misconfigured, NotGenuine
from widget_backend.crms.amocrm.client import Account
from widget_backend.limits import Priority
from widget_backend.platforms import amocrm
from widget_backend.reading import Malformed, Reader, read_json

HEADER = "X-Auth-Token"
LEEWAY = timedelta(seconds=60)
_MAX_TOKEN = 8192
_PART = re.compile(r"[A-Za-z0-9_-]+")
_LANGUAGES = {"ru": "ru", "en": "en", "es": "es"}


class Carrier(Enum):
    """What brought a token: its algorithm. Source: amocrm.md 1.8 (the official SDK: HS256 for widgets, HS512 for bots)."""

    WIDGET = "HS256"
    BOT = "HS512"


_DIGESTS = {Carrier.WIDGET: hashlib.sha256, Carrier.BOT: hashlib.sha512}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who asks, as a proved token says. `is_admin` is None where the token does not say; `user_id` is empty in tokens of bots."""

    remote_id: str
    domain: str
    user_id: str
    is_admin: bool | None
    token_id: str
    expires_at: datetime


def client_of(token: str) -> str:
    """Read whose token it claims to be, to find the keys to prove it with. Raises: NotGenuine. Source: amocrm.md 1.8 (`client_uuid`)."""
    try:
        return _claims(token)["client_uuid"].remote_id()
    except Malformed as error:
        raise NotGenuine("malformed") from error


def read_token(
    token: str, *, client_id: str, secret: str, audience: str, now: datetime, carrier: Carrier = Carrier.WIDGET
) -> Visitor:
    """Prove a one-time token of one carrier and say who asks.

    Shape: `audience` is any address of ours of the kind the token was made for: only its scheme and host count.
    Raises: NotGenuine: `why` says which check failed.
    Source: amocrm.md 1.8.
    """
    claims = _proved(token, secret, carrier)
    try:
        if not crypto.same(claims["client_uuid"].remote_id(), client_id):
            raise NotGenuine("wrong_client")
        if not crypto.same(claims["aud"].text().rstrip("/"), _origin(audience)):
            raise NotGenuine("wrong_audience")
        until = _in_time(claims, now)
        return Visitor(
            remote_id=claims["account_id"].remote_id(),
            domain=_issuer(claims),
            user_id=claims["user_id"].remote_id_or("") if carrier is Carrier.BOT else claims["user_id"].remote_id(),
            is_admin=claims["is_admin"].flag() if claims["is_admin"].is_there else None,
            token_id=claims["jti"].remote_id(),
            expires_at=until,
        )
    except Malformed as error:
        raise NotGenuine("malformed") from error


def is_administrator(end: End, user_id: str) -> bool:
    """Ask the account whether a user is an administrator, for tokens that do not say so. Raises: EndError. Source: amocrm.md 1.8, 3.2."""
    if not user_id.isdecimal():
        return False
    user = Account.of(end).get(f"users/{user_id}", priority=Priority.PERSON)
    return user["rights"]["is_admin"].flag_or(False)


def may_ask_from(origin: str, server: Callable[[str], object]) -> bool:
    """Tell whether a page of this origin is one of an account: only those may call us from a browser, and frame our pages.

    Source: amocrm.md 1.8 "CORS".
    """
    place = str(server("account_url"))
    if "{host}" not in urlsplit(place).netloc:
        return origin == _origin(place)  # a simulated amoCRM: the hosts of accounts stand in its paths
    host = amocrm.api_host(urlsplit(origin).netloc)
    return bool(host) and origin == _origin(amocrm.site(host, server))


def language(told: str) -> str:
    """Return the language of our pages for one of the CRM's (`APP.lang_id`). Source: amocrm.md 7.4."""
    return _LANGUAGES.get(told.lower(), "en")


def _proved(token: str, secret: str, carrier: Carrier) -> Reader:
    """Check the signature in constant time, before anything inside is believed."""
    signed, _, signature = token.rpartition(".")
    head, _, body = signed.partition(".")
    wanted = hmac.new(secret.encode(), signed.encode("utf-8", "replace"), _DIGESTS[carrier]).digest()
    if not secret or not crypto.same(_bytes(signature), wanted):
        raise NotGenuine("wrong_signature")
    try:
        if read_json(_bytes(head))["alg"].text() != carrier.value:
            raise NotGenuine("wrong_algorithm")
    except Malformed as error:
        raise NotGenuine("malformed") from error
    return _claims(f"{head}.{body}.{signature}")


def _claims(token: str) -> Reader:
    parts = token.split(".")
    if len(token) > _MAX_TOKEN or len(parts) != 3:
        raise NotGenuine("malformed")
    try:
        return read_json(_bytes(parts[1]))
    except Malformed as error:
        raise NotGenuine("malformed") from error


def _bytes(part: str) -> bytes:
    if not _PART.fullmatch(part):
        raise NotGenuine("malformed")
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise NotGenuine("malformed") from error


def _in_time(claims: Reader, now: datetime) -> datetime:
    until = _moment(claims["exp"])
    if until + LEEWAY <= now:
        raise NotGenuine("expired")
    if _moment(claims["nbf"]) - LEEWAY > now or _moment(claims["iat"]) - LEEWAY > now:
        raise NotGenuine("too_early")
    return until


def _moment(claim: Reader) -> datetime:
    try:
        return datetime.fromtimestamp(claim.integer(), UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise NotGenuine("malformed") from error


def _issuer(claims: Reader) -> str:
    """Return the account's host, if it is one of amoCRM's and the one the token names beside it."""
    told = claims["iss"].text()
    try:
        host = amocrm.account_host(told.removeprefix("https://").rstrip("/"))
    except Misconfigured as error:
        raise NotGenuine("wrong_issuer") from error
    if not told.startswith("https://") or claims["subdomain"].text_or("") not in ("", host.partition(".")[0]):
        raise NotGenuine("wrong_issuer")
    return host


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
