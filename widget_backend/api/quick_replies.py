"""Quick replies: kept, found while one types, filled with a card's facts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from widget_backend import language
from widget_backend.accounts import access
from widget_backend.api import schemas_writing as schemas
from widget_backend.api.dialogs import files_of
from widget_backend.api.frame import requires, room, writing
from widget_backend.bridge import cards, quick_replies, substitutions
from widget_backend.bridge.models import QuickReply
from widget_backend.bridge.quick_replies import Spot, Template, TooManyReplies, Wanted
from widget_backend.problems import Conflict, Forbidden, Invalid
from widget_backend.texts import text

blueprint = room("quick_replies", "Quick replies")


@blueprint.route("/quick-replies", methods=["GET"])
@requires(access.may_look)
@blueprint.arguments(schemas.RepliesWantedSchema, location="query")
@blueprint.response(200, schemas.ReplyListSchema)
def list_replies(given: dict[str, Any]) -> dict[str, Any]:
    """List quick replies, those that fit what has been typed best first."""
    cursor = given.pop("cursor")
    try:
        after = Spot.decode(cursor) if cursor else None
    except ValueError as error:
        raise Invalid("bad_cursor", fields={"cursor": [cursor[:80]]}) from error
    rows, more = quick_replies.found(access.who().account_id, Wanted(after=after, **given))
    return {"items": [schemas.reply_values(row) for row in rows], "next_cursor": more.encode() if more else None}


@blueprint.route("/quick-replies", methods=["POST"])
@requires(access.may_write)
@blueprint.arguments(schemas.NewReplySchema)
@blueprint.response(201, schemas.ReplySchema)
def create_reply(given: dict[str, Any]) -> dict[str, Any]:
    """Keep a quick reply. Shared ones are the admins' affair."""
    _may_keep(given["owner"])
    with writing():
        template = Template(**{**given, "files": files_of(given["files"])})
    try:
        return schemas.reply_values(quick_replies.create(access.who().account_id, template))
    except TooManyReplies as error:
        raise Conflict("too_many_replies") from error


@blueprint.route("/quick-replies/fields", methods=["GET"])
@requires(access.may_look)
@blueprint.response(200, schemas.FieldListSchema)
def list_fields() -> dict[str, Any]:
    """List the facts that a quick reply may name."""
    locale = language.current()
    return {
        "items": [
            {
                "name": name,
                "label": text(f"substitutions.{name.lower()}", locale),
                "group": text(f"substitutions.group_{group}", locale),
            }
            for group, names in substitutions.GROUPS.items()
            for name in names
        ]
    }


@blueprint.route("/quick-replies/<uuid:reply_id>", methods=["GET"])
@requires(access.may_look)
@blueprint.response(200, schemas.ReplySchema)
def show_reply(reply_id: UUID) -> dict[str, Any]:
    """Show one quick reply."""
    return schemas.reply_values(_one(reply_id))


@blueprint.route("/quick-replies/<uuid:reply_id>", methods=["PUT"])
@requires(access.may_write)
@blueprint.arguments(schemas.ReplyContentSchema)
@blueprint.response(200, schemas.ReplySchema)
def change_reply(given: dict[str, Any], reply_id: UUID) -> dict[str, Any]:
    """Put other contents into a quick reply; whose it is stays."""
    _may_keep(_one(reply_id).owner)
    with writing():
        template = Template(**{**given, "files": files_of(given["files"])})
        return schemas.reply_values(quick_replies.change(access.who().account_id, reply_id, template))


@blueprint.route("/quick-replies/<uuid:reply_id>", methods=["DELETE"])
@requires(access.may_write)
@blueprint.response(204)
def delete_reply(reply_id: UUID) -> None:
    """Forget a quick reply."""
    _may_keep(_one(reply_id).owner)
    with writing():
        quick_replies.delete(access.who().account_id, reply_id)


@blueprint.route("/quick-replies/<uuid:reply_id>/render", methods=["POST"])
@requires(access.may_write)
@blueprint.arguments(schemas.RenderWantedSchema)
@blueprint.response(200, schemas.RenderedSchema)
def render_reply(given: dict[str, Any], reply_id: UUID) -> dict[str, Any]:
    """Fill a quick reply with the facts of a card; nothing is sent."""
    account_id, row = access.who().account_id, _one(reply_id)
    with writing():
        has_card = given["connection_id"] is not None and given["card"]
        card = cards.read(account_id, given["connection_id"], given["card"], given["viewer_id"]) if has_card else None
        rendered = quick_replies.render(row, card, given["facts"])
    return {
        "text": rendered.text,
        "files": [schemas.file_values(account_id, one) for one in rendered.files],
        "missing": rendered.missing,
    }


def _one(reply_id: UUID) -> QuickReply:
    with writing():
        return quick_replies.find(access.who().account_id, reply_id)


def _may_keep(owner: str) -> None:
    if not owner and not access.may_configure(access.who()):
        raise Forbidden()
