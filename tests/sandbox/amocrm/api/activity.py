"""Notes, tasks, events and subscribers (amocrm.md 3.10)."""

from __future__ import annotations

from tests.sandbox.amocrm import crmhooks, seed
from tests.sandbox.amocrm.api.access import need_entity
from tests.sandbox.amocrm.problems import Refusal, not_found
from tests.sandbox.amocrm.rest import TABLE, Call, listed, need
from tests.sandbox.amocrm.state import KINDS, Json
from tests.sandbox.amocrm.values import CHOICE, MISSING, WRONG_TYPE, Errors, Kind, is_a, request_id, settle

EVENTS_PAGE = 100
NOTES: dict[str, dict[str, Kind]] = {
    "common": {"text": str},
    "service_message": {"service": str, "text": str},
    "extended_service_message": {"service": str, "text": str},
    "sms_in": {"text": str, "phone": str},
    "sms_out": {"text": str, "phone": str},
    "call_in": {"uniq": str, "duration": int, "source": str, "link": str, "phone": str},
    "call_out": {"uniq": str, "duration": int, "source": str, "link": str, "phone": str},
    "message_cashier": {"status": str, "text": str},
    "geolocation": {"text": str, "address": str, "longitude": str, "latitude": str},
    "attachment": {"file_uuid": str, "file_name": str},
}
OPTIONAL: dict[str, Kind] = {
    "call_responsible": (int, str),
    "call_result": str,
    "call_status": int,
    "version_uuid": str,
}
NOTE: dict[str, Kind] = {
    "entity_id": int,
    "note_type": str,
    "params": dict,
    "created_by": int,
    "responsible_user_id": int,
    "created_at": int,
    "is_need_to_trigger_digital_pipeline": bool,
    "request_id": (str, int),
}
TASK: dict[str, Kind] = {
    "text": str,
    "complete_till": int,
    "task_type_id": int,
    "entity_id": int,
    "entity_type": str,
    "responsible_user_id": int,
    "is_completed": bool,
    "result": (dict, list),
    "duration": int,
    "created_by": int,
    "updated_by": int,
    "created_at": int,
    "updated_at": int,
    "request_id": (str, int),
}


# -- notes ------------------------------------------------------------------------------------------------------------


@TABLE.add("POST", "{kind}/notes")
def add_notes(call: Call) -> Json:
    """Add notes to entities of one kind."""
    return _added(call, call.batch())


@TABLE.add("POST", "{kind}/{id}/notes")
def add_entity_notes(call: Call) -> Json:
    """Add notes to one entity."""
    return _added(call, [{**raw, "entity_id": call.number()} for raw in call.batch()])


def _added(call: Call, rows: list[Json]) -> Json:
    kind = call.params["kind"]
    errors: dict[str, Errors] = {}
    for number, raw in enumerate(rows):
        one = errors[request_id(raw, number)] = Errors()
        one.check(raw, NOTE, required=["entity_id", "note_type", "params"])
        _check_params(one, raw)
    settle(errors)
    made = [_note(call, kind, raw, number) for number, raw in enumerate(rows)]
    return {**call.href(f"{kind}/notes"), "_embedded": {"notes": made}}


def _check_params(errors: Errors, raw: Json) -> None:
    known, params = NOTES.get(raw.get("note_type", "")), raw.get("params")
    if known is None:
        errors.add("note_type", CHOICE)
        return
    for name, kind in known.items():
        value = params.get(name) if isinstance(params, dict) else None
        if value is None:
            errors.add(f"params.{name}", MISSING)
        elif not is_a(value, kind):
            errors.add(f"params.{name}", WRONG_TYPE)
    if isinstance(params, dict):
        errors.check({name: value for name, value in params.items() if name not in known}, OPTIONAL, path="params.")


def _note(call: Call, kind: str, raw: Json, number: int) -> Json:
    one, now = need_entity(call, kind, raw["entity_id"], "view"), int(call.cloud.peer.now())
    made: Json = {
        "id": call.account.new_id("note", 42_700),
        "entity_id": one.id,
        "entity_type": kind,
        "created_by": raw.get("created_by") if raw.get("created_by") is not None else call.user.id,
        "updated_by": call.user.id,
        "created_at": raw.get("created_at") or now,
        "updated_at": now,
        "responsible_user_id": raw.get("responsible_user_id") or one.responsible_user_id,
        "group_id": 0,
        "note_type": raw["note_type"],
        "params": raw["params"],
        "account_id": call.account.id,
    }
    call.account.notes[made["id"]] = made
    text = raw["params"].get("text", "")
    call.cloud.record(
        "note", call.account, id=str(made["id"]), entity=f"{kind} {one.id}", note=raw["note_type"], text=text
    )
    crmhooks.note(call.cloud, call.account, made)
    about = {"id": made["id"], "entity_id": one.id, "request_id": request_id(raw, number)}
    return {**about, **call.href(f"{kind}/{one.id}/notes/{made['id']}")}


@TABLE.add("GET", "{kind}/notes")
def notes(call: Call) -> Json | None:
    """List the notes of one kind of entity."""
    rows = [one for one in call.account.notes.values() if one["entity_type"] == call.params["kind"]]
    return listed(call, "notes", [_shown_note(call, one) for one in rows])


@TABLE.add("GET", "{kind}/{id}/notes")
def entity_notes(call: Call) -> Json | None:
    """List the notes of an entity."""
    one = need_entity(call, call.params["kind"], call.number(), "view")
    rows = [row for row in call.account.notes.values() if (row["entity_type"], row["entity_id"]) == (one.kind, one.id)]
    return listed(call, "notes", [_shown_note(call, row) for row in rows])


@TABLE.add("GET", "{kind}/{entity}/notes/{id}")
def note(call: Call) -> Json:
    """Describe one note."""
    one = need_entity(call, call.params["kind"], call.number("entity"), "view")
    found = need(call.account.notes.get(call.number()))
    if (found["entity_type"], found["entity_id"]) != (one.kind, one.id):
        raise not_found()
    return _shown_note(call, found)


@TABLE.add("PATCH", "{kind}/{entity}/notes/{id}")
def change_note(call: Call) -> Json:
    """Change a note's params."""
    found, raw, errors = need(call.account.notes.get(call.number())), call.single(), Errors()
    errors.check(raw, NOTE, required=["params"])
    _check_params(errors, {"note_type": found["note_type"], **raw})
    settle({"0": errors})
    found |= {"params": raw["params"], "updated_at": int(call.cloud.peer.now())}
    call.cloud.record("note_changed", call.account, id=str(found["id"]), text=raw["params"].get("text", ""))
    return {"id": found["id"], "updated_at": found["updated_at"], **call.href(call.path)}


def _shown_note(call: Call, one: Json) -> Json:
    shown = {key: value for key, value in one.items() if key != "entity_type"}
    return {**shown, **call.href(f"{one['entity_type']}/{one['entity_id']}/notes/{one['id']}")}


# -- tasks ------------------------------------------------------------------------------------------------------------


@TABLE.add("GET", "tasks")
def tasks(call: Call) -> Json | None:
    """List tasks; the filter by entity and completion works without the add-on."""
    rows = list(call.account.tasks.values())
    if ids := call.args("filter[entity_id]"):
        rows = [one for one in rows if str(one["entity_id"]) in ids]
    if kinds := call.args("filter[entity_type]"):
        rows = [one for one in rows if one["entity_type"] in kinds]
    if done := call.arg("filter[is_completed]"):
        rows = [one for one in rows if one["is_completed"] == (done in ("1", "true"))]
    return listed(call, "tasks", [{**one, **call.href(f"tasks/{one['id']}")} for one in rows])


@TABLE.add("GET", "tasks/{id}")
def task(call: Call) -> Json:
    """Describe one task."""
    return {**need(call.account.tasks.get(call.number())), **call.href(call.path)}


@TABLE.add("POST", "tasks")
def add_tasks(call: Call) -> Json:
    """Make tasks: text and complete_till are required."""
    rows = call.batch()
    errors: dict[str, Errors] = {}
    for number, raw in enumerate(rows):
        one = errors[request_id(raw, number)] = Errors()
        one.check(raw, TASK, required=["text", "complete_till"])
        _check_task(call, one, raw)
    settle(errors)
    made = [{**_task(call, raw), "request_id": request_id(raw, number)} for number, raw in enumerate(rows)]
    return {**call.href("tasks"), "_embedded": {"tasks": made}}


def _check_task(call: Call, errors: Errors, raw: Json) -> None:
    account, kind = call.account, raw.get("entity_type")
    if kind is not None and (kind not in KINDS or raw.get("entity_id") not in account.entities[kind]):
        errors.add("entity_id", CHOICE)
    if raw.get("entity_id") is not None and kind is None:
        errors.add("entity_type", MISSING)
    if raw.get("responsible_user_id") is not None and raw["responsible_user_id"] not in account.users:
        errors.add("responsible_user_id", CHOICE)
    if raw.get("task_type_id") is not None and raw["task_type_id"] not in {one["id"] for one in seed.TASK_TYPES}:
        errors.add("task_type_id", CHOICE)


def _task(call: Call, raw: Json) -> Json:
    now = int(call.cloud.peer.now())
    made: Json = {
        "id": call.account.new_id("task", 4_700),
        "created_by": call.user.id,
        "updated_by": call.user.id,
        "created_at": now,
        "updated_at": now,
        "responsible_user_id": raw.get("responsible_user_id") or call.user.id,
        "group_id": 0,
        "entity_id": raw.get("entity_id"),
        "entity_type": raw.get("entity_type"),
        "duration": raw.get("duration", 0),
        "is_completed": bool(raw.get("is_completed")),
        "task_type_id": raw.get("task_type_id") or 1,
        "text": raw["text"],
        "result": raw.get("result") or [],
        "complete_till": raw["complete_till"],
        "account_id": call.account.id,
    }
    call.account.tasks[made["id"]] = made
    about = f"{made['entity_type']} {made['entity_id']}"
    call.cloud.record("task", call.account, id=str(made["id"]), entity=about, text=made["text"])
    crmhooks.task(call.cloud, call.account, made, "add")
    return {"id": made["id"], **call.href(f"tasks/{made['id']}")}


@TABLE.add("PATCH", "tasks/{id}")
def change_task(call: Call) -> Json:
    """Change or complete a task."""
    found, raw, errors = need(call.account.tasks.get(call.number())), call.single(), Errors()
    errors.check(raw, TASK)
    _check_task(call, errors, {**found, **raw})
    settle({"0": errors})
    found |= {key: value for key, value in raw.items() if key != "request_id"}
    found["updated_at"] = int(call.cloud.peer.now())
    call.cloud.record("task_changed", call.account, id=str(found["id"]), text=found["text"])
    crmhooks.task(call.cloud, call.account, found, "update")
    return {"id": found["id"], "updated_at": found["updated_at"], **call.href(call.path)}


# -- events -----------------------------------------------------------------------------------------------------------


@TABLE.add("GET", "events")
def events(call: Call) -> Json | None:
    """List events, newest first. Chat events stand on the lead, yet are found with filter[entity][]=contact (3.10)."""
    rows = call.account.events[::-1]
    if kinds := call.args("filter[type]"):
        rows = [one for one in rows if one["type"] in [kind for word in kinds for kind in word.split(",")]]
    wanted, ids = call.args("filter[entity]"), call.args("filter[entity_id]")
    if len(ids) > 10 or (ids and len(wanted) != 1):
        raise Refusal(400, "filter[entity_id] needs one entity and up to 10 ids")
    if wanted:
        rows = [one for one in rows if ("contact" if one["linked_talk_contact_id"] else one["entity_type"]) in wanted]
    if ids:
        rows = [one for one in rows if str(one["linked_talk_contact_id"] or one["entity_id"]) in ids]
    return listed(call, "events", [{**one, **call.href(f"events/{one['id']}")} for one in rows], limit=EVENTS_PAGE)


@TABLE.add("GET", "{kind}/{id}/subscriptions")
def subscriptions(call: Call) -> Json | None:
    """List who watches an entity: its responsible user."""
    one = need_entity(call, call.params["kind"], call.number(), "view")
    row = {"subscriber_id": one.responsible_user_id, "type": "user"}
    return {**call.href(call.path), "_embedded": {"subscriptions": [row]}}
