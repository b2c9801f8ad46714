"""What amoCRM's pages show of an account and of a card."""

from __future__ import annotations

from typing import Any

from tests.sandbox.amocrm.state import Account, Entity, User

Json = dict[str, Any]
OTHERS = {"leads": ("contacts", "companies"), "contacts": ("companies", "leads"), "companies": ("contacts", "leads")}


def account(one: Account, user: User) -> Json:
    """Say what the pages' scripts know of the account and of whoever looks."""
    return {
        "id": one.id,
        "subdomain": one.subdomain,
        "name": one.name,
        "amojo_id": one.amojo_id,
        "user": {
            "id": user.id,
            "name": user.name,
            "login": user.email,
            "amojo_id": user.amojo_id,
            "is_admin": user.is_admin,
        },
        "users": [{"id": other.id, "name": other.name} for other in one.users.values()],
    }


def card(one: Account, kind: str, number: int) -> Json | None:
    """Say what a card shows; number 0 is a card that is not saved yet."""
    if number == 0:
        return {"kind": kind, "id": 0, "name": "", "fields": [], "people": [], "feed": []}
    entity = one.entities[kind].get(number)
    if entity is None or entity.is_deleted:
        return None
    people = [one.entities[other][id] for other in OTHERS[kind] for id in one.linked(kind, number, other)]
    return {
        "kind": kind,
        "id": entity.id,
        "name": entity.name,
        "fields": _fields(one, entity),
        "people": [_person(one, person) for person in people if not person.is_deleted],
        "feed": _feed(one, entity, people),
    }


def _person(one: Account, entity: Entity) -> Json:
    return {"id": entity.id, "kind": entity.kind, "name": entity.name, "fields": _fields(one, entity)}


def _fields(one: Account, entity: Entity) -> list[Json]:
    known = one.fields[entity.kind]
    return [
        {"name": known[number]["name"], "code": known[number]["code"], "value": str(value["value"])}
        for number, values in entity.cf.items()
        if number in known
        for value in values
    ]


def _feed(one: Account, entity: Entity, people: list[Entity]) -> list[Json]:
    """Show the chats of the card's contacts, as the feed of a card does."""
    contacts = {person.id for person in (entity, *people) if person.kind == "contacts"}
    chats = {chat.id: chat for chat in one.chats.values() if chat.contact_id in contacts}
    said = sorted((one for one in one.messages.values() if one.chat_id in chats), key=lambda message: message.msec)
    return [
        {
            "id": message.id,
            "author": one.participants[message.sender_id].name if message.sender_id in one.participants else "",
            "text": str(message.content.get("text", "")),
            "file": str(message.content.get("file_name", "")),
            "is_incoming": message.is_incoming,
            "error": message.error,
        }
        for message in said
    ]
