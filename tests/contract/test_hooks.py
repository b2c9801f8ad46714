"""Every hook fixture of every end: it gives its events, it is refused without its secret, and no damage makes `parse` fail.

A fixture `<end>/hooks/<event>__<variant>.json` holds `source` and `body` (JSON) or `raw` (text), and may hold `headers`,
`name`, `query`, `content_type`, `settings` (merged over the owner's) and `is_signed: false` where the call carries no
secret. What it must give stands beside it in `<event>__<variant>.events.json`. `<end>/owner.json` is whose hooks they are.
An end whose official schema is at hand has `<end>_schema.py` here, with `load().check_event(body)`.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qsl, urlencode

import pytest

from tests.contract.jsonable import jsonable
from widget_backend.bridge import registry
from widget_backend.bridge.ends import Hook, HookAnswer, Hooks, Kept, Owner
from widget_backend.bridge.errors import NotGenuine
from widget_backend.bridge.events import Event, Unparsed

HERE = Path(__file__).parent
FORM = "application/x-www-form-urlencoded"
RECEIVED_AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
WRONG_VALUES: tuple[Any, ...] = (None, "", "text", -1, 0, 1.5, 10**30, True, [], [[]], {}, {"x": []}, "\ud800\x00")
FIXTURES = sorted(path for path in HERE.glob("*/hooks/*.json") if not path.name.endswith(".events.json"))


def name_of(path: Path) -> str:
    return f"{path.parents[1].name}-{path.stem}"


def end_of(path: Path) -> str:
    return path.parents[1].name


def fixture(path: Path) -> tuple[Hooks, Hook, Owner, dict[str, Any]]:
    told = json.loads(path.read_text())
    owner = json.loads((path.parents[1] / "owner.json").read_text())
    settings = {**owner.get("settings", {}), **told.get("settings", {})}
    hook = Hook(
        body=told["raw"].encode() if "raw" in told else json.dumps(told["body"]).encode(),
        received_at=RECEIVED_AT,
        name=told.get("name", ""),
        query=told.get("query", ""),
        content_type=told.get("content_type", FORM if "raw" in told else "application/json"),
        headers={name.lower(): value for name, value in told.get("headers", {}).items()},
    )
    known = {name: value for name, value in owner.items() if name in ("remote_id", "secrets", "previous", "is_app")}
    return registry.hooks(end_of(path)), hook, Owner(adapter=end_of(path), settings=settings, **known), told


def parsed(hooks: Hooks, hook: Hook, owner: Owner) -> list[Event]:
    if registry.manifest(owner.adapter).door == "end":
        return list(hooks.parse(hook, owner))
    parts = [replace(hook, body=body) for _, _, body in hooks.split(hook)]
    return [event for part in parts for event in hooks.parse(part, owner)]


def with_wrong_secrets(owner: Owner) -> Owner:
    return replace(owner, secrets={name: f"not-{value}" for name, value in owner.secrets.items()}, previous={})


def verified(hooks: Hooks, hook: Hook, owner: Owner) -> Kept | None:
    try:
        return hooks.verify(hook, owner)
    except NotGenuine:
        return None


@pytest.mark.parametrize("path", FIXTURES, ids=name_of)
def test_a_genuine_hook_becomes_its_events(path: Path) -> None:
    hooks, hook, owner, told = fixture(path)
    kept = hooks.verify(hook, owner)
    assert told["source"]
    events = parsed(hooks, replace(hook, body=hook.body if kept.body is None else kept.body), owner)
    assert jsonable(events) == json.loads(path.with_suffix(".events.json").read_text())
    assert isinstance(hooks.answer(hook, owner), HookAnswer)


@pytest.mark.parametrize("path", FIXTURES, ids=name_of)
def test_what_is_kept_holds_no_secret_of_the_body(path: Path) -> None:
    hooks, hook, owner, _ = fixture(path)
    kept = hooks.verify(hook, owner)
    body = hook.body if kept.body is None else kept.body
    assert not kept.keep or not any(secret.encode() in body for secret in owner.secrets.values() if secret)


@pytest.mark.parametrize("path", FIXTURES, ids=name_of)
def test_a_hook_with_a_wrong_secret_is_refused(path: Path) -> None:
    hooks, hook, owner, told = fixture(path)
    if not told.get("is_signed", True):
        pytest.skip("this call carries no secret")
    with pytest.raises(NotGenuine):
        hooks.verify(hook, with_wrong_secrets(owner))


@pytest.mark.parametrize("path", FIXTURES, ids=name_of)
def test_a_secret_stays_valid_while_it_is_rotated(path: Path) -> None:
    hooks, hook, owner, _ = fixture(path)
    assert hooks.verify(hook, replace(with_wrong_secrets(owner), previous=owner.secrets))


@pytest.mark.parametrize("path", FIXTURES, ids=name_of)
def test_a_truncated_body_is_refused_or_unparsed(path: Path) -> None:
    hooks, hook, owner, told = fixture(path)
    if "raw" in told:
        pytest.skip("a part of a form is a form")
    for length in {0, 1, len(hook.body) // 2, len(hook.body) - 1}:
        cut = replace(hook, body=hook.body[:length])
        if verified(hooks, cut, owner) is not None:
            assert all(isinstance(event, Unparsed) for event in parsed(hooks, cut, owner))


@pytest.mark.parametrize("path", FIXTURES, ids=name_of)
def test_no_damage_to_a_leaf_makes_a_hook_fail(path: Path) -> None:
    hooks, hook, owner, told = fixture(path)
    for body in damaged(told):
        broken = replace(hook, body=body)
        verified(hooks, broken, owner)
        events = parsed(hooks, broken, owner)
        assert all(isinstance(event, get_args(Event)) for event in events)
        jsonable(events)
        hooks.answer(broken, owner)


@pytest.mark.parametrize("path", FIXTURES, ids=name_of)
def test_the_fixture_fits_the_official_schema(path: Path) -> None:
    told = json.loads(path.read_text())
    if importlib.util.find_spec(f"tests.contract.{end_of(path)}_schema") is None or not told.get("fits_schema", True):
        pytest.skip("no official schema says what this body must be")
    schema = importlib.import_module(f"tests.contract.{end_of(path)}_schema").load()
    schema.check_event(told["body"])


def damaged(told: dict[str, Any]) -> Iterator[bytes]:
    """Give the body with each value removed, and replaced by one of another type."""
    if "raw" in told:
        yield from _damaged_form(told["raw"])
        return
    for place in _places(told["body"]):
        yield json.dumps(_changed(told["body"], place)).encode()
        for value in WRONG_VALUES:
            yield json.dumps(_changed(told["body"], place, value)).encode()
    for value in WRONG_VALUES:
        yield json.dumps(value).encode()


def _damaged_form(raw: str) -> Iterator[bytes]:
    pairs = parse_qsl(raw, keep_blank_values=True)
    for place, (name, _) in enumerate(pairs):
        yield urlencode(pairs[:place] + pairs[place + 1 :]).encode()
        for value in ("", "text", "-1", "1.5", "9" * 30, "\x00"):
            yield urlencode([*pairs[:place], (name, value), *pairs[place + 1 :]]).encode()
        yield urlencode([*pairs[:place], (f"{name}[x][0]", "deeper"), *pairs[place + 1 :]]).encode()


def _places(value: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if here:
        yield here
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from _places(one, (*here, key))


def _changed(body: Any, place: tuple[str | int, ...], *value: Any) -> Any:
    changed = copy.deepcopy(body)
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    if value:
        holder[place[-1]] = value[0]
    else:
        del holder[place[-1]]
    return changed
