"""Unsorted leads (amocrm.md 3.7). Those of category chats come from the chats API only."""

from __future__ import annotations

from tests.sandbox.amocrm import deeds, seed, values
from tests.sandbox.amocrm.problems import Refusal
from tests.sandbox.amocrm.rest import TABLE, Call, listed, need
from tests.sandbox.amocrm.state import Json, new_uuid
from tests.sandbox.amocrm.values import CHOICE, Errors, Kind, request_id, settle

FORM: dict[str, Kind] = {
    "source_name": str,
    "source_uid": str,
    "pipeline_id": int,
    "created_at": int,
    "metadata": dict,
    "_embedded": dict,
    "request_id": (str, int),
}


@TABLE.add("GET", "leads/unsorted")
def unsorted(call: Call) -> Json | None:
    """List unsorted leads; these filters need no add-on."""
    rows = list(call.account.unsorted.values())
    if categories := call.args("filter[category]"):
        rows = [one for one in rows if one["category"] in categories]
    if pipelines := call.args("filter[pipeline_id]"):
        rows = [one for one in rows if str(one["pipeline_id"]) in pipelines]
    if uids := call.args("filter[uid]"):
        rows = [one for one in rows if one["uid"] in uids]
    return listed(call, "unsorted", [_shown(call, one) for one in rows])


@TABLE.add("GET", "leads/unsorted/summary")
def summary(call: Call) -> Json:
    """Count unsorted leads."""
    total = len(call.account.unsorted)
    counted = {"chats": {"total": total}}
    return {"total": total, "accepted": 0, "declined": 0, "categories": counted, **call.href(call.path)}


@TABLE.add("GET", "leads/unsorted/{uid}")
def one_unsorted(call: Call) -> Json:
    """Describe one."""
    return _shown(call, need(call.account.unsorted.get(call.params["uid"])))


def _shown(call: Call, one: Json) -> Json:
    plain = {name: value for name, value in one.items() if name not in ("lead_id", "contact_id")}
    inside: Json = {"contacts": [{"id": one["contact_id"], **call.href(f"contacts/{one['contact_id']}")}]}
    inside["leads"] = [{"id": one["lead_id"], **call.href(f"leads/{one['lead_id']}")}]
    inside["companies"] = []
    return {**plain, "account_id": call.account.id, **call.href(f"leads/unsorted/{one['uid']}"), "_embedded": inside}


@TABLE.add("POST", "leads/unsorted/{uid}/accept")
def accept(call: Call) -> Json:
    """Accept: the lead goes to a regular stage."""
    one, raw = need(call.account.unsorted.get(call.params["uid"])), call.raw if isinstance(call.raw, dict) else {}
    user, status = _user(call, raw), raw.get("status_id")
    pipeline = call.account.pipelines[one["pipeline_id"]]
    if status is not None and status not in {stage["id"] for stage in pipeline["statuses"] if stage["type"] == 0}:
        raise Refusal(400, "status_id is not valid")
    lead = deeds.accept(call.cloud, call.account, one["uid"], user_id=user, status_id=status or 0)
    return _result(call, one, lead.id)


@TABLE.add("DELETE", "leads/unsorted/{uid}/decline")
def decline(call: Call) -> Json:
    """Decline: the lead is deleted."""
    one, raw = need(call.account.unsorted.get(call.params["uid"])), call.raw if isinstance(call.raw, dict) else {}
    deeds.decline(call.cloud, call.account, one["uid"], user_id=_user(call, raw))
    return _result(call, one, one["lead_id"])


@TABLE.add("POST", "leads/unsorted/{uid}/link")
def link(call: Call) -> Json:
    """Link the chat with an entity instead of making a lead: category chats only."""
    one, raw = need(call.account.unsorted.get(call.params["uid"])), call.single().get("link")
    if one["category"] != "chats":
        raise Refusal(400, "Only chats can be linked")
    if not isinstance(raw, dict) or raw.get("entity_type") != "leads":
        raise Refusal(400, "link.entity_type must be leads")
    account = call.account
    lead = account.entities["leads"].get(raw.get("entity_id") or 0)
    metadata = raw.get("metadata") if isinstance(raw.get("metadata"), dict) else {}
    contact = account.entities["contacts"].get((metadata or {}).get("contact_id") or 0)
    if lead is None or (metadata and contact is None):
        raise Refusal(400, "link.entity_id is not valid")
    chat = account.chats[one["metadata"]["origin"]["chat_id"]]
    linked = account.linked("leads", lead.id, "contacts")
    contact = contact or (account.entities["contacts"][linked[0]] if linked else None)
    deeds.merge_unsorted(call.cloud, account, one, chat, lead, contact)
    return _result(call, one, lead.id)


def _user(call: Call, raw: Json) -> int:
    user = raw.get("user_id")
    if user is not None and user not in call.account.users:
        raise Refusal(400, "user_id is not valid")
    return user or call.user.id


def _result(call: Call, one: Json, lead_id: int) -> Json:
    names = ("uid", "pipeline_id", "category", "created_at")
    inside = {"contacts": [{"id": one["contact_id"]}], "leads": [{"id": lead_id}], "companies": []}
    return {**{name: one[name] for name in names}, **call.href(f"leads/unsorted/{one['uid']}"), "_embedded": inside}


@TABLE.add("POST", "leads/unsorted/forms")
def add_forms(call: Call) -> Json:
    """Make unsorted leads of forms."""
    return _added(call, "forms")


@TABLE.add("POST", "leads/unsorted/sip")
def add_calls(call: Call) -> Json:
    """Make unsorted leads of calls."""
    return _added(call, "sip")


def _added(call: Call, category: str) -> Json:
    rows = call.batch()
    errors: dict[str, Errors] = {}
    for number, raw in enumerate(rows):
        one = errors[request_id(raw, number)] = Errors()
        one.check(raw, FORM, required=["source_name", "source_uid", "metadata"])
        if raw.get("pipeline_id") is not None and raw["pipeline_id"] not in call.account.pipelines:
            one.add("pipeline_id", CHOICE)
    settle(errors)
    made = [_form(call, category, raw, number) for number, raw in enumerate(rows)]
    return {"_total_items": len(made), **call.href(call.path), "_embedded": {"unsorted": made}}


def _form(call: Call, category: str, raw: Json, number: int) -> Json:
    account, inside = call.account, raw.get("_embedded") or {}
    pipeline = account.pipelines.get(raw.get("pipeline_id") or 0) or account.main_pipeline
    person: Json = (inside.get("contacts") or [{}])[0]
    card: Json = (inside.get("leads") or [{}])[0]
    contact = deeds.add_entity(call.cloud, account, "contacts", str(person.get("name") or "Без имени"))
    contact.cf |= values.custom_values(Errors(), account, "contacts", person.get("custom_fields_values"), "")
    stage = seed.stage(pipeline, unsorted=True)["id"]
    lead = deeds.add_lead(call.cloud, account, str(card.get("name") or "Заявка"), pipeline, stage)
    deeds.link(account, lead, contact)
    uid = new_uuid().replace("-", "")
    account.uid_by_lead[lead.id] = uid
    account.unsorted[uid] = {
        "uid": uid,
        "source_uid": raw["source_uid"],
        "source_name": raw["source_name"],
        "category": category,
        "pipeline_id": pipeline["id"],
        "created_at": int(call.cloud.peer.now()),
        "metadata": raw["metadata"],
        "lead_id": lead.id,
        "contact_id": contact.id,
    }
    call.cloud.record("unsorted", account, id=uid, lead=lead.id, contact=contact.id, pipeline=pipeline["id"])
    return {**_shown(call, account.unsorted[uid]), "request_id": request_id(raw, number)}
