"""/api/v1: who may call, what comes back, what is refused and how."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.unit.api.conftest import Program
from tests.unit.pages.house import Browser, House
from widget_backend.accounts import keys
from widget_backend.api import frame
from widget_backend.bridge.setup import MASK

CHANNEL = {"adapter": "vk", "title": "Новый", "settings": {"token": "x" * 40, "group_chats": True}}


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), answer.text
    body: dict[str, Any] = answer.get_json(force=True)
    assert (body["status"], body["code"]) == (status, code)
    assert body["title"]
    return body


def test_ends_are_listed_by_side_without_secrets(program: Program, house: House) -> None:
    channels = program.call("GET", "/channels").get_json()["items"]
    connections = program.call("GET", "/connections").get_json()["items"]
    assert [one["id"] for one in channels] == [str(house.channel_id)]
    assert [one["id"] for one in connections] == [str(house.connection_id)]
    assert channels[0]["settings"]["token"] == MASK
    assert channels[0]["state"] == "active"
    assert connections[0]["settings"]["line"] == "7"


def test_a_channel_is_made_and_shown(program: Program) -> None:
    made = program.call("POST", "/channels", json=CHANNEL)
    assert made.status_code == 201
    body = made.get_json()
    assert (body["state"], body["title"], body["settings"]["token"]) == ("new", "Новый", MASK)
    assert body["settings"]["group_chats"] is True
    assert "x" * 40 not in made.text
    assert program.call("GET", f"/channels/{body['id']}").get_json() == body


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"adapter": "vk", "settings": {}}, "settings.token"),
        ({"adapter": "vk", "settings": {"token": "short"}}, "settings.token"),
        ({"adapter": "vk", "settings": {"token": "x" * 40, "group_id": "1"}}, "settings.group_id"),
        ({"adapter": "nothing", "settings": {}}, "adapter"),
        ({"settings": {}}, "json.adapter"),
        ({"adapter": "vk", "settings": []}, "json.settings"),
    ],
)
def test_a_channel_that_cannot_be_is_refused_by_field(program: Program, given: dict[str, Any], field: str) -> None:
    assert field in problem(program.call("POST", "/channels", json=given), 422, "invalid")["errors"]


def test_a_body_that_is_no_json_is_a_problem(program: Program) -> None:
    answer = program.call("POST", "/channels", data="{", content_type="application/json")
    problem(answer, 400, "malformed")


def test_messages_come_in_pages(program: Program, house: House) -> None:
    first = program.call("GET", "/messages?limit=1").get_json()
    assert [one["id"] for one in first["items"]] == [str(house.answer_id)]
    second = program.call("GET", f"/messages?limit=1&cursor={first['next_cursor']}").get_json()
    assert [one["id"] for one in second["items"]] == [str(house.message_id)]
    assert second["next_cursor"] is None
    assert second["items"][0]["deliveries"][0]["status"] == "delivered"


@pytest.mark.parametrize("query", ["limit=0", "limit=9999", "limit=x", "status=lost", "direction=up", "channel_id=1"])
def test_a_wrong_filter_is_refused(program: Program, query: str) -> None:
    problem(program.call("GET", f"/messages?{query}"), 422, "invalid")


def test_a_wrong_cursor_is_refused(program: Program) -> None:
    problem(program.call("GET", "/messages?cursor=nonsense"), 422, "bad_cursor")


def test_one_message_is_shown_with_everything(program: Program, house: House) -> None:
    body = program.call("GET", f"/messages/{house.answer_id}").get_json()
    assert body["client_name"] == "Анна"
    assert body["trace"][0]["why"] == "not_group"
    delivery = body["deliveries"][0]
    assert (delivery["status"], delivery["reason"]) == ("failed", "client_forbade")
    assert [one["outcome"] for one in delivery["attempts"]] == ["rejected"]


def test_a_repeat_keeps_its_key(program: Program, house: House) -> None:
    path = f"/deliveries/{house.failed_id}/repeat"
    headers = {"Idempotency-Key": "order-42-again"}
    first = program.call("POST", path, headers=headers).get_json()
    second = program.call("POST", path, headers=headers).get_json()
    assert (first["is_new"], second["is_new"]) == (True, False)
    assert first["delivery"]["status"] == second["delivery"]["status"] == "queued"
    other = program.call("POST", f"/deliveries/{house.delivered_id}/repeat", headers=headers)
    problem(other, 409, "key_reused")
    problem(program.call("POST", path, headers={"Idempotency-Key": "another-key"}), 409, "not_repeatable")
    assert "headers.Idempotency-Key" in problem(program.call("POST", path), 422, "invalid")["errors"]


def test_routes_are_joined_and_parted(program: Program, house: House) -> None:
    path = f"/routes/{house.channel_id}/{house.connection_id}"
    assert len(program.call("GET", "/routes").get_json()["items"]) == 1
    for _ in range(2):
        assert program.call("DELETE", path).status_code == 204
    assert program.call("GET", "/routes").get_json()["items"] == []
    for _ in range(2):
        assert program.call("PUT", path).status_code == 200
    assert len(program.call("GET", "/routes").get_json()["items"]) == 1
    problem(program.call("PUT", f"/routes/{house.connection_id}/{house.channel_id}"), 422, "wrong_pair")


def test_another_accounts_ids_are_404(program: Program, houses: tuple[House, House]) -> None:
    mine, theirs = houses
    key = {"Idempotency-Key": "12345678"}
    for method, path in [
        ("GET", f"/channels/{theirs.channel_id}"),
        ("POST", f"/channels/{theirs.channel_id}/connect"),
        ("POST", f"/channels/{theirs.channel_id}/check"),
        ("POST", f"/channels/{theirs.channel_id}/disconnect"),
        ("GET", f"/messages/{theirs.message_id}"),
        ("POST", f"/deliveries/{theirs.failed_id}/repeat"),
        ("PUT", f"/routes/{mine.channel_id}/{theirs.connection_id}"),
        ("PUT", f"/routes/{theirs.channel_id}/{mine.connection_id}"),
        ("DELETE", f"/routes/{theirs.channel_id}/{theirs.connection_id}"),
        ("GET", f"/channels/{mine.connection_id}"),
    ]:
        problem(program.call(method, path, headers=key), 404, "not_found")
    assert program.call("GET", f"/messages?channel_id={theirs.channel_id}").get_json()["items"] == []


@pytest.mark.parametrize(
    "key", ["", "x", "mostik_api_x_y", f"mostik_api_{'0' * 32}_x", f"mostik_api_{'0' * 32}", "\udcff"]
)
def test_a_wrong_key_opens_nothing(app: Flask, house: House, key: str) -> None:
    problem(Program(app, key.encode("utf-8", "replace").decode()).call("GET", "/channels"), 401, "key_wrong")


def test_nobody_is_asked_who_he_is(app: Flask, house: House) -> None:
    problem(app.test_client().get("/api/v1/channels"), 401, "unauthenticated")


def test_a_key_of_one_account_with_the_name_of_another_opens_nothing(app: Flask, houses: tuple[House, House]) -> None:
    first, second = houses
    mixed = first.key.replace(first.account_id.hex, second.account_id.hex)
    problem(Program(app, mixed).call("GET", "/channels"), 401, "key_wrong")


def test_a_revoked_key_opens_nothing(app: Flask, program: Program, house: House) -> None:
    row = keys.listed(house.account_id)[0]
    assert row.used_at is None
    assert program.call("GET", "/channels").status_code == 200
    assert keys.listed(house.account_id)[0].used_at is not None
    keys.revoke(house.account_id, row.id, actor="x")
    problem(program.call("GET", "/channels"), 401, "key_wrong")


def test_a_key_that_may_only_read_changes_nothing(app: Flask, house: House) -> None:
    reader = Program(app, keys.issue(house.account_id, title="r", role="reader", actor="x"))
    assert reader.call("GET", "/messages").status_code == 200
    problem(reader.call("POST", "/channels", json=CHANNEL), 403, "forbidden")
    repeat = reader.call("POST", f"/deliveries/{house.failed_id}/repeat", headers={"Idempotency-Key": "12345678"})
    problem(repeat, 403, "forbidden")


def test_a_session_may_call_too_and_changes_need_the_forms_token(app: Flask, house: House) -> None:
    browser = Browser(app.test_client())
    browser.sign_in(house.email)
    assert browser.get("/api/v1/channels").status_code == 200
    path = f"/api/v1/routes/{house.channel_id}/{house.connection_id}"
    problem(browser.client.put(path), 403, "form_expired")
    with browser.client.session_transaction() as session:
        token = session["csrf"]
    assert browser.client.put(path, headers={"X-CSRF-Token": token}).status_code == 200


def test_the_rate_limit_is_told_and_kept_per_account(
    app: Flask, program: Program, houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = program.call("GET", "/channels")
    assert int(answer.headers["RateLimit-Limit"]) == frame.LIMIT
    assert int(answer.headers["RateLimit-Remaining"]) == frame.LIMIT - 1
    assert 0 < int(answer.headers["RateLimit-Reset"]) <= 60
    monkeypatch.setattr(frame, "LIMIT", 2)
    assert program.call("GET", "/channels").status_code == 200
    refused = program.call("GET", "/channels")
    problem(refused, 429, "too_many")
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert Program(app, houses[1].key).call("GET", "/channels").status_code == 200


def test_trouble_with_the_network_is_502_with_its_reason(program: Program, house: House) -> None:
    """The tests' own settings name the real network, which the guard lets nobody reach from here: connecting fails with a reason."""
    made = program.call("POST", "/channels", json=CHANNEL).get_json()
    body = problem(program.call("POST", f"/channels/{made['id']}/connect"), 502, "end_trouble")
    assert body["detail"]
    assert body["errors"]["reason"]


def test_the_description_names_every_call_and_how_to_sign_in(app: Flask, house: House) -> None:
    spec = app.test_client().get("/api/v1/openapi.json").get_json()
    described = {(path, method) for path, item in spec["paths"].items() for method in item if method != "parameters"}
    routes = {
        (rule.rule.replace("<uuid:", "{").replace(">", "}"), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/") and not rule.endpoint.startswith("api-docs")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert described == routes
    assert spec["security"] == [{"key": []}]
    assert spec["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_the_reference_loads_nothing_from_elsewhere(app: Flask, house: House) -> None:
    page = app.test_client().get("/api-reference").text
    assert "/api/v1/messages/{message_id}" in page
    assert "//" not in page.replace("http://www.w3.org", "").replace("application/problem+json", "").split("<main")[
        0
    ].replace("<!doctype", "")
