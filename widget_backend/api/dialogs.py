"""Writing from a card: who can be reached, dialogs begun and listed, messages sent and read, files attached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from flask import request

from widget_backend import language
from widget_backend.accounts import access
from widget_backend.api import schemas_writing as schemas
from widget_backend.api.frame import cursor_of, requires, room, writing
from widget_backend.bridge import cards, corrections, dialogs, recipients, runtime, uploads
from widget_backend.bridge.composer import Refused, Writer, Written
from widget_backend.bridge.corrections import Correction
from widget_backend.bridge.dialogs import Opening
from widget_backend.bridge.ends import Address
from widget_backend.bridge.uploads import BadUpload, Upload
from widget_backend.files import FileTooLarge
from widget_backend.problems import Problem
from widget_backend.texts import reason

blueprint = room("dialogs", "Writing to clients: recipients, dialogs, files")
CHUNK_BYTES = 64 * 1024


@blueprint.route("/recipients", methods=["GET"])
@requires(access.may_write)
@blueprint.arguments(schemas.CardWantedSchema, location="query")
@blueprint.response(200, schemas.RecipientListSchema)
def list_recipients(given: dict[str, Any]) -> dict[str, Any]:
    """List whom one can write to from a card, and over which channels. Networks are asked only when the message is written."""
    account_id = access.who().account_id
    with writing():
        card = cards.read(account_id, given["connection_id"], given["card"], given["viewer_id"])
        found = recipients.options(account_id, card, connection_id=given["connection_id"])
    return {"title": card.title, "items": [schemas.recipient_values(one) for one in found]}


@blueprint.route("/dialogs", methods=["GET"])
@requires(access.may_look)
@blueprint.arguments(schemas.DialogsWantedSchema, location="query")
@blueprint.response(200, schemas.DialogListSchema)
def list_dialogs(given: dict[str, Any]) -> dict[str, Any]:
    """List the dialogs of a card and of the people in it, the latest first."""
    account_id, cursor = access.who().account_id, cursor_of(given["cursor"])
    with writing():
        card = cards.read(account_id, given["connection_id"], given["card"], given["viewer_id"])
        page = dialogs.for_card(account_id, given["connection_id"], card, cursor=cursor, limit=given["limit"])
    return {
        "items": [schemas.dialog_values(one) for one in page.items],
        "next_cursor": page.next.encode() if page.next else None,
    }


@blueprint.route("/dialogs", methods=["POST"])
@requires(access.may_write)
@blueprint.arguments(schemas.KeyHeadersSchema, location="headers")
@blueprint.arguments(schemas.NewDialogSchema)
@blueprint.response(201, schemas.WrittenSchema)
def start_dialog(headers: dict[str, Any], given: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Begin a dialog. The same key again returns the first result with 200 and sends nothing; with another body it is 409."""
    to = given["to"]
    with writing():
        opening = _opening(
            headers["key"],
            given,
            channel_id=given["channel_id"],
            address=Address(kind=to["kind"], value=to["value"]) if to else None,
            client_id=given["client_id"],
            conversation_id=given["conversation_id"],
        )
        return _answer(dialogs.start(access.who().account_id, opening))


@blueprint.route("/dialogs/<uuid:conversation_id>/messages", methods=["GET"])
@requires(access.may_look)
@blueprint.arguments(schemas.TalkWantedSchema, location="query")
@blueprint.response(200, schemas.TalkSchema)
def list_messages(given: dict[str, Any], conversation_id: UUID) -> dict[str, Any]:
    """List the messages of a dialog, newest first, each with its honest status."""
    before = int(given["cursor"]) if given["cursor"] else None
    with writing():
        talk = dialogs.talk(access.who().account_id, conversation_id, before=before, limit=given["limit"])
    return {
        "items": [schemas.told_values(talk, line) for line in talk.lines],
        "next_cursor": None if talk.next is None else str(talk.next),
    }


@blueprint.route("/dialogs/<uuid:conversation_id>/messages", methods=["POST"])
@requires(access.may_write)
@blueprint.arguments(schemas.KeyHeadersSchema, location="headers")
@blueprint.arguments(schemas.NewMessageSchema)
@blueprint.response(201, schemas.WrittenSchema)
def send_message(headers: dict[str, Any], given: dict[str, Any], conversation_id: UUID) -> tuple[dict[str, Any], int]:
    """Send a message in a dialog. The same key again returns the first result with 200 and sends nothing; with another body it is 409."""
    with writing():
        opening = _opening(headers["key"], given, conversation_id=conversation_id)
        return _answer(dialogs.send(access.who().account_id, opening))


@blueprint.route("/messages/<uuid:message_id>", methods=["PATCH"])
@requires(access.may_write)
@blueprint.arguments(schemas.KeyHeadersSchema, location="headers")
@blueprint.arguments(schemas.NewTextSchema)
@blueprint.response(200, schemas.WrittenSchema)
def edit_message(headers: dict[str, Any], given: dict[str, Any], message_id: UUID) -> dict[str, Any]:
    """Change the text of a message of ours, at the client's and in every CRM, where the network can (`can_edit`)."""
    return _corrected(headers["key"], message_id, given["text"])


@blueprint.route("/messages/<uuid:message_id>", methods=["DELETE"])
@requires(access.may_write)
@blueprint.arguments(schemas.KeyHeadersSchema, location="headers")
@blueprint.response(200, schemas.WrittenSchema)
def delete_message(headers: dict[str, Any], message_id: UUID) -> dict[str, Any]:
    """Take back a message of ours at the client's, where the network can (`can_delete`). In doubt, ask again: it is deleted once."""
    return _corrected(headers["key"], message_id, None)


@blueprint.route("/files", methods=["POST"])
@requires(access.may_write)
@blueprint.arguments(schemas.FileWantedSchema, location="query")
@blueprint.response(201, schemas.FileSchema)
def take_file(given: dict[str, Any]) -> dict[str, Any]:
    """Take in a file, which is the body of the request, to be attached within a day. What it is, its contents say."""
    account_id, limit = access.who().account_id, runtime.get().config.outside_max_file_bytes
    if (request.content_length or 0) > limit:
        raise _too_large()
    request.max_content_length = limit + 1  # the store counts too
    try:
        upload = uploads.take(account_id, _chunks(), name=given["name"])
    except FileTooLarge as error:
        raise _too_large() from error
    return schemas.file_values(account_id, upload)


def _corrected(key: str, message_id: UUID, text: str | None) -> dict[str, Any]:
    who = access.who()
    writer = Writer(actor=who.actor, name=who.name)
    with writing():
        correction = Correction(key=f"api:{key}", writer=writer, message_id=message_id, text=text)
        return _answer(corrections.correct(who.account_id, correction))[0]


def _opening(key: str, given: dict[str, Any], **whom: Any) -> Opening:
    who, author = access.who(), given["author"]
    return Opening(
        key=f"api:{key}",
        writer=Writer(actor=who.actor, id=author.get("id", ""), name=author.get("name", "") or who.name),
        text=given["text"],
        files=files_of(given["files"]),
        quick_reply_id=given["quick_reply_id"],
        connection_id=given["connection_id"],
        card=given["card"],
        contact=given["contact"],
        **whom,
    )


def files_of(tickets: Sequence[str]) -> tuple[Upload, ...]:
    """Return the files that a request names. Raises: Refused."""
    try:
        return tuple(uploads.of_ticket(access.who().account_id, ticket) for ticket in tickets)
    except BadUpload as error:
        raise Refused("file_expired") from error


def _answer(written: Written) -> tuple[dict[str, Any], int]:
    talk, line = dialogs.told(access.who().account_id, written)
    values = {
        "conversation_id": written.conversation_id,
        "message": schemas.told_values(talk, line),
        "is_new": written.is_new,
    }
    return values, 201 if written.is_new else 200


def _chunks() -> Iterator[bytes]:
    while chunk := request.stream.read(CHUNK_BYTES):
        yield chunk


def _too_large() -> Problem:
    return Problem(413, "file_too_large", reason("file_too_large", "", language.current()))
