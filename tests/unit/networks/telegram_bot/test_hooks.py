"""What the fixtures of tests/contract/telegram_bot cannot say: secrets, bodies that cannot be read, numbers that cannot be."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from widget_backend.bridge.ends import Hook, Kept, Owner
from widget_backend.bridge.errors import NotGenuine
from widget_backend.bridge.events import MessageReceived, Unparsed
from widget_backend.networks.telegram_bot import hooks

OWNER = Owner(adapter="telegram_bot", remote_id="7", settings={}, secrets={"webhook_secret": "right"})


def hook(body: bytes, secret: str | None = "right") -> Hook:
    headers = {} if secret is None else {"x-telegram-bot-api-secret-token": secret}
    return Hook(body=body, received_at=datetime(2026, 11, 21, tzinfo=UTC), headers=headers)


def message(**over: Any) -> bytes:
    told: dict[str, Any] = {
        "message_id": 5, "date": 1764000000, "chat": {"id": 1, "type": "private", "first_name": "Анна"},
        "from": {"id": 1, "is_bot": False, "first_name": "Анна"}, "text": "x",
    }  # fmt: skip
    return json.dumps({"update_id": 9, "message": told | over}).encode()


@pytest.mark.parametrize("secret", [None, "", "wrong", "righ", "right ", "правый"])
def test_a_wrong_secret_is_not_genuine(secret: str | None) -> None:
    with pytest.raises(NotGenuine):
        hooks.verify(hook(message(), secret), OWNER)


def test_an_end_without_a_secret_believes_nobody() -> None:
    for secrets in ({}, {"webhook_secret": ""}):
        with pytest.raises(NotGenuine):
            hooks.verify(hook(message(), ""), Owner(adapter="", remote_id="7", settings={}, secrets=secrets))


def test_the_secret_before_the_last_change_is_still_right() -> None:
    changed = Owner(
        adapter="telegram_bot", remote_id="7", settings={}, secrets={"webhook_secret": "new"},
        previous={"webhook_secret": "right"},
    )  # fmt: skip
    assert hooks.verify(hook(message()), changed) == Kept(event_id="9")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null", b"[" * 500, b'{"update_id": {}}'])
def test_a_genuine_body_that_cannot_be_read_is_kept_and_unparsed(body: bytes) -> None:
    assert hooks.verify(hook(body), OWNER) == Kept()
    assert isinstance(hooks.parse(hook(body), OWNER)[0], Unparsed)


@pytest.mark.parametrize("date", [-(10**12), 10**18, "soon"])
def test_an_impossible_date_is_unparsed(date: object) -> None:
    assert isinstance(hooks.parse(hook(message(date=date)), OWNER)[0], Unparsed)


@pytest.mark.parametrize("number", [0, -5])
def test_a_message_without_a_number_is_unparsed(number: int) -> None:
    assert isinstance(hooks.parse(hook(message(message_id=number)), OWNER)[0], Unparsed)


def test_the_same_number_in_two_chats_is_two_messages() -> None:
    first, second = (
        hooks.parse(hook(message(chat={"id": chat, "type": "private"}, **{"from": {"id": chat}})), OWNER)[0]
        for chat in (1, 2)
    )
    assert isinstance(first, MessageReceived) and isinstance(second, MessageReceived)
    assert (first.remote_id, first.scope) != (second.remote_id, second.scope)


def test_an_answer_holds_nothing_that_could_be_a_call() -> None:
    assert (hooks.answer(hook(b""), OWNER).status, hooks.answer(hook(b""), OWNER).body) == (200, "")


def test_there_is_nothing_to_split() -> None:
    assert hooks.split(hook(message())) == []
