"""Webhook, polling and the kinds of update of the Telegram twin (telegram.md A2, A3, A5)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.sandbox.telegram_play import ANNA, Stage, door, play

DAY_S = 24 * 3600
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"


@pytest.mark.parametrize(
    ("values", "description"),
    [
        ({"url": "http://example.org/h"}, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook"),
        (
            {"url": "https://example.org:5000/h"},
            "Bad Request: bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443",
        ),
        ({"url": "https://10.0.0.1/h"}, "Bad Request: bad webhook: IP address 10.0.0.1 is reserved"),
        (
            {"url": "https://example.org/h", "secret_token": "a b"},
            "Bad Request: secret token contains unallowed characters",
        ),
        ({"url": "https://example.org/h", "secret_token": "a" * 257}, "Bad Request: secret token is too long"),
        ({"url": "nonsense"}, "Bad Request: invalid webhook URL specified"),
    ],
)
def test_set_webhook_refuses(values: dict[str, Any], description: str) -> None:
    async def scene(stage: Stage) -> None:
        assert await stage.refused("setWebhook", **values) == (400, description)

    play(scene)


def test_http_on_loopback_is_allowed_only_as_with_a_local_server() -> None:
    async def scene(stage: Stage) -> None:
        await stage.call("setWebhook", url="http://127.0.0.1:5000/h")
        stage.peer.set_faults({"own": {"loopback_http": False}})
        stage.peer.clock.advance(2)
        code, description = await stage.refused("setWebhook", url="http://127.0.0.1:5001/h")
        assert code == 400 and "An HTTPS URL must be provided" in description

    play(scene)


def test_set_and_delete_webhook_describe_what_they_did() -> None:
    async def scene(stage: Stage) -> None:
        url = "https://example.org/h"
        assert (await stage.raw("deleteWebhook"))["description"] == "Webhook is already deleted"
        assert (await stage.raw("setWebhook", url=url))["description"] == "Webhook was set"
        assert await stage.refused("setWebhook", url=url) == (429, "Too Many Requests: retry after 1")
        stage.peer.clock.advance(1)
        assert (await stage.raw("setWebhook", url=url))["description"] == "Webhook is already set"
        assert (await stage.call("getWebhookInfo"))["url"] == url
        assert (await stage.raw("deleteWebhook"))["description"] == "Webhook was deleted"
        assert (await stage.call("getWebhookInfo"))["url"] == ""

    play(scene)


def test_the_hook_carries_the_secret_and_one_update() -> None:
    async def scene(stage: Stage) -> None:
        async with door() as opened:
            await stage.call("setWebhook", url=opened.url, secret_token="s3_cret-")
            await stage.say(text="Привет")
            await opened.until(1)
            assert opened.headers[0][SECRET_HEADER] == "s3_cret-"
            assert opened.headers[0]["Content-Type"] == "application/json"
            assert opened.bodies[0]["message"]["text"] == "Привет"

    play(scene)


def test_what_waited_is_delivered_when_the_webhook_is_set_unless_dropped() -> None:
    async def scene(stage: Stage) -> None:
        async with door() as opened:
            await stage.say(text="Раньше")
            await stage.call("setWebhook", url=opened.url, drop_pending_updates=True)
            await stage.say(text="Потом")
            await opened.until(1)
            assert opened.bodies[0]["message"]["text"] == "Потом"
            await stage.call("deleteWebhook")
            await stage.say(text="Без хука")
            stage.peer.clock.advance(1)
            await stage.call("setWebhook", url=opened.url)
            await opened.until(2)
            assert opened.bodies[1]["message"]["text"] == "Без хука"

    play(scene)


def test_a_failed_hook_is_repeated_at_once_then_later_and_later_with_the_same_number() -> None:
    async def scene(stage: Stage) -> None:
        async with door() as opened:
            opened.answers = [(500, {}), (502, {}), (503, {}), (200, {})]
            await stage.call("setWebhook", url=opened.url)
            await stage.say(text="Привет")
            await opened.until(2)
            info = await stage.call("getWebhookInfo")
            assert info["pending_update_count"] == 1
            assert info["last_error_message"].startswith("Wrong response from the webhook: 50")
            await asyncio.sleep(0.1)
            assert len(opened.bodies) == 2
            stage.peer.clock.advance(2.1)
            await opened.until(3)
            await asyncio.sleep(0.05)
            stage.peer.clock.advance(4.1)
            await opened.until(4)
            assert len({body["update_id"] for body in opened.bodies}) == 1
            await asyncio.sleep(0.05)
            assert (await stage.call("getWebhookInfo"))["pending_update_count"] == 0

    play(scene)


def test_retry_after_of_our_answer_replaces_the_pause() -> None:
    async def scene(stage: Stage) -> None:
        async with door() as opened:
            opened.answers = [(503, {"Retry-After": "30"})]
            await stage.call("setWebhook", url=opened.url)
            await stage.say(text="Привет")
            await opened.until(1)
            await asyncio.sleep(0.05)
            stage.peer.clock.advance(29)
            await asyncio.sleep(0.1)
            assert len(opened.bodies) == 1
            stage.peer.clock.advance(1.5)
            await opened.until(2)

    play(scene)


def test_one_chat_keeps_its_order_while_others_go_on() -> None:
    async def scene(stage: Stage) -> None:
        async with door() as opened:
            opened.hold = asyncio.Event()
            await stage.call("setWebhook", url=opened.url)
            for number in range(3):
                await stage.say(text=f"а{number}")
            await stage.say(user=500200, text="б0")
            await opened.until(2)
            await asyncio.sleep(0.05)
            assert {body["message"]["text"] for body in opened.bodies} == {"а0", "б0"}
            opened.hold.set()
            await opened.until(4)
            of_anna = [b["message"]["text"] for b in opened.bodies if b["message"]["chat"]["id"] == ANNA]
            assert of_anna == ["а0", "а1", "а2"]

    play(scene)


def test_no_more_chats_at_once_than_max_connections() -> None:
    async def scene(stage: Stage) -> None:
        async with door() as opened:
            opened.hold = asyncio.Event()
            await stage.call("setWebhook", url=opened.url, max_connections=2)
            for user in range(600001, 600006):
                await stage.say(user=user, text="Привет")
            await opened.until(2)
            await asyncio.sleep(0.05)
            assert opened.at_once == 2
            opened.hold.set()
            await opened.until(5)

    play(scene)


def test_updates_expire_after_a_day() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Старое")
        stage.peer.clock.advance(DAY_S + 1)
        await stage.say(text="Новое")
        updates = await stage.call("getUpdates")
        assert [update["message"]["text"] for update in updates] == ["Новое"]

    play(scene)


def test_a_webhook_that_is_gone_for_23_hours_is_removed() -> None:
    async def scene(stage: Stage) -> None:
        async with door() as opened:
            opened.answers = [(410, {})] * 100
            await stage.call("setWebhook", url=opened.url)
            await stage.say(text="Привет")
            await opened.until(2)
            await asyncio.sleep(0.05)
            stage.peer.clock.advance(23 * 3600)
            await opened.until(3)
            await asyncio.sleep(0.05)
            assert (await stage.call("getWebhookInfo"))["url"] == ""

    play(scene)


def test_polling_confirms_by_offset_and_counts_from_the_end_when_negative() -> None:
    async def scene(stage: Stage) -> None:
        for number in range(3):
            await stage.say(text=str(number))
        first = await stage.call("getUpdates", limit=2)
        assert [update["message"]["text"] for update in first] == ["0", "1"]
        rest = await stage.call("getUpdates", offset=first[-1]["update_id"] + 1)
        assert [update["message"]["text"] for update in rest] == ["2"]
        assert rest[0]["update_id"] == first[-1]["update_id"] + 1
        await stage.say(text="3")
        last = await stage.call("getUpdates", offset=-1)
        assert [update["message"]["text"] for update in last] == ["3"]

    play(scene)


def test_a_long_poll_wakes_with_the_first_update() -> None:
    async def scene(stage: Stage) -> None:
        waiting = asyncio.create_task(stage.call("getUpdates", timeout=20))
        await asyncio.sleep(0.05)
        await stage.say(text="Привет")
        assert len(await asyncio.wait_for(waiting, 2)) == 1

    play(scene)


def test_the_three_conflicts_of_polling() -> None:
    async def scene(stage: Stage) -> None:
        older = asyncio.create_task(stage.refused("getUpdates", timeout=20))
        await asyncio.sleep(0.05)
        newer = asyncio.create_task(stage.refused("getUpdates", timeout=20))
        code, description = await asyncio.wait_for(older, 2)
        assert code == 409 and description.startswith("Conflict: terminated by other getUpdates request")
        await stage.call("setWebhook", url="https://example.org/h")
        assert await asyncio.wait_for(newer, 2) == (409, "Conflict: terminated by setWebhook request")
        code, description = await stage.refused("getUpdates")
        assert code == 409 and description.startswith("Conflict: can't use getUpdates method while webhook is active")

    play(scene)


def test_reactions_come_only_when_asked_for() -> None:
    async def scene(stage: Stage) -> None:
        said = await stage.say(text="Привет")
        await stage.say(reaction="👍", message=said["id"])
        assert len(stage.queued()) == 1
        await stage.call("getUpdates", allowed_updates=["message", "message_reaction"])
        await stage.say(reaction="👍", message=said["id"])
        assert stage.queued()[-1]["message_reaction"]["new_reaction"] == [{"type": "emoji", "emoji": "👍"}]

    play(scene)


def test_an_album_comes_as_several_updates_with_one_group_id() -> None:
    async def scene(stage: Stage) -> None:
        said = await stage.say(text="Смотрите", album=True, attachments=[{"type": "photo"}] * 3)
        messages = [update["message"] for update in stage.queued()]
        assert len(messages) == len(said["ids"]) == 3
        assert len({message["media_group_id"] for message in messages}) == 1
        assert [message.get("caption") for message in messages] == ["Смотрите", None, None]

    play(scene)


def test_reading_and_typing_make_no_update() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        await stage.say(read=True)
        await stage.say(typing=True)
        assert len(stage.queued()) == 1

    play(scene)


def test_a_comment_names_its_thread() -> None:
    async def scene(stage: Stage) -> None:
        post = {"type": "channel", "message_id": 15, "chat": {"id": -1001110001, "type": "channel", "title": "Магазин"}}
        group = {"id": -1002220001, "title": "Обсуждение"}
        forwarded = await stage.say(chat=group, text="Новинка", forward_from=post)
        await stage.say(chat=group, text="Сколько стоит?", reply_to=forwarded["id"], thread=forwarded["id"])
        message = stage.queued()[-1]["message"]
        assert message["message_thread_id"] == int(forwarded["id"])
        assert message["reply_to_message"]["forward_origin"]["message_id"] == 15

    play(scene)


def test_thousands_of_waiting_updates_leave_when_the_webhook_comes_back() -> None:
    async def scene(stage: Stage) -> None:
        async with door() as opened:
            for number in range(2000):
                await stage.say(user=600000 + number % 50, text=str(number))
            await stage.call("setWebhook", url=opened.url)
            await opened.until(2000)
            by_chat: dict[int, list[int]] = {}
            for body in opened.bodies:
                by_chat.setdefault(body["message"]["chat"]["id"], []).append(int(body["message"]["text"]))
            assert all(numbers == sorted(numbers) for numbers in by_chat.values())

    play(scene)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"attachments": "abc"},
        {"attachments": [{"type": "parcel"}]},
        {"edit": 5, "text": "x"},
        {"album": True, "attachments": [{"type": "photo"}]},
        {"business": "no such", "text": "x"},
        {"account": "no such", "text": "x"},
        {"press": "x"},
    ],
)
def test_a_senseless_control_call_is_refused(body: dict[str, Any]) -> None:
    async def scene(stage: Stage) -> None:
        answer = await stage.session.post(f"{stage.peer.base_url}/_sandbox/say", json=body)
        assert answer.status == 400 and (await answer.json())["error"]

    play(scene)
