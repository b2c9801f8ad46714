"""Wake-ups are only a hint: lost, doubled or late ones lose nothing, and a burst makes few of them."""

from __future__ import annotations

from redis import Redis

from tests.bridge.pair import Pair, new_user
from tests.stack import wait_for


def test_emptied_valkey_loses_nothing(pair: Pair) -> None:
    user = new_user()
    with Redis.from_url(pair.stack.config.redis_url) as valkey:
        for number in range(3):
            valkey.flushall()
            pair.customer(user, text=f"номер {number}")
            valkey.flushall()
            pair.wait_seen(user, *(f"номер {one}" for one in range(number + 1)))


def test_killed_valkey_loses_nothing_and_the_door_stays_open(pair: Pair) -> None:
    user = new_user()
    starts = pair.stack.processes["valkey"].starts
    pair.stack.kill("valkey")
    answer = pair.vk_hook("message_new", pair.message_new(user, "без очереди", 9400))
    assert answer.text == "ok" and answer.elapsed.total_seconds() < 2
    wait_for(lambda: pair.stack.processes["valkey"].starts > starts, what="Valkey's new start")
    pair.wait_seen(user, "без очереди", within_s=30)


def test_burst_of_hooks_makes_few_wake_ups(pair: Pair) -> None:
    with Redis.from_url(pair.stack.config.redis_url) as valkey:
        before = int(valkey.get("mostik:wake:generation") or 0)
        users = [new_user() for _ in range(60)]
        for user in users:
            pair.customer(user, text="привет")
        wait_for(lambda: len(pair.desk("message")) >= 60, what="all messages")
        after = int(valkey.get("mostik:wake:generation") or 0)
    assert after - before < 60
