"""/api/v1, writing to clients: what is refused before anything is asked of anybody, and who may not write at all."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.unit.api.conftest import Program
from tests.unit.api.test_api import problem
from tests.unit.pages.house import House
from widget_backend.accounts import keys
from widget_backend.bridge.models import Composition
from widget_backend.bridge.tenancy import transaction

KEY = {"Idempotency-Key": "composer-1"}
TO = {"kind": "vk", "value": "anna"}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "json.to"),
        ({"to": TO}, "json.to"),
        ({"channel_id": "{channel}"}, "json.to"),
        ({"channel_id": "{channel}", "to": TO, "client_id": "{client}"}, "json.to"),
        ({"conversation_id": "{conversation}", "client_id": "{client}"}, "json.to"),
        ({"conversation_id": "anna"}, "json.conversation_id"),
        ({"channel_id": "{channel}", "to": {"kind": "", "value": "x"}}, "json.to.kind"),
        ({"channel_id": "{channel}", "to": {"kind": "vk", "value": "x" * 201}}, "json.to.value"),
        ({"conversation_id": "{conversation}", "text": "a\x00b"}, "json.text"),
        ({"conversation_id": "{conversation}", "text": "\ud800"}, "json.text"),
        ({"conversation_id": "{conversation}", "card": "12"}, "json.card"),
        ({"conversation_id": "{conversation}", "card": "lead:1\n"}, "json.card"),
        ({"conversation_id": "{conversation}", "author": {"name": "x" * 101}}, "json.author.name"),
        ({"conversation_id": "{conversation}", "colour": "red"}, "json.colour"),
    ],
)
def test_a_dialog_that_cannot_be_is_refused_by_field(
    program: Program, house: House, given: dict[str, Any], field: str
) -> None:
    ids = {"{channel}": house.channel_id, "{client}": house.client_id, "{conversation}": house.conversation_id}
    body = {name: str(ids.get(value, value)) if isinstance(value, str) else value for name, value in given.items()}
    answer = program.call("POST", "/dialogs", json=body, headers=KEY)
    assert field in problem(answer, 422, "invalid")["errors"]


def test_a_composer_without_a_key_is_refused(program: Program, house: House) -> None:
    for path in ("/dialogs", f"/dialogs/{house.conversation_id}/messages"):
        body = {"conversation_id": str(house.conversation_id)} if path == "/dialogs" else {"text": "x"}
        answer = program.call("POST", path, json=body)
        assert "headers.Idempotency-Key" in problem(answer, 422, "invalid")["errors"]


def test_a_message_is_kept_once_and_told_with_its_status(program: Program, house: House) -> None:
    path = f"/dialogs/{house.conversation_id}/messages"
    with transaction(house.account_id) as session:
        session.connection().exec_driver_sql("update conversations set last_in_at = now()")
    first = program.call("POST", path, json={"text": "раз", "author": {"name": "Иван"}}, headers=KEY)
    again = program.call("POST", path, json={"text": "раз", "author": {"name": "Иван"}}, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 200)
    one = first.get_json()["message"]
    assert (one["text"], one["author"], one["direction"], one["status"]) == ("раз", "Иван", "out", "queued")
    assert one["error"] is None and one["repeatable_id"] is None
    assert {line["end_id"] for line in one["deliveries"]} == {str(house.channel_id), str(house.connection_id)}
    assert again.get_json()["message"]["id"] == one["id"]
    problem(program.call("POST", path, json={"text": "два"}, headers=KEY), 409, "key_reused")
    with transaction(house.account_id) as session:
        assert [row.actor for row in session.query(Composition)] != []
    items = program.call("GET", path).get_json()["items"]
    assert [(line["text"], line["status"]) for line in items][:2] == [("раз", "queued"), ("Ответ first", "failed")]
    failed = items[1]
    assert failed["error"]["reason"] == "client_forbade" and "клиент" in failed["error"]["text"].lower()
    assert failed["repeatable_id"] == str(house.failed_id)


def test_a_closed_window_is_refused_and_an_open_one_counted(program: Program, house: House) -> None:
    path = f"/dialogs/{house.conversation_id}/messages"
    with transaction(house.account_id) as session:
        session.connection().exec_driver_sql(
            "update conversations set last_in_at = now() - interval '2 hours', window_s = 3600"
        )
    body = problem(program.call("POST", path, json={"text": "x"}, headers=KEY), 422, "refused")
    assert body["errors"] == {"reason": ["window_closed"]} and body["detail"]
    with transaction(house.account_id) as session:
        session.connection().exec_driver_sql("update conversations set window_s = 10800")
    assert program.call("POST", path, json={"text": "x"}, headers=KEY).status_code == 201


def test_who_only_reads_writes_to_nobody(app: Flask, house: House) -> None:
    reader = Program(app, keys.issue(house.account_id, title="r", role="reader", actor="x"))
    path = f"/dialogs/{house.conversation_id}/messages"
    assert reader.call("GET", path).status_code == 200
    for method, where in (("POST", path), ("POST", "/dialogs"), ("POST", "/files"), ("GET", "/recipients")):
        problem(reader.call(method, where, json={"text": "x"}, headers=KEY), 403, "forbidden")


def test_a_file_too_large_is_not_taken(program: Program, house: House) -> None:
    problem(program.call("POST", "/files", data=b"x"), 422, "invalid")
    told = {"CONTENT_LENGTH": str(10**12)}
    answer = program.call("POST", "/files?name=a.bin", data=b"x", environ_overrides=told)
    assert problem(answer, 413, "file_too_large")["detail"]


def test_a_file_may_be_larger_than_other_requests(app: Flask, program: Program, house: House) -> None:
    content = b"%PDF-" + b"x" * (5 << 20)
    answer = program.call("POST", "/files?name=../a.pdf", data=content, content_type="application/pdf")
    assert answer.status_code == 201, answer.text
    body = answer.get_json()
    assert (body["name"], body["mime"], body["size_bytes"]) == ("a.pdf", "application/pdf", len(content))
