"""Updates of the Bot API: who sent a hook, what it says. Pure: no database, no network, no clock."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from widget_backend.bridge.ends import Hook, HookAnswer, Kept, Owner
from widget_backend.bridge.errors import NotGenuine
from widget_backend.bridge.events import (
    ClientChanged,
    Direction,
    EndChanged,
    Event,
    Ignored,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    Place,
    Unparsed,
)
from widget_backend.networks.telegram_bot.format import name_of, person
from widget_backend.networks.telegram_bot.hooks_message import (
    Where,
    author_of,
    forwarded,
    id_of,
    label_of,
    moment,
    quote_of,
    setting_of,
    started,
    where_of,
)
from widget_backend.networks.telegram_bot.media import SERVICE, shown, words_of
from widget_backend.reading import Malformed, Reader, read_json

MAX_DEPTH = 200  # pages of a rich message nest
_HEADER = "x-telegram-bot-api-secret-token"
_SHOWN_KIND_CHARS = 60


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
    skipped = "own_echo" if _is_echo(message, update.owner) else _skipped(message)
    if skipped:
        return [Ignored(kind=skipped)]
    where = where_of(message, update.owner)
    if "write_access_allowed" in message:
        return [ClientChanged(client=where.client, at=moment(message["date"]), may_write=True)]
    if any(name in message for name in SERVICE):
        return [Ignored(kind="service_message")]
    author, author_id = author_of(message, where)
    is_ours = where.thread != "" and author_id != ""
    text, ref = started(message, words_of(message))
    forwards, text = forwarded(message, text)
    return [
        MessageReceived(
            remote_id=id_of(message),
            direction=Direction.OUT if is_ours else Direction.IN,
            sent_at=moment(message["date"]),
            client=where.client,
            thread=where.thread,
            scope=where.scope,
            place=where.place,
            place_title=where.title,
            text=text,
            attachments=shown(message, text or ref),
            quote=quote_of(message),
            forwards=forwards,
            author=author,
            author_id=author_id,
            group=message["media_group_id"].remote_id_or(""),
            ref=ref,
            payload=message["web_app_data"]["data"].text_or(""),
            is_automatic=message["is_from_offline"].flag_or(False),
            window=where.window,
        ),
        *_own_phone(message, where),
    ]


def _skipped(message: Reader) -> str:
    is_post = message["chat"]["type"].text() == "channel" or message["is_automatic_forward"].flag_or(False)
    return "channel_post" if is_post else ""


def _is_echo(message: Reader, owner: Owner) -> bool:
    """Tell whether we sent it for the owner of a business account. Source: telegram.md A5, `sender_business_bot`."""
    return message["sender_business_bot"]["id"].remote_id_or("") == owner.remote_id != ""


def _own_phone(message: Reader, where: Where) -> Sequence[Event]:
    """Learn a number that is surely the sender's own.

    Source: telegram.md A3.1, contact: `contact.user_id == from.id` proves it.
    """
    contact = message["contact"]
    owner_id = contact["user_id"].remote_id_or("")
    if not owner_id or owner_id != where.client.remote_id or owner_id != message["from"]["id"].remote_id_or(""):
        return []
    known = person(message["chat"], phone=contact["phone_number"].text_or(""))
    return [ClientChanged(client=known, at=moment(message["date"]))]


def _edited_message(update: _Update) -> Sequence[Event]:
    message = update.thing
    skipped = "own_echo" if _is_echo(message, update.owner) else _skipped(message)
    if skipped:
        return [Ignored(kind=skipped)]
    if message["location"]["live_period"].is_there:
        return [Ignored(kind="live_location")]  # moves many times a minute (telegram.md A10)
    is_album = "media_group_id" in message
    if is_album and "caption" not in message:
        return [Ignored(kind="album_piece")]  # pieces are one message here: its words stand in another piece
    where = where_of(message, update.owner)
    text = words_of(message)
    return [
        MessageEdited(
            remote_id=id_of(message),
            edited_at=moment(message["edit_date"]) if "edit_date" in message else update.received_at,
            text=text,
            client=where.client,
            thread=where.thread,
            scope=where.scope,
            attachments=None if is_album else shown(message, text),
            revision=update.id,  # edit_date would join two edits of one second
        )
    ]


def _deleted_business_messages(update: _Update) -> Sequence[Event]:
    where = where_of(update.thing, update.owner)
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
    return [ClientChanged(client=client, at=moment(update.thing["date"]), may_write=status == "member")]


def _callback_query(update: _Update) -> Sequence[Event]:
    """A button was pressed: shown by its label, with its payload. Source: telegram.md A3, api.json CallbackQuery."""
    query = update.thing
    message = query["message"]
    if not message.is_there:  # under a message that was sent through inline mode, in a chat we do not know
        return [Ignored(kind="inline_button")]
    skipped = _skipped(message)
    if skipped:
        return [Ignored(kind=skipped)]
    where = where_of(message, update.owner)
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
            text=label_of(message, data),
            author=name_of(query["from"]) if is_member else "",
            author_id=query["from"]["id"].remote_id() if is_member else "",
            payload=data,
            window=where.window,
        )
    ]


def _business_connection(update: _Update) -> Sequence[Event]:
    """Remember whose account a connection is. Source: telegram.md A5."""
    connection = update.thing
    facts: dict[str, object] = {
        "name": name_of(connection["user"]),
        "user_id": connection["user"]["id"].remote_id(),
        "is_enabled": connection["is_enabled"].flag(),
        "can_reply": connection["rights"]["can_reply"].flag_or(False),
    }
    return [EndChanged(settings={setting_of(connection["id"].remote_id()): facts})]


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
