"""leads/complex: a lead with its contact and company in one call, through duplicate control (amocrm.md 3.3)."""

from __future__ import annotations

from tests.sandbox.amocrm import deeds
from tests.sandbox.amocrm.api import entities
from tests.sandbox.amocrm.api.access import allowed
from tests.sandbox.amocrm.rest import TABLE, Call
from tests.sandbox.amocrm.state import Entity, Json
from tests.sandbox.amocrm.values import TOO_LONG, Errors, request_id, settle

AT_ONCE = 50
FIELDS_LIMIT = 40


@TABLE.add("POST", "leads/complex")
def create(call: Call) -> list[Json]:
    """Make leads with one contact and one company each; the answer is a plain array."""
    rows = call.batch(limit=AT_ONCE)
    for kind in ("leads", "contacts", "companies"):
        allowed(call, kind, "add")
    errors: dict[str, Errors] = {}
    for number, raw in enumerate(rows):
        one = errors[request_id(raw, number)] = Errors()
        for kind in ("contacts", "companies"):
            found = _inside(raw, kind)
            if found and len(found) > 1:
                one.add(f"_embedded.{kind}", TOO_LONG)
            for part in (raw, *found):
                if len(part.get("custom_fields_values") or []) > FIELDS_LIMIT:
                    one.add("custom_fields_values", TOO_LONG)
    settle(errors)
    entities.check(call, "leads", [_without(raw, ("contacts", "companies")) for raw in rows])
    for kind in ("contacts", "companies"):
        entities.check(call, kind, [_without(part, ()) for raw in rows for part in _inside(raw, kind)])
    return [_made(call, raw, number) for number, raw in enumerate(rows)]


def _inside(raw: Json, kind: str) -> list[Json]:
    inside = raw.get("_embedded")
    rows = inside.get(kind) if isinstance(inside, dict) else None
    return [part for part in rows if isinstance(part, dict)] if isinstance(rows, list) else []


def _without(raw: Json, kinds: tuple[str, ...]) -> Json:
    told = {key: value for key, value in raw.items() if key != "id"}
    if isinstance(told.get("_embedded"), dict):
        told["_embedded"] = {key: value for key, value in told["_embedded"].items() if key not in kinds}
    return told


def _made(call: Call, raw: Json, number: int) -> Json:
    contact, merged = _part(call, raw, "contacts")
    company, _ = _part(call, raw, "companies")
    lead = deeds.open_lead(call.account, contact.id) if merged and contact else None
    is_merged = lead is not None
    if lead is None:
        lead = entities.make(call, "leads", _without(raw, ("contacts", "companies", "metadata")))
    for one in (contact, company):
        if one is not None:
            deeds.link(call.account, lead, one)
    return {
        "id": lead.id,
        "contact_id": contact.id if contact else None,
        "company_id": company.id if company else None,
        "request_id": [request_id(raw, number)],
        "merged": is_merged,
    }


def _part(call: Call, raw: Json, kind: str) -> tuple[Entity | None, bool]:
    """Find the contact or company by id or by duplicate control, or make it. True = it was known by its phone."""
    rows = _inside(raw, kind)
    if not rows:
        return None, False
    known = call.account.entities[kind].get(rows[0].get("id") or 0)
    if known is not None:
        return known, False
    if call.integration.duplicate_control:
        for field in rows[0].get("custom_fields_values") or []:
            if field.get("field_code") == "PHONE" and (found := _by_phone(call, kind, field)):
                return found, True
    return entities.make(call, kind, _without(rows[0], ())), False


def _by_phone(call: Call, kind: str, field: Json) -> Entity | None:
    wanted = {"".join(filter(str.isdigit, str(value.get("value")))) for value in field["values"]}
    for one in call.account.entities[kind].values():
        if wanted & set(deeds.phones(call.account, one)):
            return one
    return None
