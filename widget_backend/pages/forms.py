"""The form of an end, for every page that has one: its settings from the schema, their choices, and what feeds what."""

from __future__ import annotations

from uuid import UUID

from flask import request

from widget_backend.bridge import setup
from widget_backend.bridge.ends import Choice, Side
from widget_backend.bridge.models import EndRecord
from widget_backend.bridge.setup import Field, Trouble


def given(fields: tuple[Field, ...]) -> dict[str, object]:
    """Read a form: a box that is not ticked is not sent."""
    return {
        field.name: field.name in request.form if field.kind == "switch" else request.form.get(field.name, "").strip()
        for field in fields
    }


def choices(row: EndRecord, fields: tuple[Field, ...]) -> tuple[dict[str, list[Choice]], str]:
    """Ask a working end for the choices of its settings; what cannot be asked now is typed instead, and the reason is said."""
    found: dict[str, list[Choice]] = {}
    for field in fields if row.state == "active" else ():
        if field.catalog:
            try:
                found[field.name] = list(setup.choices(row.account_id, row.id, field.catalog))
            except Trouble as error:
                return found, error.reason
    return found, ""


def others(row: EndRecord) -> list[EndRecord]:
    """Return the ends that one may be joined with."""
    return [end for end in setup.listed(row.account_id) if end.side != row.side]


def joined(row: EndRecord) -> set[UUID]:
    """Return the ends that one is joined with."""
    pairs = setup.pairs(row.account_id)
    return {pair[1] if row.side == Side.NETWORK else pair[0] for pair in pairs if row.id in pair}


def take_routes(row: EndRecord, *, actor: str) -> None:
    """Take what feeds what from the boxes of a form."""
    chosen = set(request.form.getlist("other"))
    for other in others(row):
        pair = (row.id, other.id) if row.side == Side.NETWORK else (other.id, row.id)
        change = setup.join if str(other.id) in chosen else setup.part
        change(row.account_id, *pair, actor=actor)
