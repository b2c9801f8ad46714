"""Internal users made for clients, and the CRM tracker (bitrix24.md 3.3, 5.2)."""

from __future__ import annotations

import re

from tests.sandbox.bitrix24 import events, php
from tests.sandbox.bitrix24.cloud import Cloud
from tests.sandbox.bitrix24.state import Chat, Connector, Portal, User

NAME_MAX = 25
LEAD, DEAL, CONTACT, COMPANY = 1, 2, 3, 4
ENTITY_NAMES = {LEAD: "LEAD", DEAL: "DEAL", CONTACT: "CONTACT", COMPANY: "COMPANY"}
_NOT_IN_NAMES = re.compile(r"[^\w\s'’-]|[\d_]")
_PHONE = re.compile(r"\+?\d{7,15}")
_PHONE_MARKS = re.compile(r"[\s()\-.]")


def find_or_make(cloud: Cloud, portal: Portal, connector: Connector, user: dict[str, object]) -> User:
    """Return the internal user of an external one, with what was told about him this time."""
    external_id = php.text(user.get("id"))
    key = f"{connector.id}|{external_id}"
    known = portal.users[portal.clients[key]] if key in portal.clients else None
    internal = known or User(portal.new_id("client", 585), "Гость", is_client=True)
    if known is None:
        portal.clients[key] = internal.id
        portal.users[internal.id] = internal
    name = clean_name(cloud, portal, php.text(user.get("name")))
    last_name = clean_name(cloud, portal, php.text(user.get("last_name")))
    if name or last_name:
        internal.name, internal.last_name = name, last_name
    internal.picture = php.text(php.mapping(user.get("picture")).get("url")) or internal.picture
    internal.url = php.text(user.get("url")) or internal.url
    internal.email = php.text(user.get("email")) or internal.email
    phone = php.text(user.get("phone"))
    if phone and (user.get("skip_phone_validate") == "Y" or _PHONE.fullmatch(_PHONE_MARKS.sub("", phone))):
        internal.phone = phone
    elif phone:
        cloud.record(
            "warning", portal, text="user.phone is not a phone number and was dropped", conversation=external_id
        )
    return internal


def clean_name(cloud: Cloud, portal: Portal, name: str) -> str:
    """Keep letters, spaces, hyphens and apostrophes, at most 25 signs (bitrix24.md 3.3)."""
    clean = " ".join(_NOT_IN_NAMES.sub("", name).split())[:NAME_MAX].strip()
    if clean != name:
        cloud.record("warning", portal, text=f"user.name was changed: {name!r} became {clean!r}")
    return clean


def track(cloud: Cloud, portal: Portal, chat: Chat, *, is_disabled: bool) -> None:
    """Make a lead or a deal for a client without one, as the line's settings say."""
    line = portal.lines[chat.line]
    if is_disabled or not chat.user_id or chat.crm or line["CRM"] != "Y" or line["CRM_CREATE"] == "none":
        return
    kind = DEAL if line["CRM_CREATE"] == "deal" else LEAD
    client = portal.users[chat.user_id]
    fields: dict[str, object] = {
        "TITLE": chat.name,
        "NAME": client.name,
        "LAST_NAME": client.last_name,
        "ASSIGNED_BY_ID": str(next(iter(chat.members), 1)),
        "PHONE": [{"VALUE": client.phone, "VALUE_TYPE": "WORK"}] if client.phone else [],
        "IM": [{"VALUE": f"imol|{chat.user_code}", "VALUE_TYPE": "IMOL"}],
    }
    if kind == DEAL:
        contact = add_entity(cloud, portal, CONTACT, dict(fields))
        fields["CONTACT_ID"] = str(contact)
        chat.crm["CONTACT"] = contact
    chat.crm[ENTITY_NAMES[kind]] = add_entity(cloud, portal, kind, fields)


def add_entity(cloud: Cloud, portal: Portal, kind: int, fields: dict[str, object]) -> int:
    """Add a CRM entity and tell those who listen; the event carries only the id (bitrix24.md 7)."""
    number = portal.new_id(f"crm{kind}", {LEAD: 1209, DEAL: 55, CONTACT: 275, COMPANY: 9}[kind])
    portal.entities[kind][number] = {"ID": str(number), **fields}
    cloud.record("crm", portal, id=f"{ENTITY_NAMES[kind]}_{number}", text=php.text(fields.get("TITLE")))
    for install in portal.installs.values():
        events.emit(cloud, portal, install, f"ONCRM{ENTITY_NAMES[kind]}ADD", {"FIELDS": {"ID": number}})
    return number
