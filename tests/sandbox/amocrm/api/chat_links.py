"""Chats of contacts, and talks (amocrm.md 3.5, 3.8)."""

from __future__ import annotations

from tests.sandbox.amocrm import deeds
from tests.sandbox.amocrm.problems import Refusal, not_found
from tests.sandbox.amocrm.rest import TABLE, Call, Reply
from tests.sandbox.amocrm.state import Json
from tests.sandbox.amocrm.talks import Chat, Talk
from tests.sandbox.amocrm.values import CHOICE, Errors, Kind, request_id, settle

KNOWN: dict[str, Kind] = {"contact_id": int, "chat_id": str, "request_id": (str, int)}


def _own(call: Call, chat: Chat | None) -> bool:
    """Only chats of a channel that carries our integration's id are seen."""
    channel = call.cloud.channels.get(chat.channel_id) if chat else None
    return bool(channel and channel.client_id == call.integration.client_id)


@TABLE.add("POST", "contacts/chats", admin=True)
def link(call: Call) -> Json:
    """Link chats with contacts; relinking moves a chat."""
    rows = call.batch()
    errors: dict[str, Errors] = {}
    for number, raw in enumerate(rows):
        one = errors[request_id(raw, number)] = Errors()
        one.check(raw, KNOWN, required=["contact_id", "chat_id"])
        if raw.get("contact_id") not in call.account.entities["contacts"]:
            one.add("contact_id", CHOICE)
        if not _own(call, call.account.chats.get(str(raw.get("chat_id")))):
            one.add("chat_id", CHOICE)
    settle(errors)
    made = []
    for number, raw in enumerate(rows):
        chat, contact = call.account.chats[raw["chat_id"]], call.account.entities["contacts"][raw["contact_id"]]
        link_id = deeds.link_chat(call.account, chat, contact)
        call.cloud.record("chat_linked", call.account, id=chat.id, contact=contact.id)
        about = {"chat_id": chat.id, "contact_id": contact.id, "id": link_id}
        made.append({**about, "request_id": request_id(raw, number)})
    return {"_total_items": len(made), "_embedded": {"chats": made}}


@TABLE.add("GET", "contacts/chats", admin=True)
def links(call: Call) -> Json | None:
    """List links by contact or chat."""
    contacts, chats = call.args("contact_id"), call.args("chat_id")
    if not (contacts or chats):
        raise Refusal(400, "contact_id or chat_id is required")
    rows = [
        {"chat_id": chat.id, "contact_id": chat.contact_id, "id": chat.link_id}
        for chat in call.account.chats.values()
        if chat.contact_id and _own(call, chat) and (str(chat.contact_id) in contacts or chat.id in chats)
    ]
    return {"_total_items": len(rows), "_embedded": {"chats": rows}} if rows else None


# -- talks ------------------------------------------------------------------------------------------------------------


@TABLE.add("GET", "talks/{id}")
def talk(call: Call) -> Json:
    """Describe a talk."""
    one = _talk(call)
    inside: Json = {"contacts": [{"id": one.contact_id, **call.href(f"contacts/{one.contact_id}")}]}
    if one.lead_id:
        inside["leads"] = [{"id": one.lead_id, **call.href(f"leads/{one.lead_id}")}]
    return {
        "talk_id": one.id,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "rate": one.rate,
        "contact_id": one.contact_id,
        "chat_id": one.chat_id,
        "entity_id": one.lead_id or None,
        "entity_type": "lead" if one.lead_id else None,
        "is_in_work": one.is_in_work,
        "is_read": one.is_read,
        "origin": one.origin,
        "missed_at": None,
        "account_id": call.account.id,
        **call.href(call.path),
        "_embedded": inside,
    }


@TABLE.add("POST", "talks/{id}/close")
def close(call: Call) -> Reply:
    """Close a talk; a closed one is 422."""
    one = _talk(call)
    if call.raw is not None and not isinstance(call.single().get("force_close", False), bool):
        raise Refusal(400, "force_close must be a boolean")
    if not one.is_in_work:
        raise Refusal(422, "Talk is already closed")
    deeds.close_talk(call.cloud, call.account, one)
    return Reply(202)


def _talk(call: Call) -> Talk:
    found = call.account.talks.get(call.number())
    if found is None:
        raise not_found()
    return found
