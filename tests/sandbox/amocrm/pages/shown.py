"""What the manager's page is told, as plain JSON."""

from __future__ import annotations

from typing import Any

from tests.sandbox.amocrm import deeds
from tests.sandbox.amocrm.cloud import Cloud
from tests.sandbox.amocrm.state import Account, Entity
from tests.sandbox.amocrm.talks import FAILED, READ, Chat, Message

Json = dict[str, Any]
STATUS_WORDS = {0: "sent", 1: "delivered", READ: "read", FAILED: "failed"}


def state(cloud: Cloud, account: Account) -> Json:
    """Give users, stages, unsorted leads, leads and connected channels."""
    return {
        "version": account.version,
        "host": account.host,
        "title": account.name,
        "users": [{"id": one.id, "name": one.name, "is_admin": one.is_admin} for one in account.users.values()],
        "channels": [{"id": link.channel.id, "title": link.title} for link in account.connections.values()],
        "integrations": [
            {"title": one.title, "is_on": one.client_id in account.installs}
            for one in cloud.integrations.values()
            if one.only_account in (0, account.id)
        ],
        "leads": sorted((_row(account, one) for one in _leads(account)), key=lambda row: -row["at"]),
        "notices": len(account.notices),
    }


def _leads(account: Account) -> list[Entity]:
    return [one for one in account.entities["leads"].values() if not one.is_deleted]


def _row(account: Account, lead: Entity) -> Json:
    said = _messages(account, lead)
    last = said[-1] if said else None
    return {
        "id": lead.id,
        "name": lead.name,
        "stage": _stage(account, lead)["name"],
        "color": _stage(account, lead)["color"],
        "uid": _uid(account, lead),
        "contact": _contact_name(account, lead),
        "at": last.at if last else lead.updated_at,
        "last": (last.content.get("text") or _file_word(last)) if last else "",
        "last_is_incoming": bool(last and last.is_incoming),
        "is_unanswered": any(not talk.is_read for talk in account.talks.values() if talk.lead_id == lead.id),
    }


def _file_word(one: Message) -> str:
    words = {"picture": "Изображение", "video": "Видео", "voice": "Голосовое сообщение", "audio": "Аудио"}
    return words.get(one.content["type"], "Файл")


def _stage(account: Account, lead: Entity) -> Json:
    pipeline: Json = account.pipelines[lead.values["pipeline_id"]]
    found: Json = next(one for one in pipeline["statuses"] if one["id"] == lead.values["status_id"])
    return found


def _uid(account: Account, lead: Entity) -> str:
    return account.uid_by_lead.get(lead.id, "")


def _contacts(account: Account, lead: Entity) -> list[Entity]:
    return [account.entities["contacts"][number] for number in account.linked("leads", lead.id, "contacts")]


def _contact_name(account: Account, lead: Entity) -> str:
    return next((one.name for one in _contacts(account, lead)), "")


def _chats(account: Account, lead: Entity) -> list[Chat]:
    people = {one.id for one in _contacts(account, lead)}
    return [chat for chat in account.chats.values() if chat.contact_id in people and chat.messages]


def _messages(account: Account, lead: Entity) -> list[Message]:
    """Show the feed: what belongs to the lead, and what its chats held while there was no lead."""
    found = [one for chat in _chats(account, lead) for one in chat.messages if one.lead_id in (0, lead.id)]
    return sorted(found, key=lambda one: one.msec)


def card(account: Account, lead_id: int) -> Json | None:
    """Give a lead with its people, talks, notes and feed."""
    lead = account.entities["leads"].get(lead_id)
    if lead is None or lead.is_deleted:
        return None
    pipeline = account.pipelines[lead.values["pipeline_id"]]
    responsible = account.users.get(lead.responsible_user_id)
    return {
        **_row(account, lead),
        "pipeline": pipeline["name"],
        "stages": [{"id": one["id"], "name": one["name"], "type": one["type"]} for one in pipeline["statuses"]],
        "status": lead.values["status_id"],
        "price": lead.values.get("price") or 0,
        "responsible": responsible.name if responsible else "",
        "tags": [account.tags["leads"][number]["name"] for number in lead.tags],
        "fields": _fields(account, lead),
        "contacts": [
            {"id": one.id, "name": one.name, "fields": _fields(account, one)} for one in _contacts(account, lead)
        ],
        "talks": [
            {"id": one.id, "is_read": one.is_read}
            for one in account.talks.values()
            if one.lead_id == lead.id and one.is_in_work
        ],
        "tasks": [
            {"text": one["text"], "till": one["complete_till"], "is_completed": one["is_completed"]}
            for one in account.tasks.values()
            if (one["entity_type"], one["entity_id"]) == ("leads", lead.id)
        ],
        "places": _places(account, lead),
        "feed": sorted([*_feed(account, lead), *_notes(account, lead)], key=lambda row: row["msec"]),
    }


def _fields(account: Account, one: Entity) -> list[Json]:
    known = account.fields[one.kind]
    return [
        {"name": known[number]["name"], "value": ", ".join(str(value["value"]) for value in values)}
        for number, values in one.cf.items()
        if values and number in known
    ]


def _places(account: Account, lead: Entity) -> list[Json]:
    """List where one can write: open chats, and phones through channels that write first (2.9)."""
    places = []
    for chat in _chats(account, lead):
        link = account.connections.get(chat.channel_id)
        name = account.participants[chat.client_id].name
        places.append({"where": chat.id, "title": f"{link.title if link else 'канал отключён'}: {name}"})
    for contact in _contacts(account, lead):
        for digits in deeds.phones(account, contact):
            places += [
                {
                    "where": f"first:{contact.id}:{channel}:{source}:{digits}",
                    "title": f"Написать первым: {title}, {digits}",
                }
                for channel, source, title in _writable(account)
            ]
    return places


def _writable(account: Account) -> list[tuple[str, int, str]]:
    """List channel, source and title for every source of a channel that may write first."""
    found: list[tuple[str, int, str]] = []
    for link in account.connections.values():
        if not link.channel.write_first:
            continue
        codes = (link.channel.code, None)
        own = [one for one in account.sources.values() if one["client_id"] == link.channel.client_id]
        own = [one for one in own if one["origin_code"] in codes]
        found += [(link.channel.id, one["id"], one["name"]) for one in own] or [(link.channel.id, 0, link.title)]
    return found


def _feed(account: Account, lead: Entity) -> list[Json]:
    return [_message(account, one) for one in _messages(account, lead)]


def _message(account: Account, one: Message) -> Json:
    author, content = account.participants.get(one.sender_id), one.content
    return {
        "kind": "message",
        "id": one.id,
        "chat": one.chat_id,
        "msec": one.msec,
        "at": one.at,
        "author": author.name if author else "",
        "is_incoming": one.is_incoming,
        "type": content["type"],
        "text": content.get("text", ""),
        "media": "" if one.is_broken else content.get("media", ""),
        "is_broken": one.is_broken,
        "file_name": content.get("file_name", ""),
        "place": content.get("location") or content.get("contact") or {},
        "post": content.get("post") or {},
        "quote": one.reply_to or (one.forwards.get("messages") or [{}])[0],
        "is_edited": one.is_edited,
        "status": "" if one.is_incoming else STATUS_WORDS[one.status],
        "error": f"{one.error_code}: {one.error}" if one.status == FAILED else "",
        "hook": one.hook,
        "reactions": list(one.reactions.values()),
    }


def _notes(account: Account, lead: Entity) -> list[Json]:
    return [
        {
            "kind": "note",
            "id": f"n{one['id']}",
            "msec": one["created_at"] * 1000,
            "at": one["created_at"],
            "author": one["params"].get("service", ""),
            "text": one["params"].get("text", ""),
        }
        for one in account.notes.values()
        if (one["entity_type"], one["entity_id"]) == ("leads", lead.id)
    ]
