"""Whether a message of the company may be changed or taken back, told without asking the network."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from widget_backend import ids
from widget_backend.bridge.corrections import refusal
from widget_backend.bridge.ends import Act, Side
from widget_backend.bridge.models import Message
from widget_backend.bridge.registry import manifest
from widget_backend.bridge.routes import Stop
from widget_backend.bridge.standing import Standing, There

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CHANNEL = Stop(ids.new_id(), Side.NETWORK, "telegram_bot", "", "active", {}, manifest("telegram_bot").capabilities)


def there(status: str, *, hours: int = 1) -> There:
    return There(status, 1, (Standing(("1",), {}, NOW - timedelta(hours=hours)),))


def message(**over: Any) -> Message:
    return Message(**{"direction": "out", "text": "текст", "origin_end_id": ids.new_id(), "deleted_at": None, **over})


@pytest.mark.parametrize(
    ("standing", "edit", "delete"),
    [
        (there("sent"), "", ""),
        (there("read", hours=49), "", "delete_window_closed"),
        (There("queued", 0, ()), "", ""),
        (There("uncertain", 0, ()), "message_open", "message_open"),
        (There("failed", 0, ()), "message_not_there", "message_not_there"),
        (There("", 0, ()), "message_not_there", "message_not_there"),
    ],
)
def test_what_became_of_the_message_decides(standing: There, edit: str, delete: str) -> None:
    told = tuple(refusal(CHANNEL, message(), standing, act, NOW) for act in (Act.EDIT, Act.DELETE))
    assert told == (edit, delete)


@pytest.mark.parametrize(
    ("over", "edit", "delete"),
    [
        ({"direction": "in"}, "not_ours", "not_ours"),
        ({"deleted_at": NOW}, "deleted_already", "deleted_already"),
        ({"origin_end_id": CHANNEL.id}, "written_in_network", "written_in_network"),
        ({"text": ""}, "nothing_to_edit", ""),
    ],
)
def test_what_the_message_is_decides(over: dict[str, Any], edit: str, delete: str) -> None:
    told = tuple(refusal(CHANNEL, message(**over), there("sent"), act, NOW) for act in (Act.EDIT, Act.DELETE))
    assert told == (edit, delete)


@pytest.mark.parametrize(
    ("channel", "edit", "delete"),
    [
        (
            replace(CHANNEL, capabilities=replace(CHANNEL.capabilities, can_edit=False, can_delete=False)),
            "network_cannot_edit",
            "network_cannot_delete",
        ),
        (replace(CHANNEL, state="off"), "channel_off", "channel_off"),
        (replace(CHANNEL, state="error"), "channel_broken", "channel_broken"),
    ],
)
def test_what_the_channel_can_decides(channel: Stop, edit: str, delete: str) -> None:
    told = tuple(refusal(channel, message(), there("sent"), act, NOW) for act in (Act.EDIT, Act.DELETE))
    assert told == (edit, delete)
