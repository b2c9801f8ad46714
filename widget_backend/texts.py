"""Texts for people, from widget_frontend/locales: one JSON file per room, `{"slug": {"ru": ..., "en": ..., "es": ...}}`, Russian first."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

LOCALES = Path(__file__).parent.parent / "widget_frontend" / "locales"
LANGUAGES = ("ru", "en", "es")


@cache
def _catalogue() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for file in sorted(LOCALES.rglob("*.json")):
        room = ".".join(file.relative_to(LOCALES).with_suffix("").parts)
        for slug, texts in json.loads(file.read_text()).items():
            found[f"{room}.{slug}"] = texts
    return found


def text(slug: str, locale: str = "ru", /, **values: object) -> str:
    """Return a text by `room.slug`, in the language or in Russian. Raises: KeyError for a slug that does not exist."""
    texts = _catalogue()[slug]
    return (texts.get(locale) or texts["ru"]).format(**values)


def reason(slug: str, adapter: str, locale: str = "ru") -> str:
    """Return the sentence for a reason slug: the adapter's own, else the common one, else a general one with the slug."""
    for key in (f"reasons.{adapter}.{slug}", f"reasons.common.{slug}"):
        if key in _catalogue():
            return text(key, locale)
    return text("reasons.common.unknown", locale, slug=slug)


def has(slug: str) -> bool:
    """Tell whether a slug exists."""
    return slug in _catalogue()


def slugs(room: str) -> list[str]:
    """Return the slugs of a room, without its name, in the order of its file."""
    prefix = f"{room}."
    return [slug.removeprefix(prefix) for slug in _catalogue() if slug.startswith(prefix)]
