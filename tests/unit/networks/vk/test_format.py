"""VK's texts and dates in our words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from widget_backend.networks.vk.format import birthday, dialog_url, person_url, readable


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("Hi [id1|Анна]!", "Hi Анна!"),
        ("[club5|@acme], [public6|shop], [event7|party]", "@acme, shop, party"),
        ("[id1:bp-1_2|Анна], yes", "Анна, yes"),
        ("[https://example.com/a?b=1|our page]", "our page (https://example.com/a?b=1)"),
        ("[id1|]", "[id1|]"),
        ("a [b|c] d", "a [b|c] d"),
        ("", ""),
    ],
)
def test_mentions_become_words(told: str, shown: str) -> None:
    assert readable(told) == shown


@given(st.text())
def test_a_text_without_marks_stays_as_it_is(text: str) -> None:
    plain = text.replace("|", "")
    assert readable(plain) == plain


@given(st.text(alphabet="[]|idclub1:/htps. \n"))
def test_no_text_makes_it_fail_or_grow(text: str) -> None:
    assert len(readable(text)) <= len(text) + text.count("[")


@pytest.mark.parametrize(
    ("told", "shown"),
    [("5.11.1990", "1990-11-05"), ("5.11", "--11-05"), ("", ""), ("1990", ""), ("5.11.90", ""), ("a.b", "")],
)
def test_birthdays_become_iso_dates(told: str, shown: str) -> None:
    assert birthday(told) == shown


def test_pages_of_people_and_communities() -> None:
    assert person_url(5) == "https://vk.com/id5"
    assert person_url(-5) == "https://vk.com/club5"
    assert dialog_url("7", 5) == "https://vk.com/gim7?sel=5"
