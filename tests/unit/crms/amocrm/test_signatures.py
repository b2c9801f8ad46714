"""The brief's own test vectors, who may be given a secret, and what refusals of tokens mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from oauth import amocrm as provider
from oauth.grants import Keys
from widget_backend.bridge.errors import AccessLost, EndError, Misconfigured, Retry
from widget_backend.crms.amocrm import hooks
from widget_backend.crms.amocrm.client_chats import signed
from widget_backend.crypto import Secret
from widget_backend.outside import Answer
from widget_backend.platforms import amocrm

SECRET = "0123456789abcdef0123456789abcdef01234567"
AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
CHANNEL = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
ACCOUNT = "11111111-2222-4333-8444-555555555555"
UUID = "cccccccc-1111-4222-8333-dddddddddddd"
KEYS = Keys(client_id=UUID, client_secret=Secret("demo-client-secret"))
FAREWELL = "64572ab073a6c1e5842b295bd4995e9248fdd117848e644d10b82da9bcc34148"


def test_request_with_a_body_is_signed_as_in_the_brief() -> None:
    body = f'{{"account_id":"{ACCOUNT}","title":"Demo","hook_api_version":"v2"}}'.encode()

    headers = signed(SECRET, "post", f"/v2/origin/custom/{CHANNEL}/connect", body, AT)

    assert headers["Date"] == "Mon, 05 Jan 2026 10:00:00 +0000"
    assert headers["Content-MD5"] == "85cd495da04fe71d750550a545dfe251"
    assert headers["X-Signature"] == "2d06f2f547695463161d6cc6eb51ecd313adf7e9"


def test_request_without_a_body_is_signed_without_its_query() -> None:
    path = f"/v2/origin/custom/{CHANNEL}_{ACCOUNT}/chats/99999999-0000-4000-8000-000000000001/history"

    headers = signed(SECRET, "GET", path, b"", AT)

    assert headers["Content-MD5"] == "d41d8cd98f00b204e9800998ecf8427e"
    assert headers["X-Signature"] == "443fcf2d806863a615f552724131c3be1606ec3e"


def test_hook_is_signed_over_its_body_alone() -> None:
    body = f'{{"account_id":"{ACCOUNT}","time":1767607200}}'.encode()

    assert hooks.signature(SECRET, body) == "0e0a6c55a2afa7311e7d08404237f859b2bd54fb"


def test_farewell_is_believed_with_its_signature_only() -> None:
    assert provider.is_farewell(KEYS, UUID, "30000001", FAREWELL)
    assert not provider.is_farewell(KEYS, UUID, "30000002", FAREWELL)
    assert not provider.is_farewell(KEYS, "another", "30000001", FAREWELL)
    assert not provider.is_farewell(KEYS, UUID, "30000001", "")


@pytest.mark.parametrize("host", ["acme.amocrm.ru", "acme.amocrm.com", "ACME.kommo.com", "api-a.amocrm.ru"])
def test_hosts_of_accounts_are_known(host: str) -> None:
    assert amocrm.account_host(host) == host.lower()


@pytest.mark.parametrize(
    "host",
    [
        "",
        "amocrm.ru",
        "www.amocrm.ru",
        "amojo.amocrm.ru",
        "a.b.amocrm.ru",
        "acme.amocrm.ru.evil.example",
        "acme.amocrm.ru:8443",
        "acme.amocrm.ru/x",
        "acme.amocrm.ru@evil.example",
        "evil.example#.amocrm.ru",
        "evilamocrm.ru",
        "acme.evil-amocrm.ru",
        "https://acme.amocrm.ru",
        "127.0.0.1",
        "-acme.amocrm.ru",
        "acme.amocrm.ru.",
    ],
)
def test_no_other_host_is_ever_called_an_account(host: str) -> None:
    with pytest.raises(Misconfigured):
        amocrm.account_host(host)


def test_shard_named_by_a_token_is_checked_like_any_host() -> None:
    assert amocrm.api_host("api-b.amocrm.ru") == "api-b.amocrm.ru"
    assert not amocrm.api_host("api-b.amocrm.ru.evil.example")


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (401, {"hint": "Token has been revoked"}, AccessLost, "token_revoked"),
        (401, {"hint": "Token has expired"}, AccessLost, "amocrm_idle"),
        (401, {"hint": "Client authentication failed"}, Misconfigured, "amocrm_keys_wrong"),
        (400, {"hint": "Check the `redirect_uri` parameter"}, Misconfigured, "amocrm_keys_wrong"),
        (400, {"hint": "Authorization code has expired"}, AccessLost, "amocrm_code_spent"),
        (402, {"title": "Payment Required"}, AccessLost, "amocrm_unpaid"),
        (403, None, AccessLost, "amocrm_refused_address"),
        (500, {}, Retry, "oauth_unreachable"),
        (429, {}, Retry, "oauth_unreachable"),
    ],
)
def test_refusal_of_the_token_endpoint_has_its_own_cure(
    status: int, body: dict[str, str] | None, kind: type[EndError], reason: str
) -> None:
    raw = b"<html>" if body is None else json.dumps(body).encode()

    error = provider._refusal(Answer(status, {}, raw, 1))

    assert isinstance(error, kind) and error.reason == reason
