"""What a client sees of the other side besides messages: that he was read, that somebody is typing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.bridge.pair import Pair, make_pair, new_user
from tests.stack import Stack, wait_for
from widget_backend import clock
from widget_backend.bridge import inbox, presence
from widget_backend.bridge.events import Ignored, TypingStarted
from widget_backend.bridge.inbox import _Parsed
from widget_backend.bridge.models import Inbox


def _read_marks(pair: Pair, user: int) -> list[str]:
    return [item["id"] for item in pair.phone(user, "read_by_community")]


def test_an_answer_marks_what_the_customer_wrote_before_it_as_read(pair: Pair) -> None:
    user = new_user()
    pair.customer_in_turn(user, {"text": "Есть кружка?"}, {"text": "Синяя"})
    pair.wait_seen(user, "Есть кружка?", "Синяя")
    assert not _read_marks(pair, user), "nobody has read it yet"
    pair.operator(user, text="Есть")
    pair.operator(user, text="Последняя")
    pair.wait_got(user, "Есть", "Последняя")
    pair.wait_quiet()
    asked = [item["id"] for item in pair.phone(user, "message") if item["direction"] == "in"]
    assert _read_marks(pair, user) == asked[-1:]
    assert pair.status("Синяя", pair.channel_id, "read") == "sent"
    assert len(pair.calls("vk", "messages.markAsRead")) == 1, "the second answer has nothing new to mark"


def test_nothing_is_marked_where_clients_shall_not_see_it(stack: Stack) -> None:
    pair = make_pair(stack, mark_read=False)
    user = new_user()
    pair.customer(user, text="Есть кружка?")
    pair.operator(user, text="Есть")
    pair.wait_got(user, "Есть")
    pair.wait_quiet()
    assert not pair.calls("vk", "messages.markAsRead")


def test_at_once_means_before_anybody_has_answered(stack: Stack) -> None:
    pair = make_pair(stack, auto_read=True)
    user = new_user()
    said = pair.customer(user, text="Есть кружка?")
    wait_for(lambda: _read_marks(pair, user) == [str(said["id"])], what="the read mark")
    pair.operator(user, text="Есть")
    pair.wait_got(user, "Есть")
    pair.wait_quiet()
    assert len(pair.calls("vk", "messages.markAsRead")) == 1


def test_a_manager_who_types_is_shown_at_once_and_nothing_is_stored(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="Есть кружка?")
    pair.wait_seen(user, "Есть кружка?")
    presence.show_typing(pair.account_id, pair.connection_id, {pair.thread_of(user), "unknown"})
    wait_for(lambda: pair.phone(user, "typing_by_community"), what="the sign of typing")
    assert not pair.deliveries("d.end_id = :channel", channel=pair.channel_id)


def test_typing_is_not_shown_where_it_is_not_wanted_or_the_client_forbade(stack: Stack, pair: Pair) -> None:
    silent = make_pair(stack, show_typing=False)
    unwilling, willing = new_user(), new_user()
    for one, user in ((silent, willing), (pair, unwilling), (pair, willing)):
        one.customer(user, text="Есть кружка?")
        one.wait_seen(user, "Есть кружка?")
    pair.change("update clients set may_write = false where remote_id = :user", user=str(unwilling))
    presence.show_typing(silent.account_id, silent.connection_id, {silent.thread_of(willing)})
    for user in (unwilling, willing):
        presence.show_typing(pair.account_id, pair.connection_id, {pair.thread_of(user)})
    wait_for(lambda: pair.phone(willing, "typing_by_community"), what="the sign of typing")
    assert len(pair.calls("vk", "messages.setActivity")) == 1
    assert not silent.calls("vk", "messages.setActivity")


@pytest.mark.parametrize(("ago_s", "is_shown"), [(0, True), (60, False)])
def test_typing_of_a_while_ago_is_over(ago_s: int, is_shown: bool) -> None:
    row = Inbox(received_at=clock.now() - timedelta(seconds=ago_s))
    parsed = [_Parsed(row, [Ignored(kind="x"), TypingStarted(thread="a"), TypingStarted(thread="a")])]
    assert inbox._typing_now(parsed) == ({"a"} if is_shown else set())
