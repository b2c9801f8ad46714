"""Every text for people is there in every language, with the same placeholders; every slug that pages use exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Formatter

import pytest

from widget_backend import texts
from widget_backend.bridge import registry, rules, setup
from widget_backend.bridge.ends import Act
from widget_backend.bridge.statuses import Status

FILES = sorted(texts.LOCALES.rglob("*.json"))
ROOT = texts.LOCALES.parent.parent
TEMPLATES = ROOT / "widget_frontend" / "pages" / "templates"


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(texts.LOCALES)))
def test_every_slug_has_every_language_with_the_same_placeholders(file: Path) -> None:
    for slug, by_language in json.loads(file.read_text()).items():
        assert set(by_language) == set(texts.LANGUAGES), slug
        assert all(text.strip() for text in by_language.values()), slug
        assert len({frozenset(placeholders(text)) for text in by_language.values()}) == 1, slug


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(texts.LOCALES)))
def test_the_product_is_written_in_the_letters_of_the_language(file: Path) -> None:
    for slug, by_language in json.loads(file.read_text()).items():
        assert "Mostik" not in by_language["ru"], slug
        assert not any("Мостик" in by_language[language] for language in ("en", "es")), slug


def test_every_slug_that_a_template_or_page_names_exists() -> None:
    named = set()
    for file in TEMPLATES.glob("*.html"):
        named |= set(re.findall(r'\bt\("([a-z0-9_.]+)"[,)]', file.read_text()))
    for file in (ROOT / "widget_backend" / "pages").glob("*.py"):
        if not file.name.startswith("embedded"):
            named |= set(re.findall(r'\b(?:t|say)\(\s*"([a-z0-9_.]+)"', file.read_text()))
    assert len(named) > 100
    assert [slug for slug in sorted(named) if not texts.has(f"pages.{slug}")] == []


def test_every_status_act_rule_and_state_has_words() -> None:
    wanted = [f"pages.status.{status}" for status in Status] + [f"pages.message.act_{act}" for act in Act]
    wanted += [f"pages.trace.rule_{rule.__name__.rpartition('.')[2]}" for rule in rules.RULES]
    wanted += [f"pages.end.state_{state}" for state in ("new", "active", "error", "off")]
    assert [slug for slug in wanted if not texts.has(slug)] == []


@pytest.mark.parametrize("key", [manifest.key for manifest in registry.manifests()])
def test_every_setting_has_a_label_and_its_help(key: str) -> None:
    for field in setup.fields_of(key):
        assert texts.has(field.label), field.label
        assert not field.help or texts.has(field.help), field.help
