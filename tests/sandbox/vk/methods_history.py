"""messages.get*: what a service reads to catch up or to look something up (vk.md 2.4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.sandbox.vk import represent
from tests.sandbox.vk.api import Call, method
from tests.sandbox.vk.methods_messages import blocked_reason
from tests.sandbox.vk.rules import VkError
from tests.sandbox.vk.state import CHAT_BASE, Dialog, Json, Message

FILTERS = {"all", "unread", "important", "unanswered", "archive"}


def _fields(call: Call) -> list[str]:
    return [name for name in call.text("fields").split(",") if name]


def _with_people(call: Call, body: Json, messages: Iterable[Message], peers: Iterable[int] = ()) -> Json:
    """Add profiles and groups when extended=1."""
    if not call.flag("extended"):
        return body
    ids = {one.from_id for one in messages} | {one.peer_id for one in messages} | set(peers)
    users = [call.peer.world.users[one] for one in sorted(ids) if one in call.peer.world.users]
    body["profiles"] = [represent.user(one, [*_fields(call), "screen_name", "photo_100"]) for one in users]
    body["groups"] = [represent.group(call.community)]
    return body


@method("messages.getHistory", "messages")
def get_history(call: Call) -> Json:
    """List messages of a dialog: newest first, or oldest first with rev=1."""
    peer_id = call.integer("peer_id", 0) or call.integer("user_id", 0)
    if not peer_id:
        raise VkError(100, "peer_id is undefined")
    count, offset = call.bounded("count", 20, 0, 200), call.integer("offset", 0)
    dialog = call.community.dialogs.get(peer_id)
    if dialog is None:
        if peer_id >= CHAT_BASE or peer_id not in call.peer.world.users:
            raise VkError(936 if peer_id < CHAT_BASE else 917)
        return _with_people(call, {"count": 0, "items": []}, [])
    shown = [one for one in dialog.messages if not one.is_deleted]
    total = len(shown)
    if not call.flag("rev"):
        shown.reverse()
    start = call.integer("start_message_id", 0)
    place = offset
    if start > 0:
        if call.flag("rev"):
            place += next((i for i, one in enumerate(shown) if one.id >= start), total)
        else:
            place += next((i for i, one in enumerate(shown) if one.id <= start), total)
    items = shown[max(place, 0) : max(place, 0) + count]
    body: Json = {"count": total, "items": [represent.message(one) for one in items]}
    if call.flag("extended"):
        body["conversations"] = [_conversation(call, dialog)]
    return _with_people(call, body, items)


def _conversation(call: Call, dialog: Dialog) -> Json:
    return represent.conversation(dialog, blocked_reason=blocked_reason(call, dialog))


@method("messages.getConversations", "messages")
def get_conversations(call: Call) -> Json:
    """List dialogs, the one with the newest message first."""
    wanted = call.text("filter", "all")
    if wanted not in FILTERS:
        raise VkError(100, "filter is invalid")
    count, offset = call.bounded("count", 20, 0, 200), call.integer("offset", 0)
    rows: list[tuple[Message, Json]] = []
    for dialog in call.community.dialogs.values():
        last = next((one for one in reversed(dialog.messages) if not one.is_deleted), None)
        if last:
            rows.append((last, _conversation(call, dialog)))
    rows.sort(key=lambda row: row[0].id, reverse=True)
    unread = sum(1 for _, body in rows if body["unread_count"])
    rows = [row for row in rows if _is_wanted(row[1], wanted)]
    start = call.integer("start_message_id", 0)
    if start > 0:
        rows = [row for row in rows if row[0].id <= start]
    page = rows[offset : offset + count]
    items = [{"conversation": body, "last_message": represent.message(last)} for last, body in page]
    return _with_people(call, {"count": len(rows), "unread_count": unread, "items": items}, [one for one, _ in page])


def _is_wanted(conversation: Json, wanted: str) -> bool:
    if wanted == "unread":
        return bool(conversation["unread_count"])
    if wanted == "unanswered":
        return bool(conversation["unanswered"])
    return wanted == "all"


@method("messages.getConversationsById", "messages")
def get_conversations_by_id(call: Call) -> Json:
    """List the named dialogs."""
    peer_ids = call.integers("peer_ids", most=100, required=True)
    known = [one for one in peer_ids if one in call.community.dialogs or one in call.peer.world.users]
    dialogs = [call.community.dialogs.get(one, Dialog(one)) for one in known]
    body = {"count": len(dialogs), "items": [_conversation(call, one) for one in dialogs]}
    return _with_people(call, body, [], known)


def _listed(call: Call, found: Sequence[Message]) -> Json:
    return _with_people(call, {"count": len(found), "items": [represent.message(one) for one in found]}, found)


@method("messages.getById", "messages")
def get_by_id(call: Call) -> Json:
    """Return whole messages, also those that the Callback API had cut."""
    if call.params.get("cmids"):
        return _by_cmids(call, call.integers("cmids", most=100))
    ids = call.integers("message_ids", most=100, required=True)
    return _listed(call, [call.community.messages[one] for one in ids if one in call.community.messages])


@method("messages.getByConversationMessageId", "messages")
def get_by_cmid(call: Call) -> Json:
    """Return whole messages by their numbers in the dialog."""
    return _by_cmids(call, call.integers("conversation_message_ids", most=100, required=True))


def _by_cmids(call: Call, cmids: Sequence[int]) -> Json:
    dialog = call.community.dialogs.get(call.integer("peer_id"))
    by_cmid = {one.cmid: one for one in dialog.messages if not one.is_deleted} if dialog else {}
    return _listed(call, [by_cmid[one] for one in cmids if one in by_cmid])
