"""leads, contacts, companies: list, get, create, change (amocrm.md 3.3, 3.4)."""

from __future__ import annotations

import re

from tests.sandbox.amocrm import crmhooks, deeds, seed, values
from tests.sandbox.amocrm.api.access import allowed, may, need_entity
from tests.sandbox.amocrm.problems import Refusal, not_found
from tests.sandbox.amocrm.rest import TABLE, Call, listed
from tests.sandbox.amocrm.state import Entity, Json
from tests.sandbox.amocrm.values import CHOICE, Errors, Kind, request_id, settle

COMMON: dict[str, Kind] = {
    "name": str,
    "responsible_user_id": int,
    "created_by": int,
    "updated_by": int,
    "created_at": int,
    "updated_at": int,
    "custom_fields_values": list,
    "tags_to_add": list,
    "tags_to_delete": list,
    "_embedded": dict,
    "request_id": (str, int),
}
KNOWN: dict[str, dict[str, Kind]] = {
    "leads": {
        **COMMON,
        "price": int,
        "status_id": int,
        "pipeline_id": int,
        "closed_at": int,
        "loss_reason_id": int,
        "visitor_uid": str,
    },
    "contacts": {**COMMON, "first_name": str, "last_name": str},
    "companies": COMMON,
}
EMBEDDED: dict[str, Kind] = {"tags": list, "contacts": list, "companies": list, "source": dict, "metadata": dict}
ORDERS = ("created_at", "updated_at", "id")


# -- reading ----------------------------------------------------------------------------------------------------------


@TABLE.add("GET", "{kind}")
def entities(call: Call) -> Json | None:
    """List entities the user may see; `query` searches name and filled fields."""
    kind = call.params["kind"]
    rows = [one for one in call.account.entities[kind].values() if not one.is_deleted and may(call, one, "view")]
    rows = [one for one in _filtered(call, kind, rows) if _matches(one, call.arg("query"))]
    page = listed(call, kind, [shown(call, one) for one in _ordered(call, rows)])
    if page is not None and "with" in call.query:
        page["_links"]["self"]["href"] += f"&with={call.arg('with')}"
    return page


def _filtered(call: Call, kind: str, rows: list[Entity]) -> list[Entity]:
    """Apply filter[...]: without the paid add-on filters are refused or ignored (3.1, 9.6)."""
    if call.account.options.filters == "ignore" or not any(name.startswith("filter") for name in call.query):
        return rows
    if call.account.options.filters == "reject":
        raise Refusal(403, "Filter is not available on this account")
    if ids := call.args("filter[id]"):
        rows = [one for one in rows if str(one.id) in ids]
    for field in ("name", "responsible_user_id", "pipeline_id"):
        if found := call.args(f"filter[{field}]"):
            rows = [one for one in rows if str(_plain(one, field)) in found]
    for number in range(50):
        status = call.arg(f"filter[statuses][{number}][status_id]")
        if status:
            rows = [one for one in rows if str(one.values.get("status_id")) == status]
    for field in ("created_at", "updated_at"):
        low, high = call.arg(f"filter[{field}][from]"), call.arg(f"filter[{field}][to]")
        rows = [one for one in rows if not low or getattr(one, field) >= int(low)]
        rows = [one for one in rows if not high or getattr(one, field) <= int(high)]
    return rows


def _plain(one: Entity, field: str) -> object:
    return getattr(one, field) if hasattr(one, field) else one.values.get(field)


def _matches(one: Entity, query: str) -> bool:
    """Search a substring in the name and all filled fields; digits also in the digits of a value."""
    if not query:
        return True
    low, digits = query.lower(), re.sub(r"\D", "", query)
    texts = [one.name, *(str(value.get("value", "")) for group in one.cf.values() for value in group)]
    found = any(low in text.lower() for text in texts)
    return found or (len(digits) >= 5 and any(digits in re.sub(r"\D", "", text) for text in texts))


def _ordered(call: Call, rows: list[Entity]) -> list[Entity]:
    for name in ORDERS:
        way = call.arg(f"order[{name}]")
        if way:
            return sorted(rows, key=lambda one: getattr(one, name), reverse=way == "desc")
    return rows


@TABLE.add("GET", "{kind}/{id}")
def entity(call: Call) -> Json:
    """Describe one entity; 403 when the user may not see it."""
    return shown(call, need_entity(call, call.params["kind"], call.number(), "view"))


def shown(call: Call, one: Entity) -> Json:
    """Show an entity as lists and get do."""
    account, having = call.account, call.having()
    told: Json = {
        "id": one.id,
        "name": one.name,
        "responsible_user_id": one.responsible_user_id,
        "group_id": 0,
        "created_by": one.created_by,
        "updated_by": one.updated_by,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "closest_task_at": None,
        "is_deleted": one.is_deleted,
        "custom_fields_values": values.shown_custom(account, one.kind, one.cf),
        "account_id": account.id,
    }
    inside: Json = {"tags": [dict(account.tags[one.kind][number]) for number in one.tags]}
    if one.kind == "leads":
        names = ("status_id", "pipeline_id", "price", "closed_at", "loss_reason_id")
        told |= {name: one.values.get(name) for name in names}
        inside["companies"] = [{"id": number} for number in account.linked("leads", one.id, "companies")]
        if "source_id" in having:
            told["source_id"] = one.values.get("source_id")
        if "contacts" in having:
            inside["contacts"] = _contacts(call, one)
    else:
        if one.kind == "contacts":
            told |= {name: one.values.get(name, "") for name in ("first_name", "last_name")}
            inside["companies"] = [{"id": number} for number in account.linked("contacts", one.id, "companies")]
        told["is_unsorted"] = any(lead in account.uid_by_lead for lead in account.linked(one.kind, one.id, "leads"))
        for other in {"leads", "contacts"} & having:
            inside[other] = [{"id": number} for number in account.linked(one.kind, one.id, other)]
    return {**told, **call.href(f"{one.kind}/{one.id}"), "_embedded": inside}


def _contacts(call: Call, one: Entity) -> list[Json]:
    return [
        {"id": number, "is_main": bool(call.account.links["leads", one.id]["contacts", number].get("is_main"))}
        for number in call.account.linked("leads", one.id, "contacts")
    ]


# -- writing ----------------------------------------------------------------------------------------------------------


@TABLE.add("POST", "{kind}")
def create(call: Call) -> Json:
    """Make entities from an array."""
    kind, rows = call.params["kind"], call.batch()
    allowed(call, kind, "add")
    check(call, kind, rows, required=["name"] if kind == "companies" else [])
    made = [{**_answer(call, make(call, kind, raw)), "request_id": request_id(raw, n)} for n, raw in enumerate(rows)]
    return {**call.href(kind), "_embedded": {kind: made}}


@TABLE.add("PATCH", "{kind}")
def change(call: Call) -> Json:
    """Change entities named by id in an array."""
    kind, rows = call.params["kind"], call.batch()
    found = [_by_id(call, kind, raw) for raw in rows]
    check(call, kind, [{key: raw[key] for key in raw if key != "id"} for raw in rows])
    for one, raw in zip(found, rows, strict=True):
        apply(call, one, raw)
    told = [{**_answer(call, one), "updated_at": one.updated_at} for one in found]
    return {**call.href(kind), "_embedded": {kind: told}}


@TABLE.add("PATCH", "{kind}/{id}")
def change_one(call: Call) -> Json:
    """Change one entity."""
    one, raw = need_entity(call, call.params["kind"], call.number(), "edit"), dict(call.single())
    if raw.pop("id", one.id) != one.id:
        raise Refusal(400, "id in the body differs")
    check(call, one.kind, [raw])
    apply(call, one, raw)
    return {**_answer(call, one), "updated_at": one.updated_at}


def _by_id(call: Call, kind: str, raw: Json) -> Entity:
    if not isinstance(raw.get("id"), int):
        raise not_found()
    return need_entity(call, kind, raw["id"], "edit")


def _answer(call: Call, one: Entity) -> Json:
    return {"id": one.id, **call.href(f"{one.kind}/{one.id}")}


def check(call: Call, kind: str, rows: list[Json], *, required: list[str] | None = None) -> None:
    """Complain about every item of the batch at once. Raises Invalid."""
    errors: dict[str, Errors] = {}
    for number, raw in enumerate(rows):
        one = errors[request_id(raw, number)] = Errors()
        one.check(raw, KNOWN[kind], required=required or [])
        inside = raw.get("_embedded")
        if isinstance(inside, dict):
            one.check(inside, EMBEDDED, path="_embedded.")
        values.custom_values(one, call.account, kind, raw.get("custom_fields_values"), "custom_fields_values")
        _check_refs(call, kind, one, raw)
    settle(errors)


def _check_refs(call: Call, kind: str, errors: Errors, raw: Json) -> None:
    account = call.account
    if isinstance(user := raw.get("responsible_user_id"), int) and user not in account.users:
        errors.add("responsible_user_id", CHOICE)
    if kind == "leads":
        _check_stage(call, errors, raw)
    inside = raw.get("_embedded") if isinstance(raw.get("_embedded"), dict) else {}
    for other in ("contacts", "companies"):
        rows = (inside or {}).get(other)
        for at, one in enumerate(rows if isinstance(rows, list) else []):
            number = one.get("id") if isinstance(one, dict) else None
            if number not in account.entities[other]:
                errors.add(f"_embedded.{other}.{at}.id", CHOICE)


def _check_stage(call: Call, errors: Errors, raw: Json) -> None:
    pipelines = call.account.pipelines
    pipeline, status = raw.get("pipeline_id"), raw.get("status_id")
    if isinstance(pipeline, int) and pipeline not in pipelines:
        errors.add("pipeline_id", CHOICE)
        return
    places = [pipelines[pipeline]] if isinstance(pipeline, int) else list(pipelines.values())
    known = {stage["id"] for place in places for stage in place["statuses"] if stage["type"] == 0}
    if isinstance(status, int) and status not in known:
        errors.add("status_id", CHOICE)


def make(call: Call, kind: str, raw: Json) -> Entity:
    """Make one entity that was checked."""
    name = raw.get("name") or " ".join(filter(None, (raw.get("first_name"), raw.get("last_name"))))
    plain: Json = {key: raw.get(key) or "" for key in ("first_name", "last_name")} if kind == "contacts" else {}
    if kind == "leads":
        plain = _place(call, raw)
    robot = raw.get("created_by") == 0
    one = deeds.add_entity(call.cloud, call.account, kind, name, user_id=0 if robot else call.user.id, **plain)
    apply(call, one, {key: raw[key] for key in raw if key not in ("status_id", "pipeline_id")}, quiet=True)
    if not one.name:
        one.name = f"Сделка #{one.id}" if kind == "leads" else "Без имени"
    return one


def _place(call: Call, raw: Json) -> Json:
    """Choose pipeline and stage: given, the source's, or the first stage of the main pipeline (3.3)."""
    account, source = call.account, None
    named = (raw.get("_embedded") or {}).get("source") or {}
    for one in account.sources.values():
        if (one["external_id"], one["client_id"]) == (named.get("external_id"), call.integration.client_id):
            source = one
    status, pipeline = raw.get("status_id"), account.pipelines.get(raw.get("pipeline_id") or 0)
    if pipeline is None and status not in (None, *deeds.CLOSED):
        pipeline = next(one for one in account.pipelines.values() if status in {st["id"] for st in one["statuses"]})
    if pipeline is None:
        pipeline = account.pipelines.get(source["pipeline_id"] if source else 0) or account.main_pipeline
    place: Json = {"pipeline_id": pipeline["id"], "status_id": status or seed.stage(pipeline, unsorted=False)["id"]}
    return place | {"price": raw.get("price") or 0} | ({"source_id": source["id"]} if source else {})


def apply(call: Call, one: Entity, raw: Json, *, quiet: bool = False) -> None:
    """Write checked values into an entity; tags: add, delete, or replace the whole set by _embedded.tags."""
    account, ignored = call.account, Errors()
    old_user = one.responsible_user_id
    one.name = raw.get("name") or one.name
    one.responsible_user_id = raw.get("responsible_user_id") or one.responsible_user_id
    one.values |= {key: raw[key] for key in ("price", "first_name", "last_name", "loss_reason_id") if key in raw}
    for number, found in values.custom_values(ignored, account, one.kind, raw.get("custom_fields_values"), "").items():
        one.cf[number] = found
    _apply_tags(call, one, raw)
    inside = raw.get("_embedded") or {}
    for other in ("contacts", "companies"):
        for link in inside.get(other) or []:
            deeds.link(account, one, account.entities[other][link["id"]], is_main=bool(link.get("is_main")))
    one.updated_at, one.updated_by = int(call.cloud.peer.now()), call.user.id
    if "status_id" in raw or "pipeline_id" in raw:
        place = _place(call, {"pipeline_id": one.values["pipeline_id"], **raw})
        deeds.move(
            call.cloud,
            account,
            one,
            pipeline_id=place["pipeline_id"],
            status_id=place["status_id"],
            user_id=call.user.id,
        )
    if quiet:
        return
    call.cloud.record("changed", account, id=str(one.id), entity=one.kind, text=", ".join(sorted(raw)))
    crmhooks.entity(call.cloud, account, one, "update")
    if old_user != one.responsible_user_id:
        crmhooks.entity(call.cloud, account, one, "responsible", old_user=old_user)


def _apply_tags(call: Call, one: Entity, raw: Json) -> None:
    errors, account = Errors(), call.account
    inside = raw.get("_embedded") or {}
    if "tags" in inside:
        one.tags = values.tag_ids(errors, account, one.kind, inside["tags"], "_embedded.tags")
    for number in values.tag_ids(errors, account, one.kind, raw.get("tags_to_add"), "tags_to_add"):
        if number not in one.tags:
            one.tags.append(number)
    gone = values.tag_ids(errors, account, one.kind, raw.get("tags_to_delete"), "tags_to_delete")
    one.tags = [number for number in one.tags if number not in gone]
    settle({"0": errors})
