"""Tokens, parameters, chats and messages of the Telegram twin: one test per rule (telegram.md A1, A4, A8, A9)."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.sandbox import samples
from tests.unit.sandbox.telegram_play import ANNA, Stage, play

DAY_S = 24 * 3600


@pytest.mark.parametrize(
    ("token", "status", "description"),
    [
        ("nonsense", 404, "Not Found"),
        ("7000000001:" + "A" * 35, 401, "Unauthorized"),
        ("123:" + "A" * 35, 401, "Unauthorized"),
    ],
)
def test_a_wrong_token_is_refused_in_the_envelope(token: str, status: int, description: str) -> None:
    async def scene(stage: Stage) -> None:
        answer = await stage.session.get(f"{stage.peer.base_url}/bot{token}/getMe")
        assert answer.status == status
        assert await answer.json() == {"ok": False, "error_code": status, "description": description}

    play(scene)


def test_an_unknown_method_is_not_found_and_names_ignore_case() -> None:
    async def scene(stage: Stage) -> None:
        assert await stage.refused("sendNothing") == (404, "Not Found: method not found")
        assert (await stage.call("GETME"))["username"] == "acme_bot"

    play(scene)


def test_revoked_tokens_are_unauthorized() -> None:
    async def scene(stage: Stage) -> None:
        stage.peer.set_faults({"expire_tokens": True})
        assert await stage.refused("getMe") == (401, "Unauthorized")

    play(scene)


@pytest.mark.parametrize("way", ["query", "form", "json", "multipart"])
def test_parameters_come_by_query_form_json_and_multipart(way: str) -> None:
    async def scene(stage: Stage) -> None:
        asked = await stage.say(text="Привет")
        reply = {"message_id": int(asked["id"])}
        values: dict[str, Any] = {"chat_id": str(ANNA), "text": "Да", "reply_parameters": json.dumps(reply)}
        url = stage.url("sendMessage")
        if way == "query":
            answer = await stage.session.get(url, params=values)
        elif way == "form":
            answer = await stage.session.post(url, data=values)
        elif way == "json":
            answer = await stage.session.post(url, json={"chat_id": ANNA, "text": "Да", "reply_parameters": reply})
        else:
            form = aiohttp.FormData(values)
            form.add_field("unused", b"x", filename="x.bin")
            answer = await stage.session.post(url, data=form)
        body = await answer.json()
        assert body["result"]["reply_to_message"]["text"] == "Привет"

    play(scene, with_spec=False)


@pytest.mark.parametrize(
    ("values", "description"),
    [
        ({"text": "x"}, "Bad Request: chat_id is empty"),
        ({"chat_id": 1, "text": "x"}, "Bad Request: chat not found"),
        ({"chat_id": ANNA}, "Bad Request: message text is empty"),
        ({"chat_id": ANNA, "text": "  "}, "Bad Request: text must be non-empty"),
        ({"chat_id": ANNA, "text": "x" * 4097}, "Bad Request: message is too long"),
        ({"chat_id": ANNA, "text": "😀" * 2049}, "Bad Request: message is too long"),
        ({"chat_id": ANNA, "text": "x", "parse_mode": "bbcode"}, "Bad Request: unsupported parse_mode"),
        ({"chat_id": ANNA, "text": "x", "reply_markup": "{"}, "Bad Request: can't parse reply markup JSON object"),
        (
            {"chat_id": ANNA, "text": "x", "reply_parameters": {"message_id": 9}},
            "Bad Request: message to be replied not found",
        ),
        ({"chat_id": ANNA, "text": "x", "business_connection_id": "no"}, "Bad Request: business connection not found"),
    ],
)
def test_send_message_refuses_with_the_words_of_the_service(values: dict[str, Any], description: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        assert await stage.refused("sendMessage", **values) == (400, description)

    play(scene, with_spec=False)


def test_length_counts_after_parsing() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        sent = await stage.call("sendMessage", chat_id=ANNA, text=f"<b>{'x' * 4096}</b>", parse_mode="HTML")
        assert len(sent["text"]) == 4096

    play(scene)


def test_a_missing_reply_may_be_left_out() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        reply = {"message_id": 9, "allow_sending_without_reply": True}
        assert "reply_to_message" not in await stage.call("sendMessage", chat_id=ANNA, text="x", reply_parameters=reply)

    play(scene)


def test_who_blocked_the_bot_gets_nothing_and_the_bot_is_told_first() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        await stage.say(block=True)
        updates = await stage.call("getUpdates")
        update = (updates or await stage.call("getUpdates", offset=0))[0]
        assert update["update_id"]
        assert await stage.refused("sendMessage", chat_id=ANNA, text="x") == (
            403,
            "Forbidden: bot was blocked by the user",
        )
        await stage.say(start="again")
        assert (await stage.call("sendMessage", chat_id=ANNA, text="x"))["text"] == "x"
        kinds = [set(u) - {"update_id"} for u in stage.queued()]
        assert kinds == [{"message"}, {"my_chat_member"}, {"my_chat_member"}, {"message"}]

    play(scene)


def test_start_carries_its_payload_as_a_command() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(start="site_42")
        message = stage.queued()[0]["message"]
        assert message["text"] == "/start site_42"
        assert message["entities"] == [{"type": "bot_command", "offset": 0, "length": 6}]

    play(scene)


def test_a_group_that_kicked_the_bot_or_migrated_says_so() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(chat=-50, text="Всем привет")
        await stage.say(chat=-50, migrate=-1002220009)
        answer = await stage.raw("sendMessage", chat_id=-50, text="x")
        assert answer["parameters"] == {"migrate_to_chat_id": -1002220009}
        await stage.say(chat=-1002220009, block=True)
        description = "Forbidden: bot was kicked from the supergroup chat"
        assert await stage.refused("sendMessage", chat_id=-1002220009, text="x") == (403, description)

    play(scene)


def test_edits_keep_the_id_and_refuse_what_is_the_same_or_foreign() -> None:
    async def scene(stage: Stage) -> None:
        asked = await stage.say(text="Привет")
        sent = await stage.call("sendMessage", chat_id=ANNA, text="Да")
        same = {"chat_id": ANNA, "message_id": sent["message_id"]}
        code, description = await stage.refused("editMessageText", **same, text="Да")
        assert code == 400 and description.startswith("Bad Request: message is not modified: specified new")
        edited = await stage.call("editMessageText", **same, text="Нет")
        assert edited["message_id"] == sent["message_id"] and edited["edit_date"]
        foreign = {"chat_id": ANNA, "message_id": int(asked["id"])}
        assert await stage.refused("editMessageText", **foreign, text="x") == (
            400,
            "Bad Request: message can't be edited",
        )
        missing = {"chat_id": ANNA, "message_id": 99}
        assert await stage.refused("editMessageText", **missing, text="x") == (
            400,
            "Bad Request: message to edit not found",
        )

    play(scene)


def test_only_messages_younger_than_48_h_can_be_deleted() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        old = await stage.call("sendMessage", chat_id=ANNA, text="Да")
        stage.peer.clock.advance(2 * DAY_S + 1)
        code, description = await stage.refused("deleteMessage", chat_id=ANNA, message_id=old["message_id"])
        assert (code, description) == (400, "Bad Request: message can't be deleted for everyone")
        new = await stage.call("sendMessage", chat_id=ANNA, text="Да")
        assert await stage.call("deleteMessage", chat_id=ANNA, message_id=new["message_id"]) is True
        code, description = await stage.refused("deleteMessage", chat_id=ANNA, message_id=new["message_id"])
        assert description == "Bad Request: message to delete not found"

    play(scene)


def test_a_customers_edit_is_an_update_and_his_deletion_is_none() -> None:
    async def scene(stage: Stage) -> None:
        said = await stage.say(text="Привет")
        await stage.say(edit=said["id"], text="Привет!")
        await stage.say(delete=said["id"])
        assert [next(k for k in u if k != "update_id") for u in stage.queued()] == ["message", "edited_message"]
        assert stage.queued()[1]["edited_message"]["message_id"] == int(said["id"])

    play(scene)


def test_a_pressed_button_is_answered_once() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        markup = {"inline_keyboard": [[{"text": "Да", "callback_data": "yes"}]]}
        sent = await stage.call("sendMessage", chat_id=ANNA, text="?", reply_markup=markup)
        await stage.say(press="yes", message=sent["message_id"])
        query = stage.queued()[-1]["callback_query"]
        assert query["data"] == "yes"
        assert await stage.call("answerCallbackQuery", callback_query_id=query["id"]) is True
        _code, description = await stage.refused("answerCallbackQuery", callback_query_id=query["id"])
        assert "query is too old and response timeout expired or query ID is invalid" in description

    play(scene)


def test_chat_actions_come_from_a_list() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        assert await stage.call("sendChatAction", chat_id=ANNA, action="typing") is True
        _code, description = await stage.refused("sendChatAction", chat_id=ANNA, action="dance")
        assert description == "Bad Request: wrong parameter action in request"

    play(scene)


def test_people_and_chats_can_be_looked_up() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        stage.peer.people[ANNA].photo = samples.png(64, 64)
        chat = await stage.call("getChat", chat_id=ANNA)
        assert chat["first_name"] == "Анна" and chat["photo"]["big_file_id"]
        photos = await stage.call("getUserProfilePhotos", user_id=ANNA)
        assert photos["total_count"] == 1
        assert (await stage.call("getChatMember", chat_id=ANNA, user_id=stage.bot.id))["status"] == "member"

    play(scene)


def test_the_phone_shows_both_sides_of_a_chat() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет", attachments=[{"type": "photo"}])
        await stage.call("sendMessage", chat_id=ANNA, text="Да")
        shown = stage.peer.phone("")
        assert shown and shown["chats"][0]["who"] == "Анна"
        full = stage.peer.phone(shown["chats"][0]["id"])
        assert full and [m["is_mine"] for m in full["messages"]] == [True, False]
        picture = await stage.session.get(full["messages"][0]["attachments"][0]["url"])
        assert (await picture.read()).startswith(b"\x89PNG")
        again = await stage.peer.say({**shown["chats"][0]["say"], "text": "Ещё"})
        assert again["user"] == str(ANNA)

    play(scene)


def test_several_bots_do_not_see_each_other() -> None:
    async def scene(stage: Stage) -> None:
        made = await stage.peer.make({"username": "other_bot"})
        await stage.say(account=made["bot_id"], text="Привет")
        assert stage.queued() == []
        assert await stage.refused("sendMessage", chat_id=ANNA, text="x") == (400, "Bad Request: chat not found")

    play(scene)
