"""What a portal tells us: event handlers called by its queue with a PHP form, and what `pull` fetched, in one vocabulary.

Every end has its own unguessable address; beside it the body must carry the portal's member_id and application_token (bitrix24.md 1.4).
Installing, updating and opening pages come to the embedded pages, not here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes, urlsplit

from widget_backend.bridge.ends import PULLED, Hook, HookAnswer, Kept, Owner
from widget_backend.bridge.errors import NotGenuine
from widget_backend.bridge.events import (
    Attachment,
    DialogClosed,
    DialogOpened,
    Direction,
    EndBroken,
    EndChanged,
    EndRevoked,
    Event,
    Ignored,
    Kind,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    Quote,
    Unparsed,
)
from widget_backend.crms.bitrix24.format import Mark, MarkKind, Plain, from_chat
from widget_backend.reading import Malformed, Reader, read_form, read_json

EVENTS_BOUND = (
    "OnImConnectorMessageAdd",
    "OnImConnectorMessageUpdate",
    "OnImConnectorMessageDelete",
    "OnImConnectorDialogStart",
    "OnImConnectorDialogFinish",
    "OnImConnectorStatusDelete",
    "OnImConnectorLineDelete",
    "OnAppUninstall",
)
UPDATE_EVENTS = ("OnAppUpdate",)
"""Bound to the embedded door: it may bring a new application_token, which only the OAuth server can vouch for."""
PULLED_MESSAGES = "PULLED_MESSAGES"
PULLED_MOVE = "PULLED_MOVE"
PULLED_LOSS = "PULLED_LOSS"
_SECRETS = re.compile(rb"auth\[[^\]]*token[^\]]*\]", re.IGNORECASE)
_OUR_KEY = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IM_ID = re.compile(r"\d{1,20}:\d{1,20}")
_KINDS = {"image": Kind.PHOTO, "video": Kind.VIDEO, "audio": Kind.AUDIO}
_LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()


def verify(hook: Hook, owner: Owner) -> Kept:
    """Prove that the portal's queue sent the form: its member_id, its application_token, a host of the portal.

    Shape: tokens are removed from what is kept. There is no id of an event.
    Raises: NotGenuine.
    Source: bitrix24.md 1.4 "Verifying any event".
    """
    if hook.name == PULLED:
        raise NotGenuine("reserved_name")
    try:
        auth = read_form(hook.body)["auth"]
        member_id = auth["member_id"].text_or("")
        token = auth["application_token"].text_or("")
        endpoint = auth["client_endpoint"].text_or("")
    except Malformed as error:
        raise NotGenuine("malformed") from error
    if not same(member_id, owner.remote_id):
        raise NotGenuine("unknown_portal")
    current, previous = owner.secrets.get("application_token", ""), owner.previous.get("application_token", "")
    if not same(token, current) | same(token, previous):
        raise NotGenuine("wrong_secret")
    if endpoint and host_of(endpoint) not in _known_hosts(owner.settings):
        raise NotGenuine("unknown_host")
    return Kept(body=_without_tokens(hook.body))


def split(hook: Hook) -> Sequence[tuple[str, str, bytes]]:
    """Name the portal a body belongs to; one body never holds several. Source: bitrix24.md 1.4."""
    return [(read_form(hook.body)["auth"]["member_id"].text(), "", hook.body)]


def parse(hook: Hook, owner: Owner) -> Sequence[Event]:
    """Turn a portal's event, or a thing that `pull` fetched (`hook.name` is `pull`), into events.

    Units: ts is Unix seconds.
    Raises: nothing.
    Source: bitrix24.md 4, 1.4.
    """
    try:
        is_pulled = hook.name == PULLED
        body = read_json(hook.body) if is_pulled else read_form(hook.body)
        kind = body["event"].text().upper()
    except Malformed as error:
        return [Unparsed(kind="", why=str(error))]
    read = (_PULLED if is_pulled else _PARSERS).get(kind)
    if read is None:
        return [Unparsed(kind=kind[:80], why="unknown event")]
    try:
        return read(body, _Context(hook, owner, kind, body))
    except Malformed as error:
        return [Unparsed(kind=kind, why=str(error))]


def answer(hook: Hook, owner: Owner) -> HookAnswer:
    """Say 200 at once: a slow handler is called later and later. Source: bitrix24.md 4 "Delivery rules"."""
    return HookAnswer()


def same(given: str, secret: str) -> bool:
    """Compare two secrets in constant time; an empty one equals nothing. Source: bitrix24.md 1.4."""
    return hmac.compare_digest(given.encode(), secret.encode()) and bool(secret)


def host_of(url: str) -> str:
    """Return host and port of an address in lower case, empty when it is none. Source: bitrix24.md 1.7 (odd ports occur)."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        port = f":{parts.port}" if parts.port and parts.port not in (80, 443) else ""
    except ValueError:
        return ""
    return f"{(parts.hostname or '').lower()}{port}"


class _Context:
    """What the parsers of one body share."""

    def __init__(self, hook: Hook, owner: Owner, kind: str, body: Reader) -> None:
        self.received_at = hook.received_at
        self.kind = kind
        self.connector = str(owner.settings.get("connector", ""))
        self.line = str(owner.settings.get("line", ""))
        self.at = _moment(body["ts"], hook.received_at)

    def is_ours(self, connector: str) -> bool:
        return connector.lower() == self.connector

    def each(self, items: Reader, read: Callable[[Reader, _Context], Event]) -> list[Event]:
        """Read every item; one that is not understood does not cost the others."""
        events: list[Event] = []
        for item in items.items():
            try:
                events.append(read(item, self))
            except Malformed as error:
                events.append(Unparsed(kind=self.kind, why=str(error)))
        return events or [Unparsed(kind=self.kind, why="nothing in it")]


def _messages(read: Callable[[Reader, _Context], Event]) -> Callable[[Reader, _Context], list[Event]]:
    def parser(body: Reader, context: _Context) -> list[Event]:
        if not context.is_ours(body["data"]["CONNECTOR"].text()):
            return [Ignored(kind="foreign_connector")]
        return context.each(body["data"]["MESSAGES"], read)

    return parser


def _added(item: Reader, context: _Context) -> Event:
    message = item["message"]
    user_id = message["user_id"].integer_or(0)
    said = from_chat(message["text"].text_or(""), is_signed=user_id > 0)
    chat_id = item["im"]["chat_id"].remote_id()
    return _operator_message(
        said,
        context,
        remote_id=f"{chat_id}:{item['im']['message_id'].remote_id()}",
        thread=item["chat"]["id"].remote_id(),
        sent_at=context.at,
        attachments=tuple(_attachment(file) for file in message["files"].items()),
        author=said.author or item["user"]["name"].text_or(""),
        user_id=user_id,
        session={"chat_id": chat_id},
    )


def _operator_message(
    said: Plain,
    context: _Context,
    *,
    remote_id: str,
    thread: str,
    sent_at: datetime,
    attachments: tuple[Attachment, ...],
    author: str,
    user_id: int,
    session: dict[str, str],
) -> Event:
    moments = (sent_at, context.received_at)  # the portal's clock may be off, and a pull may come hours later
    mark = said.mark if said.mark and any(said.mark.is_fresh(moment) for moment in moments) else None
    if mark and mark.kind is not MarkKind.MESSAGE:
        return Ignored(kind="own_note")
    if not (said.text or attachments or mark or said.quoted):
        return Unparsed(kind=context.kind, why="a message without text and files")
    return MessageReceived(
        remote_id=mark.key if mark else remote_id,  # the portal and we know what we wrote ourselves by our key
        direction=Direction.OUT,
        sent_at=sent_at,
        thread=thread,
        text=said.text,
        attachments=attachments,
        quote=Quote(text=said.quoted, author=said.quoted_author) if said.quoted else None,
        author=author,
        author_id=str(user_id) if user_id > 0 else "",
        own_key=mark.key if mark else "",
        is_automatic=user_id <= 0,
        session=session,
    )


def _edited(item: Reader, context: _Context) -> Event:
    text = item["message"]["text"].text_or("")
    said = from_chat(text, is_signed=True)
    if said.mark and (said.mark.kind is MarkKind.NOTE or _is_echo_of_edit(said.mark, context)):
        return Ignored(kind="own_note")
    return MessageEdited(
        remote_id=_known_id(item),
        edited_at=context.at,
        text=said.text,
        thread=item["chat"]["id"].remote_id(),
        revision=f"{int(context.at.timestamp())}-{hashlib.sha256(text.encode()).hexdigest()[:12]}",
    )


def _is_echo_of_edit(mark: Mark, context: _Context) -> bool:
    return mark.kind is MarkKind.EDIT and (mark.is_fresh(context.at) or mark.is_fresh(context.received_at))


def _deleted(item: Reader, context: _Context) -> Event:
    return MessageDeleted(remote_id=_known_id(item), deleted_at=context.at, thread=item["chat"]["id"].remote_id())


def _known_id(item: Reader) -> str:
    """Return the id under which we know a message: what we gave the portal for it, else the portal's own numbers.

    Shape: message.id is a list in an update and a scalar in a deletion; ours are a part key or "chat:message".
    Source: bitrix24.md 4 "OnImConnectorMessageUpdate / Delete".
    """
    given = item["message"]["id"]
    try:
        ids = [entry.remote_id() for entry in given.items()]
    except Malformed:
        ids = [given.remote_id()]
    for known in ids:
        if _OUR_KEY.fullmatch(known) or _IM_ID.fullmatch(known):
            return known
    return f"{item['im']['chat_id'].remote_id()}:{item['im']['message_id'].remote_id()}"


def _dialogs(event: type[DialogOpened] | type[DialogClosed]) -> Callable[[Reader, _Context], list[Event]]:
    def one(item: Reader, context: _Context) -> Event:
        if not context.is_ours(item["connector"]["connector_id"].text()):
            return Ignored(kind="foreign_connector")
        user_id = item["connector"]["user_id"].remote_id_or("0")
        session = {"session_id": item["session"]["id"].remote_id()}
        if user_id != "0":
            session["client_user_id"] = user_id
        return event(thread=item["connector"]["chat_id"].remote_id(), at=context.at, session=session)

    def parser(body: Reader, context: _Context) -> list[Event]:
        return context.each(body["data"]["DATA"], one)

    return parser


def _connector_removed(body: Reader, context: _Context) -> list[Event]:
    fields = {name.lower(): value for name, value in body["data"].fields()}
    line = fields["line"].remote_id() if "line" in fields else ""
    if "connector" not in fields or not context.is_ours(fields["connector"].text()) or line != context.line:
        return [Ignored(kind="foreign_connector")]
    return [EndBroken(reason="bitrix24_line_disconnected", detail=f"line {line}")]


def _line_removed(body: Reader, context: _Context) -> list[Event]:
    line = body["data"].remote_id()
    if line != context.line:
        return [Ignored(kind="foreign_line")]
    return [EndBroken(reason="bitrix24_line_deleted", detail=f"line {line}")]


def _uninstalled(body: Reader, context: _Context) -> list[Event]:
    return [EndRevoked(reason="bitrix24_uninstalled", erase=body["data"]["CLEAN"].flag_or(False))]


def _updated(body: Reader, context: _Context) -> list[Event]:
    # A changed application_token cannot be proved here; the embedded door asks the OAuth server and stores it.
    return [EndChanged(reconnect=True)]


def _tested(body: Reader, context: _Context) -> list[Event]:
    return [Ignored(kind=context.kind.lower())]


def _pulled_messages(body: Reader, context: _Context) -> list[Event]:
    """Read what `pull` kept of one chat: the same messages as in an event, in the portal's own order.

    Source: bitrix24.md 5.3 (session.history.get); the shape is `adapter.pulled_chat`.
    """
    thread, chat_id = body["thread"].remote_id(), body["chat_id"].remote_id()

    def one(item: Reader, context: _Context) -> Event:
        user_id = item["user_id"].integer_or(0)
        said = from_chat(item["text"].text_or(""), is_signed=user_id > 0)
        return _operator_message(
            said,
            context,
            remote_id=f"{chat_id}:{item['id'].remote_id()}",
            thread=thread,
            sent_at=_moment(item["at"], context.received_at),
            attachments=tuple(_attachment(file) for file in item["files"].items()),
            author=said.author or item["author"].text_or(""),
            user_id=user_id,
            session={"chat_id": chat_id},
        )

    return context.each(body["messages"], one)


def _pulled_move(body: Reader, context: _Context) -> list[Event]:
    endpoint = body["client_endpoint"].text()
    return [EndChanged(settings={"client_endpoint": endpoint, "domain": host_of(endpoint)})]


def _attachment(file: Reader) -> Attachment:
    """Read one file of an operator's message. Source: bitrix24.md 4 (file fields, [C])."""
    link = file["link"].text_or("") or file["downloadLink"].text_or("") or file["urlDownload"].text_or("")
    name, mime = file["name"].text_or(""), file["mime"].text_or("")
    if urlsplit(link).scheme not in ("http", "https"):
        return Attachment(kind=Kind.UNSUPPORTED, name=name)
    kind = _KINDS.get(file["type"].text_or("") or mime.partition("/")[0], Kind.DOCUMENT)
    if kind is Kind.PHOTO and (mime == "image/gif" or name.lower().endswith(".gif")):
        kind = Kind.ANIMATION
    return Attachment(
        kind=kind,
        url=link,
        name=name,
        mime=mime,
        size_bytes=_positive(file["size"]),
        width=_positive(file["width"]),
        height=_positive(file["height"]),
    )


def _positive(value: Reader) -> int | None:
    try:
        number = value.integer_or(0)
    except Malformed:
        return None  # a decoration; the file itself will tell
    return number if 0 < number < 2**53 else None


def _moment(value: Reader, other: datetime) -> datetime:
    try:
        seconds = value.number_or(0)
    except Malformed:
        return other
    return datetime.fromtimestamp(seconds, UTC) if 0 < seconds < _LATEST else other


def _known_hosts(settings: Mapping[str, object]) -> set[str]:
    return {host_of(str(settings.get(name, ""))) for name in ("client_endpoint", "domain")} - {""}


def _without_tokens(body: bytes) -> bytes:
    kept = (pair for pair in body.split(b"&") if not _SECRETS.match(unquote_to_bytes(pair.partition(b"=")[0])))
    return b"&".join(kept)


_PARSERS: Mapping[str, Callable[[Reader, _Context], list[Event]]] = {
    "ONIMCONNECTORMESSAGEADD": _messages(_added),
    "ONIMCONNECTORMESSAGEUPDATE": _messages(_edited),
    "ONIMCONNECTORMESSAGEDELETE": _messages(_deleted),
    "ONIMCONNECTORDIALOGSTART": _dialogs(DialogOpened),
    "ONIMCONNECTORDIALOGFINISH": _dialogs(DialogClosed),
    "ONIMCONNECTORSTATUSDELETE": _connector_removed,
    "ONIMCONNECTORLINEDELETE": _line_removed,
    "ONAPPUNINSTALL": _uninstalled,
    "ONAPPUPDATE": _updated,
    "ONAPPINSTALL": _updated,
    "ONAPPTEST": _tested,
}
_PULLED: Mapping[str, Callable[[Reader, _Context], list[Event]]] = {
    PULLED_MESSAGES: _pulled_messages,
    PULLED_MOVE: _pulled_move,
    PULLED_LOSS: _updated,
}
