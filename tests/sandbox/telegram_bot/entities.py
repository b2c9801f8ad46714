"""Formatting: parse_mode HTML and MarkdownV2 into plain text with entities, offsets in UTF-16 units (telegram.md A4).

The common marks are known: bold, italic, underline, strikethrough, spoiler, code, pre, links, quotes. The texts of the
refusals are those well known from the service.
"""

from __future__ import annotations

import html
import re
from typing import Any

from tests.sandbox.telegram_bot.errors import ApiError, bad

Entity = dict[str, Any]
TEXT_UNITS = 4096
CAPTION_UNITS = 1024
HTML_TAGS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "code": "code",
    "pre": "pre",
    "a": "text_link",
    "blockquote": "blockquote",
}
TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)((?:\s+[^<>]*)?)>")
ATTRIBUTE = re.compile(r"([a-zA-Z-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|(\S+))")
MARKS = {
    "*": "bold",
    "_": "italic",
    "__": "underline",
    "~": "strikethrough",
    "||": "spoiler",
    "`": "code",
    "```": "pre",
}
MARK_NAMES = {"text_link": "TextUrl", "strikethrough": "Strikethrough"}
RESERVED = set("_*[]()~`>#+-=|{}.!")
LINKS = (
    ("bot_command", re.compile(r"(?<![\w/])/[A-Za-z0-9_]{1,32}(?:@\w{3,32})?")),
    ("url", re.compile(r"https?://[^\s<>\"]+")),
    ("email", re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}")),
    ("mention", re.compile(r"(?<![\w@])@[A-Za-z][A-Za-z0-9_]{4,31}(?![\w.])")),
)


def units(text: str) -> int:
    """Count UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cannot_parse(why: str) -> ApiError:
    """Refuse formatting."""
    return bad(f"can't parse entities: {why}")


def format_text(text: str, parse_mode: str, entities: list[Any] | None) -> tuple[str, list[Entity]]:
    """Return the plain text with its entities. Raises: ApiError 400 for broken formatting."""
    mode = parse_mode.lower()
    if mode == "html":
        return trimmed(*parse_html(text))
    if mode == "markdownv2":
        return trimmed(*parse_markdown(text))
    if mode not in {"", "none", "markdown"}:
        raise bad("Unsupported parse_mode")
    return trimmed(text, [checked(entity, text) for entity in entities or []])


def checked(entity: object, text: str) -> Entity:
    """Check one entity given by the caller."""
    if not isinstance(entity, dict) or not isinstance(entity.get("type"), str):
        raise bad("Can't parse MessageEntity: Expected an Object")
    offset, length = entity.get("offset"), entity.get("length")
    if not isinstance(offset, int) or not isinstance(length, int):
        raise bad("Can't parse MessageEntity: Field must be a Number")
    if offset < 0 or length <= 0 or offset + length > units(text):
        raise bad("ENTITY_BOUNDS_INVALID")
    return entity


def trimmed(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    """Drop white space around, as the service does, and move the entities with it."""
    cut = units(text) - units(text.lstrip())
    plain = text.strip()
    moved = []
    for entity in entities:
        start = max(entity["offset"] - cut, 0)
        end = min(entity["offset"] + entity["length"] - cut, units(plain))
        if end > start:
            moved.append({**entity, "offset": start, "length": end - start})
    moved.sort(key=lambda entity: (entity["offset"], -entity["length"]))
    return plain, moved


def found_in(text: str) -> list[Entity]:
    """Find what the service marks by itself: commands, links, addresses, mentions."""
    found: list[Entity] = []
    for kind, pattern in LINKS:
        for match in pattern.finditer(text):
            start, length = units(text[: match.start()]), units(match.group())
            if not any(e["offset"] < start + length and start < e["offset"] + e["length"] for e in found):
                found.append({"type": kind, "offset": start, "length": length})
    return sorted(found, key=lambda entity: int(entity["offset"]))


# -- HTML ------------------------------------------------------------------------------------------------------------


def parse_html(source: str) -> tuple[str, list[Entity]]:
    """Parse the HTML style."""
    out, entities = "", []
    opened: list[tuple[str, int, dict[str, str]]] = []
    place = 0
    while place < len(source):
        if source[place] != "<":
            end = source.find("<", place)
            end = len(source) if end < 0 else end
            out += html.unescape(source[place:end])
            place = end
            continue
        match = TAG.match(source, place)
        at = len(source[:place].encode())
        if not match or match.group(2).lower() not in HTML_TAGS:
            raise _bad_tag(source, place, at)
        place, name = match.end(), match.group(2).lower()
        if not match.group(1):
            opened.append((name, units(out), _attributes(match.group(3))))
            continue
        if not opened:
            raise cannot_parse(f"Unexpected end tag at byte offset {at}")
        started, offset, attributes = opened.pop()
        if started != name:
            raise cannot_parse(f'Unmatched end tag at byte offset {at}, expected "</{started}>", found "</{name}>"')
        if units(out) > offset:
            entities.append(_html_entity(name, offset, units(out) - offset, attributes))
    if opened:
        raise cannot_parse(f'Can\'t find end tag corresponding to start tag "{opened[-1][0]}"')
    return out, [entity for entity in entities if entity]


def _bad_tag(source: str, place: int, at: int) -> ApiError:
    name = re.match(r"</?([^\s<>/]*)", source[place:])
    if source.find(">", place) < 0:
        return cannot_parse(f"Unclosed start tag at byte offset {at}")
    return cannot_parse(f'Unsupported start tag "{name.group(1).lower() if name else ""}" at byte offset {at}')


def _attributes(text: str) -> dict[str, str]:
    return {name.lower(): html.unescape(a or b or c) for name, a, b, c in ATTRIBUTE.findall(text)}


def _html_entity(name: str, offset: int, length: int, attributes: dict[str, str]) -> Entity:
    entity: Entity = {"type": HTML_TAGS[name], "offset": offset, "length": length}
    if name == "a":
        return {**entity, "url": attributes["href"]} if attributes.get("href") else {}
    return entity


# -- MarkdownV2 ------------------------------------------------------------------------------------------------------


def parse_markdown(source: str) -> tuple[str, list[Entity]]:
    """Parse the MarkdownV2 style."""
    out, entities = "", []
    opened: list[tuple[str, int, int]] = []
    place = 0
    while place < len(source):
        at = len(source[:place].encode())
        mark = _mark_at(source, place, opened)
        if source[place] == "\\" and place + 1 < len(source) and ord(source[place + 1]) < 127:
            out, place = out + source[place + 1], place + 2
        elif mark == "[":
            opened.append(("[", units(out), at))
            place += 1
        elif mark == "]":
            url, place = _link_target(source, place)
            _, offset, _ = opened.pop()
            entities.append({"type": "text_link", "offset": offset, "length": units(out) - offset, "url": url})
        elif mark:
            place += len(mark)
            if opened and opened[-1][0] == mark:
                _, offset, _ = opened.pop()
                if units(out) > offset:
                    entities.append({"type": MARKS[mark], "offset": offset, "length": units(out) - offset})
            else:
                opened.append((mark, units(out), at))
        elif source[place] in RESERVED and not _inside_code(opened):
            raise cannot_parse(f"Character '{source[place]}' is reserved and must be escaped with the preceding '\\'")
        else:
            out, place = out + source[place], place + 1
    if opened:
        kind = "text_link" if opened[-1][0] == "[" else MARKS[opened[-1][0]]
        raise cannot_parse(
            f"Can't find end of {MARK_NAMES.get(kind, kind.capitalize())} entity at byte offset {opened[-1][2]}"
        )
    return out, entities


def _inside_code(opened: list[tuple[str, int, int]]) -> bool:
    return bool(opened) and opened[-1][0] in {"`", "```"}


def _mark_at(source: str, place: int, opened: list[tuple[str, int, int]]) -> str:
    if _inside_code(opened):
        return opened[-1][0] if source.startswith(opened[-1][0], place) else ""
    for mark in ("```", "||", "__", "*", "_", "~", "`", "["):
        if source.startswith(mark, place):
            return mark
    return "]" if source[place] == "]" and opened and opened[-1][0] == "[" else ""


def _link_target(source: str, place: int) -> tuple[str, int]:
    """Read (url) after the closing bracket."""
    end = source.find(")", place)
    if not source.startswith("](", place) or end < 0:
        raise cannot_parse(f"Can't find end of a URL at byte offset {len(source[:place].encode())}")
    return re.sub(r"\\(.)", r"\1", source[place + 2 : end]), end + 1
