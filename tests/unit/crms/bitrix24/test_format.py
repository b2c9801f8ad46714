"""Markup to and fro, names, and the mark of our own words (crms/bitrix24/format.py)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from widget_backend.crms.bitrix24.format import (
    FRESH,
    MarkKind,
    author_for_chat,
    from_chat,
    person_name,
    plain,
    quote_for_chat,
    read_mark,
    to_chat,
    write_mark,
)

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@given(st.text())
def test_no_text_of_a_client_is_obeyed_as_a_code(text: str) -> None:
    assert not re.search(r"\[/?[a-zA-Z*]", to_chat(text))


@given(
    st.text(
        alphabet=st.characters(blacklist_characters="\u200b\u200c\u200d\u2060\u2063\r", blacklist_categories=["Cs"])
    )
)
def test_a_clients_text_reads_the_same_after_the_codes_were_disarmed(text: str) -> None:
    assert to_chat(text).replace("\u2060", "") == text


@given(st.text())
def test_reading_any_text_of_an_operator_gives_a_text(text: str) -> None:
    assert isinstance(from_chat(text, is_signed=True).text, str)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("[b]жирно[/b] [i]косо[/i] [u]под[/u] [s]за[/s]", "жирно косо под за"),
        ("раз[br]два [br] три", "раз\nдва\nтри"),
        ("[url=https://acme.example]сайт[/url]", "сайт (https://acme.example)"),
        ("[url=https://acme.example]https://acme.example[/url]", "https://acme.example"),
        ("[URL]https://acme.example[/URL]", "https://acme.example"),
        ("[user=27]Иван[/user], [USER=5 REPLACE]Анна[/USER]", "Иван, Анна"),
        ("[img]https://acme.example/a.png[/img]", "https://acme.example/a.png"),
        ("[size=20][color=#ff0000]красно[/color][/size]", "красно"),
        ("[list][*]раз[*]два[/list]", "• раз\n• два"),
        ("[code]if (a[b] > 0) [b]x[/b][/code]", "if (a[b] > 0) [b]x[/b]"),
        ("[icon=https://acme.example/i.png title=улыбка size=16]", "улыбка"),
        ("цена [со скидкой] 5", "цена [со скидкой] 5"),
        ("a < b && c > d :) ;-)", "a < b && c > d :) ;-)"),
        ("[send=привет]Ответить[/send] [call=+79990001122]Позвонить[/call]", "Ответить Позвонить"),
    ],
)
def test_codes_become_what_they_say(given_text: str, expected: str) -> None:
    assert plain(given_text) == expected


def test_signature_is_taken_off_once_and_only_from_people() -> None:
    text = "[b]Анна Петрова:[/b] [br][b]Важно:[/b] [br]да"

    assert from_chat(text, is_signed=True).author == "Анна Петрова"
    assert from_chat(text, is_signed=True).text == "Важно:\nда"
    assert from_chat(text, is_signed=False).author == ""


def test_quote_we_write_is_read_back_as_a_quote() -> None:
    read = from_chat(quote_for_chat("Сколько [b]стоит[/b]?", "Иван") + "Сто", is_signed=False)

    assert (read.quoted, read.text) == ("Иван: Сколько [b]стоит[/b]?", "Сто")


@given(st.sampled_from(list(MarkKind)), st.uuids(), st.text())
def test_mark_survives_any_text_before_it_and_is_not_seen(kind: MarkKind, key: object, text: str) -> None:
    marked = to_chat(text) + write_mark(kind, str(key), NOW)
    mark = read_mark(marked)

    assert mark is not None and (mark.kind, mark.key, mark.at) == (kind, str(key), NOW)
    assert from_chat(marked, is_signed=False).text == from_chat(to_chat(text), is_signed=False).text


def test_client_cannot_write_a_mark() -> None:
    forged = to_chat("привет" + write_mark(MarkKind.NOTE, str(uuid4()), NOW))

    assert read_mark(forged) is None


def test_mark_is_an_echo_for_a_while_only() -> None:
    mark = read_mark(write_mark(MarkKind.MESSAGE, str(uuid4()), NOW))

    assert mark is not None
    assert mark.is_fresh(NOW + FRESH - timedelta(seconds=1)) and not mark.is_fresh(NOW + FRESH + timedelta(seconds=1))


def test_author_we_add_is_taken_off_again_when_the_text_comes_back() -> None:
    marked = author_for_chat("Пётр") + "ответ" + write_mark(MarkKind.MESSAGE, str(uuid4()), NOW)

    assert from_chat(marked, is_signed=True).text == "ответ"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Анна Иванова", ("Анна", "Иванова")),
        ("Жан-Люк О'Нил", ("Жан-Люк", "О'Нил")),
        ("Анна 😀 +7 999 000-11-22", ("Анна", "")),
        ("👋", ("", "")),
        ("Ш" * 40 + " " + "Я" * 40, ("Ш" * 25, "Я" * 25)),
        ("Мария де лас Мерседес", ("Мария", "де лас Мерседес")),
    ],
)
def test_name_has_only_letters_and_fits(name: str, expected: tuple[str, str]) -> None:
    assert person_name(name) == expected
