"""Deals, contacts and what stands in them: found or made for a conversation, and read for whoever looks at a card (amocrm.md 3.3 to 3.10)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from widget_backend import clock, texts
from widget_backend.bridge.ends import CARD, CONTACT, Address, Card, CardPerson, End, Item
from widget_backend.bridge.errors import Misconfigured, Rejected
from widget_backend.crms.amocrm import format as words
from widget_backend.crms.amocrm.client import Account, Gone
from widget_backend.crms.amocrm.settings import TASK_PER_DEAL
from widget_backend.limits import Priority
from widget_backend.reading import Reader

WON, LOST = "142", "143"
KINDS = {"lead": "leads", "contact": "contacts", "company": "companies", "customer": "customers"}
_CLOSED = frozenset({WON, LOST})
_LEADS_LOOKED_AT = 5
_PEOPLE = 10
_DIGITS = re.compile(r"\D")
_CLOCKS = timedelta(seconds=30)
_SERVICE = "Mostik"
_NETWORKS = (
    ("vk", re.compile(r"(?:https?://)?(?:m\.)?vk\.(?:com|ru)/([\w.]+)", re.IGNORECASE)),
    ("telegram", re.compile(r"(?:https?://)?(?:t\.me|telegram\.me)/([\w]+)", re.IGNORECASE)),
    ("instagram", re.compile(r"(?:https?://)?(?:www\.)?instagram\.com/([\w.]+)", re.IGNORECASE)),
    ("facebook", re.compile(r"(?:https?://)?(?:www\.)?(?:facebook\.com|fb\.com|m\.me)/([\w.]+)", re.IGNORECASE)),
    ("whatsapp", re.compile(r"(?:https?://)?wa\.me/(\d+)", re.IGNORECASE)),
)


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
        self._settings = end.settings
        self._locale = end.locale

    # -- contacts and deals ------------------------------------------------------------------------------------------

    def contact(self, item: Item) -> tuple[str, bool]:
        """Find the contact of a client by his phone, or make one; return (id, is new)."""
        phone = digits(item.conversation.client.person.phone)
        found = self._by_phone(phone) if phone else self._made_before(item) if item.started_at else ""
        return (found, False) if found else (self._make_contact(item), True)

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

    def link(self, chat_id: str, contact_id: str) -> None:
        """Link a chat to a contact; linking again moves it. Source: amocrm.md 3.5."""
        self._account.post("contacts/chats", [{"contact_id": int(contact_id), "chat_id": chat_id}])

    def lead(self, item: Item, contact_id: str, *, is_new_contact: bool = False) -> tuple[str, bool]:
        """Find the deal of a contact that is open, or make one; return (id, is new)."""
        known = [] if is_new_contact else self._leads_of(contact_id)
        for lead_id in known:
            if self.is_open(lead_id):
                return lead_id, False
        if known and not self._settings.get("new_when_closed", True):
            return known[0], False
        return self._make_lead(item, contact_id), True

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
            if any(digits(value)[-10:] == phone[-10:] for value in _values(one, "PHONE")):
                return one["id"].remote_id()
        return ""

    def _made_before(self, item: Item) -> str:
        """Find the contact that an earlier try made, if its answer was lost: the only one of that name made since then, and nothing written to it yet."""
        name, since = self._contact_name(item), (item.sent_at - _CLOCKS).timestamp()
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
        body: dict[str, object] = {"name": self._contact_name(item)}
        fields: list[dict[str, object]] = []
        if person.phone:
            fields.append({"field_code": "PHONE", "values": [{"value": person.phone, "enum_code": "MOB"}]})
        if person.email:
            fields.append({"field_code": "EMAIL", "values": [{"value": person.email, "enum_code": "WORK"}]})
        page = self._text("profile_field")
        link = (
            [{"field_id": int(page), "values": [{"value": person.profile_url}]}] if page and person.profile_url else []
        )
        body |= self._responsible() | self._tags("contact_tags", item)
        try:
            return self._make(
                "contacts", {**body, "custom_fields_values": [*fields, *link]} if fields or link else body
            )
        except Rejected:
            if not link:
                raise
        # the chosen field was deleted there: only that is left out
        return self._make("contacts", {**body, "custom_fields_values": fields} if fields else body)

    def _make_lead(self, item: Item, contact_id: str) -> str:
        name = words.filled(self._text("deal_name", "%NAME%"), item.conversation, self._locale)
        body: dict[str, object] = {
            "name": name or words.name_of(item.conversation),
            "_embedded": {"contacts": [{"id": int(contact_id), "is_main": True}]},
        }
        body |= self._responsible() | self._tags("deal_tags", item)
        stage = self._stage()
        try:
            return self._make("leads", {**body, **stage})
        except Rejected:
            if not stage:
                raise
        return self._make("leads", body)  # the stage is gone: the first one of the main pipeline

    def _make(self, kind: str, body: Mapping[str, object]) -> str:
        """Create one entity. Source: amocrm.md 3.3, 3.4 (arrays, the answer holds ids)."""
        try:
            made = self._account.post(kind, [body])
        except Rejected:
            if "responsible_user_id" not in body:
                raise
            # whoever was chosen is gone: whoever connected the account
            made = self._account.post(kind, [{k: v for k, v in body.items() if k != "responsible_user_id"}])
        return made["_embedded"][kind][0]["id"].remote_id()

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
            is_late = one["created_at"].integer_or(0) >= (since - _CLOCKS).timestamp()
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
        self._account.post("tasks", [body | self._responsible()])

    # -- settings ----------------------------------------------------------------------------------------------------

    def _text(self, name: str, default: str = "") -> str:
        value = self._settings.get(name)
        return default if value is None else str(value)

    def _responsible(self) -> dict[str, object]:
        user_id = self._text("responsible") or self._text("user_id")
        return {"responsible_user_id": int(user_id)} if user_id else {}

    def _tags(self, name: str, item: Item) -> dict[str, object]:
        found = words.tags(self._text(name), item.conversation, self._locale)
        return {"tags_to_add": found} if found else {}

    def _stage(self) -> dict[str, object]:
        pipeline, _, status = self._text("stage").partition(":")  # none chosen: the first stage of the main pipeline
        return {"pipeline_id": int(pipeline), "status_id": int(status)} if status else {}


# ------------------------------------------------------------------------------------------------------- reading a card


def read(account: Account, kind: str, id: str, viewer_id: str) -> Card:
    """Read a card with the rights of one user: a token proves who he is, not what he may see.

    Raises: Rejected("card_forbidden"), Rejected("card_gone"), AccessLost, Retry.
    Source: amocrm.md 1.4 (`X-Context-User-ID`), 3.3, 3.4, 12.
    """
    path = KINDS.get(kind)
    if path is None or not id.isdecimal() or not viewer_id.isdecimal():
        raise Rejected("card_gone")
    entity = _seen(account, f"{path}/{id}", viewer_id, {"with": "contacts"} if path in ("leads", "companies") else None)
    people = _people(account, kind, entity, viewer_id)
    return Card(
        kind=kind,
        id=id,
        title=entity["name"].text_or(""),
        people=tuple(_person(one, of) for of, one in people),
        fields={**_fields(kind, entity, people), **_around(account, kind, entity, viewer_id)},
    )


def _seen(account: Account, path: str, viewer_id: str, params: Mapping[str, object] | None = None) -> Reader:
    try:
        found = account.get(path, params, as_user=viewer_id, priority=Priority.PERSON)
    except Gone as error:
        raise Rejected("card_gone", error.detail) from error
    except Misconfigured as error:
        if error.reason != "amocrm_no_right":
            raise
        raise Rejected("card_forbidden", error.detail) from error
    if not found.is_there:
        raise Rejected("card_gone")
    return found


def _people(account: Account, kind: str, entity: Reader, viewer_id: str) -> list[tuple[str, Reader]]:
    """Read whom a card names: its contacts, the main one first, and its company. One whom the viewer may not see is left out."""
    found = [(kind, entity)] if kind in ("contact", "company") else []
    linked = [("contact", one) for one in _main_first(entity["_embedded"]["contacts"].items())]
    linked += [("company", one) for one in entity["_embedded"]["companies"].items()]
    for of, one in linked[:_PEOPLE]:
        try:
            found.append((of, _seen(account, f"{KINDS[of]}/{one['id'].remote_id()}", viewer_id)))
        except Rejected:
            continue
    return found


def _main_first(contacts: Sequence[Reader]) -> list[Reader]:
    return sorted(contacts, key=lambda one: not one["is_main"].flag_or(False))


def _person(one: Reader, kind: str) -> CardPerson:
    return CardPerson(
        remote_id=one["id"].remote_id(), kind=kind, name=one["name"].text_or(""), addresses=tuple(_addresses(one))
    )


def _addresses(one: Reader) -> list[Address]:
    """Read where somebody can be reached: phones, e-mails, and links to networks in whatever field they stand."""
    found: dict[tuple[str, str], Address] = {}
    for field in one["custom_fields_values"].items():
        label, code = field["field_name"].text_or(""), field["field_code"].text_or("")
        for value in _texts(field):
            if code == "PHONE":
                address = Address(kind="phone", value=value, label=label)
            elif code == "EMAIL":
                address = Address(kind="email", value=value, label=label)
            elif network := next((name for name, link in _NETWORKS if link.search(value)), ""):
                address = Address(kind=network, value=value, label=label)
            else:
                continue
            found.setdefault((address.kind, address.value), address)
    return list(found.values())


def _fields(kind: str, entity: Reader, people: Sequence[tuple[str, Reader]]) -> dict[str, str]:
    """Collect what quick replies may name. Names: bridge/substitutions.py."""
    facts: dict[str, str] = {}
    if kind == "lead":
        facts = {
            "DEAL_ID": entity["id"].remote_id(),
            "DEAL_NAME": entity["name"].text_or(""),
            "DEAL_BUDGET": str(entity["price"].integer_or(0) or ""),
            "DEAL_RESPONSIBLE_ID": entity["responsible_user_id"].remote_id_or(""),
        }
    for of, prefix in (("contact", "CONTACT"), ("company", "COMPANY")):
        one = next((one for named, one in people if named == of), None)
        if one is None:
            continue
        facts |= {
            f"{prefix}_ID": one["id"].remote_id(),
            f"{prefix}_NAME": one["name"].text_or(""),
            f"{prefix}_PHONE": next(iter(_values(one, "PHONE")), ""),
            f"{prefix}_EMAIL": next(iter(_values(one, "EMAIL")), ""),
        }
        if of == "contact":
            facts["CONTACT_FIRST_NAME"] = one["first_name"].text_or("") or one["name"].text_or("").split(" ")[0]
    return {name: value for name, value in facts.items() if value}


def _around(account: Account, kind: str, entity: Reader, viewer_id: str) -> dict[str, str]:
    """Collect what stands beside a card: who looks, and of a deal its stage and who is responsible. What cannot be read is left out.

    Source: amocrm.md 3.2, 3.10.
    """
    users: dict[str, Reader] = {}

    def user(id: str) -> Reader:
        if id not in users:
            users[id] = _or_nothing(account, f"users/{id}")
        return users[id]

    who = user(viewer_id)
    facts = {"USER_ID": viewer_id, "USER_NAME": who["name"].text_or(""), "USER_EMAIL": who["email"].text_or("")}
    if kind == "lead":
        if responsible := entity["responsible_user_id"].remote_id_or(""):
            facts["DEAL_RESPONSIBLE"] = user(responsible)["name"].text_or("")
            facts["DEAL_RESPONSIBLE_EMAIL"] = user(responsible)["email"].text_or("")
        pipeline = _or_nothing(account, f"leads/pipelines/{entity['pipeline_id'].remote_id_or('0')}")
        facts["DEAL_PIPELINE"] = pipeline["name"].text_or("")
        stages = {one["id"].remote_id(): one["name"].text_or("") for one in pipeline["_embedded"]["statuses"].items()}
        facts["DEAL_STATUS"] = stages.get(entity["status_id"].remote_id_or(""), "")
    return {name: value for name, value in facts.items() if value}


def _or_nothing(account: Account, path: str) -> Reader:
    try:
        return account.get(path, priority=Priority.PERSON)
    except (Rejected, Misconfigured):
        return Reader(None)


def _values(one: Reader, code: str) -> list[str]:
    fields = one["custom_fields_values"].items()
    return [value for field in fields if field["field_code"].text_or("") == code for value in _texts(field)]


def _texts(field: Reader) -> list[str]:
    found = [value["value"].plain() for value in field["values"].items()]
    return [value for value in found if isinstance(value, str) and value]


def digits(phone: str) -> str:
    """Return the digits of a phone number."""
    return _DIGITS.sub("", phone)


def _id_of(named: str, kind: str) -> str:
    of, _, id = named.partition(":")
    return id if of == kind and id.isdecimal() else ""
