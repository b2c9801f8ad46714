"""The door /method/<name>: parameters, tokens, rights, the rate limit and the shape of answers (vk.md 2.1, 5.1, 5.2).

Methods register themselves with `@method`; each gets a `Call` and returns what stands under "response" or raises VkError.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.sandbox.frame import json_answer
from tests.sandbox.vk.rules import VkError, count_call
from tests.sandbox.vk.state import RIGHTS, Community, Json, Token

if TYPE_CHECKING:
    from tests.sandbox.vk.peer import VkPeer

FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
SECRET_PARAMS = {"access_token", "client_secret"}


@dataclass(slots=True)
class Call:
    """One call of a method. Readers raise VkError 100 for what is missing or of a wrong type."""

    peer: VkPeer
    name: str
    params: Mapping[str, str]
    token: Token
    notes: list[Json] = field(default_factory=list)

    @property
    def community(self) -> Community:
        """Return the community that the token belongs to."""
        return self.peer.world.communities[self.token.group_id]

    def text(self, name: str, default: str = "", *, required: bool = False, longest: int = 0) -> str:
        """Read a string."""
        value = self.params.get(name, default)
        if required and not value:
            raise VkError(100, f"{name} is undefined")
        if longest and len(value) > longest:
            raise VkError(100, f"{name} is too long")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """Read an integer; required when there is no default."""
        value = self.params.get(name, "")
        if value == "":
            if default is None:
                raise VkError(100, f"{name} is undefined")
            return default
        try:
            return int(value)
        except ValueError:
            raise VkError(100, f"{name} not integer") from None

    def bounded(self, name: str, default: int, lowest: int, highest: int) -> int:
        """Read an integer between two bounds."""
        value = self.integer(name, default)
        if not lowest <= value <= highest:
            raise VkError(100, f"{name} should be between {lowest} and {highest}")
        return value

    def number(self, name: str) -> float | None:
        """Read a number or None."""
        value = self.params.get(name, "")
        try:
            return float(value) if value else None
        except ValueError:
            raise VkError(100, f"{name} not float") from None

    def integers(self, name: str, *, most: int, required: bool = False) -> list[int]:
        """Read a comma list of integers."""
        parts = [part.strip() for part in self.params.get(name, "").split(",") if part.strip()]
        if required and not parts:
            raise VkError(100, f"{name} is undefined")
        if len(parts) > most:
            raise VkError(100, f"{name} has more than {most} elements")
        try:
            return [int(part) for part in parts]
        except ValueError:
            raise VkError(100, f"{name} not integer") from None

    def flag(self, name: str) -> bool:
        """Read a boolean: 0 or 1, nothing else."""
        value = self.params.get(name, "0")
        if value not in {"0", "1", ""}:
            raise VkError(100, f"{name} must be 0 or 1")
        return value == "1"

    def json(self, name: str, refusal: int = 100) -> Any:
        """Read a JSON string; None when absent. Raises VkError `refusal`."""
        value = self.params.get(name, "")
        if not value:
            return None
        try:
            return json.loads(value)
        except ValueError:
            raise VkError(refusal, f"{name} is not valid JSON") from None

    def own_group(self) -> Community:
        """Read group_id, which must be the token's own community."""
        if self.integer("group_id") != self.token.group_id:
            raise VkError(15, "no access to this group")
        return self.community


Handler = Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Method:
    """A method with the kinds of token it takes and the right it needs."""

    handler: Handler | None
    tokens: frozenset[str]
    right: str


METHODS: dict[str, Method] = {}


def method(name: str, right: str = "", tokens: tuple[str, ...] = ("user", "group")) -> Callable[[Handler], Handler]:
    """Register a method."""

    def register(handler: Handler) -> Handler:
        METHODS[name] = Method(handler, frozenset(tokens), right)
        return handler

    return register


def user_only(*names: str) -> None:
    """Register methods that the schema keeps from community tokens; the twin refuses them and plays no further."""
    for name in names:
        METHODS[name] = Method(None, frozenset({"user"}), "")


def dispatch(call: Call) -> Any:
    """Check token kind and right, then run. Raises VkError."""
    known = METHODS.get(call.name)
    if known is None:
        raise VkError(3)
    if call.token.kind not in known.tokens:
        raise VkError(27 if call.token.kind == "group" else 28 if call.token.kind == "service" else 15)
    if known.right and call.token.kind == "group" and not call.token.mask & RIGHTS[known.right]:
        raise VkError(7 if known.right == "messages" else 15, "no access to call this method")
    if known.handler is None or (call.token.kind == "user" and call.name.startswith("messages.")):
        raise VkError(15, "the sandbox plays this method for no one")
    return known.handler(call)


async def read_params(request: web.Request) -> dict[str, str]:
    """Read query and form; a JSON body counts as no parameters (vk.md 2.1)."""
    params = dict(request.query)
    if request.method == "POST" and request.content_type in FORM_TYPES:
        params |= {key: value for key, value in (await request.post()).items() if isinstance(value, str)}
    header = request.headers.get("Authorization", "")
    if "access_token" not in params and header.lower().startswith("bearer "):
        params["access_token"] = header[7:].strip()
    return params


def check_version(params: Mapping[str, str]) -> None:
    """Refuse a call without version, or with one that nobody serves any more. Raises VkError 8."""
    version = params.get("v", "")
    if not version:
        raise VkError(8, "v (version) is required")
    major, _, minor = version.partition(".")
    if major != "5" or not minor.isdigit():
        raise VkError(8, "v (version) is invalid")


def find_token(peer: VkPeer, params: Mapping[str, str]) -> Token:
    """Find the token. Raises VkError 5."""
    value = params.get("access_token", "")
    if not value:
        raise VkError(5, "no access_token passed.")
    token = peer.world.tokens.get(value)
    if token is None:
        raise VkError(5, "invalid access_token (4).")
    if token.is_revoked or peer.faults.expire_tokens:
        raise VkError(5, "access_token was revoked.")
    return token


async def answer_method(peer: VkPeer, request: web.Request) -> web.StreamResponse:
    """Answer one call: always HTTP 200 with JSON."""
    name = request.match_info["name"]
    params = await read_params(request)
    group_id, notes = 0, list[Json]()
    try:
        check_version(params)
        token = find_token(peer, params)
        group_id = token.group_id
        count_call(token, request.get("arrived_s", time.monotonic()))
        call = Call(peer, name, params, token, notes)
        body: Json = {"response": dispatch(call)}
        if notes:
            body["execute_errors"] = notes
    except VkError as refusal:
        body = {"error": error_body(refusal, name, params)}
    note_call(peer, name, params, group_id, body)
    return json_answer(body)


def note_call(peer: VkPeer, name: str, params: Mapping[str, str], group_id: int, body: Json) -> None:
    """Write the call into the ledger, without the token."""
    shown = {key: value for key, value in params.items() if key not in SECRET_PARAMS}
    error = body.get("error", {}).get("error_code", 0)
    peer.ledger.add("call", account=str(group_id or ""), method=name, params=shown, error=error)


def error_body(refusal: VkError, name: str, params: Mapping[str, str]) -> Json:
    """Write an error with the request's parameters, never the token."""
    shown = [{"key": "method", "value": name}, {"key": "oauth", "value": "1"}]
    shown += [{"key": key, "value": value} for key, value in params.items() if key not in SECRET_PARAMS]
    return {"error_code": refusal.code, "error_msg": refusal.text, "request_params": shown}
