"""Typed access to what others wrote: JSON and forms.

A body is loaded within bounds into plain values, and read through a Reader that must be given a type at each leaf. What
is wrong is a Malformed with the path and the types, never the value. Texts come out fit for PostgreSQL and for UTF-8:
without NUL and without lone surrogates.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn, TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

from widget_backend.bridge.errors import MostikError

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 32
MAX_FIELDS = 10_000
_MAX_PATH_CHARS = 200
_MAX_KEY_CHARS = 60
_MAX_NUMBER_CHARS = 100
_MAX_ID_CHARS = 250  # an index of the database holds 2704 bytes, some of them two ids
_SURROGATES = re.compile("[\ud800-\udfff]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
# Possessive, and the closing quote optional: linear time even for texts that never end.
_JSON_MARKS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_PARTS = re.compile(rb"\[([^\]]*)\]")
_ABSENT = object()
_E = TypeVar("_E")


class Malformed(MostikError):
    """Something from outside is not what it must be. It names the place and the types, never the value."""

    def __init__(self, path: str, expected: str, got_type: str) -> None:
        super().__init__(path, expected, got_type)
        self.path = path
        self.expected = expected
        self.got_type = got_type

    def __str__(self) -> str:
        return f"{self.path or 'body'}: expected {self.expected}, got {self.got_type}"


class Reader:
    """Read a value from outside, leaf by leaf: `Reader(body)["message"]["id"].integer()`.

    Going into what is not there is allowed and gives an absent Reader; only reading it as something is an error, unless
    the method ends in `_or`. `None` counts as absent: remote APIs use both for the same thing.
    """

    __slots__ = ("_path", "_value")

    def __init__(self, value: object, path: str = "") -> None:
        self._value = value
        self._path = path

    def __repr__(self) -> str:
        return f"Reader({self._path or 'body'}: {_type_name(self._value)})"

    def __getitem__(self, key: str | int) -> "Reader":
        path = self._path_to(key)
        if isinstance(self._value, Mapping) and isinstance(key, str):
            return Reader(self._value.get(key, _ABSENT), path)
        if isinstance(self._value, list) and isinstance(key, int):
            return Reader(self._value[key] if -len(self._value) <= key < len(self._value) else _ABSENT, path)
        if self._value is None or self._value is _ABSENT:
            return Reader(_ABSENT, path)
        self._fail("object" if isinstance(key, str) else "list")

    def __contains__(self, key: str) -> bool:
        return isinstance(self._value, Mapping) and self._value.get(key) is not None

    def __bool__(self) -> bool:
        raise TypeError("ask a Reader for .is_there or for a type")

    @property
    def path(self) -> str:
        """Where this value stands in its body, for messages."""
        return self._path

    @property
    def is_there(self) -> bool:
        """Whether there is a value, other than null."""
        return self._value is not _ABSENT and self._value is not None

    def text(self) -> str:
        """Return a text. A number is not a text: see `remote_id`."""
        if isinstance(self._value, str):
            return safe_text(self._value)
        self._fail("text")

    def text_or(self, other: str) -> str:
        """Return a text, or the other one when there is none."""
        return self.text() if self.is_there else other

    def remote_id(self) -> str:
        """Return an id of theirs: a text that is not empty and not long, or a whole number, as a text."""
        is_text = isinstance(self._value, str) and self._value
        if is_text or (isinstance(self._value, int) and not isinstance(self._value, bool)):
            id = safe_text(str(self._value))
            if len(id) <= _MAX_ID_CHARS:
                return id
        self._fail("id")

    def remote_id_or(self, other: str) -> str:
        """Return an id of theirs, or the other text when there is none."""
        return self.remote_id() if self.is_there else other

    def integer(self) -> int:
        """Return a whole number; forms and some APIs write it as a text of digits, and that is one too."""
        if isinstance(self._value, int) and not isinstance(self._value, bool):
            return self._value
        if isinstance(self._value, float) and self._value.is_integer():
            return int(self._value)
        if isinstance(self._value, str) and _WHOLE.fullmatch(self._value):
            return int(self._value)
        self._fail("integer")

    def integer_or(self, other: int) -> int:
        """Return a whole number, or the other one when there is none."""
        return self.integer() if self.is_there else other

    def number(self) -> float:
        """Return a number, whole or not, or a text of one."""
        if isinstance(self._value, (int, float)) and not isinstance(self._value, bool):
            return self._finite(float, self._value)
        if isinstance(self._value, str) and len(self._value) <= _MAX_NUMBER_CHARS:
            return self._finite(float, self._value)
        self._fail("number")

    def number_or(self, other: float) -> float:
        """Return a number, or the other one when there is none."""
        return self.number() if self.is_there else other

    def flag(self) -> bool:
        """Return a yes or no: true/false, 1/0, "Y"/"N", "true"/"false"."""
        known: dict[object, bool] = {True: True, False: False, "1": True, "0": False, "y": True, "n": False}
        value = self._value.lower() if isinstance(self._value, str) else self._value
        if value in ("true", "false"):
            return value == "true"
        if isinstance(value, (bool, int, str)) and value in known:
            return known[value]
        self._fail("flag")

    def flag_or(self, other: bool) -> bool:
        """Return a yes or no, or the other one when there is none."""
        return self.flag() if self.is_there else other

    def items(self) -> list["Reader"]:
        """Return the items of a list; nothing is an empty list, and PHP's object with the keys 0, 1, 2 is a list."""
        if not self.is_there:
            return []
        if isinstance(self._value, list):
            return [Reader(item, self._path_to(place)) for place, item in enumerate(self._value)]
        if isinstance(self._value, Mapping) and all(isinstance(key, str) and key.isdecimal() for key in self._value):
            return [Reader(item, self._path_to(key)) for key, item in self._value.items()]
        self._fail("list")

    def fields(self) -> Iterator[tuple[str, "Reader"]]:
        """Return the named fields of an object; nothing is an empty object, and so is PHP's empty list."""
        if not self.is_there or self._value == []:
            return iter(())
        if isinstance(self._value, Mapping):
            return iter([(safe_text(str(key)), Reader(item, self._path_to(key))) for key, item in self._value.items()])
        self._fail("object")

    def one_of(self, kind: Callable[[str], _E]) -> _E:
        """Return a member of a closed set, such as a StrEnum."""
        try:
            return kind(self.text())
        except ValueError:
            self._fail(getattr(kind, "__name__", "known value"))

    def plain(self) -> Json:
        """Return the value as plain JSON, made safe, to be kept as it came."""
        return _safe(self._value) if self.is_there else None

    def _finite(self, read: Callable[[str | float], float], value: str | float) -> float:
        try:
            number = read(value)
        except (ValueError, OverflowError):
            self._fail("number")
        if number - number != 0:  # infinities and NaN
            self._fail("number")
        return number

    def _path_to(self, key: str | int) -> str:
        if isinstance(key, int):
            return f"{self._path}[{key}]"[:_MAX_PATH_CHARS]
        shown = "".join(char if char.isprintable() else "?" for char in key[:_MAX_KEY_CHARS])
        return (f"{self._path}.{shown}" if self._path else shown)[:_MAX_PATH_CHARS]

    def _fail(self, expected: str) -> NoReturn:
        raise Malformed(self._path, expected, _type_name(self._value))


def read_json(raw: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Reader:
    """Load a JSON body strictly and return a Reader of it.

    A field named twice has its last value. NaN and infinities are refused, as in the standard.
    Raises: Malformed: too large, too deep, not UTF-8, not JSON.
    """
    return Reader(load_json(raw, max_bytes=max_bytes, max_depth=max_depth))


def load_json(raw: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Json:
    """Load a JSON body strictly into plain values, made safe. Raises: Malformed, as `read_json`."""
    if len(raw) > max_bytes:
        raise Malformed("", f"at most {max_bytes} bytes", "more")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed("", "UTF-8", "other bytes") from None
    if _depth(text) > max_depth:
        raise Malformed("", f"at most {max_depth} levels", "more")
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_int=_bounded(int), parse_float=_bounded(float))
    except (ValueError, RecursionError):
        raise Malformed("", "JSON", "text" if text else "nothing") from None
    return _safe(value)


def peek_json(raw: bytes) -> Reader:
    """Return a Reader of a JSON body whose sender is not proven yet: enough for a few fields, without the pains of `read_json`.

    Raises: Malformed: not JSON, or nested too deep for the parser.
    """
    try:
        return Reader(json.loads(raw))
    except (ValueError, RecursionError):
        raise Malformed("", "JSON", "text" if raw else "nothing") from None


def read_form(raw: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Reader:
    """Load a form whose names use PHP's brackets, `data[auth][0]=x`, and return a Reader of it.

    Shape: names nest into objects; an object whose keys are 0, 1, 2, ... in order becomes a list; `a[]=x` appends. A name given
    twice has its last value; where a value and an object compete, the later wins, as in PHP. Bytes that are not UTF-8 are replaced.
    Raises: Malformed: too large, too deep, too many fields.
    """
    return Reader(load_form(raw, max_bytes=max_bytes, max_depth=max_depth))


def load_form(raw: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> dict[str, Json]:
    """Load a form with PHP's brackets into plain values. Raises: Malformed, as `read_form`."""
    if len(raw) > max_bytes:
        raise Malformed("", f"at most {max_bytes} bytes", "more")
    if raw.count(b"&") >= MAX_FIELDS:
        raise Malformed("", f"at most {MAX_FIELDS} fields", "more")
    root: dict[str, Json] = {}
    for pair in raw.split(b"&"):
        name, _, value = pair.partition(b"=")
        path = _form_path(_unescaped(name))
        if len(path) > max_depth:
            raise Malformed("", f"at most {max_depth} levels", "more")
        if path[0]:
            _put(root, path, _form_text(_unescaped(value)))
    return {key: _listed(value) for key, value in root.items()}


def safe_text(text: str) -> str:
    """Return a text that can be stored and sent: without NUL, lone surrogates replaced."""
    return _SURROGATES.sub("\ufffd", text.replace("\x00", ""))


def _safe(value: object) -> Json:
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, list):
        return [_safe(item) for item in value]
    if isinstance(value, Mapping):
        return {safe_text(str(key)): _safe(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise TypeError(type(value).__name__)


def _depth(text: str) -> int:
    """Count the deepest nesting before parsing, so that a hostile body costs no recursion."""
    deepest = depth = 0
    for token in _JSON_MARKS.finditer(text):
        mark = token[0]
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    return deepest


def _bounded(kind: Callable[[str], int | float]) -> Callable[[str], int | float]:
    def read(digits: str) -> int | float:
        number = kind(digits) if len(digits) <= _MAX_NUMBER_CHARS else float("inf")
        if number in (float("inf"), float("-inf")):
            raise ValueError("number out of bounds")
        return number

    return read


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _unescaped(raw: bytes) -> bytes:
    return unquote_to_bytes(raw.replace(b"+", b" "))


def _form_text(raw: bytes) -> str:
    return safe_text(raw.decode("utf-8", "replace"))


def _form_path(name: bytes) -> list[str]:
    head, bracket, rest = name.partition(b"[")
    if not head or b"]" not in rest:
        return [_form_text(name)]
    return [_form_text(part) for part in (head, *_PARTS.findall(bracket + rest))]


def _put(root: dict[str, Json], path: list[str], value: str) -> None:
    here = root
    for part in path[:-1]:
        inner = here.setdefault(_next_key(here, part), {})
        if not isinstance(inner, dict):
            inner = here[part] = {}
        here = inner
    here[_next_key(here, path[-1])] = value


def _next_key(here: dict[str, Json], part: str) -> str:
    return part or str(len(here))


def _listed(value: Json) -> Json:
    if not isinstance(value, dict):
        return value
    inner = {key: _listed(item) for key, item in value.items()}
    if inner and all(key == str(place) for place, key in enumerate(inner)):
        return list(inner.values())
    return inner


def _type_name(value: object) -> str:
    if value is _ABSENT:
        return "nothing"
    names: dict[type, str] = {
        type(None): "null", bool: "flag", int: "integer", float: "number", str: "text", list: "list", dict: "object"
    }  # fmt: skip
    return names.get(type(value), "object" if isinstance(value, Mapping) else type(value).__name__)
