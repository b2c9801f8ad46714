"""Calls of the Bot API: one method per remote method, each answer a value or one of the errors of the bridge."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

from widget_backend import outside
from widget_backend.bridge.ends import End
from widget_backend.bridge.errors import AccessLost, EndError, Misconfigured, Rejected, Retry, Scope, Uncertain, Unsafe
from widget_backend.limits import Limit, LimitWait
from widget_backend.networks.telegram_bot.manifest import CAPABILITIES
from widget_backend.networks.telegram_bot.media import Upload
from widget_backend.reading import Malformed, Reader

UPLOAD_DEADLINE = timedelta(seconds=120)
POLL_WAIT = timedelta(seconds=3)  # a poll repeated sooner is held that long anyway (telegram.md A2)
POLL_PATIENCE = timedelta(seconds=10)
POLL_COUNT = 100

Params = Mapping[str, object]

# Descriptions are matched by their beginning, in lower case, without "Bad Request: " (telegram.md A8, "rule of text").
_REFUSED: Mapping[str, str] = {
    "chat not found": "client_not_found",
    "private chat not found": "client_not_found",
    "peer_id_invalid": "client_not_found",
    "user not found": "client_not_found",
    "invalid user_id": "client_not_found",
    "message thread not found": "left_chat",
    "message to edit not found": "not_found",
    "message to delete not found": "not_found",
    "message to read not found": "not_found",
    "message is not modified": "not_modified",
    "message can't be edited": "cannot_be_edited",
    "there is no text in the message to edit": "no_text_there",
    "there is no caption in the message to edit": "no_caption_there",
    "message can't be deleted": "too_late_to_delete",
    "message text is empty": "empty",
    "text must be non-empty": "empty",
    "message is too long": "text_too_long",
    "message caption is too long": "text_too_long",
    "image_process_failed": "file_refused",
    "photo_invalid_dimensions": "file_refused",
    "file of size": "file_refused",
    "can't use the media of the specified type in the album": "file_refused",
    "file must be non-empty": "file_empty",
    "file is too big": "file_too_big",
    "wrong file_id": "file_gone",
    "invalid file_id": "file_gone",
    "business connection not found": "business_off",
    "business_connection_invalid": "business_off",
    "business_connection_not_allowed": "business_rights",
    "business_peer_invalid": "window_closed",
    "bot was blocked by the user": "blocked_by_client",
    "user is deactivated": "client_deleted",
    "bot can't initiate conversation": "not_started",
    "bot was kicked": "left_chat",
    "bot is not a member": "left_chat",
    "the group chat was deleted": "left_chat",
}
_WEBHOOK_REFUSED = ("bad webhook", "invalid webhook", "secret token")


def error_of(code: int, description: str, parameters: Reader) -> EndError:
    """Turn an error of the Bot API into an error of the bridge.

    Shape: a group that moved is Rejected `group_moved`, with its new id as the detail.
    Source: telegram.md A8. A 5xx may come after the message was taken, so it is Uncertain.
    """
    detail = f"telegram {code}: {description}"[:200]
    if code == 429:
        # `limit` is the bridge's own word for pacing, never blamed on a message (telegram.md A10)
        return Retry("limit", detail, timedelta(seconds=parameters["retry_after"].integer_or(1)))
    if code >= 500:
        return Uncertain("telegram_trouble", detail)
    text = description.partition(": ")[2].lower()
    if code == 401 or (code == 404 and not text):
        return AccessLost("token_revoked", detail)
    if code in (404, 421):
        return Misconfigured("wrong_address", detail)
    if code == 409:
        # a poll of ours cut off by our own `connect`: the next one asks nothing
        is_ours = text.startswith("terminated by setwebhook")
        return Retry("busy", detail) if is_ours else Misconfigured("used_elsewhere", detail)
    if code == 413:
        return Rejected("file_too_big", detail)
    if text.startswith(_WEBHOOK_REFUSED):
        return Misconfigured("webhook_refused", detail)
    if "migrate_to_chat_id" in parameters:
        return Rejected("group_moved", str(parameters["migrate_to_chat_id"].integer()))
    other = "forbidden" if code == 403 else "bad_request"
    return Rejected(next((_REFUSED[start] for start in _REFUSED if text.startswith(start)), other), detail)


@contextmanager
def understood() -> Iterator[None]:
    """Turn an answer that is not of the documented shape into `Uncertain`, for whoever reads what a Client returned."""
    try:
        yield
    except Malformed as error:
        raise Uncertain("unknown_answer", str(error)) from error


class Client:
    """The Bot API with one bot's token. What it returns is read inside `understood()`. Source of every method: telegram.md A2, A4 and api.json."""

    def __init__(self, end: End) -> None:
        self._server = end.server("api_url").rstrip("/")
        self._token = end.secrets.get("token", "")
        self._counted = f"telegram_bot:{self._token.partition(':')[0]}"

    # ----------------------------------------------------------------------------------------------- the bot (A1, A2)

    def get_me(self) -> Reader:
        """Return the bot itself. Source: telegram.md A1."""
        return self._call("getMe")

    def get_webhook_info(self) -> Reader:
        """Return where updates go and how that fares. Source: telegram.md A2."""
        return self._call("getWebhookInfo")

    def set_webhook(self, url: str, secret_token: str, allowed_updates: Sequence[str]) -> None:
        """Have updates sent to us; those that wait stay. Source: telegram.md A2; one call a second."""
        params = {"url": url, "secret_token": secret_token, "allowed_updates": list(allowed_updates)}
        limits = [Limit.bucket(f"{self._counted}:set_webhook", 1, 1)]
        self._call("setWebhook", params | {"drop_pending_updates": False}, limits=limits)

    def delete_webhook(self) -> None:
        """Have no more updates sent; those that wait stay. Source: telegram.md A2."""
        self._call("deleteWebhook", {"drop_pending_updates": False})

    def get_updates(self, offset: int, allowed_updates: Sequence[str]) -> list[Reader]:
        """Confirm what lies before `offset` and return up to 100 updates, waiting a little for the first. Source: telegram.md A2."""
        params = {
            "offset": offset or None,
            "limit": POLL_COUNT,
            "timeout": int(POLL_WAIT.total_seconds()),
            "allowed_updates": list(allowed_updates),
        }
        return self._call("getUpdates", params, timeout=POLL_WAIT + POLL_PATIENCE).items()

    # ---------------------------------------------------------------------------------------------------- sending (A4)

    def send_message(self, to: Params, text: str, options: Params) -> Reader:
        """Send a text. Source: telegram.md A4."""
        return self._send("sendMessage", to, {"text": text, **options})

    def send_location(self, to: Params, latitude: float, longitude: float) -> Reader:
        """Send a point on the map. Source: telegram.md A4."""
        return self._send("sendLocation", to, {"latitude": latitude, "longitude": longitude})

    def send_venue(self, to: Params, latitude: float, longitude: float, title: str, address: str) -> Reader:
        """Send a place with its name and address. Source: telegram.md A4, api.json."""
        place = {"latitude": latitude, "longitude": longitude, "title": title, "address": address}
        return self._send("sendVenue", to, place)

    def send_contact(self, to: Params, phone_number: str, first_name: str) -> Reader:
        """Send a phone number with a name. Source: telegram.md A4."""
        return self._send("sendContact", to, {"phone_number": phone_number, "first_name": first_name})

    def send_file(self, to: Params, method: str, name: str, upload: Upload, caption: str) -> Reader:
        """Send one file by the method of its kind: sendPhoto, sendDocument, ... Source: telegram.md A4."""
        return self._send(method, to, {"caption": caption or None}, {name: upload})

    def send_media_group(self, to: Params, media: Sequence[Params], uploads: Mapping[str, Upload]) -> list[Reader]:
        """Send 2 to 10 files as an album and return its messages. Source: telegram.md A4."""
        return self._send("sendMediaGroup", to, {"media": list(media)}, uploads).items()

    # ------------------------------------------------------------------------------------------- after sending (A4, A5)

    def edit_message_text(self, at: Params, text: str, options: Params) -> None:
        """Change a text of ours. Source: telegram.md A4."""
        self._change("editMessageText", at, {"text": text, **options})

    def edit_message_caption(self, at: Params, caption: str) -> None:
        """Change the words below a file of ours. Source: telegram.md A4."""
        self._change("editMessageCaption", at, {"caption": caption})

    def edit_message_media(self, at: Params, media: Params, uploads: Mapping[str, Upload]) -> None:
        """Put a file into a message of ours, in place of a text too. Source: api.json."""
        self._change("editMessageMedia", at, {"media": media}, uploads)

    def delete_messages(self, chat_id: str, message_ids: Sequence[int]) -> None:
        """Delete messages younger than 48 hours; those that are gone are skipped. Source: telegram.md A4, api.json."""
        self._change("deleteMessages", {"chat_id": chat_id}, {"message_ids": list(message_ids)})

    def delete_business_messages(self, connection_id: str, message_ids: Sequence[int]) -> None:
        """Delete messages of a business account. Source: telegram.md A4, A5."""
        self._change(
            "deleteBusinessMessages", {"business_connection_id": connection_id}, {"message_ids": list(message_ids)}
        )

    def read_business_message(self, at: Params) -> None:
        """Mark a message to a business account as read. Source: telegram.md A4, A5."""
        self._call("readBusinessMessage", at)

    def send_chat_action(self, to: Params, action: str) -> None:
        """Show for five seconds what the bot does. Source: telegram.md A4."""
        self._call("sendChatAction", {**to, "action": action})

    # ---------------------------------------------------------------------------------------------------- looking up (A4)

    def get_chat(self, chat_id: str) -> Reader:
        """Return a chat or person in full. Source: telegram.md A4."""
        return self._call("getChat", {"chat_id": chat_id})

    def get_file(self, file_id: str) -> str:
        """Return the path of a file, which lives an hour at least. Source: telegram.md A4: up to 20 MB."""
        return self._call("getFile", {"file_id": file_id})["file_path"].text()

    def file_url(self, file_path: str) -> str:
        """Return the address of a file; the token in it makes it a secret. Source: telegram.md A1."""
        return f"{self._server}/file/bot{self._token}/{file_path}"

    # ------------------------------------------------------------------------------------------------------ the request

    def _send(self, method: str, to: Params, params: Params, uploads: Mapping[str, Upload] | None = None) -> Reader:
        chat_id = str(to["chat_id"])
        try:
            return self._call(method, {**to, **params}, uploads, self._limits_of(chat_id))
        except Retry as error:
            if error.detail != _OWN_COUNT or not chat_id.startswith("-"):
                raise
            # twenty a minute is a group's own limit: waiting for it must not hold up the bot's other chats
            raise Retry("limit", _OWN_COUNT, error.after, Scope.MESSAGE) from error

    def _change(self, method: str, at: Params, params: Params, uploads: Mapping[str, Upload] | None = None) -> None:
        self._call(method, {**at, **params}, uploads, [self._limit("end", self._counted)])

    def _limits_of(self, chat_id: str) -> list[Limit]:
        found = [
            self._limit("end", self._counted),
            self._limit("conversation", f"{self._counted}:{chat_id}"),
        ]
        return [*found, self._limit("group", f"{self._counted}:{chat_id}:group")] if chat_id.startswith("-") else found

    def _limit(self, counts: str, key: str) -> Limit:
        facts = next(limit for limit in CAPABILITIES.limits if limit.counts == counts)
        if facts.sliding:
            return Limit.window(key, int(facts.rate), facts.per)
        return Limit.bucket(key, facts.rate / facts.per.total_seconds(), facts.burst)

    def _call(
        self,
        method: str,
        params: Params | None = None,
        uploads: Mapping[str, Upload] | None = None,
        limits: Sequence[Limit] = (),
        timeout: timedelta | None = None,
    ) -> Reader:
        """Make one call.

        Raises: Retry (surely not received), Uncertain (perhaps received), Misconfigured (the address is not allowed), and `error_of`.
        """
        said = {name: value for name, value in (params or {}).items() if value is not None}
        body: dict[str, object] = {"data": _form(said), "files": uploads} if uploads else {"json": said}
        try:
            answer = outside.session("telegram_bot").request(
                "POST",
                f"{self._server}/bot{self._token}/{method}",
                limits=limits,
                timeout=UPLOAD_DEADLINE if uploads else timeout,
                deadline=UPLOAD_DEADLINE if uploads else None,
                call=method,
                **body,  # type: ignore[arg-type]
            )
        except outside.NotSent as error:
            raise Retry("unreachable", error.reason) from error
        except outside.MaybeSent as error:
            raise Uncertain("no_answer", error.reason) from error
        except LimitWait as error:
            raise Retry("limit", _OWN_COUNT, error.after) from error
        except Unsafe as error:
            raise Misconfigured("wrong_address", error.reason) from error
        return _result(answer)


_OWN_COUNT = "our own count"


def _form(params: Params) -> dict[str, str]:
    """Write parameters as a form: objects, lists and numbers as JSON (telegram.md A1)."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}


def _result(answer: outside.Answer) -> Reader:
    """Read the envelope of an answer; a proxy before the API may answer without one (telegram.md A8: 502 as HTML)."""
    try:
        body = answer.json()
        if answer.ok and body["ok"].flag():
            return body["result"]
        code, description = body["error_code"].integer(), body["description"].text_or("")
    except Malformed as error:
        if answer.status == 413:
            raise Rejected("file_too_big", "http 413") from error
        if answer.status in (429, 503):
            raise Retry("unreachable", f"http {answer.status}", answer.retry_after) from error
        raise Uncertain("unknown_answer" if answer.ok else "telegram_trouble", f"http {answer.status}") from error
    with understood():
        raise error_of(code, description, body["parameters"])
