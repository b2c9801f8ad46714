"""Attachments that customers send, made from the few words of /_sandbox/say (objects: vk.md 3.2)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from tests.sandbox import samples
from tests.sandbox.frame import BadControl
from tests.sandbox.vk.state import Json

if TYPE_CHECKING:
    from tests.sandbox.vk.peer import VkPeer

STICKER_SIZES = (64, 128, 256)


def make(peer: VkPeer, owner_id: int, wanted: Json) -> Json:
    """Make one attachment. Raises BadControl for an unknown type."""
    kind, media = str(wanted.get("type")), peer.media
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
    bodies = {**_pictured(peer, owner_id, wanted), **_plain(peer, owner_id, wanted)}
    if kind not in bodies:
        raise BadControl(f"unknown attachment type {kind}")
    return {"type": kind, kind: bodies[kind]}


def geo(wanted: Json) -> Json:
    """Make a place."""
    coordinates = {"latitude": float(wanted.get("lat", 55.75)), "longitude": float(wanted.get("long", 37.61))}
    place = {"title": "Москва, Россия", "city": "Москва", "country": "Россия"}
    return {"type": "point", "coordinates": coordinates, "place": place}


def _pictured(peer: VkPeer, owner_id: int, wanted: Json) -> dict[str, Json]:
    """Make the kinds that show a picture but have no file to fetch."""
    date, ids = int(peer.now()), {"id": next(peer.world.media_ids), "owner_id": owner_id}
    url = peer.media.url(peer.media.put("picture.png", samples.png(256, 256, 1), "image/png"))
    images = [{"url": url, "width": size, "height": size} for size in STICKER_SIZES]
    sticker = {"inner_type": "base_sticker_new", "sticker_id": 9012, "product_id": 279, "is_allowed": True}
    video = {"title": wanted.get("title", "ролик"), "image": images, "can_add": 1, "type": "video", "date": date}
    category = {"inner_type": "market_market_category_nested", "id": 1, "name": "Посуда"}
    price = {"amount": "50000", "currency": {"id": 643, "name": "RUB", "title": "RUB"}, "text": "500 ₽"}
    market = {"title": "Кружка", "description": "", "price": price, "category": category, "availability": 0}
    private = {"access_key": "k" + secrets.token_hex(6)}
    return {
        "sticker": sticker | {"images": images, "images_with_background": images},
        "video": ids | private | video | {"duration": int(wanted.get("seconds", 12))},
        "market": ids | market | {"thumb_photo": url},
        "gift": {"id": 90, "thumb_256": url, "thumb_96": url, "thumb_48": url},
        "story": ids | private | {"date": date, "expires_at": date + 86400, "type": "photo"},
    }


def _plain(peer: VkPeer, owner_id: int, wanted: Json) -> dict[str, Json]:
    """Make the kinds that are words only."""
    date, ids = int(peer.now()), {"id": next(peer.world.media_ids), "owner_id": owner_id}
    seconds = {"duration": int(wanted.get("seconds", 12))}
    answers = [{"id": number, "text": text, "votes": 0, "rate": 0} for number, text in ((1, "да"), (2, "нет"))]
    link = {"url": wanted.get("url", "https://example.com/"), "title": wanted.get("title", "Пример")}
    written = {"from_id": owner_id, "owner_id": owner_id, "date": date}
    post = {"to_id": owner_id, "post_type": "post", "attachments": [], "inner_type": "wall_wallpost"}
    call = {"initiator_id": owner_id, "receiver_id": 0, "state": "reached", "time": date, "video": False}
    return {
        "audio": ids | seconds | {"artist": "А", "title": "Песня", "url": "", "date": date},
        "link": link | {"caption": "example.com", "description": ""},
        "wall": written | post | {"id": 55, "text": "Запись"},
        "wall_reply": written | {"id": 77, "post_id": 55, "text": "?"},
        "poll": ids | {"question": "?", "answers": answers, "votes": 0, "created": date},
        "call": call | seconds,
    }
