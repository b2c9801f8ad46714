"""The vendor's own SDK (b24pysdk) works against the Bitrix24 twin; only its scheme and its OAuth address are changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from b24pysdk import BitrixApp, BitrixToken
from b24pysdk.api.callers.call_method import _MethodCaller
from b24pysdk.api.requesters import BitrixOAuthRequester
from b24pysdk.credentials import OAuthPlacementData
from b24pysdk.errors import BitrixAPIError, BitrixAPIErrorOAuth, BitrixResponse302JSONDecodeError
from b24pysdk.errors.oauth import BitrixOAuthInvalidClient, BitrixOAuthInvalidGrant, BitrixOauthWrongClient

from tests.sandbox.run import Running, start

Json = dict[str, Any]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Running]:
    with start(["--only", "bitrix24"]) as running:
        yield running


@pytest.fixture
def twin(sandbox: Running, monkeypatch: pytest.MonkeyPatch) -> Json:
    """Point the SDK at the twin."""
    twin = sandbox.addresses["bitrix24"]
    monkeypatch.setattr(_MethodCaller, "_base_url", property(lambda caller: f"http://{caller._domain}/rest"))
    monkeypatch.setattr(BitrixOAuthRequester, "_OAUTH_TOKEN_URL", f"{twin['oauth_url']}/oauth/token/")
    monkeypatch.setattr(BitrixOAuthRequester, "_APP_INFO_URL", f"{twin['oauth_url']}/rest/app.info/")
    requests.post(f"{twin['base_url']}/_sandbox/reset", json={"all": True}, timeout=5).raise_for_status()
    return dict(twin)


def control(twin: Json, path: str, body: Json) -> Json:
    answer = requests.post(f"{twin['base_url']}/_sandbox/{path}", json=body, timeout=5)
    answer.raise_for_status()
    return dict(answer.json())


def installer_post(twin: Json) -> Json:
    """Install the catalogue application and return query and fields as the SDK's adapters collect them."""
    urls = {"install_url": "http://127.0.0.1:9/install", "handler_url": "http://127.0.0.1:9/app"}
    form = control(twin, "install", {"app": twin["client_id"], **urls})
    control(twin, "install-finish", {"app": twin["client_id"]})
    return {**dict(parse_qsl(urlsplit(form["action"]).query)), **form["fields"]}


def app_of(twin: Json, **over: str) -> BitrixApp:
    return BitrixApp(**({"client_id": twin["client_id"], "client_secret": twin["client_secret"]} | over))


def token_of(twin: Json) -> BitrixToken:
    placement = OAuthPlacementData.from_dict(installer_post(twin))
    return BitrixToken.from_oauth_placement_data(placement, bitrix_app=app_of(twin))


def test_sdk_reads_and_proves_the_installer_post(twin: Json) -> None:
    placement = OAuthPlacementData.from_dict(installer_post(twin))
    info = placement.get_app_info(app_of(twin))
    assert info.client_id == twin["client_id"] and placement.validate_against_app_info(info)


def test_sdk_refreshes_an_expired_token_and_repeats_the_call(twin: Json) -> None:
    token = token_of(twin)
    old = token.auth_token
    requests.post(f"{twin['base_url']}/_sandbox/faults", json={"expire_tokens": True}, timeout=5)
    assert token.call_method("profile")["result"]["ADMIN"] is True
    assert token.auth_token != old


def test_sdk_understands_the_refusals_of_the_oauth_server(twin: Json) -> None:
    token = token_of(twin)
    spent = token.refresh_token
    token.refresh_and_set_oauth_token()
    with pytest.raises(BitrixOAuthInvalidGrant):
        app_of(twin).refresh_oauth_token(spent)
    with pytest.raises(BitrixOauthWrongClient):
        app_of(twin, client_id="app.unknown").refresh_oauth_token(spent)
    with pytest.raises(BitrixOAuthInvalidClient):
        app_of(twin, client_secret="wrong").refresh_oauth_token(spent)


def test_sdk_exchanges_a_code(twin: Json) -> None:
    installer_post(twin)
    code = control(twin, "code", {"app": twin["client_id"]})["code"]
    renewed = app_of(twin).get_oauth_token(code)
    assert renewed.member_id == twin["portal"]["member_id"] and renewed.oauth_token.refresh_token


def test_sdk_registers_a_connector_and_sends_a_message(twin: Json) -> None:
    client = token_of(twin).get_client()
    icon = {"DATA_IMAGE": "data:image/svg+xml,%3Csvg/%3E"}
    handler = "http://127.0.0.1:9/settings"
    place = {"connector": "acme_vk", "line": twin["portal"]["lines"][0]}
    registered = client.imconnector.register(bitrix_id="acme_vk", name="acme", icon=icon, placement_handler=handler)
    assert registered.result["result"] is True
    assert client.imconnector.activate(**place, active=True).result is True
    assert client.imconnector.connector.data.set(**place, data={"ID": "1", "NAME": "acme"}).result is True
    assert client.imconnector.status(**place).result["STATUS"] is True
    message = {"user": {"id": "79"}, "message": {"id": "m1", "text": "Привет"}, "chat": {"id": "79"}}
    sent = client.imconnector.send.messages(**place, messages=[message]).result
    assert sent["DATA"]["RESULT"][0]["session"]["CHAT_ID"]


def test_sdk_runs_batches_and_lists(twin: Json) -> None:
    token = token_of(twin)
    adds = {f"c{number}": ("crm.contact.add", {"fields": {"NAME": f"Client {number}"}}) for number in range(50)}
    told = token.call_batch(adds)["result"]
    assert len(told["result"]) == 50 and not told["result_error"]
    more = {f"d{number}": ("crm.contact.add", {"fields": {"NAME": "More"}}) for number in range(20)}
    token.call_batches({**more, "bad": ("nothing.here", {})})
    listed = token.call_list("crm.contact.list")["result"]
    assert len(listed) == 70
    assert [user["ID"] for user in token.get_client().user.get().result] == ["1", "27", "103"]


def test_sdk_recognises_a_portal_that_moved(twin: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BitrixToken, "_AUTO_CHANGED_DOMAIN", False)  # it would follow to the host without the port
    token = token_of(twin)
    moved = control(twin, "rename", {"account": twin["portal"]["member_id"]})
    with pytest.raises(BitrixResponse302JSONDecodeError) as caught:
        token.call_method("server.time")
    assert caught.value.new_domain == moved["domain"].partition(":")[0]


def test_sdk_names_our_errors_as_its_own(twin: Json) -> None:
    token = token_of(twin)
    with pytest.raises(BitrixAPIError):
        token.call_method("no.such.method")
    control(twin, "uninstall", {"app": twin["client_id"]})
    with pytest.raises(BitrixAPIErrorOAuth):
        token.call_method("profile")
