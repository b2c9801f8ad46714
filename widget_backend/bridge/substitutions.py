"""What a quick reply may name between percent signs: facts of the card, of its contact and company, of the client and of whoever writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

GROUPS: Mapping[str, tuple[str, ...]] = {
    "deal": (
        "DEAL_ID", "DEAL_NAME", "DEAL_BUDGET", "DEAL_STATUS", "DEAL_PIPELINE",
        "DEAL_RESPONSIBLE", "DEAL_RESPONSIBLE_ID", "DEAL_RESPONSIBLE_EMAIL",
    ),
    "contact": ("CONTACT_ID", "CONTACT_NAME", "CONTACT_FIRST_NAME", "CONTACT_PHONE", "CONTACT_EMAIL"),
    "company": ("COMPANY_ID", "COMPANY_NAME", "COMPANY_PHONE", "COMPANY_EMAIL"),
    "user": ("USER_ID", "USER_NAME", "USER_PHONE", "USER_EMAIL"),
    "client": ("NAME", "USERNAME", "CHANNEL"),
}  # fmt: skip
"""Names by group; each has a label in the locales, `substitutions.<name in small letters>`."""
NAMES = frozenset(name for names in GROUPS.values() for name in names)
_NAMED = re.compile(r"%([A-Z][A-Z0-9_]{1,60})%")


@dataclass(frozen=True, slots=True)
class Filled:
    """A text with its facts. `missing`: names that stand for nothing here, in the order of the text."""

    text: str
    missing: tuple[str, ...]


def named(template: str) -> frozenset[str]:
    """Return the known names that stand in a text."""
    return frozenset(_NAMED.findall(template)) & NAMES


def fill(template: str, facts: Mapping[str, str]) -> Filled:
    """Put facts in the place of their names. A known name without a fact leaves nothing and is told; an unknown one stays as it is written."""
    missing: dict[str, None] = {}

    def fact(found: re.Match[str]) -> str:
        name = found[1]
        value = facts.get(name, "")
        if not value and name not in NAMES and name not in facts:
            return found[0]
        if not value:
            missing[name] = None
        return value

    return Filled(_NAMED.sub(fact, template), tuple(missing))
