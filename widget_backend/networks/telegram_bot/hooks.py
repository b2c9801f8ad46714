"""Updates of the Bot API: who sent a hook, what it says. Pure: no database, no network, no clock."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from widget_backend.bridge.ends import Hook, HookAnswer, Kept, Owner
from widget_backend.bridge.errors import NotGenuine
from widget_backend.bridge.events import (
    ClientChanged,
    Direction,
    EndChanged,
    Event,
    Forward,
    Ignored,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    Person,
    Place,
    Quote,
    Unparsed,
)
from widget_backend.networks.telegram_bot.format import name_of, person, readable
from widget_backend.networks.telegram_bot.media import SERVICE, shown, words_of
from widget_backend.reading import Malformed, Reader, read_json

MAX_DEPTH = 200  # pages of a rich message nest
_HEADER = "x-telegram-bot-api-secret-token"
_SHOWN_KIND_CHARS = 60
_PAYLOAD_CHARS = 64  # telegram.md A6


# -------------------------------------------------------------------------------------------------------- who sent it


def verify(hook: Hook, owner: Owner) -> Kept:
    """Prove that Telegram sent this: our secret in its header.

    Shape: a body that cannot be read is kept all the same: Telegram would repeat it for a day and hold back its chat.
    Raises: NotGenuine.
    Source: telegram.md A2, `secret_token`; `update_id` is the same in every repeat.
    """
    valid = (owner.secrets.get("webhook_secret"), owner.previous.get("webhook_secret"))
    given = hook.headers.get(_HEADER, "").encode()
    # every valid secret is compared, so that the time says nothing about which one matched
    matches = [hmac.compare_digest(given, one.encode()) for one in valid if one]
    if not any(matches):
        raise NotGenuine("wrong secret")
    try:
        return Kept(event_id=read_json(hook.body, max_depth=MAX_DEPTH)["update_id"].remote_id_or(""))
    except Malformed:
        return Kept()


def split(hook: Hook) -> Sequence[tuple[str, str, bytes]]:
    """Every bot has its own address: there is nothing to cut.

    Source: telegram.md A2: one webhook per bot, one update per body.
    """
    return []


def answer(hook: Hook, owner: Owner) -> HookAnswer:
    """Answer 200 with nothing: a body could be taken for a call.

    Source: telegram.md A2, "reply in body".
    """
    return HookAnswer()


# -------------------------------------------------------------------------------------------------------- what it says


@dataclass(frozen=True, slots=True)
class _Update:
    """One update: its id, what it holds, when we kept it, whose it is."""

    id: str
    thing: Reader
    received_at: datetime
    owner: Owner


@dataclass(frozen=True, slots=True)
class _Where:
    """The conversation of a message. Message ids are unique in `scope` only: per chat, and per business connection."""

    client: Person
    thread: str
    scope: str
    place: Place
    title: str


def parse(hook: Hook, owner: Owner) -> Sequence[Event]:
    """Turn one update, from the webhook or from polling, into events.

    Shape: body = {update_id, <kind>: {...}}. Ignored for what nobody needs.
    Units: dates are Unix seconds.
    Raises: nothing; a body that is not understood becomes [Unparsed].
    Source: telegram.md A3.
    """
    kind = ""
    try:
        update = read_json(hook.body, max_depth=MAX_DEPTH)
        kinds = [name for name, thing in update.fields() if name != "update_id" and thing.is_there]
        kind = kinds[0][:_SHOWN_KIND_CHARS] if kinds else "empty"
        if kind in IGNORED:
            return [Ignored(kind=kind)]
        read = _READERS.get(kind)
        if read is None:
            return [Unparsed(kind=kind, why="unknown update")]
        return read(_Update(update["update_id"].remote_id_or(""), update[kind], hook.received_at, owner))
    except Malformed as error:
        return [Unparsed(kind=kind or "unknown", why=str(error))]


def _message(update: _Update) -> Sequence[Event]:
    message = update.thing
    skipped = "own_echo" if _is_echo(message, update.owner) else _skipped(message, update.owner)
    if skipped:
        return [Ignored(kind=skipped)]
    where = _where(message, update.owner)
    if "write_access_allowed" in message:
        return [ClientChanged(client=where.client, at=_moment(message["date"]), may_write=True)]
    if any(name in message for name in SERVICE):
        return [Ignored(kind="service_message")]
    author, author_id = _author(message, where)
    is_ours = where.thread != "" and author_id != ""
    text, ref = _started(message, words_of(message))
    forwards, text = _forwarded(message, text)
    return [
        MessageReceived(
            remote_id=_message_id(message),
            direction=Direction.OUT if is_ours else Direction.IN,
            sent_at=_moment(message["date"]),
            client=where.client,
            thread=where.thread,
            scope=where.scope,
            place=where.place,
            place_title=where.title,
            text=text,
            attachments=shown(message, text or ref),
            quote=_quote(message),
            forwards=forwards,
            author=author,
            author_id=author_id,
            group=message["media_group_id"].remote_id_or(""),
            ref=ref,
            payload=message["web_app_data"]["data"].text_or(""),
            is_automatic=message["is_from_offline"].flag_or(False),
        ),
        *_own_phone(message, where),
    ]


def _skipped(message: Reader, owner: Owner) -> str:
    chat = message["chat"]["type"].text()
    if chat == "channel":
        return "channel_post"
    if chat != "private" and not owner.settings.get("group_chats"):
        return "group_chat"
    if message["is_automatic_forward"].flag_or(False):
        return "channel_post"
    return ""


def _is_echo(message: Reader, owner: Owner) -> bool:
    """Tell whether we sent it for the owner of a business account. Source: telegram.md A5, `sender_business_bot`."""
    return message["sender_business_bot"]["id"].remote_id_or("") == owner.remote_id != ""


def _where(message: Reader, owner: Owner) -> _Where:
    chat = message["chat"]
    chat_id = str(chat["id"].integer())
    sender = message["from"]
    if chat["type"].text() != "private":
        return _Where(person(chat), "", chat_id, Place.GROUP, chat["title"].text_or(""))
    language = sender["language_code"].text_or("") if sender["id"].remote_id_or("") == chat_id else ""
    client = person(chat, language=language)
    connection = message["business_connection_id"].remote_id_or("")
    if not connection:
        return _Where(client, "", chat_id, Place.DIRECT, "")
    known = owner.settings.get(_setting_of(connection))
    title = str(known.get("name", "")) if isinstance(known, Mapping) else ""
    return _Where(client, connection, f"{connection}:{chat_id}", Place.DIRECT, title)


def _setting_of(connection_id: str) -> str:
    return f"business:{connection_id}"


def _author(message: Reader, where: _Where) -> tuple[str, str]:
    """Say who wrote (name, id) when it is not the client himself: a member of a group, the owner of a business account.

    Source: telegram.md A3.3 (`sender_chat` for anonymous ones), A5: a private chat has its customer's id.
    """
    sender = message["sender_chat"] if "sender_chat" in message else message["from"]
    sender_id = sender["id"].remote_id_or("")
    if sender_id == where.client.remote_id and where.place is Place.DIRECT:
        return "", ""
    return name_of(sender), sender_id


def _message_id(message: Reader) -> str:
    if message["message_id"].integer() <= 0:
        raise Malformed(message["message_id"].path, "id above zero", "integer")
    return message["message_id"].remote_id()


def _started(message: Reader, text: str) -> tuple[str, str]:
    """Cut the payload of a deep link off the command (text, payload).

    Source: telegram.md A6: `/start payload`, in groups `/start@bot payload`.
    """
    first = next(iter(message["entities"].items()), Reader(None))
    if first["type"].text_or("") != "bot_command" or first["offset"].integer_or(-1) != 0:
        return text, ""
    command, _, payload = text.partition(" ")
    if command.partition("@")[0] != "/start":
        return text, ""
    return "/start", payload.strip()[:_PAYLOAD_CHARS]


def _forwarded(message: Reader, text: str) -> tuple[tuple[Forward, ...], str]:
    """Say whose a forwarded message was, and leave the words to him; those of an album stay with the album."""
    origin = message["forward_origin"]
    if not origin.is_there:
        return (), text
    is_album = "media_group_id" in message
    forward = Forward(author=_origin(origin), text="" if is_album else text, sent_at=_moment(origin["date"]))
    return (forward,), text if is_album else ""


def _origin(origin: Reader) -> str:
    """Return the name of who wrote something first.

    Source: telegram.md A3.1, `forward_origin`; api.json MessageOrigin.
    """
    known = next((origin[name] for name in ("sender_user", "sender_chat", "chat") if name in origin), Reader(None))
    return name_of(known) or origin["sender_user_name"].text_or("")


def _quote(message: Reader) -> Quote | None:
    """Read what is answered: a message of this chat, or one of another.

    Source: telegram.md A3.1: the text is missing when it is inaccessible. In a forum every message answers its topic.
    """
    marked = readable(message["quote"]["text"].text_or(""), message["quote"]["entities"])
    answered = message["reply_to_message"]
    if answered.is_there and "forum_topic_created" not in answered:
        return Quote(
            remote_id=answered["message_id"].remote_id_or(""),
            text=marked or words_of(answered),
            author=name_of(answered["sender_chat"] if "sender_chat" in answered else answered["from"]),
        )
    if "external_reply" in message:
        return Quote(text=marked, author=_origin(message["external_reply"]["origin"]))
    return None


def _own_phone(message: Reader, where: _Where) -> Sequence[Event]:
    """Learn a number that is surely the sender's own.

    Source: telegram.md A3.1, contact: `contact.user_id == from.id` proves it.
    """
    contact = message["contact"]
    owner_id = contact["user_id"].remote_id_or("")
    if not owner_id or owner_id != where.client.remote_id or owner_id != message["from"]["id"].remote_id_or(""):
        return []
    known = person(message["chat"], phone=contact["phone_number"].text_or(""))
    return [ClientChanged(client=known, at=_moment(message["date"]))]


def _edited_message(update: _Update) -> Sequence[Event]:
    message = update.thing
    skipped = "own_echo" if _is_echo(message, update.owner) else _skipped(message, update.owner)
    if skipped:
        return [Ignored(kind=skipped)]
    if message["location"]["live_period"].is_there:
        return [Ignored(kind="live_location")]  # moves many times a minute (telegram.md A10)
    is_album = "media_group_id" in message
    if is_album and "caption" not in message:
        return [Ignored(kind="album_piece")]  # pieces are one message here: its words stand in another piece
    where = _where(message, update.owner)
    text = words_of(message)
    return [
        MessageEdited(
            remote_id=_message_id(message),
            edited_at=_moment(message["edit_date"]) if "edit_date" in message else update.received_at,
            text=text,
            client=where.client,
            thread=where.thread,
            scope=where.scope,
            attachments=None if is_album else shown(message, text),
            revision=update.id,  # edit_date would join two edits of one second
        )
    ]


def _deleted_business_messages(update: _Update) -> Sequence[Event]:
    where = _where(update.thing, update.owner)
    return [
        MessageDeleted(
            remote_id=one.remote_id(),
            deleted_at=update.received_at,
            client=where.client,
            thread=where.thread,
            scope=where.scope,
        )
        for one in update.thing["message_ids"].items()
    ]


def _my_chat_member(update: _Update) -> Sequence[Event]:
    """In a private chat: the client blocked the bot, or lets it write again. Source: telegram.md A3."""
    status = update.thing["new_chat_member"]["status"].text()
    if update.thing["chat"]["type"].text() != "private" or status not in ("kicked", "member"):
        return [Ignored(kind="own_membership")]
    client = person(update.thing["chat"])
    return [ClientChanged(client=client, at=_moment(update.thing["date"]), may_write=status == "member")]


def _callback_query(update: _Update) -> Sequence[Event]:
    """A button was pressed: shown by its label, with its payload. Source: telegram.md A3, api.json CallbackQuery."""
    query = update.thing
    message = query["message"]
    if not message.is_there:  # under a message that was sent through inline mode, in a chat we do not know
        return [Ignored(kind="inline_button")]
    skipped = _skipped(message, update.owner)
    if skipped:
        return [Ignored(kind=skipped)]
    where = _where(message, update.owner)
    data = query["data"].text_or("") or query["game_short_name"].text_or("")
    is_member = where.place is Place.GROUP
    return [
        MessageReceived(
            remote_id=f"callback:{query['id'].remote_id()}",
            direction=Direction.IN,
            sent_at=update.received_at,
            client=where.client,
            thread=where.thread,
            scope=where.scope,
            place=where.place,
            place_title=where.title,
            text=_label(message, data),
            author=name_of(query["from"]) if is_member else "",
            author_id=query["from"]["id"].remote_id() if is_member else "",
            payload=data,
        )
    ]


def _label(message: Reader, data: str) -> str:
    rows = message["reply_markup"]["inline_keyboard"].items()
    buttons = [button for row in rows for button in row.items()]
    return next((one["text"].text_or("") for one in buttons if one["callback_data"].text_or("") == data), "")


def _business_connection(update: _Update) -> Sequence[Event]:
    """Remember whose account a connection is. Source: telegram.md A5."""
    connection = update.thing
    facts: dict[str, object] = {
        "name": name_of(connection["user"]),
        "user_id": connection["user"]["id"].remote_id(),
        "is_enabled": connection["is_enabled"].flag(),
        "can_reply": connection["rights"]["can_reply"].flag_or(False),
    }
    return [EndChanged(settings={_setting_of(connection["id"].remote_id()): facts})]


def _moment(date: Reader) -> datetime:
    try:
        return datetime.fromtimestamp(date.integer(), UTC)
    except (ValueError, OverflowError, OSError):
        raise Malformed(date.path, "date", "integer") from None


_READERS: Mapping[str, Callable[[_Update], Sequence[Event]]] = {
    "message": _message,
    "edited_message": _edited_message,
    "my_chat_member": _my_chat_member,
    "callback_query": _callback_query,
    "business_connection": _business_connection,
    "business_message": _message,
    "edited_business_message": _edited_message,
    "deleted_business_messages": _deleted_business_messages,
}

UPDATES = (*_READERS,)
"""What we ask for: less than telegram.md A2 lists, since posts, reactions and others' membership are of no use yet."""

IGNORED = frozenset(
    {"channel_post", "edited_channel_post", "message_reaction", "message_reaction_count", "chat_member",
     "chat_join_request", "chat_boost", "removed_chat_boost", "inline_query", "chosen_inline_result", "shipping_query",
     "pre_checkout_query", "purchased_paid_media", "poll", "poll_answer"}
)  # fmt: skip
"""Understood and not asked for: other software with the same token may have."""
