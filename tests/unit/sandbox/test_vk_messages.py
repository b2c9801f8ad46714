"""vk.md 5.6, 5.7, 5.9, 5.13: sending and its refusals, random_id, edits, deletes, reading, history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sandbox.run import start
from tests.unit.sandbox.vk_desk import USER, Desk

DAY_S = 24 * 3600
# The kinds whose objects vk.md 3.2 and the schema describe alike; wall, story and poll are shorter in vk.md.
KINDS = (
    "photo",
    "doc",
    "voice",
    "sticker",
    "link",
    "video",
    "audio",
    "graffiti",
    "wall_reply",
    "market",
    "gift",
    "call",
)


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(["--only", "vk"]) as running:
        yield running.addresses["vk"]["base_url"]


@pytest.fixture
def desk(base: str) -> Desk:
    desk = Desk(base)
    desk.say("hi")
    return desk


def refusal(desk: Desk, **params: Any) -> int:
    return desk.code("messages.send", **{"peer_id": USER, "random_id": 0, "message": "x", **params})


def test_random_id_is_required(desk: Desk) -> None:
    assert refusal(desk, random_id=None) == 100


def test_a_repeated_random_id_returns_the_first_id_and_sends_nothing(desk: Desk) -> None:
    first = desk.send("one", random_id=42)
    assert desk.send("another text", random_id=42) == first
    assert len([one for one in desk.ledger("message") if one["direction"] == "out"]) == 1


def test_random_id_is_remembered_over_the_whole_history_and_for_every_peer(desk: Desk) -> None:
    first = desk.send("one", random_id=42)
    for number in range(12):
        desk.control("say", account=desk.group_id, user=900_000 + number, text="hi")
        desk.send("more", random_id=1000 + number)
    desk.control("clock", advance_s=40 * DAY_S)
    assert desk.ok("messages.send", peer_id=900_000, random_id=42, message="x") == first


def test_random_id_0_does_not_dedupe(desk: Desk) -> None:
    assert desk.send("one") != desk.send("one")


@pytest.mark.parametrize("message", ["", "   "])
def test_an_empty_message_is_100(desk: Desk, message: str) -> None:
    assert refusal(desk, message=message) == 100


def test_4096_characters_pass_and_one_more_is_914(desk: Desk) -> None:
    assert (refusal(desk, message="я" * 4096), refusal(desk, message="я" * 4097)) == (0, 914)


def test_a_user_who_never_wrote_is_901(desk: Desk) -> None:
    assert refusal(desk, peer_id=555) == 901


def test_deny_and_allow_switch_901(desk: Desk) -> None:
    desk.say(deny=True)
    assert refusal(desk) == 901
    group = {"group_id": desk.group_id, "user_id": USER}
    assert desk.ok("messages.isMessagesFromGroupAllowed", **group) == {"is_allowed": 0}
    desk.say(allow=True)
    assert refusal(desk) == 0


def test_a_blacklisted_user_is_900_and_the_conversation_says_so(desk: Desk) -> None:
    desk.say(block=True)
    assert refusal(desk) == 900
    can_write = desk.ok("messages.getConversationsById", peer_ids=USER)["items"][0]["can_write"]
    assert can_write == {"allowed": False, "reason": 900}


@pytest.mark.parametrize(
    "keyboard",
    [
        "not json",
        {"buttons": "x"},
        {"inline": True, "one_time": True, "buttons": []},
        {"buttons": [[{"action": {"type": "text", "label": "x" * 41}}]]},
        {"buttons": [[{"action": {"type": "text"}}]]},
        {"buttons": [[{"action": {"type": "open_link", "label": "x", "link": "https://a.b"}, "color": "primary"}]]},
        {"buttons": [[{"action": {"type": "text", "label": "x", "payload": {"a": 1}}}]]},
        {"inline": True, "buttons": [[{"action": {"type": "text", "label": "x"}}]] * 7},
        {"buttons": [[{"action": {"type": "text", "label": "x"}}] * 6]},
    ],
)
def test_a_bad_keyboard_is_911(desk: Desk, keyboard: Any) -> None:
    value = keyboard if isinstance(keyboard, str) else json.dumps(keyboard)
    assert refusal(desk, keyboard=value) == 911


def test_a_keyboard_without_bot_capabilities_is_912(base: str) -> None:
    desk = Desk(base, has_bot=False)
    desk.say("hi")
    keyboard = {"inline": True, "buttons": [[{"action": {"type": "text", "label": "Да"}, "color": "positive"}]]}
    assert refusal(desk, keyboard=json.dumps(keyboard)) == 912


def test_a_good_keyboard_reaches_the_phone(desk: Desk) -> None:
    keyboard = {"inline": True, "buttons": [[{"action": {"type": "text", "label": "Да"}, "color": "positive"}]]}
    desk.send("Продолжить?", keyboard=json.dumps(keyboard))
    assert desk.ledger("message")[-1]["keyboard"]["buttons"] == keyboard["buttons"]


@pytest.mark.parametrize("attachment", ["photo-1_1", "cat1_1", "photo1", ",".join(["photo-1_1"] * 11)])
def test_an_unknown_or_11th_attachment_is_100(desk: Desk, attachment: str) -> None:
    assert refusal(desk, attachment=attachment) == 100


def test_peer_ids_answers_a_list_with_an_error_for_each_recipient(desk: Desk) -> None:
    rows = desk.ok("messages.send", peer_ids=f"{USER},555", random_id=9, message="x")
    assert [(one["peer_id"], bool(one["message_id"])) for one in rows] == [(USER, True), (555, False)]
    assert rows[0]["conversation_message_id"] == 2
    assert rows[1]["error"]["code"] == 901


def test_more_than_100_peer_ids_is_100(desk: Desk) -> None:
    assert refusal(desk, peer_id=None, peer_ids=",".join(map(str, range(1, 102)))) == 100


def test_a_reply_quotes_by_id_and_by_forward(desk: Desk) -> None:
    desk.send("by id", reply_to=1)
    forward = {"peer_id": USER, "conversation_message_ids": [1], "is_reply": 1}
    desk.send("by cmid", forward=json.dumps(forward))
    items = desk.ok("messages.getHistory", peer_id=USER, count=2)["items"]
    assert [one["reply_message"]["text"] for one in items] == ["hi", "hi"]
    assert refusal(desk, reply_to=999) == 100


def test_an_edit_without_the_attachment_removes_it(desk: Desk) -> None:
    message_id = desk.say("see", attachments=[{"type": "photo"}], **{"as": "admin"})["id"]
    desk.ok("messages.edit", peer_id=USER, message_id=message_id, message="look")
    edited = desk.ledger("edit")[-1]
    assert (edited["text"], edited["attachments"]) == ("look", [])


def test_only_own_messages_can_be_edited_and_only_for_a_day(desk: Desk) -> None:
    message_id = desk.send("x")
    assert desk.code("messages.edit", peer_id=USER, message_id=1, message="y") == 920
    assert desk.code("messages.edit", peer_id=USER, message_id=message_id, message="y" * 4097) == 914
    desk.control("clock", advance_s=DAY_S + 5)
    assert desk.code("messages.edit", peer_id=USER, message_id=message_id, message="y") == 909


def test_delete_for_all_takes_own_messages_of_a_day(desk: Desk) -> None:
    fresh = desk.send("x")
    rows = desk.ok("messages.delete", message_ids=f"{fresh},1,999", delete_for_all=1)
    assert rows[0]["response"] == 1
    assert [one["error"]["code"] for one in rows[1:]] == [924, 100]
    assert [one["id"] for one in desk.ledger("delete")] == [str(fresh)]
    old = desk.send("y")
    desk.control("clock", advance_s=DAY_S + 5)
    assert desk.ok("messages.delete", message_ids=old, delete_for_all=1)[0]["error"]["code"] == 924


def test_mark_as_read_moves_in_read(desk: Desk) -> None:
    assert desk.ok("messages.getConversations", filter="unread")["items"][0]["conversation"]["unread_count"] == 1
    assert desk.ok("messages.markAsRead", peer_id=USER, start_message_id=1) == 1
    assert desk.ok("messages.getConversationsById", peer_ids=USER)["items"][0]["in_read"] == 1
    assert desk.ledger("read_by_community")


def test_typing_is_seen(desk: Desk) -> None:
    assert desk.ok("messages.setActivity", peer_id=USER, type="typing") == 1
    assert desk.code("messages.setActivity", peer_id=USER, type="dancing") == 100
    assert desk.ledger("typing_by_community")


def test_history_pages_in_both_directions(desk: Desk) -> None:
    for number in range(5):
        desk.say(f"m{number}")
    newest = desk.ok("messages.getHistory", peer_id=USER, count=2)
    assert (newest["count"], [one["text"] for one in newest["items"]]) == (6, ["m4", "m3"])
    older = desk.ok("messages.getHistory", peer_id=USER, start_message_id=newest["items"][-1]["id"], offset=1, count=9)
    assert [one["text"] for one in older["items"]] == ["m2", "m1", "m0", "hi"]
    oldest = desk.ok("messages.getHistory", peer_id=USER, rev=1, count=2, extended=1)
    assert [one["text"] for one in oldest["items"]] == ["hi", "m0"]
    assert oldest["profiles"][0]["id"] == USER
    assert desk.code("messages.getHistory", peer_id=USER, count=201) == 100


def test_conversations_are_sorted_and_filtered(desk: Desk) -> None:
    desk.say("later", user="Мария")
    rows = desk.ok("messages.getConversations", extended=1)
    assert (rows["count"], rows["items"][0]["last_message"]["text"]) == (2, "later")
    desk.send("answer")
    assert desk.ok("messages.getConversations", filter="unanswered")["count"] == 1


def test_a_cropped_message_is_whole_only_by_get_by_id(desk: Desk) -> None:
    desk.say("long " * 400, cropped=True, attachments=[{"type": "photo"}])
    whole = desk.ok("messages.getById", message_ids=2)["items"][0]
    assert len(whole["text"]) > 1500 and len(whole["attachments"]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_attachment_fits_the_schema(desk: Desk, kind: str) -> None:
    desk.say(attachments=[{"type": kind}])
    name = "audio_message" if kind == "voice" else kind
    items = desk.ok("messages.getHistory", peer_id=USER, count=1)["items"]
    assert items[0]["attachments"][0]["type"] == name


def test_geo_and_ref_come_with_the_message(desk: Desk) -> None:
    desk.say("here", attachments=[{"type": "geo"}], ref="promo7", ref_source="site")
    one = desk.ok("messages.getHistory", peer_id=USER, count=1)["items"][0]
    assert (one["geo"]["coordinates"]["latitude"], one["ref"], one["ref_source"]) == (55.75, "promo7", "site")
