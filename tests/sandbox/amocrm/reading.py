"""Strict reading of what integrations send to the chats API: a wrong type or a missing field is a 400 (2.2, 9.12)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from tests.sandbox.amocrm.problems import bad_data
from tests.sandbox.amocrm.state import Json

KINDS = ("text", "contact", "file", "video", "picture", "voice", "audio", "sticker", "location")
MEDIA_KINDS = ("file", "video", "picture", "voice", "audio", "sticker")
NAMED_KINDS = ("file", "video", "picture")  # file_name and file_size are required (2.6)
TEXT_LIMIT = 20_000  # not published (6); a bound so that over-long texts are seen
SOURCE_LIMIT = 40
ID_LIMIT = 255  # not published


class Reader:
    """Typed access to one object; `where` is its path for the error text."""

    def __init__(self, raw: object, where: str = "") -> None:
        if not isinstance(raw, Mapping):
            raise bad_data(f"{where or 'body'} must be an object")
        self.raw: Mapping[str, object] = raw
        self._where = f"{where}." if where else ""

    def has(self, name: str) -> bool:
        """Tell whether a value is there; null counts as absent."""
        return self.raw.get(name) is not None

    def text(self, name: str, *, limit: int = TEXT_LIMIT) -> str:
        """Read an optional string."""
        value = self.raw.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise bad_data(f"{self._where}{name} must be a string")
        if len(value) > limit:
            raise bad_data(f"{self._where}{name} is longer than {limit}")
        return value

    def need_text(self, name: str, *, limit: int = ID_LIMIT) -> str:
        """Read a string that must not be empty."""
        if not (value := self.text(name, limit=limit)):
            raise bad_data(f"{self._where}{name} is required")
        return value

    def number(self, name: str, default: int | None = None) -> int:
        """Read an integer; a string of digits is not one."""
        value = self.raw.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise bad_data(f"{self._where}{name} must be an integer")
        return value

    def decimal(self, name: str) -> float:
        """Read a coordinate."""
        value = self.raw.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise bad_data(f"{self._where}{name} must be a number")
        return float(value)

    def flag(self, name: str) -> bool:
        """Read an optional bool."""
        value = self.raw.get(name, False)
        if not isinstance(value, bool):
            raise bad_data(f"{self._where}{name} must be a boolean")
        return value

    def link(self, name: str) -> str:
        """Read an optional address."""
        value = self.text(name, limit=2048)
        if value and urlsplit(value).scheme not in ("http", "https"):
            raise bad_data(f"{self._where}{name} must be a URL")
        return value

    def inside(self, name: str) -> Reader:
        """Read a required object."""
        return Reader(self.raw.get(name), f"{self._where}{name}")

    def maybe(self, name: str) -> Reader | None:
        """Read an optional object."""
        return self.inside(name) if self.has(name) else None


def participant(raw: Reader) -> Json:
    """Read a sender, receiver or user: id and name are required (2.5, 2.6)."""
    profile = raw.maybe("profile")
    return {
        "client_id": raw.need_text("id"),
        "name": raw.need_text("name"),
        "ref_id": raw.text("ref_id"),
        "avatar": raw.link("avatar"),
        "profile_link": raw.link("profile_link"),
        "phone": profile.text("phone") if profile else "",
        "email": profile.text("email") if profile else "",
    }


def source(raw: Reader | None) -> str:
    """Read source.external_id: up to 40 printable ASCII characters."""
    if raw is None:
        return ""
    value = raw.text("external_id", limit=SOURCE_LIMIT)
    if not all(" " <= letter <= "~" for letter in value):
        raise bad_data("source.external_id must be printable ASCII")
    return value


def content(raw: Reader) -> Json:
    """Read payload.message: what each type needs is there, with its type (2.6)."""
    kind = raw.need_text("type")
    if kind not in KINDS:
        raise bad_data(f"message.type {kind} is not known")
    found: Json = {"type": kind, "text": raw.text("text")}
    if kind == "text" and not found["text"]:
        raise bad_data("message.text is required")
    if kind in MEDIA_KINDS:
        found |= _media(raw, kind)
    if kind == "location":
        place = raw.inside("location")
        found["location"] = {"lon": place.decimal("lon"), "lat": place.decimal("lat")}
    if kind == "contact":
        card = raw.inside("contact")
        found["contact"] = {"name": card.need_text("name"), "phone": card.need_text("phone")}
    for name in ("shared_post", "post"):
        if (part := raw.maybe(name)) is not None:
            found[name] = {key: part.text(key) for key in part.raw}
            part.need_text("url", limit=2048)
    if raw.has("callback_data"):
        found["callback_data"] = raw.text("callback_data")
    return found


def _media(raw: Reader, kind: str) -> Json:
    if not raw.has("media"):
        raise bad_data("message.media is required")
    found: Json = {"media": raw.link("media")}
    if kind in NAMED_KINDS:
        found["file_name"] = raw.need_text("file_name")
        found["file_size"] = raw.number("file_size")
    else:
        found["file_name"] = raw.text("file_name")
        found["file_size"] = raw.number("file_size", 0)
    if raw.has("media_duration"):
        found["media_duration"] = raw.number("media_duration")
    if raw.has("sticker_id"):
        found["sticker_id"] = raw.text("sticker_id")
    return found


def embedded(raw: Reader) -> Json:
    """Read a quoted or forwarded message: an id alone is enough, otherwise type, times and sender (2.6)."""
    found = {"id": raw.text("id"), "msgid": raw.text("msgid")}
    if found["id"] or found["msgid"]:
        return found
    author = raw.inside("sender")
    names = {name: author.text(name) for name in ("id", "ref_id", "name")}
    if not any(names.values()):
        raise bad_data("the sender of an embedded message needs id, ref_id or name")
    times = {name: raw.number(name) for name in ("timestamp", "msec_timestamp")}
    kind = raw.need_text("type")
    if kind not in KINDS:
        raise bad_data(f"the type {kind} of an embedded message is not known")
    return {"type": kind, "text": raw.text("text"), **times, "sender": names}
