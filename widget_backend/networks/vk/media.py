"""Attachments, both ways: what VK's objects mean to us, and how our files become VK's attachments."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, BinaryIO

from widget_backend.bridge.ends import OutFile
from widget_backend.bridge.errors import Rejected
from widget_backend.bridge.events import Attachment, Kind
from widget_backend.reading import Malformed, Reader

if TYPE_CHECKING:
    from widget_backend.networks.vk.client import Client

_GIF = 3  # doc.type: 1 text, 2 archive, 3 gif, 4 image, 5 audio, 6 video, 7 book, 8 other
PHOTO_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
VOICE_TYPES = frozenset({"audio/ogg", "application/ogg"})


# ------------------------------------------------------------------------------------------------------------------ in


def attachments_of(message: Reader, page: str) -> tuple[Attachment, ...]:
    """Read the attachments and the place of a message. `page` is where a person can see what we cannot take.

    Shape: one entry per attachment, in VK's order; what is unknown or broken is UNSUPPORTED and loses nothing else.
    Raises: Malformed when the list itself is none.
    Source: vk.md 3.2, "Attachment objects".
    """
    found = [_attachment(item, page) for item in message["attachments"].items()]
    if "geo" in message:
        found.append(_guarded(_location, message["geo"], "geo", page))
    return tuple(found)


def _attachment(item: Reader, page: str) -> Attachment:
    try:
        kind = item["type"].text()
        thing = item[kind]
    except Malformed:
        return Attachment(kind=Kind.UNSUPPORTED, link=page)
    return _guarded(_READERS.get(kind, _unknown), thing, kind, page)


def _guarded(read: Callable[[Reader], Attachment], thing: Reader, kind: str, page: str) -> Attachment:
    try:
        return read(thing)
    except Malformed:
        return Attachment(kind=Kind.UNSUPPORTED, title=kind, link=page)


def _ids(thing: Reader) -> str:
    """Return `<owner>_<id>`, the way VK's pages name a thing."""
    return f"{thing['owner_id'].integer()}_{thing['id'].integer()}"


def _largest(images: Reader) -> Reader:
    return max(
        images.items(), key=lambda one: one["width"].integer_or(0) * one["height"].integer_or(0), default=images[0]
    )


def _photo(thing: Reader) -> Attachment:
    best = thing["orig_photo"] if "orig_photo" in thing else _largest(thing["sizes"])
    return Attachment(
        kind=Kind.PHOTO,
        url=best["url"].text(),
        width=best["width"].integer_or(0) or None,
        height=best["height"].integer_or(0) or None,
        text=thing["text"].text_or(""),
    )


def _video(thing: Reader) -> Attachment:
    key = thing["access_key"].text_or("")
    return Attachment(
        kind=Kind.VIDEO,
        title=thing["title"].text_or(""),
        duration_s=thing["duration"].integer_or(0) or None,
        link=f"https://vk.com/video{_ids(thing)}" + (f"_{key}" if key else ""),
    )


def _audio(thing: Reader) -> Attachment:
    names = (thing["artist"].text_or(""), thing["title"].text_or(""))
    return Attachment(
        kind=Kind.AUDIO,
        url=thing["url"].text_or(""),
        title=" - ".join(name for name in names if name),
        duration_s=thing["duration"].integer_or(0) or None,
        link=f"https://vk.com/audio{_ids(thing)}",
    )


def _voice(thing: Reader) -> Attachment:
    ogg = thing["link_ogg"].text_or("")
    return Attachment(
        kind=Kind.VOICE,
        url=ogg or thing["link_mp3"].text(),
        mime="audio/ogg" if ogg else "audio/mpeg",
        duration_s=thing["duration"].integer_or(0) or None,
        text=thing["transcript"].text_or(""),
    )


def _document(thing: Reader) -> Attachment:
    title, ext = thing["title"].text_or(""), thing["ext"].text_or("")
    has_ext = not ext or title.lower().endswith(f".{ext.lower()}")
    return Attachment(
        kind=Kind.ANIMATION if thing["type"].integer_or(0) == _GIF else Kind.DOCUMENT,
        url=thing["url"].text(),
        name=title if has_ext else f"{title}.{ext}",
        size_bytes=thing["size"].integer_or(0) or None,
    )


def _sticker(thing: Reader) -> Attachment:
    return _picture(Kind.STICKER, _largest(thing["images"]))


def _graffiti(thing: Reader) -> Attachment:
    return _picture(Kind.PHOTO, thing)


def _picture(kind: Kind, image: Reader) -> Attachment:
    return Attachment(
        kind=kind,
        url=image["url"].text(),
        width=image["width"].integer_or(0) or None,
        height=image["height"].integer_or(0) or None,
    )


def _link(thing: Reader) -> Attachment:
    return Attachment(
        kind=Kind.LINK,
        link=thing["url"].text(),
        title=thing["title"].text_or(""),
        text=thing["description"].text_or(""),
    )


def _post(thing: Reader) -> Attachment:
    owner = next((thing[name] for name in ("owner_id", "to_id", "from_id") if name in thing), thing["owner_id"])
    return Attachment(
        kind=Kind.POST,
        link=f"https://vk.com/wall{owner.integer()}_{thing['id'].integer()}",
        text=thing["text"].text_or(""),
    )


def _comment(thing: Reader) -> Attachment:
    place = f"{thing['owner_id'].integer()}_{thing['post_id'].integer()}"
    return Attachment(
        kind=Kind.POST,
        link=f"https://vk.com/wall{place}?reply={thing['id'].integer()}",
        text=thing["text"].text_or(""),
    )


def _product(thing: Reader) -> Attachment:
    told = (thing["price"]["text"].text_or(""), thing["description"].text_or(""))
    return Attachment(
        kind=Kind.PRODUCT,
        link=f"https://vk.com/product{_ids(thing)}",
        title=thing["title"].text_or(""),
        text="\n".join(part for part in told if part),
    )


def _products(thing: Reader) -> Attachment:
    return Attachment(
        kind=Kind.PRODUCT,
        link=f"https://vk.com/market{thing['owner_id'].integer()}?section=album_{thing['id'].integer()}",
        title=thing["title"].text_or(""),
    )


def _gift(thing: Reader) -> Attachment:
    return Attachment(kind=Kind.GIFT, url=thing["thumb_256"].text())


def _story(thing: Reader) -> Attachment:
    return Attachment(kind=Kind.STORY, link=f"https://vk.com/story{_ids(thing)}")


def _poll(thing: Reader) -> Attachment:
    return Attachment(
        kind=Kind.POLL,
        link=f"https://vk.com/poll{_ids(thing)}",
        title=thing["question"].text_or(""),
        text="\n".join(answer["text"].text_or("") for answer in thing["answers"].items()),
    )


def _call(thing: Reader) -> Attachment:
    return Attachment(
        kind=Kind.CALL, title=thing["state"].text_or(""), duration_s=thing["duration"].integer_or(0) or None
    )


def _location(thing: Reader) -> Attachment:
    point = thing["coordinates"]
    return Attachment(
        kind=Kind.LOCATION,
        latitude=point["latitude"].number(),
        longitude=point["longitude"].number(),
        title=thing["place"]["title"].text_or(""),
    )


def _unknown(thing: Reader) -> Attachment:
    raise Malformed(thing.path, "a known kind of attachment", "another")


_READERS: Mapping[str, Callable[[Reader], Attachment]] = {
    "photo": _photo,
    "video": _video,
    "audio": _audio,
    "audio_message": _voice,
    "doc": _document,
    "sticker": _sticker,
    "graffiti": _graffiti,
    "link": _link,
    "article": _link,
    "wall": _post,
    "wall_reply": _comment,
    "market": _product,
    "market_market_album": _products,
    "gift": _gift,
    "story": _story,
    "poll": _poll,
    "call": _call,
}


# ----------------------------------------------------------------------------------------------------------------- out


def upload(client: Client, peer_id: str, file: OutFile) -> str:
    """Upload one file and return the word that `messages.send` takes for it, `photo-1_2_key`.

    Raises: Rejected when VK does not take the file, and whatever the client raises.
    Source: vk.md 2.5. A community cannot upload a video: everything that is no picture and no voice goes as a document, and so
    does a picture or a voice that VK refuses as such (over 14000 px, not Opus).
    """
    attachment = file.attachment
    try:
        if attachment.kind is Kind.PHOTO and attachment.mime in PHOTO_TYPES:
            return _upload_photo(client, peer_id, file)
        if attachment.kind is Kind.VOICE and attachment.mime in VOICE_TYPES:
            return _upload_document(client, peer_id, file, "audio_message")
    except Rejected as error:
        if error.reason != "file_refused":
            raise
    return _upload_document(client, peer_id, file, "doc")


def _upload_photo(client: Client, peer_id: str, file: OutFile) -> str:
    address = client.photos_get_messages_upload_server(peer_id)
    with _opened(file) as stream:
        answer = client.upload(address, "photo", _file_name(file), stream, file.attachment.mime)
    photo = answer["photo"].text_or("")
    if photo in ("", "[]"):
        raise Rejected("file_refused", "photo upload answered with no photo")
    saved = client.photos_save_messages_photo(photo, answer["server"].integer(), answer["hash"].text())
    return attachment_word("photo", saved)


def _upload_document(client: Client, peer_id: str, file: OutFile, kind: str) -> str:
    address = client.docs_get_messages_upload_server(peer_id, kind)
    with _opened(file) as stream:
        answer = client.upload(address, "file", _file_name(file), stream, file.attachment.mime)
    if "file" not in answer:
        raise Rejected("file_refused", f"document upload answered {answer['error'].text_or('nothing')[:60]}")
    saved = client.docs_save(answer["file"].text(), _file_name(file))
    return attachment_word("doc", saved[saved["type"].text()])


def attachment_word(kind: str, thing: Reader) -> str:
    """Return `<type><owner>_<id>[_<access_key>]`.

    Source: vk.md 2.2, the parameter `attachment`.
    """
    key = thing["access_key"].text_or("")
    return f"{kind}{_ids(thing)}" + (f"_{key}" if key else "")


def words_of(message: Reader) -> list[str]:
    """Return the attachments of a message of ours as words, to be repeated in an edit.

    Source: vk.md 2.4, `messages.edit`: attachments not repeated are removed; 2.5: voice and graffiti are attached as `doc`.
    """
    found = []
    for item in message["attachments"].items():
        kind = item["type"].text()
        if "id" in item[kind] and kind != "link":
            found.append(attachment_word("doc" if kind in ("audio_message", "graffiti") else kind, item[kind]))
    return found


def _opened(file: OutFile) -> BinaryIO:
    if file.open is None:
        raise Rejected("unsupported_attachment", file.attachment.kind.value)
    return file.open()


def _file_name(file: OutFile) -> str:
    attachment = file.attachment
    # VK judges documents by their extension (vk.md 2.5)
    return attachment.name or attachment.kind.value + (mimetypes.guess_extension(attachment.mime) or "")
