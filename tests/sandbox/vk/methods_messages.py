"""messages.*: sending, editing, deleting, reading, and the lists used for catching up (vk.md 2.2 - 2.4)."""

from __future__ import annotations

from typing import Any

from tests.sandbox.vk import represent
from tests.sandbox.vk.api import Call, method
from tests.sandbox.vk.rules import (
    DAY_S,
    MESSAGE_CHARS,
    PAYLOAD_CHARS,
    PEER_IDS,
    VkError,
    check_keyboard,
    read_attachments,
)
from tests.sandbox.vk.state import CHAT_BASE, Dialog, Json, Message

INTENTS = {
    "account_update",
    "bot_ad_invite",
    "bot_ad_promo",
    "confirmed_notification",
    "customer_support",
    "default",
    "finance_notification",
    "game_notification",
    "moderated_newsletter",
    "non_promo_newsletter",
    "promo_newsletter",
    "purchase_update",
}
INT64 = 2**63
BUTTON_ANSWER_S = 60


@method("messages.send", "messages")
def send(call: Call) -> Any:
    """Send to one peer (answer: id) or to peer_ids (answer: a list with an error per recipient)."""
    if "random_id" not in call.params:
        raise VkError(100, "random_id is a required parameter")
    random_id = call.integer("random_id")
    if not -INT64 <= random_id < INT64:
        raise VkError(100, "random_id is out of range")
    peer_ids = call.integers("peer_ids", most=PEER_IDS)
    draft = _read_draft(call)
    earlier = dict(call.community.random_ids.get(random_id, {})) if random_id else {}
    if not peer_ids:
        return _send_one(call, _peer_id(call), random_id, draft, earlier=earlier).id
    items: list[Json] = []
    for peer_id in peer_ids:
        try:
            one = _send_one(call, peer_id, random_id, draft, earlier=earlier)
            items.append({"peer_id": peer_id, "message_id": one.id, "conversation_message_id": one.cmid})
        except VkError as refusal:
            error = {"code": refusal.code, "description": refusal.text}
            items.append({"peer_id": peer_id, "message_id": 0, "conversation_message_id": 0, "error": error})
    return items


def _peer_id(call: Call) -> int:
    if call.params.get("peer_id"):
        return call.integer("peer_id")
    if call.params.get("user_id"):
        return call.integer("user_id")
    if call.params.get("chat_id"):
        return CHAT_BASE + call.integer("chat_id")
    if call.params.get("domain"):
        user = call.peer.world.find_user(call.params["domain"])
        if user:
            return user.id
        raise VkError(936)
    raise VkError(100, "peer_id is undefined")


def _read_draft(call: Call) -> Json:
    """Read and check everything of a message but its recipient."""
    text = call.text("message")
    if len(text) > MESSAGE_CHARS:
        raise VkError(914)
    attachments = read_attachments(call.community, call.text("attachment"))
    if call.text("intent", "default") not in INTENTS:
        raise VkError(100, "intent is invalid")
    call.bounded("subscribe_id", 0, 0, 100)
    for name in ("dont_parse_links", "disable_mentions"):
        call.flag(name)
    keyboard = call.json("keyboard", 911)
    if keyboard is not None:
        keyboard = check_keyboard(keyboard)
        if not call.community.has_bot:
            raise VkError(912)
    reply, forwards = _read_forward(call)
    latitude, longitude = call.number("lat"), call.number("long")
    geo = None
    if latitude is not None and longitude is not None:
        geo = {"type": "point", "coordinates": {"latitude": latitude, "longitude": longitude}}
    if call.params.get("sticker_id"):
        raise VkError(100, "sticker_id is not available for the community")
    if not (text.strip() or attachments or forwards or geo):
        raise VkError(100, "message is empty or invalid")
    payload = call.text("payload", longest=PAYLOAD_CHARS)
    draft = {"text": text, "attachments": attachments, "keyboard": keyboard, "reply": reply, "forwards": forwards}
    return draft | {"geo": geo, "payload": payload}


def _read_forward(call: Call) -> tuple[Json | None, list[Json]]:
    community, reply_to = call.community, call.integer("reply_to", 0)
    forward = call.json("forward")
    ids = call.integers("forward_messages", most=1000)
    if reply_to:
        return represent.quoted(_message(call, reply_to)), []
    if forward is None:
        return None, [represent.quoted(_message(call, one)) for one in ids]
    if not isinstance(forward, dict):
        raise VkError(100, "forward is invalid")
    peer_id = forward.get("peer_id", 0)
    cmids = forward.get("conversation_message_ids") or forward.get("cmids") or []
    found = [_message(call, one) for one in forward.get("message_ids") or []]
    if cmids:
        dialog = community.dialogs.get(peer_id)
        by_cmid = {one.cmid: one for one in dialog.messages} if dialog else {}
        if any(cmid not in by_cmid for cmid in cmids):
            raise VkError(100, "forward names an unknown message")
        found += [by_cmid[cmid] for cmid in cmids]
    if not found or (forward.get("is_reply") and len(found) != 1):
        raise VkError(100, "forward is invalid")
    quotes = [represent.quoted(one) for one in found]
    return (quotes[0], []) if forward.get("is_reply") else (None, quotes)


def _message(call: Call, message_id: int) -> Message:
    found = call.community.messages.get(message_id)
    if found is None or found.is_deleted:
        raise VkError(100, f"message {message_id} is not found")
    return found


def _send_one(call: Call, peer_id: int, random_id: int, draft: Json, *, earlier: dict[int, int]) -> Message:
    """Send, or return what this random_id had sent before: it is unique in the sender's whole history (vk.md 2.2)."""
    community = call.community
    if earlier:
        return community.messages[earlier.get(peer_id) or next(iter(earlier.values()))]
    dialog = writable_dialog(call, peer_id)
    one = call.peer.deeds.add_message(community, dialog, out=True, random_id=random_id, **draft)
    if random_id:
        community.random_ids.setdefault(random_id, {})[peer_id] = one.id
    return one


def writable_dialog(call: Call, peer_id: int) -> Dialog:
    """Return the dialog if the community may write there. Raises VkError 900, 901, 917, 936, 18."""
    community = call.community
    if peer_id >= CHAT_BASE:
        if peer_id not in community.dialogs:
            raise VkError(917)
        return community.dialogs[peer_id]
    user = call.peer.world.users.get(peer_id)
    if user is None:
        raise VkError(936 if peer_id <= 0 else 901)
    dialog = community.dialogs.get(peer_id)
    if user.deactivated:
        raise VkError(18)
    if dialog and dialog.is_blocked:
        raise VkError(900)
    if dialog is None or not dialog.is_allowed:
        raise VkError(901)
    if not community.has_messages:
        raise VkError(7, "community messages are off")
    return dialog


def blocked_reason(call: Call, dialog: Dialog) -> int:
    """Return why the community may not write (can_write.reason), 0 = it may."""
    try:
        writable_dialog(call, dialog.peer_id)
    except VkError as refusal:
        return refusal.code
    return 0


@method("messages.edit", "messages")
def edit(call: Call) -> int:
    """Replace text and attachments; what is not repeated is removed (vk.md 2.4)."""
    one = _own_message(call, call.integer("peer_id"))
    if one.from_id != -call.community.id:
        raise VkError(920)
    if call.peer.now() - one.date > DAY_S:
        raise VkError(909)
    draft = _read_draft(call)
    call.peer.deeds.edit_message(call.community, one, draft["text"], draft["attachments"], draft["keyboard"])
    return 1


def _own_message(call: Call, peer_id: int) -> Message:
    dialog = call.community.dialogs.get(peer_id)
    message_id = call.integer("message_id", 0)
    cmid = call.integer("cmid", 0) or call.integer("conversation_message_id", 0)
    if not message_id and not cmid:
        raise VkError(100, "message_id is undefined")
    for one in dialog.messages if dialog else []:
        if not one.is_deleted and (one.id == message_id if message_id else one.cmid == cmid):
            return one
    raise VkError(100, "message is not found")


@method("messages.delete", "messages")
def delete(call: Call) -> Any:
    """Delete by ids or by peer_id and cmids; each item has its own result."""
    ids, cmids = call.integers("message_ids", most=1000), call.integers("cmids", most=100)
    community = call.community
    if cmids:
        dialog = community.dialogs.get(call.integer("peer_id"))
        by_cmid = {one.cmid: one for one in dialog.messages} if dialog else {}
        found = [(0, by_cmid.get(cmid)) for cmid in cmids]
    elif ids:
        found = [(one, community.messages.get(one)) for one in ids]
    else:
        raise VkError(100, "message_ids is undefined")
    everybody = call.flag("delete_for_all")
    items: list[Json] = []
    for message_id, one in found:
        if one is None or one.is_deleted:
            items.append({"message_id": message_id, "error": {"code": 100, "description": "message is not found"}})
            continue
        known = {"peer_id": one.peer_id, "message_id": one.id, "conversation_message_id": one.cmid}
        if everybody and (not one.out or call.peer.now() - one.date > DAY_S):
            items.append(known | {"error": {"code": 924, "description": VkError(924).text}})
            continue
        call.peer.deeds.delete_message(community, one, everybody=everybody)
        items.append(known | {"response": 1})
    return items


@method("messages.markAsRead", "messages")
def mark_as_read(call: Call) -> int:
    """Mark what the customer wrote as read; he sees the second tick."""
    dialog = call.community.dialogs.get(call.integer("peer_id"))
    if dialog is None:
        raise VkError(936)
    up_to = call.integer("start_message_id", 0)
    cmid = call.integer("up_to_cmid", 0)
    if cmid:
        up_to = max((one.id for one in dialog.messages if one.cmid <= cmid), default=0)
    call.peer.deeds.read_by_community(call.community, dialog, up_to)
    return 1


@method("messages.markAsAnsweredConversation", "messages")
def mark_as_answered(call: Call) -> int:
    """Clear the flag "unanswered"."""
    dialog = call.community.dialogs.get(call.integer("peer_id"))
    if dialog is None:
        raise VkError(936)
    dialog.is_unanswered = call.params.get("answered") == "0"
    return 1


@method("messages.setActivity", "messages")
def set_activity(call: Call) -> int:
    """Show "typing" on the customer's phone."""
    if call.text("type", "typing") not in {"typing", "audiomessage", "file", "photo", "video"}:
        raise VkError(100, "type is invalid")
    dialog = writable_dialog(call, _peer_id(call))
    call.peer.deeds.typing_by_community(call.community, dialog)
    return 1


@method("messages.isMessagesFromGroupAllowed", "messages")
def is_allowed(call: Call) -> Json:
    """Tell whether the community may write to the user."""
    community, user_id = call.own_group(), call.integer("user_id")
    dialog = community.dialogs.get(user_id)
    return {"is_allowed": int(bool(dialog and dialog.is_allowed and not dialog.is_blocked))}


@method("messages.sendReaction", "messages")
def send_reaction(call: Call) -> int:
    """Put a reaction (1..16) on a message."""
    one = _own_message(call, call.integer("peer_id"))
    call.peer.deeds.react(call.community, one, call.bounded("reaction_id", 0, 1, 16))
    return 1


@method("messages.deleteReaction", "messages")
def delete_reaction(call: Call) -> int:
    """Take the reaction back."""
    call.peer.deeds.react(call.community, _own_message(call, call.integer("peer_id")), 0)
    return 1


@method("messages.sendMessageEventAnswer", "messages")
def answer_button(call: Call) -> int:
    """Answer a pressed callback button within a minute."""
    event = call.community.button_events.get(call.text("event_id", required=True))
    data = call.json("event_data")
    if data is not None and (not isinstance(data, dict) or "type" not in data or len(call.params["event_data"]) > 1000):
        raise VkError(100, "event_data is invalid")
    user_id = call.integer("user_id")
    call.integer("peer_id")
    if event is None or event[0] != user_id or call.peer.now() - event[1] > BUTTON_ANSWER_S:
        raise VkError(100, "event_id is invalid or expired")
    call.peer.ledger.add("button_answer", account=str(call.community.id), conversation=str(user_id), answer=data)
    return 1
