"""JWT as amoCRM makes them: access tokens, one-time tokens of widgets (HS256) and of bots (HS512) (1.4, 1.8)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

Json = dict[str, Any]
ALGORITHMS = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}


def encode(claims: Json, key: str, algorithm: str = "HS256") -> str:
    """Sign claims."""
    head = {"typ": "JWT", "alg": algorithm}
    parts = [_packed(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims)]
    signed = ".".join(parts)
    if algorithm == "none":
        return f"{signed}."
    return f"{signed}.{_packed(hmac.new(key.encode(), signed.encode(), ALGORITHMS[algorithm]).digest())}"


def _packed(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
