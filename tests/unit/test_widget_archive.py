"""The widget's archive: made for a server and a brand, and refused by the checker when anything in it is broken."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.sandbox.samples import png
from widget_backend import cli, texts, widget_archive, widget_check
from widget_backend.widget_archive import Brand, UnfitBrand

Files = dict[str, bytes]
BRAND = Brand(server="https://chat.acme.example", name="Acme Chat", name_ru="Акме", support_email="help@acme.example")


def opened(archive: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        return {name: files.read(name) for name in files.namelist()}


def packed(files: Files) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return made.getvalue()


@pytest.fixture(scope="module")
def files() -> Files:
    return opened(widget_archive.build(BRAND))


def test_archive_for_a_server_and_a_brand_passes_every_rule(files: Files) -> None:
    assert widget_check.check(packed(files)) == []
    assert b"'https://chat.acme.example'" in files["script.js"]
    assert not any(re.search(rb"@[A-Z_]+@", body) for name, body in files.items() if not name.endswith(".png"))
    assert json.loads(files["i18n/ru.json"])["widget"]["name"] == "Акме"
    assert json.loads(files["i18n/en.json"])["widget"]["name"] == "Acme Chat"


def test_same_brand_gives_the_same_bytes() -> None:
    assert widget_archive.build(BRAND) == widget_archive.build(BRAND)


def test_terms_are_named_where_the_marketplace_allows_the_address() -> None:
    brand = Brand(server="https://a.example", name="A", support_email="a@a.example", terms="https://acme.ru/terms")
    archive = widget_archive.build(brand)

    said = {code: json.loads(opened(archive)[f"i18n/{code}.json"])["widget"]["description"] for code in texts.LANGUAGES}
    assert "https://acme.ru/terms" in said["ru"] and "acme.ru" not in said["en"] + said["es"]
    assert widget_check.check(archive) == []


def test_every_word_the_script_asks_for_is_there(files: Files) -> None:
    asked = set(re.findall(r"\bword\('(\w+)'\)", files["script.js"].decode()))
    assert asked and asked <= set(json.loads(files["i18n/en.json"])["panel"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"server": "chat.acme.example"},
        {"server": "https://chat.acme.example/path"},
        {"name": "a'; evil"},
        {"name_ru": "<b>"},
        {"support_email": "nobody"},
        {"terms": "javascript:1"},
    ],
)
def test_unfit_values_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UnfitBrand):
        Brand(**{"server": "https://a.example", "name": "A", "support_email": "a@a.example", **wrong})


def rewrite(name: str, change: Callable[[str], str]) -> Callable[[Files], None]:
    return lambda files: files.__setitem__(name, change(files[name].decode()).encode())


def remanifest(change: Callable[[Any], object]) -> Callable[[Files], None]:
    def apply(files: Files) -> None:
        manifest = json.loads(files["manifest.json"])
        change(manifest)
        files["manifest.json"] = json.dumps(manifest).encode()

    return apply


def script(line: str) -> Callable[[Files], None]:
    return rewrite(
        "script.js", lambda code: code.replace("    var frames = [];", f"    var frames = [];\n    {line}", 1)
    )


BROKEN: dict[str, tuple[Callable[[Files], object], str, str]] = {
    "no manifest": (lambda files: files.pop("manifest.json"), "manifest.json", "missing"),
    "no script": (lambda files: files.pop("script.js"), "script.js", "missing"),
    "byte order mark": (rewrite("i18n/ru.json", lambda text: f"\ufeff{text}"), "i18n/ru.json", "byte order mark"),
    "windows line ends": (rewrite("script.js", lambda text: text.replace("\n", "\r\n")), "script.js", "line ends"),
    "broken json": (rewrite("i18n/en.json", lambda text: text[:-4]), "i18n/en.json", "not JSON"),
    "missing text": (rewrite("i18n/es.json", lambda text: text.replace('"start"', '"begin"')), "i18n/es.json", "lacks panel.start"),
    "russian in en": (rewrite("i18n/en.json", lambda text: text.replace("Talk to", "Пишите")), "i18n/en.json", "in Russian"),
    "ru address in en": (rewrite("i18n/en.json", lambda text: text.replace("Talk to", "acme.ru")), "i18n/en.json", ".ru address"),
    "free": (rewrite("i18n/en.json", lambda text: text.replace("Talk to", "Free talk to")), "i18n/en.json", "free"),
    "name of the CRM": (rewrite("i18n/en.json", lambda text: text.replace("Acme Chat", "amoCRM Chat")), "i18n/en.json", "name of the CRM"),
    "language without a file": (lambda files: files.pop("i18n/es.json"), "i18n/es.json", "missing"),
    "version": (remanifest(lambda one: one["widget"].update(version="new")), "manifest.json", "version"),
    "interface": (remanifest(lambda one: one["widget"].update(interface_version=1)), "manifest.json", "interface_version"),
    "support": (remanifest(lambda one: one["widget"].update(support={})), "manifest.json", "support"),
    "tour": (remanifest(lambda one: one["tour"].update(is_tour=False)), "manifest.json", "is_tour"),
    "unused location": (remanifest(lambda one: one["locations"].append("llist-1")), "manifest.json", "llist is not used"),
    "unknown location": (remanifest(lambda one: one["locations"].append("board")), "manifest.json", "board"),
    "untranslated": (remanifest(lambda one: one["widget"].update(name="widget.nothing")), "i18n/ru.json", "widget.nothing"),
    "no logo": (lambda files: files.pop("images/logo_min.png"), "images/logo_min.png", "84x84"),
    "wrong size": (lambda files: files.update({"images/logo.png": png(10, 10)}), "images/logo.png", "130x100"),
    "too heavy": (lambda files: files.update({"images/logo.png": files["images/logo.png"] + bytes(310_000)}), "images/logo.png", "300 KB"),
    "not a picture": (lambda files: files.update({"images/logo.png": b"GIF89a" + bytes(40)}), "images/logo.png", "not a PNG"),
    "unused file": (lambda files: files.update({"notes.txt": b"hello"}), "notes.txt", "used by nothing"),
    "not AMD": (rewrite("script.js", lambda code: code.replace("define(", "start(", 1)), "script.js", "AMD"),
    "minified": (rewrite("script.js", lambda code: code.replace("\n    ", " ")), "script.js", "minified"),
    "eval": (script("eval('1');"), "script.js", "eval"),
    "alert": (script("alert('done');"), "script.js", "dialog"),
    "console": (script("console.log(1);"), "script.js", "console"),
    "script tag": (script("$('body').append('<script src=x>');"), "script.js", "adds a script"),
    "synchronous": (script("$.ajax({ async: false });"), "script.js", "synchronous"),
    "writes into the CRM": (script("APP.data.mine = 1;"), "script.js", "own objects"),
    "by the clock": (script("setInterval(hear, 1000);"), "script.js", "loops"),
    "loop": (script("[1, 2].forEach(function (one) { self.$authorizedAjax({}); });"), "script.js", "in a loop"),
    "no onSave": (rewrite("script.js", lambda code: code.replace("onSave:", "saved:")), "script.js", "onSave"),
    "global style": (rewrite("style.css", lambda text: text + "\nbody { margin: 0; }\n"), "style.css", "reaches beyond"),
    "style of a neighbour": (rewrite("style.css", lambda text: text + "\n.mostik-widgets { margin: 0; }\n"), "style.css", "reaches beyond"),
    "style without version": (rewrite("script.js", lambda code: code.replace("?v=", "?t=")), "script.js", "?v="),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_archive_is_refused_with_where_and_why(name: str, files: Files) -> None:
    spoil, file, says = BROKEN[name]
    spoiled = dict(files)
    spoil(spoiled)

    assert any(finding.file == file and says in finding.says for finding in widget_check.check(packed(spoiled)))


def test_archive_with_a_folder_inside_and_what_is_no_archive_are_refused(files: Files) -> None:
    nested = widget_check.check(packed({f"widget/{name}": body for name, body in files.items()}))
    assert any("at the root" in finding.says for finding in nested)
    assert len(widget_check.check(b"not a zip")) == 1


def test_command_writes_a_checked_archive(tmp_path: Path) -> None:
    out = tmp_path / "widget.zip"
    said = ["widget", "--server", "https://a.example", "--support", "a@a.example", "--out", str(out)]
    done = CliRunner().invoke(cli.main, said)
    assert done.exit_code == 0 and widget_check.check(out.read_bytes()) == []

    refused = CliRunner().invoke(cli.main, [*said, "--brand", "Мостик", "--out", str(tmp_path / "other.zip")])
    assert refused.exit_code == 1 and "in Russian" in refused.output and not (tmp_path / "other.zip").exists()
