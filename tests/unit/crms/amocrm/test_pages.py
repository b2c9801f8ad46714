"""One-time tokens of amoCRM: only the right algorithm of the right carrier, of the right integration, in time."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.amocrm import jwt
from widget_backend.bridge.errors import NotGenuine
from widget_backend.crms.amocrm import pages
from widget_backend.crms.amocrm.pages import Carrier, Visitor

SECRET = "demo-client-secret"
CLIENT = "cccccccc-1111-4222-8333-dddddddddddd"
NOW = datetime.fromtimestamp(1767607200, UTC)
CLAIMS: dict[str, Any] = {
    "iss": "https://acme.amocrm.ru", "aud": "https://plugin.example.com", "jti": "6f0d0f4e-0d5b-4d2e-8f6e-2b8a1b9b0c11",
    "iat": 1767607200, "nbf": 1767607200, "exp": 1767609000, "account_id": 30000001, "user_id": 9000001,
    "subdomain": "acme", "is_admin": True, "client_uuid": CLIENT,
}  # fmt: skip
# made once by another implementation from the payload of amocrm.md 1.8 (keys in the order above, no spaces)
VECTOR = (
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJodHRwczovL2FjbWUuYW1vY3JtLnJ1IiwiYXVkIjoiaHR0cHM6Ly9wbHVnaW4uZ"
    "XhhbXBsZS5jb20iLCJqdGkiOiI2ZjBkMGY0ZS0wZDViLTRkMmUtOGY2ZS0yYjhhMWI5YjBjMTEiLCJpYXQiOjE3Njc2MDcyMDAsIm5iZiI6MTc"
    "2NzYwNzIwMCwiZXhwIjoxNzY3NjA5MDAwLCJhY2NvdW50X2lkIjozMDAwMDAwMSwidXNlcl9pZCI6OTAwMDAwMSwic3ViZG9tYWluIjoiYWNtZ"
    "SIsImlzX2FkbWluIjp0cnVlLCJjbGllbnRfdXVpZCI6ImNjY2NjY2NjLTExMTEtNDIyMi04MzMzLWRkZGRkZGRkZGRkZCJ9.RRGR1pb7TJNQRs"
    "N0M9Yqk7qhQpfpgzVlxUCJHJtpijo"
)


def read(token: str, **over: Any) -> Visitor:
    values: dict[str, Any] = {
        "client_id": CLIENT,
        "secret": SECRET,
        "audience": "https://plugin.example.com/oauth/install/key",
        "now": NOW,
    }
    return pages.read_token(token, **{**values, **over})


def made(algorithm: str = "HS256", key: str = SECRET, **over: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **over}.items() if value is not None}
    return jwt.encode(claims, key, algorithm)


def test_documented_token_says_who_asks() -> None:
    assert read(VECTOR) == Visitor(
        remote_id="30000001",
        domain="acme.amocrm.ru",
        user_id="9000001",
        is_admin=True,
        token_id="6f0d0f4e-0d5b-4d2e-8f6e-2b8a1b9b0c11",
        expires_at=NOW + timedelta(minutes=30),
    )
    assert pages.client_of(VECTOR) == CLIENT


def test_token_without_the_undocumented_claim_leaves_the_role_open() -> None:
    assert read(made(is_admin=None)).is_admin is None


def test_token_of_a_bot_is_proved_by_its_own_algorithm_only() -> None:
    token = made("HS512", user_id=None)
    assert read(token, carrier=Carrier.BOT).user_id == ""
    for wrong in (made("HS256"), made("none")):
        with pytest.raises(NotGenuine):
            read(wrong, carrier=Carrier.BOT)
    with pytest.raises(NotGenuine) as refused:
        read(token)
    assert refused.value.why == "wrong_signature"


def test_algorithm_in_the_head_must_be_the_carriers_even_under_a_right_signature() -> None:
    def packed(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    signed = f"{packed(json.dumps({'alg': 'HS512'}).encode())}.{packed(json.dumps(CLAIMS).encode())}"
    token = f"{signed}.{packed(hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest())}"
    with pytest.raises(NotGenuine) as refused:
        read(token)
    assert refused.value.why == "wrong_algorithm"


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (made(key="another secret"), "wrong_signature"),
        (made(key=""), "wrong_signature"),
        (made("none"), "malformed"),
        (made(aud="https://evil.example"), "wrong_audience"),
        (made(aud="https://plugin.example.com.evil.example"), "wrong_audience"),
        (made(aud=["https://plugin.example.com"]), "malformed"),
        (made(client_uuid="another"), "wrong_client"),
        (made(iss="https://acme.evil.example"), "wrong_issuer"),
        (made(iss="http://acme.amocrm.ru"), "wrong_issuer"),
        (made(iss="https://acme.amocrm.ru.evil.example"), "wrong_issuer"),
        (made(iss="https://www.amocrm.ru"), "wrong_issuer"),
        (made(iss="https://other.amocrm.ru"), "wrong_issuer"),
        (made(exp=1767607200 - 61), "expired"),
        (made(exp=None), "malformed"),
        (made(exp=10**30), "malformed"),
        (made(nbf=1767607200 + 61), "too_early"),
        (made(iat=1767607200 + 61), "too_early"),
        (made(jti=None), "malformed"),
        (made(account_id=None), "malformed"),
        (made(user_id=None), "malformed"),
        ("", "malformed"),
        ("a.b", "malformed"),
        (VECTOR + "=", "malformed"),
        (VECTOR[:-2] + "AA", "wrong_signature"),
        ("x" * 9000, "wrong_signature"),
    ],
)
def test_bad_token_is_refused_and_says_why(token: str, why: str) -> None:
    with pytest.raises(NotGenuine) as refused:
        read(token)
    assert refused.value.why == why


def test_clocks_may_differ_by_a_minute() -> None:
    assert read(made(nbf=1767607200 + 59, iat=1767607200 + 59)).user_id == "9000001"
    assert read(made(exp=1767607200 - 59)).user_id == "9000001"


def test_no_secret_opens_nothing() -> None:
    with pytest.raises(NotGenuine):
        read(made(key=""), secret="")


@given(st.text(max_size=60), st.integers(min_value=0, max_value=len(VECTOR) - 1))
def test_anything_else_is_refused_and_never_an_error(text: str, at: int) -> None:
    for token in (text, f"{text}.{text}.{text}", VECTOR[:at] + text + VECTOR[at:]):
        if token == VECTOR:
            continue
        with pytest.raises(NotGenuine):
            read(token)
    with contextlib.suppress(NotGenuine):
        pages.client_of(text)


@pytest.mark.parametrize(
    ("origin", "place", "may"),
    [
        ("https://acme.amocrm.ru", "", True),
        ("https://acme.kommo.com", "", True),
        ("https://acme.amocrm.com", "", True),
        ("http://acme.amocrm.ru", "", False),
        ("https://acme.amocrm.ru:8443", "", False),
        ("https://acme.amocrm.ru.evil.example", "", False),
        ("https://evilamocrm.ru", "", False),
        ("https://a.b.amocrm.ru", "", False),
        ("https://www.amocrm.ru", "", False),
        ("null", "", False),
        ("", "", False),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/{host}", True),
        ("http://127.0.0.1:9001", "http://127.0.0.1:9000/{host}", False),
        ("https://acme.amocrm.ru", "http://127.0.0.1:9000/{host}", False),
    ],
)
def test_only_pages_of_accounts_may_ask(origin: str, place: str, may: bool) -> None:
    assert pages.may_ask_from(origin, lambda name: place or "https://{host}") is may
