"""The customer's phone: what the page asks for and does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Timer

import pytest
import requests

from tests.sandbox.run import start
from tests.unit.sandbox.vk_desk import USER, Desk, Json


@pytest.fixture
def desk() -> Iterator[Desk]:
    with start(["--only", "vk"]) as running:
        yield Desk(running.addresses["vk"]["base_url"])


def state(desk: Desk, **query: str) -> Json:
    answer: Json = requests.get(f"{desk.base}/phone/state", params=query, timeout=30).json()
    return answer


@pytest.mark.parametrize("path", ["/phone", "/phone/app.js", "/phone/style.css"])
def test_the_page_and_its_parts_are_served(desk: Desk, path: str) -> None:
    assert requests.get(desk.base + path, timeout=5).status_code == 200


def test_a_chat_shows_both_sides_with_ticks(desk: Desk) -> None:
    done = requests.post(
        f"{desk.base}/phone/say",
        json={"network": "vk", "say": {"account": desk.group_id, "user": USER, "text": "Здравствуйте"}},
        timeout=5,
    ).json()
    desk.send("Добрый день", reply_to=done["id"])
    desk.ok("messages.markAsRead", peer_id=USER)
    desk.ok("messages.setActivity", peer_id=USER, type="typing")
    network = state(desk, network="vk", chat=f"{desk.group_id}:{USER}")["networks"]["vk"]
    mine, theirs = network["messages"]
    assert (mine["is_mine"], mine["is_read"], mine["text"]) == (True, True, "Здравствуйте")
    assert (theirs["is_mine"], theirs["is_read"], theirs["quote"]) == (False, False, {"text": "Здравствуйте"})
    assert network["is_typing"] and network["chats"][0]["unread"] == 1


def test_the_state_waits_for_something_new(desk: Desk) -> None:
    seen = state(desk)["seen"]
    Timer(0.4, desk.say, ["hi"]).start()
    began = time.monotonic()
    assert state(desk, seen=seen)["seen"] != seen
    assert 0.3 < time.monotonic() - began < 3


def test_a_wrong_deed_is_explained(desk: Desk) -> None:
    answer = requests.post(f"{desk.base}/phone/say", json={"network": "vk", "say": {"edit": 99}}, timeout=5)
    assert answer.status_code == 400 and "99" in answer.json()["error"]
