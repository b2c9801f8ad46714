"""What a customer (or an admin in VK's own pages) does, told by POST /_sandbox/say.

Shape: {"account": group id or short name (first community by default), "user": id or name (made when unknown),
"text", "attachments": [{"type": photo|doc|voice|sticker|geo|link|video|audio|graffiti|wall|wall_reply|market|gift|story|
poll|call, "name", "content_b64" | "file", "seconds", "lat", "long", "url", "title", ...}], "reply_to": cmid,
"forward": [cmid], "edit": message id, "delete": message id, "read": true, "typing": true, "ref", "ref_source",
"payload": str, "cropped": true, "chat": n, "as": "client"|"admin", "allow": true, "deny": true, "block": true|false,
"press": payload or "reaction": n (0 = back) with "message": cmid, "join": true, "lead": [answers], "comment": {"on", "thing", "reply_to", "edit", "delete"}}
-> {"id": message id, "cmid", "user", "account"}.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from tests.sandbox import samples
from tests.sandbox.frame import BadControl
from tests.sandbox.vk import comments, gifts, represent
from tests.sandbox.vk.gestures import GESTURES, own_message
from tests.sandbox.vk.state import ADMIN_ID, CHAT_BASE, Community, Dialog, Json, Message, User

if TYPE_CHECKING:
    from tests.sandbox.vk.peer import VkPeer


class Say:
    """The doings of customers of one twin."""

    def __init__(self, peer: VkPeer) -> None:
        self._peer = peer

    def __call__(self, body: Json) -> Json:
        """Do what the body says. Raises BadControl."""
        community = self._community(body)
        if "comment" in body:
            return self._comment(community, body)
        user = self.user(body.get("user", "Анна"))
        peer_id = CHAT_BASE + int(body["chat"]) if body.get("chat") else user.id
        dialog = community.dialog(peer_id)
        done = {"account": str(community.id), "user": user.id, "conversation": str(peer_id)}
        for word, gesture in GESTURES.items():
            if word in body:
                return done | gesture(self._peer, community, dialog, body)
        if body.get("read"):
            self._peer.deeds.read_by_customer(community, dialog)
        if body.get("typing"):
            self._peer.deeds.typing_by_customer(community, dialog)
        if "edit" in body:
            one = self._edit(community, dialog, user, body)
        elif self._has_content(body):
            one = self._write(community, dialog, user, body)
        else:
            if not (body.get("read") or body.get("typing")):
                raise BadControl(
                    "nothing to do: give text, attachments, edit, delete, read, typing, allow, deny or press"
                )
            return done
        return done | {"id": one.id, "cmid": one.cmid}

    @staticmethod
    def _has_content(body: Json) -> bool:
        return any(body.get(name) for name in ("text", "attachments", "forward", "payload"))

    def _community(self, body: Json) -> Community:
        wanted = str(body.get("account", "")).lstrip("-")
        groups = list(self._peer.world.communities.values())
        found = [one for one in groups if not wanted or wanted in (str(one.id), one.screen_name)]
        if not found:
            raise BadControl(f"no community {wanted}")
        return found[0]

    def user(self, wanted: int | str) -> User:
        """Find the person, or make one: by number with that id, by name with a free one."""
        found = self._peer.world.find_user(wanted)
        if found:
            return found
        is_number = isinstance(wanted, int) or wanted.isdigit()
        user = self._peer.world.add_user("Иван" if is_number else str(wanted), int(wanted) if is_number else 0)
        self.draw(user)
        return user

    def draw(self, user: User) -> None:
        """Give the person a portrait that can be downloaded."""
        portrait = self._peer.media.put("portrait.png", samples.png(200, 200, user.id), "image/png")
        user.photo_url = self._peer.media.url(portrait)

    def _edit(self, community: Community, dialog: Dialog, user: User, body: Json) -> Message:
        one = own_message(community, dialog, int(body["edit"]), is_out=body.get("as") == "admin")
        attachments = one.attachments
        if "attachments" in body:
            attachments = self._attachments(user.id, body)[0]
        self._peer.deeds.edit_message(community, one, str(body.get("text", one.text)), attachments)
        return one

    def _write(self, community: Community, dialog: Dialog, user: User, body: Json) -> Message:
        is_admin = body.get("as") == "admin"
        by_cmid = {one.cmid: one for one in dialog.messages}
        owner_id = -community.id if is_admin else user.id
        attachments, geo = self._attachments(owner_id, body)
        draft: Json = {
            "text": str(body.get("text") or ""),
            "attachments": attachments,
            "geo": geo,
            "reply": self._quote(by_cmid, int(body["reply_to"])) if body.get("reply_to") else None,
            "forwards": [self._quote(by_cmid, int(cmid)) for cmid in body.get("forward", [])],
            "is_cropped": bool(body.get("cropped")),
        }
        if is_admin:
            randomness = secrets.randbelow(2**31 - 1) + 1
            return self._peer.deeds.add_message(
                community, dialog, out=True, random_id=randomness, admin_author_id=ADMIN_ID, **draft
            )
        self._peer.deeds.allow(community, dialog)
        draft |= {name: str(body[name]) for name in ("ref", "ref_source", "payload") if body.get(name)}
        return self._peer.deeds.add_message(community, dialog, out=False, from_id=user.id, **draft)

    @staticmethod
    def _quote(by_cmid: dict[int, Message], cmid: int) -> Json:
        if cmid not in by_cmid:
            raise BadControl(f"no message with number {cmid} in this dialog")
        return represent.quoted(by_cmid[cmid])

    def _attachments(self, owner_id: int, body: Json) -> tuple[list[Json], Json | None]:
        wanted = body.get("attachments") or []
        places = [gifts.geo(one) for one in wanted if one.get("type") == "geo"]
        made = [gifts.make(self._peer, owner_id, one) for one in wanted if one.get("type") != "geo"]
        return made, places[0] if places else None

    def _comment(self, community: Community, body: Json) -> Json:
        about = body["comment"]
        where, thing = str(about.get("on", "wall")), int(about.get("thing", 55))
        if where not in comments.PLACES:
            raise BadControl(f"comment.on must be one of {', '.join(comments.PLACES)}")
        if "edit" in about or "delete" in about:
            number = int(about.get("edit") or about["delete"])
            text = str(body.get("text", "")) if "edit" in about else None
            one = comments.change(self._peer, community, where, thing, number, text=text)
            return {"id": one["id"], "account": str(community.id)}
        user = self.user(body.get("user", "Анна"))
        author = -community.id if body.get("as") == "admin" else user.id
        one = comments.add(
            self._peer,
            community,
            where,
            thing,
            from_id=author,
            text=str(body.get("text", "")),
            reply_to=int(about.get("reply_to", 0)),
        )
        return {"id": one["id"], "user": user.id, "account": str(community.id)}
