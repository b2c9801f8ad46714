"""Chat templates: quick replies and WhatsApp templates, seen only by their creator (amocrm.md 3.9)."""

from __future__ import annotations

from tests.sandbox.amocrm import crmhooks
from tests.sandbox.amocrm.problems import Refusal, not_found
from tests.sandbox.amocrm.rest import TABLE, Call, Reply, listed
from tests.sandbox.amocrm.state import Json
from tests.sandbox.amocrm.values import CHOICE, TOO_LONG, WRONG_TYPE, Errors, Kind, request_id, settle

PAGE = 50
LIMIT = 1000  # the real number is not published; 422 above it
HEADER_LIMIT = 60
REASON_LIMIT = 65_535
REVIEWS = ("approved", "paused", "rejected")
KNOWN: dict[str, Kind] = {
    "name": str,
    "content": str,
    "is_editable": bool,
    "type": str,
    "external_id": str,
    "buttons": list,
    "attachment": dict,
    "waba_footer": str,
    "waba_category": str,
    "waba_language": str,
    "waba_examples": (dict, list),
    "waba_header": str,
    "waba_header_type": str,
    "request_id": (str, int),
}


def _own(call: Call) -> list[Json]:
    return [one for one in call.account.templates.values() if one["client_id"] == call.integration.client_id]


def _need(call: Call, number: object) -> Json:
    for one in _own(call):
        if one["id"] == number:
            return one
    raise not_found()


def _shown(call: Call, one: Json) -> Json:
    told = {key: one[key] for key in one if key not in ("client_id", "reviews")}
    shown = {**told, **call.href(f"chats/templates/{one['id']}")}
    return {**shown, "_embedded": {"reviews": one["reviews"]}} if "reviews" in call.having() else shown


@TABLE.add("GET", "chats/templates", admin=True)
def templates(call: Call) -> Json | None:
    """List own templates, 50 a page."""
    wanted = call.args("filter[external_id]")
    rows = [_shown(call, one) for one in _own(call) if not wanted or one["external_id"] in wanted]
    return listed(call, "chat_templates", rows, limit=PAGE)


@TABLE.add("GET", "chats/templates/{id}", admin=True)
def template(call: Call) -> Json:
    """Describe one template."""
    return _shown(call, _need(call, call.number()))


@TABLE.add("POST", "chats/templates", admin=True)
def add(call: Call) -> Json:
    """Make templates: name and content are required."""
    rows = call.batch(limit=PAGE)
    errors: dict[str, Errors] = {}
    for number, raw in enumerate(rows):
        one = errors[request_id(raw, number)] = Errors()
        one.check(raw, KNOWN, required=["name", "content"])
        _check(call, one, raw)
    settle(errors)
    if len(_own(call)) + len(rows) > LIMIT:
        raise Refusal(422, "Limit of templates is reached")
    made = [{**_made(call, raw), "request_id": request_id(raw, number)} for number, raw in enumerate(rows)]
    return {"_total_items": len(made), **call.href("chats/templates"), "_embedded": {"chat_templates": made}}


def _check(call: Call, errors: Errors, raw: Json) -> None:
    if raw.get("type") not in (None, "amocrm", "waba"):
        errors.add("type", CHOICE)
    if len(raw.get("waba_header") or "") > HEADER_LIMIT:
        errors.add("waba_header", TOO_LONG)
    for number, button in enumerate(raw.get("buttons") or []):
        if not isinstance(button, dict) or button.get("type") not in ("inline", "url"):
            errors.add(f"buttons.{number}.type", CHOICE)
        elif not isinstance(button.get("text"), str):
            errors.add(f"buttons.{number}.text", WRONG_TYPE)
    attachment = raw.get("attachment")
    if isinstance(attachment, dict):
        if not call.cloud.drive.get(str(attachment.get("id")), {}).get("is_file"):
            errors.add("attachment.id", CHOICE)
        if attachment.get("type") not in ("picture", "file", "document", "video"):
            errors.add("attachment.type", CHOICE)


def _made(call: Call, raw: Json) -> Json:
    now = int(call.cloud.peer.now())
    made: Json = {name: raw.get(name) for name in KNOWN if name != "request_id"}
    made |= {
        "id": call.account.new_id("template", 7_100),
        "account_id": call.account.id,
        "type": raw.get("type") or "amocrm",
        "buttons": raw.get("buttons") or [],
        "is_editable": bool(raw.get("is_editable")),
        "created_at": now,
        "updated_at": now,
        "review_status": "draft" if raw.get("type") == "waba" else None,
        "is_on_review": False,
        "reviews": [],
        "client_id": call.integration.client_id,
    }
    call.account.templates[made["id"]] = made
    call.cloud.record("template", call.account, id=str(made["id"]), text=made["name"], content=made["content"])
    return _shown(call, made)


@TABLE.add("PATCH", "chats/templates/{id}", admin=True)
def change_one(call: Call) -> Json:
    """Change one template."""
    return _changed(call, [{**call.single(), "id": call.number()}])[0]


@TABLE.add("PATCH", "chats/templates", admin=True)
def change(call: Call) -> Json:
    """Change several templates."""
    rows = _changed(call, call.batch(limit=PAGE))
    return {"_total_items": len(rows), **call.href("chats/templates"), "_embedded": {"chat_templates": rows}}


def _changed(call: Call, rows: list[Json]) -> list[Json]:
    found = [_need(call, raw.get("id")) for raw in rows]
    errors: dict[str, Errors] = {}
    for number, (one, raw) in enumerate(zip(found, rows, strict=True)):
        complaints = errors[request_id(raw, number)] = Errors()
        given = {key: raw[key] for key in raw if key != "id"}
        complaints.check(given, KNOWN)
        _check(call, complaints, given)
        if one["type"] == "waba" and one["review_status"] != "draft":
            complaints.add("id", ("NotEditable", "Only a draft can be changed."))
    settle(errors)
    for one, raw in zip(found, rows, strict=True):
        one |= {key: raw[key] for key in raw if key not in ("id", "request_id")}
        one["updated_at"] = int(call.cloud.peer.now())
        call.cloud.record("template", call.account, id=str(one["id"]), text=one["name"], content=one["content"])
    return [_shown(call, one) for one in found]


@TABLE.add("DELETE", "chats/templates/{id}", admin=True)
def remove_one(call: Call) -> Reply:
    """Delete one template."""
    del call.account.templates[_need(call, call.number())["id"]]
    return Reply(204)


@TABLE.add("DELETE", "chats/templates", admin=True)
def remove(call: Call) -> Reply:
    """Delete several templates."""
    for number in [_need(call, raw.get("id"))["id"] for raw in call.batch(limit=PAGE)]:
        del call.account.templates[number]
    return Reply(204)


@TABLE.add("POST", "chats/templates/{id}/review", admin=True)
def send_to_review(call: Call) -> Json:
    """Send a WhatsApp template to review: one review per waba source, and the hook."""
    one = _need(call, call.number())
    own = [source for source in call.account.sources.values() if source["client_id"] == call.integration.client_id]
    waba = [source for source in own if any(part.get("params", {}).get("waba") for part in source["services"])]
    if one["type"] != "waba" or not waba:
        raise Refusal(400, "Only a WhatsApp template with a WABA source can be reviewed")
    one["reviews"] = [
        {"id": call.account.new_id("review", 10), "source_id": source["id"], "status": "review", "reject_reason": ""}
        for source in waba
    ]
    one |= {"is_on_review": True, "review_status": "review"}
    crmhooks.template_review(call.cloud, call.account, one)
    return {**call.href(call.path), "_embedded": {"reviews": one["reviews"]}}


@TABLE.add("POST", "chats/templates/{id}/review/{review}", admin=True)
def report_review(call: Call) -> Json:
    """Take the network's verdict on one review."""
    one, raw = _need(call, call.number()), call.single()
    review = next((part for part in one["reviews"] if part["id"] == call.number("review")), None)
    if review is None:
        raise not_found()
    errors = Errors()
    errors.check(raw, {"status": str, "reject_reason": str}, required=["status"])
    if raw.get("status") not in REVIEWS:
        errors.add("status", CHOICE)
    if len(raw.get("reject_reason") or "") > REASON_LIMIT:
        errors.add("reject_reason", TOO_LONG)
    settle({"0": errors})
    review |= {"status": raw["status"], "reject_reason": raw.get("reject_reason") or ""}
    one |= {"is_on_review": False, "review_status": raw["status"]}
    return {**review, **call.href(call.path)}
