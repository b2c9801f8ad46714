"""VK's refusals and limits: error codes, the keyboard's form, the attachment string, 20 calls a second (vk.md 2.2, 2.3, 4)."""

from __future__ import annotations

import re
from typing import Any

from tests.sandbox.vk.state import Community, Json, Token

MESSAGE_CHARS = 4096
ATTACHMENTS = 10
PEER_IDS = 100
PAYLOAD_CHARS = 1000
DAY_S = 24 * 3600
RATES = {"group": 20, "service": 3, "user": 3}
# Arrivals are seen by the event loop a little late and unevenly; VK's own counter is not sharper than this.
WINDOW_S = 1.0

TEXTS = {
    1: "Unknown error occurred",
    3: "Unknown method passed",
    5: "User authorization failed",
    6: "Too many requests per second",
    7: "Permission to perform this action is denied",
    8: "Invalid request",
    9: "Flood control",
    10: "Internal server error",
    12: "Unable to compile code",
    13: "Runtime error occurred during code invocation",
    15: "Access denied",
    18: "User was deleted or banned",
    27: "Group authorization failed: method is unavailable with group auth.",
    28: "Application authorization failed: method is unavailable with service token.",
    100: "One of the parameters specified was missing or invalid",
    104: "Not found",
    105: "Couldn't save file",
    118: "Invalid server",
    121: "Invalid hash",
    129: "Invalid photo",
    213: "Access to status replies denied",
    223: "Too many replies",
    900: "Can't send messages for users from blacklist",
    901: "Can't send messages for users without permission",
    909: "Can't edit this message, because it's too old",
    911: "Keyboard format is invalid",
    912: "This is a chat bot feature, change this status in settings",
    913: "Too many forwarded messages",
    914: "Message is too long",
    917: "You don't have access to this chat",
    920: "Can't edit this kind of message",
    924: "Can't delete this message for everybody",
    936: "Contact not found",
    2000: "Servers number limit is reached",
}


class VkError(Exception):
    """An answer {"error": {...}}; `detail` follows the text after a colon."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.text = TEXTS[code] + (f": {detail}" if detail else "")


def count_call(token: Token, arrived_s: float) -> None:
    """Let at most the allowed number of calls pass in any one second. Raises VkError 6.

    Refused calls are counted apart and take no place in the window.
    """
    limit = RATES[token.kind]
    moments = token.moments
    while moments and moments[0] <= arrived_s - WINDOW_S:
        moments.popleft()
    token.call_count += 1
    token.most_in_1_s = max(token.most_in_1_s, len(moments) + 1)
    if len(moments) >= limit:
        token.exceeded_count += 1
        raise VkError(6)
    moments.append(arrived_s)


BUTTON_FIELDS = {
    "text": {"label"},
    "open_link": {"link", "label"},
    "callback": {"label"},
    "location": set(),
    "vkpay": {"hash"},
    "open_app": {"app_id", "label"},
    "open_photo": set(),
    "intent_subscribe": {"peer_id", "intent", "label"},
    "intent_unsubscribe": {"peer_id", "intent", "label"},
    "open_modal_view": {"label"},
}
COLORS = {"primary", "secondary", "negative", "positive", "default"}


def check_keyboard(keyboard: Any) -> Json:
    """Check a keyboard (vk.md 2.3). Raises VkError 911."""
    if not isinstance(keyboard, dict) or not isinstance(keyboard.get("buttons"), list):
        raise VkError(911, "buttons is required")
    rows = keyboard["buttons"]
    inline = keyboard.get("inline", False)
    if not isinstance(inline, bool) or not isinstance(keyboard.get("one_time", False), bool):
        raise VkError(911, "inline and one_time must be boolean")
    if inline and keyboard.get("one_time"):
        raise VkError(911, "one_time is not allowed with inline")
    if len(rows) > (6 if inline else 10) or any(not isinstance(row, list) or not 1 <= len(row) <= 5 for row in rows):
        raise VkError(911, "too many rows or columns")
    buttons = [button for row in rows for button in row]
    if len(buttons) > (10 if inline else 40):
        raise VkError(911, "too many buttons")
    for button in buttons:
        _check_button(button)
    return {"one_time": False, "inline": inline, **keyboard}


def _check_button(button: Any) -> None:
    action = button.get("action") if isinstance(button, dict) else None
    if not isinstance(action, dict) or action.get("type") not in BUTTON_FIELDS:
        raise VkError(911, "action.type is invalid")
    kind = action["type"]
    missing = [name for name in BUTTON_FIELDS[kind] if not action.get(name)]
    if missing:
        raise VkError(911, f"{missing[0]} is required for {kind}")
    if len(str(action.get("label", ""))) > 40 or len(str(action.get("payload", ""))) > 255:
        raise VkError(911, "label or payload is too long")
    if "payload" in action and not isinstance(action["payload"], str):
        raise VkError(911, "payload must be a JSON string")
    if "color" in button and (kind not in {"text", "callback"} or button["color"] not in COLORS):
        raise VkError(911, "color is invalid")


_ATTACHMENT = re.compile(r"^(photo|video|audio|doc|wall|market|poll|story)(-?\d+)_(\d+)(?:_(\w+))?$")


def read_attachments(community: Community, value: str) -> list[Json]:
    """Find what the attachment string names. Raises VkError 100 for more than 10, a wrong form, unknown or foreign media."""
    names = [name.strip() for name in value.split(",") if name.strip()]
    if len(names) > ATTACHMENTS:
        raise VkError(100, "too many attachments")
    found = []
    for name in names:
        match = _ATTACHMENT.match(name)
        if not match:
            raise VkError(100, f"attachment {name} is invalid")
        kind, owner_id, media_id, key = match[1], int(match[2]), int(match[3]), match[4]
        media = community.media.get((kind, owner_id, media_id))
        if media is None or (key and key != media.access_key) or (not key and owner_id != -community.id):
            raise VkError(100, f"attachment {name} is not found")
        found.append(media.attachment)
    return found
