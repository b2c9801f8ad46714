"""The amoCRM twin's hooks of chats, write first, marks, history (amocrm.md 2.6 to 2.9, 4.1, 9.13 to 9.17)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.test_amocrm_twin_chats import play
from tests.sandbox.amocrm import signing
from tests.sandbox.amocrm.probe import Probe

Json = dict[str, Any]


def test_answer_comes_as_a_signed_hook_to_the_scope() -> None:
    async def scene(probe: Probe) -> None:
        await probe.post(probe.message())
        said = await probe.control("say", {"conversation": "vk-1", "text": "Добрый день"})
        (hook,) = await probe.calls("/chats")
        assert hook.path == f"/chats/{probe.scope}" and hook.headers["User-Agent"] == "amoCRM amoJo/1.0"
        assert hook.headers["X-Signature"] == signing.hook_signature(probe.channel["secret"], hook.body)
        told = hook.json["message"]
        assert told["conversation"] == {"id": said["chat_id"], "client_id": "vk-1"}
        assert told["receiver"]["client_id"] == "u1" and told["receiver"]["email"] == ""
        assert told["message"]["id"] == said["id"] and told["message"]["markup"] is None
        assert len(probe.ledger("accepted")) == 1

    play(scene)


def test_hook_is_sent_once_whatever_comes_back() -> None:
    async def scene(probe: Probe) -> None:
        await probe.post(probe.message())
        probe.answer_status = 500
        await probe.control("say", {"conversation": "vk-1", "text": "Да"})
        await probe.calls("/chats")
        await probe.control("clock", {"advance_s": 3600})
        await probe.calls("/nothing", 0)
        await probe.calls("/chats")

    play(scene)


def test_files_are_split_into_hooks_of_one_group_and_the_first_holds_the_text() -> None:
    async def scene(probe: Probe) -> None:
        await probe.post(probe.message())
        files = [{"type": "photo"}, {"type": "doc"}]
        await probe.control("say", {"conversation": "vk-1", "text": "Прайс", "attachments": files})
        first, second = [one.json["message"]["message"] for one in await probe.calls("/chats", 2)]
        assert (first["type"], first["text"]) == ("picture", "Прайс")
        assert (second["type"], second["text"]) == ("file", "")
        assert first["media_group_id"] == second["media_group_id"]
        async with probe.http.get(second["media"]) as response:
            assert response.status == 200 and len(await response.read()) == second["file_size"]

    play(scene)


def test_quote_comes_only_where_support_switched_it_on() -> None:
    async def scene(probe: Probe) -> None:
        told = await probe.post(probe.message())
        say = {"conversation": "vk-1", "text": "Да", "reply_to": told["msgid"]}
        await probe.control("say", say)
        await probe.control("channel", {"id": probe.channel["id"], "quotes": False})
        await probe.control("say", say)
        first, second = [one.json["message"]["message"] for one in await probe.calls("/chats", 2)]
        assert first["reply_to"]["message"]["msgid"] == "m1" and "reply_to" not in second

    play(scene)


async def written_first(probe: Probe) -> Json:
    made = await probe.control("contact", {"name": "Иван", "phone": "79000000001", "lead": "Заявка"})
    said = await probe.control("say", {"contact": made["contact"], "phone": "79000000001", "text": "Это acme"})
    assert "error" not in said, said
    (hook,) = await probe.calls("/chats")
    return dict(hook.json["message"])


def test_write_first_names_no_conversation_of_ours_and_binding_keeps_one_contact() -> None:
    async def scene(probe: Probe) -> None:
        told = await written_first(probe)
        assert "client_id" not in told["conversation"] and "client_id" not in told["receiver"]
        assert told["receiver"]["phone"] == "79000000001"
        sender = {"id": "u1", "name": "Иван", "ref_id": told["receiver"]["id"]}
        ref = {"conversation_ref_id": told["conversation"]["id"]}
        await probe.post(probe.message(sender=sender, **ref))
        assert len(probe.ledger("bound")) == 1 and not probe.ledger("duplicate") and not probe.ledger("unsorted")
        await probe.control("say", {"conversation": "vk-1", "text": "Да"})
        hooks = await probe.calls("/chats", 2)
        assert hooks[1].json["message"]["conversation"]["client_id"] == "vk-1"

    play(scene)


@pytest.mark.parametrize("forgotten", ["conversation_ref_id", "ref_id"])
def test_write_first_without_one_of_the_ref_ids_makes_a_second_contact(forgotten: str) -> None:
    async def scene(probe: Probe) -> None:
        told = await written_first(probe)
        sender = {"id": "u1", "name": "Иван", "ref_id": told["receiver"]["id"]}
        over: Json = {"conversation_ref_id": told["conversation"]["id"], "sender": sender}
        if forgotten == "ref_id":
            del sender["ref_id"]
        else:
            over = {"sender": {"id": "u1", "name": "Иван"}}
        await probe.post(probe.message(**over))
        contacts = [one for one in probe.ledger("entity") if one["entity"] == "contacts"]
        assert len(contacts) == 2 and len(probe.ledger("unsorted")) == 1

    play(scene)


def test_status_takes_amocrm_s_id_and_checks_the_error_fields() -> None:
    async def scene(probe: Probe) -> None:
        await probe.post(probe.message())
        said = (await probe.control("say", {"conversation": "vk-1", "text": "Да"}))["id"]
        tail = f"{probe.scope}/{said}/delivery_status"
        bad: list[Json] = [
            {},
            {"delivery_status": 7},
            {"delivery_status": "1"},
            {"delivery_status": 1, "error_code": 905},
            {"delivery_status": -1},
            {"delivery_status": -1, "error_code": 905},
            {"delivery_status": -1, "error_code": 900},
            {"delivery_status": 1, "status_code": 2},
        ]
        for body in bad:
            assert (await probe.chat("POST", tail, body))[0] == 400, body
        for body in ({"delivery_status": 2}, {"status_code": 1}):
            assert await probe.chat("POST", tail, body) == (200, None)
        assert [one["status"] for one in probe.ledger("status")] == [2, 2]
        error = {"delivery_status": -1, "status_code": -1, "error_code": 905, "error": "нет"}
        assert (await probe.chat("POST", tail, error))[0] == 200
        assert (await probe.chat("POST", f"{probe.scope}/m1/delivery_status", {"delivery_status": 1}))[0] == 404

    play(scene)


def test_edit_changes_the_text_and_an_unknown_message_is_404() -> None:
    async def scene(probe: Probe) -> None:
        await probe.post(probe.message())
        body = probe.message("Исправлено", msgid="m1")
        body["event_type"] = "edit_message"
        assert (await probe.chat("POST", probe.scope, body))[0] == 200
        body["payload"]["msgid"] = "m99"
        assert (await probe.chat("POST", probe.scope, body))[0] == 404
        assert [one["text"] for one in probe.ledger("edit")] == ["Исправлено"]
        assert len(probe.ledger("notification")) == 1

    play(scene)


def test_reaction_and_typing_go_both_ways() -> None:
    async def scene(probe: Probe) -> None:
        told = await probe.post(probe.message())
        react = {"conversation_id": "vk-1", "msgid": "m1", "user": {"id": "u1"}, "type": "react", "emoji": "👍"}
        assert (await probe.chat("POST", f"{probe.scope}/react", react))[0] == 200
        assert (await probe.chat("POST", f"{probe.scope}/react", {**react, "msgid": "m9"}))[0] == 404
        assert (await probe.chat("POST", f"{probe.scope}/react", {**react, "emoji": ""}))[0] == 400
        typing = {"conversation_id": "vk-1", "sender": {"id": "u1"}}
        assert await probe.chat("POST", f"{probe.scope}/typing", typing) == (204, None)
        for _ in range(2):
            await probe.control("say", {"conversation": "vk-1", "typing": True})
        await probe.control("say", {"conversation": "vk-1", "react": "🔥", "message": told["msgid"]})
        typed, reacted = [one.json["action"] for one in await probe.calls("/chats", 2)]
        assert typed["typing"]["user"]["id"] == probe.account["users"][0]["amojo_id"]
        assert reacted["reaction"]["msgid"] == told["msgid"] and reacted["reaction"]["emoji"] == "🔥"

    play(scene)


def test_history_is_newest_first_and_204_for_an_unknown_chat() -> None:
    async def scene(probe: Probe) -> None:
        for number in range(3):
            await probe.post(probe.message(str(number)))
        said = await probe.control("say", {"conversation": "vk-1", "text": "Да"})
        tail = f"{probe.scope}/chats/{said['chat_id']}/history"
        status, told = await probe.chat("GET", f"{tail}?offset=0&limit=2")
        assert status == 200 and [one["message"]["text"] for one in told["messages"]] == ["Да", "2"]
        assert told["messages"][1]["message"]["client_id"] == "m3"
        assert (await probe.chat("GET", f"{tail}?limit=51"))[0] == 400
        unknown = f"{probe.scope}/chats/99999999-0000-4000-8000-000000000001/history"
        assert await probe.chat("GET", unknown) == (204, None)

    play(scene)
