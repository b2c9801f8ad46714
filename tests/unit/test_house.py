"""The house's own rules (architecture.md, style of the rooms), read from the source: no database, no application, no network."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from jobs import queues, schedules
from widget_backend import doctor, texts
from widget_backend.bridge import registry
from widget_backend.bridge.ends import Side

ROOT = Path(__file__).parents[2]
PRODUCT = ("widget_backend", "oauth", "jobs")
ROOMS = {Side.NETWORK: ROOT / "widget_backend" / "networks", Side.CRM: ROOT / "widget_backend" / "crms"}
ADAPTERS = sorted(path.parent for room in ROOMS.values() for path in room.glob("*/__init__.py"))
NEEDED_FILES = {"__init__.py", "manifest.py", "settings.py", "hooks.py", "client.py", "adapter.py"}
FURTHER_FILES = re.compile(r"(cards|pages|robots|login|media|format|templates|client_[a-z]+|hooks_[a-z]+)\.py")

HTTP_LIBRARIES = {"requests", "urllib3", "http.client", "urllib.request", "aiohttp", "httpx"}
MAY_CALL_OUT = {
    "widget_backend/outside.py",
    "widget_backend/wire.py",
    "widget_backend/doctor.py",  # asks this server itself at its public address
    "widget_backend/demo.py",  # plays the people of the simulated world
    "widget_backend/demo_browser.py",
}
MAY_READ_ENVIRONMENT = {"widget_backend/config.py", "widget_backend/run.py"}  # run.py hands it to its processes
MAY_READ_TIME = {"widget_backend/clock.py"}
MAY_CATCH_EVERYTHING = {
    "widget_backend/hooks.py",  # whoever calls gets an answer
    "widget_backend/bridge/inbox.py",  # a hook that cannot be read stops nobody
    "widget_backend/bridge/split.py",  # the same for an app's
    "widget_backend/bridge/deliver.py",  # a bug with an open attempt is `uncertain`; one before it holds that conversation alone
    "widget_backend/bridge/faults.py",  # whose fault it is: an end that cannot be read, or one message
    "widget_backend/bridge/held.py",  # an event that waited and cannot be recorded stops no other
    "widget_backend/bridge/keeper.py",  # handed to the thread that waits
    "widget_backend/bridge/presence.py",  # a sign of typing has nobody to tell
    "widget_backend/wire.py",  # gives the connection back and raises
    "jobs/schedules.py",  # trouble with one end keeps no other from its turn
}
ADAPTERS_MAY_IMPORT = {
    "widget_backend.bridge.channel_settings",  # what every network's settings have in common
    "widget_backend.bridge.ends",
    "widget_backend.bridge.errors",
    "widget_backend.bridge.events",
    "widget_backend.clock",
    "widget_backend.crypto",
    "widget_backend.ids",
    "widget_backend.limits",
    "widget_backend.outside",
    "widget_backend.platforms",
    "widget_backend.reading",
    "widget_backend.short_memory",
    "widget_backend.texts",
}
HOOKS_MAY_IMPORT = {
    "widget_backend.bridge.ends",
    "widget_backend.bridge.errors",
    "widget_backend.bridge.events",
    "widget_backend.platforms",
    "widget_backend.reading",
}
IMPURE = {"flask", "os", "random", "redis", "requests", "secrets", "socket", "sqlalchemy", "subprocess", "time"}
WITH_RUSSIAN = {
    "widget_backend/crms/bitrix24/manifest.py",  # a name
    "widget_backend/demo.py",  # a sample customer's name
    "widget_backend/widget_check.py",  # looks for Russian where none may be
    "widget_backend/widget_archive.py",
}
INVARIANTS = 11


@cache
def _sources() -> dict[str, ast.Module]:
    paths = [path for room in PRODUCT for path in sorted((ROOT / room).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in paths}


def _imports(tree: ast.AST) -> set[str]:
    """Return what a module imports, as full names of modules or of what is in them."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _is_in(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _importing(packages: set[str], *, where: str = "") -> set[str]:
    """Return the files below a folder that import one of these packages."""
    return {
        file
        for file, tree in _sources().items()
        if file.startswith(where) and any(_is_in(name, packages) for name in _imports(tree))
    }


def _calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def _package(folder: Path) -> str:
    return folder.relative_to(ROOT).as_posix().replace("/", ".")


# --------------------------------------------------------------------------------------------------- who imports whom


def test_bridge_imports_no_adapter_and_nothing_above_it() -> None:
    above = {"widget_backend.crms", "widget_backend.networks", "widget_backend.pages", "widget_backend.api", "jobs"}
    assert _importing(above, where="widget_backend/bridge/") == set()
    assert _importing({"oauth"}, where="widget_backend/bridge/") == {"widget_backend/bridge/life.py"}


def test_nobody_but_the_registry_knows_an_adapter_by_name() -> None:
    rooms = {"widget_backend.crms", "widget_backend.networks"}
    outside_of_them = {
        file for file in _importing(rooms) if not file.startswith(("widget_backend/crms/", "widget_backend/networks/"))
    }
    assert outside_of_them == set()


def test_only_the_application_imports_pages() -> None:
    importing = _importing({"widget_backend.pages"})
    assert {file for file in importing if not file.startswith("widget_backend/pages/")} == {
        "widget_backend/__init__.py"
    }


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda folder: folder.name)
def test_adapter_imports_the_seam_and_what_is_its_own(folder: Path) -> None:
    own = {_package(folder), *ADAPTERS_MAY_IMPORT}
    for path in folder.glob("*.py"):
        foreign = {name for name in _imports(ast.parse(path.read_text())) if _is_in(name, {*PRODUCT, "tests"})}
        assert {name for name in foreign if not _is_in(name, own)} == set(), path.name


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda folder: folder.name)
def test_hooks_are_pure(folder: Path) -> None:
    """No database, no network, no clock: what needs one is the bridge's work or the adapter's."""
    for path in folder.glob("hooks*.py"):
        imported = _imports(ast.parse(path.read_text()))
        own = {one.removeprefix(f"{_package(folder)}.") for one in imported if _is_in(one, {_package(folder)})}
        assert {one for one in own if one.startswith(("client", "adapter", "login", "cards", "pages"))} == set()
        foreign = {one for one in imported if _is_in(one, {*PRODUCT}) and not _is_in(one, {_package(folder)})}
        assert {one for one in foreign if not _is_in(one, HOOKS_MAY_IMPORT)} == set(), path.name
        assert {one for one in imported if one.split(".")[0] in IMPURE} == set(), path.name


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda folder: folder.name)
def test_manifest_imports_nothing_of_its_folder(folder: Path) -> None:
    assert {
        one for one in _imports(ast.parse((folder / "manifest.py").read_text())) if _is_in(one, {_package(folder)})
    } == set()


# ----------------------------------------------------------------------------------------------- what has one place only


def test_nobody_calls_out_but_by_outside() -> None:
    assert _importing(HTTP_LIBRARIES) <= MAY_CALL_OUT


def test_time_and_environment_are_read_in_one_place() -> None:
    clocks = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "datetime.datetime.now"}
    assert {file for file, tree in _sources().items() if clocks & set(_calls(tree))} <= MAY_READ_TIME
    readers = {
        file
        for file, tree in _sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name)
        and ast.unparse(node) in ("os.environ", "os.getenv", "environ", "getenv")
        if isinstance(node, ast.Attribute)
    }
    assert readers <= MAY_READ_ENVIRONMENT


def test_everything_is_caught_only_where_it_is_told() -> None:
    catching = {
        file
        for file, tree in _sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    }
    assert catching <= MAY_CATCH_EVERYTHING


def test_texts_for_people_stand_in_the_locales() -> None:
    russian = re.compile(r"[а-яё]", re.IGNORECASE)
    with_russian = {file for file in _sources() if russian.search((ROOT / file).read_text())}
    assert with_russian <= WITH_RUSSIAN
    frontend = ROOT / "widget_frontend"
    pages = [path for path in frontend.rglob("*") if path.suffix in (".html", ".js", ".css", ".twig")]
    assert len(pages) > 20
    assert [path.name for path in pages if russian.search(path.read_text())] == []


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX)\b")
    assert [file for file in _sources() if later.search((ROOT / file).read_text())] == []


# -------------------------------------------------------------------------------------------------- what belongs together


def test_every_file_of_the_bridge_has_its_place_in_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    files = {path.stem for path in (ROOT / "widget_backend" / "bridge").glob("*.py")} - {"__init__"}
    assert [name for name in sorted(files) if not name.startswith("models") and f"`{name}`" not in page] == []


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda folder: folder.name)
def test_adapter_has_its_files_and_no_others(folder: Path) -> None:
    files = {path.name for path in folder.glob("*.py")}
    assert NEEDED_FILES - files == set()
    assert [name for name in sorted(files - NEEDED_FILES) if not FURTHER_FILES.fullmatch(name)] == []
    assert (folder / "__init__.py").read_text() == ""
    manifest = registry.manifest(folder.name)
    assert ROOMS[manifest.side] == folder.parent
    paths = [manifest.adapter, manifest.hooks, manifest.settings, *([manifest.pages] if manifest.pages else [])]
    assert all(path.startswith(f"{_package(folder)}.") for path in paths)


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda folder: folder.name)
def test_adapter_has_its_twin_its_words_and_its_fixtures(folder: Path) -> None:
    key = folder.name
    needed = [ROOT / "tests" / "sandbox" / key / "peer.py", ROOT / "tests" / "contract" / key / "hooks"]
    needed += [texts.LOCALES / "reasons" / f"{key}.json", texts.LOCALES / "settings" / f"{key}.json"]
    assert [path.relative_to(ROOT).as_posix() for path in needed if not path.exists()] == []


def test_every_adapter_has_its_page() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "ends").glob("*.md")}
    assert pages == {folder.name for folder in ADAPTERS}


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda folder: folder.name)
def test_adapter_has_an_app_where_its_door_needs_one(folder: Path) -> None:
    manifest = registry.manifest(folder.name)
    assert manifest.door in ("end", "app")
    assert manifest.needs_app or manifest.door == "end"
    assert all(name == name.lower() for name in manifest.hook_headers)


def test_every_setting_of_an_adapter_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    for manifest in registry.manifests():
        for setting in manifest.server_settings:
            assert f"MOSTIK_{manifest.key}_{setting.name}".upper() in page


def test_every_environment_name_in_the_source_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text() + (ROOT / "docs" / "operating.md").read_text()
    named = {
        node.value
        for tree in _sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"MOSTIK_[A-Z0-9_]+", node.value)
    }
    assert len(named) > 30
    assert sorted(name for name in named if name not in page) == []


def test_every_queue_has_a_worker_and_every_schedule_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(doctor.NEEDED_WORKERS) == set(queues.NAMES)
    tree = _sources()["jobs/schedules.py"]
    used = {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("queues.")
    }
    assert {getattr(queues, name.removeprefix("queues.")) for name in used} <= set(queues.NAMES)
    assert schedules.SWEEP


def test_every_invariant_has_its_file_of_tests() -> None:
    numbers = [
        int(path.name[15:17]) for path in sorted((ROOT / "tests" / "bridge").glob("test_invariant_[0-9][0-9]_*.py"))
    ]
    assert numbers == list(range(1, INVARIANTS + 1))


def test_every_end_of_the_ledger_is_there() -> None:
    features = json.loads((ROOT / "docs" / "features.json").read_text())["features"]
    tests = {str(row.get("test", "")).partition("::")[0] for row in features} - {""}
    assert sorted(path for path in tests if not (ROOT / path).exists()) == []
