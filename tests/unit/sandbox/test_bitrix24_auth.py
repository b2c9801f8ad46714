"""The Bitrix24 twin: installation, tokens, rights (bitrix24.md 11, rules 1 to 5, 18)."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qsl, urlsplit

from tests.sandbox.bitrix24.probe import probing


def test_installer_post_splits_query_and_body_as_documented() -> None:
    async def scene() -> None:
        async with probing() as probe:
            form = await probe.install(finish=False)
            query = dict(parse_qsl(urlsplit(form["action"]).query))
            assert set(query) == {"DOMAIN", "PROTOCOL", "LANG", "APP_SID"} and query["PROTOCOL"] == "0"
            assert form["fields"]["PLACEMENT"] == "DEFAULT" and "PLACEMENT_OPTIONS" not in form["fields"]
            assert form["fields"]["member_id"] == probe.account and form["fields"]["status"] == "F"

    asyncio.run(scene())


def test_nothing_is_shown_or_sent_before_install_finish() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install(finish=False)
            assert (await probe.result("app.info"))["INSTALLED"] is False
            assert await probe.result("event.bind", {"event": "OnAppTest", "handler": f"{probe.door}/ev"}) is True
            bound = {"PLACEMENT": "LEFT_MENU", "HANDLER": f"{probe.door}/menu"}
            assert await probe.result("placement.bind", bound) is True
            await probe.result("event.test")
            await probe.events("ONAPPTEST", 0)
            refused = await probe.control("frame", {"app": probe.app, "placement": "LEFT_MENU"})
            assert "error" in refused
            await probe.control("install-finish", {"app": probe.app})
            assert (await probe.result("app.info"))["INSTALLED"] is True
            await probe.result("event.test")
            await probe.events("ONAPPTEST")
            assert (await probe.control("frame", {"app": probe.app, "placement": "LEFT_MENU"}))["action"]

    asyncio.run(scene())


def test_ordinary_user_cannot_open_an_unfinished_application() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install(finish=False)
            assert "не полностью" in (await probe.control("frame", {"app": probe.app, "user": 27}))["error"]

    asyncio.run(scene())


def test_application_without_pages_gets_the_install_event_and_is_installed_at_once() -> None:
    async def scene() -> None:
        async with probing() as probe:
            made = await probe.control("app", {"account": probe.account, "event_url": f"{probe.door}/on"})
            body = {"account": probe.account, "app": made["client_id"]}
            assert await probe.control("install", body) == {}
            event = (await probe.events("ONAPPINSTALL"))[0]
            assert event["auth"]["refresh_token"] and event["auth"]["application_token"]
            assert (
                event["auth"]["scope"] == "crm im imopenlines imconnector placement contact_center user user_brief disk"
            )
            status, _ = await probe.call("app.info", token=event["auth"]["access_token"])
            assert status == 200

    asyncio.run(scene())


def test_refresh_rotates_both_tokens_and_the_old_one_dies() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            old = probe.tokens["REFRESH_ID"]
            status, first = await probe.oauth(grant_type="refresh_token", refresh_token=old)
            assert status == 200 and first["refresh_token"] != old and first["expires_in"] == 3600
            assert first["client_endpoint"] == probe.endpoint and first["domain"] in probe.peer.cloud.oauth_urls[0]
            status, again = await probe.oauth(grant_type="refresh_token", refresh_token=old)
            assert (status, again["error"]) == (400, "invalid_grant")
            await probe.control("options", {"strict_refresh": False})
            assert (await probe.oauth(grant_type="refresh_token", refresh_token=old))[0] == 200

    asyncio.run(scene())


def test_oauth_server_answers_the_documented_errors() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            cases = [
                ({"grant_type": "password"}, 400, "invalid_request"),
                ({"grant_type": "refresh_token"}, 400, "invalid_request"),
                ({"grant_type": "refresh_token", "client_id": "app.unknown"}, 200, "wrong_client"),
                ({"grant_type": "refresh_token", "client_secret": "x"}, 400, "invalid_client"),
                ({"grant_type": "authorization_code", "code": "x"}, 400, "invalid_grant"),
            ]
            for fields, status, code in cases:
                assert ((await probe.oauth(**fields))[0], (await probe.oauth(**fields))[1]["error"]) == (status, code)

    asyncio.run(scene())


def test_code_works_once_and_thirty_seconds() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            code = (await probe.control("code", {"app": probe.app}))["code"]
            assert (await probe.oauth(grant_type="authorization_code", code=code))[0] == 200
            assert (await probe.oauth(grant_type="authorization_code", code=code))[0] == 400
            late = (await probe.control("code", {"app": probe.app}))["code"]
            await probe.control("clock", {"advance_s": 31})
            assert (await probe.oauth(grant_type="authorization_code", code=late))[1]["error"] == "invalid_grant"

    asyncio.run(scene())


def test_expired_access_token_is_refused_until_refreshed() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            await probe.control("clock", {"advance_s": 3601})
            status, body = await probe.call("profile")
            assert (status, body["error"]) == (401, "expired_token")
            refreshed = await probe.oauth(grant_type="refresh_token", refresh_token=probe.tokens["REFRESH_ID"])
            assert (await probe.call("profile", token=refreshed[1]["access_token"]))[0] == 200
            assert (await probe.call("profile", token="nonsense"))[1]["error"] == "NO_AUTH_FOUND"

    asyncio.run(scene())


def test_secret_sent_to_a_portal_is_recorded_as_a_violation() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            await probe.call("app.info", {"client_secret": "oops"})
            async with probe.http.get(f"{probe.endpoint[:-5]}oauth/token/", params={"client_secret": "oops"}) as answer:
                assert answer.status == 404
            async with probe.http.get(f"{probe.peer.base_url}/_sandbox/limits") as answer:
                assert len((await answer.json())["violations"]) == 2
            assert "oops" not in json.dumps(probe.peer.ledger.items)

    asyncio.run(scene())


def test_local_application_has_its_own_keys_for_one_portal_only() -> None:
    async def scene() -> None:
        async with probing() as probe:
            made = await probe.control("make", {"local": {"app_url": f"{probe.door}/app"}})
            assert made["client_id"].startswith("local.") and made["client_secret"]
            refused = await probe.control("install", {"account": probe.account, "app": made["client_id"]})
            assert "другого портала" in refused["error"]
            form = await probe.control("install", {"account": made["account"], "app": made["client_id"]})
            assert form["fields"]["status"] == "L"
            catalogue = await probe.control("install", {"account": made["account"], "handler_url": f"{probe.door}/app"})
            assert catalogue["fields"]["member_id"] == made["account"]

    asyncio.run(scene())


def test_renamed_portal_answers_302_from_its_old_address() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            old = probe.endpoint
            moved = await probe.control("rename", {"account": probe.account})
            assert moved["member_id"] == probe.account and moved["client_endpoint"] != old
            async with probe.http.post(f"{old}profile", json={}, allow_redirects=False) as answer:
                assert answer.status == 302 and answer.headers["Location"] == f"{moved['client_endpoint']}profile"
            assert (await probe.call("profile"))[0] == 200

    asyncio.run(scene())


def test_uninstall_kills_tokens_and_tells_without_tokens() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            await probe.result("event.bind", {"event": "OnAppUninstall", "handler": f"{probe.door}/ev"})
            await probe.control("uninstall", {"app": probe.app, "clean": True})
            event = (await probe.events("ONAPPUNINSTALL"))[0]
            assert event["data"]["CLEAN"] == "1" and event["auth"]["application_token"]
            assert not {"access_token", "refresh_token", "user_id"} & set(event["auth"])
            assert (await probe.call("profile"))[1]["error"] == "ERROR_OAUTH"
            gone = await probe.oauth(grant_type="refresh_token", refresh_token=probe.tokens["REFRESH_ID"])
            assert (gone[0], gone[1]["error"]) == (401, "NOT_INSTALLED")
            await probe.install()
            assert await probe.result("event.get") == []

    asyncio.run(scene())


def test_update_wipes_handlers_and_changes_the_application_token() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            await probe.result("event.bind", {"event": "OnAppUpdate", "handler": f"{probe.door}/ev"})
            await probe.control("update", {"app": probe.app})
            event = (await probe.events("ONAPPUPDATE"))[0]
            assert event["data"]["PREVIOUS_VERSION"] == "1" and event["data"]["VERSION"] == "2"
            assert event["auth"]["application_token"] != probe.tokens["APPLICATION_TOKEN"]
            assert await probe.result("event.get") == []

    asyncio.run(scene())


def test_app_info_of_the_oauth_host_proves_a_first_contact() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install(finish=False)
            for oauth_url in probe.peer.cloud.oauth_urls:
                params = {"auth": probe.tokens["AUTH_ID"]}
                async with probe.http.get(f"{oauth_url}/rest/app.info/", params=params) as answer:
                    told = (await answer.json())["result"]
                assert told["client_id"] == probe.app and told["install"]["member_id"] == probe.account

    asyncio.run(scene())


def test_webhook_is_refused_where_an_application_is_needed() -> None:
    async def scene() -> None:
        async with probing() as probe:
            webhook = probe.peer.credentials()["portal"]["webhook"]
            for method, status in (("imconnector.list", 403), ("placement.get", 403), ("profile", 200)):
                async with probe.http.post(f"{webhook}{method}") as answer:
                    assert answer.status == status
                    if status == 403:
                        assert (await answer.json())["error"] == "WRONG_AUTH_TYPE"

    asyncio.run(scene())


def test_missing_scope_and_missing_rights_are_refused() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.control("app", {"client_id": probe.app, "scopes": ["imopenlines", "placement"]})
            await probe.install()
            assert (await probe.call("crm.lead.get", {"id": 1}))[1]["error"] == "insufficient_scope"
            bound = {"PLACEMENT": "CRM_LEAD_DETAIL_TAB", "HANDLER": f"{probe.door}/tab"}
            assert (await probe.call("placement.bind", bound))[1]["error"] == "ERROR_PLACEMENT_NOT_FOUND"
            operator = (await probe.control("frame", {"app": probe.app, "user": 27}))["fields"]["AUTH_ID"]
            assert (await probe.call("placement.get", token=operator))[1]["error"] == "ACCESS_DENIED"

    asyncio.run(scene())


def test_tariff_and_access_faults_can_be_switched_on() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            cases = {
                "PAYMENT_REQUIRED": 401,
                "ACCESS_DENIED": 403,
                "user_access_error": 403,
                "authorization_error": 401,
            }
            for code, status in cases.items():
                await probe.control("options", {"refuse": code})
                assert (await probe.call("profile"))[0] == status

    asyncio.run(scene())
