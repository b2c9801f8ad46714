"""The Bitrix24 twin: calling conventions, limits, batch, events API, placements (bitrix24.md 11, rules 6 to 9, 19, 20)."""

from __future__ import annotations

import asyncio
import json

from tests.sandbox.bitrix24.probe import Probe, probing


def test_bucket_of_the_plan_refuses_with_503_and_leaks_with_time() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            statuses = [(await probe.call("profile"))[0] for _ in range(60)]
            refused = statuses.count(503)
            assert statuses[:50] == [200] * 50 and 5 <= refused <= 10
            async with probe.http.get(f"{probe.peer.base_url}/_sandbox/limits") as answer:
                bucket = (await answer.json())["buckets"][0]
            assert bucket["refused"] == refused and bucket["peak"] <= 50
            await probe.control("clock", {"advance_s": 10})
            assert (await probe.call("profile"))[0] == 200
            await probe.control("options", {"plan": "enterprise"})
            assert {(await probe.call("profile"))[0] for _ in range(150)} == {200}

    asyncio.run(scene())


def test_box_has_no_rate_limit_and_lacks_new_methods() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            await probe.control("options", {"plan": "box"})
            assert {(await probe.call("profile"))[0] for _ in range(80)} == {200}
            assert "operating" not in (await probe.call("profile"))[1]["time"]
            assert (await probe.call("messageservice.sender.update"))[0] == 404

    asyncio.run(scene())


def test_operating_time_blocks_the_call_after_the_one_that_crossed() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            await probe.control("options", {"operation_limit_s": 10, "operation_cost_s": {"profile": 6}})
            assert [(await probe.call("profile"))[0] for _ in range(3)] == [200, 200, 429]
            assert (await probe.call("server.time"))[0] == 200
            await probe.control("clock", {"advance_s": 601})
            status, body = await probe.call("profile")
            assert status == 200 and body["time"]["operating"] == 6 and body["time"]["operating_reset_at"] > 0

    asyncio.run(scene())


def test_batch_runs_fifty_with_references_and_shows_empty_maps_as_lists() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            cmd = {"me": "profile", "all": "user.get?FILTER[ID]=$result[me][ID]", "bad": "crm.nothing?x=1"}
            told = await probe.result("batch", {"cmd": cmd})
            assert [user["ID"] for user in told["result"]["all"]] == ["1"]
            assert told["result_error"]["bad"]["error"] == "ERROR_METHOD_NOT_FOUND"
            assert told["result_next"] == [] and told["result_total"] == {"all": 1}
            assert (await probe.result("batch", {"cmd": {"a": "profile"}}))["result_error"] == []
            halted = await probe.result("batch", {"halt": 1, "cmd": {"bad": "nothing", "me": "profile"}})
            assert halted["result"] == []
            nested = await probe.result("batch", {"cmd": ["batch?x=1"]})
            assert nested["result_error"][0]["error"] == "ERROR_BATCH_METHOD_NOT_ALLOWED"
            status, body = await probe.call("batch", {"cmd": ["profile"] * 51})
            assert (status, body["error"]) == (400, "ERROR_BATCH_LENGTH_EXCEEDED")

    asyncio.run(scene())


def test_batch_counts_once_for_the_bucket() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            await probe.result("batch", {"cmd": ["profile"] * 50})
            async with probe.http.get(f"{probe.peer.base_url}/_sandbox/limits") as answer:
                assert (await answer.json())["buckets"][0]["requests"] == 1

    asyncio.run(scene())


def test_lists_are_paged_by_fifty_with_next_and_total() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            for number in range(3):
                adds = [f"crm.contact.add?fields[NAME]=Client{number}-{one}" for one in range(20)]
                await probe.result("batch", {"cmd": adds})
            _, first = await probe.call("crm.contact.list")
            assert (len(first["result"]), first["total"], first["next"]) == (50, 60, 50)
            _, second = await probe.call("crm.contact.list", {"start": 50})
            assert len(second["result"]) == 10 and "next" not in second
            _, uncounted = await probe.call("crm.contact.list", {"start": -1})
            assert "total" not in uncounted

    asyncio.run(scene())


def test_methods_are_found_in_any_case_and_form_and_json_are_equal() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            url = f"{probe.endpoint}User.Get.json"
            async with probe.http.post(url, data={"auth": probe.tokens["AUTH_ID"], "FILTER[ID]": "27"}) as answer:
                assert [user["ID"] for user in (await answer.json())["result"]] == ["27"]
            async with probe.http.get(url, params={"auth": probe.tokens["AUTH_ID"], "filter[ID]": "27"}) as answer:
                assert (await answer.json())["total"] == 1

    asyncio.run(scene())


def test_unknown_method_and_missing_argument_have_the_documented_shape() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            assert (await probe.call("tasks.task.add"))[0] == 404
            status, body = await probe.call("event.bind", {"handler": f"{probe.door}/ev"})
            assert status == 400 and body == {
                "error": "ERROR_ARGUMENT",
                "error_description": "Argument 'EVENT' is null or empty",
                "argument": "EVENT",
            }
            assert (await probe.call("crm.lead.get", {"id": 999}))[1]["error"] == ""

    asyncio.run(scene())


def test_capabilities_of_the_portal_can_be_asked() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            known = await probe.result("method.get", {"name": "imconnector.send.messages"})
            assert known == {"isExisting": True, "isAvailable": True}
            assert (await probe.result("method.get", {"name": "imbot.register"}))["isExisting"] is False
            assert "imconnector.register" in await probe.result("methods")
            assert "imconnector" in await probe.result("scope")
            assert "ONIMCONNECTORMESSAGEADD" in await probe.result("events")
            assert (await probe.result("feature.get", {"CODE": "rest_offline_extended"}))["value"] == "Y"

    asyncio.run(scene())


def test_event_bind_refuses_duplicates_and_unknown_events_and_unbind_counts() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            bound = {"event": "OnImConnectorMessageAdd", "handler": f"{probe.door}/ev"}
            assert await probe.result("event.bind", bound) is True
            status, body = await probe.call("event.bind", bound)
            assert (status, body["error"]) == (400, "ERROR_CORE") and "already binded" in body["error_description"]
            assert (await probe.call("event.bind", bound | {"event": "OnNothing"}))[1][
                "error"
            ] == "ERROR_EVENT_NOT_FOUND"
            expected = {"event": "ONIMCONNECTORMESSAGEADD", "handler": bound["handler"], "auth_type": "0", "offline": 0}
            assert await probe.result("event.get") == [expected]
            assert await probe.result("event.unbind", bound) == {"count": 1}
            assert await probe.result("event.unbind", bound) == {"count": 0}

    asyncio.run(scene())


def test_placement_gets_its_options_as_a_json_string_and_must_be_frameable() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            bound = {"PLACEMENT": "CRM_DEAL_DETAIL_TAB", "HANDLER": f"{probe.door}/tab", "TITLE": "Чаты"}
            assert await probe.result("placement.bind", bound) is True
            assert (await probe.result("placement.get"))[0]["placement"] == "CRM_DEAL_DETAIL_TAB"
            opened = {"app": probe.app, "placement": "CRM_DEAL_DETAIL_TAB", "options": {"ID": "55"}}
            form = await probe.control("frame", opened)
            assert json.loads(form["fields"]["PLACEMENT_OPTIONS"])["ID"] == "55"
            assert form["fields"]["APPLICATION_TOKEN"] == probe.tokens["APPLICATION_TOKEN"]
            assert (await probe.control("open", opened))["trouble"] == ""
            assert probe.seen[-1]["PLACEMENT"] == "CRM_DEAL_DETAIL_TAB"
            assert await probe.result("placement.unbind", {"PLACEMENT": "CRM_DEAL_DETAIL_TAB"}) == {"count": 2}

    asyncio.run(scene())


def test_connector_settings_are_posted_with_a_line_as_text_and_flags() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            await probe.register()
            form = await probe.control("frame", {"placement": "SETTING_CONNECTOR", "connector": "acme_vk", "line": 1})
            options = json.loads(form["fields"]["PLACEMENT_OPTIONS"])
            assert options["LINE"] == "1" and options["STATUS"] is False and options["ACTIVE_STATUS"] is False
            assert form["action"].startswith(f"{probe.door}/settings?DOMAIN=")

    asyncio.run(scene())


def test_line_settings_are_read_as_text_and_unknown_fields_are_refused() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            params = {"LINE_NAME": "VK", "QUEUE": [{"ENTITY_TYPE": "user", "ENTITY_ID": "27"}], "QUEUE_TYPE": "strange",
                      "SESSION_PRIORITY": 999999, "WORKTIME_FROM": "09:00", "LANGUAGE_ID": "russian"}  # fmt: skip
            line = await probe.result("imopenlines.config.add", {"PARAMS": params})
            read = await probe.result("imopenlines.config.get", {"CONFIG_ID": line})
            assert read["ID"] == str(line) and read["QUEUE"] == ["27"] and read["QUEUE_TYPE"] == "all"
            assert read["SESSION_PRIORITY"] == "86400" and read["WORKTIME_FROM"] == "9" and read["LANGUAGE_ID"] == "ru"
            assert read["DATE_CREATE"] == {} and read["WORKTIME_DAYOFF"] == [""]
            listed = {"PARAMS": {"select": ["ID", "LINE_NAME"], "filter": {"=LINE_NAME": "VK"}}}
            assert await probe.result("imopenlines.config.list.get", listed) == [{"ID": str(line), "LINE_NAME": "VK"}]
            for wrong in ({"PARAMS": {"select": ["NOPE"]}}, {"PARAMS": {"start": 50}}, {"OPTIONS": {"X": "Y"}}):
                assert (await probe.call("imopenlines.config.list.get", wrong))[1]["error"] == "INVALID_FORMAT"
            limited = {"PARAMS": {"limit": 1, "offset": 1}, "OPTIONS": {"QUEUE": "Y"}}
            assert [one["QUEUE"] for one in await probe.result("imopenlines.config.list.get", limited)] == [["27"]]
            assert (await probe.call("imopenlines.config.update", {"PARAMS": {}}))[1]["error"] == "CONFIG_ID_EMPTY"
            await probe.control("options", {"is_plan_small": True})
            changed = {"PARAMS": {"QUEUE_TYPE": "all", "VOTE_MESSAGE": "Y"}, "CONFIG_ID": line}
            assert await probe.result("imopenlines.config.update", changed) is True
            read = await probe.result("imopenlines.config.get", {"CONFIG_ID": line})
            assert (read["QUEUE_TYPE"], read["VOTE_MESSAGE"]) == ("evenly", "N")
            await _line_is_deleted(probe, line)

    asyncio.run(scene())


async def _line_is_deleted(probe: Probe, line: int) -> None:
    handler = f"{probe.door}/ev"
    await probe.result("event.bind", {"event": "OnImConnectorLineDelete", "handler": handler})
    assert await probe.result("imopenlines.config.delete", {"CONFIG_ID": line}) is True
    event = (await probe.events("ONIMCONNECTORLINEDELETE"))[0]
    assert event["data"] == str(line)
    assert await probe.result("imopenlines.config.delete", {"CONFIG_ID": line}) is False
