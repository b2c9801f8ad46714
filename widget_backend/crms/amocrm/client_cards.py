"""A card of amoCRM read for whoever looks at it: its people, their addresses, what quick replies may name (amocrm.md 1.4, 3.2 to 3.10)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from widget_backend.bridge.ends import Address, Card, CardPerson
from widget_backend.bridge.errors import Misconfigured, Rejected
from widget_backend.crms.amocrm.client import Account, Gone
from widget_backend.limits import Priority
from widget_backend.reading import Reader

KINDS = {"lead": "leads", "contact": "contacts", "company": "companies", "customer": "customers"}
_PEOPLE = 10
_NETWORKS = (
    ("vk", re.compile(r"(?:https?://)?(?:m\.)?vk\.(?:com|ru)/([\w.]+)", re.IGNORECASE)),
    ("telegram", re.compile(r"(?:https?://)?(?:t\.me|telegram\.me)/([\w]+)", re.IGNORECASE)),
    ("instagram", re.compile(r"(?:https?://)?(?:www\.)?instagram\.com/([\w.]+)", re.IGNORECASE)),
    ("facebook", re.compile(r"(?:https?://)?(?:www\.)?(?:facebook\.com|fb\.com|m\.me)/([\w.]+)", re.IGNORECASE)),
    ("whatsapp", re.compile(r"(?:https?://)?wa\.me/(\d+)", re.IGNORECASE)),
)


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
            f"{prefix}_PHONE": next(iter(values(one, "PHONE")), ""),
            f"{prefix}_EMAIL": next(iter(values(one, "EMAIL")), ""),
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


def values(one: Reader, code: str) -> list[str]:
    """Return what stands in a field of an entity, named by its code."""
    fields = one["custom_fields_values"].items()
    return [value for field in fields if field["field_code"].text_or("") == code for value in _texts(field)]


def _texts(field: Reader) -> list[str]:
    found = [value["value"].plain() for value in field["values"].items()]
    return [value for value in found if isinstance(value, str) and value]
