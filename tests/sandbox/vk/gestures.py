"""What a customer does without writing: allow, deny, press a button, react, delete, join, fill in a lead form.

Each gesture takes (peer, community, dialog, body of /_sandbox/say) and returns what to add to the answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.sandbox.frame import BadControl
from tests.sandbox.vk.state import Community, Dialog, Json, Message

if TYPE_CHECKING:
    from tests.sandbox.vk.peer import VkPeer

Gesture = Callable[["VkPeer", Community, Dialog, Json], Json]


def own_message(community: Community, dialog: Dialog, message_id: int, *, is_out: bool) -> Message:
    """Find a message of the one who acts. Raises BadControl."""
    one = community.messages.get(message_id)
    if one is None or one.is_deleted or one.peer_id != dialog.peer_id or one.out != is_out:
        raise BadControl(f"message {message_id} is not one of theirs")
    return one


def _allow(peer: VkPeer, community: Community, dialog: Dialog, body: Json) -> Json:
    peer.deeds.allow(community, dialog, str(body.get("key", "")))
    return {"id": None}


def _deny(peer: VkPeer, community: Community, dialog: Dialog, body: Json) -> Json:
    peer.deeds.deny(community, dialog)
    return {"id": None}


def _block(peer: VkPeer, community: Community, dialog: Dialog, body: Json) -> Json:
    peer.deeds.block(community, dialog, is_blocked=bool(body["block"]))
    return {"id": None}


def _press(peer: VkPeer, community: Community, dialog: Dialog, body: Json) -> Json:
    event_id = secrets.token_hex(6)
    peer.deeds.press(community, dialog, event_id, int(body.get("message", 1)), body["press"])
    return {"id": event_id}


def _delete(peer: VkPeer, community: Community, dialog: Dialog, body: Json) -> Json:
    one = own_message(community, dialog, int(body["delete"]), is_out=body.get("as") == "admin")
    peer.deeds.delete_message(community, one, everybody=True)
    return {"id": one.id}


def _react(peer: VkPeer, community: Community, dialog: Dialog, body: Json) -> Json:
    number = int(body.get("message", 1))
    one = next((one for one in dialog.messages if one.cmid == number), None)
    if one is None:
        raise BadControl(f"no message with number {number} in this dialog")
    peer.deeds.react(community, one, int(body["reaction"]), by_customer=True)
    return {"id": one.id}


def _join(peer: VkPeer, community: Community, dialog: Dialog, body: Json) -> Json:
    peer.events.emit(community, "group_join", {"user_id": dialog.peer_id, "join_type": "join"})
    return {"id": None}


def _lead(peer: VkPeer, community: Community, dialog: Dialog, body: Json) -> Json:
    number = secrets.randbelow(10**6)
    form = {"form_id": 4, "form_name": "Заявка", "ad_id": 0, "answers": body["lead"]}
    ids = {"lead_id": number, "group_id": community.id, "user_id": dialog.peer_id}
    peer.events.emit(community, "lead_forms_new", ids | form)
    return {"id": number}


GESTURES: dict[str, Gesture] = {
    "allow": _allow,
    "deny": _deny,
    "block": _block,
    "press": _press,
    "delete": _delete,
    "reaction": _react,
    "join": _join,
    "lead": _lead,
}
