"""Messages to and fro: our items as the chats API wants them, its buttons as text, and the words of notes, names and tags."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from widget_backend import texts
from widget_backend.bridge.ends import Conversation, Item, OutFile
from widget_backend.bridge.events import Direction, Kind, Place
from widget_backend.reading import Malformed, Reader

Json = dict[str, object]

_TYPES = {
    Kind.PHOTO: "picture",
    Kind.VIDEO: "video",
    Kind.ROUND_VIDEO: "video",
    Kind.ANIMATION: "video",
    Kind.AUDIO: "audio",
    Kind.VOICE: "voice",
    Kind.STICKER: "sticker",
    Kind.DOCUMENT: "file",
}
_NAMED = frozenset({"file", "video", "picture"})
_MARK = re.compile(r"%([A-Z]+)%")
_NAME_LIMIT = 250
CLOCKS = timedelta(seconds=30)
"""How far amoCRM's clock and ours may differ."""


def message(item: Item) -> Json:
    """Write a part as `message`. A speaker of a group stands in the text: there is one participant only.

    Source: amocrm.md 2.6, 2.8 "Group chats".
    """
    text = item.text
    if item.conversation.place is Place.GROUP and item.direction is Direction.IN and item.author:
        text = f"{item.author}: {text}" if text else item.author
    if not item.files:
        return {"type": "text", "text": text}
    return {**_thing(item.files[0]), "text": text}


def _thing(file: OutFile) -> Json:
    about = file.attachment
    if about.kind is Kind.LOCATION:
        return {"type": "location", "location": {"lon": about.longitude or 0.0, "lat": about.latitude or 0.0}}
    if about.kind is Kind.CONTACT:
        return {"type": "contact", "contact": {"name": about.title or about.name or about.phone, "phone": about.phone}}
    kind = _TYPES.get(about.kind, "file")
    said: Json = {"type": kind, "media": file.url}
    if kind in _NAMED or about.name:
        said |= {"file_name": about.name or kind, "file_size": about.size_bytes or 0}
    if about.duration_s:
        said["media_duration"] = about.duration_s
    if kind == "sticker":
        said["sticker_id"] = about.handle or about.name or "sticker"
    return said


def times(sent_at: datetime) -> Json:
    """Write a moment twice, as both fields want it. Source: amocrm.md 2.6. Units: s, ms."""
    milliseconds = int(sent_at.astimezone(UTC).timestamp() * 1000)
    return {"timestamp": milliseconds // 1000, "msec_timestamp": milliseconds}


def client(conversation: Conversation, ref_id: str = "") -> Json:
    """Write the client of a conversation as a participant; a group is one, named by its title. `ref_id`: what amoCRM called him when it began the dialog.

    Source: amocrm.md 2.6 "Participant", 2.9.
    """
    person = conversation.client.person
    said: Json = {"id": participant_id(conversation), "name": name_of(conversation)}
    if conversation.place is not Place.GROUP:
        profile = {name: value for name, value in (("phone", person.phone), ("email", person.email)) if value}
        if profile:
            said["profile"] = profile
        said |= {
            name: url
            for name, url in (("avatar", person.photo_url), ("profile_link", person.profile_url))
            if url.startswith(("http://", "https://"))
        }
    return {**said, "ref_id": ref_id} if ref_id else said


def participant_id(conversation: Conversation) -> str:
    """Return our id of the participant: the client, or the group itself."""
    return f"group:{conversation.id}" if conversation.place is Place.GROUP else conversation.client.id


def name_of(conversation: Conversation) -> str:
    """Return what the participant is called."""
    person = conversation.client.person
    title = conversation.title if conversation.place is Place.GROUP else ""
    return (title or person.name or person.username or person.phone or person.remote_id)[:_NAME_LIMIT]


def company(item: Item, bot_id: str) -> Json:
    """Write our own side as a participant: the channel's bot when amoCRM knows it. Source: amocrm.md 2.6 "Direction"."""
    said: Json = {"id": "company", "name": item.author or item.conversation.channel_title or "Mostik"}
    return {**said, "ref_id": bot_id} if bot_id else said


def manager(item: Item, ref_id: str) -> Json:
    """Write an employee of the account as a participant. Source: amocrm.md 2.6 "Direction", 2.3."""
    return {"id": ref_id, "name": item.author or "Mostik", "ref_id": ref_id}


def quoted_in_words(item: Item) -> str:
    """Return the text of a part with what it answers above it, for channels where quotes were not switched on."""
    if item.quote is None or not (item.quote.text or item.quote.author):
        return item.text
    lines = [f"> {line}" for line in (item.quote.text or "…").splitlines()[:5]]
    return "\n".join([*([f"> {item.quote.author}:"] if item.quote.author else []), *lines, item.text])


def note(item: Item, locale: str) -> str:
    """Write a part as the text of a note in a deal: who, from where, what, and links to files."""
    who = (
        name_of(item.conversation) if item.direction is Direction.IN else item.author or item.conversation.channel_title
    )
    arrow = "←" if item.direction is Direction.IN else "→"
    lines = [f"{arrow} {who}", quoted_in_words(item)]
    for file in item.files:
        label = texts.text(f"represent.{file.attachment.kind.value}", locale)
        lines.append(f"[{label}] {file.attachment.name} {file.url}".strip())
    return "\n".join(line for line in lines if line)


def filled(template: str, conversation: Conversation, locale: str) -> str:
    """Fill in the marks of a name or a tag; what is not known leaves nothing.

    Shape: DOMAIN the network's site, IDENTITY a phone or the network's own id, SOURCE the account written to, CHANNEL direct or comments.
    """
    person = conversation.client.person
    place = "comments" if conversation.place is Place.COMMENTS else "direct"
    known = {
        "DOMAIN": (urlsplit(person.profile_url).hostname or "").removeprefix("www."),
        "IDENTITY": person.phone or person.remote_id,
        "NAME": name_of(conversation),
        "USERNAME": person.username,
        "SOURCE": conversation.channel_title,
        "SOURCENAME": conversation.channel_title,
        "CHANNEL": texts.text(f"settings.amocrm.place_{place}", locale),
    }
    return _MARK.sub(lambda mark: known.get(mark.group(1), mark.group(0)), template).strip()[:_NAME_LIMIT]


def tags(template: str, conversation: Conversation, locale: str) -> list[Json]:
    """Return tags from a text with commas. Source: amocrm.md 3.4."""
    return [{"name": tag.strip()} for tag in filled(template, conversation, locale).split(",") if tag.strip()]


def with_buttons(text: str, markup: Reader) -> str:
    """Write buttons below a text, one a line: a network takes the words, a link keeps its address. Source: amocrm.md 4.1 (`markup`)."""
    lines = [text] if text else []
    try:
        for row in markup["buttons"].items():
            for button in row.items():
                label, url = button["text"].text_or(""), button["url"].text_or("")
                lines.append(f"{label}: {url}" if url else f"• {label}")
    except Malformed:
        return text
    return "\n".join(lines)
