"""Markup to and fro: BB codes of a Bitrix24 chat on one side, plain text on the other, and the invisible mark of what we wrote ourselves.

The mark: a message that we show as the company's own comes back as an operator's message (bitrix24.md 4 "Loop hazard"), and neither the answer to
our call nor the event carries an id that both know. So its text ends with zero-width characters that hold our key and the moment of the call.
The moment matters: an operator who copies such a text later writes a message of his own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from uuid import UUID

FRESH = timedelta(minutes=10)
_DIGITS = "\u200b\u200c\u200d\u2060"
_EDGE = "\u2063"
_MARK_BYTES = 21
_MARK = re.compile(f"{_EDGE}([{_DIGITS}]{{{_MARK_BYTES * 4}}}){_EDGE}\\s*$")
_TRACES = re.compile(f"[{_DIGITS}{_EDGE}]{{6,}}")  # what is left of a mark inside a quote; emoji join with single ones

_OPENING = re.compile(r"\[(?=/?[a-zA-Z*])")
_SIGNATURE = re.compile(r"\s*\[b\](?P<name>[^\[\]\n]{1,120}):\[/b\]\s*\[br\]\s?", re.IGNORECASE)
_OUR_AUTHOR = re.compile(r"\[b\][^\[\]\n]{1,120}:\[/b\]\n")
_DASHED = re.compile(
    r"\s*-{20,}\n(?P<author>[^\n]*?)(?: \[[^\]\n]*\])?\n(?P<text>.*?)\n-{20,}(?:\n|$)(?P<rest>.*)", re.DOTALL
)
_QUOTED = re.compile(r"\s*\[quote\](?P<text>.*?)\[/quote\]\s*(?P<rest>.*)", re.DOTALL | re.IGNORECASE)
_CODE = re.compile(r"\[code\](.*?)\[/code\]", re.DOTALL | re.IGNORECASE)
_BREAK = re.compile(r" ?\[br\s*/?\] ?", re.IGNORECASE)
_LINK = re.compile(r"\[url=([^\]]+)\](.*?)\[/url\]", re.DOTALL | re.IGNORECASE)
_BARE = re.compile(r"\[(url|img)(?: [^\]]*)?\](.*?)\[/\1\]", re.DOTALL | re.IGNORECASE)
_ICON = re.compile(r"\[icon=[^\]]*?(?:title=([^\]]*?))?(?: size=\S*)?\]", re.IGNORECASE)
_POINT = re.compile(r"\n?\[\*\]")
_WRAPPER = re.compile(
    r"\[/?(?:b|i|u|s|p|user|chat|call|send|put|size|color|font|list|left|center|right|justify|quote|table|tr|td|th|context|timestamp|spoiler)"
    r"(?:=[^\]]*)?\]",
    re.IGNORECASE,
)
_NOT_A_LETTER = re.compile(r"[^\w\s'’-]|[\d_]")
_NAME_LIMIT = 25


class MarkKind(IntEnum):
    """MESSAGE: a message of the journal, EDIT: its newer text. NOTE: our own words to the operator, which nobody else may ever see."""

    MESSAGE = 1
    NOTE = 2
    EDIT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What the zero-width characters at the end of a text say."""

    kind: MarkKind
    key: str
    at: datetime

    def is_fresh(self, now: datetime) -> bool:
        """Tell whether a message seen now can be the echo of that call."""
        return abs(now - self.at) <= FRESH


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """An operator's text without its codes."""

    text: str
    author: str = ""
    quoted: str = ""
    quoted_author: str = ""
    mark: Mark | None = None


def to_chat(text: str) -> str:
    """Make a client's text harmless: what looks like a code is shown, not obeyed; line breaks stay."""
    return _OPENING.sub("[\u2060", _TRACES.sub("", text))


def quote_for_chat(text: str, author: str) -> str:
    """Show in words what a message answers. Source: bitrix24.md 9 (BB codes of chats)."""
    head = f"[b]{to_chat(author)}:[/b] " if author else ""
    return f"[quote]{head}{to_chat(text)}[/quote]\n"


def author_for_chat(author: str) -> str:
    """Say who of the company wrote elsewhere what stands under an employee's name here. Source: bitrix24.md 9."""
    return f"[b]{to_chat(' '.join(author.split()))[:100]}:[/b]\n" if author.strip() else ""


def write_mark(kind: MarkKind, key: str, at: datetime) -> str:
    """Return the invisible mark for a part key (an UUID) and the moment of the call."""
    packed = bytes((kind,)) + UUID(key).bytes + int(at.timestamp()).to_bytes(4, "big")
    digits = (_DIGITS[byte >> shift & 3] for byte in packed for shift in (6, 4, 2, 0))
    return _EDGE + "".join(digits) + _EDGE


def read_mark(text: str) -> Mark | None:
    """Return the mark a text ends with."""
    found = _MARK.search(text)
    if not found:
        return None
    values = [_DIGITS.index(digit) for digit in found[1]]
    packed = bytes(
        values[at] << 6 | values[at + 1] << 4 | values[at + 2] << 2 | values[at + 3] for at in range(0, len(values), 4)
    )
    if packed[0] not in set(MarkKind):
        return None
    at = datetime.fromtimestamp(int.from_bytes(packed[17:], "big"), UTC)
    return Mark(kind=MarkKind(packed[0]), key=str(UUID(bytes=packed[1:17])), at=at)


def from_chat(text: str, *, is_signed: bool) -> Plain:
    """Take an operator's text apart. `is_signed`: a person wrote it, so it may begin with his name.

    Source: bitrix24.md 4 (text of OnImConnectorMessageAdd); the dashed form of a quote is what the chat itself writes (unconfirmed).
    """
    text = text.replace("\r\n", "\n")
    mark = read_mark(text)
    text = _TRACES.sub("", text)
    author = ""
    if is_signed and (signature := _SIGNATURE.match(text)):
        author, text = signature["name"].strip(), text[signature.end() :]
    if mark and (ours := _OUR_AUTHOR.match(text)):
        text = text[ours.end() :]
    text = _BREAK.sub("\n", text)
    quoted = quoted_author = ""
    if dashed := _DASHED.match(text):
        quoted_author, quoted, text = dashed["author"].strip(), dashed["text"], dashed["rest"]
    elif block := _QUOTED.match(text):
        quoted, text = block["text"], block["rest"]
    return Plain(
        text=plain(text),
        author=plain(author),
        quoted=plain(quoted),
        quoted_author=plain(quoted_author),
        mark=mark,
    )


def plain(text: str) -> str:
    """Remove BB codes and keep what they say: the target of a link, the name of a mention. Code blocks stay letter for letter."""
    pieces = _CODE.split(text)
    kept = "".join(_without_codes(piece) if at % 2 == 0 else piece for at, piece in enumerate(pieces))
    return kept.replace("[\u2060", "[").strip()  # what to_chat put there


def person_name(name: str) -> tuple[str, str]:
    """Cut a name into the two fields of a portal: letters, spaces, hyphen and apostrophe only, 25 letters each.

    Source: bitrix24.md 3.3 (user.name, user.last_name).
    """
    words = " ".join(_NOT_A_LETTER.sub(" ", name).split()).strip("-'’ ")
    first, _, rest = words.partition(" ")
    return first[:_NAME_LIMIT], rest[:_NAME_LIMIT].strip()


def _without_codes(text: str) -> str:
    text = _BREAK.sub("\n", text)
    text = _LINK.sub(_link, text)
    text = _BARE.sub(lambda found: found[2], text)
    text = _ICON.sub(lambda found: (found[1] or "").strip(), text)
    return _POINT.sub("\n• ", _WRAPPER.sub("", text))


def _link(found: re.Match[str]) -> str:
    target, label = found[1].strip(), found[2].strip()
    return target if not label or label == target else f"{label} ({target})"
