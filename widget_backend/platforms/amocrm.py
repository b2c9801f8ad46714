"""The hosts of amoCRM and Kommo: which may be spoken with at all, and where each answers. No other host ever receives a secret."""

from __future__ import annotations

import re
from collections.abc import Callable

from widget_backend.bridge.errors import Misconfigured

AMOCRM, KOMMO = "amocrm", "kommo"
CONSENT_HOSTS = {AMOCRM: "www.amocrm.ru", KOMMO: "www.kommo.com"}
DOMAINS = ("amocrm.ru", "amocrm.com", "kommo.com")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NOT_ACCOUNTS = frozenset({"www", "amojo", "developers", "forum"})

Server = Callable[[str], object]


def account_host(told: str) -> str:
    """Return the host of an account if it is one: a single name under a known domain, without scheme, port or path.

    Raises: Misconfigured.
    Source: amocrm.md 1.6, 10.1 (`referer` is whatever the caller wrote).
    """
    host = told.strip().lower()
    name, _, domain = host.partition(".")
    if domain in DOMAINS and _LABEL.fullmatch(name) and name not in _NOT_ACCOUNTS:
        return host
    raise Misconfigured("amocrm_host_unknown")


def api_host(told: str) -> str:
    """Return the host of a shard, as a token names it (`api_domain`); empty when it is none. Source: amocrm.md 1.4, 1.6."""
    try:
        return account_host(told)
    except Misconfigured:
        return ""


def chats_host(host: str) -> str:
    """Return the chats host of an account: that of its domain. Source: amocrm.md 1.6."""
    return f"amojo.{host.partition('.')[2]}"


def site(host: str, server: Server, setting: str = "account_url") -> str:
    """Return where a host answers: itself, or what the server's owner put in its place (a simulated amoCRM). `setting`: account_url or chats_url.

    Source: amocrm.md 1.6 (https only).
    """
    return str(server(setting)).replace("{host}", host).rstrip("/")


def consent_url(platform: str, server: Server) -> str:
    """Return the page where an administrator grants access. Raises: Misconfigured: not a platform. Source: amocrm.md 1.2."""
    if platform not in CONSENT_HOSTS:
        raise Misconfigured("amocrm_host_unknown")
    return str(server("consent_url")).replace("{host}", CONSENT_HOSTS[platform])
