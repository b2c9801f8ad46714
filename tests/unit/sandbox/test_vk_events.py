"""vk.md 5.4, 5.5, 5.7, 5.8, 5.9, 5.11, 5.12: callback servers, deliveries, every event, Long Poll."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
import requests

from tests.sandbox.run import start
from tests.unit.sandbox.vk_desk import USER, Desk, Door, Json, wait_for


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(["--only", "vk"]) as running:
        yield running.addresses["vk"]["base_url"]


@pytest.fixture
def desk(base: str) -> Iterator[Desk]:
    desk = Desk(base)
    yield desk
    desk.control("faults", hook_retry_scale=1.0, repeat_hooks_rate=0)


@pytest.fixture
def door() -> Iterator[Door]:
    with Door() as door:
        yield door


def test_titles_longer_than_14_and_an_11th_server_are_refused(desk: Desk, door: Door) -> None:
    named = {"group_id": desk.group_id, "url": door.url}
    assert desk.code("groups.addCallbackServer", **named, title="x" * 15) == 100
    assert desk.code("groups.addCallbackServer", **named, title="x", secret_key="s" * 51) == 100
    codes = [desk.code("groups.addCallbackServer", **named, title="x") for _ in range(11)]
    assert codes == [0] * 10 + [2000]


def test_a_wrong_confirmation_leaves_the_server_failed_and_without_events(desk: Desk, door: Door) -> None:
    door.code = "wrong"
    server_id = desk.ok("groups.addCallbackServer", group_id=desk.group_id, url=door.url, title="x")["server_id"]
    wait_for(lambda: desk.status(server_id) == "failed", "status failed")
    desk.ok("groups.setCallbackSettings", group_id=desk.group_id, server_id=server_id, message_new=1)
    desk.say("hi")
    assert [body["type"] for _, body in door.seen] == ["confirmation"]
    door.code = desk.ok("groups.getCallbackConfirmationCode", group_id=desk.group_id)["code"]
    named = {"group_id": desk.group_id, "server_id": server_id, "url": door.url, "title": "x"}
    desk.ok("groups.editCallbackServer", **named)
    wait_for(lambda: desk.status(server_id) == "ok", "status ok")


def test_only_enabled_events_come_and_they_carry_secret_and_version(desk: Desk, door: Door) -> None:
    desk.connect(door, "message_new")
    desk.say("hi")
    event = door.wait("message_new")
    assert (event["secret"], event["v"], event["group_id"]) == ("s3cr3t", "5.199", desk.group_id)
    assert event["object"]["message"]["text"] == "hi" and event["object"]["client_info"]["keyboard"]
    assert door.events("message_allow") == []


def test_two_servers_get_the_same_event_id(desk: Desk, door: Door) -> None:
    with Door() as second:
        desk.connect(door, "message_new")
        desk.connect(second, "message_new")
        desk.say("hi")
        assert door.wait("message_new")["event_id"] == second.wait("message_new")["event_id"]


@pytest.mark.parametrize("body", ['"ok"', "OK", "", "ok\n"])
def test_anything_but_ok_is_repeated_with_a_counter(desk: Desk, door: Door, body: str) -> None:
    desk.connect(door, "message_new")
    desk.control("faults", hook_retry_scale=0.01)
    door.answer = lambda _: (200, body if len(door.seen) < 4 else "ok", {})
    desk.say("hi")
    door.wait("message_new", 3)
    tries = [(headers.get("X-Retry-Counter"), event["event_id"]) for headers, event in door.seen[1:]]
    assert [counter for counter, _ in tries] == [None, "1", "2"]
    assert len({event_id for _, event_id in tries}) == 1


def test_five_failures_suspend_and_ten_fail_the_server(desk: Desk, door: Door) -> None:
    server_id = desk.connect(door, "message_new")
    desk.control("faults", hook_retry_scale=0.001)
    door.answer = lambda _: (500, "no", {})
    desk.say("hi")
    wait_for(lambda: desk.status(server_id) == "failed", "status failed")
    assert len(door.events("message_new")) == 10
    desk.say("lost for hooks, found by pull")
    assert len(door.events("message_new")) == 10
    assert desk.ok("messages.getHistory", peer_id=USER)["count"] == 2


def test_retry_after_is_obeyed(desk: Desk, door: Door) -> None:
    desk.connect(door, "message_new")
    door.answer = lambda _: (
        (503, "", {"Retry-After": formatdate(time.time() + 60, usegmt=True)}) if len(door.seen) < 3 else (200, "ok", {})
    )
    desk.say("hi")
    door.wait("message_new")
    time.sleep(0.2)
    desk.control("clock", advance_s=30)
    time.sleep(0.2)
    assert len(door.events("message_new")) == 1
    desk.control("clock", advance_s=35)
    door.wait("message_new", 2)


def test_remove_deletes_the_server(desk: Desk, door: Door) -> None:
    server_id = desk.connect(door, "message_new")
    door.answer = lambda _: (200, "remove", {})
    desk.say("hi")
    wait_for(lambda: desk.status(server_id) == "gone", "the server to go")


def test_delete_and_settings_of_an_unknown_server_are_104(desk: Desk) -> None:
    named = {"group_id": desk.group_id, "server_id": 99}
    assert desk.code("groups.deleteCallbackServer", **named) == 104
    assert desk.code("groups.getCallbackSettings", **named) == 104


def test_hooks_can_be_repeated(desk: Desk, door: Door) -> None:
    desk.connect(door, "message_new")
    desk.control("faults", repeat_hooks_rate=1)
    desk.say("hi")
    door.wait("message_new", 2)
    assert len({one["event_id"] for one in door.events("message_new")}) == 1


def test_the_first_message_is_preceded_by_message_allow(desk: Desk, door: Door) -> None:
    desk.connect(door, "message_new", "message_allow", "message_deny")
    desk.say("hi", ref="promo7", ref_source="site")
    assert door.wait("message_new")["object"]["message"]["ref"] == "promo7"
    assert door.wait("message_allow")["object"]["user_id"] == USER
    desk.say("again")
    assert "ref" not in door.wait("message_new", 2)["object"]["message"]
    desk.say(deny=True)
    assert door.wait("message_deny")["object"] == {"user_id": USER}


def test_every_send_echoes_with_its_random_id_and_admins_are_named(desk: Desk, door: Door) -> None:
    desk.connect(door, "message_reply")
    desk.say("hi")
    message_id = desk.send("Good day", random_id=784512)
    echo = door.wait("message_reply")["object"]
    assert (echo["id"], echo["random_id"], echo["out"], echo["from_id"]) == (message_id, 784512, 1, -desk.group_id)
    assert "admin_author_id" not in echo
    desk.send("Good day", random_id=784512)
    desk.say("by hand", **{"as": "admin"})
    assert door.wait("message_reply", 2)["object"]["admin_author_id"] == 777
    assert len(door.events("message_reply")) == 2


def test_reading_typing_and_editing_by_the_customer(desk: Desk, door: Door) -> None:
    desk.connect(door, "message_read", "message_typing_state", "message_edit")
    first = desk.say("helo")
    sent = desk.send("Good day")
    desk.say(read=True)
    assert door.wait("message_read")["object"]["read_message_id"] == sent
    assert desk.ok("messages.getConversationsById", peer_ids=USER)["items"][0]["out_read"] == sent
    desk.say(typing=True)
    assert door.wait("message_typing_state")["object"]["state"] == "typing"
    desk.say("hello", edit=first["id"])
    edited = door.wait("message_edit")["object"]
    assert (edited["id"], edited["text"], edited["update_time"] > 0) == (first["id"], "hello", True)


def test_a_cropped_event_says_so(desk: Desk, door: Door) -> None:
    desk.connect(door, "message_new")
    desk.say("long " * 400, cropped=True, attachments=[{"type": "photo"}])
    message = door.wait("message_new")["object"]["message"]
    assert message["is_cropped"] and len(message["text"]) == 400 and message["attachments"] == []


def test_a_callback_button_can_be_answered_for_a_minute(desk: Desk, door: Door) -> None:
    desk.connect(door, "message_event")
    desk.say("hi")
    event_id = desk.say(press={"button": "1"}, message=1)["id"]
    assert door.wait("message_event")["object"]["payload"] == {"button": "1"}
    answer = {"event_id": event_id, "user_id": USER, "peer_id": USER}
    assert desk.ok("messages.sendMessageEventAnswer", **answer) == 1
    desk.control("clock", advance_s=61)
    assert desk.code("messages.sendMessageEventAnswer", **answer) == 100


def test_reactions_of_the_customer_are_events(desk: Desk, door: Door) -> None:
    desk.connect(door, "message_reaction_event")
    desk.say("hi")
    desk.say(reaction=3, message=1)
    event = door.wait("message_reaction_event")["object"]
    assert event == {"reacted_id": USER, "peer_id": USER, "cmid": 1, "reaction_id": 3}
    assert desk.ok("messages.sendReaction", peer_id=USER, cmid=1, reaction_id=1) == 1
    assert desk.ok("messages.deleteReaction", peer_id=USER, cmid=1) == 1


def test_wall_comments_echo_and_thread_and_223_after_a_burst(desk: Desk, door: Door) -> None:
    desk.connect(door, "wall_reply_new", "wall_reply_edit", "wall_reply_delete")
    asked = desk.say("Price?", comment={"on": "wall", "thing": 55})["id"]
    assert door.wait("wall_reply_new")["object"]["post_id"] == 55
    wall = {"owner_id": -desk.group_id, "post_id": 55, "from_group": desk.group_id}
    answer = desk.ok("wall.createComment", **wall, message="500", reply_to_comment=asked, guid="g1")
    assert answer["parents_stack"] == [asked]
    assert door.wait("wall_reply_new", 2)["object"]["from_id"] == -desk.group_id
    assert desk.ok("wall.createComment", **wall, message="500", guid="g1")["comment_id"] == answer["comment_id"]
    desk.say("Price please?", comment={"on": "wall", "thing": 55, "edit": asked})
    assert door.wait("wall_reply_edit")["object"]["text"] == "Price please?"
    desk.say(comment={"on": "wall", "thing": 55, "delete": asked})
    assert door.wait("wall_reply_delete")["object"]["deleter_id"] == USER
    codes: list[int] = []
    while 223 not in codes and len(codes) < 60:
        codes.append(desk.code("wall.createComment", **wall, message="x"))
        time.sleep(0.06)
    assert codes.count(0) == 29


def test_posts_and_comments_are_read_with_the_service_token_only(desk: Desk) -> None:
    asked = desk.say("Price?", comment={"on": "wall", "thing": 55})["id"]
    wall = {"owner_id": -desk.group_id, "post_id": 55}
    desk.ok("wall.createComment", **wall, message="500", reply_to_comment=asked)
    service = {"access_token": desk.made["service_token"]}
    top = desk.ok("wall.getComments", **wall, **service)
    assert (top["count"], [one["text"] for one in top["items"]]) == (2, ["Price?"])
    thread = desk.ok("wall.getComments", **wall, comment_id=asked, **service)
    assert [one["text"] for one in thread["items"]] == ["500"]
    assert desk.ok("wall.getById", posts=f"-{desk.group_id}_55", **service)["items"][0]["id"] == 55
    assert (desk.code("wall.getComments", **wall), desk.code("wall.getById", posts="-1_1")) == (27, 27)


@pytest.mark.parametrize("place", ["photo", "video", "market", "board"])
def test_other_comments_are_events_only(desk: Desk, door: Door, place: str) -> None:
    prefix = "board_post" if place == "board" else f"{place}_comment"
    desk.connect(door, f"{prefix}_new", f"{prefix}_delete")
    made = desk.say("nice", comment={"on": place, "thing": 12})
    assert door.wait(f"{prefix}_new")["object"]["text"] == "nice"
    desk.say(comment={"on": place, "thing": 12, "delete": made["id"]})
    door.wait(f"{prefix}_delete")
    assert desk.code(f"{place}.createComment".replace("photo.", "photos."), message="x") == 27


def test_a_chat_uses_its_own_peer_and_no_message_id(desk: Desk, door: Door) -> None:
    desk.connect(door, "message_new")
    desk.say("all hear", chat=1)
    message = door.wait("message_new")["object"]["message"]
    assert (message["peer_id"], message["from_id"], message["id"]) == (2_000_000_001, USER, 0)


def listen(desk: Desk) -> Any:
    return desk.ok("groups.getLongPollServer", group_id=desk.group_id)


def check(poll: Json, **over: object) -> Any:
    query = {"act": "a_check", "key": poll["key"], "ts": poll["ts"], "wait": 2, **over}
    return requests.get(poll["server"], params=query, timeout=10).json()


def test_long_poll_must_be_enabled_and_gives_updates_without_secret(desk: Desk) -> None:
    assert desk.code("groups.getLongPollServer", group_id=desk.group_id) == 100
    desk.ok("groups.setLongPollSettings", group_id=desk.group_id, enabled=1, api_version="5.199", message_new=1)
    poll = listen(desk)
    assert check(poll, wait=0) == {"ts": poll["ts"], "updates": []}
    desk.say("hi")
    answer = check(poll)
    assert [one["object"]["message"]["text"] for one in answer["updates"]] == ["hi"]
    assert "secret" not in answer["updates"][0] and answer["ts"] == "1"


def test_long_poll_fails_with_1_2_and_3(desk: Desk) -> None:
    desk.ok("groups.setLongPollSettings", group_id=desk.group_id, enabled=1, message_new=1)
    poll = listen(desk)
    assert check(poll, key="old") == {"failed": 2}
    assert check(poll, ts=99) == {"failed": 3}
    desk.control("faults", own={"longpoll_failed": 1})
    assert check(poll) == {"failed": 1, "ts": 0}
    desk.control("clock", advance_s=3700)
    assert check(poll) == {"failed": 2}
