"""The rules by themselves: what passes, what is filtered, and which settings of a channel they read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from widget_backend.bridge import channel_settings, rules
from widget_backend.bridge.ends import Side
from widget_backend.bridge.statuses import Status


def _judged(**over: Any) -> tuple[Status | None, str]:
    facts: dict[str, Any] = {
        "direction": "in", "place": "direct", "text": "x", "is_automatic": False, "to_side": Side.CRM, "can_group": True,
        "channel_settings": {}, "end_settings": {},
    }  # fmt: skip
    status, trace = rules.judge(rules.Question(**facts | over))
    return status, trace[-1][1].why


@pytest.mark.parametrize(
    ("settings", "can_group", "status", "why"),
    [
        ({}, True, Status.FILTERED, "groups_unwanted"),
        ({"group_chats": False}, False, Status.FILTERED, "groups_unwanted"),
        ({"group_chats": True}, True, None, "groups_wanted"),
        ({"group_chats": True}, False, Status.DISCARDED, "groups_unsupported"),
    ],
)
def test_group_chats_go_where_they_are_wanted_and_can_be_shown(
    settings: dict[str, object], can_group: bool, status: Status | None, why: str
) -> None:
    assert _judged(place="group", channel_settings=settings, can_group=can_group) == (status, why)


def test_an_answer_into_a_group_is_never_filtered() -> None:
    assert _judged(place="group", to_side=Side.NETWORK, direction="out", can_group=False) == (None, "not_group")


@pytest.mark.parametrize(("settings", "status"), [({}, None), ({"automatic_texts": False}, Status.FILTERED)])
def test_automatic_texts_reach_clients_unless_they_are_switched_off(
    settings: dict[str, object], status: Status | None
) -> None:
    about: dict[str, Any] = {"direction": "out", "to_side": Side.NETWORK, "channel_settings": settings}
    assert _judged(is_automatic=True, **about)[0] is status
    assert _judged(is_automatic=False, **about)[0] is None, "what a person writes is no automatic text"


@pytest.mark.parametrize(("hours", "meant"), [(None, 24), (6, 6), ("6", 24), (0, 24)])
def test_a_channel_says_how_long_an_answer_may_wait_or_leaves_it_to_the_server(hours: object, meant: int) -> None:
    assert channel_settings.patience({"expiry_hours": hours}, 24) == timedelta(hours=meant)
