"""Custom fields and tags (amocrm.md 3.4, 3.10)."""

from __future__ import annotations

from tests.sandbox.amocrm import seed, values
from tests.sandbox.amocrm.problems import not_found
from tests.sandbox.amocrm.rest import TABLE, Call, Reply, listed, need
from tests.sandbox.amocrm.state import Json
from tests.sandbox.amocrm.values import CHOICE, Errors, Kind, request_id, settle

PAGE = 50
TYPES = [
    "text",
    "numeric",
    "checkbox",
    "select",
    "multiselect",
    "date",
    "url",
    "textarea",
    "radiobutton",
    "streetaddress",
    "smart_address",
    "birthday",
    "legal_entity",
    "date_time",
    "price",
    "category",
    "items",
    "tracking_data",
    "linked_entity",
    "chained_list",
    "monetary",
    "file",
    "payer",
    "supplier",
]
KNOWN: dict[str, Kind] = {
    "type": str,
    "name": str,
    "code": str,
    "sort": int,
    "group_id": str,
    "is_api_only": bool,
    "enums": list,
    "required_statuses": list,
    "settings": list,
    "is_visible": bool,
    "is_required": bool,
    "remind": str,
    "currency": str,
    "request_id": (str, int),
    "tracking_callback": str,
}


@TABLE.add("GET", "{kind}/custom_fields")
def custom_fields(call: Call) -> Json | None:
    """List the fields of a kind, 50 a page."""
    kind = call.params["kind"]
    rows = [_shown(call, field) for field in call.account.fields[kind].values()]
    page = listed(call, "custom_fields", rows, limit=PAGE)
    return page and {"_total_items": len(rows), "_page_count": -(-len(rows) // PAGE), **page}


@TABLE.add("GET", "{kind}/custom_fields/{id}")
def custom_field(call: Call) -> Json:
    """Describe one field."""
    return _shown(call, need(call.account.fields[call.params["kind"]].get(call.number())))


def _shown(call: Call, field: Json) -> Json:
    return {**field, **call.href(f"{field['entity_type']}/custom_fields/{field['id']}")}


@TABLE.add("POST", "{kind}/custom_fields", admin=True)
def add(call: Call) -> Json:
    """Make fields."""
    kind, rows = call.params["kind"], call.batch(limit=PAGE)
    errors: dict[str, Errors] = {}
    for number, raw in enumerate(rows):
        one = errors[request_id(raw, number)] = Errors()
        one.check(raw, KNOWN, required=["type", "name"])
        if raw.get("type") not in TYPES:
            one.add("type", CHOICE)
        if raw.get("code") and any(field["code"] == raw["code"] for field in call.account.fields[kind].values()):
            one.add("code", ("NotUnique", "This value is already used."))
        if raw.get("type") in ("select", "multiselect", "radiobutton") and not raw.get("enums"):
            one.add("enums", values.MISSING)
    settle(errors)
    made = [_made(call, kind, raw, number) for number, raw in enumerate(rows)]
    return {"_total_items": len(made), **call.href(call.path), "_embedded": {"custom_fields": made}}


def _made(call: Call, kind: str, raw: Json, number: int) -> Json:
    names = tuple(str(one.get("value")) for one in raw.get("enums") or [])
    field = seed.add_field(call.account, kind, raw["name"], raw["type"], code=raw.get("code"), enums=names)
    field |= {"is_predefined": False, "is_deletable": True, "is_api_only": bool(raw.get("is_api_only"))}
    field["group_id"] = raw.get("group_id")
    call.cloud.record("field", call.account, id=str(field["id"]), entity=kind, text=field["name"])
    return {**_shown(call, field), "request_id": request_id(raw, number)}


@TABLE.add("PATCH", "{kind}/custom_fields/{id}", admin=True)
def change(call: Call) -> Json:
    """Rename or move a field."""
    field, raw = need(call.account.fields[call.params["kind"]].get(call.number())), call.single()
    errors = Errors()
    errors.check(raw, KNOWN)
    settle({"0": errors})
    field |= {name: raw[name] for name in ("name", "sort", "code", "is_api_only", "group_id") if name in raw}
    return _shown(call, field)


@TABLE.add("DELETE", "{kind}/custom_fields/{id}", admin=True)
def remove(call: Call) -> Reply:
    """Delete a field with its values; a predefined one stays."""
    kind = call.params["kind"]
    field = call.account.fields[kind].get(call.number())
    if field is None or not field["is_deletable"]:
        raise not_found()
    del call.account.fields[kind][field["id"]]
    for one in call.account.entities[kind].values():
        one.cf.pop(field["id"], None)
    return Reply(204)


# -- tags -------------------------------------------------------------------------------------------------------------


@TABLE.add("GET", "{kind}/tags")
def tags(call: Call) -> Json | None:
    """List the tags of a kind."""
    query = call.arg("query").lower()
    return listed(
        call, "tags", [one for one in call.account.tags[call.params["kind"]].values() if query in one["name"].lower()]
    )


@TABLE.add("POST", "{kind}/tags")
def add_tags(call: Call) -> Json:
    """Make tags; a known name returns its id."""
    kind, rows = call.params["kind"], call.batch()
    errors: dict[str, Errors] = {}
    for number, raw in enumerate(rows):
        one = errors[request_id(raw, number)] = Errors()
        one.check(raw, {"name": str, "color": str, "request_id": (str, int)}, required=["name"])
    settle(errors)
    made = [
        {**values.tag(call.account, kind, raw["name"]), "request_id": request_id(raw, n)} for n, raw in enumerate(rows)
    ]
    return {"_total_items": len(made), "_embedded": {"tags": made}}
