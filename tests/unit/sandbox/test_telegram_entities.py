"""Formatting in the Telegram twin: HTML and MarkdownV2, offsets in UTF-16 units."""

from __future__ import annotations

import pytest

from tests.sandbox.telegram_bot.entities import format_text, found_in
from tests.sandbox.telegram_bot.errors import ApiError

PREFIX = "Bad Request: can't parse entities: "


@pytest.mark.parametrize(
    ("source", "mode", "text", "entities"),
    [
        ("<b>Да</b> &amp; нет", "HTML", "Да & нет", [("bold", 0, 2)]),
        ("😀 <i>курсив</i>", "html", "😀 курсив", [("italic", 3, 6)]),
        ("<b>а<i>б</i></b>", "HTML", "аб", [("bold", 0, 2), ("italic", 1, 1)]),
        ("  <u>край</u>  ", "HTML", "край", [("underline", 0, 4)]),
        ("<pre>код</pre>", "HTML", "код", [("pre", 0, 3)]),
        ("*жирно* _косо_", "MarkdownV2", "жирно косо", [("bold", 0, 5), ("italic", 6, 4)]),
        ("__линия__ ||тайна||", "MarkdownV2", "линия тайна", [("underline", 0, 5), ("spoiler", 6, 5)]),
        (r"1\.5 \* 2 `a.b`", "MarkdownV2", "1.5 * 2 a.b", [("code", 8, 3)]),
        ("*не разметка*", "", "*не разметка*", []),
    ],
)
def test_marks_become_entities(source: str, mode: str, text: str, entities: list[tuple[str, int, int]]) -> None:
    plain, found = format_text(source, mode, None)
    assert plain == text
    assert [(entity["type"], entity["offset"], entity["length"]) for entity in found] == entities


@pytest.mark.parametrize("mode", ["HTML", "MarkdownV2"])
def test_links_keep_their_address(mode: str) -> None:
    source = (
        '<a href="https://acme.example/a?b=1&amp;c=2">сайт</a>' if mode == "HTML" else "[сайт](https://acme.example/)"
    )
    plain, (entity,) = format_text(source, mode, None)
    assert plain == "сайт" and entity["type"] == "text_link" and entity["url"].startswith("https://acme.example/")


@pytest.mark.parametrize(
    ("source", "mode", "why"),
    [
        ("<b>нет конца", "HTML", 'Can\'t find end tag corresponding to start tag "b"'),
        ("<div>x</div>", "HTML", 'Unsupported start tag "div" at byte offset 0'),
        ("ab <b>x</i>", "HTML", 'Unmatched end tag at byte offset 7, expected "</b>", found "</i>"'),
        ("a < b", "HTML", "Unclosed start tag at byte offset 2"),
        ("x</b>", "HTML", "Unexpected end tag at byte offset 1"),
        ("Цена 5.", "MarkdownV2", "Character '.' is reserved and must be escaped with the preceding '\\'"),
        ("*нет конца", "MarkdownV2", "Can't find end of Bold entity at byte offset 0"),
    ],
)
def test_broken_marks_are_refused(source: str, mode: str, why: str) -> None:
    with pytest.raises(ApiError) as refusal:
        format_text(source, mode, None)
    assert refusal.value.description == PREFIX + why


def test_given_entities_must_lie_inside_the_text() -> None:
    with pytest.raises(ApiError, match="ENTITY_BOUNDS_INVALID"):
        format_text("абв", "", [{"type": "bold", "offset": 1, "length": 9}])


def test_commands_links_addresses_and_mentions_are_found() -> None:
    found = found_in("/start https://acme.example mail@acme.example @acme_bot")
    assert [entity["type"] for entity in found] == ["bot_command", "url", "email", "mention"]
