"""Signatures of the chats API: of requests to it, and of its hooks (amocrm.md 2.2, 4.1)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from tests.sandbox.amocrm.problems import bad_data, bad_signature

WINDOW_S = 15 * 60
CONTENT_TYPE = "application/json"


def md5(body: bytes) -> str:
    """Content-MD5: hex, lower case."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def request_signature(secret: str, method: str, headers: Mapping[str, str], path: str) -> str:
    """Sign METHOD, Content-MD5, Content-Type, Date and the path without query; the key is the secret as text."""
    names = ("Content-MD5", "Content-Type", "Date")
    text = "\n".join([method.upper(), *(headers.get(name, "") for name in names), path])
    return hmac.new(secret.encode("ascii"), text.encode(), hashlib.sha1).hexdigest()


def hook_signature(secret: str, body: bytes) -> str:
    """Sign a hook: only the raw body."""
    return hmac.new(secret.encode("ascii"), body, hashlib.sha1).hexdigest()


def check(secret: str, method: str, headers: Mapping[str, str], path: str, body: bytes, now: float) -> None:
    """Check all four headers. Raises ChatsRefusal 403, and 400 for another content type."""
    for name in ("Date", "Content-Type", "Content-MD5", "X-Signature"):
        if not headers.get(name):
            raise bad_signature(f"header {name} is absent")
    if headers["Content-MD5"] != md5(body):
        raise bad_signature("invalid Content-MD5")
    expected = request_signature(secret, method, headers, path)
    if not hmac.compare_digest(expected.encode(), headers["X-Signature"].encode()):
        raise bad_signature("invalid signature")
    try:
        sent_at = parsedate_to_datetime(headers["Date"]).timestamp()
    except ValueError as trouble:
        raise bad_signature("invalid Date") from trouble
    if abs(now - sent_at) > WINDOW_S:
        raise bad_signature("signature is expired")
    if headers["Content-Type"] != CONTENT_TYPE:
        raise bad_data("only application/json is supported")
