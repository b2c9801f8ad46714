"""The Bitrix24 twin: connectors, messages both ways, marks, dialogs (bitrix24.md 11, rules 10 to 17)."""

from __future__ import annotations

import asyncio

from tests.sandbox.bitrix24.probe import probing

UPDATE = "ONIMCONNECTORMESSAGEUPDATE"
ADD = "ONIMCONNECTORMESSAGEADD"
DELETE = "ONIMCONNECTORMESSAGEDELETE"


def test_register_answers_200_with_an_inner_result_even_when_it_fails() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            assert await probe.register(ID="ACME_VK") == {"result": True}
            assert "acme_vk" in await probe.result("imconnector.list")
            cases: dict[str, dict[str, object]] = {
                "GENERAL_CONNECTOR_REGISTRATION_ERROR": {"ID": "acme.vk"},
                "NAME_REQUIRED": {"NAME": ""},
                "ICON_REQUIRED": {"ICON": {}},
                "NO_PLACEMENT_HANDLER": {"PLACEMENT_HANDLER": ""},
                "CONNECTOR_ID_REQUIRED": {"ID": ""},
            }
            for code, over in cases.items():
                told = await probe.register(**over)
                assert told["result"] is False and told["error"] == code
            assert await probe.result("imconnector.unregister", {"ID": "acme_vk"}) == {"result": True}
            assert (await probe.result("imconnector.unregister", {"ID": "acme_vk"}))["result"] is False

    asyncio.run(scene())


def test_status_is_true_only_after_activate_and_data_set() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            await probe.register()
            place = {"CONNECTOR": "acme_vk", "LINE": 1}
            status, body = await probe.call("imconnector.activate", place)
            assert (status, body["argument"]) == (400, "ACTIVE")
            await probe.result("imconnector.activate", place | {"ACTIVE": 1})
            told = await probe.result("imconnector.status", place)
            assert told == {"LINE": 1, "CONNECTOR": "acme_vk", "ERROR": False, "CONFIGURED": True, "STATUS": False}
            await probe.result("imconnector.connector.data.set", place | {"data": {"id": "1", "name": "acme"}})
            assert (await probe.result("imconnector.status", {"connector": "acme_vk", "line": 1}))["STATUS"] is True
            assert (await probe.result("imconnector.status", {"CONNECTOR": "acme_vk"}))["STATUS"] is False
            await probe.result("imconnector.activate", place | {"ACTIVE": 0})
            assert (await probe.result("imconnector.status", place))["CONFIGURED"] is False

    asyncio.run(scene())


def test_send_messages_checks_the_structure() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            place = {"CONNECTOR": "acme_vk", "LINE": 1}
            method = "imconnector.send.messages"
            assert (await probe.call(method, place))[1]["argument"] == "MESSAGES"
            assert (await probe.call(method, place | {"MESSAGES": "x"}))[1]["error"] == "ERROR_ARGUMENT"
            assert (await probe.call(method, place | {"MESSAGES": ["x"]}))[1]["error"] == "ERROR_ARGUMENT"
            half = [{"user": {"id": "1"}, "message": {"id": "1", "text": "x"}}]
            assert (await probe.call(method, place | {"MESSAGES": half}))[1]["error"] == "ERROR_ARGUMENT"
            whole = [half[0] | {"chat": {"id": "1"}}]
            other_line = place | {"LINE": 999, "MESSAGES": whole}
            assert (await probe.call(method, other_line))[1]["error"] == "NOT_ACTIVE_LINE"
            unknown = place | {"CONNECTOR": "nobody", "MESSAGES": whole}
            assert (await probe.call(method, unknown))[1]["error"] == "IMCONNECTOR_NO_CORRECT_PROVIDER"

    asyncio.run(scene())


def test_one_bad_item_fails_alone() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            good = {"user": {"id": "1"}, "message": {"id": "1", "text": "x"}, "chat": {"id": "1"}}
            items = [good, good | {"message": {"id": "2"}}, good | {"user": {"name": "Анна"}}]
            params = {"CONNECTOR": "acme_vk", "LINE": 1, "MESSAGES": items}
            told = await probe.result("imconnector.send.messages", params)
            assert told["SUCCESS"] is True
            assert [item["SUCCESS"] for item in told["DATA"]["RESULT"]] == [True, False, False]
            assert told["DATA"]["RESULT"][1]["ERRORS"]

    asyncio.run(scene())


def test_client_message_makes_user_chat_session_and_lead() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            item = await probe.send()
            assert item["SUCCESS"] and item["message"]["date"] == {} and isinstance(item["user"], str)
            assert isinstance(item["session"]["ID"], str) and isinstance(item["session"]["CHAT_ID"], str)
            assert (await probe.send(mid="m2"))["session"] == item["session"]
            chat = await probe.result("imopenlines.dialog.get", {"CHAT_ID": item["session"]["CHAT_ID"]})
            assert chat["entity_id"] == f"acme_vk|1|79|{item['user']}"
            assert chat["entity_data_1"].split("|")[5] == item["session"]["ID"]
            lead = chat["entity_data_2"].split("|")[1]
            assert (await probe.result("crm.lead.get", {"id": lead}))["NAME"] == "Анна"
            found = {"entityTypeId": 1, "filter": {"=imol": f"imol|{chat['entity_id']}"}}
            assert (await probe.result("crm.item.list", found))["items"][0]["id"] == int(lead)
            by_entity = {"CRM_ENTITY_TYPE": "lead", "CRM_ENTITY": lead}
            assert (await probe.result("imopenlines.crm.chat.get", by_entity))[0]["CHAT_ID"] == str(chat["id"])
            start = (await probe.events("ONIMCONNECTORDIALOGSTART"))[0]["data"]["DATA"][0]
            assert start["session"]["closed"] == "N" and start["connector"]["chat_id"] == "79"
            await probe.events(ADD, 0)

    asyncio.run(scene())


def test_chat_belongs_to_the_whole_queue_or_to_the_next_of_it() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            first = await probe.send()
            await probe.control("line", {"line": 1, "params": {"QUEUE_TYPE": "evenly"}})
            second = await probe.send(user="80")
            chats = [{"CHAT_ID": item["session"]["CHAT_ID"]} for item in (first, second)]
            members = [(await probe.result("imopenlines.dialog.get", chat))["manager_list"] for chat in chats]
            assert members[0] == [27, 103] and len(members[1]) == 1
            await probe.control("line", {"line": 1, "params": {"ACTIVE": "N"}})
            item = {"user": {"id": "1"}, "message": {"id": "1", "text": "x"}, "chat": {"id": "1"}}
            params = {"CONNECTOR": "acme_vk", "LINE": 1, "MESSAGES": [item]}
            assert (await probe.call("imconnector.send.messages", params))[1]["error"] == "NOT_ACTIVE_LINE"

    asyncio.run(scene())


def test_group_mode_keys_by_chat_and_makes_no_lead() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect(CHAT_GROUP="Y")
            base = {"message": {"id": "1", "text": "x"}, "chat": {"id": "wall"}}
            first = await probe.send_item({"user": {"id": "1"}, **base})
            second = await probe.send_item({"user": {"id": "2"}, **base})
            assert first["session"] == second["session"] and first["user"] != second["user"]
            chat = await probe.result("imopenlines.dialog.get", {"SESSION_ID": first["session"]["ID"]})
            assert (
                chat["entity_id"] == "acme_vk|1|wall|0" and chat["entity_data_2"] == "LEAD|0|COMPANY|0|CONTACT|0|DEAL|0"
            )

    asyncio.run(scene())


def test_names_and_phones_are_cleaned() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            user = {"id": "5", "name": "Анна 😀 +7999", "last_name": "О'Нил" * 6, "phone": "none"}
            item = await probe.send_item({"user": user, "message": {"id": "1", "text": "x"}, "chat": {"id": "5"}})
            known = probe.peer.cloud.portals[probe.account].users[int(item["user"])]
            assert (known.name, len(known.last_name), known.phone) == ("Анна", 25, "")
            assert len(probe.ledger("warning")) == 3
            user |= {"name": "Анна", "last_name": "", "skip_phone_validate": "Y"}
            await probe.send_item({"user": user, "message": {"id": "2", "text": "x"}, "chat": {"id": "5"}})
            assert known.phone == "none"

    asyncio.run(scene())


def test_files_are_downloaded_and_lost_ones_are_marked() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            files = [{"url": f"{probe.door}/f.html", "name": "f.html"}, {"url": f"{probe.peer.base_url}/nothing"}]
            await probe.send(files=files)
            shown = probe.ledger("message")[0]
            assert shown["attachments"][0]["name"] == "f.html" and shown["text"] == "Привет\n[FILE]"
            await probe.control("options", {"file_refusal": "error"})
            assert (await probe.send(files=files, mid="m2"))["SUCCESS"] is False

    asyncio.run(scene())


def test_operator_answer_arrives_form_encoded_as_text_with_a_signature() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            await probe.send()
            said = await probe.control("say", {"user": "79", "text": "Добрый день", "operator": 27})
            event = (await probe.events(ADD))[0]
            one = event["data"]["MESSAGES"][0]
            assert one["message"]["text"] == "[b]Анна Оператор:[/b] [br]Добрый день"
            assert one["im"]["message_id"] == said["id"] and one["chat"]["id"] == "79" and event["data"]["LINE"] == "1"
            assert "files" not in one["message"] and event["auth"]["user_id"] == "27"
            assert event["auth"]["application_token"] == probe.tokens["APPLICATION_TOKEN"]
            assert "refresh_token" not in event["auth"] and event["event_handler_id"].isdigit()

    asyncio.run(scene())


def test_operator_file_has_a_link_that_needs_no_token() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect(NEED_SIGNATURE="N")
            await probe.send()
            await probe.control("say", {"user": "79", "attachments": [{"type": "photo"}]})
            told = (await probe.events(ADD))[0]["data"]["MESSAGES"][0]["message"]
            assert told["text"] == "" and told["files"][0]["type"] == "image"
            async with probe.http.get(told["files"][0]["link"]) as answer:
                assert answer.status == 200 and len(await answer.read()) == int(told["files"][0]["size"])

    asyncio.run(scene())


def test_operator_is_refused_when_the_connector_is_off() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            await probe.send()
            await probe.result("imconnector.activate", {"CONNECTOR": "acme_vk", "LINE": 1, "ACTIVE": 0})
            assert "не подключён" in (await probe.control("say", {"user": "79", "text": "?"}))["error"]
            assert len(probe.ledger("error")) == 1
            await probe.events(ADD, 0)

    asyncio.run(scene())


def test_edits_and_deletions_come_only_after_a_delivery_report() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect(NEED_SIGNATURE="N")
            await probe.send()
            first = await probe.control("say", {"user": "79", "text": "раз"})
            event = (await probe.events(ADD))[0]
            await probe.control("say", {"edit": first["id"], "text": "раз!"})
            await probe.events(UPDATE, 0)
            assert await probe.deliver(event, "ext-1", "ext-2") == {"SUCCESS": True, "DATA": []}
            mark = probe.ledger("delivered")[0]
            assert mark["id"] == first["id"] and mark["external_ids"] == ["ext-1", "ext-2"]
            await probe.control("say", {"edit": first["id"], "text": "два"})
            told = (await probe.events(UPDATE))[0]["data"]["MESSAGES"][0]
            assert told["message"] == {"id": ["ext-1", "ext-2"], "text": "два"}
            await probe.control("say", {"delete": first["id"]})
            gone = (await probe.events(DELETE))[0]["data"]["MESSAGES"]
            assert [one["message"]["id"] for one in gone] == ["ext-1", "ext-2"]

    asyncio.run(scene())


def test_connector_that_forbids_edits_hears_none() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect(EDIT_INTERNAL_MESSAGES="N", DEL_INTERNAL_MESSAGES="N")
            await probe.send()
            said = await probe.control("say", {"user": "79", "text": "раз"})
            await probe.deliver((await probe.events(ADD))[0], "ext-1")
            await probe.control("say", {"edit": said["id"], "text": "два"})
            await probe.control("say", {"delete": said["id"]})
            await probe.events(UPDATE, 0)
            await probe.events(DELETE, 0)

    asyncio.run(scene())


def test_delivery_report_with_a_scalar_id_changes_nothing() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            await probe.send()
            await probe.control("say", {"user": "79", "text": "раз"})
            one = (await probe.events(ADD))[0]["data"]["MESSAGES"][0]
            item = {"im": one["im"], "message": {"id": "ext-1", "date": 1}, "chat": one["chat"]}
            params = {"CONNECTOR": "acme_vk", "LINE": 1, "MESSAGES": [item]}
            assert (await probe.result("imconnector.send.status.delivery", params))["SUCCESS"] is True
            assert probe.ledger("delivered") == [] and len(probe.ledger("warning")) == 1
            without_im = params | {"MESSAGES": [{"message": {"id": ["1"]}, "chat": {"id": "79"}}]}
            assert (await probe.call("imconnector.send.status.delivery", without_im))[0] == 400
            reading = await probe.result("imconnector.send.status.reading", params)
            assert reading == {"SUCCESS": True, "DATA": []}

    asyncio.run(scene())


def test_injected_manager_message_echoes_unless_switched_off() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            await probe.send()
            await probe.send("из сети", mid="m2", user_id=27)
            assert "из сети" in (await probe.events(ADD))[0]["data"]["MESSAGES"][0]["message"]["text"]
            await probe.control("options", {"echo": False})
            await probe.send("без эха", mid="m3", user_id=27)
            await asyncio.sleep(0.1)
            assert len(await probe.events(ADD)) == 1
            assert [item["who"] for item in probe.ledger("message")] == ["client", "operator", "operator"]

    asyncio.run(scene())


def test_messages_written_by_rest_go_to_the_client_and_come_back() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            item = await probe.send()
            chat = item["session"]["CHAT_ID"]
            operator = (await probe.control("frame", {"app": probe.app, "user": 27}))["fields"]["AUTH_ID"]
            dialog = {"DIALOG_ID": f"chat{chat}", "MESSAGE": "из чата"}
            assert (await probe.call("im.message.add", dialog))[1]["error"] == "ACCESS_ERROR"
            assert (await probe.call("im.message.add", dialog, token=operator))[0] == 200
            lead = (await probe.result("imopenlines.dialog.get", {"CHAT_ID": chat}))["entity_data_2"].split("|")[1]
            params = {
                "CRM_ENTITY_TYPE": "lead",
                "CRM_ENTITY": lead,
                "USER_ID": 27,
                "CHAT_ID": chat,
                "MESSAGE": "из CRM",
            }
            assert isinstance(await probe.result("imopenlines.crm.message.add", params), int)
            texts = [event["data"]["MESSAGES"][0]["message"]["text"] for event in await probe.events(ADD, 2)]
            assert [text.partition("[br]")[2] for text in texts] == ["из чата", "из CRM"]

    asyncio.run(scene())


def test_client_edit_and_deletion_are_matched_by_external_ids() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            await probe.send()
            item = {"user": {"id": "79"}, "message": {"id": "m1", "text": "исправлено"}, "chat": {"id": "79"}}
            params = {"CONNECTOR": "acme_vk", "LINE": 1, "MESSAGES": [item]}
            await probe.result("imconnector.update.messages", params)
            assert probe.ledger("edit")[0]["text"] == "исправлено"
            unknown = params | {"MESSAGES": [item | {"message": {"id": "m9"}}]}
            told = await probe.result("imconnector.delete.messages", unknown)
            assert told["DATA"]["RESULT"][0]["SUCCESS"] is True and probe.ledger("delete") == []
            await probe.result("imconnector.delete.messages", params)
            assert probe.ledger("delete")[0]["external_id"] == "m1"

    asyncio.run(scene())


def test_finish_closes_the_session_and_the_next_message_opens_another() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            first = await probe.send()
            await probe.control("say", {"user": "79", "finish": True})
            finish = (await probe.events("ONIMCONNECTORDIALOGFINISH"))[0]["data"]["DATA"][0]
            assert finish["session"]["closed"] == "Y" and finish["session"]["id"] == first["session"]["ID"]
            second = await probe.send(mid="m2")
            assert second["session"]["CHAT_ID"] == first["session"]["CHAT_ID"]
            assert second["session"]["ID"] != first["session"]["ID"]
            starts = await probe.events("ONIMCONNECTORDIALOGSTART", 2)
            assert starts[1]["data"]["DATA"][0]["session"]["parent_id"] == first["session"]["ID"]

    asyncio.run(scene())


def test_automatic_texts_reach_us_only_when_wanted_and_a_vote_is_swallowed() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect(NEED_SYSTEM_MESSAGES="Y")
            params = {"VOTE_MESSAGE": "Y", "WELCOME_MESSAGE": "Y", "WELCOME_MESSAGE_TEXT": "Добро пожаловать"}
            await probe.result("imopenlines.config.update", {"CONFIG_ID": 1, "PARAMS": params})
            await probe.send()
            welcome = (await probe.events(ADD))[0]
            assert welcome["data"]["MESSAGES"][0]["message"]["user_id"] == "0"
            assert "access_token" not in welcome["auth"] and "user_id" not in welcome["auth"]
            await probe.control("say", {"user": "79", "finish": True})
            await probe.events(ADD, 2)
            shown = len(probe.ledger("message"))
            assert (await probe.send("1 спасибо", mid="m2"))["SUCCESS"] is True
            assert len(probe.ledger("message")) == shown and probe.ledger("vote")[0]["text"] == "1"
            await probe.register(NEED_SYSTEM_MESSAGES="N")
            await probe.send(user="80")
            await asyncio.sleep(0.1)
            assert len(await probe.events(ADD, 2)) == 2

    asyncio.run(scene())


def test_history_shows_external_ids_of_both_sides() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            item = await probe.send()
            said = await probe.control("say", {"user": "79", "text": "ответ", "attachments": [{"type": "doc"}]})
            await probe.deliver((await probe.events(ADD))[0], "ext-1")
            told = await probe.result("imopenlines.session.history.get", {"SESSION_ID": item["session"]["ID"]})
            mids = {one["text"]: one["params"].get("connectorMid") for one in told["message"].values() if one["params"]}
            assert mids == {"Привет": ["m1"], "ответ": ["ext-1"]}
            file_id = told["message"][said["id"]]["params"]["fileId"][0]
            assert told["files"][file_id]["urldownload"].startswith("http")
            by_chat = {"CHAT_ID": item["session"]["CHAT_ID"]}
            assert (await probe.call("imopenlines.session.history.get", by_chat))[1]["error"] == "ACCESS_DENIED"
            operator = (await probe.control("frame", {"app": probe.app, "user": 27}))["fields"]["AUTH_ID"]
            recent = (await probe.call("im.recent.list", token=operator))[1]["result"]["items"]
            assert recent[0]["chat"]["entity_id"].startswith("acme_vk|1|79|")
            dialog = {"DIALOG_ID": recent[0]["id"], "LIMIT": 1}
            newest = (await probe.call("im.dialog.messages.get", dialog, token=operator))[1]["result"]["messages"]
            assert newest[0]["params"]["CONNECTOR_MID"] == ["ext-1"]

    asyncio.run(scene())


def test_open_line_events_show_what_both_sides_wrote() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            for name in ("Add", "Update"):
                await probe.result("event.bind", {"event": f"OnOpenLineMessage{name}", "handler": f"{probe.door}/ev"})
            await probe.send()
            said = await probe.control("say", {"user": "79", "text": "ответ"})
            seen = [event["data"]["DATA"][0]["message"] for event in await probe.events("ONOPENLINEMESSAGEADD", 3)]
            assert [(one["text"], one["system"]) for one in seen[1:]] == [("Привет", "N"), ("ответ", "N")]
            assert seen[0]["system"] == "Y"
            await probe.control("say", {"edit": said["id"], "text": "другой"})
            await probe.events("ONOPENLINEMESSAGEUPDATE")

    asyncio.run(scene())


def test_events_are_sent_once_and_never_repeated() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            await probe.send()
            await probe.result("event.unbind", {"event": ADD, "handler": f"{probe.door}/ev"})
            await probe.result("event.bind", {"event": ADD, "handler": "http://127.0.0.1:9/gone"})
            await probe.control("say", {"user": "79", "text": "раз"})
            await asyncio.sleep(0.2)
            assert [item["status"] for item in probe.ledger("hook") if item["label"] == ADD] == [0]
            assert probe.peer.hooks.pending == 0

    asyncio.run(scene())


def test_another_application_neither_hears_nor_uses_the_connector() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            made = await probe.control("app", {"account": probe.account, "app_url": f"{probe.door}/other"})
            form = await probe.control("install", {"account": probe.account, "app": made["client_id"]})
            await probe.control("install-finish", {"account": probe.account, "app": made["client_id"]})
            other = form["fields"]["AUTH_ID"]
            await probe.call("event.bind", {"event": ADD, "handler": f"{probe.door}/spy"}, token=other)
            await probe.send()
            await probe.control("say", {"user": "79", "text": "раз"})
            assert [event["path"] for event in await probe.events(ADD)] == ["/ev"]
            place = {"CONNECTOR": "acme_vk", "LINE": 1, "ACTIVE": 0}
            assert (await probe.call("imconnector.activate", place, token=other))[1]["error"] == "ACCESS_DENIED"

    asyncio.run(scene())


def test_disconnecting_by_hand_tells_the_owner() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            await probe.control("disconnect", {"connector": "acme_vk", "line": 1})
            assert (await probe.events("ONIMCONNECTORSTATUSDELETE"))[0]["data"] == {"connector": "acme_vk", "line": "1"}
            assert (await probe.result("imconnector.status", {"CONNECTOR": "acme_vk", "LINE": 1}))["STATUS"] is False

    asyncio.run(scene())


def test_reset_forgets_talks_and_keeps_the_installation() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            await probe.send()
            await probe.control("reset")
            assert probe.peer.ledger.items == [] and (await probe.call("profile"))[0] == 200
            assert (await probe.send())["SUCCESS"] is True
            account = probe.account
            await probe.control("reset", {"all": True})
            assert (await probe.call("profile"))[1]["error"] == "NO_AUTH_FOUND" and probe.account == account

    asyncio.run(scene())
