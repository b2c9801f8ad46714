"""Photos, documents and voice: VK's objects for them, and the upload in three steps (vk.md 2.5, 3.2)."""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.sandbox import samples
from tests.sandbox.files import StoredFile
from tests.sandbox.frame import BadControl, json_answer
from tests.sandbox.vk.api import Call, method
from tests.sandbox.vk.rules import VkError
from tests.sandbox.vk.state import Community, Json, Media

if TYPE_CHECKING:
    from tests.sandbox.vk.peer import VkPeer

PHOTO_BYTES = 50 * 1024 * 1024
DOC_BYTES = 200 * 1024 * 1024
UPLOAD_LIVES_S = 3600.0
# Documented are `photo` and `file`; vk_api sends file0, which VK takes too.
PHOTO_FIELD = re.compile(r"^(photo|file\d+)$")
DOC_FIELD = re.compile(r"^file\d*$")
DOC_TYPES = {
    "txt": 1,
    "pdf": 1,
    "docx": 1,
    "xlsx": 1,
    "zip": 2,
    "gif": 3,
    "png": 4,
    "jpg": 4,
    "jpeg": 4,
    "ogg": 5,
    "mp4": 6,
}
FORBIDDEN_EXT = {"exe", "mp3", "bat", "msi", "apk"}
SAMPLE_SIZES = (("s", 75, 56), ("m", 130, 98), ("w", 1280, 960), ("x", 604, 453))


@dataclass(slots=True)
class Upload:
    """An upload address that was given out; `stored` is set when the file has come."""

    group_id: int
    kind: str
    until: float
    stored: StoredFile | None = None
    proof: str = ""


class MediaRoom:
    """Makes VK's media objects; files are served from the twin itself."""

    def __init__(self, peer: VkPeer) -> None:
        self._peer = peer
        self.uploads: dict[str, Upload] = {}

    def url(self, stored: StoredFile) -> str:
        """Return the address of a file."""
        return self._peer.base_url + stored.path

    def put(self, name: str, content: bytes, content_type: str = "") -> StoredFile:
        """Keep a file."""
        kind = content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return self._peer.files.put(name, kind, content)

    def _head(self, owner_id: int) -> Json:
        number = next(self._peer.world.media_ids)
        return {"id": number, "owner_id": owner_id, "date": int(self._peer.now()), "access_key": secrets.token_hex(9)}

    def photo(self, owner_id: int, stored: StoredFile | None = None) -> Json:
        """Make a photo; without a file a sample in several real sizes, deliberately not in the order of size."""
        head = self._head(owner_id)
        sizes: list[Json] = []
        if stored is None:
            for kind, width, height in SAMPLE_SIZES:
                one = self.put(f"photo_{kind}.png", samples.png(width, height, head["id"]), "image/png")
                sizes.append({"type": kind, "width": width, "height": height, "url": self.url(one)})
        else:
            width, height = samples.image_size(stored.content) or (0, 0)
            sizes.append({"type": "x", "width": width, "height": height, "url": self.url(stored)})
        largest = max(sizes, key=lambda size: size["width"])
        body = head | {"album_id": -64, "text": "", "has_tags": False, "sizes": sizes}
        if stored is None or owner_id > 0:
            body["orig_photo"] = {**largest, "type": "base"}
        return {"type": "photo", "photo": body}

    def doc(self, owner_id: int, stored: StoredFile, title: str = "") -> Json:
        """Make a document."""
        title = title or stored.name
        ext = title.rpartition(".")[2].lower() if "." in title else ""
        body = {"title": title, "size": len(stored.content), "ext": ext, "type": DOC_TYPES.get(ext, 8)}
        return {"type": "doc", "doc": self._head(owner_id) | body | {"url": self.url(stored)}}

    def voice(self, owner_id: int, stored: StoredFile, seconds: int) -> Json:
        """Make a voice message."""
        mp3 = self.put("voice.mp3", samples.mp3(1), "audio/mpeg")
        head = self._head(owner_id)
        head.pop("date")
        body = {"duration": seconds, "waveform": [(i * 7) % 31 for i in range(64)], "link_ogg": self.url(stored)}
        return {"type": "audio_message", "audio_message": head | body | {"link_mp3": self.url(mp3)}}

    def graffiti(self, owner_id: int, stored: StoredFile) -> Json:
        """Make a graffiti."""
        head = self._head(owner_id)
        head.pop("date")
        width, height = samples.image_size(stored.content) or (600, 400)
        body = {"url": self.url(stored), "width": width, "height": height}
        return {"type": "graffiti", "graffiti": head | body}

    def file_of(self, wanted: Json, name: str, sample: bytes) -> StoredFile:
        """Take the file of a control attachment: `file` (key in the store), `content_b64`, or the sample."""
        if "file" in wanted:
            stored = self._peer.files.get(str(wanted["file"]))
            if stored is None:
                raise BadControl(f"no file {wanted['file']}")
            return stored
        name = str(wanted.get("name", name))
        content = base64.b64decode(wanted["content_b64"]) if "content_b64" in wanted else sample
        return self.put(name, content, str(wanted.get("content_type", "")))

    # -- step two of an upload ---------------------------------------------------------------------------------------

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Take a file at an upload address: field `photo` or `file`, anything else is refused as VK does."""
        upload = self.uploads.get(request.match_info["key"])
        if upload is None or self._peer.now() > upload.until or request.content_type != "multipart/form-data":
            return json_answer({"error": "no_file", "error_descr": "upload address is wrong or expired"})
        form = await request.post()
        wanted = PHOTO_FIELD if upload.kind == "photo" else DOC_FIELD
        field = next((value for name, value in form.items() if wanted.match(name)), None)
        content = field.file.read() if isinstance(field, web.FileField) else b""
        name = field.filename if isinstance(field, web.FileField) else ""
        self._peer.ledger.add("upload", account=str(upload.group_id), media=upload.kind, name=name, size=len(content))
        if upload.kind == "photo":
            return json_answer(self._photo_taken(upload, name, content))
        return json_answer(self._doc_taken(request.match_info["key"], upload, name, content))

    def _photo_taken(self, upload: Upload, name: str, content: bytes) -> Json:
        size = samples.image_size(content)
        is_good = size and len(content) <= PHOTO_BYTES and sum(size) <= 14000 and max(size) <= 20 * min(size)
        upload.proof = hashlib.sha256(content).hexdigest()[:32]
        if not is_good:
            return {"server": 854020, "photo": "[]", "hash": upload.proof}
        upload.stored = self.put(name or "photo.png", content)
        photo = json.dumps([{"photo": upload.proof, "sizes": [], "kid": secrets.token_hex(8)}])
        return {"server": 854020, "photo": photo, "hash": upload.proof}

    def _doc_taken(self, key: str, upload: Upload, name: str, content: bytes) -> Json:
        ext = name.rpartition(".")[2].lower()
        if not content or len(content) > DOC_BYTES or (ext in FORBIDDEN_EXT and upload.kind == "doc"):
            return {"error": "no_file", "error_descr": "file is empty, too big or of a forbidden type"}
        if upload.kind == "audio_message" and not content.startswith(b"OggS"):
            return {"error": "unknown error", "error_descr": "audio message must be Ogg Opus"}
        upload.stored = self.put(name, content)
        return {"file": f"{upload.group_id}|0|-1|{key}|{ext}|{len(content)}|{name}"}


def _open_upload(call: Call, kind: str) -> str:
    """Give out an address. A named peer must be one that may be written to."""
    peer_id = call.integer("peer_id", 0)
    if peer_id and peer_id not in call.peer.world.users and peer_id not in call.community.dialogs:
        raise VkError(901)
    key = secrets.token_hex(16)
    call.peer.media.uploads[key] = Upload(call.community.id, kind, call.peer.now() + UPLOAD_LIVES_S)
    return f"{call.peer.base_url}/upload/{key}"


@method("photos.getMessagesUploadServer", "photos")
def photo_server(call: Call) -> Json:
    """Step one for a photo."""
    return {"upload_url": _open_upload(call, "photo"), "album_id": -64, "user_id": 0, "group_id": call.community.id}


@method("photos.saveMessagesPhoto", "photos")
def save_photo(call: Call) -> list[Json]:
    """Step three for a photo."""
    photo, proof = call.text("photo", required=True), call.text("hash", required=True)
    if call.integer("server") != 854020:
        raise VkError(118)
    if photo == "[]":
        raise VkError(100, "photos_list is invalid")
    uploads = call.peer.media.uploads.values()
    upload = next((one for one in uploads if one.proof == proof and one.stored and one.kind == "photo"), None)
    if upload is None or upload.stored is None or upload.group_id != call.community.id or proof not in photo:
        raise VkError(121)
    attachment = call.peer.media.photo(-call.community.id, upload.stored)
    upload.stored = None
    return [_keep(call.community, "photo", attachment)["photo"]]


@method("docs.getMessagesUploadServer", "docs")
def doc_server(call: Call) -> Json:
    """Step one for a document, voice message or graffiti."""
    kind = call.text("type", "doc")
    if kind not in {"doc", "audio_message", "graffiti"}:
        raise VkError(100, "type is invalid")
    call.integer("peer_id")
    return {"upload_url": _open_upload(call, kind)}


@method("docs.save", "docs")
def save_doc(call: Call) -> Json:
    """Step three for a document, voice message or graffiti: all are attached as doc<owner>_<id>."""
    parts = call.text("file", required=True).split("|")
    upload = call.peer.media.uploads.get(parts[3]) if len(parts) > 3 else None
    if upload is None or upload.stored is None or upload.group_id != call.community.id or upload.kind == "photo":
        raise VkError(105)
    media, owner_id = call.peer.media, -call.community.id
    makers: dict[str, Any] = {
        "doc": lambda stored: media.doc(owner_id, stored, call.text("title")),
        "audio_message": lambda stored: media.voice(owner_id, stored, max(1, stored.content.count(b"OggS") - 2)),
        "graffiti": lambda stored: media.graffiti(owner_id, stored),
    }
    attachment = makers[upload.kind](upload.stored)
    upload.stored = None
    return _keep(call.community, "doc", attachment)


def _keep(community: Community, kind: str, attachment: Json) -> Json:
    """Make it attachable as <kind><owner>_<id>_<key>."""
    body = attachment[attachment["type"]]
    community.media[(kind, body["owner_id"], body["id"])] = Media(
        kind, body["owner_id"], body["id"], body["access_key"], attachment
    )
    return attachment
