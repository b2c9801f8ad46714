"""Hooks of the chats API, v2: sent once, 5 s, signed over the raw body (amocrm.md 4.1)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.sandbox.amocrm.cloud import Cloud
from tests.sandbox.amocrm.signing import hook_signature
from tests.sandbox.amocrm.state import Connection, Json
from tests.sandbox.amocrm.talks import Chat, Message, Participant
from tests.sandbox.hooks import Answer, Hook, Once

WAIT_S = 5.0
TYPING_PAUSE_S = 5.0


def emit(
    cloud: Cloud, connection: Connection, label: str, body: Json, *, lane: str, message: Message | None = None
) -> None:
    """Send a hook to the channel's address, :scope_id replaced. One attempt, whatever comes back."""
    channel, account = connection.channel, connection.account
    if not channel.hook_url:
        cloud.record("warning", account, text="the channel has no webhook address")
        return
    raw = json.dumps(
        {"account_id": account.amojo_id, "time": int(cloud.peer.now()), **body}, ensure_ascii=False
    ).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "amoCRM amoJo/1.0",
        "X-Signature": hook_signature(channel.secret, raw),
    }

    def heard(attempt: int, answer: Answer) -> None:
        if message is not None:
            message.hook = {"status": answer.status, "trouble": answer.trouble}
            account.version += 1

    cloud.peer.hooks.send(
        Hook(
            channel.hook_url.replace(":scope_id", connection.scope_id),
            raw,
            headers,
            Once(WAIT_S),
            lane,
            label=label,
            account=account.host,
            on_answer=heard,
            alive=lambda: channel.id in account.connections,
        )
    )


def _conversation(chat: Chat) -> Json:
    """Name the chat; without client_id while the integration has not bound it (2.9)."""
    bound = {"client_id": chat.conversation_id} if chat.conversation_id else {}
    return {"id": chat.id, **bound}


def _receiver(client: Participant, *, is_bound: bool) -> Json:
    bound = {"client_id": client.client_id} if client.client_id and is_bound else {}
    return {"id": client.id, **bound, "phone": client.phone, "email": client.email}


def message(
    cloud: Cloud,
    connection: Connection,
    chat: Chat,
    one: Message,
    sender: Participant,
    *,
    source: str = "",
    phone: str = "",
) -> None:
    """Tell about a message written in amoCRM; `phone` is the one chosen in "write first"."""
    client = connection.account.participants[chat.client_id]
    receiver = _receiver(client, is_bound=bool(chat.conversation_id))
    if phone:
        receiver["phone"] = phone
    told: Json = {
        "conversation": _conversation(chat),
        "sender": {"id": sender.id, "name": sender.name},
        "receiver": receiver,
        "timestamp": one.at,
        "msec_timestamp": one.msec,
        "message": {**_content(one), **_quotes(connection, one)},
    }
    if source:
        told["source"] = {"external_id": source}
    emit(cloud, connection, "message", {"message": told}, lane=chat.id, message=one)


def _content(one: Message) -> Json:
    """Show the body: optional fields are there as null or empty, as the vendor does (4.1)."""
    shown: Json = {"id": one.id, "type": one.content["type"], "text": one.content.get("text", ""), "markup": None}
    shown |= {"tag": "", "media": "", "thumbnail": "", "file_name": "", "file_size": 0, "template": None}
    for name in ("media", "thumbnail", "file_name", "file_size", "media_duration", "markup", "template", "post"):
        if one.content.get(name):
            shown[name] = one.content[name]
    if one.media_group_id:
        shown["media_group_id"] = one.media_group_id
    return shown


def _quotes(connection: Connection, one: Message) -> Json:
    """Show the quote and the forward, only when support switched them on."""
    shown: Json = {}
    if one.reply_to and connection.channel.quotes:
        shown["reply_to"] = {"message": one.reply_to}
    if one.forwards and connection.channel.forwards:
        shown["forwards"] = one.forwards
    return shown


def embedded(connection: Connection, one: Message) -> Json:
    """Describe a message inside another (4.1)."""
    author = connection.account.participants[one.sender_id]
    sender: Json = {"id": author.id, "name": author.name}
    if author.client_id:
        sender["client_id"] = author.client_id
    shown: Json = {
        "id": one.id,
        "type": one.content["type"],
        "text": one.content.get("text", ""),
        "timestamp": one.at,
        "msec_timestamp": one.msec,
        "sender": sender,
    }
    if one.msgid:
        shown["msgid"] = one.msgid
    for name in ("media", "file_name", "file_size"):
        if one.content.get(name):
            shown[name] = one.content[name]
    return shown


def typing(cloud: Cloud, connection: Connection, chat: Chat, user_id: str, *, flat: bool = False) -> bool:
    """Tell that a manager types, at most once in 5 s, if support switched it on; `flat` is the table's shape."""
    now = cloud.peer.now()
    if not connection.channel.typing or chat.typing_until > now:
        return False
    chat.typing_until = now + TYPING_PAUSE_S
    inner: Json = {"conversation": _conversation(chat), "expired_at": int(chat.typing_until)}
    user = {"id": user_id}
    action: Json = {"typing": inner, "user": user} if flat else {"typing": {"user": user, **inner}}
    emit(cloud, connection, "typing", {"action": action}, lane=chat.id)
    return True


def reaction(
    cloud: Cloud, connection: Connection, chat: Chat, one: Message, user_id: str, emoji: str, *, flat: bool = False
) -> bool:
    """Tell about a reaction of a manager, or its withdrawal (no emoji), if support switched it on."""
    if not connection.channel.reactions:
        return False
    inner: Json = {
        "user": {"id": user_id},
        "conversation": _conversation(chat),
        "type": "react" if emoji else "unreact",
    }
    if flat:
        client = {"client_id": one.msgid} if one.msgid else {}
        inner["message"] = {"id": one.id, **client, "timestamp": one.at, "msec_timestamp": one.msec}
    else:
        inner["msgid"] = one.id
    if emoji:
        inner["emoji"] = emoji
    emit(cloud, connection, "reaction", {"action": {"reaction": inner}}, lane=chat.id)
    return True


def history(connection: Connection, messages: Sequence[Message]) -> list[Json]:
    """Show messages as GET history does: empty values omitted (2.7)."""
    return [_row(connection, one) for one in messages]


def _row(connection: Connection, one: Message) -> Json:
    people = connection.account.participants
    content: Json = {"id": one.id, "client_id": one.msgid, **one.content, "media_group_id": one.media_group_id}
    row: Json = {"timestamp": one.at, "msec_timestamp": one.msec, "sender": _person(people[one.sender_id])}
    if one.receiver_id:
        row["receiver"] = _person(people[one.receiver_id])
    return {**row, "message": {name: value for name, value in content.items() if value}}


def _person(one: Participant) -> Json:
    names = ("id", "name", "client_id", "avatar", "phone", "email")
    return {name: getattr(one, name) for name in names if getattr(one, name)}
