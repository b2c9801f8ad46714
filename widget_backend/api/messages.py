"""The journal, one message, and sending it again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from widget_backend.accounts import access
from widget_backend.api import schemas
from widget_backend.api.frame import cursor_of, found, requires, room
from widget_backend.bridge import journal, repeat
from widget_backend.bridge.journal import Wanted
from widget_backend.problems import Conflict

blueprint = room("messages", "Messages and their deliveries")


@blueprint.route("/messages", methods=["GET"])
@requires(access.may_look)
@blueprint.arguments(schemas.MessagesWantedSchema, location="query")
@blueprint.response(200, schemas.MessageListSchema)
def messages(given: dict[str, Any]) -> dict[str, Any]:
    """List messages, newest first."""
    cursor = cursor_of(given.pop("cursor"))
    page = journal.page(access.who().account_id, Wanted(cursor=cursor, **given))
    return {
        "items": [schemas.line_values(line) for line in page.lines],
        "next_cursor": page.next.encode() if page.next else None,
    }


@blueprint.route("/messages/<uuid:message_id>", methods=["GET"])
@requires(access.may_look)
@blueprint.response(200, schemas.WholeMessageSchema)
def message(message_id: UUID) -> dict[str, Any]:
    """Show one message with its versions, deliveries, attempts and decision trace."""
    with found():
        return schemas.dossier_values(journal.message(access.who().account_id, message_id))


@blueprint.route("/deliveries/<uuid:delivery_id>/repeat", methods=["POST"])
@requires(access.may_repeat)
@blueprint.arguments(schemas.RepeatHeadersSchema, location="headers")
@blueprint.response(200, schemas.RepeatedSchema)
def repeat_delivery(given: dict[str, Any], delivery_id: UUID) -> dict[str, Any]:
    """Send again what failed, expired or stayed uncertain. The same key again returns the first result; for another delivery it is 409."""
    who = access.who()
    try:
        with found():
            is_new = repeat.repeat(who.account_id, delivery_id, key=f"api:{given['key']}", actor=who.actor)
    except repeat.CannotRepeat as error:
        raise Conflict(error.reason) from error
    return {"delivery": journal.delivery(who.account_id, delivery_id), "is_new": is_new}
