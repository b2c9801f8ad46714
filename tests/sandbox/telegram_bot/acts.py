"""What people do besides writing: edit, delete, start, block, press, react, read, change a business connection."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.sandbox.frame import BadControl
from tests.sandbox.telegram_bot import gifts, writing
from tests.sandbox.telegram_bot.calls import Place
from tests.sandbox.telegram_bot.deeds import MEDIA_FIELDS
from tests.sandbox.telegram_bot.state import Bot, Chat, Json, Message, Person

if TYPE_CHECKING:
    from tests.sandbox.telegram_bot.peer import TelegramPeer

Act = Callable[["TelegramPeer", Bot, Place, Person, Json], Json]


def _message(place: Place, number: object) -> Message:
    found = place.chat.messages.get(int(str(number)))
    if found is None or found.deleted:
        raise BadControl(f"no message {number}")
    return found


def edit(peer: TelegramPeer, bot: Bot, place: Place, person: Person, body: Json) -> Json:
    """Change text, caption or file of a message."""
    message = _message(place, body["edit"])
    attachments = body.get("attachments") or []
    content = {name: message.body[name] for name in MEDIA_FIELDS if name in message.body}
    if attachments:
        content = gifts.fields_of(peer, bot, person, attachments[0])
    content |= writing.words(str(body.get("text", "")), body.get("entities"), is_caption=bool(content))
    peer.deeds.edit(bot, place, message, content, by_bot=False)
    return {"id": str(message.id)}


def delete(peer: TelegramPeer, bot: Bot, place: Place, person: Person, body: Json) -> Json:
    """Delete messages; bots hear of it only through a business connection."""
    numbers = body["delete"] if isinstance(body["delete"], list) else [body["delete"]]
    peer.deeds.delete(bot, place, [_message(place, number) for number in numbers])
    return {"id": str(numbers[0])}


def start(peer: TelegramPeer, bot: Bot, place: Place, person: Person, body: Json) -> Json:
    """Press Start, with the payload of a deep link when given (telegram.md A6)."""
    if place.chat.is_blocked:
        peer.deeds.block(bot, place, person, is_blocked=False)
    payload = body["start"] if isinstance(body["start"], str) else ""
    return writing.write(peer, bot, place, person, {"text": f"/start {payload}".strip()})


def block(peer: TelegramPeer, bot: Bot, place: Place, person: Person, body: Json) -> Json:
    """Block the bot; in a group: kick it."""
    peer.deeds.block(bot, place, person, is_blocked=True)
    return {"id": ""}


def unblock(peer: TelegramPeer, bot: Bot, place: Place, person: Person, body: Json) -> Json:
    """Unblock the bot; in a group: add it."""
    peer.deeds.block(bot, place, person, is_blocked=False)
    return {"id": ""}


def press(peer: TelegramPeer, bot: Bot, place: Place, person: Person, body: Json) -> Json:
    """Press an inline button of a message."""
    message = _message(place, body["message"])
    rows = message.body.get("reply_markup", {}).get("inline_keyboard", [])
    chosen = str(body["press"])
    found = next((b for row in rows for b in row if chosen in {b.get("callback_data"), b["text"]}), None)
    if found is None or "callback_data" not in found:
        raise BadControl("no such button")
    query_id = str(secrets.randbelow(10**18))
    bot.callbacks[query_id] = peer.now()
    query = {"id": query_id, "from": person.user(), "message": message.body, "chat_instance": str(place.chat.id)}
    bot.queue.add("callback_query", {**query, "data": found["callback_data"]}, f"callback/{person.id}")
    return {"id": query_id}


def react(peer: TelegramPeer, bot: Bot, place: Place, person: Person, body: Json) -> Json:
    """Set a reaction, or remove it with an empty one."""
    message = _message(place, body["message"])
    emoji = str(body["reaction"])
    new = [{"type": "emoji", "emoji": emoji}] if emoji else []
    peer.deeds.short_note("reaction", bot, place, id=str(message.id), emoji=emoji, direction="in")
    changed = {
        "chat": place.chat.json(),
        "message_id": message.id,
        "user": person.user(),
        "date": int(peer.now()),
        "old_reaction": [],
        "new_reaction": new,
    }
    bot.queue.add("message_reaction", changed, f"reaction/{place.chat.id}")
    return {"id": str(message.id)}


def look(peer: TelegramPeer, bot: Bot, place: Place, person: Person, body: Json) -> Json:
    """Read or type: no update exists for either, ever (telegram.md A3)."""
    return {"id": ""}


def change_connection(peer: TelegramPeer, bot: Bot, place: Place, person: Person, body: Json) -> Json:
    """Change rights of a business connection, or switch it off and on."""
    if place.connection is None:
        raise BadControl('"connection" needs "business"')
    wanted = body["connection"]
    place.connection.is_enabled = bool(wanted.get("is_enabled", place.connection.is_enabled))
    place.connection.rights = dict(wanted.get("rights", place.connection.rights))
    peer.deeds.connect(bot, place)
    return {"id": place.connection.id}


def migrate(peer: TelegramPeer, bot: Bot, place: Place, person: Person, body: Json) -> Json:
    """Turn a group into a supergroup with a new id; both chats say so."""
    old, new_id = place.chat, int(body["migrate"])
    bot.chats[new_id] = Chat(new_id, "supergroup", old.title, is_open=True)
    peer.deeds.from_person(bot, place, person, {"migrate_to_chat_id": new_id})
    peer.deeds.from_person(bot, Place(bot.chats[new_id]), person, {"migrate_from_chat_id": old.id})
    old.migrated_to = new_id
    return {"id": str(new_id)}


ACTS: dict[str, Act] = {
    "edit": edit,
    "delete": delete,
    "start": start,
    "block": block,
    "unblock": unblock,
    "press": press,
    "reaction": react,
    "connection": change_connection,
    "migrate": migrate,
    "read": look,
    "typing": look,
}
