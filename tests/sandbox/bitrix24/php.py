"""PHP's ways with forms: brackets in names, strings only, empty arrays dropped, lists that are maps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

_PARTS = re.compile(r"\[([^\]]*)\]")


def flatten(value: object, name: str = "") -> list[tuple[str, str]]:
    """Turn a nested value into form fields the way http_build_query does.

    Shape: {"a": {"b": [1]}} -> [("a[b][0]", "1")]. Booleans become 1 and 0, None and empty arrays vanish.
    """
    if isinstance(value, dict):
        pairs: Iterable[tuple[object, object]] = value.items()
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)
    elif value is None:
        return []
    elif isinstance(value, bool):
        return [(name, "1" if value else "0")]
    else:
        return [(name, str(value))]
    return [field for key, part in pairs for field in flatten(part, f"{name}[{key}]" if name else str(key))]


def nest(fields: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Turn form fields with brackets into nested values, lists where the keys run 0, 1, 2, ..."""
    root: dict[str, object] = {}
    for name, value in fields:
        head, _, _ = name.partition("[")
        keys = [head, *_PARTS.findall(name[len(head) :])]
        place = root
        for key in keys[:-1]:
            inner = place.setdefault(key or str(len(place)), {})
            if not isinstance(inner, dict):
                inner = place[key] = {}
            place = inner
        place[keys[-1] or str(len(place))] = value
    return {key: _listed(value) for key, value in root.items()}


def parse(query: str) -> dict[str, object]:
    """Read a query string with brackets."""
    return nest(parse_qsl(query, keep_blank_values=True))


def mapped(pairs: Mapping[str, object]) -> dict[str, object] | list[object]:
    """Give a map as json_encode would: a list when the keys run from 0, so an empty map is []."""
    return list(pairs.values()) if list(pairs) == [str(number) for number in range(len(pairs))] else dict(pairs)


def truthy(value: object) -> bool:
    """Tell what PHP's !empty() tells, with "N" and "false" read as no, as the connector module does."""
    return value not in (None, "", "0", 0, False, [], {}, "N", "n", "false")


def text(value: object) -> str:
    """Give a scalar as text; arrays and nothing give an empty text."""
    if value is None or isinstance(value, dict | list):
        return ""
    if isinstance(value, bool):
        return "1" if value else ""
    return str(value)


def number(value: object) -> int:
    """Give a scalar as PHP's (int) does: 0 for what is not a number."""
    found = re.match(r"\s*[-+]?\d+", text(value))
    return int(found.group()) if found else 0


def items(value: object) -> list[object]:
    """Give a list, or the values of a map with any keys, or nothing."""
    if isinstance(value, list):
        return value
    return list(value.values()) if isinstance(value, dict) else []


def mapping(value: object) -> dict[str, object]:
    """Give a map, or an empty one."""
    return value if isinstance(value, dict) else {}


def _listed(value: object) -> object:
    if not isinstance(value, dict):
        return value
    inner = {key: _listed(part) for key, part in value.items()}
    return mapped(inner) if inner else inner
