"""The life of an end: what is left of it when it is erased, and what an uninstalled portal leaves."""

from __future__ import annotations

from tests.bridge.pair import Pair, new_user
from tests.stack import wait_for
from widget_backend.bridge import life


def test_erased_end_leaves_nothing_but_the_audit_trail(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос", attachments=[{"type": "photo"}])
    pair.wait_seen(user, "вопрос")
    pair.wait_quiet()
    life.erase(pair.account_id, pair.channel_id, actor="Анна")
    tables = {"inbox": "owner_id", "lanes": "end_id", "gates": "end_id", "end_keys": "end_id", "errands": "end_id"}
    for table, column in tables.items():
        assert not pair.rows(f"select 1 from {table} where {column} = :id", id=pair.channel_id), table
    for table in ("clients", "conversations", "messages", "message_keys", "attachments", "deliveries", "parked"):
        assert not pair.rows(f"select 1 from {table}"), table
    trail = pair.rows("select actor from audit_entries where action = 'end.erase'")
    assert [row.actor for row in trail] == ["Анна"]


def test_uninstalled_portal_loses_its_gate_and_the_network_goes_on(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    app = pair.stack.peers["bitrix24"]["client_id"]
    pair.stack.control("bitrix24", "uninstall", account=pair.portal["member_id"], app=app, clean=False)
    state = "select state, reason from ends where id = :id"
    wait_for(lambda: pair.rows(state, id=pair.connection_id)[0].state == "error", what="the end in error")
    pair.customer(user, text="ещё")
    wait_for(lambda: pair.rows("select 1 from messages where text = 'ещё'"), what="the message kept")
    assert pair.status("ещё", pair.connection_id) == "queued"


def test_uninstall_with_its_data_erases_the_end(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    app = pair.stack.peers["bitrix24"]["client_id"]
    pair.stack.control("bitrix24", "uninstall", account=pair.portal["member_id"], app=app, clean=True)
    wait_for(lambda: not pair.rows("select 1 from ends where id = :id", id=pair.connection_id), what="the end erased")
    assert not pair.rows("select 1 from oauth_tokens where end_id = :id", id=pair.connection_id)


def test_disconnected_channel_can_be_connected_again(pair: Pair) -> None:
    life.disconnect(pair.account_id, pair.channel_id)
    life.connect(pair.account_id, pair.channel_id)
    user = new_user()
    pair.customer(user, text="again")
    pair.wait_seen(user, "again")
