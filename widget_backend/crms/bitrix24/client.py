"""One call to a portal: signs it with the end's token, sends it, and maps every answer to a value or to one of the errors.

What the methods mean is in `adapter`; here are the conventions of bitrix24.md 2: JSON in a POST, a token that expires, a portal that moves, batches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urljoin, urlsplit

from widget_backend import clock, outside
from widget_backend.bridge.ends import End, Tokens
from widget_backend.bridge.errors import (
    AccessLost,
    EndError,
    Misconfigured,
    Rejected,
    Retry,
    Uncertain,
    Unsafe,
)
from widget_backend.limits import Limit, LimitWait, Priority
from widget_backend.reading import Malformed, Reader, read_json

BATCH_LIMIT = 50
_READ = timedelta(seconds=25)  # a batch with files takes long; the portal itself cuts at 60 s (bitrix24.md 2)
_MOVED = (301, 302, 307, 308)
_MASKED = re.compile(r"\d{4,}|\S+@\S+")

# bitrix24.md 2.1, 3.1 to 3.3, lower-cased: docs and SDK disagree about the HTTP status, so only the code counts.
ERRORS: Mapping[str, tuple[type[EndError], str]] = {
    "expired_token": (Retry, "token_expired"),
    "no_auth_found": (AccessLost, "token_revoked"),
    "invalid_token": (AccessLost, "token_revoked"),
    "invalid_credentials": (AccessLost, "token_revoked"),
    "invalid_grant": (AccessLost, "token_revoked"),
    "error_oauth": (AccessLost, "bitrix24_uninstalled"),
    "application_not_found": (AccessLost, "bitrix24_uninstalled"),
    "not_installed": (AccessLost, "bitrix24_uninstalled"),
    "authorization_error": (AccessLost, "bitrix24_user_gone"),
    "user_access_error": (AccessLost, "bitrix24_user_denied"),
    "payment_required": (AccessLost, "bitrix24_payment"),
    "portal_deleted": (AccessLost, "bitrix24_portal_deleted"),
    "method_confirm_waiting": (Misconfigured, "bitrix24_confirmation"),
    "method_confirm_denied": (Misconfigured, "bitrix24_confirmation"),
    "insufficient_scope": (Misconfigured, "bitrix24_scope"),
    "access_denied": (Misconfigured, "bitrix24_access_denied"),
    "wrong_auth_type": (Misconfigured, "bitrix24_not_an_app"),
    "error_method_not_found": (Misconfigured, "bitrix24_old_portal"),
    "invalid_request": (Misconfigured, "bitrix24_https"),
    "not_active_line": (Misconfigured, "bitrix24_line_inactive"),
    "imconnector_no_correct_provider": (Misconfigured, "bitrix24_connector_gone"),
    "imconnector_not_specified_correct_command": (Misconfigured, "bitrix24_connector_gone"),
    "error_argument": (Rejected, "bitrix24_argument"),
    "invalid_format": (Rejected, "bitrix24_argument"),
    "error_batch_method_not_allowed": (Rejected, "bitrix24_argument"),
    "error_batch_length_exceeded": (Rejected, "bitrix24_argument"),
    "access_error": (Rejected, "bitrix24_no_chat"),
    "chat_id": (Rejected, "bitrix24_no_chat"),
    "query_limit_exceeded": (Retry, "rate_limited"),
    "operation_time_limit": (Retry, "bitrix24_operating"),
    "overload_limit": (Retry, "bitrix24_overload"),
}
WAITS: Mapping[str, timedelta] = {
    "query_limit_exceeded": timedelta(seconds=1),  # the bucket lets two a second through
    "operation_time_limit": timedelta(minutes=1),  # a bucket of the window falls out every minute
    "overload_limit": timedelta(minutes=5),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the portal says instead of a result."""

    status: int
    code: str
    text: str
    argument: str = ""
    reset_at: datetime | None = None

    @property
    def detail(self) -> str:
        """Say it for support, without numbers and addresses of people."""
        return masked(f"HTTP {self.status} {self.code} {self.argument}".strip())

    def error(self) -> EndError:
        """Return the error it means. Source: bitrix24.md 2.1."""
        code = self.code.lower()
        if code in ERRORS:
            kind, reason = ERRORS[code]
            if kind is Retry:
                after = WAITS.get(code)
                if self.reset_at:
                    after = max(self.reset_at - clock.now(), timedelta(seconds=1))
                return Retry(reason, self.detail, after)
            return kind(reason, self.detail)
        if self.status == 429:
            return Retry("rate_limited", self.detail)
        if self.status == 503 and not self.code:
            return Retry("unreachable", self.detail)  # a page of the server in front: the portal itself refuses in JSON
        return Uncertain("unknown_answer", self.detail)


class Portal:
    """One portal as an end's token sees it. `moved_to` is its new endpoint when it has been renamed meanwhile."""

    def __init__(
        self, *, endpoint: str, remote_id: str, tokens: Tokens | None, server: Callable[[str], object]
    ) -> None:
        self._tokens = tokens
        # 2.2: the bucket belongs to the portal and our address, so that all ends on one portal share it.
        rate, burst = float(str(server("rate"))), int(str(server("burst")))
        self._limits = (Limit(f"bitrix24:{remote_id}", rate, burst),)
        self.endpoint = endpoint
        self.moved_to = ""

    @classmethod
    def of(cls, end: End) -> Portal:
        """Return the portal of an end. Source: bitrix24.md 2 (`client_endpoint` gives the address)."""
        endpoint = str(end.settings.get("client_endpoint", ""))
        return cls(endpoint=endpoint, remote_id=end.remote_id, tokens=end.tokens, server=end.server)

    def call(self, method: str, params: Mapping[str, object], *, priority: Priority = Priority.LIVE) -> Reader:
        """Call a method and return its `result`.

        Raises: EndError, by the table of codes.
        Source: bitrix24.md 2.
        """
        answer = self.ask(method, params, priority=priority)
        if isinstance(answer, Refusal):
            raise answer.error()
        return answer

    def ask(self, method: str, params: Mapping[str, object], *, priority: Priority = Priority.LIVE) -> Reader | Refusal:
        """As `call`, for callers that know what to do with a refusal. An expired token and a moved portal are seen to, once each.

        Raises: EndError, for what has nothing to do with the method.
        Source: bitrix24.md 2 ("Portal renamed"), 2.1 (expired_token).
        """
        tokens = self._need_tokens()
        token = tokens.current()
        answer = self._follow(method, {**params, "auth": token}, priority)
        if isinstance(answer, Refusal) and answer.code.lower() == "expired_token":
            token = tokens.renew(token)
            answer = self._follow(method, {**params, "auth": token}, priority)
        return answer

    def batch(
        self, commands: Mapping[str, tuple[str, Mapping[str, object]]], *, priority: Priority = Priority.LIVE
    ) -> dict[str, Reader | Refusal]:
        """Call up to 50 methods in one request; every command has its own answer.

        Shape: {name: (method, params)} -> {name: result or refusal}.
        Source: bitrix24.md 2.3.
        """
        if len(commands) > BATCH_LIMIT:
            raise ValueError("a batch holds at most 50 commands")
        lines = {name: f"{method}?{urlencode(flat(params))}" for name, (method, params) in commands.items()}
        result = self.call("batch", {"halt": 0, "cmd": lines}, priority=priority)
        try:
            answers = dict(result["result"].fields()) if result["result"].is_there else {}
            failures = dict(result["result_error"].fields()) if result["result_error"].is_there else {}
            return {name: _inner(name, answers, failures) for name in commands}
        except Malformed as error:
            raise Uncertain("unknown_answer", str(error)) from error

    def _follow(self, method: str, params: Mapping[str, object], priority: Priority) -> Reader | Refusal:
        answer = self._post(method, params, priority)
        if answer.status in _MOVED:
            self._move(answer)
            answer = self._post(method, params, priority)
            if answer.status in _MOVED:
                raise Misconfigured("bitrix24_moving", f"HTTP {answer.status} twice")
        return _read(answer)

    def _post(self, method: str, params: Mapping[str, object], priority: Priority) -> outside.Answer:
        if not self.endpoint:
            raise Misconfigured("bitrix24_not_installed", "no client_endpoint")
        try:
            return outside.session("bitrix24").request(
                "POST",
                f"{self.endpoint}{method}.json",
                json=dict(params),
                headers={"Accept": "application/json"},
                timeout=_READ,
                limits=self._limits,
                priority=priority,
            )
        except LimitWait as wait:
            raise Retry("rate_limited", "own limit", wait.after) from wait
        except outside.NotSent as error:
            raise Retry("unreachable", error.reason) from error
        except outside.MaybeSent as error:
            raise Uncertain("no_answer", error.reason) from error
        except Unsafe as error:
            raise Misconfigured("unsafe_address", error.reason) from error

    def _move(self, answer: outside.Answer) -> None:
        """Take the portal's new address from a redirect: the same path on another host, never back to plain http."""
        target = urlsplit(urljoin(self.endpoint, answer.headers.get("Location", "")))
        before = urlsplit(self.endpoint)
        if not target.hostname or (before.scheme == "https" and target.scheme != "https"):
            raise Misconfigured("bitrix24_moving", "a redirect without a usable address")
        self.endpoint = self.moved_to = f"{target.scheme}://{target.netloc}{before.path}"

    def _need_tokens(self) -> Tokens:
        if self._tokens is None:
            raise AccessLost("bitrix24_not_installed", "no tokens")
        return self._tokens


def flat(value: object, name: str = "") -> list[tuple[str, str]]:
    """Write nested parameters as PHP reads them, `a[b][0]=c`. Source: bitrix24.md 2, 2.3."""
    if isinstance(value, Mapping):
        pairs = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str):
        pairs = [(str(place), item) for place, item in enumerate(value)]
    else:
        return [(name, str(int(value)) if isinstance(value, bool) else str(value))]
    return [field for key, item in pairs for field in flat(item, f"{name}[{key}]" if name else key)]


def masked(text: str) -> str:
    """Shorten what a portal said and hide numbers and addresses of people in it."""
    return _MASKED.sub("•", text)[:200]


def _read(answer: outside.Answer) -> Reader | Refusal:
    """Tell a result from a refusal: any JSON with the key `error` is one, whatever the status. Source: bitrix24.md 2."""
    try:
        body = read_json(answer.body)
        if "error" not in body:
            if answer.status >= 400 or "result" not in body:
                return Refusal(answer.status, "", "")
            return body["result"]
        return _refusal(answer.status, body)
    except Malformed:
        return Refusal(answer.status, "", "")  # an HTML page of a proxy or of the portal


def _refusal(status: int, body: Reader) -> Refusal:
    reset_at = body["time"]["operating_reset_at"].integer_or(0)
    return Refusal(
        status,
        body["error"].remote_id_or("") if body["error"].plain() != "" else "",
        body["error_description"].text_or(""),
        body["argument"].text_or(""),
        datetime.fromtimestamp(reset_at, UTC) if 0 < reset_at < 2**32 else None,
    )


def _inner(name: str, answers: Mapping[str, Reader], failures: Mapping[str, Reader]) -> Reader | Refusal:
    if name in failures:
        return _refusal(200, failures[name])
    return answers.get(name, Reader(None, name))
