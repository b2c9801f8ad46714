"""The part of crm.* that a client tracker needs (bitrix24.md 9)."""

from __future__ import annotations

from collections.abc import Callable

from tests.sandbox.bitrix24 import clients, events, php
from tests.sandbox.bitrix24.errors import RestError
from tests.sandbox.bitrix24.methods.table import Call, method, page
from tests.sandbox.bitrix24.state import Chat

KINDS = {"lead": clients.LEAD, "deal": clients.DEAL, "contact": clients.CONTACT, "company": clients.COMPANY}
SOURCES = {"CALL": "Звонок", "EMAIL": "Электронная почта", "WEB": "Веб-сайт", "OTHER": "Другое"}
FINDBYCOMM_MAX = 20
_PREFIXES = "><=!%@"


def _getter(kind: int) -> Callable[[Call], object]:
    def get(call: Call) -> object:
        entity = call.portal.entities[kind].get(php.number(call.get("ID")))
        if entity is None:
            raise RestError(400, "", "Not found")
        return entity

    return get


def _lister(kind: int) -> Callable[[Call], object]:
    def list_all(call: Call) -> object:
        return page(call, list(_filtered(call, kind)))

    return list_all


def _adder(kind: int) -> Callable[[Call], object]:
    def add(call: Call) -> object:
        return clients.add_entity(call.cloud, call.portal, kind, php.mapping(call.need("FIELDS")))

    return add


def _updater(kind: int) -> Callable[[Call], object]:
    def update(call: Call) -> object:
        number = php.number(call.get("ID"))
        entity = call.portal.entities[kind].get(number)
        if entity is None:
            raise RestError(400, "", "Not found")
        entity.update(php.mapping(call.get("FIELDS")))
        for install in call.portal.installs.values():
            event = f"ONCRM{clients.ENTITY_NAMES[kind]}UPDATE"
            events.emit(call.cloud, call.portal, install, event, {"FIELDS": {"ID": number}}, user_id=call.user.id)
        return True

    return update


for _name, _kind in KINDS.items():
    method(f"crm.{_name}.get", scope="crm")(_getter(_kind))
    method(f"crm.{_name}.list", scope="crm")(_lister(_kind))
    method(f"crm.{_name}.add", scope="crm")(_adder(_kind))
    method(f"crm.{_name}.update", scope="crm")(_updater(_kind))


@method("crm.item.list", scope="crm")
def item_list(call: Call) -> object:
    """List entities of one type with camel-case names; `=imol` finds those of an open-line chat."""
    kind = _kind_of(call)
    paged = page(call, [_camel(kind, entity) for entity in _filtered(call, kind)])
    return type(paged)({"items": paged.result}, paged.total, paged.next)


@method("crm.item.get", scope="crm")
def item_get(call: Call) -> object:
    """Read one entity with camel-case names."""
    kind = _kind_of(call)
    entity = call.portal.entities[kind].get(php.number(call.get("ID")))
    if entity is None:
        raise RestError(400, "NOT_FOUND", "Элемент не найден")
    return {"item": _camel(kind, entity)}


@method("crm.duplicate.findbycomm", scope="crm")
def find_by_comm(call: Call) -> object:
    """Find entities by phone or e-mail; absent kinds have no key."""
    values = [php.text(value) for value in php.items(call.need("VALUES"))]
    field = php.text(call.need("TYPE")).upper()
    if len(values) > FINDBYCOMM_MAX:
        raise RestError(400, "", "Max comm count exceeded")
    found: dict[str, object] = {}
    for kind, name in clients.ENTITY_NAMES.items():
        rows = call.portal.entities[kind].items()
        if ids := [number for number, entity in rows if set(values) & set(_multi(entity, field))]:
            found[name] = ids
    return found or []


@method("crm.status.list", scope="crm")
def status_list(call: Call) -> object:
    """List the entries of a reference book; only the sources are known."""
    wanted = {key.upper(): php.text(value) for key, value in php.mapping(call.get("FILTER")).items()}
    rows: list[object] = [
        {"ID": str(number), "ENTITY_ID": "SOURCE", "STATUS_ID": code, "NAME": name}
        for number, (code, name) in enumerate(SOURCES.items(), 1)
        if wanted.get("ENTITY_ID", "SOURCE") == "SOURCE"
    ]
    return page(call, rows)


def _kind_of(call: Call) -> int:
    kind = call.need_int("ENTITYTYPEID")
    if kind not in clients.ENTITY_NAMES:
        raise RestError(400, "INVALID_ARG_VALUE", "Invalid value of entityTypeId")
    return kind


def _multi(entity: dict[str, object], field: str) -> list[str]:
    return [php.text(php.mapping(value).get("VALUE")) for value in php.items(entity.get(field))]


def _filtered(call: Call, kind: int) -> list[dict[str, object]]:
    wanted = php.mapping(call.get("FILTER"))
    return [entity for entity in call.portal.entities[kind].values() if _fits(call, kind, entity, wanted)]


def _fits(call: Call, kind: int, entity: dict[str, object], wanted: dict[str, object]) -> bool:
    for key, value in wanted.items():
        name = key.lstrip(_PREFIXES).upper()
        values = [php.text(one) for one in php.items(value)] or [php.text(value)]
        if name == "IMOL":
            chats = [chat for chat in call.portal.chats.values() if _bound(chat, kind, entity)]
            is_equal = any(f"imol|{chat.user_code}" in values for chat in chats)
        else:
            is_equal = bool({php.text(entity.get(name)), *_multi(entity, name)} & set(values))
        if is_equal == key.startswith("!"):
            return False
    return True


def _bound(chat: Chat, kind: int, entity: dict[str, object]) -> bool:
    return chat.crm.get(clients.ENTITY_NAMES[kind]) == php.number(entity["ID"])


def _camel(kind: int, entity: dict[str, object]) -> dict[str, object]:
    shown: dict[str, object] = {"entityTypeId": kind}
    for name, value in entity.items():
        head, *rest = name.lower().split("_")
        shown[head + "".join(part.title() for part in rest)] = value
    shown["id"] = php.number(entity["ID"])
    return shown
