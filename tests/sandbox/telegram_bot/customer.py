"""What people do at their phones: the control call `say`.

Who: "account" (bot id, username or token; default the seeded bot), "user" (id, @username, name, or {"first_name", ...};
new people appear by themselves), or "conversation" as the ledger names it. Where: the private chat with the bot; with
"chat": {"id", "type", "title"} or its id a group or channel; with "business": true or a connection id the owner's
personal account, whose owner is "owner" (default Иван), and "as_owner": true lets the owner himself write.

What: "text", "entities", "attachments" (gifts.py), "album": true; "reply_to", "quote", "reply_story", "external_reply",
"forward_from" (name or {"type": ...}), "thread" (id), "offline"; or one of "edit": id, "delete": id or ids,
"start": payload or true, "block", "unblock", "press": callback_data with "message", "reaction": emoji with "message",
"read", "typing", "connection": {"is_enabled", "rights"}, "migrate": new id.
A person who writes first counts as one who pressed Start; the update /start comes only with "start".
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from tests.sandbox.frame import BadControl
from tests.sandbox.telegram_bot import acts
from tests.sandbox.telegram_bot.calls import Place
from tests.sandbox.telegram_bot.state import Bot, Chat, Connection, Json, Person
from tests.sandbox.telegram_bot.writing import find_person, write

if TYPE_CHECKING:
    from tests.sandbox.telegram_bot.peer import TelegramPeer


def act(peer: TelegramPeer, body: Json) -> Json:
    """Do what the body says and return {"id", "ids"}. Raises: BadControl."""
    try:
        return _act(peer, body)
    except (TypeError, ValueError, KeyError, AttributeError) as trouble:
        raise BadControl(f"{type(trouble).__name__}: {trouble}") from trouble


def _act(peer: TelegramPeer, body: Json) -> Json:
    bot = find_bot(peer, body)
    body = from_conversation(body)
    person = find_person(peer, body.get("user", "Анна"))
    place = find_place(peer, bot, person, body)
    if place.connection and body.get("as_owner"):
        person = place.connection.owner
    for name, deed in acts.ACTS.items():
        if name in body:
            return deed(peer, bot, place, person, body)
    return write(peer, bot, place, person, body)


def find_bot(peer: TelegramPeer, body: Json) -> Bot:
    """Find the bot by id, username or token."""
    wanted = str(body.get("account") or "")
    for bot in peer.bots.values():
        if wanted in {"", str(bot.id), bot.username, bot.token}:
            return bot
    raise BadControl(f"no bot {wanted}")


def from_conversation(body: Json) -> Json:
    """Replace "conversation" by what it means: user, chat, or connection and user."""
    key = str(body.get("conversation") or "")
    if not key:
        return body
    connection, _, chat_id = key.rpartition(":")
    if connection:
        return {**body, "business": connection, "user": int(chat_id)}
    return {**body, "user": int(chat_id)} if int(chat_id) > 0 else {**body, "chat": int(chat_id)}


def find_place(peer: TelegramPeer, bot: Bot, person: Person, body: Json) -> Place:
    """Find or open the chat."""
    if body.get("business"):
        connection = find_connection(peer, bot, body)
        chat = connection.chats.setdefault(person.id, Chat(person.id, "private", person=person, is_open=True))
        return Place(chat, connection)
    if "chat" not in body:
        return Place(bot.chats.setdefault(person.id, Chat(person.id, "private", person=person)))
    asked = body["chat"] if isinstance(body["chat"], dict) else {"id": body["chat"]}
    number = int(asked.get("id", -1002220001))
    if number not in bot.chats:
        kind = str(asked.get("type", "supergroup" if number < -1_000_000_000 else "group"))
        title = str(asked.get("title", "Обсуждение"))
        bot.chats[number] = Chat(number, kind, title, str(asked.get("username", "")), is_open=True)
    return Place(bot.chats[number])


def find_connection(peer: TelegramPeer, bot: Bot, body: Json) -> Connection:
    """Find the business connection by id, or the owner's; the first time the bot is told of it."""
    wanted = body["business"]
    if isinstance(wanted, str):
        if wanted not in bot.connections:
            raise BadControl(f"no business connection {wanted}")
        return bot.connections[wanted]
    owner = find_person(peer, body.get("owner", "Иван"))
    for connection in bot.connections.values():
        if connection.owner.id == owner.id:
            return connection
    connection = Connection("bc_" + secrets.token_hex(6), owner, int(peer.now()))
    bot.connections[connection.id] = connection
    peer.deeds.connect(bot, Place(Chat(owner.id, "private", person=owner), connection))
    return connection
