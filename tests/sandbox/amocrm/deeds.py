"""What happens in amoCRM when a message comes or goes: contact, lead or unsorted, talk, notices (amocrm.md 2.8, 2.9).

Nothing here checks a caller's parameters.
"""

from __future__ import annotations

from tests.sandbox.amocrm import crmhooks, seed
from tests.sandbox.amocrm.cloud import Cloud
from tests.sandbox.amocrm.state import LOST, WON, Account, Connection, Entity, Json, new_uuid
from tests.sandbox.amocrm.talks import Chat, Message, Participant, Talk

CLOSED = (WON, LOST)


# -- entities ---------------------------------------------------------------------------------------------------------


def add_entity(cloud: Cloud, account: Account, kind: str, name: str, *, user_id: int = 0, **values: object) -> Entity:
    """Make a lead, contact or company; user 0 is the robot."""
    now = int(cloud.peer.now())
    first = {"leads": 700, "contacts": 500_000, "companies": 900_000}[kind]
    responsible = int(str(values.pop("responsible_user_id", 0))) or user_id or account.admin.id
    entity = Entity(account.new_id(kind, first), kind, name, responsible, now, now, user_id, user_id, values)
    account.entities[kind][entity.id] = entity
    cloud.record("entity", account, id=str(entity.id), entity=kind, text=name)
    crmhooks.entity(cloud, account, entity, "add")
    return entity


def add_lead(cloud: Cloud, account: Account, name: str, pipeline: Json, status_id: int, *, user_id: int = 0) -> Entity:
    """Make a lead in a stage."""
    return add_entity(
        cloud, account, "leads", name, user_id=user_id, pipeline_id=pipeline["id"], status_id=status_id, price=0
    )


def link(account: Account, one: Entity, other: Entity, *, is_main: bool = True) -> None:
    """Link two entities; a contact of a lead may be its main one."""
    account.join(one, other, {"is_main": is_main} if {one.kind, other.kind} == {"leads", "contacts"} else {})


def set_field(account: Account, entity: Entity, code: str, value: str) -> None:
    """Put one value into a system field (PHONE, EMAIL)."""
    for field in account.fields[entity.kind].values():
        if field["code"] == code and value:
            enum = field["enums"][0]
            entity.cf[field["id"]] = [{"value": value, "enum_id": enum["id"], "enum_code": enum["value"]}]


def phones(account: Account, entity: Entity) -> list[str]:
    """List the digits of the phones of a contact or company."""
    found = [field["id"] for field in account.fields[entity.kind].values() if field["code"] == "PHONE"]
    values = [str(one["value"]) for number in found for one in entity.cf.get(number, [])]
    return ["".join(letter for letter in value if letter.isdigit()) for value in values]


def open_lead(account: Account, contact_id: int) -> Entity | None:
    """Find the newest lead of a contact that is not closed."""
    leads = [account.entities["leads"][number] for number in account.linked("contacts", contact_id, "leads")]
    living = [lead for lead in leads if lead.values["status_id"] not in CLOSED and not lead.is_deleted]
    return max(living, key=lambda lead: lead.id, default=None)


# -- incoming ---------------------------------------------------------------------------------------------------------


def received(
    cloud: Cloud, connection: Connection, chat: Chat, message: Message, sender: Participant, *, source: str, new: bool
) -> None:
    """Do what an incoming message does: contact, lead or unsorted, talk, notice (2.8)."""
    account = connection.account
    mark_source(account, connection, chat, source)
    if message.silent:
        return
    contact = _contact_of(cloud, connection, chat, sender, is_first=new)
    lead = open_lead(account, contact.id)
    if lead is None:
        lead = _begin_lead(cloud, connection, chat, contact, message)
    message.lead_id = lead.id
    talk = _talk(cloud, connection, chat, lead)
    talk.is_read, talk.updated_at = False, message.at
    account.notices.append({"at": message.at, "lead_id": lead.id, "text": sender.name, "message": message.id})
    cloud.record("notification", account, id=message.id, conversation=chat.id, text=sender.name)
    crmhooks.talk(cloud, account, talk, "update")
    crmhooks.message(cloud, account, chat, message, talk)
    _event(cloud, account, "incoming_chat_message", lead, contact, talk, message)


def _contact_of(cloud: Cloud, connection: Connection, chat: Chat, sender: Participant, *, is_first: bool) -> Entity:
    """Find the contact of a chat, or make one.

    A sender who is not the chat's client and whom nobody knows makes a contact of his own: that is what comes of
    forgetting sender.ref_id after writing first (2.9).
    """
    account = connection.account
    is_stranger = sender.id != chat.client_id and not sender.contact_id
    contacts = account.entities["contacts"]
    if chat.contact_id and not (is_first and is_stranger):
        return contacts[chat.contact_id]
    known = contacts.get(sender.contact_id) or _duplicate(cloud, connection, sender)
    contact = known or add_entity(cloud, account, "contacts", sender.name)
    if known is None:
        set_field(account, contact, "PHONE", sender.phone)
        set_field(account, contact, "EMAIL", sender.email)
    sender.contact_id = contact.id
    if is_first and is_stranger and chat.contact_id:
        cloud.record("duplicate", account, id=str(contact.id), conversation=chat.id, text=sender.name)
    else:
        link_chat(account, chat, contact)
    return contact


def link_chat(account: Account, chat: Chat, contact: Entity) -> int:
    """Link a chat with a contact; a chat has one, so that relinking moves it and the link gets another id (3.5)."""
    if chat.contact_id != contact.id or not chat.link_id:
        chat.contact_id, chat.link_id = contact.id, account.new_id("chat_link", 26_200)
    account.participants[chat.client_id].contact_id = contact.id
    return chat.link_id


def _duplicate(cloud: Cloud, connection: Connection, sender: Participant) -> Entity | None:
    """Duplicate control: the phone of the first message may find a contact (2.8)."""
    integration = cloud.integrations[connection.channel.client_id]
    digits = "".join(letter for letter in sender.phone if letter.isdigit())
    if not (integration.duplicate_control and digits):
        return None
    account = connection.account
    return next((one for one in account.entities["contacts"].values() if digits in phones(account, one)), None)


def mark_source(account: Account, connection: Connection, chat: Chat, external_id: str) -> None:
    """Remember an explicit source: such a chat never goes back to the default logic (2.8)."""
    found = next(
        (
            one["id"]
            for one in account.sources.values()
            if external_id and (one["external_id"], one["client_id"]) == (external_id, connection.channel.client_id)
        ),
        0,
    )
    if found and not chat.source_id:
        chat.source_id = found


def source_of(account: Account, connection: Connection, chat: Chat) -> Json | None:
    """Choose the source: the marked one, the default, the automatic one (2.8)."""
    if chat.source_id in account.sources:
        return account.sources[chat.source_id]
    own = [one for one in account.sources.values() if one["client_id"] == connection.channel.client_id]
    return next((one for one in own if one["default"]), None)


def _begin_lead(cloud: Cloud, connection: Connection, chat: Chat, contact: Entity, message: Message) -> Entity:
    """Make the unsorted lead in the source's pipeline, or one in the first stage where unsorted is off."""
    account, source = connection.account, source_of(connection.account, connection, chat)
    pipeline = account.pipelines.get(source["pipeline_id"] if source else 0) or account.main_pipeline
    has_unsorted = bool(pipeline["is_unsorted_on"])
    status = seed.stage(pipeline, unsorted=has_unsorted)
    lead = add_lead(cloud, account, f"Сделка: {contact.name}", pipeline, status["id"])
    link(account, lead, contact)
    if source:
        lead.values["source_id"] = source["id"]
    if has_unsorted:
        _add_unsorted(cloud, connection, chat, contact, lead, message, source)
    return lead


def _add_unsorted(
    cloud: Cloud,
    connection: Connection,
    chat: Chat,
    contact: Entity,
    lead: Entity,
    message: Message,
    source: Json | None,
) -> None:
    account, client = connection.account, connection.account.participants[chat.client_id]
    uid = new_uuid().replace("-", "")
    account.unsorted[uid] = {
        "uid": uid,
        "source_uid": source["external_id"] if source else None,
        "source_name": source["name"] if source else connection.title,
        "category": "chats",
        "pipeline_id": lead.values["pipeline_id"],
        "created_at": message.at,
        "metadata": {
            "from": client.name,
            "to": connection.title,
            "received_at": message.at,
            "service": connection.channel.code,
            "client": {"name": client.name, "avatar": client.avatar},
            "origin": {"chat_id": chat.id, "ref": None, "visitor_uid": None},
            "last_message_text": message.content.get("text", ""),
            "source_name": source["name"] if source else connection.title,
        },
        "lead_id": lead.id,
        "contact_id": contact.id,
    }
    account.uid_by_lead[lead.id] = uid
    cloud.record("unsorted", account, id=uid, lead=lead.id, contact=contact.id, pipeline=lead.values["pipeline_id"])
    crmhooks.unsorted(cloud, account, account.unsorted[uid], "add")


def _talk(cloud: Cloud, connection: Connection, chat: Chat, lead: Entity | None) -> Talk:
    """Find the open talk of a chat on this lead, or begin one."""
    account = connection.account
    lead_id = lead.id if lead else 0
    known = account.talks.get(chat.talk_id)
    if known is not None and known.is_in_work:
        known.lead_id = lead_id or known.lead_id
        return known
    now = int(cloud.peer.now())
    number = account.new_id("talk", 190)
    talk = Talk(number, chat.id, chat.contact_id, lead_id, now, now, connection.channel.code)
    account.talks[number], chat.talk_id = talk, number
    crmhooks.talk(cloud, account, talk, "add")
    return talk


def _event(
    cloud: Cloud, account: Account, kind: str, lead: Entity | None, contact: Entity | None, talk: Talk, message: Message
) -> None:
    account.events.append(
        {
            "id": new_uuid().replace("-", ""),
            "type": kind,
            "entity_id": lead.id if lead else contact.id if contact else 0,
            "entity_type": "lead" if lead else "contact",
            "created_by": 0,
            "created_at": message.at,
            "value_after": [{"message": {"id": message.id, "talk_id": talk.id, "origin": talk.origin}}],
            "value_before": [],
            "account_id": account.id,
            "linked_talk_contact_id": contact.id if contact else None,
        }
    )


# -- outgoing ---------------------------------------------------------------------------------------------------------


def imported(cloud: Cloud, connection: Connection, chat: Chat, message: Message, *, source: str) -> None:
    """Do what an imported outgoing message does: it stands in the feed; not silent, it notifies managers (10.11)."""
    account = connection.account
    mark_source(account, connection, chat, source)
    lead = open_lead(account, chat.contact_id) if chat.contact_id else None
    message.lead_id = lead.id if lead else 0
    if not message.silent:
        cloud.record("notification", account, id=message.id, conversation=chat.id, text="исходящее")
    if lead:
        _talk(cloud, connection, chat, lead)


def answered(cloud: Cloud, connection: Connection, chat: Chat, message: Message, user_id: int) -> None:
    """Do what a manager's answer does: the talk is read, an unsorted lead is accepted (2.8)."""
    account = connection.account
    lead = open_lead(account, chat.contact_id) if chat.contact_id else None
    contact = account.entities["contacts"].get(chat.contact_id)
    message.lead_id = lead.id if lead else 0
    talk = _talk(cloud, connection, chat, lead)
    talk.is_read, talk.updated_at = True, message.at
    crmhooks.talk(cloud, account, talk, "update")
    _event(cloud, account, "outgoing_chat_message", lead, contact, talk, message)
    if lead and lead.id in account.uid_by_lead:
        accept(cloud, account, account.uid_by_lead[lead.id], user_id=user_id)


def take_unsorted(account: Account, uid: str) -> Json:
    """Take an entry out of the unsorted ones."""
    unsorted: Json = account.unsorted.pop(uid)
    account.uid_by_lead.pop(unsorted["lead_id"], None)
    return unsorted


def accept(cloud: Cloud, account: Account, uid: str, *, user_id: int = 0, status_id: int = 0) -> Entity:
    """Accept an unsorted lead: it goes to a regular stage of its pipeline."""
    unsorted = take_unsorted(account, uid)
    lead = account.entities["leads"][unsorted["lead_id"]]
    pipeline = account.pipelines[lead.values["pipeline_id"]]
    lead.values["status_id"] = status_id or seed.stage(pipeline, unsorted=False)["id"]
    lead.responsible_user_id = user_id or lead.responsible_user_id
    lead.updated_at = int(cloud.peer.now())
    cloud.record("accepted", account, id=uid, lead=lead.id)
    crmhooks.unsorted(cloud, account, unsorted, "accept")
    return lead


def move(cloud: Cloud, account: Account, lead: Entity, *, pipeline_id: int, status_id: int, user_id: int = 0) -> None:
    """Move a lead to a stage; out of the unsorted stage means accepting it."""
    old = lead.values["status_id"]
    lead.values |= {"pipeline_id": pipeline_id, "status_id": status_id}
    lead.updated_at, lead.updated_by = int(cloud.peer.now()), user_id
    if status_id in CLOSED:
        lead.values["closed_at"] = lead.updated_at
    if lead.id in account.uid_by_lead:
        accept(cloud, account, account.uid_by_lead[lead.id], user_id=user_id, status_id=status_id)
    cloud.record("moved", account, id=str(lead.id), status=status_id, pipeline=pipeline_id)
    if old != status_id:
        crmhooks.entity(cloud, account, lead, "status", old_status=old)


def decline(cloud: Cloud, account: Account, uid: str, *, user_id: int = 0) -> Json:
    """Decline an unsorted lead: the lead goes, its contact stays."""
    unsorted = take_unsorted(account, uid)
    lead = account.entities["leads"][unsorted["lead_id"]]
    lead.is_deleted, lead.updated_by = True, user_id
    cloud.record("declined", account, id=uid, lead=lead.id)
    crmhooks.unsorted(cloud, account, unsorted, "decline")
    return unsorted


def merge_unsorted(
    cloud: Cloud, account: Account, unsorted: Json, chat: Chat, lead: Entity, contact: Entity | None
) -> None:
    """Link an unsorted chat with a known lead: the unsorted lead goes, the chat moves to the lead's contact (3.7)."""
    take_unsorted(account, unsorted["uid"])
    account.entities["leads"][unsorted["lead_id"]].is_deleted = True
    if contact is not None:
        link_chat(account, chat, contact)
        link(account, lead, contact)
    talk = account.talks.get(chat.talk_id)
    if talk is not None and talk.is_in_work:
        talk.lead_id, talk.contact_id = lead.id, chat.contact_id
    for one in chat.messages:
        if one.lead_id == unsorted["lead_id"]:
            one.lead_id = lead.id
    cloud.record("unsorted_linked", account, id=unsorted["uid"], lead=lead.id, contact=chat.contact_id)


def close_talk(cloud: Cloud, account: Account, talk: Talk) -> None:
    """Close a talk."""
    talk.is_in_work, talk.is_read, talk.updated_at = False, True, int(cloud.peer.now())
    cloud.record("talk_closed", account, id=str(talk.id), conversation=talk.chat_id)
    crmhooks.talk(cloud, account, talk, "update")
