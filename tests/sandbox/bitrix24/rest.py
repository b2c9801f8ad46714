"""The road of one REST call on a portal: limits, authorization, rights, the method, the answer (bitrix24.md 2)."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.sandbox.bitrix24 import oauth, php
from tests.sandbox.bitrix24.cloud import Cloud
from tests.sandbox.bitrix24.errors import RestError
from tests.sandbox.bitrix24.methods import catalog
from tests.sandbox.bitrix24.methods.table import METHODS, Call, Method, Paged, app_context_required
from tests.sandbox.bitrix24.moments import clocked
from tests.sandbox.bitrix24.state import Portal

BATCH_MAX = 50
SECRET_NAMES = ("auth", "client_secret", "refresh_token", "access_token")
NO_BATCH = ("batch",)
MISSING_ON_BOX = frozenset({"messageservice.sender.update"})
_REFERENCE = re.compile(r"\$result((?:\[[^\]]+\])+)")
_KEY = re.compile(r"\[([^\]]+)\]")
REFUSALS = {
    "PAYMENT_REQUIRED": RestError(401, "PAYMENT_REQUIRED", "Payment required"),
    "ACCESS_DENIED": RestError(403, "ACCESS_DENIED", "REST API is available only on commercial plans."),
    "user_access_error": RestError(403, "user_access_error", "The user does not have access to the application."),
    "authorization_error": RestError(401, "authorization_error", "Unable to authorize user"),
    "OVERLOAD_LIMIT": RestError(503, "OVERLOAD_LIMIT", "REST API is blocked due to overload."),
    "PORTAL_DELETED": RestError(500, "PORTAL_DELETED", "Portal was deleted"),
}
assert catalog.FAMILIES


@dataclass(frozen=True, slots=True)
class Request:
    """What came over HTTP: the path after /rest/, all parameters, the caller's address."""

    path: str
    params: Mapping[str, object]
    source: str


async def answer(cloud: Cloud, portal: Portal, request: Request) -> tuple[int, dict[str, object]]:
    """Run one HTTP request and return status and JSON body."""
    name = ""
    try:
        name, params = _method_and_webhook(portal, request)
        cloud.record("call", portal, method=name, params=masked(params))
        _watch_secrets(cloud, portal, name, params)
        cloud.limits.count(portal.member_id, request.source, portal.options)
        call = _authorized(cloud, portal, params)
        body = await _batch(call) if name == "batch" else await _single(call, name)
    except RestError as refusal:
        cloud.record("refusal", portal, method=name, status=refusal.status, code=refusal.code, text=refusal.description)
        return refusal.status, refusal.body()
    return 200, body


def masked(params: Mapping[str, object]) -> dict[str, object]:
    """Copy the parameters without tokens, for the ledger."""
    return {key: value for key, value in params.items() if key.lower() not in SECRET_NAMES}


def _method_and_webhook(portal: Portal, request: Request) -> tuple[str, dict[str, object]]:
    parts = request.path.strip("/").split("/")
    params = dict(request.params)
    if len(parts) == 3 and parts[0].isdigit():
        params["webhook"] = f"{parts[0]}/{parts[1]}"
        parts = parts[2:]
    if len(parts) != 1:
        raise RestError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
    return re.sub(r"\.(json|xml)$", "", parts[0].lower()), params


def _watch_secrets(cloud: Cloud, portal: Portal, name: str, params: Mapping[str, object]) -> None:
    if any(key.lower() == "client_secret" for key in params):
        cloud.record("violation", portal, text="client_secret was sent to a portal host", method=name)
        raise RestError(400, "invalid_request", "client_secret must never be sent to a portal")


def _authorized(cloud: Cloud, portal: Portal, params: dict[str, object]) -> Call:
    plain = {key.upper(): value for key, value in params.items() if key not in ("auth", "webhook")}
    if "webhook" in params:
        user_id, _, code = str(params["webhook"]).partition("/")
        user = portal.users.get(int(user_id))
        if user is None or code != portal.webhook_code:
            raise RestError(401, "NO_AUTH_FOUND", "Wrong authorization data")
        return Call(cloud, portal, user, plain)
    token = oauth.find_token(cloud, php.text(params.get("auth")))
    if token.member_id != portal.member_id:
        raise RestError(401, "NO_AUTH_FOUND", "Wrong authorization data")
    if refusal := REFUSALS.get(portal.options.refuse):
        raise RestError(refusal.status, refusal.code, refusal.description)
    user = portal.users[token.user_id]
    if not user.is_active:
        raise RestError(401, "authorization_error", "Unable to authorize user")
    return Call(cloud, portal, user, plain, cloud.install_of(token), token)


def _allowed(call: Call, name: str) -> Method:
    method = METHODS.get(name)
    if method is None or (call.portal.options.plan == "box" and name in MISSING_ON_BOX):
        raise RestError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
    if method.needs_app and call.install is None:
        raise app_context_required(method.refusal)
    if call.token and method.scope and method.scope not in call.token.scopes:
        text = "The request requires higher privileges than provided by the access token"
        raise RestError(403, "insufficient_scope", text)
    if method.needs_admin and not call.user.is_admin:
        raise RestError(403, "ACCESS_DENIED", "Access denied!")
    return method


async def _single(call: Call, name: str) -> dict[str, object]:
    """Run one method and wrap its result."""
    method = _allowed(call, name)
    options = call.portal.options
    place = (call.portal.member_id, call.client_id, name)
    call.cloud.limits.check_operating(*place, options)
    began, started = call.cloud.peer.now(), time.perf_counter()
    result = method.action(call)
    if inspect.isawaitable(result):
        result = await result
    taken = time.perf_counter() - started
    call.cloud.limits.spend(*place, options.operation_cost_s.get(name, taken))
    body: dict[str, object] = {"result": result}
    if isinstance(result, Paged):
        body = {"result": result.result}
        if result.next is not None:
            body["next"] = result.next
        if result.total >= 0:
            body["total"] = result.total
    body["time"] = _time(call, name, began, taken)
    return body


def _time(call: Call, name: str, began: float, taken: float) -> dict[str, object]:
    operating, reset_at = call.cloud.limits.operating(call.portal.member_id, call.client_id, name)
    shown = clocked(began, taken)
    if call.portal.options.plan != "box":
        shown |= {"operating_reset_at": reset_at, "operating": operating}
    return shown


async def _batch(call: Call) -> dict[str, object]:
    """Run up to 50 commands; always 200, empty maps as [] (bitrix24.md 2.3)."""
    commands = call.get("CMD")
    pairs = list(commands.items()) if isinstance(commands, dict) else list(enumerate(php.items(commands)))
    if len(pairs) > BATCH_MAX:
        raise RestError(400, "ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded")
    began, started = call.cloud.peer.now(), time.perf_counter()
    maps: dict[str, dict[str, object]] = {
        name: {} for name in ("result", "result_error", "result_total", "result_next", "result_time")
    }
    for key, command in pairs:
        await _command(call, str(key), php.text(command), maps)
        if maps["result_error"] and php.truthy(call.get("HALT")):
            break
    shown = {name: php.mapped(found) for name, found in maps.items()}
    return {"result": shown, "time": _time(call, "batch", began, time.perf_counter() - started)}


async def _command(call: Call, key: str, command: str, maps: dict[str, dict[str, object]]) -> None:
    name, _, query = command.partition("?")
    name = name.strip().lower()
    params = {part.upper(): _resolved(value, maps["result"]) for part, value in php.parse(query).items()}
    call.cloud.record("call", call.portal, method=name, params=masked(params), batch=True)
    inner = Call(call.cloud, call.portal, call.user, params, call.install, call.token)
    try:
        if name in NO_BATCH:
            raise RestError(405, "ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage")
        body = await _single(inner, name)
    except RestError as refusal:
        call.cloud.record("refusal", call.portal, method=name, code=refusal.code, text=refusal.description, batch=True)
        maps["result_error"][key] = refusal.body()
        return
    maps["result"][key] = body["result"]
    maps["result_time"][key] = body["time"]
    for part in ("total", "next"):
        if part in body:
            maps[f"result_{part}"][key] = body[part]


def _resolved(value: object, results: Mapping[str, object]) -> object:
    """Put earlier results in the place of $result[a][b]; a value that is nothing else keeps its type."""
    if isinstance(value, dict):
        return {key: _resolved(part, results) for key, part in value.items()}
    if isinstance(value, list):
        return [_resolved(part, results) for part in value]
    text = php.text(value)
    if whole := _REFERENCE.fullmatch(text):
        return _looked_up(whole.group(1), results)
    return _REFERENCE.sub(lambda found: php.text(_looked_up(found.group(1), results)), text)


def _looked_up(path: str, results: Mapping[str, object]) -> object:
    place: object = results
    for key in _KEY.findall(path):
        if isinstance(place, list):
            place = place[int(key)] if key.isdigit() and int(key) < len(place) else None
        else:
            place = php.mapping(place).get(key)
    return place
