"""CRM webhooks: form-encoded, all scalars strings, no signature, the retry ladder of amocrm.md 4.2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tests.sandbox.amocrm.state import Account, Entity, Json, new_uuid
from tests.sandbox.amocrm.talks import Chat, Message, Talk
from tests.sandbox.hooks import Answer, Hook

if TYPE_CHECKING:
    from tests.sandbox.amocrm.cloud import Cloud

WAIT_S = 2.0
PAUSES_S = (5 * 60, 15 * 60, 15 * 60, 60 * 60)
BAD_ANSWERS = 100
BAD_WINDOW_S = 2 * 3600
SINGULAR = {"leads": "lead", "contacts": "contact", "companies": "company"}
TYPE_NUMBERS = {"contacts": 1, "leads": 2, "companies": 3}


@dataclass(frozen=True, slots=True)
class Ladder:
    """Five attempts; the last two only after 499 and 5xx."""

    timeout_s: float = WAIT_S

    def accepted(self, answer: Answer) -> bool:
        """Take 100 to 299."""
        return 100 <= answer.status <= 299

    def pause_s(self, attempt: int, answer: Answer) -> float | None:
        """Give the next pause of the ladder."""
        if attempt > len(PAUSES_S):
            return None
        is_server_trouble = answer.status == 499 or 500 <= answer.status <= 599
        return PAUSES_S[attempt - 1] if attempt < 3 or is_server_trouble else None

    def headers(self, attempt: int) -> Mapping[str, str]:
        """Add nothing."""
        return {}


def flat(value: object, name: str = "") -> list[tuple[str, str]]:
    """Spread an object into the fields of a form: a[b][0]=c, everything a string, null empty, bool 1 or 0."""
    if isinstance(value, Mapping):
        return [pair for key, part in value.items() for pair in flat(part, f"{name}[{key}]" if name else str(key))]
    if isinstance(value, list | tuple):
        return [pair for number, part in enumerate(value) for pair in flat(part, f"{name}[{number}]")]
    if isinstance(value, bool):
        return [(name, str(int(value)))]
    return [(name, "" if value is None else str(value))]


def emit(cloud: Cloud, account: Account, event: str, body: Json) -> None:
    """Send an event to every webhook that is subscribed to it."""
    if not account.options.has_webhooks:
        return
    told = {
        **body,
        "account": {
            "id": account.id,
            "subdomain": account.subdomain,
            "_links": {"self": f"https://{account.host}"},
        },
    }
    raw = urlencode(flat(told)).encode()
    for webhook in list(account.webhooks.values()):
        if event in webhook["settings"] and not webhook["disabled"]:
            _send(cloud, account, webhook, event, raw)


def _send(cloud: Cloud, account: Account, webhook: Json, event: str, raw: bytes) -> None:
    def heard(attempt: int, answer: Answer) -> None:
        if 100 <= answer.status <= 299:
            return
        now = cloud.peer.now()
        webhook["bad"] = [at for at in webhook["bad"] if at > now - BAD_WINDOW_S] + [now]
        if len(webhook["bad"]) > BAD_ANSWERS:
            webhook["disabled"] = True
            cloud.record("webhook_disabled", account, id=webhook["destination"])

    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "User-Agent": "amoCRM-Webhooks/3.0",
        "x-amocrm-requestid": new_uuid(),
    }
    hook = Hook(
        webhook["destination"],
        raw,
        headers,
        Ladder(),
        label=event,
        account=account.host,
        on_answer=heard,
        alive=lambda: webhook["destination"] in account.webhooks and not webhook["disabled"],
    )
    cloud.peer.hooks.send(hook)


# -- events -----------------------------------------------------------------------------------------------------------


def entity(cloud: Cloud, account: Account, one: Entity, act: str, *, old_status: int = 0, old_user: int = 0) -> None:
    """Tell about a lead, contact or company: add, update, delete, status, responsible."""
    shown: Json = {
        "id": one.id,
        "name": one.name,
        "responsible_user_id": one.responsible_user_id,
        "created_user_id": one.created_by,
        "modified_user_id": one.updated_by,
        "date_create": one.created_at,
        "last_modified": one.updated_at,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "account_id": account.id,
    }
    if one.kind == "leads":
        shown |= {name: one.values.get(name) for name in ("status_id", "pipeline_id", "price")}
    else:
        shown["type"] = SINGULAR[one.kind]
        leads = account.linked(one.kind, one.id, "leads")
        shown["linked_leads_id"] = {str(number): {"ID": number} for number in leads}
    if old_status:
        shown["old_status_id"] = old_status
    if old_user:
        shown["old_responsible_user_id"] = old_user
    shown["custom_fields"] = [
        {"id": number, "name": field["name"], "code": field["code"] or "", "values": one.cf[number]}
        for number, field in account.fields[one.kind].items()
        if number in one.cf
    ]
    key = "leads" if one.kind == "leads" else "contacts"
    emit(cloud, account, f"{act}_{SINGULAR[one.kind]}", {key: {act: [shown]}})


def note(cloud: Cloud, account: Account, made: Json) -> None:
    """Tell about a note."""
    kind = made["entity_type"]
    shown = {
        "id": made["id"],
        "text": made["params"].get("text", ""),
        "note_type": 4,
        "element_type": TYPE_NUMBERS[kind],
        "element_id": made["entity_id"],
        "created_by": made["created_by"],
        "account_id": account.id,
    }
    emit(cloud, account, f"note_{SINGULAR[kind]}", {kind: {"note": [{"note": shown}]}})


def task(cloud: Cloud, account: Account, made: Json, act: str) -> None:
    """Tell about a task."""
    shown = {
        "id": made["id"],
        "element_id": made["entity_id"],
        "element_type": TYPE_NUMBERS.get(made["entity_type"] or "", ""),
        "task_type": made["task_type_id"],
        "status": made["is_completed"],
        "text": made["text"],
        "complete_till": made["complete_till"],
        "responsible_user_id": made["responsible_user_id"],
        "account_id": account.id,
    }
    emit(cloud, account, f"{act}_task", {"task": {act: [shown]}})


def talk(cloud: Cloud, account: Account, one: Talk, act: str) -> None:
    """Tell about a talk; is_read 1 = answered, is_in_work 0 = closed."""
    shown = {
        "talk_id": one.id,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "rate": one.rate,
        "contact_id": one.contact_id,
        "chat_id": one.chat_id,
        "entity_id": one.lead_id,
        "entity_type": "lead" if one.lead_id else "",
        "is_in_work": one.is_in_work,
        "is_read": one.is_read,
        "origin": one.origin,
    }
    emit(cloud, account, f"{act}_talk", {"talk": {act: [shown]}})


def message(cloud: Cloud, account: Account, chat: Chat, one: Message, of: Talk) -> None:
    """Tell about an incoming message; the code of the event is unconfirmed (4.2)."""
    sender = account.participants[one.sender_id]
    shown = {
        "id": one.id,
        "chat_id": chat.id,
        "talk_id": of.id,
        "contact_id": chat.contact_id,
        "text": one.content.get("text", ""),
        "created_at": one.at,
        "element_type": 2,
        "entity_type": "lead",
        "element_id": of.lead_id,
        "entity_id": of.lead_id,
        "type": "incoming",
        "author": {"id": sender.id, "type": "external", "name": sender.name},
        "origin": of.origin,
    }
    emit(cloud, account, "add_message", {"message": {"add": [shown]}})


def unsorted(cloud: Cloud, account: Account, one: Json, act: str) -> None:
    """Tell about an unsorted lead: add, or delete by accept or decline."""
    shown: Json = {
        "uid": one["uid"],
        "category": one["category"],
        "pipeline_id": one["pipeline_id"],
        "lead_id": one["lead_id"],
        "source_data": {"source_name": one["source_name"]},
        "created_at": one["created_at"],
    }
    if act == "add":
        emit(cloud, account, "add_unsorted", {"unsorted": {"add": [shown]}})
        return
    result = {"leads": [one["lead_id"]], "contacts": [one["contact_id"]]}
    shown |= {"action": act, f"{act}_result": result}
    emit(cloud, account, "delete_unsorted", {"unsorted": {"delete": [shown]}})


def template_review(cloud: Cloud, account: Account, template: Json) -> None:
    """Tell that a WhatsApp template was sent to review; the example shows a bare add[0]."""
    names = ("id", "type", "name", "content", "is_on_review", "waba_category", "waba_language", "reviews")
    shown = {"account_id": account.id, **{name: template.get(name) for name in names}}
    emit(cloud, account, "add_chat_template_review", {"add": [shown]})
