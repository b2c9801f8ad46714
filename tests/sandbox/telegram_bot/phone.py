"""The customer's side for the phone page (shape: tests/sandbox/phone/routes.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.sandbox.telegram_bot.deeds import attachments_of
from tests.sandbox.telegram_bot.state import Bot, Chat, Connection, Json, Message, conversation_key

if TYPE_CHECKING:
    from tests.sandbox.telegram_bot.peer import TelegramPeer

COLOR = "#2aabee"
KINDS = {"document": "doc", "animation": "video", "video_note": "video"}


def show(peer: TelegramPeer, conversation: str) -> dict[str, Any]:
    """Show all chats, and the messages of one."""
    shown: dict[str, Any] = {
        "title": "Telegram",
        "color": COLOR,
        "accounts": [{"id": str(bot.id), "name": f"@{bot.username}"} for bot in peer.bots.values()],
        "chats": [],
    }
    for bot in peer.bots.values():
        for chat, connection in _chats(bot):
            summary = _chat(bot, chat, connection)
            shown["chats"].append(summary)
            if summary["id"] == conversation:
                shown["is_typing"] = chat.action == "typing"
                shown["messages"] = [_message(peer, bot, chat, m) for m in chat.messages.values() if not m.deleted]
    shown["chats"].sort(key=lambda chat: -chat["at"])
    return shown


def _chats(bot: Bot) -> list[tuple[Chat, Connection | None]]:
    own: list[tuple[Chat, Connection | None]] = [(chat, None) for chat in bot.chats.values()]
    return own + [(chat, one) for one in bot.connections.values() for chat in one.chats.values()]


def _chat(bot: Bot, chat: Chat, connection: Connection | None) -> Json:
    key = conversation_key(chat, connection)
    last = next((m for m in reversed(chat.messages.values()) if not m.deleted), None)
    return {
        "id": f"{bot.id}:{key}",
        "who": chat.person.first_name if chat.person else chat.title,
        "avatar": "",
        "account": str(bot.id),
        "account_name": connection.owner.first_name if connection else f"@{bot.username}",
        "last": last.text if last else "",
        "at": last.date if last else 0.0,
        "unread": 0,
        "say": {"account": str(bot.id), "conversation": key},
    }


def _message(peer: TelegramPeer, bot: Bot, chat: Chat, message: Message) -> Json:
    body = message.body
    quote: Json | None = body.get("quote") or body.get("reply_to_message")
    rows = body.get("reply_markup", {}).get("inline_keyboard", [])
    is_bot = bool(body.get("from", {}).get("is_bot"))
    return {
        "id": str(message.id),
        "number": message.id,
        "is_mine": not message.outgoing and not is_bot,
        "author": (body.get("from") or {}).get("first_name", chat.title),
        "text": message.text,
        "at": message.date,
        "is_edited": message.edits > 0,
        "is_read": message.id <= chat.read_up_to,
        "attachments": [_attachment(peer, bot, one) for one in attachments_of(body)],
        "quote": {"text": quote.get("text", quote.get("caption", ""))} if quote is not None else None,
        "forwarded": [],
        "buttons": [button["text"] for row in rows for button in row],
    }


def _attachment(peer: TelegramPeer, bot: Bot, one: Json) -> Json:
    stored = bot.files.get(one.get("file_id", ""))
    kind = KINDS.get(one["type"], one["type"])
    if stored is None:
        return {"type": kind, "url": "", "name": one["type"], "size": 0}
    if stored.shown is None:
        stored.shown = peer.files.put(stored.name or one["type"], stored.mime_type, stored.content)
    return {"type": kind, "url": peer.base_url + stored.shown.path, "name": stored.name, "size": stored.size}
