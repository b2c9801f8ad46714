"""One call to an account's REST API (amocrm.md 3): signed with the end's token, paced, its every answer mapped to a value or to one of the errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from urllib.parse import urlencode

from widget_backend import outside
from widget_backend.bridge.ends import End, Tokens
from widget_backend.bridge.errors import AccessLost, EndError, Misconfigured, Rejected, Retry, Uncertain, Unsafe
from widget_backend.crms.amocrm.client_pace import Pace
from widget_backend.limits import LimitWait, Priority
from widget_backend.platforms import amocrm
from widget_backend.reading import Malformed, Reader

_READ = timedelta(seconds=15)
_BAN = timedelta(minutes=5)
PAGE = 250

# amocrm.md 3.1; 401 is seen to before, 404 and 5xx below
ERRORS: Mapping[int, tuple[type[EndError], str]] = {
    400: (Rejected, "amocrm_argument"),
    402: (AccessLost, "amocrm_unpaid"),
    405: (Rejected, "amocrm_argument"),
    409: (Rejected, "amocrm_argument"),
    413: (Rejected, "amocrm_argument"),
    422: (Rejected, "amocrm_argument"),
}


class Gone(Rejected):
    """What was asked for is not there, or not for this user."""

    def __init__(self, detail: str = "") -> None:
        Rejected.__init__(self, "amocrm_gone", detail)
        self.args = (detail,)


class Account:
    """One account as an end's token sees it; `as_user` makes a call with that user's rights."""

    def __init__(self, *, host: str, client_id: str, tokens: Tokens | None, server: Callable[[str], object]) -> None:
        self.host = host
        self._tokens = tokens
        self._server = server
        self._pace = Pace(client_id, host, int(str(server("rate"))))

    @classmethod
    def of(cls, end: End) -> Account:
        """Return the account of an end."""
        if end.app is None:
            raise Misconfigured("amocrm_keys_wrong", "the integration is gone")
        return cls(
            host=str(end.settings.get("domain", "")), client_id=end.app.remote_id, tokens=end.tokens, server=end.server
        )

    def get(
        self,
        path: str,
        params: Mapping[str, object] | None = None,
        *,
        as_user: str = "",
        priority: Priority = Priority.LIVE,
    ) -> Reader:
        """Read something; an empty list (204) is an absent Reader.

        Raises: Gone (404), and the errors of the table.
        Source: amocrm.md 3.1.
        """
        query = f"?{urlencode(params, doseq=True)}" if params else ""
        return self.call("GET", f"{path}{query}", as_user=as_user, priority=priority)

    def post(self, path: str, body: object, *, priority: Priority = Priority.LIVE) -> Reader:
        """Create something. Raises: the errors of the table. Source: amocrm.md 3.1 (batches are arrays)."""
        return self.call("POST", path, body, priority=priority)

    def call(
        self, method: str, path: str, body: object = None, *, as_user: str = "", priority: Priority = Priority.LIVE
    ) -> Reader:
        """Make a call; a token that has expired is renewed once.

        Raises: EndError.
        Source: amocrm.md 3.1, 1.4 (`X-Context-User-ID`).
        """
        if self._tokens is None or not self.host:
            raise AccessLost("amocrm_not_installed")
        token = self._tokens.current()
        answer = self._send(method, path, body, token, as_user, priority)
        if answer.status == 401 and as_user:
            # either the token is over, or this user may not use the API: a call of our own tells
            self.call("GET", "account", priority=priority)
            answer = self._send(method, path, body, self._tokens.current(), as_user, priority)
            if answer.status == 401:
                raise Misconfigured("amocrm_no_right", "HTTP 401 in a user's name")
        elif answer.status == 401:
            answer = self._send(method, path, body, self._tokens.renew(token), as_user, priority)
        if answer.status == 429:
            self._pace.refused(_pause(answer, _json(answer)))
        return _read(answer)

    def _send(
        self, method: str, path: str, body: object, token: str, as_user: str, priority: Priority
    ) -> outside.Answer:
        headers = {"Accept": "application/hal+json", "Authorization": f"Bearer {token}"}
        if as_user:
            headers["X-Context-User-ID"] = as_user
        try:
            return outside.session("amocrm").request(
                method,
                f"{amocrm.site(self.host, self._server)}/api/v4/{path}",
                json=body,
                headers=headers,
                timeout=_READ,
                limits=self._pace.limits(),
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


def _read(answer: outside.Answer) -> Reader:
    """Tell a result from a refusal. Source: amocrm.md 3.1 "Errors"."""
    if answer.status in (202, 204):
        return Reader(None)
    body = _json(answer)
    if answer.ok:
        if body is None:
            raise Uncertain("unknown_answer", f"HTTP {answer.status} without JSON")
        return body
    detail = f"HTTP {answer.status} {_title(body)}".strip()
    if answer.status == 401:
        raise AccessLost("token_revoked", detail)
    if answer.status == 403:
        # JSON is a missing right, a page of the server in front is a ban of our address (3.1, 10.16)
        raise (
            Misconfigured("amocrm_no_right", detail)
            if body is not None
            else AccessLost("amocrm_refused_address", detail)
        )
    if answer.status == 404:
        raise Gone(detail)
    if answer.status == 429:
        raise Retry("rate_limited", detail, _pause(answer, body))
    if answer.status in ERRORS:
        kind, reason = ERRORS[answer.status]
        raise kind(reason, f"{detail} {_faults(body)}".strip()[:300])
    raise Uncertain("unknown_answer", detail)


def _json(answer: outside.Answer) -> Reader | None:
    try:
        return answer.json()
    except Malformed:
        return None


def _pause(answer: outside.Answer, body: Reader | None) -> timedelta:
    """Return how long to be silent: going on would end in a ban. Source: amocrm.md 6 (`retry_after`)."""
    if answer.retry_after is not None:
        return answer.retry_after
    try:
        told = body["retry_after"].integer_or(0) if body is not None else 0
    except Malformed:
        told = 0
    return timedelta(seconds=told) if 0 < told <= 3600 else _BAN


def _title(body: Reader | None) -> str:
    try:
        return body["title"].text_or("")[:80] if body is not None else ""
    except Malformed:
        return ""


def _faults(body: Reader | None) -> str:
    """Name the fields that were refused, without their values. Source: amocrm.md 3.1 (`validation-errors`)."""
    try:
        if body is None:
            return ""
        found = [
            f"{fault['path'].text_or('')}:{fault['code'].text_or('')}"
            for one in body["validation-errors"].items()
            for fault in one["errors"].items()
        ]
        return ", ".join(found)
    except Malformed:
        return ""
