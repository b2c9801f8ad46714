"""Finds the adapters: registration is the presence of a folder under `crms/` or `networks/`. Manifests are read at once, the rest on first use."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from widget_backend.bridge.ends import End, Hooks, Manifest, Side

ROOMS: tuple[str, ...] = ("widget_backend.networks", "widget_backend.crms")


@cache
def _all() -> dict[str, Manifest]:
    found: dict[str, Manifest] = {}
    for room in ROOMS:
        package = importlib.import_module(room)
        for entry in pkgutil.iter_modules(package.__path__):
            if not entry.ispkg:
                continue
            try:
                module = importlib.import_module(f"{room}.{entry.name}.manifest")
            except ModuleNotFoundError as error:
                if error.name == f"{room}.{entry.name}.manifest":
                    continue
                raise
            found[module.MANIFEST.key] = module.MANIFEST
    return found


def manifests(side: Side | None = None) -> list[Manifest]:
    """Return every manifest, of one side or both, in the order of keys."""
    return [m for _, m in sorted(_all().items()) if side is None or m.side == side]


def manifest(key: str) -> Manifest:
    """Return one manifest. Raises: KeyError."""
    return _all()[key]


@cache
def load(path: str) -> Any:
    """Import `module:name` or `module`."""
    module, _, name = path.partition(":")
    loaded = importlib.import_module(module)
    return getattr(loaded, name) if name else loaded


def hooks(key: str) -> Hooks:
    """Return the adapter's hooks module."""
    return load(manifest(key).hooks)  # type: ignore[no-any-return]


def adapter(end: End) -> Any:
    """Build the adapter of an end: a Network or a Crm, by its side."""
    return load(manifest(end.adapter).adapter)(end)
