"""Whatever a message holds, nothing of it is lost and every part keeps to the limits of its end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from widget_backend.bridge.ends import Capabilities, FileRule, Repeat
from widget_backend.bridge.events import Attachment, Kind
from widget_backend.bridge.represent import PartContent, Thing, length, parts, split_text

FILE_KINDS = (Kind.PHOTO, Kind.VIDEO, Kind.AUDIO, Kind.VOICE, Kind.DOCUMENT, Kind.STICKER, Kind.ANIMATION)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


@st.composite
def capabilities(draw: st.DrawFn) -> Capabilities:
    """Make an end with limits of any kind."""
    kinds = draw(st.sets(st.sampled_from(FILE_KINDS)))
    rules = {kind: FileRule(max_bytes=draw(st.integers(1, 2000))) for kind in kinds}
    together = frozenset(draw(st.sets(st.sampled_from(FILE_KINDS))))
    return Capabilities(
        files=rules,
        text_limit=draw(st.integers(20, 300)),
        caption_limit=draw(st.none() | st.integers(0, 100)),
        repeat=Repeat.KEY,
        attachments_per_part=draw(st.integers(1, 4)),
        together=(together,),
        native=frozenset(draw(st.sets(st.sampled_from([Kind.LOCATION, Kind.CONTACT])))),
    )


@st.composite
def things(draw: st.DrawFn) -> list[Thing]:
    """Make the attachments of a message, stored or not."""
    found = []
    for number in range(1, draw(st.integers(0, 7)) + 1):
        kind = draw(st.sampled_from(list(Kind)))
        is_stored = kind in FILE_KINDS and draw(st.booleans())
        attachment = Attachment(
            kind=kind,
            title=f"заголовок{number}",
            size_bytes=draw(st.integers(1, 3000)),
            link="" if is_stored else f"https://example.com/{number}",
            handle="?" if kind in FILE_KINDS else "",
        )
        found.append(Thing(number, attachment, is_stored, f"https://files.example.com/{number}" if is_stored else ""))
    return found


@given(texts, things(), capabilities())
def test_every_part_keeps_to_the_limits(text: str, attached: list[Thing], facts: Capabilities) -> None:
    caption = facts.text_limit if facts.caption_limit is None else facts.caption_limit
    for part in parts(text, attached, facts, locale="ru"):
        assert length(part.text) <= (caption if part.things else facts.text_limit)
        assert len(part.things) <= facts.attachments_per_part
        sizes = {thing.number: thing.attachment.size_bytes or 0 for thing in attached}
        for number, kind in part.things:
            assert kind in facts.native or sizes[number] <= facts.files[kind].max_bytes
        kinds = [kind for _number, kind in part.things]
        assert len(kinds) == 1 or any(set(kinds) <= together for together in facts.together) or not kinds


@given(texts, things(), capabilities())
def test_nothing_is_lost(text: str, attached: list[Thing], facts: Capabilities) -> None:
    made = parts(text, attached, facts, locale="ru")
    assert made
    said = _letters("".join(part.text for part in made))
    assert _letters(text) in said
    native = [number for part in made for number, _kind in part.things]
    assert len(native) == len(set(native))
    for thing in attached:
        is_told = _letters(thing.attachment.link or thing.url) in said and f"заголовок{thing.number}" in said
        assert (thing.number in native) != is_told or (thing.number in native), "each thing once: itself, or in words"
        assert thing.number in native or is_told


@given(things(), capabilities())
def test_things_keep_their_order(attached: list[Thing], facts: Capabilities) -> None:
    native = [number for part in parts("", attached, facts, locale="ru") for number, _kind in part.things]
    assert native == sorted(native)


@given(st.text(max_size=3000), st.integers(2, 500))
def test_cut_text_loses_only_white_space_and_no_piece_is_too_long(text: str, limit: int) -> None:
    pieces = split_text(text, limit)
    assert all(length(piece) <= limit for piece in pieces)
    assert _letters("".join(pieces)) == _letters(text)


def test_text_is_cut_at_a_word_and_a_wide_character_stays_whole() -> None:
    assert split_text("раз два три", 8) == ["раз два", "три"]
    assert split_text("😀😀😀", 4) == ["😀😀", "😀"]


def test_quote_that_cannot_be_linked_stands_before_the_text() -> None:
    facts = Capabilities(files={}, text_limit=4096, repeat=Repeat.KEY)
    (part,) = parts("да", [], facts, locale="ru", quote_text="будете?\nсегодня", quote_author="Анна")
    assert part == PartContent("> Анна:\n> будете?\n> сегодня\nда")


def _letters(text: str) -> str:
    return "".join(text.split())
