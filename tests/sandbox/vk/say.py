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
from typing import TYPE_CHECKING, Any

from tests.sandbox import samples
from tests.sandbox.frame import BadControl
from tests.sandbox.vk import comments, represent
from tests.sandbox.vk.state import ADMIN_ID, CHAT_BASE, Community, Dialog, Json, Message, User

if TYPE_CHECKING:
    from tests.sandbox.vk.peer import VkPeer

STICKER_SIZES = (64, 128, 256)


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
        for word, deed in self._small_deeds(community, dialog, body).items():
            if word in body:
                done.update(deed())
                return done
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
        portrait = self._peer.media.put("portrait.png", samples.png(200, 200, user.id), "image/png")
        user.photo_url = self._peer.media.url(portrait)
        return user

    def _small_deeds(self, community: Community, dialog: Dialog, body: Json) -> dict[str, Any]:
        deeds = self._peer.deeds

        def deny() -> Json:
            deeds.deny(community, dialog)
            return {"id": None}

        def allow() -> Json:
            deeds.allow(community, dialog, str(body.get("key", "")))
            return {"id": None}

        def block() -> Json:
            deeds.block(community, dialog, is_blocked=bool(body["block"]))
            return {"id": None}

        def press() -> Json:
            event_id = secrets.token_hex(6)
            deeds.press(community, dialog, event_id, int(body.get("message", 1)), body["press"])
            return {"id": event_id}

        def delete() -> Json:
            one = self._own(community, dialog, int(body["delete"]), is_out=body.get("as") == "admin")
            deeds.delete_message(community, one, everybody=True)
            return {"id": one.id}

        def reaction() -> Json:
            by_cmid = {one.cmid: one for one in dialog.messages}
            one = by_cmid.get(int(body.get("message", 1)))
            if one is None:
                raise BadControl("message must be the number of a message in this dialog")
            deeds.react(community, one, int(body["reaction"]), by_customer=True)
            return {"id": one.id}

        def join() -> Json:
            self._peer.events.emit(community, "group_join", {"user_id": dialog.peer_id, "join_type": "join"})
            return {"id": None}

        def lead() -> Json:
            number = secrets.randbelow(10**6)
            lead_form = {"form_id": 4, "form_name": "Заявка", "ad_id": 0, "answers": body["lead"]}
            ids = {"lead_id": number, "group_id": community.id, "user_id": dialog.peer_id}
            self._peer.events.emit(community, "lead_forms_new", ids | lead_form)
            return {"id": number}

        return {f.__name__: f for f in (deny, allow, block, press, delete, reaction, join, lead)}

    def _own(self, community: Community, dialog: Dialog, message_id: int, *, is_out: bool) -> Message:
        one = community.messages.get(message_id)
        if one is None or one.is_deleted or one.peer_id != dialog.peer_id or one.out != is_out:
            raise BadControl(f"message {message_id} is not one of theirs")
        return one

    def _edit(self, community: Community, dialog: Dialog, user: User, body: Json) -> Message:
        one = self._own(community, dialog, int(body["edit"]), is_out=body.get("as") == "admin")
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
        made, geo = [], None
        for wanted in body.get("attachments") or []:
            kind = wanted.get("type")
            if kind == "geo":
                latitude, longitude = float(wanted.get("lat", 55.75)), float(wanted.get("long", 37.61))
                place = {"title": "Москва, Россия", "city": "Москва", "country": "Россия"}
                coordinates = {"latitude": latitude, "longitude": longitude}
                geo = {"type": "point", "coordinates": coordinates, "place": place}
            else:
                made.append(self._attachment(owner_id, str(kind), wanted))
        return made, geo

    def _attachment(self, owner_id: int, kind: str, wanted: Json) -> Json:
        media = self._peer.media
        if kind == "photo":
            has_file = "file" in wanted or "content_b64" in wanted
            return media.photo(owner_id, media.file_of(wanted, "photo.png", b"") if has_file else None)
        if kind == "doc":
            return media.doc(owner_id, media.file_of(wanted, "price.pdf", samples.pdf()))
        if kind in {"voice", "audio_message"}:
            seconds = int(wanted.get("seconds", 3))
            return media.voice(owner_id, media.file_of(wanted, "voice.ogg", samples.ogg(seconds)), seconds)
        if kind == "graffiti":
            return media.graffiti(owner_id, media.file_of(wanted, "graffiti.png", samples.png(600, 400, 2)))
        if kind == "raw":
            return dict(wanted["attachment"])
        return self._without_file(owner_id, kind, wanted)

    def _without_file(self, owner_id: int, kind: str, wanted: Json) -> Json:
        """Make the kinds that carry no file of their own (vk.md 3.2)."""
        date, number = int(self._peer.now()), next(self._peer.world.media_ids)
        picture = self._peer.media.url(self._peer.media.put("picture.png", samples.png(256, 256, 1), "image/png"))
        key, ids = {"access_key": "k" + secrets.token_hex(6)}, {"id": number, "owner_id": owner_id}
        images = [{"url": picture, "width": size, "height": size} for size in STICKER_SIZES]
        sticker = {"inner_type": "base_sticker_new", "sticker_id": 9012, "product_id": 279}
        price = {"amount": "50000", "currency": {"id": 643, "name": "RUB", "title": "RUB"}, "text": "500 ₽"}
        shop = {
            "availability": 0,
            "category": {"inner_type": "market_market_category_nested", "id": 1, "name": "Посуда"},
        }
        link = {"url": wanted.get("url", "https://example.com/"), "title": wanted.get("title", "Пример")}
        answers = [{"id": 1, "text": "да", "votes": 0, "rate": 0}, {"id": 2, "text": "нет", "votes": 0, "rate": 0}]
        duration = {"duration": int(wanted.get("seconds", 12))}
        video = {"title": wanted.get("title", "ролик"), "image": images, "can_add": 1, "type": "video", "date": date}
        bodies: dict[str, Json] = {
            "sticker": sticker | {"images": images, "images_with_background": images, "is_allowed": True},
            "video": ids | key | duration | video,
            "audio": ids | duration | {"artist": "А", "title": "Песня", "url": "", "date": date},
            "link": link | {"caption": "example.com", "description": ""},
            "wall": {
                "id": 55,
                "from_id": owner_id,
                "to_id": owner_id,
                "date": date,
                "post_type": "post",
                "text": "Запись",
            }
            | {"owner_id": owner_id, "attachments": [], "inner_type": "wall_wallpost"},
            "wall_reply": {
                "id": 77,
                "from_id": owner_id,
                "post_id": 55,
                "owner_id": owner_id,
                "date": date,
                "text": "?",
            },
            "market": ids | shop | {"title": "Кружка", "description": "", "price": price, "thumb_photo": picture},
            "gift": {"id": 90, "thumb_256": picture, "thumb_96": picture, "thumb_48": picture},
            "story": ids | key | {"date": date, "expires_at": date + 86400, "type": "photo"},
            "poll": ids | {"question": "?", "answers": answers, "votes": 0, "created": date},
            "call": {"initiator_id": owner_id, "receiver_id": 0, "state": "reached", "time": date, "video": False}
            | duration,
        }
        if kind not in bodies:
            raise BadControl(f"unknown attachment type {kind}")
        return {"type": kind, kind: bodies[kind]}

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
