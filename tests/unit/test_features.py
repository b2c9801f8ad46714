"""The ledger of features: complete, honest about its proofs, and its page up to date."""

import dataclasses
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
COUNT_BY_AREA = {
    "REG": 11,
    "PRO": 9,
    "TAR": 19,
    "BIL": 18,
    "NTF": 6,
    "JRN": 17,
    "RPL": 6,
    "EXP": 10,
    "CHN": 14,
    "FLT": 16,
    "WA": 20,
    "WBA": 5,
    "TG": 16,
    "IGD": 32,
    "IGC": 11,
    "VK": 16,
    "AVI": 7,
    "AMO": 53,
    "B24": 25,
    "PF": 37,
    "WEB": 3,
    "ANL": 4,
    "ERR": 8,
    "API": 4,
    "GAP": 18,
}


@pytest.fixture(scope="module")
def features() -> ModuleType:
    """Load docs/features.py, which is a script and not part of a package."""
    spec = importlib.util.spec_from_file_location("mostik_docs_features", ROOT / "docs" / "features.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


def test_ids_of_the_ledger_are_all_385_in_order(features: ModuleType) -> None:
    expected = [f"{area}-{number:02}" for area, count in COUNT_BY_AREA.items() for number in range(1, count + 1)]
    assert len(expected) == 385
    assert [feature.id for feature in features.load().features] == expected


def test_ids_of_the_ledger_are_exactly_those_of_the_inventory(features: ModuleType) -> None:
    schemas = os.environ.get("CONTRACT_SCHEMAS")
    if not schemas:
        pytest.skip("CONTRACT_SCHEMAS is not set, so the inventory beside the schemas is not at hand")
    inventory = Path(schemas).resolve().parent / "inventory.md"
    if not inventory.is_file():
        pytest.skip("there is no inventory.md beside the folder that CONTRACT_SCHEMAS names")
    wanted = re.findall(r"^- \[.\] \*\*([A-Z0-9]+-\d+)\*\*", inventory.read_text(encoding="utf-8"), re.MULTILINE)
    assert [feature.id for feature in features.load().features] == wanted


def test_rows_of_the_ledger_have_no_problems(features: ModuleType) -> None:
    assert features.problems(features.load()) == []


def test_page_is_up_to_date_with_the_ledger(features: ModuleType) -> None:
    assert (ROOT / "docs" / "features.md").read_text(encoding="utf-8") == features.render(features.load())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"state": "works"}, "'test' belongs to works and partly rows"),
        ({"state": "works", "test": "tests/unit/no_such_file.py"}, "there is no test file"),
        ({"state": "works", "test": "docs/features.py"}, "there is no test file"),
        ({"state": "partly", "test": "tests/unit/test_features.py"}, "'missing' belongs to partly rows"),
        ({"state": "works", "test": "tests/unit/test_features.py", "missing": "x"}, "'missing' belongs to partly rows"),
        ({"state": "not yet", "test": "tests/unit/test_features.py"}, "'test' belongs to works and partly rows"),
        ({"id": "XYZ-01"}, "its area has no title"),
        ({"feature": ""}, "the feature needs 1 to"),
        ({"feature": "long " * 100}, "the feature needs 1 to"),
    ],
)
def test_row_that_breaks_a_rule_is_named(features: ModuleType, change: dict[str, str], problem: str) -> None:
    changed = {**change, "state": features.State(change.get("state", "not yet"))}
    row = dataclasses.replace(features.Feature("VK-01", "A feature", features.State.NOT_YET), **changed)
    found = features.problems(features.Ledger({"VK": "VK"}, [row]))
    assert len(found) == 1
    assert found[0].startswith(f"{row.id}: {problem}")


def test_id_that_stands_twice_is_named(features: ModuleType) -> None:
    row = features.Feature("VK-01", "A feature", features.State.NOT_YET)
    assert features.problems(features.Ledger({"VK": "VK"}, [row, row])) == ["VK-01: stands here 2 times"]


def test_row_of_the_page_shows_state_missing_and_proof(features: ModuleType) -> None:
    row = features.Feature("VK-01", "a|b", features.State.PARTLY, "no video", "tests/unit/test_features.py")
    page = features.render(features.Ledger({"VK": "VK"}, [row]))
    assert r"| VK-01 | a\|b | partly (missing: no video) | tests/unit/test_features.py |" in page
    assert "| VK: VK | 0 | 1 | 0 | 1 |" in page


def test_check_fails_without_writing_when_the_page_is_old(
    features: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "features.md"
    page.write_text("old", encoding="utf-8")
    monkeypatch.setattr(features, "PAGE", page)
    assert features.main(["--check"]) == 1
    assert "out of date" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == "old"
    assert features.main([]) == 0
    assert features.main(["--check"]) == 0
