"""What the fixtures of tests/contract/vk cannot say: hooks during a connection, foreign communities, answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from widget_backend.bridge.ends import Hook, Owner
from widget_backend.bridge.errors import NotGenuine
from widget_backend.bridge.events import Unparsed
from widget_backend.networks.vk import hooks

CONNECTING = Owner(
    adapter="vk",
    remote_id="",
    settings={"group_id": "5"},
    secrets={"callback_secret": "right", "confirmation": "d27f3cd5"},
)


def hook(**body: Any) -> Hook:
    return Hook(body=json.dumps(body).encode(), received_at=datetime(2026, 11, 21, tzinfo=UTC))


def test_the_confirmation_is_answered_while_the_end_has_no_remote_id_yet() -> None:
    asked = hook(type="confirmation", group_id=5, event_id="c", v="5.199")
    kept = hooks.verify(asked, CONNECTING)
    assert (kept.keep, hooks.answer(asked, CONNECTING).body) == (False, "d27f3cd5")


def test_a_confirmation_with_a_wrong_secret_is_not_genuine() -> None:
    with pytest.raises(NotGenuine):
        hooks.verify(hook(type="confirmation", group_id=5, secret="wrong"), CONNECTING)


def test_without_a_code_the_confirmation_is_put_off() -> None:
    owner = Owner(adapter="vk", remote_id="5", settings={}, secrets={})
    assert hooks.answer(hook(type="confirmation", group_id=5), owner).status == 503


@pytest.mark.parametrize("group_id", [6, -5, "", None, 50, True])
def test_another_community_is_not_genuine(group_id: object) -> None:
    with pytest.raises(NotGenuine):
        hooks.verify(hook(type="message_new", group_id=group_id, secret="right"), CONNECTING)


@pytest.mark.parametrize("secret", ["", "wrong", "righ", "right ", None, 5, ["right"]])
def test_a_wrong_secret_is_not_genuine(secret: object) -> None:
    with pytest.raises(NotGenuine):
        hooks.verify(hook(type="message_new", group_id=5, secret=secret), CONNECTING)


def test_an_end_without_a_secret_believes_nobody() -> None:
    owner = Owner(adapter="vk", remote_id="5", settings={}, secrets={"callback_secret": ""})
    with pytest.raises(NotGenuine):
        hooks.verify(hook(type="message_new", group_id=5, secret=""), owner)


def test_the_event_id_is_the_senders_and_the_answer_is_exactly_ok() -> None:
    asked = hook(type="message_new", group_id=5, event_id="a1", secret="right", object={})
    assert hooks.verify(asked, CONNECTING).event_id == "a1"
    answer = hooks.answer(asked, CONNECTING)
    assert (answer.status, answer.body, answer.content_type) == (200, "ok", "text/plain; charset=utf-8")


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"\xff", b'{"type": 5}', b"[" * 10_000])
def test_what_is_no_event_is_unparsed(body: bytes) -> None:
    events = hooks.parse(Hook(body=body, received_at=datetime(2026, 11, 21, tzinfo=UTC)), CONNECTING)
    assert all(isinstance(event, Unparsed) for event in events)
    assert len(events) == 1


def test_forwards_nested_too_deep_lose_nothing_but_themselves() -> None:
    message: dict[str, Any] = {"date": 1, "from_id": 1, "text": "deepest"}
    for _ in range(60):
        message = {"date": 1, "from_id": 1, "text": "x", "fwd_messages": [message]}
    told = {"id": 1, "peer_id": 1, "from_id": 1, "date": 1, "text": "see", "fwd_messages": [message]}
    (event,) = hooks.parse(hook(type="message_new", group_id=5, object={"message": told}), CONNECTING)
    assert len(event.forwards) == 61  # type: ignore[union-attr]


def test_splitting_gives_the_one_community_of_a_body() -> None:
    asked = hook(type="message_new", group_id=5, event_id="a1", secret="right", object={})
    assert hooks.split(asked) == [("5", "a1", asked.body)]
    assert hooks.split(Hook(body=b"{", received_at=asked.received_at)) == []
