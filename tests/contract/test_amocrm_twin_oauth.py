"""The amoCRM twin's installs, tokens and one-time tokens (amocrm.md 1, 9.1 to 9.4)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.contract.test_amocrm_twin_chats import play
from tests.sandbox.amocrm.oauth import disable_signature
from tests.sandbox.amocrm.probe import Probe, probing

Json = dict[str, Any]


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_vector_of_the_disable_hook() -> None:
    told = disable_signature("demo-client-secret", "cccccccc-1111-4222-8333-dddddddddddd", 30000001)
    assert told == "64572ab073a6c1e5842b295bd4995e9248fdd117848e644d10b82da9bcc34148"


def test_marketplace_install_comes_from_server_to_server_without_state() -> None:
    async def scene(probe: Probe) -> None:
        (call,) = await probe.calls("/oauth")
        assert call.method == "GET" and "Cookie" not in call.headers and "state" not in call.query
        assert (call.query["from_widget"], call.query["platform"]) == ("1", "1")
        assert call.query["referer"] == probe.account["host"]

    play(scene, connected=False)


def test_marketplace_install_waits_three_seconds_and_never_repeats() -> None:
    async def run() -> None:
        async with probing() as probe:
            await probe.fill_in()
            probe.answer_after_s = 3.5
            told = await probe.control("install")
            assert told["trouble"] == "TimeoutError" and len(probe.heard) == 1

    asyncio.run(run())


def test_consent_page_goes_back_with_state_and_refusal_says_so() -> None:
    async def run() -> None:
        async with probing() as probe:
            await probe.fill_in()
            who = f"{probe.account['id']}:{probe.account['users'][0]['id']}"
            page = f"{probe.peer.credentials()['consent_url']}?client_id={probe.integration['client_id']}&state=s%201"
            async with probe.http.get(page) as response:
                assert response.status == 200 and probe.account["host"] in await response.text()
            async with probe.http.post(page, data={"who": who, "act": "allow"}) as response:
                text = await response.text()
            url = json.loads(text.partition("const url = ")[2].partition(";\n")[0])
            assert query_of(url)["state"] == "s 1" and "from_widget" not in query_of(url)
            refused = await probe.control("consent", {"refuse": True, "state": "s"})
            expected = {"error": "access_denied", "state": "s", "client_id": probe.integration["client_id"]}
            assert query_of(refused["url"]) == expected

    asyncio.run(run())


def test_first_access_needs_an_admin_and_later_ones_carry_their_user_s_rights() -> None:
    async def run() -> None:
        async with probing() as probe:
            await probe.fill_in()
            other = probe.account["users"][1]["id"]
            assert "администратор" in (await probe.control("consent", {"user": other}))["error"]
            await probe.control("consent")
            code = query_of((await probe.control("consent", {"user": other}))["url"])["code"]
            _, pair = await probe.token("authorization_code", code=code)
            assert (await probe.call("GET", "users", token=pair["access_token"]))[0] == 403
            assert (await probe.call("GET", "leads/pipelines", token=pair["access_token"]))[0] == 200

    asyncio.run(run())


def test_code_lives_twenty_minutes_is_used_once_and_only_with_the_exact_form() -> None:
    async def run() -> None:
        async with probing() as probe:
            await probe.fill_in()

            async def code() -> str:
                return query_of((await probe.control("consent"))["url"])["code"]

            first = await code()
            assert (await probe.token("authorization_code", code=first, redirect_uri=f"{probe.door}/oauth/"))[0] == 400
            assert (await probe.token("authorization_code", code=first, client_secret="wrong"))[0] == 401
            status, pair = await probe.token("authorization_code", code=first)
            assert status == 200 and pair["expires_in"] == 86400 and pair["token_type"] == "Bearer"
            status, told = await probe.token("authorization_code", code=first)
            assert status == 400 and told["hint"] == "Authorization code has been revoked"
            late = await code()
            await probe.control("clock", {"advance_s": 1201})
            status, told = await probe.token("authorization_code", code=late)
            assert status == 400 and told["hint"] == "Authorization code has expired"

    asyncio.run(run())


def test_refresh_rotates_and_the_old_one_is_dead() -> None:
    async def scene(probe: Probe) -> None:
        old = probe.tokens["refresh_token"]
        status, fresh = await probe.token("refresh_token", refresh_token=old)
        assert status == 200 and fresh["refresh_token"] != old
        status, told = await probe.token("refresh_token", refresh_token=old)
        assert status == 401 and told["hint"] == "Token has been revoked"
        assert (await probe.call("GET", "account", token=fresh["access_token"]))[0] == 200

    play(scene, connected=False)


def test_lenient_refresh_lets_the_old_one_live_until_the_new_pair_is_used() -> None:
    async def scene(probe: Probe) -> None:
        await probe.control("options", {"lenient_refresh": True})
        old = probe.tokens["refresh_token"]
        _, lost = await probe.token("refresh_token", refresh_token=old)
        status, fresh = await probe.token("refresh_token", refresh_token=old)
        assert status == 200 and (await probe.call("GET", "account", token=lost["access_token"]))[0] == 401
        assert (await probe.call("GET", "account", token=fresh["access_token"]))[0] == 200
        assert (await probe.token("refresh_token", refresh_token=old))[0] == 401

    play(scene, connected=False)


def test_access_dies_after_a_day_and_refresh_after_three_months() -> None:
    async def scene(probe: Probe) -> None:
        await probe.control("clock", {"advance_s": 24 * 3600 + 1})
        assert (await probe.call("GET", "account"))[0] == 401
        await probe.control("clock", {"advance_s": 90 * 24 * 3600})
        assert (await probe.token("refresh_token", refresh_token=probe.tokens["refresh_token"]))[0] == 401

    play(scene, connected=False)


def test_disable_kills_tokens_and_channel_and_calls_with_a_signature() -> None:
    async def scene(probe: Probe) -> None:
        await probe.control("disable")
        (call,) = await probe.calls("/disable")
        form = probe.integration
        expected = disable_signature(form["client_secret"], form["client_id"], probe.account["id"])
        assert call.query["signature"] == expected and call.query["client_uuid"] == form["client_id"]
        assert (await probe.call("GET", "account"))[0] == 401
        assert (await probe.token("refresh_token", refresh_token=probe.tokens["refresh_token"]))[0] == 401
        assert (await probe.chat("POST", probe.scope, probe.message()))[0] == 404

    play(scene)


def test_renamed_account_is_found_by_the_refresh_token() -> None:
    async def scene(probe: Probe) -> None:
        old, access = probe.account["host"], probe.tokens["access_token"]
        claims = json.loads(base64.urlsafe_b64decode(access.split(".")[1] + "=="))
        await probe.control("rename", {"subdomain": "acme2"})
        assert (await probe.call("GET", "account", host=old))[0] == 401
        url = f"{probe.peer.base_url}/{claims['api_domain']}/oauth2/account/current/subdomain"
        async with probe.http.get(url, headers={"X-Refresh-Token": probe.tokens["refresh_token"]}) as response:
            told = await response.json()
        assert told["domain"] == "acme2.amocrm.ru" and told["id"] == probe.account["id"]
        assert (await probe.call("GET", "account"))[0] == 200
        async with probe.http.get(url, headers={"X-Refresh-Token": "wrong"}) as response:
            assert response.status == 401

    play(scene, connected=False)


def test_one_time_tokens_are_signed_with_the_secret_by_carrier() -> None:
    async def scene(probe: Probe) -> None:
        for carrier, algorithm, digest in (("widget", "HS256", hashlib.sha256), ("bot", "HS512", hashlib.sha512)):
            token = (await probe.control("token", {"carrier": carrier}))["token"]
            head, claims, signature = token.split(".")
            key = probe.integration["client_secret"].encode()
            expected = hmac.new(key, f"{head}.{claims}".encode(), digest).digest()
            assert base64.urlsafe_b64decode(signature + "==") == expected
            assert json.loads(base64.urlsafe_b64decode(head + "=="))["alg"] == algorithm
            told = json.loads(base64.urlsafe_b64decode(claims + "=="))
            assert told["aud"] == probe.door and told["exp"] - told["iat"] == 1800
            assert told["iss"] == f"https://{probe.account['host']}"
        changed = {"claims": {"aud": "https://x.example", "is_admin": None, "alg": "none"}}
        head, claims, signature = (await probe.control("token", changed))["token"].split(".")
        told = json.loads(base64.urlsafe_b64decode(claims + "=="))
        assert told["aud"] == "https://x.example" and "is_admin" not in told and signature == ""

    play(scene, connected=False)


def test_bot_s_request_waits_two_seconds_and_continues_once() -> None:
    async def scene(probe: Probe) -> None:
        told = await probe.control("bot", {"url": f"{probe.door}/bot", "data": {"message": "Привет"}})
        (call,) = await probe.calls("/bot")
        assert call.json["data"] == {"message": "Привет"} and call.json["return_url"] == told["return_url"]
        path = told["return_url"].partition("/api/v4/")[2]
        show = {"handler": "show", "params": {"type": "text", "value": "я" * 81}}
        assert (await probe.call("POST", path, {"execute_handlers": [show]}))[0] == 400
        assert (await probe.call("POST", path, {"data": {"status": "success"}}))[0] == 202
        assert (await probe.call("POST", path, {"data": {"status": "success"}}))[0] == 404

    play(scene, connected=False)
