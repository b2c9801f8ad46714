"""The rights that the cabinet tells people to tick are those that the adapter's calls need, no more and no fewer."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.sandbox.bitrix24.methods import catalog
from tests.sandbox.bitrix24.methods.table import METHODS
from widget_backend import texts

ADAPTER = Path(__file__).parents[4] / "widget_backend" / "crms" / "bitrix24"


def _said(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_rights_to_tick_are_those_of_the_methods_that_are_called() -> None:
    assert catalog.FAMILIES
    called = {name for file in ADAPTER.glob("*.py") for name in _said(file) if name.lower() in METHODS}
    assert "imconnector.send.messages" in called
    # bitrix24.md 1.6: the methods are of imopenlines, their events of imconnector
    needed = {METHODS[name.lower()].scope for name in called} - {""} | {"imconnector"}
    for language in texts.LANGUAGES:
        steps = texts.text("pages.app.bitrix24_steps", language)
        assert set(re.findall(r"\(([a-z_]+)\)", steps)) == needed, language
