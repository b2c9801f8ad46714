"""Deals, contacts, notes and tasks: found or made for a conversation as the settings say (amocrm.md 3.3 to 3.10)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from widget_backend import clock, texts
from widget_backend.bridge.ends import CARD, CONTACT, Conversation, End, Item
from widget_backend.bridge.errors import Rejected
from widget_backend.crms.amocrm import client_progress as progress
from widget_backend.crms.amocrm import format as words
from widget_backend.crms.amocrm.client import Account, Gone
from widget_backend.crms.amocrm.client_cards import KINDS, values
from widget_backend.crms.amocrm.settings import TASK_PER_DEAL
from widget_backend.reading import Reader

log = structlog.get_logger()

WON, LOST = "142", "143"
_CLOSED = frozenset({WON, LOST})
_LEADS_LOOKED_AT = 5
_DIGITS = re.compile(r"\D")
CHAIN_PATIENCE = timedelta(seconds=6)
"""How long a step of a first message's chain waits for the limit: giving up in the middle would spend the steps before it once more."""
_SERVICE = "Mostik"
_MARKS: Mapping[str, tuple[str, ...]] = {
    "responsible": ("responsible_user_id",),
    "stage": ("status_id", "pipeline_id"),
    "profile_field": ("custom_fields_values",),
}
"""How a refusal names what was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a conversation stands: its contact and deal, empty where there is none. `company_id`: the company whose number was written to."""

    contact_id: str = ""
    lead_id: str = ""
    company_id: str = ""

    @classmethod
    def of(cls, state: Mapping[str, str]) -> Place:
        """Read what a link remembers."""
        person, card = state.get(CONTACT, ""), state.get(CARD, "")
        return cls(
            contact_id=_id_of(person, "contact"), lead_id=_id_of(card, "lead"), company_id=_id_of(person, "company")
        )

    @property
    def state(self) -> dict[str, str]:
        """Return what a link is to remember."""
        facts = {CONTACT: f"contact:{self.contact_id}" if self.contact_id else ""}
        facts[CARD] = f"lead:{self.lead_id}" if self.lead_id else ""
        return {name: value for name, value in facts.items() if value}


class Desk:
    """What the settings of a connection make of a conversation: contacts, deals, notes, tasks."""

    def __init__(self, end: End, account: Account) -> None:
        self._account = account
        self._end_id = end.id
        self._settings = end.settings
        self._locale = end.locale

    # -- contacts and deals ------------------------------------------------------------------------------------------

    def contact(self, item: Item) -> tuple[str, bool]:
        """Find the contact of a client by his phone, or make one; return (id, is new)."""
        phone = digits(item.conversation.client.person.phone)
        before = progress.of(item, "contact")
        if phone:
            found = self._by_phone(phone)
        elif before.startswith(progress.UNKNOWN):
            # the client's name may have become known since
            found = self._made_before(item, before.removeprefix(progress.UNKNOWN) or self._contact_name(item))
        else:
            found = before
        if found:
            return found, False
        with progress.trying(item, "contact", self._contact_name(item)):
            made = self._make_contact(item)
        progress.made(item, "contact", made)
        return made, True

    def tie(self, kind: str, id: str, contact_id: str) -> None:
        """Tie a contact to a deal or a company. Source: amocrm.md 3.4 "Links"."""
        self._account.post(
            f"{KINDS[kind]}/{id}/link", [{"to_entity_id": int(contact_id), "to_entity_type": "contacts"}]
        )

    def linked_contact(self, chat_id: str) -> str:
        """Return the contact that a chat is linked to, empty when it is none. Source: amocrm.md 3.5."""
        found = self._account.get("contacts/chats", {"chat_id": chat_id})
        for one in found["_embedded"]["chats"].items():
            return one["contact_id"].remote_id_or("")
        return ""

    def whereabouts(self, chat_id: str) -> tuple[Place, int]:
        """Return the contact of a chat and its latest deal, with the moment that deal was made. Units: s. Source: amocrm.md 3.5, 3.4."""
        contact_id = self.linked_contact(chat_id)
        leads = self._leads_of(contact_id) if contact_id else []
        if not leads:
            return Place(contact_id=contact_id), 0
        made_at = self._account.get(f"leads/{leads[0]}")["created_at"].integer_or(0)
        return Place(contact_id=contact_id, lead_id=leads[0]), made_at

    def link(self, chat_id: str, contact_id: str) -> None:
        """Link a chat to a contact; linking again moves it. Source: amocrm.md 3.5."""
        self._account.post("contacts/chats", [{"contact_id": int(contact_id), "chat_id": chat_id}])

    def lead(self, item: Item, contact_id: str, *, is_new_contact: bool = False) -> tuple[str, bool]:
        """Find the deal of a contact that is open, or make one; return (id, is new)."""
        if (before := progress.of(item, "lead")).isdecimal():
            return before, True
        known = [] if is_new_contact else self._leads_of(contact_id)
        for lead_id in known:
            if self.is_open(lead_id):
                return lead_id, False
        if known and not self._settings.get("new_when_closed", True):
            return known[0], False
        made = self._make_lead(item, contact_id)
        progress.made(item, "lead", made)
        return made, True

    def is_open(self, lead_id: str) -> bool:
        """Tell whether a deal is neither won nor lost nor gone. Source: amocrm.md 3.10 (142, 143 in every pipeline)."""
        try:
            found = self._account.get(f"leads/{lead_id}")
        except Gone:
            return False
        return found.is_there and found["status_id"].remote_id_or("") not in _CLOSED

    def place(self, item: Item, known: Place) -> tuple[Place, bool]:
        """Find or make contact and deal of a conversation; tell whether the deal is new. A closed one is followed by a new one, where the settings say so."""
        may_reuse = not self._settings.get("new_when_closed", True)
        if known.lead_id and (may_reuse or self.is_open(known.lead_id)):
            return known, False
        contact_id, is_new_contact = (known.contact_id, False) if known.contact_id else self.contact(item)
        lead_id, is_new = self.lead(item, contact_id, is_new_contact=is_new_contact)
        return Place(contact_id=contact_id, lead_id=lead_id), is_new

    def _by_phone(self, phone: str) -> str:
        """Search by phone; the search looks into every field, so the numbers are compared again. Source: amocrm.md 3.4."""
        found = self._account.get("contacts", {"query": phone[-10:], "limit": 50})
        for one in found["_embedded"]["contacts"].items():
            if any(digits(value)[-10:] == phone[-10:] for value in values(one, "PHONE")):
                return one["id"].remote_id()
        return ""

    def _made_before(self, item: Item, name: str) -> str:
        """Find the contact that an earlier try made, if its answer was lost: the only one of that name made since then, and nothing written to it yet."""
        since = (item.sent_at - words.CLOCKS).timestamp()
        found = self._account.get("contacts", {"query": name, "limit": 50, "with": "leads"})
        fresh = [
            one
            for one in found["_embedded"]["contacts"].items()
            if one["name"].text_or("") == name and one["created_at"].integer_or(0) >= since
        ]
        untouched = [one["id"].remote_id() for one in fresh if self._is_untouched(one)]
        return untouched[0] if len(untouched) == 1 else ""

    def _is_untouched(self, contact: Reader) -> bool:
        leads = [one["id"].remote_id() for one in contact["_embedded"]["leads"].items()]
        if len(leads) > 1 or self._account.get("contacts/chats", {"contact_id": contact["id"].remote_id()}).is_there:
            return False
        return not any(self._account.get(f"leads/{id}/notes", {"limit": 1}).is_there for id in leads)

    def _contact_name(self, item: Item) -> str:
        name = words.filled(self._text("contact_name", "%NAME%"), item.conversation, self._locale)
        return name or words.name_of(item.conversation)

    def _make_contact(self, item: Item) -> str:
        person = item.conversation.client.person
        fields: list[object] = []
        if person.phone:
            fields.append({"field_code": "PHONE", "values": [{"value": person.phone, "enum_code": "MOB"}]})
        if person.email:
            fields.append({"field_code": "EMAIL", "values": [{"value": person.email, "enum_code": "WORK"}]})
        chosen = {"responsible": self._responsible(item.conversation)}
        if (page := self._text("profile_field")) and person.profile_url:
            link = {"field_id": int(page), "values": [{"value": person.profile_url}]}
            chosen["profile_field"] = {"custom_fields_values": [*fields, link]}
        body: dict[str, object] = {"name": self._contact_name(item), **self._tags("contact_tags", item)}
        return self._make("contacts", {**body, "custom_fields_values": fields} if fields else body, chosen)

    def _make_lead(self, item: Item, contact_id: str) -> str:
        name = words.filled(self._text("deal_name", "%NAME%"), item.conversation, self._locale)
        body: dict[str, object] = {
            "name": name or words.name_of(item.conversation),
            "_embedded": {"contacts": [{"id": int(contact_id), "is_main": True}]},
        }
        chosen = {"responsible": self._responsible(item.conversation), "stage": self._stage(item.conversation)}
        return self._make("leads", {**body, **self._tags("deal_tags", item)}, chosen)

    def _make(self, kind: str, body: Mapping[str, object], chosen: Mapping[str, Mapping[str, object]]) -> str:
        """Create one entity. What was `chosen` in the settings and is gone over there is left out, so that amoCRM's own default stands (`client_survey.py`
        tells the admin). Source: amocrm.md 3.3, 3.4 (arrays, the answer holds ids), 3.1 (`validation-errors`).
        """
        left = {name: facts for name, facts in chosen.items() if facts}
        while True:
            whole = dict(body)
            for facts in left.values():
                whole |= facts
            try:
                made = self._account.post(kind, [whole])
                return made["_embedded"][kind][0]["id"].remote_id()
            except Rejected as error:
                if not left:
                    raise
                named = [name for name in left if any(mark in error.detail for mark in _MARKS[name])]
                gone = named[0] if named else next(iter(left))
                log.warning("setting_gone", end=self._end_id, setting=gone, detail=error.detail)
                del left[gone]

    def _leads_of(self, contact_id: str) -> list[str]:
        try:
            found = self._account.get(f"contacts/{contact_id}", {"with": "leads"})
        except Gone:
            return []
        leads = [one["id"].remote_id() for one in found["_embedded"]["leads"].items()]
        return sorted(leads, key=int, reverse=True)[:_LEADS_LOOKED_AT]

    # -- notes and tasks ---------------------------------------------------------------------------------------------

    def note(self, lead_id: str, text: str) -> str:
        """Write a note into a deal; return its id. Source: amocrm.md 3.10 "Notes"."""
        body = [{"note_type": "extended_service_message", "params": {"service": _SERVICE, "text": text}}]
        return self._account.post(f"leads/{lead_id}/notes", body)["_embedded"]["notes"][0]["id"].remote_id()

    def find_note(self, lead_id: str, text: str, since: datetime) -> str:
        """Find a note that we may have written before the connection broke; empty when it is not there."""
        found = self._account.get(f"leads/{lead_id}/notes", {"order[id]": "desc", "limit": 50})
        for one in found["_embedded"]["notes"].items():
            is_late = one["created_at"].integer_or(0) >= (since - words.CLOCKS).timestamp()
            if is_late and one["params"]["text"].text_or("") == text:
                return one["id"].remote_id()
        return ""

    def task(self, item: Item, lead_id: str, *, is_new_deal: bool) -> None:
        """Set a task to answer a client, where the settings want one. Source: amocrm.md 3.10 "Tasks"."""
        wanted = self._text("task")
        if not wanted or not lead_id or (wanted == TASK_PER_DEAL and not is_new_deal):
            return
        minutes = int(str(self._settings.get("task_minutes", 5)))
        until = clock.now() + timedelta(minutes=minutes)
        body = {
            "text": texts.text("settings.amocrm.task_text", self._locale, name=words.name_of(item.conversation)),
            "complete_till": int(until.timestamp()),
            "entity_id": int(lead_id),
            "entity_type": "leads",
            "task_type_id": 1,
        }
        try:
            self._account.post("tasks", [body | self._responsible(item.conversation)])
        except Rejected:
            # whoever was chosen is gone: whoever connected the account
            self._account.post("tasks", [body])

    # -- settings ----------------------------------------------------------------------------------------------------

    def stage(self, conversation: Conversation) -> str:
        """Return where deals of a conversation begin: as its channel says, else the connection."""
        return self._chosen("stage", conversation)

    def _chosen(self, name: str, conversation: Conversation) -> str:
        return str(conversation.route.get(name) or "") or self._text(name)

    def _text(self, name: str, default: str = "") -> str:
        value = self._settings.get(name)
        return default if value is None else str(value)

    def _responsible(self, conversation: Conversation) -> dict[str, object]:
        user_id = self._chosen("responsible", conversation) or self._text("user_id")
        return {"responsible_user_id": int(user_id)} if user_id else {}

    def _tags(self, name: str, item: Item) -> dict[str, object]:
        found = words.tags(self._text(name), item.conversation, self._locale)
        return {"tags_to_add": found} if found else {}

    def _stage(self, conversation: Conversation) -> dict[str, object]:
        pipeline, _, status = self.stage(conversation).partition(":")
        # none chosen, or the unsorted ones where no chat makes them: the first stage of the main pipeline
        return {"pipeline_id": int(pipeline), "status_id": int(status)} if status else {}


def digits(phone: str) -> str:
    """Return the digits of a phone number."""
    return _DIGITS.sub("", phone)


def _id_of(named: str, kind: str) -> str:
    of, _, id = named.partition(":")
    return id if of == kind and id.isdecimal() else ""
