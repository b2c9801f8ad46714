"""What customers of the VK twin see on their phones, in the form that tests/sandbox/phone/routes.py describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sandbox.vk.deeds import shown
from tests.sandbox.vk.state import CHAT_BASE, Community, Dialog, Json, Message

if TYPE_CHECKING:
    from tests.sandbox.vk.peer import VkPeer


def show(peer: VkPeer, conversation: str) -> Json:
    """List accounts and chats; with a conversation also its messages."""
    groups = peer.world.communities.values()
    accounts = [{"id": str(one.id), "name": one.name} for one in groups]
    chats = [_chat(peer, group, dialog) for group in groups for dialog in group.dialogs.values()]
    body: Json = {"title": "ВКонтакте", "color": "#2688eb", "accounts": accounts, "chats": chats}
    group_id, _, peer_id = conversation.partition(":")
    group = peer.world.communities.get(int(group_id)) if group_id.isdigit() else None
    dialog = group.dialogs.get(int(peer_id)) if group and peer_id.isdigit() else None
    if group and dialog:
        kept = [one for one in dialog.messages if not one.is_deleted]
        body["messages"] = [_message(peer, group, dialog, one) for one in kept]
        body["is_typing"] = dialog.typing_until > peer.now()
    return body


def _chat(peer: VkPeer, group: Community, dialog: Dialog) -> Json:
    last = next((one for one in reversed(dialog.messages) if not one.is_deleted), None)
    user = peer.world.users.get(dialog.peer_id)
    text = last.text or (", ".join(one["type"] for one in last.attachments) or "…") if last else ""
    return {
        "id": f"{group.id}:{dialog.peer_id}",
        "who": user.name if user else f"Беседа {dialog.peer_id - CHAT_BASE}",
        "avatar": user.photo_url if user else "",
        "account": str(group.id),
        "account_name": group.name,
        "last": text,
        "at": last.date if last else 0,
        "unread": sum(1 for one in dialog.messages if one.out and not one.is_deleted and one.id > dialog.out_read),
        "say": {"account": str(group.id), "user": dialog.peer_id},
    }


def _message(peer: VkPeer, group: Community, dialog: Dialog, one: Message) -> Json:
    author = group.name
    if one.from_id > 0:
        user = peer.world.users.get(one.from_id)
        author = user.name if user else str(one.from_id)
    attachments = [shown(attachment) for attachment in one.attachments]
    if one.geo:
        point = one.geo["coordinates"]
        name = f"{point['latitude']}, {point['longitude']}"
        attachments.append({"type": "geo", "url": "", "name": name, "size": 0, "id": 0})
    rows = (one.keyboard or {}).get("buttons", [])
    labels = [button["action"].get("label", button["action"]["type"]) for row in rows for button in row]
    return {
        "id": str(one.id),
        "number": one.cmid,
        "is_mine": not one.out,
        "author": author,
        "text": one.text,
        "at": one.date,
        "is_edited": bool(one.update_time),
        "is_read": (dialog.out_read if one.out else dialog.in_read) >= one.id,
        "attachments": attachments,
        "quote": {"text": one.reply["text"]} if one.reply else None,
        "forwarded": [{"text": quote["text"]} for quote in one.forwards],
        "buttons": labels,
    }
