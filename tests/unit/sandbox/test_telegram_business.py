"""Business connections of the Telegram twin (telegram.md A5)."""

from __future__ import annotations

from typing import Any

from tests.unit.sandbox.telegram_play import ANNA, Stage, play

IVAN = 500200
DAY_S = 24 * 3600


async def connected(stage: Stage) -> dict[str, Any]:
    """Let Анна write to Иван's account and return what every call needs."""
    await stage.say(business=True, text="Добрый день")
    update = stage.queued()[-1]["business_message"]
    return {"business_connection_id": update["business_connection_id"], "chat_id": ANNA}


def test_the_bot_hears_of_the_connection_before_its_first_message() -> None:
    async def scene(stage: Stage) -> None:
        where = await connected(stage)
        first, second = stage.queued()
        assert first["business_connection"]["is_enabled"] and first["business_connection"]["user"]["id"] == IVAN
        assert second["business_message"]["from"]["id"] == second["business_message"]["chat"]["id"] == ANNA
        shown = await stage.call("getBusinessConnection", business_connection_id=where["business_connection_id"])
        assert shown == first["business_connection"]

    play(scene)


def test_the_bot_writes_as_the_owner_and_its_echo_is_marked() -> None:
    async def scene(stage: Stage) -> None:
        where = await connected(stage)
        sent = await stage.call("sendMessage", **where, text="Добрый!")
        echo = stage.queued()[-1]["business_message"]
        assert echo == sent
        assert echo["from"]["id"] == IVAN and echo["sender_business_bot"]["id"] == stage.bot.id

    play(scene)


def test_what_the_owner_writes_himself_arrives_unmarked() -> None:
    async def scene(stage: Stage) -> None:
        await connected(stage)
        await stage.say(business=True, as_owner=True, text="Я сам")
        message = stage.queued()[-1]["business_message"]
        assert message["from"]["id"] == IVAN and "sender_business_bot" not in message

    play(scene)


def test_the_window_closes_24_hours_after_the_last_incoming_message() -> None:
    async def scene(stage: Stage) -> None:
        where = await connected(stage)
        stage.peer.clock.advance(DAY_S - 60)
        sent = await stage.call("sendMessage", **where, text="Ещё можно")
        stage.peer.clock.advance(120)
        closed = (400, "Bad Request: BUSINESS_PEER_INVALID")
        assert await stage.refused("sendMessage", **where, text="Поздно") == closed
        edit = {**where, "message_id": sent["message_id"], "text": "Поздно"}
        assert await stage.refused("editMessageText", **edit) == closed
        await stage.say(business=True, as_owner=True, text="Хозяин не открывает окна")
        assert await stage.refused("sendMessage", **where, text="Поздно") == closed
        await stage.say(business=True, text="Вы тут?")
        await stage.call("sendMessage", **where, text="Тут")

    play(scene)


def test_a_stranger_of_the_owner_cannot_be_written_to() -> None:
    async def scene(stage: Stage) -> None:
        where = await connected(stage)
        refused = await stage.refused("sendMessage", **{**where, "chat_id": 1}, text="x")
        assert refused == (400, "Bad Request: BUSINESS_PEER_INVALID")

    play(scene)


def test_without_the_connection_the_same_chat_is_unknown() -> None:
    async def scene(stage: Stage) -> None:
        await connected(stage)
        assert await stage.refused("sendMessage", chat_id=ANNA, text="x") == (400, "Bad Request: chat not found")

    play(scene)


def test_rights_and_switching_off_are_told_and_obeyed() -> None:
    async def scene(stage: Stage) -> None:
        where = await connected(stage)
        await stage.say(business=True, connection={"rights": {"can_reply": False}})
        assert stage.queued()[-1]["business_connection"]["rights"] == {}
        code, _ = await stage.refused("sendMessage", **where, text="x")
        assert code == 400
        await stage.say(business=True, connection={"rights": {"can_reply": True}, "is_enabled": False})
        assert stage.queued()[-1]["business_connection"]["is_enabled"] is False
        code, _ = await stage.refused("sendMessage", **where, text="x")
        assert code == 400

    play(scene)


def test_edits_and_deletions_arrive() -> None:
    async def scene(stage: Stage) -> None:
        said = await stage.say(business=True, text="Добрый день")
        await stage.say(business=True, edit=said["id"], text="Добрый день!")
        assert stage.queued()[-1]["edited_business_message"]["text"] == "Добрый день!"
        await stage.say(business=True, delete=[said["id"]])
        deleted = stage.queued()[-1]["deleted_business_messages"]
        assert deleted["message_ids"] == [int(said["id"])] and deleted["chat"]["id"] == ANNA

    play(scene)


def test_reading_and_deleting_need_their_rights() -> None:
    async def scene(stage: Stage) -> None:
        where = await connected(stage)
        message_id = stage.queued()[-1]["business_message"]["message_id"]
        assert await stage.call("readBusinessMessage", **where, message_id=message_id) is True
        connection_id = where["business_connection_id"]
        delete = {"business_connection_id": connection_id, "message_ids": [message_id]}
        assert (await stage.refused("deleteBusinessMessages", **delete))[0] == 400
        sent = await stage.call("sendMessage", **where, text="x")
        assert await stage.call("deleteBusinessMessages", **{**delete, "message_ids": [sent["message_id"]]}) is True
        await stage.say(business=True, connection={"rights": {}})
        assert (await stage.refused("readBusinessMessage", **where, message_id=message_id))[0] == 400

    play(scene)
