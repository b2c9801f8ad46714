"""The archive of the amoCRM widget, made from widget_frontend/amocrm/archive for one server's address and brand.

Its texts come from the locales. The same input gives the same bytes. What the marketplace asks of an archive is in `widget_check.py`.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from widget_backend import texts
from widget_backend.bridge.errors import MostikError

SOURCE = Path(__file__).parent.parent / "widget_frontend" / "amocrm" / "archive"
ROOM = "widget.amocrm"
_TEXT_FILES = {".js", ".json", ".css"}
_BORN = (1980, 1, 1, 0, 0, 0)  # the earliest moment a zip can hold
_RUSSIAN_LINK = re.compile(r"\.ru\b|\.рф\b", re.IGNORECASE)


class UnfitBrand(MostikError):
    """An archive cannot be made for these values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """Whose archive it is. `server` is the public address; `name_ru` the brand in Russian, if it differs; `terms` the page with price, conditions and
    privacy policy.
    """

    server: str
    name: str
    support_email: str
    name_ru: str = ""
    support_link: str = ""
    terms: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.server)
        if parts.scheme not in ("https", "http") or not parts.netloc or parts.path or parts.query or parts.fragment:
            raise UnfitBrand("the server must be an address without a path, such as https://chat.example.com")
        for name in (self.name, self.name_ru or self.name):
            if not re.fullmatch(r"[^\"'\\<>\x00-\x1f]{1,80}", name):
                raise UnfitBrand("a brand has 1 to 80 characters, without quotes, angle brackets and backslashes")
        if not re.fullmatch(r"[^@\s\"\\]+@[^@\s\"\\]+\.[^@\s\"\\]+", self.support_email):
            raise UnfitBrand("the support address must be an e-mail")
        for link in (self.support_link, self.terms):
            if link and not re.fullmatch(r"https?://[^\s\"'\\<>]+", link):
                raise UnfitBrand("links must be http(s) addresses")


def build(brand: Brand) -> bytes:
    """Make widget.zip. Raises: UnfitBrand. Source: amocrm.md 7.1 (files at the root, UTF-8 without BOM, line ends \\n)."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in _files(brand):
            entry = zipfile.ZipInfo(name, _BORN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, body)
    return made.getvalue()


def widget_version(given: str = "") -> str:
    """Return the archive's version: amoCRM keeps files by it, so it must rise with every upload (amocrm.md 7.2)."""
    return given or version("mostik")


def _files(brand: Brand) -> Iterator[tuple[str, bytes]]:
    values = {
        "SERVER": brand.server,
        "VERSION": widget_version(brand.version),
        "SUPPORT_LINK": brand.support_link or brand.server,
        "SUPPORT_EMAIL": brand.support_email,
    }
    for file in sorted(SOURCE.rglob("*")):
        if file.is_file():
            body = file.read_bytes()
            if file.suffix in _TEXT_FILES:
                body = re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], body.decode()).encode()
            yield file.relative_to(SOURCE).as_posix(), body
    for language in texts.LANGUAGES:
        yield (
            f"i18n/{language}.json",
            json.dumps(_words(brand, language), ensure_ascii=False, indent=2).encode() + b"\n",
        )


def _words(brand: Brand, language: str) -> dict[str, dict[str, str]]:
    """Return the texts of one language as the CRM wants them: groups of words."""
    words: dict[str, dict[str, str]] = {}
    shown = (brand.name_ru or brand.name) if language == "ru" else brand.name
    for slug in texts.slugs(ROOM):
        group, _, name = slug.partition(".")
        words.setdefault(group, {})[name] = texts.text(f"{ROOM}.{slug}", language, brand=shown, terms=brand.terms)
    terms = words["widget"].pop("terms")
    # the marketplace allows no .ru links outside Russian (amocrm.md 7.6)
    if brand.terms and (language == "ru" or not _RUSSIAN_LINK.search(brand.terms)):
        words["widget"]["description"] += f" {terms}"
    return words
