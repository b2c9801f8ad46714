"""What one message of the Bot API says: where it stands, who wrote it, what it answers. Pure, like `hooks.py`, which makes events of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from widget_backend.bridge.ends import Owner
from widget_backend.bridge.events import Forward, Person, Place, Quote
from widget_backend.networks.telegram_bot.format import name_of, person, readable
from widget_backend.networks.telegram_bot.media import words_of
from widget_backend.reading import Malformed, Reader

BUSINESS_WINDOW = timedelta(hours=24)  # telegram.md A5, `rights.can_reply`
_PAYLOAD_CHARS = 64  # telegram.md A6


@dataclass(frozen=True, slots=True)
class Where:
    """The conversation of a message. Message ids are unique in `scope` only: per chat, and per business connection."""

    client: Person
    thread: str
    scope: str
    place: Place
    title: str
    window: timedelta | None = None


def where_of(message: Reader, owner: Owner) -> Where:
    """Say which conversation a message, or what is like one, belongs to.

    Source: telegram.md A3.1, `chat`; A5: a business connection makes another conversation of the same chat, open for a day.
    """
    chat = message["chat"]
    chat_id = str(chat["id"].integer())
    sender = message["from"]
    if chat["type"].text() != "private":
        return Where(person(chat), "", chat_id, Place.GROUP, chat["title"].text_or(""))
    language = sender["language_code"].text_or("") if sender["id"].remote_id_or("") == chat_id else ""
    client = person(chat, language=language)
    connection = message["business_connection_id"].remote_id_or("")
    if not connection:
        return Where(client, "", chat_id, Place.DIRECT, "")
    known = owner.settings.get(setting_of(connection))
    title = str(known.get("name", "")) if isinstance(known, Mapping) else ""
    return Where(client, connection, f"{connection}:{chat_id}", Place.DIRECT, title, BUSINESS_WINDOW)


def setting_of(connection_id: str) -> str:
    """Return under which setting of the channel we keep whose a business connection is."""
    return f"business:{connection_id}"


def author_of(message: Reader, where: Where) -> tuple[str, str]:
    """Say who wrote (name, id) when it is not the client himself: a member of a group, the owner of a business account.

    Source: telegram.md A3.3 (`sender_chat` for anonymous ones), A5: a private chat has its customer's id.
    """
    sender = message["sender_chat"] if "sender_chat" in message else message["from"]
    sender_id = sender["id"].remote_id_or("")
    if sender_id == where.client.remote_id and where.place is Place.DIRECT:
        return "", ""
    return name_of(sender), sender_id


def id_of(message: Reader) -> str:
    """Return the number of a message. Raises: Malformed. Source: api.json Message.message_id: 0 stands for one not sent yet."""
    if message["message_id"].integer() <= 0:
        raise Malformed(message["message_id"].path, "id above zero", "integer")
    return message["message_id"].remote_id()


def started(message: Reader, text: str) -> tuple[str, str]:
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


def forwarded(message: Reader, text: str) -> tuple[tuple[Forward, ...], str]:
    """Say whose a forwarded message was, and leave the words to him; those of an album stay with the album."""
    origin = message["forward_origin"]
    if not origin.is_there:
        return (), text
    is_album = "media_group_id" in message
    forward = Forward(author=_origin(origin), text="" if is_album else text, sent_at=moment(origin["date"]))
    return (forward,), text if is_album else ""


def _origin(origin: Reader) -> str:
    """Return the name of who wrote something first.

    Source: telegram.md A3.1, `forward_origin`; api.json MessageOrigin.
    """
    known = next((origin[name] for name in ("sender_user", "sender_chat", "chat") if name in origin), Reader(None))
    return name_of(known) or origin["sender_user_name"].text_or("")


def quote_of(message: Reader) -> Quote | None:
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


def label_of(message: Reader, data: str) -> str:
    """Return the words on the button that holds `data`. Source: api.json InlineKeyboardMarkup."""
    rows = message["reply_markup"]["inline_keyboard"].items()
    buttons = [button for row in rows for button in row.items()]
    return next((one["text"].text_or("") for one in buttons if one["callback_data"].text_or("") == data), "")


def moment(date: Reader) -> datetime:
    """Return a date. Units: Unix seconds. Raises: Malformed."""
    try:
        return datetime.fromtimestamp(date.integer(), UTC)
    except (ValueError, OverflowError, OSError):
        raise Malformed(date.path, "date", "integer") from None
