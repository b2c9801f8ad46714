"""What the adapter makes of answers that concern a part of a batch only (crms/bitrix24/adapter.py)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from widget_backend.bridge.ends import Accepted, Act, Client, Conversation, End, Item, Link, Outcome, Side
from widget_backend.bridge.errors import Rejected, Retry
from widget_backend.bridge.events import Direction, Person, Place
from widget_backend.crms.bitrix24.adapter import Bitrix24


def _end() -> End:
    return End(
        id=str(uuid4()),
        account_id=str(uuid4()),
        adapter="bitrix24",
        side=Side.CRM,
        title="",
        remote_id="portal",
        settings={"client_endpoint": "https://acme.example/rest/"},
        secrets={},
        hook_url="",
        server=lambda name: {"rate": "2", "burst": "50", "request_limit_s": "60"}[name],
    )


def _item(phone: str) -> Item:
    key = str(uuid4())
    talk = Conversation(
        id=key,
        client=Client(id=key, person=Person(remote_id="1", name="Анна", phone=phone)),
        thread="",
        scope="",
        place=Place.DIRECT,
        title="",
        network="vk",
        channel_title="",
        link=Link(remote_id=key, state={}),
    )
    at = datetime.now(UTC)
    return Item(
        key=key,
        counter=1,
        act=Act.NEW,
        conversation=talk,
        message_id=key,
        direction=Direction.IN,
        sent_at=at,
        text="hello",
    )


def test_trouble_of_a_second_call_does_not_take_back_what_the_first_one_showed(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, batch = Bitrix24(_end()), [_item(""), _item("12")]
    calls: list[int] = []

    def send(items: Sequence[Item], _entries: object) -> list[Outcome]:
        calls.append(len(items))
        if len(calls) > 1:
            raise Retry("rate_limited")
        return [Accepted(remote_ids=(items[0].key,)), Rejected("bitrix24_refused")]

    monkeypatch.setattr(adapter, "_send", send)
    outcomes = adapter.import_messages(batch)
    assert calls == [2, 1]
    assert isinstance(outcomes[0], Accepted) and isinstance(outcomes[1], Retry)
