"""Links between entities, and their files (amocrm.md 3.4, 3.11)."""

from __future__ import annotations

from tests.sandbox.amocrm import deeds
from tests.sandbox.amocrm.api.access import need_entity
from tests.sandbox.amocrm.rest import TABLE, Call, Reply
from tests.sandbox.amocrm.state import KINDS, Entity, Json
from tests.sandbox.amocrm.values import CHOICE, Errors, Kind, settle

KNOWN: dict[str, Kind] = {"to_entity_id": int, "to_entity_type": str, "metadata": dict}
MASS: dict[str, Kind] = {**KNOWN, "entity_id": int}


@TABLE.add("GET", "{kind}/{id}/links")
def links(call: Call) -> Json:
    """List what an entity is linked with."""
    one = need_entity(call, call.params["kind"], call.number(), "view")
    rows = [
        _row(call, one, other, number) for other in KINDS for number in call.account.linked(one.kind, one.id, other)
    ]
    return {"_total_items": len(rows), **call.href(call.path), "_embedded": {"links": rows}}


def _row(call: Call, one: Entity, kind: str, number: int) -> Json:
    metadata = call.account.links[one.kind, one.id].get((kind, number))
    shown = {"main_contact": bool(metadata and metadata.get("is_main"))} if kind == "contacts" else None
    return {
        "entity_id": one.id,
        "entity_type": one.kind,
        "to_entity_id": number,
        "to_entity_type": kind,
        "metadata": shown,
    }


@TABLE.add("POST", "{kind}/{id}/link")
def link(call: Call) -> Json:
    """Link one entity with several."""
    one = need_entity(call, call.params["kind"], call.number(), "edit")
    return _linked(call, [(one, raw) for raw in call.batch()], KNOWN)


@TABLE.add("POST", "{kind}/link")
def link_many(call: Call) -> Json:
    """Link several entities."""
    kind = call.params["kind"]
    pairs = [(need_entity(call, kind, int(raw.get("entity_id") or 0), "edit"), raw) for raw in call.batch()]
    return _linked(call, pairs, MASS)


def _linked(call: Call, pairs: list[tuple[Entity, Json]], known: dict[str, Kind]) -> Json:
    targets = _targets(call, [raw for _, raw in pairs], known)
    for (one, raw), target in zip(pairs, targets, strict=True):
        metadata = raw.get("metadata") or {}
        deeds.link(call.account, one, target, is_main=bool(metadata.get("is_main", metadata.get("main_contact"))))
        call.cloud.record("linked", call.account, id=f"{one.kind} {one.id}", text=f"{target.kind} {target.id}")
    rows = [_row(call, one, target.kind, target.id) for (one, _), target in zip(pairs, targets, strict=True)]
    return {"_total_items": len(rows), **call.href(call.path), "_embedded": {"links": rows}}


@TABLE.add("POST", "{kind}/{id}/unlink")
def unlink(call: Call) -> Reply:
    """Undo links of one entity."""
    one, rows = need_entity(call, call.params["kind"], call.number(), "edit"), call.batch()
    for target in _targets(call, rows, KNOWN):
        call.account.part(one, target)
        call.cloud.record("unlinked", call.account, id=f"{one.kind} {one.id}", text=f"{target.kind} {target.id}")
    return Reply(204)


def _targets(call: Call, rows: list[Json], known: dict[str, Kind]) -> list[Entity]:
    errors: dict[str, Errors] = {}
    found = []
    for number, raw in enumerate(rows):
        one = errors[str(number)] = Errors()
        one.check(raw, known, required=["to_entity_id", "to_entity_type"])
        kind = raw.get("to_entity_type")
        target = call.account.entities[kind].get(raw.get("to_entity_id") or 0) if kind in KINDS else None
        if target is None:
            one.add("to_entity_id", CHOICE)
        else:
            found.append(target)
    settle(errors)
    return found


@TABLE.add("PUT", "{kind}/{id}/files")
def attach(call: Call) -> Reply:
    """Attach files of the drive to an entity."""
    one = need_entity(call, call.params["kind"], call.number(), "edit")
    errors = Errors()
    for number, raw in enumerate(rows := call.batch()):
        if not call.cloud.drive.get(str(raw.get("file_uuid")), {}).get("is_file"):
            errors.add(f"{number}.file_uuid", CHOICE)
    settle({"0": errors})
    files = call.account.entity_files.setdefault((one.kind, one.id), [])
    files += [raw["file_uuid"] for raw in rows if raw["file_uuid"] not in files]
    return Reply(202)


@TABLE.add("GET", "{kind}/{id}/files")
def attached(call: Call) -> Json | None:
    """List the files of an entity."""
    one = need_entity(call, call.params["kind"], call.number(), "view")
    rows = [
        {"file_uuid": uid, "id": at} for at, uid in enumerate(call.account.entity_files.get((one.kind, one.id), []), 1)
    ]
    return {**call.href(call.path), "_embedded": {"files": rows}} if rows else None
