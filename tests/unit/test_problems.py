"""Every error is answered in one shape: a problem for programs, a page for people, nothing of the inside for anybody."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from flask import Flask, abort
from flask.testing import FlaskClient
from werkzeug.exceptions import MethodNotAllowed

from widget_backend import logs, problems, reading
from widget_backend.bridge.errors import NotGenuine, Unsafe

TEMPLATES = Path(problems.__file__).parent.parent / "widget_frontend" / "pages" / "templates"
RAISED: dict[str, Any] = {
    "invalid": problems.Invalid("bad_phone", "Проверьте номер", fields={"phone": ["слишком короткий"]}),
    "unauthenticated": problems.Unauthenticated(),
    "forbidden": problems.Forbidden(),
    "missing": problems.NotFound(),
    "conflict": problems.Conflict("key_reused"),
    "many": problems.TooMany(timedelta(seconds=1.2)),
    "unavailable": problems.Unavailable(timedelta(0)),
    "malformed": reading.Malformed("a.b", "text", "integer"),
    "not_genuine": NotGenuine("signature S3"),
    "unsafe": Unsafe("address"),
    "bug": RuntimeError("S3 secret"),
    "method": MethodNotAllowed(valid_methods=["PUT"]),
}


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    app = Flask("problems", template_folder=str(TEMPLATES))
    problems.register(app)

    @app.get("/api/<kind>")
    @app.get("/pages/<kind>")
    def fail(kind: str) -> str:
        if kind == "aborted":
            abort(418)
        raise RAISED[kind]

    with structlog.testing.capture_logs():
        yield app.test_client()


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("invalid", 422, "bad_phone"), ("unauthenticated", 401, "unauthenticated"), ("forbidden", 403, "forbidden"),
        ("missing", 404, "not_found"), ("conflict", 409, "key_reused"), ("many", 429, "too_many"),
        ("unavailable", 503, "unavailable"), ("malformed", 400, "malformed"), ("not_genuine", 403, "not_genuine"),
        ("unsafe", 422, "unsafe_url"), ("bug", 500, "internal"), ("method", 405, "method_not_allowed"),
        ("aborted", 418, "http_418"),
    ],
)  # fmt: skip
def test_a_program_gets_a_problem_and_a_person_a_page(client: FlaskClient, kind: str, status: int, code: str) -> None:
    answer = client.get(f"/api/{kind}")
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    body = answer.get_json(force=True)
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:mostik:problem:{code}")
    assert body["title"] and body["instance"].endswith(body["trace_id"])
    page = client.get(f"/pages/{kind}")
    assert (page.status_code, page.mimetype) == (status, "text/html")
    assert f">{status}<" in page.text and '<html lang="ru">' in page.text
    assert "S3" not in answer.text + page.text and "Traceback" not in page.text


def test_details_fields_and_headers_are_given(client: FlaskClient) -> None:
    body = client.get("/api/invalid").get_json(force=True)
    assert (body["detail"], body["errors"]) == ("Проверьте номер", {"phone": ["слишком короткий"]})
    assert client.get("/api/many").headers["Retry-After"] == "2"
    assert client.get("/api/unavailable").headers["Retry-After"] == "1"
    assert client.get("/api/method").headers["Allow"] == "PUT"
    assert client.get("/api/malformed").get_json(force=True)["errors"] == {"a.b": ["text ≠ integer"]}


def test_titles_and_advice_are_translated(client: FlaskClient) -> None:
    assert client.get("/api/missing").get_json(force=True)["title"] == "Не найдено"
    assert client.get("/api/missing", headers={"Accept-Language": "en"}).get_json(force=True)["title"] == "Not found"
    page = client.get("/pages/missing", headers={"Accept-Language": "en"})
    assert "<h1>Not found</h1>" in page.text and "Check the address" in page.text and '<html lang="en">' in page.text
    assert client.get("/api/nowhere/at/all").get_json(force=True)["code"] == "not_found"


def test_a_bug_is_logged_once_with_its_traceback_under_the_shown_id(client: FlaskClient) -> None:
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        body = client.get("/api/bug").get_json(force=True)
    failed = [line for line in lines if line["event"] == "request_failed"]
    assert [line["trace"] for line in failed] == [body["trace_id"]]
    assert "RuntimeError" in logs.describe(failed[0]["exc_info"]) and "S3" not in body.values()


def test_what_is_shown_is_escaped(client: FlaskClient) -> None:
    problem = problems.Invalid("x", "<script>alert(1)</script>")
    with client.application.test_request_context("/pages/x"):
        assert "<script>" not in problems.respond(problem).get_data(as_text=True)


def test_messages_of_schemas_are_flattened() -> None:
    nested = {"json": {"items": {0: {"name": ["короткое"]}}, "_schema": ["не то"]}}
    assert problems._fields(nested) == {"json.items.0.name": ["короткое"], "json._schema": ["не то"]}
