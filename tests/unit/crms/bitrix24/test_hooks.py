"""What the contract's driver does not say of the hooks: what is kept, what was pulled, whose body it is (crms/bitrix24/hooks.py)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from widget_backend.bridge.ends import Hook, Owner
from widget_backend.bridge.errors import NotGenuine
from widget_backend.bridge.events import EndChanged, MessageReceived, Unparsed
from widget_backend.crms.bitrix24 import hooks

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
OWNER = Owner(
    adapter="bitrix24",
    remote_id="m1",
    settings={"connector": "mostik_1", "line": "1", "client_endpoint": "https://acme.bitrix24.ru/rest/"},
    secrets={"application_token": "the secret"},
)
AUTH = {
    "auth[member_id]": "m1",
    "auth[application_token]": "the secret",
    "auth[client_endpoint]": "https://acme.bitrix24.ru/rest/",
}


def _hook(fields: dict[str, str], name: str = "event") -> Hook:
    return Hook(body=urlencode(fields).encode(), received_at=NOW, name=name)


def _pulled(body: dict[str, Any]) -> list[Any]:
    return list(hooks.parse(Hook(body=json.dumps(body).encode(), received_at=NOW, name="pull"), OWNER))


def test_tokens_are_not_kept_however_they_are_written() -> None:
    fields = {**AUTH, "event": "ONAPPTEST", "auth[access_token]": "a1", "auth[refresh_token]": "r1"}
    raw = urlencode(fields).encode() + b"&auth[access_token]=a2&AUTH%5BREFRESH_TOKEN%5D=r2"
    kept = hooks.verify(Hook(body=raw, received_at=NOW), OWNER)

    assert kept.body is not None
    assert not any(secret in kept.body for secret in (b"a1", b"r1", b"a2", b"r2", b"the+secret"))
    assert b"ONAPPTEST" in kept.body


@pytest.mark.parametrize(
    "changed",
    [
        {"auth[member_id]": "m2"},
        {"auth[member_id]": ""},
        {"auth[application_token]": "another"},
        {"auth[application_token]": ""},
        {"auth[client_endpoint]": "https://acme.bitrix24.ru.example.net/rest/"},
        {"auth[client_endpoint]": "https://other.bitrix24.ru/rest/"},
    ],
)
def test_what_another_portal_could_send_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(NotGenuine):
        hooks.verify(_hook({**AUTH, "event": "ONAPPTEST", **changed}), OWNER)


def test_end_without_a_secret_takes_nothing() -> None:
    owner = Owner(adapter="bitrix24", remote_id="m1", settings=OWNER.settings, secrets={})
    with pytest.raises(NotGenuine):
        hooks.verify(_hook({**AUTH, "auth[application_token]": "", "event": "ONAPPTEST"}), owner)


def test_body_is_of_the_portal_it_names() -> None:
    hook = _hook({**AUTH, "event": "ONAPPTEST"})

    assert hooks.split(hook) == [("m1", "", hook.body)]


def test_pulled_message_has_the_id_its_event_would_have_had() -> None:
    told = {"id": "86497", "user_id": "27", "author": "Анна", "text": "[b]да[/b]", "at": 1790001100, "files": []}
    body = {"event": hooks.PULLED_MESSAGES, "thread": "c1", "chat_id": "1807", "messages": [told]}

    (event,) = _pulled(body)

    assert isinstance(event, MessageReceived)
    assert (event.remote_id, event.thread, event.text, event.author) == ("1807:86497", "c1", "да", "Анна")
    assert event.sent_at == datetime.fromtimestamp(1790001100, UTC)


def test_pulled_move_changes_the_address_and_nothing_else() -> None:
    moved = {"event": hooks.PULLED_MOVE, "client_endpoint": "https://new.bitrix24.ru/rest/"}

    assert _pulled(moved) == [
        EndChanged(settings={"client_endpoint": "https://new.bitrix24.ru/rest/", "domain": "new.bitrix24.ru"})
    ]


def test_what_was_pulled_and_is_not_understood_is_kept_as_unparsed() -> None:
    assert _pulled({"event": "PULLED_SOMETHING"}) == [Unparsed(kind="PULLED_SOMETHING", why="unknown event")]
    assert [type(event) for event in _pulled({"event": hooks.PULLED_MESSAGES})] == [Unparsed]


def test_a_form_cannot_pretend_to_have_been_pulled() -> None:
    (event,) = hooks.parse(_hook({**AUTH, "event": hooks.PULLED_MOVE, "client_endpoint": "https://x/rest/"}), OWNER)

    assert isinstance(event, Unparsed)


def test_nobody_outside_may_call_his_body_pulled() -> None:
    both = b'{"event":"PULLED_MOVE","client_endpoint":"https://x/rest/","y":"&' + urlencode(AUTH).encode() + b'&"}'
    with pytest.raises(NotGenuine):
        hooks.verify(Hook(body=both, received_at=NOW, name="pull"), OWNER)
