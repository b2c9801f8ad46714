"""Every route says who may call it; nobody reaches another account's things; roles end where they should."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.unit.pages.house import Browser, House
from widget_backend import ids
from widget_backend.accounts import access
from widget_backend.accounts.sessions import Who
from widget_backend.bridge import journal, setup
from widget_backend.bridge.models import Message
from widget_backend.bridge.tenancy import transaction

# each of these proves by itself who calls: a signature, a signed link or ticket, the address asked from; or tells nothing about anybody
OWN_PROOF = {"files", "health", "embedded", "panel", "oauth", "oauth_arrivals", "api-docs"}


def test_every_route_declares_a_right_or_proves_its_caller_by_itself(app: Flask) -> None:
    without = [
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if not hasattr(app.view_functions[rule.endpoint], "right") and rule.endpoint.partition(".")[0] not in OWN_PROOF
    ]
    assert without == []


def test_open_routes_are_few_and_known(app: Flask) -> None:
    open_routes = {name for name, view in app.view_functions.items() if getattr(view, "right", None) is access.is_open}
    assert open_routes == {"pages.assets", "pages.sign_in", "pages.reference"}


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        ("owner", {"look", "repeat", "configure", "audit", "hold_keys"}),
        ("admin", {"look", "repeat", "configure", "audit", "hold_keys"}),
        ("manager", {"look", "repeat"}),
        ("reader", {"look"}),
        ("nobody", set()),
    ],
)
def test_roles_have_their_rights(role: str, rights: set[str]) -> None:
    id = ids.new_id()
    who = Who(account_id=id, account_name="", role=role, actor="", name="", locale="ru", time_zone="UTC", user_id=id)
    given = {
        name for name in ("look", "repeat", "configure", "audit", "hold_keys") if getattr(access, f"may_{name}")(who)
    }
    assert given == rights


def test_a_reader_changes_nothing(person: Callable[[str], Browser], house: House) -> None:
    reader = person("reader")
    assert reader.get("/messages").status_code == 200
    page = reader.get(f"/ends/{house.channel_id}")
    assert page.status_code == 200 and "/settings" not in page.text and "disabled" in page.text
    assert "/repeat" not in reader.get(f"/messages/{house.answer_id}").text
    for path in (
        f"/ends/{house.channel_id}/disconnect",
        f"/ends/{house.channel_id}/check",
        f"/deliveries/{house.failed_id}/repeat",
        "/api-keys",
    ):
        assert reader.post(path, key="k" * 8).status_code == 403
    assert reader.get("/audit").status_code == 403


def paths_of(house: House) -> list[tuple[str, str]]:
    return [
        ("GET", f"/messages/{house.message_id}"), ("GET", f"/ends/{house.channel_id}"),
        ("GET", f"/ends/{house.channel_id}/connect"), ("GET", f"/ends/{house.channel_id}/disconnect"),
        ("POST", f"/ends/{house.channel_id}/settings"), ("POST", f"/ends/{house.channel_id}/connect"),
        ("POST", f"/ends/{house.channel_id}/check"), ("POST", f"/ends/{house.channel_id}/disconnect"),
        ("POST", f"/ends/{house.connection_id}/routes"), ("POST", f"/deliveries/{house.failed_id}/repeat"),
        ("POST", f"/apps/{house.channel_id}/secret"), ("POST", f"/api-keys/{house.channel_id}/revoke"),
    ]  # fmt: skip


def test_another_accounts_ids_are_404_everywhere(browser: Browser, houses: tuple[House, House]) -> None:
    _mine, theirs = houses
    for method, path in paths_of(theirs):
        answer = browser.get(path) if method == "GET" else browser.post(path, key="k" * 8, client_secret="s")
        assert answer.status_code == 404, path
        assert "second" not in answer.text
    assert setup.find(theirs.account_id, theirs.channel_id).state == "active"
    assert journal.delivery(theirs.account_id, theirs.failed_id).status == "failed"


def test_lists_show_only_the_own_account(browser: Browser, houses: tuple[House, House]) -> None:
    mine, theirs = houses
    for path in ("/", "/messages", "/audit", f"/messages?channel={theirs.channel_id}", f"/ends/{mine.channel_id}"):
        text = browser.get(path).text
        assert "second" not in text and str(theirs.connection_id) not in text.replace(
            f"channel={theirs.channel_id}", ""
        )


def test_an_account_that_is_not_his_cannot_be_chosen(browser: Browser, houses: tuple[House, House]) -> None:
    assert browser.post("/account", account=str(houses[1].account_id)).status_code == 404
    assert browser.post("/account", account="nonsense").status_code == 404


def test_foreign_routes_cannot_be_joined(browser: Browser, houses: tuple[House, House]) -> None:
    mine, theirs = houses
    browser.post(f"/ends/{mine.channel_id}/routes", other=[str(theirs.connection_id)])
    assert setup.pairs(mine.account_id) == set()
    assert setup.pairs(theirs.account_id) == {(theirs.channel_id, theirs.connection_id)}


def test_row_security_alone_hides_another_accounts_rows(houses: tuple[House, House]) -> None:
    """Ask with the other account's id in the query, but as ourselves: the query's own condition lets the row pass, the database does not."""
    mine, theirs = houses
    with transaction(mine.account_id) as session:
        assert session.get(Message, theirs.message_id) is None
        assert session.query(Message).filter(Message.account_id == theirs.account_id).count() == 0
