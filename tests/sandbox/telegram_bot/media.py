"""Files: file_id per bot, what each kind of media looks like in a Message, sizes and links (telegram.md A4, A3.1)."""

from __future__ import annotations

import mimetypes
import secrets

from tests.sandbox.samples import image_size
from tests.sandbox.telegram_bot.errors import bad
from tests.sandbox.telegram_bot.state import HOUR_S, Bot, Json, RemoteFile, new_unique

MEDIA = ("photo", "document", "video", "animation", "audio", "voice", "video_note", "sticker")
PHOTO_BYTES = 10 * 1024 * 1024
DOWNLOAD_BYTES = 20 * 1024 * 1024
PHOTO_SIDES = 10_000
PHOTO_RATIO = 20
LINK_LIFE_S = HOUR_S
FOLDERS = {
    "photo": "photos",
    "video": "videos",
    "animation": "animations",
    "audio": "music",
    "voice": "voice",
    "video_note": "video_notes",
    "sticker": "stickers",
}
ENDINGS = {
    "photo": ".jpg",
    "voice": ".oga",
    "video_note": ".mp4",
    "sticker": ".webp",
    "video": ".mp4",
    "animation": ".mp4",
}
FACTS: dict[str, Json] = {
    "video": {"width": 640, "height": 360, "duration": 5},
    "animation": {"width": 320, "height": 180, "duration": 2},
    "video_note": {"length": 240, "duration": 5},
    "voice": {"duration": 3},
    "audio": {"duration": 3},
    "sticker": {"type": "regular", "width": 512, "height": 512, "is_animated": False, "is_video": False},
}


def keep(
    bot: Bot, kind: str, name: str, mime_type: str, content: bytes, *, size: int = 0, facts: Json | None = None
) -> RemoteFile:
    """Keep a file for one bot. `size` may claim more bytes than there are, to play large files."""
    stored = RemoteFile(
        file_id=f"BQAC{kind[:2].upper()}{secrets.token_urlsafe(42)}",
        unique_id=new_unique(),
        kind=kind,
        name=name,
        mime_type=mime_type or mimetypes.guess_type(name)[0] or "application/octet-stream",
        size=max(size, len(content)),
        content=content,
        facts={**FACTS.get(kind, {}), **(facts or {})},
    )
    bot.files[stored.file_id] = stored
    return stored


def kind_of(wanted: str, content: bytes) -> str:
    """Tell what a file sent by `wanted` really becomes: a voice that is no OGG turns into audio or a document."""
    is_mp4, is_ogg = content[4:8] == b"ftyp", content.startswith(b"OggS")
    is_mp3 = content.startswith(b"ID3") or content[:2] in (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")
    is_m4a = is_mp4 and content[8:11] == b"M4A"
    if wanted == "voice":
        return "voice" if is_ogg or is_mp3 or is_m4a else "document"
    if wanted == "audio":
        return "audio" if is_mp3 or is_m4a else "document"
    if wanted in {"video", "video_note"}:
        return wanted if is_mp4 else "document"
    if wanted == "document" and content.startswith(b"GIF8"):
        return "animation"
    if wanted == "animation":
        return "animation" if is_mp4 or content.startswith(b"GIF8") else "document"
    return wanted


def check_photo(content: bytes) -> Json:
    """Check the rules of photos and return their sides. Raises: ApiError 400."""
    if len(content) > PHOTO_BYTES:
        raise bad(f"file of size {len(content)} bytes is too big for a photo; the maximum size is {PHOTO_BYTES} bytes")
    sides = image_size(content)
    if sides is None:
        raise bad("IMAGE_PROCESS_FAILED")
    width, height = sides
    if width + height > PHOTO_SIDES or max(sides) > PHOTO_RATIO * max(min(sides), 1):
        raise bad("PHOTO_INVALID_DIMENSIONS")
    return {"width": width, "height": height}


def field_of(bot: Bot, stored: RemoteFile) -> Json:
    """Build the fields of Message that hold this file."""
    base: Json = {"file_id": stored.file_id, "file_unique_id": stored.unique_id, "file_size": stored.size}
    if stored.kind == "photo":
        return {"photo": _photo_sizes(bot, stored, base)}
    if stored.kind in {"video_note", "sticker"}:
        return {stored.kind: {**base, **stored.facts}}
    base["mime_type"] = stored.mime_type
    if stored.kind != "voice" and stored.name:
        base["file_name"] = stored.name
    described = {stored.kind: {**base, **stored.facts}}
    if stored.kind == "animation":
        described["document"] = dict(base)  # for GIF both are set (telegram.md A3.1)
    return described


def _photo_sizes(bot: Bot, stored: RemoteFile, base: Json) -> list[Json]:
    width, height = stored.facts.get("width", 800), stored.facts.get("height", 600)
    large = {**base, "width": width, "height": height}
    if max(width, height) <= 90:
        return [large]
    shrink = 90 / max(width, height)
    sides = {"width": max(1, int(width * shrink)), "height": max(1, int(height * shrink))}
    thumb = keep(bot, "photo", stored.name, stored.mime_type, stored.content, facts=sides)
    small = {"file_id": thumb.file_id, "file_unique_id": thumb.unique_id, "file_size": thumb.size, **sides}
    return [small, large]


def link(bot: Bot, file_id: str, now: float) -> Json:
    """Build the type File with a fresh link. Raises: ApiError 400 (unknown, over 20 MB)."""
    if not file_id:
        raise bad("file_id is empty")
    stored = bot.files.get(file_id)
    if stored is None:
        raise bad("wrong file_id or the file is temporarily unavailable")
    if stored.size > DOWNLOAD_BYTES:
        raise bad("file is too big")
    if not stored.path:
        number = sum(1 for other in bot.files.values() if other.path)
        ending = ENDINGS.get(stored.kind) or mimetypes.guess_extension(stored.mime_type) or ""
        stored.path = f"{FOLDERS.get(stored.kind, 'documents')}/file_{number}{ending}"
    stored.path_until = now + LINK_LIFE_S
    return {
        "file_id": stored.file_id,
        "file_unique_id": stored.unique_id,
        "file_size": stored.size,
        "file_path": stored.path,
    }


def by_path(bot: Bot, path: str, now: float) -> RemoteFile | None:
    """Find the file behind a link that still lives."""
    return next((f for f in bot.files.values() if f.path == path and f.path_until >= now), None)
