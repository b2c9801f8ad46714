"""Make docs/features.md from docs/features.json, or with --check say what is wrong with either.

The ledger says of every feature the product must have whether it works, and which test proves it. People edit the
JSON file, one row a line; the Markdown page is generated and never edited.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "docs" / "features.json"
PAGE = ROOT / "docs" / "features.md"
FEATURE_MAX_LENGTH = 260

HEAD = """\
# Features

Everything the product must do, one row each, and how far it is. This page is generated: edit `docs/features.json`, then
run `python docs/features.py`.

* **works**: built, tried by hand, and proven by the named test
* **partly**: the named test proves a part; the row says what is missing
* **not yet**: not built, or not proven

Words used in the rows: tariffs Limited [Ограниченный], Unlimited [Безлимитный], Maximal [Максимальный]; amoCRM work modes
Chats [Чаты] and Add [Добавлять]; amoCRM stage Unsorted [Неразобранное]. "Preset" is the default value.
"""


class State(StrEnum):
    """How far a feature is."""

    WORKS = "works"
    PARTLY = "partly"
    NOT_YET = "not yet"


@dataclass(frozen=True, slots=True)
class Feature:
    """One row of the ledger."""

    id: str
    feature: str
    state: State
    missing: str = ""
    test: str = ""

    @property
    def area(self) -> str:
        """Return the prefix of the id, which names the area."""
        return self.id.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The whole data file: titles of the areas in their order, and the rows."""

    areas: Mapping[str, str]
    features: Sequence[Feature]


def load(path: Path = DATA) -> Ledger:
    """Read the ledger from its data file.

    Raises: ValueError for a state that does not exist, TypeError for a field that does not.
    """
    raw = json.loads(path.read_text(encoding="utf-8"))
    features = [Feature(**{**row, "state": State(row["state"])}) for row in raw["features"]]
    return Ledger(raw["areas"], features)


def problems(ledger: Ledger, root: Path = ROOT) -> list[str]:
    """Say in one line each what is wrong with the ledger; [] when nothing is."""
    counted = Counter(feature.id for feature in ledger.features)
    found = [f"{repeated}: stands here {times} times" for repeated, times in counted.items() if times > 1]
    for feature in ledger.features:
        found += [f"{feature.id}: {problem}" for problem in _row_problems(feature, ledger.areas, root)]
    return found


def _row_problems(feature: Feature, areas: Mapping[str, str], root: Path) -> list[str]:
    found = []
    if feature.area not in areas:
        found.append("its area has no title")
    if not 0 < len(feature.feature) <= FEATURE_MAX_LENGTH:
        found.append(f"the feature needs 1 to {FEATURE_MAX_LENGTH} characters")
    if bool(feature.missing) != (feature.state is State.PARTLY):
        found.append(f"'missing' belongs to partly rows and to each of them, this one is '{feature.state}'")
    if bool(feature.test) != (feature.state is not State.NOT_YET):
        found.append(f"'test' belongs to works and partly rows and to each of them, this one is '{feature.state}'")
    if feature.test and not (feature.test.startswith("tests/") and (root / feature.test).is_file()):
        found.append(f"there is no test file {feature.test}")
    return found


def render(ledger: Ledger) -> str:
    """Return the whole page: head, count per area and state, then one table per area."""
    parts = [HEAD, _counts(ledger)]
    parts += [_table(area, title, ledger.features) for area, title in ledger.areas.items()]
    return "\n".join(parts)


def _counts(ledger: Ledger) -> str:
    counted = Counter((feature.area, feature.state) for feature in ledger.features)
    states = list(State)
    lines = [_row("area", *states, "all"), _row("---", *["---:"] * (len(states) + 1))]
    for area, title in ledger.areas.items():
        numbers = [counted[area, state] for state in states]
        lines.append(_row(f"{area}: {title}", *map(str, numbers), str(sum(numbers))))
    totals = [sum(feature.state is state for feature in ledger.features) for state in states]
    lines.append(_row("**all**", *(f"**{number}**" for number in (*totals, sum(totals)))))
    return "\n".join(lines) + "\n"


def _table(area: str, title: str, features: Sequence[Feature]) -> str:
    lines = [f"## {area}: {title}", "", _row("id", "feature", "state", "proof"), _row(*["---"] * 4)]
    for feature in features:
        if feature.area == area:
            state = f"{feature.state} (missing: {feature.missing})" if feature.missing else str(feature.state)
            lines.append(_row(feature.id, feature.feature, state, feature.test))
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or with --check only compare; 1 when something is wrong."""
    parser = argparse.ArgumentParser(description="Make docs/features.md from docs/features.json.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when data or page are wrong")
    check = parser.parse_args(arguments).check
    ledger = load()
    found = problems(ledger)
    if not found and not check:
        PAGE.write_text(render(ledger), encoding="utf-8")
    elif check and (not PAGE.exists() or PAGE.read_text(encoding="utf-8") != render(ledger)):
        found.append("docs/features.md is out of date: run python docs/features.py")
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
