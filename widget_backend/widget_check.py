"""What the amoCRM marketplace asks of a widget's archive (amocrm.md 7.1, 7.2, 7.3, 7.6, 12), checked before anybody uploads it."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_IMAGE_BYTES = 300 * 1024
MAX_FILE_BYTES = 2 * 1024 * 1024
MAX_LINE = 300
IMAGES: Mapping[str, tuple[int, int]] = {
    "images/logo_main.png": (400, 272),
    "images/logo_small.png": (108, 108),
    "images/logo.png": (130, 100),
    "images/logo_medium.png": (240, 84),
    "images/logo_min.png": (84, 84),
}
TOUR_IMAGE = (1188, 616)
LANGUAGES = frozenset({"ru", "en", "es", "pt"})
NEEDED_BY_LOCATION: Mapping[str, str] = {
    "settings": "settings", "advanced_settings": "advancedSettings", "lcard": "render", "ccard": "render", "comcard": "render",
    "cucard": "render", "llist": "leads", "clist": "contacts", "digital_pipeline": "dpSettings",
    "salesbot_designer": "salesbotDesignerSettings", "lead_sources": "onSave",
}  # fmt: skip
"""The locations of the marketplace that our archive may use, and the callback that each of them is nothing without."""

_FORBIDDEN_JS: tuple[tuple[str, str], ...] = (
    (r"\beval\s*\(|new\s+Function\s*\(", "runs text as code (eval, new Function)"),
    (r"(?<![\w.$])(?:window\.)?(?:alert|confirm|prompt)\s*\(", "opens a browser dialog (alert, confirm, prompt)"),
    (r"\bconsole\.(?!debug\b|trace\b)\w+", "writes to the console; only console.debug is allowed"),
    (r"createElement\(\s*['\"]script|<script|getScript\s*\(", "adds a script by itself; dependencies belong into define()"),
    (r"\basync\s*:\s*false", "makes a synchronous request"),
    (r"\b(?:APP|AMOCRM)(?:\.\w+)+\s*=(?!=)", "writes into the CRM's own objects (APP, AMOCRM)"),
    (r"\bsetInterval\s*\(", "repeats something by the clock; the one-time token allows no loops of requests"),
    (r"(?:\.each|\.forEach|\.map|\bfor|\bwhile)\s*\([^{};]*\{[^{}]*(?:authorizedAjax|crm_post)", "makes requests in a loop"),
)  # fmt: skip
_CYRILLIC = re.compile(r"[А-Яа-яЁё]")
_RUSSIAN_LINK = re.compile(r"[\w-]\.ru\b|\.рф\b", re.IGNORECASE)
_FREE = re.compile(r"бесплатн|\bfree\b|\bgratis\b|\bgratuit", re.IGNORECASE)
_CRM_NAME = re.compile(r"amo\s*crm|kommo", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the marketplace would refuse: where, and what to do."""

    file: str
    says: str

    def __str__(self) -> str:
        return f"{self.file}: {self.says}"


class _Archive:
    """The files of an archive, read within bounds, and its manifest."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.manifest: dict[str, Any] = _object(files.get("manifest.json", b""))
        self.words = {
            name.removeprefix("i18n/").removesuffix(".json"): _object(body)
            for name, body in files.items()
            if re.fullmatch(r"i18n/\w+\.json", name)
        }

    def text(self, name: str) -> str:
        return self.files.get(name, b"").decode("utf-8", "replace")

    def word(self, language: str, key: str) -> object:
        here: object = self.words.get(language, {})
        for part in key.split("."):
            here = here.get(part) if isinstance(here, dict) else None
        return here

    def tours(self) -> dict[str, list[str]]:
        tour = self.manifest.get("tour")
        images = tour.get("tour_images") if isinstance(tour, dict) else None
        found = images if isinstance(images, dict) else {}
        return {
            str(language): [str(one).lstrip("/") for one in paths if isinstance(one, str)]
            for language, paths in found.items()
            if isinstance(paths, list)
        }


def check(archive: bytes, *, root_class: str = "mostik-widget") -> list[Finding]:
    """Return everything that the marketplace would refuse; an empty list means that the archive may be uploaded."""
    try:
        files = _read(archive)
    except (zipfile.BadZipFile, ValueError) as error:
        return [Finding("widget.zip", str(error) or "is not a zip archive")]
    opened = _Archive(files)
    rules: tuple[Callable[[_Archive], Iterator[Finding]], ...] = (
        _layout, _encoding, _manifest, _locations, _tour, _i18n, _images, _scripts, _unused,
    )  # fmt: skip
    found = [finding for rule in rules for finding in rule(opened)]
    return found + list(_styles(opened, root_class))


def _read(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        files = {}
        for entry in opened.infolist():
            if entry.file_size > MAX_FILE_BYTES:
                raise ValueError(f"{entry.filename} is larger than {MAX_FILE_BYTES // 1024} KB")
            if not entry.is_dir():
                files[entry.filename] = opened.read(entry)
        return files


# -- the archive as a whole ------------------------------------------------------------------------------------------


def _layout(archive: _Archive) -> Iterator[Finding]:
    for name in ("manifest.json", "script.js"):
        if name not in archive.files:
            inside = next((path for path in archive.files if path.endswith(f"/{name}")), "")
            cure = f"is in a folder ({inside}); put the files at the root of the zip" if inside else "is missing"
            yield Finding(name, cure)


def _encoding(archive: _Archive) -> Iterator[Finding]:
    for name, body in archive.files.items():
        if not name.endswith((".json", ".js", ".css", ".twig")):
            continue
        if body.startswith(b"\xef\xbb\xbf"):
            yield Finding(name, "begins with a byte order mark; save it as UTF-8 without BOM")
        if b"\r" in body:
            yield Finding(name, "has Windows line ends; use \\n")
        try:
            body.decode()
        except UnicodeDecodeError:
            yield Finding(name, "is not UTF-8")
        if name.endswith(".json"):
            try:
                json.loads(body)
            except ValueError as error:
                yield Finding(name, f"is not JSON: {error}")


def _unused(archive: _Archive) -> Iterator[Finding]:
    script = "".join(archive.text(name) for name in archive.files if name.endswith(".js"))
    tours = {path for paths in archive.tours().values() for path in paths}
    for name in archive.files:
        is_known = name in {"manifest.json", "script.js", *IMAGES, *tours} or name.startswith("i18n/")
        stem = name.removesuffix(".js")
        if not is_known and stem not in script and name.rpartition("/")[2] not in script:
            yield Finding(name, "is used by nothing; remove it")


# -- the manifest ----------------------------------------------------------------------------------------------------


def _manifest(archive: _Archive) -> Iterator[Finding]:
    widget = archive.manifest.get("widget")
    if not isinstance(widget, dict):
        if "manifest.json" in archive.files:
            yield Finding("manifest.json", "has no object `widget`")
        return
    for name in ("name", "description", "short_description"):
        yield from _translated(archive, widget.get(name), f"widget.{name}")
    if not re.fullmatch(r"\d+(\.\d+)*", str(widget.get("version", ""))):
        yield Finding("manifest.json", "widget.version must be numbers with dots, higher with every upload")
    if widget.get("interface_version") != 2:
        yield Finding("manifest.json", "widget.interface_version must be 2")
    if not isinstance(widget.get("installation"), bool):
        yield Finding("manifest.json", "widget.installation must be true or false")
    support = widget.get("support") or {}
    if not str(support.get("link", "")).startswith("https://") and "@" not in str(support.get("email", "")):
        yield Finding("manifest.json", "widget.support needs an https link or an e-mail")
    if widget.get("installation") and not isinstance(archive.manifest.get("settings"), dict):
        yield Finding("manifest.json", "settings are needed with installation = true")
    for code, setting in (archive.manifest.get("settings") or {}).items():
        yield from _translated(archive, setting.get("name"), f"settings.{code}.name")


def _locations(archive: _Archive) -> Iterator[Finding]:
    locations = archive.manifest.get("locations")
    if not isinstance(locations, list) or not locations:
        yield Finding("manifest.json", "locations are missing")
        return
    script = archive.text("script.js")
    for location in locations:
        place = re.sub(r"-[01]$", "", str(location))
        callback = NEEDED_BY_LOCATION.get(place)
        if callback is None:
            yield Finding(
                "manifest.json", f"location {place} is not known here; remove it, or teach the checker what it needs"
            )
        elif not re.search(rf"\b{callback}\s*:", script):
            yield Finding(
                "manifest.json",
                f"location {place} is not used: script.js has no callback {callback}; remove the location",
            )
    if "advanced_settings" in locations:
        advanced = archive.manifest.get("advanced") or {}
        yield from _translated(archive, advanced.get("title"), "advanced.title")


def _tour(archive: _Archive) -> Iterator[Finding]:
    tour = archive.manifest.get("tour")
    if not isinstance(tour, dict) or tour.get("is_tour") is not True:
        yield Finding("manifest.json", "tour.is_tour must be true")
        return
    yield from _translated(archive, tour.get("tour_description"), "tour.tour_description")
    tours = archive.tours()
    for language in archive.words:
        if not tours.get(language):
            yield Finding("manifest.json", f"tour.tour_images has none for {language}")
        for path in tours.get(language, []):
            yield from _image(archive, path, TOUR_IMAGE)


def _translated(archive: _Archive, key: object, field: str) -> Iterator[Finding]:
    """A field of the manifest names a text: it must be there in every language."""
    if not isinstance(key, str) or not key:
        yield Finding("manifest.json", f"{field} is missing")
        return
    for language in archive.words:
        said = archive.word(language, key)
        if not isinstance(said, str) or not said.strip():
            yield Finding(f"i18n/{language}.json", f"has no text {key}, which the manifest names as {field}")


# -- texts and images ------------------------------------------------------------------------------------------------


def _i18n(archive: _Archive) -> Iterator[Finding]:
    widget = archive.manifest.get("widget") or {}
    wanted = {str(one) for one in widget.get("locale") or []} if isinstance(widget, dict) else set()
    if not wanted or not wanted <= LANGUAGES:
        yield Finding("manifest.json", "widget.locale must list languages out of ru, en, es, pt")
    for language in sorted(wanted - set(archive.words)):
        yield Finding(f"i18n/{language}.json", "is missing, though widget.locale names it")
    for language in sorted(set(archive.words) - wanted):
        yield Finding(f"i18n/{language}.json", "is there, though widget.locale does not name it")
    flat = {language: dict(_flat(words)) for language, words in archive.words.items()}
    every = set().union(*flat.values()) if flat else set()
    for language, words in flat.items():
        for key in sorted(every - set(words)):
            yield Finding(f"i18n/{language}.json", f"lacks {key}, which another language has")
        for key, said in words.items():
            yield from _word(language, key, said)


def _word(language: str, key: str, said: str) -> Iterator[Finding]:
    file = f"i18n/{language}.json"
    if language != "ru" and _CYRILLIC.search(said):
        yield Finding(file, f"{key} is in Russian")
    if language != "ru" and _RUSSIAN_LINK.search(said):
        yield Finding(file, f"{key} has a .ru address")
    if key == "widget.name" and _CRM_NAME.search(said):
        yield Finding(file, "widget.name holds the name of the CRM")
    if key.startswith("widget.") and _FREE.search(said):
        yield Finding(file, f"{key} promises something free; say what it costs")


def _flat(words: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(words, dict):
        for key, value in words.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, str(words)


def _images(archive: _Archive) -> Iterator[Finding]:
    for name, size in IMAGES.items():
        yield from _image(archive, name, size)


def _image(archive: _Archive, name: str, size: tuple[int, int]) -> Iterator[Finding]:
    body = archive.files.get(name)
    if body is None:
        yield Finding(name, f"is missing; it must be a picture of {size[0]}x{size[1]}")
        return
    if len(body) > MAX_IMAGE_BYTES:
        yield Finding(name, f"has {len(body) // 1024} KB; at most {MAX_IMAGE_BYTES // 1024} KB are allowed")
    if not body.startswith(b"\x89PNG\r\n\x1a\n") or len(body) < 24:
        yield Finding(name, "is not a PNG")
        return
    width, height = struct.unpack(">II", body[16:24])
    if (width, height) != size:
        yield Finding(name, f"is {width}x{height}; it must be {size[0]}x{size[1]}")
    if b"acTL" in body:
        yield Finding(name, "is animated")


# -- scripts and styles ----------------------------------------------------------------------------------------------


def _scripts(archive: _Archive) -> Iterator[Finding]:
    for name in archive.files:
        if not name.endswith(".js"):
            continue
        code = _without_comments(archive.text(name))
        if name == "script.js" and not re.search(r"^\s*define\s*\(\s*\[", code):
            yield Finding(name, "is no AMD module: it must begin with define([...], function ...)")
        if any(len(line) > MAX_LINE for line in code.splitlines()):
            yield Finding(name, "looks minified (a very long line); upload readable code")
        for pattern, says in _FORBIDDEN_JS:
            if re.search(pattern, code):
                yield Finding(name, says)
    code = archive.text("script.js")
    for callback in ("render", "init", "bind_actions", "destroy", "onSave"):
        if not re.search(rf"\b{callback}\s*:", code):
            yield Finding("script.js", f"has no callback {callback}")
    if any(name.endswith(".css") for name in archive.files) and not re.search(r"\.css\?v=", code):
        yield Finding("script.js", "links style.css without ?v=<version>: browsers would keep the old one")


def _without_comments(code: str) -> str:
    """Take the comments out, not what looks like one inside a text or an address."""
    return re.sub(r"(?m)/\*.*?\*/|(?:^|(?<=\s))//[^\n]*", "", code, flags=re.DOTALL)


def _styles(archive: _Archive, root_class: str) -> Iterator[Finding]:
    for name in archive.files:
        if not name.endswith(".css"):
            continue
        style = re.sub(r"/\*.*?\*/", "", archive.text(name), flags=re.DOTALL)
        if "@import" in style:
            yield Finding(name, "imports another style sheet")
        for block in re.findall(r"([^{}]+)\{", style):
            for selector in block.split(","):
                said = selector.strip()
                if (
                    said
                    and not said.startswith("@")
                    and not re.match(rf"\.{re.escape(root_class)}(?![a-zA-Z0-9-])", said)
                ):
                    yield Finding(name, f"selector {said} reaches beyond the widget; begin it with .{root_class}")


def _object(body: bytes) -> dict[str, Any]:
    """Load a JSON object; what is not one is told by the rule about encodings."""
    try:
        loaded = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}
