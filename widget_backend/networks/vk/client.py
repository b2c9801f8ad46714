"""Calls of the VK API: one method per remote method, each answer a value or one of the errors of the bridge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import IO

from widget_backend import outside
from widget_backend.bridge.ends import End
from widget_backend.bridge.errors import AccessLost, EndError, Misconfigured, Rejected, Retry, Scope, Uncertain, Unsafe
from widget_backend.limits import Limit, LimitWait, Priority
from widget_backend.networks.vk.manifest import CAPABILITIES
from widget_backend.reading import Malformed, Reader

API_VERSION = "5.199"
CALLS_PER_EXECUTE = 25  # vk.md 2.1
UPLOAD_DEADLINE = timedelta(seconds=120)

Params = Mapping[str, object]

# Where waiting helps: (reason, seconds; None: the schedule of the bridge, and a message that keeps failing may be blamed).
# 9: too much of the same, perhaps of this message. 14: nobody sees a community's captcha, only time helps (vk.md 6).
# 29: a day's quota.
_RETRIES: Mapping[int, tuple[str, int | None]] = {
    1: ("vk_trouble", None),
    6: ("limit", 1),
    9: ("flood_control", None),
    10: ("vk_trouble", None),
    14: ("captcha", 600),
    29: ("daily_limit", 3600),
    43: ("vk_trouble", None),
    3300: ("captcha", 600),
}
_ACCESS_LOST: Mapping[int, str] = dict.fromkeys((5, 27, 28, 1114, 1116, 1117, 1118), "token_revoked")
_MISCONFIGURED: Mapping[int, str] = {
    2: "app_disabled", 7: "rights_missing", 11: "app_disabled", 16: "wrong_address", 17: "wrong_token_kind",
    20: "wrong_token_kind", 21: "wrong_token_kind", 24: "wrong_token_kind", 25: "wrong_token_kind", 42: "wrong_address",
    3301: "wrong_token_kind", 3302: "wrong_token_kind", 3303: "wrong_token_kind", 3304: "wrong_token_kind",
    3609: "wrong_token_kind", 2000: "too_many_servers",
}  # fmt: skip
_REJECTED: Mapping[int, str] = {
    3: "bad_request", 4: "bad_request", 8: "bad_request", 12: "bad_request", 13: "bad_request", 15: "access_denied",
    18: "client_deleted", 23: "bad_request", 30: "blocked_by_privacy", 33: "bad_request", 34: "bad_request",
    35: "bad_request", 37: "client_deleted", 39: "client_not_found", 40: "not_found", 100: "bad_request",
    104: "not_found", 105: "file_refused", 113: "client_not_found", 114: "file_refused", 118: "file_refused",
    121: "file_refused", 129: "file_refused", 200: "access_denied", 203: "access_denied", 300: "file_refused",
    212: "comments_refused", 213: "comments_refused", 222: "comments_refused", 223: "comments_refused",
    801: "comments_refused", 1401: "comments_refused",
    900: "client_is_banned", 901: "not_allowed", 902: "blocked_by_privacy", 909: "too_late_to_edit",
    910: "text_too_long", 911: "bad_keyboard", 912: "bot_features_off", 913: "too_many_forwards",
    914: "text_too_long", 917: "no_access_to_chat", 920: "cannot_be_edited", 921: "cannot_be_forwarded",
    922: "left_chat", 924: "too_late_to_delete", 925: "not_chat_admin", 927: "client_not_found",
    932: "peer_closed_to_us", 936: "client_not_found", 940: "too_many_attachments", 943: "intent_refused",
    944: "intent_refused", 945: "chat_closed", 946: "chat_closed", 949: "cannot_be_edited", 950: "window_closed",
    962: "donors_only", 969: "cannot_be_forwarded", 985: "peer_closed_to_us", 987: "not_allowed",
    988: "not_allowed", 1012: "chat_closed", 3610: "client_deleted", 9999: "bad_request",
}  # fmt: skip


def error_of(code: int, text: str = "") -> EndError:
    """Turn an error code of VK into an error of the bridge.

    Shape: an unknown code is a Retry of this message alone: VK did say no, and a repeated `random_id` doubles nothing.
    Source: vk.md 4, "Error codes to handle", and the schema's errors.json for the methods used here.
    """
    detail = f"vk error {code}: {text}"[:200] if text else f"vk error {code}"
    if code in _RETRIES:
        reason, wait_s = _RETRIES[code]
        return Retry(reason, detail, None if wait_s is None else timedelta(seconds=wait_s))
    if code in _ACCESS_LOST:
        return AccessLost(_ACCESS_LOST[code], detail)
    if code in _MISCONFIGURED:
        return Misconfigured(_MISCONFIGURED[code], detail)
    if code in _REJECTED:
        return Rejected(_REJECTED[code], detail)
    return Retry("unknown_answer", detail, scope=Scope.MESSAGE)


@contextmanager
def understood() -> Iterator[None]:
    """Turn an answer that is not of the documented shape into `Uncertain`, for whoever reads what a Client returned."""
    try:
        yield
    except Malformed as error:
        raise Uncertain("unknown_answer", str(error)) from error


class Client:
    """The VK API with one community's token. What it returns is read inside `understood()`. Source of every method: vk.md 2 and the schema's `<section>/methods.json`."""

    def __init__(self, end: End, priority: Priority = Priority.LIVE) -> None:
        self._url = end.server("api_url").rstrip("/") + "/method/"
        self._token = end.secrets.get("token", "")
        # VK counts by token (vk.md 4): a community connected twice, by two keys, has the limit twice
        counted = f"vk:{hashlib.sha256(self._token.encode()).hexdigest()[:16]}"
        self._limits = [Limit.window(counted, int(limit.rate), limit.per) for limit in CAPABILITIES.limits]
        self._priority = priority

    # --------------------------------------------------------------------------------------------------- groups (1.4)

    def groups_get_by_id(self, group_id: str = "") -> Reader:
        """Return one community: the token's own when no id is given. Source: vk.md 1.4, step 1."""
        return self._call("groups.getById", {"group_id": group_id or None})["groups"][0]

    def groups_get_token_permissions(self) -> set[str]:
        """Return the names of the token's rights. Source: vk.md 1.1."""
        answer = self._call("groups.getTokenPermissions", {})
        return {right["name"].text() for right in answer["permissions"].items()}

    def groups_get_callback_confirmation_code(self, group_id: str) -> str:
        """Return what VK wants to read for a `confirmation`. Source: vk.md 1.4, step 2."""
        return self._call("groups.getCallbackConfirmationCode", {"group_id": group_id})["code"].text()

    def groups_get_callback_servers(self, group_id: str) -> list[Reader]:
        """Return the callback servers of the community, ours and others'. Source: vk.md 1.4."""
        return self._call("groups.getCallbackServers", {"group_id": group_id})["items"].items()

    def groups_add_callback_server(self, group_id: str, url: str, title: str, secret_key: str) -> int:
        """Register a callback server and return its id. Source: vk.md 1.4, step 3."""
        params = {"group_id": group_id, "url": url, "title": title, "secret_key": secret_key}
        return self._call("groups.addCallbackServer", params)["server_id"].integer()

    def groups_set_callback_settings(self, group_id: str, server_id: int, events: Iterable[str]) -> None:
        """Choose the events of a callback server. Source: vk.md 1.4, step 5."""
        params = {"group_id": group_id, "server_id": server_id, "api_version": API_VERSION}
        self._call("groups.setCallbackSettings", params | dict.fromkeys(events, True))

    def groups_delete_callback_server(self, group_id: str, server_id: int) -> None:
        """Remove a callback server. Raises: Rejected `not_found` when it is gone. Source: vk.md 1.4, step 6."""
        self._call("groups.deleteCallbackServer", {"group_id": group_id, "server_id": server_id})

    # --------------------------------------------------------------------------------------------- messages (2.2, 2.4)

    def messages_send(self, params: Params) -> Reader:
        """Send to one recipient named in `peer_ids` and return his entry of the answer. Source: vk.md 2.2."""
        return self._call("messages.send", params)[0]

    def execute_messages_send(self, sendings: Sequence[Params]) -> list[Reader | EndError]:
        """Send up to 25 different messages by one request.

        Shape: one entry per sending, in order: its recipient's entry, or the error for which VK did not take it.
        Source: vk.md 2.1, `execute`; a failed call gives `false`, its error stands in `execute_errors`, in order.
        """
        code = ",".join(f"API.messages.send({json.dumps(_plain(one), ensure_ascii=False)})" for one in sendings)
        body = self._body("execute", {"code": f"return [{code}];"})
        errors = iter(body["execute_errors"].items())
        found: list[Reader | EndError] = []
        for entry in body["response"].items():
            if entry.plain() is not False:
                found.append(entry[0])
                continue
            error = next(errors, Reader(None))
            found.append(error_of(error["error_code"].integer_or(0), error["error_msg"].text_or("")))
        if len(found) != len(sendings):
            raise Uncertain("unknown_answer", "execute answered another number of results")
        return found

    def messages_edit(self, params: Params) -> None:
        """Change a message of ours. Source: vk.md 2.4."""
        self._call("messages.edit", params)

    def messages_delete(self, params: Params) -> list[Reader]:
        """Delete messages and return what became of each. Source: vk.md 2.4, the answer of v5.199."""
        return self._call("messages.delete", params).items()

    def messages_mark_as_read(self, params: Params) -> None:
        """Mark the client's messages as read. Source: vk.md 2.4."""
        self._call("messages.markAsRead", params)

    def messages_set_activity(self, peer_id: str) -> None:
        """Show "is typing" for some ten seconds. Source: vk.md 2.4."""
        self._call("messages.setActivity", {"peer_id": peer_id, "type": "typing"})

    def messages_get_by_id(self, message_ids: Sequence[str]) -> list[Reader]:
        """Return whole messages, at most 100. Source: vk.md 2.4."""
        return self._call("messages.getById", {"message_ids": ",".join(message_ids)})["items"].items()

    def messages_get_by_conversation_message_id(self, peer_id: str, cmids: Sequence[str]) -> list[Reader]:
        """Return whole messages of a group chat, at most 100. Source: vk.md 2.4."""
        params = {"peer_id": peer_id, "conversation_message_ids": ",".join(cmids)}
        return self._call("messages.getByConversationMessageId", params)["items"].items()

    def messages_get_history(self, peer_id: int, offset: int, count: int) -> list[Reader]:
        """Return messages of a dialog, the newest first. Source: vk.md 2.4."""
        params = {"peer_id": peer_id, "offset": offset, "count": count}
        return self._call("messages.getHistory", params)["items"].items()

    def messages_get_conversations(self, offset: int, count: int) -> list[Reader]:
        """Return dialogs with their last messages, the latest first. Source: vk.md 2.4."""
        return self._call("messages.getConversations", {"offset": offset, "count": count})["items"].items()

    def messages_get_conversations_by_id(self, peer_id: str) -> Reader:
        """Return one dialog. Source: vk.md 2.4."""
        return self._call("messages.getConversationsById", {"peer_ids": peer_id})["items"][0]

    def messages_is_messages_from_group_allowed(self, group_id: str, user_id: str) -> bool:
        """Tell whether the community may write to a user. Source: vk.md 2.4."""
        params = {"group_id": group_id, "user_id": user_id}
        return self._call("messages.isMessagesFromGroupAllowed", params)["is_allowed"].flag()

    # ------------------------------------------------------------------------------------------- people (2.6), files (2.5)

    def users_get(self, user_id: str, fields: str) -> Reader | None:
        """Return a user, None when there is none. Source: vk.md 2.6."""
        return next(iter(self._call("users.get", {"user_ids": user_id, "fields": fields}).items()), None)

    def utils_resolve_screen_name(self, screen_name: str) -> Reader:
        """Return {object_id, type}, or an empty list for an unknown name. Source: vk.md 2.6."""
        return self._call("utils.resolveScreenName", {"screen_name": screen_name})

    def photos_get_messages_upload_server(self, peer_id: str) -> str:
        """Return where to upload a picture. Source: vk.md 2.5."""
        return self._call("photos.getMessagesUploadServer", {"peer_id": peer_id})["upload_url"].text()

    def photos_save_messages_photo(self, photo: str, server: int, hash_: str) -> Reader:
        """Keep an uploaded picture. Source: vk.md 2.5."""
        return self._call("photos.saveMessagesPhoto", {"photo": photo, "server": server, "hash": hash_})[0]

    def docs_get_messages_upload_server(self, peer_id: str, kind: str) -> str:
        """Return where to upload a document or a voice message. Source: vk.md 2.5."""
        params = {"peer_id": peer_id, "type": kind}
        return self._call("docs.getMessagesUploadServer", params)["upload_url"].text()

    def docs_save(self, file: str, title: str) -> Reader:
        """Keep an uploaded document. Source: vk.md 2.5."""
        return self._call("docs.save", {"file": file, "title": title})

    def upload(self, url: str, field: str, name: str, stream: IO[bytes], mime: str) -> Reader:
        """Upload a file to an address that VK named. Source: vk.md 2.5."""
        files = {field: (name, stream, mime or "application/octet-stream")}
        return self._request(url, files=files, deadline=UPLOAD_DEADLINE)

    # ------------------------------------------------------------------------------------------------------ the request

    def _call(self, method: str, params: Params) -> Reader:
        body = self._body(method, params)
        if not body["response"].is_there:
            raise Uncertain("unknown_answer", f"{method} answered neither a response nor an error")
        return body["response"]

    def _body(self, method: str, params: Params) -> Reader:
        form = {**_plain(params), "v": API_VERSION}
        headers = {"Authorization": f"Bearer {self._token}"}
        body = self._request(self._url + method, data=form, headers=headers, limits=self._limits)
        error = body["error"]
        if error.is_there:
            raise error_of(error["error_code"].integer_or(0), error["error_msg"].text_or(""))
        return body

    def _request(
        self,
        url: str,
        *,
        data: Mapping[str, object] | None = None,
        files: Mapping[str, tuple[str, IO[bytes], str]] | None = None,
        headers: Mapping[str, str] | None = None,
        limits: Sequence[Limit] = (),
        deadline: timedelta | None = None,
    ) -> Reader:
        """Make one call.

        Raises: Retry (surely not received), Uncertain (perhaps received), Misconfigured (the address is not allowed).
        """
        try:
            answer = outside.session("vk").request(
                "POST",
                url,
                data=data,
                files=files,
                headers=headers,
                limits=limits,
                timeout=deadline,
                deadline=deadline,
                priority=self._priority,
            )
        except outside.NotSent as error:
            raise Retry("unreachable", error.reason) from error
        except outside.MaybeSent as error:
            raise Uncertain("no_answer", error.reason) from error
        except LimitWait as error:
            raise Retry("limit", "our own count", error.after) from error
        except Unsafe as error:
            raise Misconfigured("wrong_address", error.reason) from error
        return _body_of(answer)


def _body_of(answer: outside.Answer) -> Reader:
    """Read an answer. VK answers 200 even to errors (vk.md 2.1): another status is its front door, not the API."""
    if answer.status in (429, 503):
        raise Retry("vk_trouble", f"http {answer.status}", answer.retry_after)
    if not answer.ok:
        raise Uncertain("unknown_answer", f"http {answer.status}")
    with understood():
        return answer.json()


def _plain(params: Params) -> dict[str, str | int | float]:
    """Leave out what is not said; booleans are 0 and 1 (vk.md 2.1)."""
    found: dict[str, str | int | float] = {}
    for name, value in params.items():
        if isinstance(value, bool):
            found[name] = int(value)
        elif isinstance(value, (str, int, float)):
            found[name] = value
    return found
