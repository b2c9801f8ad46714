"""Rate limits of the Telegram twin (telegram.md A7)."""

from __future__ import annotations

import pytest

from tests.sandbox.telegram_bot.errors import ApiError
from tests.sandbox.telegram_bot.limits import Limits
from tests.unit.sandbox.telegram_play import ANNA, Stage, play


def sent_before_refusal(limits: Limits, chats: list[int], *, step_s: float = 0.0) -> tuple[int, int]:
    """Send to the chats in turn until refused; return how many went and retry_after (0 = never refused)."""
    for number, chat in enumerate(chats):
        try:
            limits.take(1000 + number * step_s, chat)
        except ApiError as refusal:
            return number, refusal.parameters["retry_after"]
    return len(chats), 0


def test_one_chat_takes_a_short_burst_and_then_one_a_second() -> None:
    assert sent_before_refusal(Limits(), [5] * 10) == (3, 1)
    assert sent_before_refusal(Limits(), [5] * 100, step_s=1.0) == (100, 0)


def test_one_bot_sends_thirty_a_second_in_all() -> None:
    assert sent_before_refusal(Limits(), list(range(1, 60))) == (30, 1)
    assert sent_before_refusal(Limits(), list(range(1, 200)), step_s=1 / 30) == (199, 0)


def test_a_group_takes_twenty_a_minute() -> None:
    count, retry_after = sent_before_refusal(Limits(), [-100] * 40, step_s=1.5)
    assert count == 20
    assert retry_after == 30


def test_an_album_counts_each_of_its_messages_in_a_group() -> None:
    limits = Limits()
    limits.take(1000, -100, 10)
    limits.take(1001, -100, 10)
    with pytest.raises(ApiError):
        limits.take(1002, -100, 1)


def test_calls_that_arrive_out_of_order_are_counted_by_their_arrival() -> None:
    limits = Limits()
    for number in reversed(range(60)):
        limits.take(1000 + number / 30, number + 1)
    assert limits.accepted == 60


def test_the_refusal_names_the_pause_in_body_and_header_and_is_counted() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        for _ in range(3):
            await stage.call("sendMessage", chat_id=ANNA, text="x")
        answer = await stage.session.post(stage.url("sendMessage"), json={"chat_id": ANNA, "text": "x"})
        assert answer.status == 429 and answer.headers["Retry-After"] == "1"
        body = await answer.json()
        assert body["description"] == "Too Many Requests: retry after 1"
        assert body["parameters"] == {"retry_after": 1}
        counts = await (await stage.session.get(f"{stage.peer.base_url}/_sandbox/limits")).json()
        assert counts[str(stage.bot.id)]["accepted"] == 3
        assert counts[str(stage.bot.id)]["refused"]["chat"] == 1
        stage.peer.clock.advance(2)
        await stage.call("sendMessage", chat_id=ANNA, text="x")

    play(scene)


def test_the_fault_rate_limit_answers_in_the_envelope() -> None:
    async def scene(stage: Stage) -> None:
        stage.peer.set_faults({"rate_limit": True})
        assert await stage.refused("getMe") == (429, "Too Many Requests: retry after 5")

    play(scene)
