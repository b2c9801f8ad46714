"""The chats API: statuses, typing, reactions, history (amocrm.md 2.7). Raises ChatsRefusal."""

from __future__ import annotations

from tests.sandbox.amocrm import chathooks, chats
from tests.sandbox.amocrm.chats import Call
from tests.sandbox.amocrm.delivery import set_status
from tests.sandbox.amocrm.problems import bad_data
from tests.sandbox.amocrm.state import Json

HISTORY_LIMIT = 50


def delivery_status(call: Call, msgid: str) -> None:
    """Set the status of a message by amoCRM's id; both names of the field are known (2.7)."""
    one = call.account.messages.get(msgid)
    if one is None or call.account.chats[one.chat_id].channel_id != call.channel.id:
        raise chats.no_message()
    named = [name for name in ("delivery_status", "status_code") if call.body.has(name)]
    if not named:
        raise bad_data("delivery_status is required")
    codes = {call.body.number(name) for name in named}
    if len(codes) > 1:
        raise bad_data("delivery_status and status_code differ")
    set_status(one, codes.pop(), call.body)
    chat = call.account.chats[one.chat_id]
    call.cloud.record(
        "status",
        call.account,
        id=one.id,
        conversation=chat.conversation_id or chat.id,
        status=one.status,
        error_code=one.error_code,
        text=one.error,
    )


def typing(call: Call) -> None:
    """Show that the client types (2.7)."""
    conversation, duration = call.body.need_text("conversation_id"), call.body.number("duration_ms", 5000)
    call.body.inside("sender").need_text("id")
    chat = chats.find_chat(call.link, conversation)
    call.cloud.record("typing", call.account, conversation=conversation, id=chat.id if chat else "", ms=duration)


def react(call: Call) -> None:
    """Set or withdraw a reaction (2.7)."""
    user, kind, emoji = call.body.inside("user"), call.body.need_text("type"), call.body.text("emoji", limit=32)
    if kind not in ("react", "unreact"):
        raise bad_data("type must be react or unreact")
    if kind == "react" and not emoji:
        raise bad_data("emoji is required")
    if not (call.body.has("conversation_id") or call.body.has("conversation_ref_id")):
        raise bad_data("conversation_id is required")
    if not (user.text("id") or user.text("ref_id")):
        raise bad_data("user.id is required")
    number, msgid = call.body.text("id"), call.body.text("msgid")
    one = call.account.messages.get(number) if number else chats.by_msgid(call.link, msgid)
    if one is None:
        raise chats.no_message()
    who = user.text("ref_id") or user.text("id")
    if not call.channel.reactions:
        call.cloud.record("warning", call.account, text="reactions are not switched on for this channel")
        return
    one.reactions.pop(who, None)
    if kind == "react":
        one.reactions[who] = emoji
    call.cloud.record("reaction", call.account, id=one.id, msgid=one.msgid, text=emoji if kind == "react" else "")


def history(call: Call, chat_id: str) -> Json | None:
    """Show a chat's messages, newest first; None (204) for an unknown or empty one (2.7)."""
    offset, limit = call.query.get("offset", "0"), call.query.get("limit", str(HISTORY_LIMIT))
    if not (offset.isdigit() and limit.isdigit()) or not 0 < int(limit) <= HISTORY_LIMIT:
        raise bad_data("limit must be 1 to 50, offset not negative")
    chat = call.account.chats.get(chat_id)
    if chat is None or chat.channel_id != call.channel.id:
        return None
    found = chat.messages[::-1][int(offset) : int(offset) + int(limit)]
    return {"messages": chathooks.history(call.link, found)} if found else None
