"""Everything that happens to a dialog, whoever did it: state, ledger and events change together here (vk.md 3.2, 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.sandbox.vk import represent
from tests.sandbox.vk.state import CHAT_BASE, Community, Dialog, Json, Message

if TYPE_CHECKING:
    from tests.sandbox.vk.peer import VkPeer

TYPING_S = 10.0


class Deeds:
    """The deeds of one twin."""

    def __init__(self, peer: VkPeer) -> None:
        self._peer = peer

    def add_message(
        self, community: Community, dialog: Dialog, *, out: bool, from_id: int = 0, **draft: Any
    ) -> Message:
        """Put a message into a dialog. Its echo (message_reply) or message_new leaves at once.

        Shape: draft holds fields of Message.
        """
        one = Message(
            id=community.next_message,
            cmid=dialog.next_cmid,
            peer_id=dialog.peer_id,
            from_id=from_id or (-community.id if out else dialog.peer_id),
            out=out,
            date=int(self._peer.now()),
            version=next(community.versions),
            **draft,
        )
        community.next_message += 1
        dialog.next_cmid += 1
        dialog.messages.append(one)
        community.messages[one.id] = one
        dialog.is_unanswered = not out
        if out:
            dialog.typing_until = 0.0
        if one.admin_author_id:
            dialog.in_read = one.id
        self._note("message", community, one)
        self._tell(community, one, "message_reply" if out else "message_new")
        return one

    def _tell(self, community: Community, one: Message, kind: str) -> None:
        body = represent.message(one, cropped=True)
        if kind == "message_new":
            body = {"message": body, "client_info": represent.CLIENT_INFO}
        self._peer.events.emit(community, kind, body)

    def _note(self, kind: str, community: Community, one: Message, **more: Any) -> None:
        self._peer.ledger.add(
            kind,
            account=str(community.id),
            conversation=str(one.peer_id),
            id=str(one.id),
            cmid=one.cmid,
            direction="out" if one.out else "in",
            text=one.text,
            attachments=[shown(attachment) for attachment in one.attachments],
            geo=one.geo,
            reply_to=str(one.reply["id"]) if one.reply else "",
            random_id=one.random_id,
            admin=one.admin_author_id,
            keyboard=one.keyboard,
            **more,
        )

    def edit_message(
        self, community: Community, one: Message, text: str, attachments: list[Json], keyboard: Json | None = None
    ) -> None:
        """Replace the content of a message."""
        one.text, one.attachments, one.keyboard = text, attachments, keyboard
        one.update_time, one.version = int(self._peer.now()), next(community.versions)
        self._note("edit", community, one)
        self._tell(community, one, "message_edit")

    def delete_message(self, community: Community, one: Message, *, everybody: bool) -> None:
        """Delete on the community's side, and with `everybody` from the phone too. VK tells nobody."""
        one.is_deleted = True
        if everybody:
            self._note("delete", community, one)

    def read_by_community(self, community: Community, dialog: Dialog, up_to: int) -> None:
        """Show the customer that he was read; 0 = everything."""
        last_in = max((one.id for one in dialog.messages if not one.out), default=0)
        seen = min(up_to, last_in) if up_to else last_in
        if seen > dialog.in_read:
            dialog.in_read = seen
            self._short_note("read_by_community", community, dialog, id=str(seen))

    def typing_by_community(self, community: Community, dialog: Dialog) -> None:
        """Show "typing" for ten seconds."""
        dialog.typing_until = self._peer.now() + TYPING_S
        self._short_note("typing_by_community", community, dialog)

    def read_by_customer(self, community: Community, dialog: Dialog) -> int:
        """Read everything the community wrote; returns the last id read."""
        last = next((one for one in reversed(dialog.messages) if one.out and not one.is_deleted), None)
        if last is None or last.id <= dialog.out_read:
            return dialog.out_read
        dialog.out_read = last.id
        self._short_note("read", community, dialog, id=str(last.id))
        numbers = {"read_message_id": last.id, "conversation_message_id": last.cmid}
        self._peer.events.emit(
            community, "message_read", {"from_id": dialog.peer_id, "peer_id": dialog.peer_id, **numbers}
        )
        return last.id

    def typing_by_customer(self, community: Community, dialog: Dialog) -> None:
        """Let the community see "typing"."""
        body = {"state": "typing", "from_id": dialog.peer_id, "to_id": -community.id}
        self._peer.events.emit(community, "message_typing_state", body)

    def allow(self, community: Community, dialog: Dialog, key: str = "") -> None:
        """Let the community write."""
        if dialog.is_allowed or dialog.peer_id >= CHAT_BASE:
            dialog.is_allowed = True
            return
        dialog.is_allowed = True
        self._short_note("allow", community, dialog)
        self._peer.events.emit(community, "message_allow", {"user_id": dialog.peer_id, "key": key})

    def deny(self, community: Community, dialog: Dialog) -> None:
        """Forbid the community to write."""
        dialog.is_allowed = False
        self._short_note("deny", community, dialog)
        self._peer.events.emit(community, "message_deny", {"user_id": dialog.peer_id})

    def block(self, community: Community, dialog: Dialog, *, is_blocked: bool) -> None:
        """Put the customer on the community's blacklist, or take him off."""
        dialog.is_blocked = is_blocked
        body: Json = {"admin_id": 777, "user_id": dialog.peer_id}
        if is_blocked:
            self._peer.events.emit(community, "user_block", body | {"unblock_date": 0, "reason": 0, "comment": ""})
        else:
            self._peer.events.emit(community, "user_unblock", body | {"by_end_date": 0})

    def press(self, community: Community, dialog: Dialog, event_id: str, cmid: int, payload: Any) -> None:
        """Press a callback button."""
        community.button_events[event_id] = (dialog.peer_id, self._peer.now())
        body = {"user_id": dialog.peer_id, "peer_id": dialog.peer_id, "event_id": event_id, "payload": payload}
        self._peer.events.emit(community, "message_event", body | {"conversation_message_id": cmid})

    def react(self, community: Community, one: Message, reaction: int, *, by_customer: bool = False) -> None:
        """Put a reaction on a message, 0 = take it back. Only the customer's is an event."""
        dialog = community.dialogs[one.peer_id]
        direction = "in" if by_customer else "out"
        self._short_note("reaction", community, dialog, id=str(one.id), reaction=reaction, direction=direction)
        if by_customer:
            body = {"reacted_id": one.peer_id, "peer_id": one.peer_id, "cmid": one.cmid}
            more = {"reaction_id": reaction} if reaction else {}
            self._peer.events.emit(community, "message_reaction_event", body | more)

    def _short_note(self, kind: str, community: Community, dialog: Dialog, **more: Any) -> None:
        self._peer.ledger.add(kind, account=str(community.id), conversation=str(dialog.peer_id), **more)


def shown(attachment: Json) -> Json:
    """Say in short what the phone shows of an attachment: {type, url, name, size}."""
    kind = attachment["type"]
    body = attachment[kind]
    url = body.get("url") or body.get("link_ogg") or ""
    if kind == "photo":
        url = max(body["sizes"], key=lambda size: size["width"] * size["height"])["url"]
    if kind == "sticker":
        url = body["images"][-1]["url"]
    name = body.get("title") or body.get("text") or body.get("question") or ""
    return {"type": kind, "url": url, "name": name, "size": body.get("size", 0), "id": body.get("id", 0)}
