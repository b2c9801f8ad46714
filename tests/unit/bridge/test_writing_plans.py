"""What a card's panel asks the database when it opens is found by an index, however many people and talks there are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import event, text

from tests.unit.bridge.test_plans import BIG, crowded
from widget_backend.bridge import dialogs, life, recipients, runtime
from widget_backend.bridge.ends import Address, Card, CardPerson
from widget_backend.bridge.tenancy import transaction
from widget_backend.config import Config
from widget_backend.database import plain_url

__all__ = ["crowded"]

FILL = """
    update clients set profile = jsonb_build_object('username', 'User' || remote_id, 'phone', '+7 912 ' || (1000000 + remote_id::int));
    insert into links (account_id, connection_id, conversation_id, remote_id, state)
        select account_id, '{connection}', id, id::text, jsonb_build_object('card', 'lead:' || row_number() over ())
        from conversations;
    insert into client_addresses (account_id, channel_id, kind, value, client_id, found_at)
        select account_id, channel_id, 'vk', 'user' || remote_id, id, now() from clients
"""


@pytest.fixture
def connection_id(config: Config, account_id: UUID, crowded: UUID) -> UUID:
    """Give a connection where every talk of the crowd began from a card of its own."""
    made = life.create(account_id, "bitrix24")
    with psycopg.connect(plain_url(config.database_owner_url), autocommit=True) as connection:
        connection.execute(FILL.format(connection=made).encode())
        connection.execute("analyze")
    return made


def card(address: Address) -> Card:
    person = CardPerson(remote_id="7", kind="contact", name="Анна", addresses=(address,))
    return Card(kind="lead", id="77", title="x", people=(person,))


def scanned(account_id: UUID, action: Callable[[], Any]) -> set[str]:
    """Return the tables that any select of an action reads from end to end."""
    said: list[tuple[str, Any]] = []

    def hear(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if statement.lower().lstrip().startswith("select") and "set_config" not in statement:
            said.append((statement, parameters))

    event.listen(runtime.get().engine, "before_cursor_execute", hear)
    try:
        action()
    finally:
        event.remove(runtime.get().engine, "before_cursor_execute", hear)
    assert said
    found: set[str] = set()
    with transaction(account_id) as session:
        session.execute(text("select 1"))
        for statement, parameters in said:
            plan = session.connection().exec_driver_sql(f"explain (format json) {statement}", parameters).scalar_one()
            nodes = [(plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]]
            while nodes:
                node = nodes.pop()
                nodes += node.get("Plans", [])
                if node["Node Type"] == "Seq Scan":
                    found.add(str(node["Relation Name"]))
    return found


def test_opening_a_panel(account_id: UUID, connection_id: UUID, crowded: UUID) -> None:
    big = BIG | {"links", "client_addresses"}
    for address in (Address(kind="vk", value="user42"), Address(kind="phone", value="8 912 100-00-42")):
        shown = recipients.options(account_id, card(address))
        assert shown[0].ways[0].is_known, "found by what his profile says"
        assert not scanned(account_id, lambda address=address: recipients.options(account_id, card(address))) & big
    page = dialogs.for_card(account_id, connection_id, card(Address(kind="vk", value="user42")))
    assert len(page.items) == 1
    again = scanned(
        account_id, lambda: dialogs.for_card(account_id, connection_id, card(Address(kind="vk", value="x")))
    )
    assert not again & big
    talk = page.items[0].conversation.id
    assert not scanned(account_id, lambda: dialogs.talk(account_id, talk)) & big


def test_finding_whom_to_write_to(account_id: UUID, connection_id: UUID, crowded: UUID) -> None:
    with transaction(account_id) as session:
        session.execute(text("update clients set may_write = true"))
    address = Address(kind="link", value="https://vk.com/User20")
    found = recipients.find(account_id, channel_id=crowded, address=address)
    assert found.client is not None and found.client.remote_id == "20" and found.conversation is not None
    read = scanned(account_id, lambda: recipients.find(account_id, channel_id=crowded, address=address))
    assert not read & (BIG | {"client_addresses"})
