"""Texts with entities, names, birthdays: what Telegram writes becomes what people read, whatever is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from widget_backend.networks.telegram_bot.format import birthday, name_of, person, readable
from widget_backend.reading import Malformed, Reader


def link(offset: object, length: object, url: object = "https://acme.example") -> dict[str, Any]:
    return {"type": "text_link", "offset": offset, "length": length, "url": url}


@pytest.mark.parametrize(
    ("text", "entities", "expected"),
    [
        ("сайт", [], "сайт"),
        ("сайт", [link(0, 4)], "сайт (https://acme.example)"),
        ("🙂 сайт и тут", [link(3, 4), link(10, 3, "https://b.example")],
         "🙂 сайт (https://acme.example) и тут (https://b.example)"),
        ("https://acme.example", [link(0, 20)], "https://acme.example"),
        ("жирный", [{"type": "bold", "offset": 0, "length": 6}], "жирный"),
        ("сайт", [link(0, 5)], "сайт"),
        ("сайт", [link(-2, 2)], "сайт"),
        ("сайт", [link(0, 0)], "сайт"),
        ("сайт", [link(10**30, 1)], "сайт"),
    ],
)  # fmt: skip
def test_addresses_of_named_links_stand_behind_their_names(text: str, entities: list[Any], expected: str) -> None:
    assert readable(text, Reader(entities)) == expected


def test_a_link_that_begins_inside_a_character_breaks_nothing() -> None:
    readable("🙂🙂", Reader([link(1, 2)])).encode()


def test_entities_of_the_wrong_type_are_malformed() -> None:
    with pytest.raises(Malformed):
        readable("x", Reader("bold"))


def test_names_are_of_people_or_of_chats() -> None:
    assert name_of(Reader({"first_name": "Анна", "last_name": "К."})) == "Анна К."
    assert name_of(Reader({"first_name": "Анна"})) == "Анна"
    assert name_of(Reader({"title": "Обсуждение"})) == "Обсуждение"
    assert name_of(Reader({})) == ""


def test_a_person_without_a_username_has_no_page() -> None:
    known = person(Reader({"id": 5, "first_name": "Анна"}))
    assert (known.remote_id, known.username, known.profile_url) == ("5", "", "")


@pytest.mark.parametrize(
    ("told", "expected"),
    [(None, ""), ({"day": 4, "month": 5}, "--05-04"), ({"day": 14, "month": 12, "year": 1990}, "1990-12-14")],
)
def test_birthdays_are_written_as_the_standard_says(told: Any, expected: str) -> None:
    assert birthday(Reader(told)) == expected
