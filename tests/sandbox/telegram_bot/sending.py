"""The send methods (telegram.md A4)."""

from __future__ import annotations

import secrets
from typing import Any

import aiohttp

from tests.sandbox.telegram_bot import media
from tests.sandbox.telegram_bot.calls import Call, Place, read_words
from tests.sandbox.telegram_bot.errors import bad
from tests.sandbox.telegram_bot.state import Json, RemoteFile

ALBUM_SIZE = range(2, 11)
ALBUM_TYPES = {"photo", "video", "document", "audio"}
URL_BYTES = {"photo": 5 * 1024 * 1024}
URL_BYTES_OTHER = 20 * 1024 * 1024
URL_DOCUMENTS = (b"GIF8", b"%PDF", b"PK\x03\x04")
NO_CAPTION = {"video_note", "sticker"}
NAMES = {"video_note": "video note"}


async def send_message(call: Call) -> Json:
    """Send a text."""
    place = call.place()
    if not call.params.text("text"):
        raise bad("Message text is empty")
    text, entities = call.words("text", "entities")
    if not text:
        raise bad("text must be non-empty")
    return _post(call, place, with_entities("text", text, entities))


async def send_media(call: Call, kind: str) -> Json:
    """Send one file of a kind: sendPhoto, sendDocument, ..."""
    place = call.place()
    stored = await input_file(call, call.params.text(kind), kind, part=kind)
    fields = media.field_of(call.bot, stored)
    if kind not in NO_CAPTION:
        caption, entities = call.words("caption", "caption_entities")
        fields |= with_entities("caption", caption, entities)
    return _post(call, place, fields)


async def send_location(call: Call) -> Json:
    """Send a point on the map."""
    place = call.place()
    return _post(call, place, {"location": _point(call)})


async def send_venue(call: Call) -> Json:
    """Send a place with its name and address."""
    place = call.place()
    point, title, address = _point(call), call.params.text("title"), call.params.text("address")
    if not title or not address:
        raise bad("VENUE_INVALID")
    venue = {"location": point, "title": title, "address": address}
    return _post(call, place, {"venue": venue, "location": point})


def _point(call: Call) -> Json:
    latitude, longitude = call.params.number("latitude"), call.params.number("longitude")
    if not -90 <= latitude <= 90 or not -180 <= longitude <= 180:
        raise bad("Wrong latitude or longitude specified")
    return {"latitude": latitude, "longitude": longitude}


async def send_contact(call: Call) -> Json:
    """Send a phone number with a name."""
    place = call.place()
    phone, first_name = call.params.text("phone_number"), call.params.text("first_name")
    if not phone:
        raise bad('Parameter "phone_number" is required')
    if not first_name:
        raise bad('Parameter "first_name" is required')
    contact = {"phone_number": phone, "first_name": first_name}
    if last_name := call.params.text("last_name"):
        contact["last_name"] = last_name
    return _post(call, place, {"contact": contact})


async def send_media_group(call: Call) -> list[Json]:
    """Send an album: 2-10 files, documents and audio only with their own kind, no keyboard."""
    place = call.place()
    items = call.params.array("media", "media", "InputMedia")
    if items is None:
        raise bad('Parameter "media" is required')
    if len(items) not in ALBUM_SIZE:
        raise bad(
            "Too many messages to send as an album"
            if len(items) > 10
            else "There are too few messages to send as an album"
        )
    kinds = {_media_type(item) for item in items}
    if kinds - ALBUM_TYPES or (len(kinds) > 1 and kinds != {"photo", "video"}):
        raise bad("Can't use the media of the specified type in the album")
    contents = [await input_media(call, item) for item in items]
    reply = call.reply(place)
    call.peer.limits_of(call.bot).take(call.arrived_at, place.chat.id, len(items))
    album = {"media_group_id": str(secrets.randbelow(10**17) + 10**16)}
    return [call.peer.deeds.from_bot(call.bot, place, {**reply, **album, **fields}).body for fields in contents]


def _media_type(item: object) -> str:
    if not isinstance(item, dict) or not isinstance(item.get("media"), str):
        raise bad("Can't parse InputMedia: expected an Object")
    return str(item.get("type", ""))


async def input_media(call: Call, item: dict[str, Any]) -> Json:
    """Read one InputMedia* into fields of Message."""
    kind = _media_type(item)
    if kind not in {*ALBUM_TYPES, "animation"}:
        raise bad("Can't parse InputMedia: type must be one of photo, video, animation, audio, document")
    stored = await input_file(call, item["media"], kind, part="")
    given = item.get("caption_entities")
    if given is not None and not isinstance(given, list):
        raise bad("Expected an Array of MessageEntity")
    caption, entities = read_words(
        str(item.get("caption") or ""),
        str(item.get("parse_mode") or ""),
        given,
        is_caption=True,
    )
    return media.field_of(call.bot, stored) | with_entities("caption", caption, entities)


def with_entities(name: str, text: str, entities: list[Any]) -> Json:
    """Build text or caption with its entities, or nothing when it is empty."""
    if not text:
        return {}
    key = "entities" if name == "text" else "caption_entities"
    return {name: text, **({key: entities} if entities else {})}


def _post(call: Call, place: Place, fields: Json) -> Json:
    """Send what passed all checks; only now it counts against the limits."""
    reply, markup = call.reply(place), call.markup()
    call.peer.limits_of(call.bot).take(call.arrived_at, place.chat.id)
    if markup and "inline_keyboard" in markup:
        fields = {**fields, "reply_markup": markup}
    if call.params.flag("protect_content"):
        fields = {**fields, "has_protected_content": True}
    return call.peer.deeds.from_bot(call.bot, place, {**reply, **fields}).body


# -- files -----------------------------------------------------------------------------------------------------------


async def input_file(call: Call, value: str, kind: str, *, part: str) -> RemoteFile:
    """Take a file: an upload (part or attach://part), an HTTP address, or a file_id of this bot. Raises: ApiError 400."""
    if value.startswith("attach://"):
        part = value.removeprefix("attach://")
    upload = call.params.uploads.get(part)
    if upload:
        if not upload.content:
            raise bad("file must be non-empty")
        return _kept(call, kind, upload.name, upload.content_type, upload.content)
    if not value or value.startswith("attach://"):
        raise bad(f"There is no {NAMES.get(kind, kind)} in the request")
    if value.startswith(("http://", "https://")):
        if kind == "video_note":
            raise bad("Wrong HTTP URL specified")
        return await _from_address(call, kind, value)
    stored = call.bot.files.get(value)
    if stored is None:
        raise bad("Wrong remote file identifier specified: Wrong string length")
    if stored.kind != kind and {stored.kind, kind} != {"animation", "document"}:
        raise bad(f"Can't use file of type {stored.kind.capitalize()} as {kind.capitalize()}")
    return stored


def _kept(call: Call, wanted: str, name: str, content_type: str, content: bytes) -> RemoteFile:
    kind = media.kind_of(wanted, content)
    facts = media.check_photo(content) if kind == "photo" else {}
    mime = content_type if content_type != "application/octet-stream" else ""
    return media.keep(call.bot, kind, name, mime, content, facts=facts)


async def _from_address(call: Call, kind: str, address: str) -> RemoteFile:
    limit = URL_BYTES.get(kind, URL_BYTES_OTHER)
    timeout = aiohttp.ClientTimeout(total=20)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(address) as response:
            content = await response.content.read(limit + 1)
            while len(content) <= limit and (more := await response.content.read(limit)):
                content += more
            status, content_type = response.status, response.content_type
    except aiohttp.InvalidURL:
        raise bad("Wrong HTTP URL specified") from None
    except (aiohttp.ClientError, TimeoutError):
        raise bad("Failed to get HTTP URL content") from None
    if status != 200 or len(content) > limit:
        raise bad("Failed to get HTTP URL content")
    if (kind == "document" and not content.startswith(URL_DOCUMENTS)) or content_type.startswith("text/html"):
        raise bad("Wrong type of the web page content")
    return _kept(call, kind, address.rsplit("/", 1)[-1].split("?")[0], content_type, content)
