"""What others wrote is read with types and bounds, and its values never show in an error."""

import json
from enum import StrEnum
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from widget_backend import reading
from widget_backend.reading import Malformed, Reader

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20
)
NAMES = st.text("abcXYZ_ я", min_size=1, max_size=4)


class Kind(StrEnum):
    PHOTO = "photo"


BODY = {
    "a": {"b": ["x", {"c": 7}]}, "id": 12, "sid": "12", "nul": None, "yes": "Y", "no": 0, "half": 0.5, "kind": "photo",
    "php": {"0": "p", "1": "q"}, "long": "secret-text",
}  # fmt: skip


@given(VALUES)
def test_json_comes_back_as_it_went(value: Any) -> None:
    assert reading.load_json(json.dumps(value).encode()) == value
    assert reading.load_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_malformed(raw: bytes) -> None:
    for load in (reading.load_json, reading.load_form):
        try:
            value = load(raw)
        except Malformed:
            continue
        shown = json.dumps(value, ensure_ascii=False, allow_nan=False)
        assert "\\u0000" not in shown
        shown.encode()


@given(VALUES, st.lists(NAMES | st.integers(-3, 3), max_size=3))
def test_a_reader_raises_nothing_but_malformed(value: Any, path: list[Any]) -> None:
    for read in ("text", "integer", "number", "flag", "remote_id", "items", "fields", "plain"):
        try:
            here = Reader(value)
            for key in path:
                here = here[key]
            getattr(here, read)()
        except Malformed:
            continue


@given(st.text(min_size=12), st.sampled_from(["integer", "flag", "items", "fields"]))
def test_an_error_never_holds_the_value(value: str, read: str) -> None:
    hidden = f"s3-{value}"
    with pytest.raises(Malformed) as error:
        getattr(Reader({"field": hidden})["field"], read)()
    assert hidden not in str(error.value) and hidden not in repr(error.value)


def test_leaves_are_read_with_their_types() -> None:
    body = Reader(BODY)
    assert body["a"]["b"][0].text() == "x"
    assert body["a"]["b"][1]["c"].integer() == 7
    assert body["sid"].integer() == 12
    assert body["id"].remote_id() == body["sid"].remote_id() == "12"
    assert body["yes"].flag() is True and body["no"].flag() is False
    assert body["half"].number() == 0.5
    assert body["kind"].one_of(Kind) is Kind.PHOTO
    assert [item.text() for item in body["php"].items()] == ["p", "q"]
    assert [name for name, _ in body["a"].fields()] == ["b"]
    assert body["a"]["b"].plain() == ["x", {"c": 7}]


def test_what_is_not_there_is_absent_until_it_is_needed() -> None:
    body = Reader(BODY)
    assert body["nul"]["deeper"]["still"].text_or("") == ""
    assert body["gone"].integer_or(3) == 3 and body["nul"].flag_or(True) and body["gone"].number_or(1.5) == 1.5
    assert body["gone"].items() == [] and list(body["gone"].fields()) == [] and body["gone"].remote_id_or("") == ""
    assert not body["nul"].is_there and "id" in body and "nul" not in body
    assert not body["a"]["b"][9].is_there


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda body: body["gone"]["x"].text(), "gone.x: expected text, got nothing"),
        (lambda body: body["nul"].integer(), "nul: expected integer, got null"),
        (lambda body: body["a"]["b"][1]["c"].text(), "a.b[1].c: expected text, got integer"),
        (lambda body: body["id"].text_or(""), "id: expected text, got integer"),
        (lambda body: body["long"]["x"], "long: expected object, got text"),
        (lambda body: body["a"][0], "a: expected list, got object"),
        (lambda body: body["long"].items(), "long: expected list, got text"),
        (lambda body: body["long"].flag(), "long: expected flag, got text"),
        (lambda body: body["long"].one_of(Kind), "long: expected Kind, got text"),
        (lambda body: body["half"].integer(), "half: expected integer, got number"),
    ],
)
def test_a_wrong_type_says_where(read: Any, message: str) -> None:
    with pytest.raises(Malformed) as error:
        read(Reader(BODY))
    assert str(error.value) == message


def test_a_reader_has_no_truth_of_its_own() -> None:
    with pytest.raises(TypeError):
        bool(Reader(False))


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"NaN", b"[Infinity]", b"[-Infinity]", b"1e999", b'{"a":1}x', b"\xff", b"'a'", b"[" * 33 + b"]" * 33,
     b"[" * 1_000_000, b'{"a":' * 1_000_000, b"9" * 5000, b"1" * 101],
)  # fmt: skip
def test_bad_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        reading.load_json(raw)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("raw", [b'"' + rb"\"" * 1_000_000, b'"' * 2_000_001, b"a[" * 1_000_000, b"%5B" * 1_000_000])
def test_hostile_bodies_cost_linear_time(raw: bytes) -> None:
    with pytest.raises(Malformed):
        reading.load_json(raw)
    reading.load_form(raw)


def test_json_is_bounded_by_size_and_not_by_brackets_in_texts() -> None:
    with pytest.raises(Malformed):
        reading.load_json(b'"aaaa"', max_bytes=5)
    assert reading.load_json(json.dumps("[" * 100 + '\\"{').encode()) == "[" * 100 + '\\"{'


def test_texts_come_out_storable() -> None:
    assert reading.load_json(rb'{"a\u0000":"x\u0000y\ud800z","a":"last","a":"\ud83d\ude00"}') == {"a": "😀"}
    assert reading.load_json(rb'"x\u0000y\ud800z"') == "xy\ufffdz"
    assert reading.load_form(b"a=%00x%ff") == {"a": "x\ufffd"}


@given(st.dictionaries(NAMES, TEXTS, max_size=6))
def test_a_flat_form_comes_back_as_it_went(form: dict[str, str]) -> None:
    assert reading.load_form(urlencode(form).encode()) == form


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.lists(TEXTS, min_size=1, max_size=3), min_size=1), max_size=3))
def test_a_nested_form_comes_back_as_it_went(form: dict[str, dict[str, list[str]]]) -> None:
    raw = "&".join(
        f"{quote_plus(one)}%5B{quote_plus(two)}]%5b{place}%5d={quote_plus(text)}"
        for one, inner in form.items()
        for two, texts in inner.items()
        for place, text in enumerate(texts)
    )
    assert reading.load_form(raw.encode()) == form


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"", {}),
        (b"a=1&a=2", {"a": "2"}),
        (b"a[]=1&a[]=2", {"a": ["1", "2"]}),
        (b"a[][x]=1&a[][x]=2", {"a": [{"x": "1"}, {"x": "2"}]}),
        (b"a=1&a[b]=2", {"a": {"b": "2"}}),
        (b"a[b]=2&a=1", {"a": "1"}),
        (b"a[1]=x&a[0]=y", {"a": {"1": "x", "0": "y"}}),
        (b"a[b=1", {"a[b": "1"}),
        (b"[a]=1", {"[a]": "1"}),
        (b"a", {"a": ""}),
        (b"&&=x&a=1", {"a": "1"}),
    ],
)
def test_forms_are_read_as_php_reads_them(raw: bytes, value: object) -> None:
    assert reading.load_form(raw) == value


@pytest.mark.parametrize("raw", [b"a" + b"[b]" * 40 + b"=1", b"a=1&" * 10_001, b"a" * (reading.MAX_BYTES + 1)])
def test_a_form_is_bounded(raw: bytes) -> None:
    with pytest.raises(Malformed):
        reading.load_form(raw)


def test_read_json_and_read_form_give_readers() -> None:
    assert reading.read_json(b'{"a":[1]}')["a"][0].integer() == 1
    assert reading.read_form(b"a[0]=1")["a"][0].integer() == 1


def test_an_id_that_no_index_can_hold_is_malformed() -> None:
    assert Reader("x" * 250).remote_id() == "x" * 250
    with pytest.raises(Malformed):
        Reader("x" * 251).remote_id()
