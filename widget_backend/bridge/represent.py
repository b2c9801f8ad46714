"""Represent: what a message becomes at an end - parts within its limits, and words for what it cannot show. Nothing is dropped in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from widget_backend import texts
from widget_backend.bridge.ends import Capabilities
from widget_backend.bridge.events import Attachment, Kind


@dataclass(frozen=True, slots=True)
class Thing:
    """An attachment with its number in the message and, when its file is stored, its true size and type.

    Shape: `url` is our signed link, `note` a sentence about a file that is not there: on its way (then with the link), or not to be had.
    """

    number: int
    attachment: Attachment
    is_stored: bool = False
    url: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class PartContent:
    """One part: its text and the numbers of the attachments that go with it (with the kind they go as)."""

    text: str
    things: tuple[tuple[int, Kind], ...] = ()


def parts(
    text: str,
    things: Sequence[Thing],
    facts: Capabilities,
    *,
    locale: str,
    quote_text: str = "",
    quote_author: str = "",
) -> list[PartContent]:
    """Cut a message into parts that the end takes.

    Shape: at least one part. Quotes that the end cannot link and things that it cannot show stand in the text, as words or links.
    """
    native: list[tuple[Thing, Kind]] = []
    words: list[str] = []
    if quote_text or quote_author:
        words.append(_quoted(quote_text, quote_author, locale))
    if text:
        words.append(text)
    for thing in things:
        kind = _goes_as(thing, facts)
        if kind is None:
            words.append(in_words(thing, locale))
        else:
            native.append((thing, kind))
    groups = _grouped(native, facts)
    return _laid_out("\n".join(word for word in words if word), groups, facts) or [PartContent("")]


def in_words(thing: Thing, locale: str) -> str:
    """Describe an attachment that the end cannot show: what it is, its facts, where to see it."""
    a = thing.attachment
    label = texts.text(f"represent.{a.kind.value}", locale)
    facts = [fact for fact in (a.title or a.name, a.text) if fact]
    if a.kind is Kind.LOCATION and a.latitude is not None and a.longitude is not None:
        facts.append(f"https://maps.google.com/?q={a.latitude:.6f},{a.longitude:.6f}")
    if a.phone:
        facts.append(a.phone)
    link = a.link or thing.url if thing.is_stored else thing.url or a.link
    if thing.note:
        facts.append(thing.note)
    elif a.has_file and not thing.is_stored and not thing.url:
        facts.append(texts.text("represent.file_missing", locale))
    if link:
        facts.append(link)
    return f"[{label}] {' '.join(facts)}".strip()


def _quoted(text: str, author: str, locale: str) -> str:
    short = text if len(text) <= 200 else text[:199] + "…"
    lines = [f"> {line}" for line in short.splitlines() or [""]]
    head = f"> {author}:" if author else f"> {texts.text('represent.quote', locale)}:"
    return "\n".join([head, *lines])


def _goes_as(thing: Thing, facts: Capabilities) -> Kind | None:
    """Return the kind as which the end takes a thing, None when it must be told in words."""
    kind = thing.attachment.kind
    if kind in facts.native:
        return kind
    if not thing.is_stored:
        return None
    for candidate in (kind, Kind.DOCUMENT):
        rule = facts.files.get(candidate)
        if rule is None:
            continue
        fits = thing.attachment.size_bytes is None or thing.attachment.size_bytes <= rule.max_bytes
        if fits and (not rule.types or thing.attachment.mime in rule.types):
            return candidate
    return None


def _grouped(native: Sequence[tuple[Thing, Kind]], facts: Capabilities) -> list[list[tuple[Thing, Kind]]]:
    """Join neighbours that may share a part, in the order of the message."""
    groups: list[list[tuple[Thing, Kind]]] = []
    for thing, kind in native:
        last = groups[-1] if groups else None
        if last and len(last) < facts.attachments_per_part and _may_share(last, kind, facts):
            last.append((thing, kind))
        else:
            groups.append([(thing, kind)])
    return groups


def _may_share(group: Sequence[tuple[Thing, Kind]], kind: Kind, facts: Capabilities) -> bool:
    return any(kind in together and all(k in together for _, k in group) for together in facts.together)


def _laid_out(text: str, groups: Sequence[Sequence[tuple[Thing, Kind]]], facts: Capabilities) -> list[PartContent]:
    """Put the text beside the first attachments when it fits there, else before them."""
    caption = facts.text_limit if facts.caption_limit is None else facts.caption_limit
    numbered = [tuple((thing.number, kind) for thing, kind in group) for group in groups]
    if numbered and length(text) <= caption and groups[0][0][1] not in _CAPTIONLESS:
        return [PartContent(text, numbered[0]), *(PartContent("", things) for things in numbered[1:])]
    pieces = [PartContent(piece) for piece in split_text(text, facts.text_limit)] if text else []
    return [*pieces, *(PartContent("", things) for things in numbered)]


_CAPTIONLESS = frozenset({Kind.STICKER, Kind.LOCATION, Kind.CONTACT, Kind.ROUND_VIDEO})


def length(text: str) -> int:
    """Count a text as the strictest networks do: in UTF-16 units."""
    return len(text) + sum(1 for char in text if ord(char) > 0xFFFF)


def split_text(text: str, limit: int) -> list[str]:
    """Cut a long text at line ends or spaces, never inside a character; nothing is lost but the white space at a cut."""
    pieces: list[str] = []
    rest = text
    while length(rest) > limit:
        window = _window(rest, limit)
        cut = max(window.rfind("\n"), window.rfind(" "))
        cut = cut if cut > limit // 2 else len(window)
        pieces.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*pieces, rest] if rest or not pieces else pieces


def _window(text: str, limit: int) -> str:
    window = text[:limit]
    while length(window) > limit:
        window = window[: len(window) - max(1, (length(window) - limit) // 2)]
    return window


def thing_of(stored: dict[str, Any], attachment: Attachment, *, file: Any, url: str, note: str = "") -> Thing:
    """Join an attachment as told with its file as stored, or on its way (None: it has no file)."""
    if file is None:
        return Thing(int(stored["no"]), attachment)
    if file.state != "stored":
        return Thing(int(stored["no"]), replace(attachment, handle="?"), url=url, note=note)
    facts = replace(
        attachment,
        size_bytes=file.size_bytes,
        mime=file.mime or attachment.mime,
        name=attachment.name or file.name,
        handle="?",
    )
    return Thing(int(stored["no"]), facts, is_stored=True, url=url)
