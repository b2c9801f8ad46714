"""What a customer can attach: control attachments {"type", ...} turned into fields of Message (telegram.md A3.1).

Files: {"type": photo|document|doc|video|animation|audio|voice|video_note|sticker, and of "content_b64", "file" (key in the
peer's store), "name", "mime", "size" (claims more bytes than there are), "seconds"}. Without content a small real file is
made. Others: location {"latitude", "longitude", "live_period"}, venue {"title", "address"}, contact {"phone", "name",
"own": true}, poll {"question", "options"}, dice {"emoji", "value"}, story {}.
"""

from __future__ import annotations

import base64
import gzip
import secrets
from typing import TYPE_CHECKING

from tests.sandbox import samples
from tests.sandbox.frame import BadControl
from tests.sandbox.telegram_bot import media
from tests.sandbox.telegram_bot.state import Bot, Json, Person

if TYPE_CHECKING:
    from tests.sandbox.telegram_bot.peer import TelegramPeer

MP4 = bytes.fromhex("00000018667479706d703432000000006d70343269736f6d") + bytes.fromhex("00000008") + b"free"
TGS = gzip.compress(b'{"v":"5.5.2","tgs":1,"fr":60,"ip":0,"op":60,"w":512,"h":512,"layers":[]}', mtime=0)
KINDS = {"doc": "document", "file": "document", "image": "photo"}
NAMES = {
    "photo": ("photo.png", "image/png"),
    "document": ("price.pdf", "application/pdf"),
    "video": ("video.mp4", "video/mp4"),
    "animation": ("animation.mp4", "video/mp4"),
    "video_note": ("note.mp4", "video/mp4"),
    "audio": ("song.mp3", "audio/mpeg"),
    "voice": ("voice.oga", "audio/ogg"),
    "sticker": ("sticker.tgs", "application/x-tgsticker"),
}


def _sample(kind: str, seconds: int) -> bytes:
    if kind == "photo":
        return samples.png(320, 240)
    if kind == "voice":
        return samples.ogg(seconds)
    if kind == "audio":
        return samples.mp3(seconds)
    if kind == "sticker":
        return TGS
    return samples.pdf() if kind == "document" else MP4


def fields_of(peer: TelegramPeer, bot: Bot, person: Person, wanted: Json) -> Json:
    """Turn one control attachment into fields of Message. Raises: BadControl."""
    kind = KINDS.get(str(wanted.get("type")), str(wanted.get("type")))
    if kind in media.MEDIA:
        return _file(peer, bot, kind, wanted)
    if kind in {"location", "venue"}:
        point = {"latitude": float(wanted.get("latitude", 55.75)), "longitude": float(wanted.get("longitude", 37.61))}
        if kind == "venue":
            about = {"title": str(wanted.get("title", "Acme")), "address": str(wanted.get("address", "ул. Ленина, 1"))}
            return {"venue": {"location": point, **about}, "location": point}
        live = {"live_period": int(wanted["live_period"])} if "live_period" in wanted else {}
        return {"location": {**point, **live}}
    if kind == "contact":
        contact = {
            "phone_number": str(wanted.get("phone", person.phone or "79990000000")),
            "first_name": str(wanted.get("name", person.first_name)),
        }
        return {"contact": {**contact, "user_id": person.id} if wanted.get("own") else contact}
    if kind == "poll":
        return {"poll": _poll(wanted)}
    if kind == "dice":
        return {"dice": {"emoji": str(wanted.get("emoji", "🎲")), "value": int(wanted.get("value", 4))}}
    if kind == "story":
        return {"story": story(person)}
    raise BadControl(f"unknown attachment {kind}")


def story(person: Person) -> Json:
    """Build the type Story."""
    return {"chat": person.chat(), "id": 7}


def _poll(wanted: Json) -> Json:
    options = wanted.get("options") or ["Да", "Нет"]
    return {
        "id": str(secrets.randbelow(10**18)),
        "question": str(wanted.get("question", "Берём?")),
        "options": [{"persistent_id": str(i), "text": str(text), "voter_count": 0} for i, text in enumerate(options)],
        "total_voter_count": 0,
        "is_closed": False,
        "is_anonymous": True,
        "type": "regular",
        "allows_multiple_answers": False,
        "allows_revoting": False,
        "members_only": False,
    }


def _file(peer: TelegramPeer, bot: Bot, kind: str, wanted: Json) -> Json:
    name, mime = NAMES[kind]
    seconds = int(wanted.get("seconds", 3))
    content = _sample(kind, seconds)
    if "file" in wanted:
        stored = peer.files.get(str(wanted["file"]))
        if stored is None:
            raise BadControl("no such file")
        name, mime, content = stored.name, stored.content_type, stored.content
    if "content_b64" in wanted:
        content = base64.b64decode(wanted["content_b64"])
    name, mime = str(wanted.get("name", name)), str(wanted.get("mime", mime))
    facts: Json = {"duration": seconds} if kind in {"voice", "audio", "video", "video_note", "animation"} else {}
    if kind == "photo":
        width, height = samples.image_size(content) or (800, 600)
        facts = {"width": width, "height": height}
    if kind == "sticker":
        facts = {"emoji": str(wanted.get("emoji", "👍")), "is_animated": mime == "application/x-tgsticker"}
    size = int(wanted.get("size", 0))
    return media.field_of(bot, media.keep(bot, kind, name, mime, content, size=size, facts=facts))
