"""A part of VKScript for `execute`: var, return, literals, API.<method>({...}), member and index access, + and @.

Everything else (loops, conditions, functions) is refused with error 12, saying so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.sandbox.vk.rules import VkError

_TOKEN = re.compile(
    r"""\s*(?:(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<number>\d+(?:\.\d+)?)|(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<mark>@\.|[{}\[\]():;,.+\-=]))""",
    re.DOTALL,
)
Run = Callable[[str, dict[str, str]], object]
CONSTANTS = {"true": True, "false": False, "null": None}


def run(code: str, call: Run) -> object:
    """Run the code and return what it returns. Raises VkError 12 or 13."""
    return _Script(code, call).run()


class _Script:
    def __init__(self, code: str, call: Run) -> None:
        self._call = call
        self._tokens = self._split(code)
        self._place = 0
        self._variables: dict[str, Any] = {}

    @staticmethod
    def _split(code: str) -> list[tuple[str, str]]:
        tokens, place, code = [], 0, code.rstrip()
        while place < len(code):
            match = _TOKEN.match(code, place)
            if not match:
                raise VkError(12, f"not supported by the sandbox near {code[place : place + 20]!r}")
            place = match.end()
            if match.lastgroup and match.lastgroup != "comment":
                tokens.append((match.lastgroup, match[match.lastgroup]))
        return [*tokens, ("end", "")]

    def _peek(self) -> str:
        kind, value = self._tokens[self._place]
        return value if kind in {"mark", "name"} else ""

    def _next(self) -> tuple[str, str]:
        self._place += 1
        return self._tokens[self._place - 1]

    def _expect(self, mark: str) -> None:
        kind, value = self._next()
        if value != mark or kind == "string":
            raise VkError(12, f"expected {mark} but found {value!r}")

    def run(self) -> object:
        while self._tokens[self._place][0] != "end":
            word = self._peek()
            if word == "return":
                self._next()
                return self._expression()
            if word == "var":
                self._next()
                name = self._next()[1]
                self._expect("=")
                self._variables[name] = self._expression()
            elif word in {"if", "while", "delete", "function", "for"}:
                raise VkError(12, f"{word} is not supported by the sandbox")
            elif word != ";":
                self._expression()
            if self._peek() == ";":
                self._next()
        return None

    def _expression(self) -> Any:
        value = self._with_members()
        while self._peek() in {"+", "-"}:
            mark, other = self._next()[1], self._with_members()
            if mark == "+" and (isinstance(value, str) or isinstance(other, str)):
                value = f"{value}{other}"
            elif isinstance(value, int | float) and isinstance(other, int | float):
                value = value + other if mark == "+" else value - other
            else:
                raise VkError(13, f"cannot compute {mark}")
        return value

    def _with_members(self) -> Any:
        value = self._primary()
        while self._peek() in {".", "[", "@."}:
            mark = self._next()[1]
            if mark == "[":
                key = self._expression()
                self._expect("]")
                value = _member(value, key)
            elif mark == ".":
                value = _member(value, self._next()[1])
            else:
                key = self._next()[1]
                value = [_member(one, key) for one in value] if isinstance(value, list) else None
        return value

    def _primary(self) -> Any:
        kind, value = self._next()
        if kind == "number":
            return float(value) if "." in value else int(value)
        if kind == "string":
            return _unquote(value)
        if value == "-":
            return -self._primary()
        if value == "(":
            inner = self._expression()
            self._expect(")")
            return inner
        if value == "[":
            return self._items("]", self._expression)
        if value == "{":
            return dict(self._items("}", self._pair))
        if kind == "name":
            return self._named(value)
        raise VkError(12, f"unexpected {value!r}")

    def _named(self, name: str) -> Any:
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name == "API":
            return self._api()
        if name in self._variables:
            return self._variables[name]
        raise VkError(12, f"{name} is not defined or not supported by the sandbox")

    def _api(self) -> object:
        names = []
        while self._peek() == ".":
            self._next()
            names.append(self._next()[1])
        self._expect("(")
        values = self._items(")", self._expression)
        given = values[0] if values else {}
        if not isinstance(given, dict):
            raise VkError(13, "an API call takes an object")
        return self._call(".".join(names), {key: _as_param(value) for key, value in given.items() if value is not None})

    def _items(self, end: str, read: Callable[[], Any]) -> list[Any]:
        found = []
        while self._peek() != end:
            found.append(read())
            if self._peek() != end:
                self._expect(",")
        self._next()
        return found

    def _pair(self) -> tuple[str, Any]:
        kind, key = self._next()
        self._expect(":")
        return (_unquote(key) if kind == "string" else key), self._expression()


def _member(value: Any, key: Any) -> Any:
    if isinstance(value, dict):
        return value.get(key)
    if isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
        return value[key]
    return len(value) if key == "length" and isinstance(value, list | str) else None


def _unquote(text: str) -> str:
    if text[0] == '"':
        return str(json.loads(text, strict=False))
    return str(json.loads('"' + text[1:-1].replace("\\'", "'").replace('"', '\\"') + '"', strict=False))


def _as_param(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
