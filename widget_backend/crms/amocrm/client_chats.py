"""One call to the chats API, amojo (amocrm.md 2): signed with the secret of a chat channel, no token at all.

Four headers carry the signature; the body is signed as the very bytes that leave (2.2, 10.6).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from widget_backend import clock, outside
from widget_backend.bridge.ends import End
from widget_backend.bridge.errors import Misconfigured, Rejected, Retry, Uncertain, Unregistered, Unsafe
from widget_backend.limits import Limit, LimitWait, Priority
from widget_backend.platforms import amocrm
from widget_backend.reading import Malformed, Reader

_READ = timedelta(seconds=15)
_JSON = "application/json"
RATE = 10
"""Requests a second in one scope; amoCRM publishes no number (6, unconfirmed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A chat channel of the integration. `messenger` is a network's key, its beginning (`telegram`), or `any`."""

    messenger: str
    id: str
    code: str
    bot_id: str
    secret: str
    features: frozenset[str]

    @classmethod
    def all_of(cls, end: End) -> list[Channel]:
        """Return the chat channels of an end's integration."""
        if end.app is None:
            return []
        known = end.app.settings.get("channels")
        return [cls._of(one, end.app.secrets) for one in known] if isinstance(known, list) else []

    @classmethod
    def _of(cls, facts: Mapping[str, object], secrets: Mapping[str, str]) -> Channel:
        switched_on = facts.get("features")
        id = str(facts["remote_id"])
        return cls(
            messenger=str(facts["messenger"]),
            id=id,
            code=str(facts.get("code", "")),
            bot_id=str(facts.get("bot_id", "")),
            secret=secrets.get(f"channel:{id}", ""),
            features=frozenset(str(one) for one in switched_on) if isinstance(switched_on, list) else frozenset(),
        )


class Chats:
    """One chat channel in one account: its scope."""

    def __init__(self, channel: Channel, amojo_id: str, host: str, server: Callable[[str], object]) -> None:
        self.channel = channel
        self.amojo_id = amojo_id
        self.scope_id = f"{channel.id}_{amojo_id}"
        self._site = amocrm.site(amocrm.chats_host(host), server, "chats_url")
        self._limits = (Limit.window(f"amojo:{self.scope_id}", RATE, timedelta(seconds=1)),)

    @classmethod
    def of(cls, end: End, channel: Channel) -> Chats:
        """Return a channel in the account of an end."""
        settings = end.settings
        return cls(channel, str(settings.get("amojo_id", "")), str(settings.get("domain", "")), end.server)

    def connect(self) -> None:
        """Connect the channel to the account, under the name it was registered with. Harmless when it is connected.

        Raises: Misconfigured: a wrong secret, an unknown channel, an account that is not on the list of a private one.
        Source: amocrm.md 2.4.
        """
        body = {"account_id": self.amojo_id, "hook_api_version": "v2"}
        answer = self._send("POST", f"/v2/origin/custom/{self.channel.id}/connect", body)
        if answer.ok:
            return
        said = _detail(answer)
        if answer.status == 404:
            raise Misconfigured("amocrm_chat_unknown", said)
        if answer.status == 400:
            raise Misconfigured("amocrm_chat_account", said)
        raise _refused(answer)

    def disconnect(self) -> None:
        """Disconnect the channel; what is gone already is fine. Raises: Retry. Source: amocrm.md 2.4."""
        path = f"/v2/origin/custom/{self.channel.id}/disconnect"
        answer = self._send("DELETE", path, {"account_id": self.amojo_id})
        if answer.status >= 500:
            raise Retry("unreachable", _detail(answer))

    def create(self, conversation_id: str, user: Mapping[str, object], source_id: str) -> Reader:
        """Make a chat without a message, or find it by our id; return {id, user: {id}}.

        Raises: EndError.
        Source: amocrm.md 2.5.
        """
        body: dict[str, object] = {"conversation_id": conversation_id, "user": dict(user)}
        if source_id:
            body["source"] = {"external_id": source_id}
        return self._call("POST", "/chats", body)

    def post(self, event_type: str, payload: Mapping[str, object]) -> Reader:
        """Import or edit a message. Raises: EndError. Source: amocrm.md 2.6."""
        return self._call("POST", "", {"event_type": event_type, "payload": dict(payload)})

    def report(self, message_id: str, status: int, error_code: int = 0, error: str = "") -> None:
        """Say what became of a message of theirs. Both names of the status are sent: the pages differ.

        Raises: EndError; Rejected("unknown_message") when they do not know it.
        Source: amocrm.md 2.7.
        """
        body: dict[str, object] = {"msgid": message_id, "delivery_status": status, "status_code": status}
        if status < 0:
            body |= {"error_code": error_code, "error": error}
        answer = self._send("POST", f"/v2/origin/custom/{self.scope_id}/{message_id}/delivery_status", body)
        if answer.status == 404:
            raise Rejected("unknown_message", _detail(answer))
        if not answer.ok:
            raise _refused(answer)

    def history(self, chat_id: str, *, offset: int = 0, limit: int = 50) -> list[Reader]:
        """Return messages of a chat, newest first; none of a chat that is unknown or empty. Raises: EndError. Source: amocrm.md 2.7."""
        path = f"/v2/origin/custom/{self.scope_id}/chats/{chat_id}/history"
        answer = self._send("GET", path, None, query=f"?offset={offset}&limit={limit}")
        if answer.status == 204:
            return []
        if not answer.ok:
            raise _refused(answer)
        return _json(answer)["messages"].items()

    def _call(self, method: str, path: str, body: object) -> Reader:
        answer = self._send(method, f"/v2/origin/custom/{self.scope_id}{path}", body)
        if not answer.ok:
            raise _refused(answer)
        return _json(answer) if answer.body else Reader(None)

    def _send(self, method: str, path: str, body: object, query: str = "") -> outside.Answer:
        raw = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = signed(self.channel.secret, method, path, raw, clock.now())
        try:
            return outside.session("amojo").request(
                method,
                f"{self._site}{path}{query}",
                data=raw,
                headers=headers,
                timeout=_READ,
                limits=self._limits,
                priority=Priority.LIVE,
            )
        except LimitWait as wait:
            raise Retry("rate_limited", "own limit", wait.after) from wait
        except outside.NotSent as error:
            raise Retry("unreachable", error.reason) from error
        except outside.MaybeSent as error:
            raise Uncertain("no_answer", error.reason) from error
        except Unsafe as error:
            raise Misconfigured("unsafe_address", error.reason) from error


def signed(secret: str, method: str, path: str, body: bytes, now: datetime) -> dict[str, str]:
    """Return the four headers of a request. The secret is text, not hex; the query is not signed.

    Source: amocrm.md 2.2.
    """
    date = format_datetime(now.astimezone(UTC))
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    said = "\n".join((method.upper(), digest, _JSON, date, path))
    mark = hmac.new(secret.encode(), said.encode(), hashlib.sha1).hexdigest()
    return {"Date": date, "Content-Type": _JSON, "Content-MD5": digest, "X-Signature": mark}


def _refused(answer: outside.Answer) -> Exception:
    """Say what a refusal of amojo means. Source: amocrm.md 2.2 "Error envelope"."""
    said = _detail(answer)
    if answer.status == 403:
        # the type for an account that is not on a private channel's list is not documented
        is_ours = not said.endswith("403") and "SIGNATURE" not in said
        return Misconfigured("amocrm_chat_account" if is_ours else "amocrm_chat_secret", said)
    if answer.status == 404:
        return Unregistered("amocrm_chat_gone", said)
    if answer.status == 429:
        return Retry("rate_limited", said, answer.retry_after or timedelta(seconds=30))
    if answer.status in (400, 413, 422):
        return Rejected("amocrm_chat_argument", said)
    return Uncertain("unknown_answer", said)


def _detail(answer: outside.Answer) -> str:
    try:
        kind = answer.json()["error_type"].text_or("")[:60]
    except Malformed:
        kind = ""
    return f"HTTP {answer.status} {kind}".strip()


def _json(answer: outside.Answer) -> Reader:
    try:
        return answer.json()
    except Malformed as error:
        raise Uncertain("unknown_answer", str(error)) from error
