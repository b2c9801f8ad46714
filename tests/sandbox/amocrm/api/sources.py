"""Sources of the integration (amocrm.md 3.6)."""

from __future__ import annotations

from tests.sandbox.amocrm.problems import Invalid, Refusal, no_right, not_found
from tests.sandbox.amocrm.rest import TABLE, Call, Reply
from tests.sandbox.amocrm.state import Json
from tests.sandbox.amocrm.values import CHOICE, TOO_LONG, UNEXPECTED, WRONG_TYPE, Errors, Kind, request_id, settle

AT_ONCE = 50
LIMIT = 100
ID_LIMIT = 36
HIDDEN = ("client_id", "is_automatic")
KNOWN: dict[str, Kind] = {
    "name": str,
    "external_id": str,
    "pipeline_id": int,
    "default": bool,
    "origin_code": str,
    "services": list,
    "request_id": (str, int),
}


def _own(call: Call) -> list[Json]:
    """List the sources of our integration: others are not visible. Without an archive there is no access."""
    if not call.integration.has_archive:
        raise no_right()
    return [one for one in call.account.sources.values() if one["client_id"] == call.integration.client_id]


def _shown(call: Call, one: Json) -> Json:
    return {**{key: one[key] for key in one if key not in HIDDEN}, **call.href(f"sources/{one['id']}")}


@TABLE.add("GET", "sources", admin=True)
def sources(call: Call) -> Json | None:
    """List own sources."""
    wanted = call.args("filter[external_id]")
    rows = [_shown(call, one) for one in _own(call) if not wanted or one["external_id"] in wanted]
    if not rows:
        return None
    return {"_total_items": len(rows), **call.href("sources"), "_embedded": {"sources": rows}}


@TABLE.add("GET", "sources/{id}", admin=True)
def source(call: Call) -> Json | None:
    """Describe one source; 204 when it is not there."""
    return next((_shown(call, one) for one in _own(call) if one["id"] == call.number()), None)


@TABLE.add("POST", "sources", admin=True)
def add(call: Call) -> Json:
    """Make sources."""
    rows, own = call.batch(limit=AT_ONCE), _own(call)
    taken = {one["external_id"] for one in own}
    errors: dict[str, Errors] = {}
    for number, raw in enumerate(rows):
        one = errors[request_id(raw, number)] = Errors()
        one.check(raw, KNOWN, required=["name", "external_id"])
        _check(call, one, raw)
        if raw.get("external_id") in taken:
            one.add("external_id", ("NotUnique", "This value is already used."))
        taken.add(str(raw.get("external_id")))
    settle(errors)
    if len(own) + len(rows) > LIMIT:
        raise Refusal(422, f"Limit of {LIMIT} sources is reached")
    made = [{**_made(call, raw), "request_id": request_id(raw, number)} for number, raw in enumerate(rows)]
    return {"_total_items": len(made), **call.href("sources"), "_embedded": {"sources": made}}


def _check(call: Call, errors: Errors, raw: Json) -> None:
    external = raw.get("external_id")
    if isinstance(external, str):
        if len(external) > ID_LIMIT:
            errors.add("external_id", TOO_LONG)
        if not all(" " <= letter <= "~" for letter in external):
            errors.add("external_id", WRONG_TYPE)
    if raw.get("pipeline_id") is not None and raw["pipeline_id"] not in call.account.pipelines:
        errors.add("pipeline_id", CHOICE)
    codes = {one.code for one in call.cloud.channels.values() if one.client_id == call.integration.client_id}
    if raw.get("origin_code") and raw["origin_code"] not in codes:
        errors.add("origin_code", CHOICE)
    for number, service in enumerate(raw.get("services") or []):
        if not isinstance(service, dict) or service.get("type") != "whatsapp":
            errors.add(f"services.{number}.type", CHOICE)


def _made(call: Call, raw: Json) -> Json:
    made = {
        "id": call.account.new_id("source", 3_108_000),
        "name": raw["name"],
        "pipeline_id": raw.get("pipeline_id") or call.account.main_pipeline["id"],
        "external_id": raw["external_id"],
        "default": False,
        "origin_code": raw.get("origin_code"),
        "services": raw.get("services") or [],
        "client_id": call.integration.client_id,
        "is_automatic": False,
    }
    call.account.sources[made["id"]] = made
    if raw.get("default"):
        _set_default(call, made)
    call.cloud.record("source", call.account, id=str(made["id"]), text=made["name"], external_id=made["external_id"])
    return _shown(call, made)


def _set_default(call: Call, chosen: Json) -> None:
    """Set the default; there is one per integration and account."""
    for one in _own(call):
        one["default"] = one["id"] == chosen["id"]


@TABLE.add("PATCH", "sources/{id}", admin=True)
def change_one(call: Call) -> Json:
    """Change one source."""
    return _changed(call, [{**call.single(), "id": call.number()}])[0]


@TABLE.add("PATCH", "sources", admin=True)
def change(call: Call) -> Json:
    """Change several sources."""
    rows = _changed(call, call.batch(limit=AT_ONCE))
    return {"_total_items": len(rows), **call.href("sources"), "_embedded": {"sources": rows}}


def _changed(call: Call, rows: list[Json]) -> list[Json]:
    own = {one["id"]: one for one in _own(call)}
    errors: dict[str, Errors] = {}
    for number, raw in enumerate(rows):
        if raw.get("id") not in own:
            raise not_found()
        one = errors[request_id(raw, number)] = Errors()
        given = {key: raw[key] for key in raw if key != "id"}
        one.check(given, KNOWN)
        _check(call, one, given)
        if "external_id" in given and given["external_id"] != own[raw["id"]]["external_id"]:
            one.add("external_id", UNEXPECTED)
    settle(errors)
    for raw in rows:
        known = own[raw["id"]]
        known |= {key: raw[key] for key in ("name", "pipeline_id", "origin_code", "services") if key in raw}
        if raw.get("default"):
            _set_default(call, known)
        elif raw.get("default") is False:
            known["default"] = False
    return [_shown(call, own[raw["id"]]) for raw in rows]


@TABLE.add("DELETE", "sources/{id}", admin=True)
def remove_one(call: Call) -> Reply:
    """Delete one source; nobody is promoted to default."""
    if call.number() not in {one["id"] for one in _own(call)}:
        raise not_found()
    return _removed(call, [call.number()])


@TABLE.add("DELETE", "sources", admin=True)
def remove(call: Call) -> Reply:
    """Delete several sources."""
    rows, own = call.batch(limit=AT_ONCE), {one["id"] for one in _own(call)}
    bad = {
        request_id(raw, number): [{"code": "EntityNotFound", "path": "id", "detail": "Entity not found"}]
        for number, raw in enumerate(rows)
        if raw.get("id") not in own
    }
    if bad:
        raise Invalid(bad)
    return _removed(call, [raw["id"] for raw in rows])


def _removed(call: Call, ids: list[int]) -> Reply:
    for number in ids:
        gone = call.account.sources.pop(number)
        call.cloud.record("source_gone", call.account, id=str(number), external_id=gone["external_id"])
    return Reply(204)
