"""Our errors as people and programs meet them: application/problem+json (RFC 9457) for /api and /hooks, a page elsewhere.

A problem has a stable slug for programs; its title and advice are looked up in the locales' `pages/problem.json`. What
nobody expected is a 500 with the trace id and nothing else, and one log line with the traceback.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, json, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from widget_backend import ids, language, logs, texts
from widget_backend.bridge.errors import MostikError, NotGenuine, Unsafe
from widget_backend.reading import Malformed

PROGRAM_PATHS = ("/api/", "/hooks/")
_SLUGS: Mapping[int, str] = {
    400: "malformed", 401: "unauthenticated", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
    408: "too_slow", 409: "conflict", 410: "gone", 413: "too_large", 415: "unsupported_type", 422: "invalid",
    429: "too_many", 500: "internal", 503: "unavailable",
}  # fmt: skip

log = structlog.get_logger(__name__)


class Problem(MostikError):
    """An error with a status and a stable slug; `detail` is a translated sentence for this case, shown to the caller."""

    def __init__(
        self,
        status: int,
        slug: str,
        detail: str = "",
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(status, slug, detail)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.fields = dict(fields or {})
        self.retry_after = retry_after


class Invalid(Problem):
    """The request is understood and wrong; `fields` says what is wrong with which."""

    def __init__(
        self, slug: str = "invalid", detail: str = "", *, fields: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        super().__init__(422, slug, detail, fields=fields)


class Unauthenticated(Problem):
    """Nobody known asks."""

    def __init__(self, slug: str = "unauthenticated", detail: str = "") -> None:
        super().__init__(401, slug, detail)


class Forbidden(Problem):
    """Whoever asks may not."""

    def __init__(self, slug: str = "forbidden", detail: str = "") -> None:
        super().__init__(403, slug, detail)


class NotFound(Problem):
    """It is not there, or not for whoever asks: the two look the same."""

    def __init__(self, slug: str = "not_found", detail: str = "") -> None:
        super().__init__(404, slug, detail)


class Conflict(Problem):
    """It contradicts what is there already."""

    def __init__(self, slug: str = "conflict", detail: str = "") -> None:
        super().__init__(409, slug, detail)


class TooMany(Problem):
    """Too often; `retry_after` says when again."""

    def __init__(self, retry_after: timedelta, slug: str = "too_many", detail: str = "") -> None:
        super().__init__(429, slug, detail, retry_after=retry_after)


class Unavailable(Problem):
    """Not now; `retry_after` says when again."""

    def __init__(self, retry_after: timedelta, slug: str = "unavailable", detail: str = "") -> None:
        super().__init__(503, slug, detail, retry_after=retry_after)


def register(app: Flask) -> None:
    """Answer every error of an application in our shape. Call it after the extensions, whose handlers it replaces."""
    app.register_error_handler(Problem, respond)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(Malformed, _from_malformed)
    app.register_error_handler(NotGenuine, lambda error: respond(Forbidden("not_genuine")))
    app.register_error_handler(Unsafe, lambda error: respond(Invalid("unsafe_url")))
    app.register_error_handler(Exception, _from_bug)


def respond(problem: Problem) -> Response:
    """Turn a problem into an answer for whoever asked: a program or a person."""
    trace = logs.trace() or ids.new_id().hex
    is_program = request.path.startswith(PROGRAM_PATHS)
    answer = _for_program(problem, trace) if is_program else _for_person(problem, trace)
    answer.status_code = problem.status
    answer.headers["Cache-Control"] = "no-store"
    if problem.retry_after is not None:
        answer.headers["Retry-After"] = str(max(math.ceil(problem.retry_after.total_seconds()), 1))
    if problem.status >= 500:
        log.warning("problem_answered", status=problem.status, slug=problem.slug, trace=trace)
    return answer


def title_of(slug: str, status: int) -> str:
    """Return the translated title of a problem; a slug the locales do not know has the title of its status."""
    return _translated(slug) or _translated(_SLUGS.get(status, "")) or _phrase(status)


def _for_program(problem: Problem, trace: str) -> Response:
    body: dict[str, Any] = {
        "type": f"urn:mostik:problem:{problem.slug}",
        "title": title_of(problem.slug, problem.status),
        "status": problem.status,
        "code": problem.slug,
        "instance": f"urn:mostik:trace:{trace}",
        "trace_id": trace,
    }
    if problem.detail:
        body["detail"] = problem.detail
    if problem.fields:
        body["errors"] = problem.fields
    return Response(json.dumps(body, ensure_ascii=False), content_type="application/problem+json")


def _for_person(problem: Problem, trace: str) -> Response:
    page = render_template(
        "error.html",
        language=language.current(),
        status=problem.status,
        title=title_of(problem.slug, problem.status),
        detail=problem.detail,
        advice=_translated(f"{problem.slug}.advice"),
        home=f"{request.script_root}/",
        home_title=_translated("home"),
        trace_title=_translated("trace"),
        trace=trace,
    )
    return make_response(page)


def _from_http(error: HTTPException) -> Response:
    if error.response is not None or error.code is None or error.code < 400:
        return make_response(error.get_response())
    # flask-smorest puts marshmallow's messages there
    given = getattr(error, "data", None) or {}
    problem = Problem(error.code, _SLUGS.get(error.code, f"http_{error.code}"), fields=_fields(given.get("messages")))
    answer = respond(problem)
    for name, value in [*error.get_headers(), *(given.get("headers") or {}).items()]:
        if name in ("Allow", "WWW-Authenticate", "Retry-After"):
            answer.headers[name] = value
    return answer


def _from_malformed(error: Malformed) -> Response:
    return respond(Problem(400, "malformed", fields={error.path or "body": [f"{error.expected} ≠ {error.got_type}"]}))


def _from_bug(error: Exception) -> Response:
    trace = logs.trace() or ids.new_id().hex
    with logs.following(trace=trace):
        log.error("request_failed", endpoint=request.endpoint, method=request.method, exc_info=error)
        return respond(Problem(500, "internal"))


def _fields(messages: object, path: str = "") -> dict[str, list[str]]:
    """Flatten marshmallow's nested messages into path -> sentences."""
    if isinstance(messages, Mapping):
        found: dict[str, list[str]] = {}
        for key, inner in messages.items():
            found |= _fields(inner, f"{path}.{key}" if path else str(key))
        return found
    if isinstance(messages, (list, tuple)):
        return {path or "body": [str(message) for message in messages]}
    return {} if messages is None else {path or "body": [str(messages)]}


def _translated(slug: str) -> str:
    key = f"pages.problem.{slug}"
    return texts.text(key, language.current()) if texts.has(key) else ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return str(status)
