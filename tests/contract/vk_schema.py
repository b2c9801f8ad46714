"""The official JSON schema of the VK API as a judge of requests, answers and events.

Needs the folder of the schema (github.com/VKCOM/vk-api-schema, subset of 5.199) in `$CONTRACT_SCHEMAS/vk` or in
`$CONTRACT_SCHEMAS` itself; without it `load()` skips the calling test and says why.

    vk = vk_schema.load()
    vk.check_request("messages.send", {"peer_id": "1", "random_id": "7", "message": "hi"})
    vk.check_response("messages.send", {"response": 5577})
    vk.check_event({"type": "message_new", ...})

Each check raises AssertionError with the place and the reason. GAPS lists where the schema is known to be behind the
service (SOURCE.md of the schema, vk.md 3.2): only there the twin and the product follow the service.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import jsonschema  # type: ignore[import-untyped]
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

Json = dict[str, Any]
BASE = "schema://vk/"
ENVELOPE_PARAMS = {"v", "access_token", "lang", "test_mode"}
# Attachment kinds, colours and values that live events have and the schema has not (vk.md 3.2, 3.3, 2.3).
GAPS: Mapping[str, tuple[str, ...]] = {
    "messages_message_attachment_type": ("story", "market_market_album", "money_request", "mini_app"),
    "callback_type": ("message_event", "like_add", "like_remove"),
}
# Owners of things commented on: a community is negative there (vk.md 3.4), the schema says minimum 0.
OWNERS = {"owner_id", "photo_owner_id", "video_owner_id", "market_owner_id", "topic_owner_id"}
# Answers that live VK gives and the schema does not know: an unknown name resolves to an empty array (vk.md 2.6).
LIVE_ANSWERS: Mapping[str, Json] = {"utils.resolveScreenName": {"response": []}}
EVENT_OBJECTS = {
    "message_new": "callback/objects.json#/definitions/callback_message_new",
    "message_reply": "callback/objects.json#/definitions/callback_message",
    "message_edit": "callback/objects.json#/definitions/callback_message",
    "message_allow": "callback/objects.json#/definitions/callback_message_allow",
    "message_deny": "callback/objects.json#/definitions/callback_message_deny",
    "message_read": "callback/objects.json#/definitions/callback_message_read",
    "message_typing_state": "callback/objects.json#/definitions/callback_message_typing_state",
    "message_event": "callback/objects.json#/definitions/callback_message_event",
    "message_reaction_event": "callback/objects.json#/definitions/callback_message_reaction_event",
    "wall_reply_new": "callback/objects.json#/definitions/callback_wall_reply_new",
    "wall_reply_edit": "callback/objects.json#/definitions/callback_wall_reply_edit",
    "wall_reply_delete": "callback/objects.json#/definitions/callback_wall_comment_delete",
    "photo_comment_new": "callback/objects.json#/definitions/callback_photo_comment",
    "photo_comment_delete": "callback/objects.json#/definitions/callback_photo_comment_delete",
    "video_comment_new": "callback/objects.json#/definitions/callback_video_comment",
    "video_comment_delete": "callback/objects.json#/definitions/callback_video_comment_delete",
    "market_comment_new": "callback/objects.json#/definitions/callback_market_comment",
    "market_comment_delete": "callback/objects.json#/definitions/callback_market_comment_delete",
    "board_post_new": "callback/objects.json#/definitions/callback_board_post_new",
    "board_post_delete": "callback/objects.json#/definitions/callback_board_post_delete",
    "group_join": "callback/objects.json#/definitions/callback_group_join",
    "group_leave": "callback/objects.json#/definitions/callback_group_leave",
    "user_block": "callback/objects.json#/definitions/callback_user_block",
    "user_unblock": "callback/objects.json#/definitions/callback_user_unblock",
}


def schema_folder() -> Path | None:
    """Return the folder that holds the schema, or None."""
    given = os.environ.get("CONTRACT_SCHEMAS", "")
    if not given:
        return None
    return next((one for one in (Path(given) / "vk", Path(given)) if (one / "errors.json").is_file()), None)


def load() -> VkSchema:
    """Load the schema, or skip the test that asks."""
    folder = schema_folder()
    if folder is None:
        pytest.skip("CONTRACT_SCHEMAS does not point to the folder with the official VK schema")
    return _load(folder)


@lru_cache(maxsize=2)
def _load(folder: Path) -> VkSchema:
    return VkSchema(folder)


def to_draft7(node: Any) -> Any:
    """Turn VK's draft-3 style into draft 7: `required: true` on a property becomes a list beside the properties.

    `$ref` beside other words becomes an allOf, because draft 7 would ignore those words.
    """
    if isinstance(node, list):
        return [to_draft7(one) for one in node]
    if not isinstance(node, dict):
        return node
    turned = {key: to_draft7(value) for key, value in node.items() if key != "required" or isinstance(value, list)}
    properties = node.get("properties")
    if isinstance(properties, dict):
        for name in OWNERS & set(properties):
            turned["properties"][name].pop("minimum", None)
        names = [name for name, one in properties.items() if isinstance(one, dict) and one.get("required") is True]
        if names:
            turned["required"] = sorted({*names, *turned.get("required", [])})
    if "$ref" in turned and len(turned) > 1:
        reference = turned.pop("$ref")
        turned["allOf"] = [*turned.get("allOf", []), {"$ref": reference}]
    return turned


class VkSchema:
    """The loaded schema."""

    def __init__(self, folder: Path) -> None:
        resources, self._methods = [], {}
        for path in sorted(folder.rglob("*.json")):
            name = path.relative_to(folder).as_posix()
            if name in {"schema.json", "schema-errors.json"}:
                continue
            content = json.loads(path.read_text())
            for method in content.get("methods", []):
                self._methods[method["name"]] = (name, method)
            content.pop("$schema", None)
            turned = to_draft7(content)
            self._fill_gaps(turned.get("definitions", {}))
            resources.append((urljoin(BASE, name), Resource.from_contents(turned, default_specification=DRAFT7)))
        self._registry: Registry[Any] = Registry().with_resources(resources)
        self.errors = {one["code"] for one in json.loads((folder / "errors.json").read_text())["errors"].values()}

    @staticmethod
    def _fill_gaps(definitions: Json) -> None:
        for name, values in GAPS.items():
            if name in definitions:
                definitions[name]["enum"] = [*definitions[name]["enum"], *values]
        if "callback_message_typing_state" in definitions:
            definitions["callback_message_typing_state"]["properties"]["state"] = {"enum": ["typing", "audiomessage"]}
        if "callback_wall_comment_delete" in definitions:
            definition = definitions["callback_wall_comment_delete"]
            definition["required"] = ["deleter_id" if name == "user_id" else name for name in definition["required"]]
        if "callback_message_event" in definitions:
            definitions["callback_message_event"]["properties"]["payload"] = {}
        if "base_error" in definitions:
            definitions["base_error"]["required"].remove("inner_type")
        if "messages_keyboard_button" in definitions:
            definitions["messages_keyboard_button"]["properties"]["color"]["enum"].append("secondary")

    def _judge(self, schema: Json, value: Any, what: str) -> None:
        validator = jsonschema.Draft7Validator(schema, registry=self._registry)
        problems = sorted(validator.iter_errors(value), key=lambda one: list(map(str, one.absolute_path)))
        words = [f"{'/'.join(map(str, one.absolute_path))}: {one.message[:300]}" for one in problems[:5]]
        assert not words, f"{what} does not fit the official schema: " + "; ".join(words)

    def check_request(self, method: str, params: Mapping[str, Any]) -> None:
        """Check the parameters of a call: known names, types as VK reads them from a form, bounds, enums."""
        assert method in self._methods, f"{method} is not in the official schema"
        name, known = self._methods[method]
        by_name = {one["name"]: one for one in known.get("parameters", [])}
        strange = sorted(set(params) - set(by_name) - ENVELOPE_PARAMS)
        assert not strange, f"{method} has no parameters {strange}"
        missing = [key for key, one in by_name.items() if one.get("required") is True and key not in params]
        assert not missing, f"{method} lacks {missing}"
        for key, value in params.items():
            if key in by_name:
                typed = _typed(by_name[key], value)
                schema = to_draft7({k: v for k, v in by_name[key].items() if k not in {"name", "required"}})
                if isinstance(typed, dict):
                    schema.pop("type")
                self._judge(_absolute(schema, name), typed, f"{method}({key})")

    def token_kinds(self, method: str) -> set[str]:
        """Return which tokens may call the method."""
        return set(self._methods[method][1].get("access_token_type", []))

    def check_response(self, method: str, body: Mapping[str, Any]) -> None:
        """Check an answer: an error with a known code, or one of the method's responses."""
        if "error" in body:
            error = body["error"]
            assert error["error_code"] in self.errors, f"{method}: unknown error code {error['error_code']}"
            self._judge(_ref("base/objects.json#/definitions/base_error"), error, f"{method} error")
            return
        if LIVE_ANSWERS.get(method) == body:
            return
        name, known = self._methods[method]
        failures = []
        for response in known["responses"].values():
            if not isinstance(response, dict) or "$ref" not in response:
                continue
            try:
                self._judge(_absolute(to_draft7(response), name), body, f"{method} answer")
            except AssertionError as failure:
                failures.append(str(failure))
            else:
                return
        raise AssertionError(" | ".join(failures) or f"{method} has no responses in the schema")

    def check_event(self, body: Mapping[str, Any]) -> None:
        """Check one Callback API body: envelope and object."""
        self._judge(_ref("callback/objects.json#/definitions/callback_base"), body, f"{body.get('type')} envelope")
        kind = str(body["type"])
        if kind in EVENT_OBJECTS:
            self._judge(_ref(EVENT_OBJECTS[kind]), body["object"], f"{kind} object")


def _ref(path: str) -> Json:
    """Point at a definition."""
    return {"$ref": urljoin(BASE, path)}


def _absolute(schema: Any, file: str) -> Any:
    """Make the references of a method's own file absolute."""
    if isinstance(schema, list):
        return [_absolute(one, file) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _absolute(value, file) for key, value in schema.items()}
    if isinstance(schema.get("$ref"), str):
        found["$ref"] = urljoin(urljoin(BASE, file), schema["$ref"])
    return found


def _typed(parameter: Mapping[str, Any], value: Any) -> Any:
    """Read a form value as VK does: numbers, 0/1, comma lists, JSON strings for objects."""
    if "$ref" in parameter and isinstance(value, str) and value[:1] in "{[":
        return json.loads(value)
    kind = parameter.get("type")
    if kind == "array":
        parts = value if isinstance(value, list | tuple) else [one for one in str(value).split(",") if one]
        return [_typed(parameter.get("items", {}), part) for part in parts]
    if not isinstance(value, str):
        return bool(value) if kind == "boolean" and value in (0, 1) else value
    if kind == "boolean":
        return {"0": False, "1": True}.get(value, value)
    if kind in ("integer", "number"):
        try:
            return int(value) if kind == "integer" else float(value)
        except ValueError:
            return value
    return value
