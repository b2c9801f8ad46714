"""How VK writes its objects in JSON (vk.md 3.2, 2.4; schema: messages/objects.json)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.sandbox.vk.state import CHAT_BASE, Community, Dialog, Json, Message, User

CLIENT_INFO = {
    "button_actions": [
        "text",
        "vkpay",
        "open_app",
        "location",
        "open_link",
        "callback",
        "intent_subscribe",
        "intent_unsubscribe",
    ],
    "keyboard": True,
    "inline_keyboard": True,
    "carousel": True,
    "lang_id": 0,
}
CROP_CHARS = 400


def message(one: Message, *, cropped: bool = False) -> Json:
    """Write a message; `cropped` as the Callback API cuts long ones (only messages.getById gives the whole)."""
    body: Json = {
        "id": 0 if one.peer_id >= CHAT_BASE else one.id,
        "date": one.date,
        "peer_id": one.peer_id,
        "from_id": one.from_id,
        "out": int(one.out),
        "version": one.version,
        "conversation_message_id": one.cmid,
        "random_id": one.random_id,
        "text": one.text,
        "important": False,
        "is_hidden": False,
        "attachments": one.attachments,
        "fwd_messages": one.forwards,
    }
    optional = {
        "reply_message": one.reply,
        "geo": one.geo,
        "payload": one.payload,
        "keyboard": one.keyboard,
        "ref": one.ref,
        "ref_source": one.ref_source,
        "admin_author_id": one.admin_author_id,
        "update_time": one.update_time,
    }
    body.update({key: value for key, value in optional.items() if value})
    if one.is_deleted:
        body["deleted"] = 1
    if cropped and one.is_cropped:
        body |= {"is_cropped": True, "text": one.text[:CROP_CHARS], "attachments": []}
    return body


def quoted(one: Message) -> Json:
    """Write a message as it stands inside another one (reply_message, fwd_messages)."""
    return {
        "id": one.id,
        "date": one.date,
        "from_id": one.from_id,
        "peer_id": one.peer_id,
        "conversation_message_id": one.cmid,
        "text": one.text,
        "attachments": one.attachments,
    }


def conversation(dialog: Dialog, *, blocked_reason: int) -> Json:
    """Write a conversation. `blocked_reason` is 0 or the reason of can_write."""
    last = next((one for one in reversed(dialog.messages) if not one.is_deleted), None)
    unread = sum(1 for one in dialog.messages if not one.out and not one.is_deleted and one.id > dialog.in_read)
    can_write: Json = {"allowed": not blocked_reason}
    if blocked_reason:
        can_write["reason"] = blocked_reason
    kind = "chat" if dialog.peer_id >= CHAT_BASE else "user"
    local_id = dialog.peer_id - CHAT_BASE if kind == "chat" else dialog.peer_id
    return {
        "peer": {"id": dialog.peer_id, "type": kind, "local_id": local_id},
        "sort_id": {"major_id": 0, "minor_id": last.id if last else 0},
        "last_message_id": last.id if last else 0,
        "last_conversation_message_id": last.cmid if last else 0,
        "in_read": dialog.in_read,
        "out_read": dialog.out_read,
        "in_read_cmid": _cmid(dialog, dialog.in_read),
        "out_read_cmid": _cmid(dialog, dialog.out_read),
        "unread_count": unread,
        "is_marked_unread": False,
        "important": False,
        "unanswered": dialog.is_unanswered,
        "can_write": can_write,
        "version": last.version if last else 0,
    }


def _cmid(dialog: Dialog, message_id: int) -> int:
    return next((one.cmid for one in reversed(dialog.messages) if one.id <= message_id), 0)


def user(one: User, fields: Iterable[str]) -> Json:
    """Write a profile: always the names, the rest only on request (vk.md 2.6)."""
    body: Json = {"id": one.id, "first_name": one.first_name, "last_name": one.last_name}
    if one.deactivated:
        body |= {"first_name": "DELETED" if one.deactivated == "deleted" else one.first_name}
        return body | {"deactivated": one.deactivated}
    body |= {"can_access_closed": not one.is_closed, "is_closed": one.is_closed}
    known: dict[str, Any] = {
        "domain": one.screen_name,
        "screen_name": one.screen_name,
        "sex": one.sex,
        "bdate": one.bdate or None,
        "city": {"id": 1, "title": one.city} if one.city else None,
        "photo_50": one.photo_url,
        "photo_100": one.photo_url,
        "photo_200": one.photo_url,
        "photo_max_orig": one.photo_url,
        "site": "",
        "status": "",
        "can_write_private_message": 1,
    }
    wanted = set(fields)
    body.update({key: value for key, value in known.items() if key in wanted and value is not None})
    if "contacts" in wanted:
        body |= {"mobile_phone": "", "home_phone": ""}
    return body


def group(one: Community) -> Json:
    """Write a community."""
    return {
        "id": one.id,
        "name": one.name,
        "screen_name": one.screen_name,
        "is_closed": 0,
        "type": "group",
        "photo_50": "https://vk.com/images/community_50.png",
        "photo_100": "https://vk.com/images/community_100.png",
        "photo_200": "https://vk.com/images/community_200.png",
    }
