"""The shapes of writing: recipients, dialogs, files, quick replies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from widget_backend import language
from widget_backend.api.schemas import MAX_PAGE, STATUSES, MessageSchema, line_values
from widget_backend.bridge import quick_replies, repeat, uploads
from widget_backend.bridge.composer import FILES_LIMIT
from widget_backend.bridge.dialogs import PAGE, Dialog, Talk
from widget_backend.bridge.journal import Line
from widget_backend.bridge.models import Delivery, QuickReply
from widget_backend.bridge.recipients import Recipient, Way
from widget_backend.bridge.uploads import Upload
from widget_backend.texts import reason

NAMED = r"[a-z_]{1,20}:[^\s:]{1,100}"
ID = validate.Length(1, 200)
_UNFIT = re.compile("[\x00\ud800-\udfff]")


class Words(fields.String):
    """A text that people wrote. What no database keeps (NUL, halves of characters) is refused here."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **more))
        if _UNFIT.search(text):
            raise self.make_error("invalid")
        return text


class KeyHeadersSchema(Schema):
    """The key of one opened composer, the caller's own: pressed again, whenever, it gives the first result."""

    key = fields.String(required=True, data_key="Idempotency-Key", validate=validate.Length(8, 200))


class CardWantedSchema(Schema):
    """A card of a CRM, and whose rights count there."""

    connection_id = fields.UUID(required=True)
    card = fields.String(
        required=True,
        validate=validate.Regexp(NAMED + r"\Z"),
        metadata={"description": "Kind and id: lead:123, contact:7, company:9, deal:5, task:3"},
    )
    viewer_id = Words(
        required=True,
        validate=validate.Length(1, 100),
        metadata={"description": "The CRM's user who looks; he must see the card"},
    )


class DialogsWantedSchema(CardWantedSchema):
    """The dialogs of a card, and which page of them."""

    cursor = fields.String(load_default="", validate=validate.Length(max=200))
    limit = fields.Integer(load_default=PAGE, validate=validate.Range(1, MAX_PAGE))


class ReasonSchema(Schema):
    """What is wrong, as a stable slug, and the sentence with its cure."""

    reason = fields.String(required=True)
    text = fields.String(required=True)


class AddressSchema(Schema):
    """Where somebody can be reached: a phone, a link, a user name."""

    kind = Words(
        required=True,
        validate=validate.Length(1, 20),
        metadata={"description": "phone, email, vk, telegram, instagram, whatsapp ... or link"},
    )
    value = Words(required=True, validate=ID)
    label = fields.String(dump_only=True)


class WaySchema(Schema):
    """A channel to somebody. `error` says why it cannot be used; `left_s` for how long yet one may write there (null: no limit)."""

    channel_id = fields.UUID(required=True)
    channel_title = fields.String(required=True)
    network = fields.String(required=True)
    can_write = fields.Boolean(required=True)
    error = fields.Nested(ReasonSchema, allow_none=True, required=True)
    left_s = fields.Integer(allow_none=True, required=True)
    client_id = fields.UUID(allow_none=True, required=True)
    client_name = fields.String(required=True)
    conversation_id = fields.UUID(allow_none=True, required=True)
    text_limit = fields.Integer(required=True, metadata={"description": "A longer text goes as several messages"})


class RecipientSchema(Schema):
    """One address of somebody whom a card names."""

    name = fields.String(required=True)
    contact = fields.String(required=True, metadata={"description": "Kind and id: contact:7, company:9"})
    address = fields.Nested(AddressSchema, required=True)
    ways = fields.List(fields.Nested(WaySchema), required=True, metadata={"description": "Usable ones first"})


class RecipientListSchema(Schema):
    """Who can be written to from a card."""

    title = fields.String(required=True)
    items = fields.List(fields.Nested(RecipientSchema), required=True)


class AuthorSchema(Schema):
    """Who writes: shown to the CRM. `id` is that CRM's own; with it he must see the card."""

    id = Words(load_default="", validate=validate.Length(max=100))
    name = Words(load_default="", validate=validate.Length(max=100))


class NewMessageSchema(Schema):
    """What is sent. `text` longer than the network takes goes as several messages."""

    text = Words(load_default="")
    files = fields.List(
        fields.String(), load_default=list, metadata={"description": f"`file` of POST /files, at most {FILES_LIMIT}"}
    )
    quick_reply_id = fields.UUID(
        load_default=None, metadata={"description": "Its text stands where `text` is empty, its files are added"}
    )
    connection_id = fields.UUID(load_default=None, metadata={"description": "The CRM in which it is written"})
    card = fields.String(load_default="", validate=validate.Regexp(f"({NAMED})?" + r"\Z"))
    contact = fields.String(load_default="", validate=validate.Regexp(f"({NAMED})?" + r"\Z"))
    author = fields.Nested(AuthorSchema, load_default=dict)


class NewDialogSchema(NewMessageSchema):
    """Whom to write to, and what. Without text and files only the CRM is shown that the chat is there."""

    channel_id = fields.UUID(load_default=None)
    to = fields.Nested(AddressSchema, load_default=None)
    client_id = fields.UUID(load_default=None)
    conversation_id = fields.UUID(load_default=None)

    @validates_schema
    def _one_recipient(self, given: Mapping[str, Any], **_more: object) -> None:
        has_address = given["to"] is not None and given["channel_id"] is not None
        if (given["to"] is None) != (given["channel_id"] is None):
            raise ValidationError("channel_id and to go together", "to")
        if sum((has_address, given["client_id"] is not None, given["conversation_id"] is not None)) != 1:
            raise ValidationError("name one: channel_id with to, client_id, or conversation_id", "to")


class ThingSchema(Schema):
    """Something attached. `url` leads to it for some days; empty when there is nothing to be had."""

    kind = fields.String(required=True)
    name = fields.String(required=True)
    mime = fields.String(required=True)
    size_bytes = fields.Integer(allow_none=True, required=True)
    url = fields.String(required=True)


class ToldMessageSchema(MessageSchema):
    """A message with its honest status: ours towards the network, the client's towards the CRM."""

    attachments = fields.List(fields.Nested(ThingSchema), required=True)
    status = fields.String(required=True, validate=validate.OneOf(["", *STATUSES]))
    error = fields.Nested(ReasonSchema, allow_none=True, required=True)
    repeatable_id = fields.UUID(
        allow_none=True, required=True, metadata={"description": "The delivery that POST /deliveries/{id}/repeat takes"}
    )
    edit_error = fields.Nested(
        ReasonSchema,
        allow_none=True,
        required=True,
        metadata={"description": "Why PATCH would be refused; null when it would not, or the client wrote it"},
    )
    delete_error = fields.Nested(
        ReasonSchema, allow_none=True, required=True, metadata={"description": "As edit_error"}
    )
    can_edit = fields.Boolean(required=True)
    can_delete = fields.Boolean(required=True)


class NewTextSchema(Schema):
    """What a message shall say."""

    text = Words(required=True, validate=validate.Length(min=1))


class WrittenSchema(Schema):
    """What became of a press of a composer. `is_new` is false when an earlier one had sent it."""

    conversation_id = fields.UUID(required=True)
    message = fields.Nested(ToldMessageSchema, required=True)
    is_new = fields.Boolean(required=True)


class TalkSchema(Schema):
    """A page of a conversation, newest first."""

    items = fields.List(fields.Nested(ToldMessageSchema), required=True)
    next_cursor = fields.String(allow_none=True)


class TalkWantedSchema(Schema):
    """Which page of a conversation."""

    cursor = fields.String(load_default="", validate=validate.Regexp(r"\d{0,18}\Z"))
    limit = fields.Integer(load_default=PAGE, validate=validate.Range(1, MAX_PAGE))


class DialogSchema(Schema):
    """A conversation of a card. `error` says why one cannot write there now; `status` and `sending_error` are those of our last message."""

    conversation_id = fields.UUID(required=True)
    channel_id = fields.UUID(required=True)
    channel_title = fields.String(required=True)
    network = fields.String(required=True)
    client_id = fields.UUID(required=True)
    client_name = fields.String(required=True)
    place = fields.String(required=True, validate=validate.OneOf(["direct", "group", "comments"]))
    title = fields.String(required=True)
    card = fields.String(required=True)
    contact = fields.String(required=True)
    last_text = fields.String(required=True)
    last_direction = fields.String(required=True, validate=validate.OneOf(["", "in", "out"]))
    last_at = fields.AwareDateTime(allow_none=True, required=True)
    is_unanswered = fields.Boolean(required=True)
    status = fields.String(required=True, validate=validate.OneOf(["", *STATUSES]))
    sending_error = fields.Nested(ReasonSchema, allow_none=True, required=True)
    can_write = fields.Boolean(required=True)
    error = fields.Nested(ReasonSchema, allow_none=True, required=True)
    left_s = fields.Integer(allow_none=True, required=True)


class DialogListSchema(Schema):
    """The dialogs of a card, the latest first."""

    items = fields.List(fields.Nested(DialogSchema), required=True)
    next_cursor = fields.String(allow_none=True)


class FileWantedSchema(Schema):
    """What a file is called."""

    name = Words(required=True, validate=validate.Length(1, 255))


class FileSchema(Schema):
    """A file in the store. `file` names it for a day, in messages and quick replies of this account."""

    file = fields.String(required=True)
    name = fields.String(required=True)
    mime = fields.String(required=True)
    size_bytes = fields.Integer(required=True)


class ReplyContentSchema(Schema):
    """What a quick reply is made of."""

    title = Words(required=True, validate=validate.Length(1, quick_replies.TITLE_LIMIT))
    text = Words(
        load_default="",
        validate=validate.Length(max=quick_replies.TEXT_LIMIT),
        metadata={
            "description": "Facts of the card stand between percent signs: %CONTACT_NAME%; see GET /quick-replies/fields"
        },
    )
    language = Words(load_default="", validate=validate.Length(max=10))
    files = fields.List(fields.String(), load_default=list, validate=validate.Length(max=quick_replies.FILES_LIMIT))


class NewReplySchema(ReplyContentSchema):
    """A new quick reply. `owner` empty: shared by everybody of the account."""

    owner = Words(load_default="", validate=validate.Length(max=200))


class ReplySchema(Schema):
    """A quick reply."""

    id = fields.UUID(required=True)
    owner = fields.String(required=True)
    language = fields.String(required=True)
    title = fields.String(required=True)
    text = fields.String(required=True)
    files = fields.List(fields.Nested(FileSchema), required=True)
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)


class ReplyListSchema(Schema):
    """A page of quick replies, those that fit best first."""

    items = fields.List(fields.Nested(ReplySchema), required=True)
    next_cursor = fields.String(allow_none=True)


class RepliesWantedSchema(Schema):
    """Which quick replies. `query`: what has been typed so far; `owner`: his own besides the shared."""

    query = Words(load_default="", validate=validate.Length(max=100))
    owner = Words(load_default="", validate=validate.Length(max=200))
    language = Words(load_default="", validate=validate.Length(max=10))
    cursor = fields.String(load_default="", validate=validate.Length(max=800))
    limit = fields.Integer(load_default=PAGE, validate=validate.Range(1, MAX_PAGE))


class RenderWantedSchema(Schema):
    """What to fill a quick reply with: a card of a CRM, and facts that the caller knows (USER_NAME ...), which win."""

    connection_id = fields.UUID(load_default=None)
    card = fields.String(load_default="", validate=validate.Regexp(f"({NAMED})?" + r"\Z"))
    viewer_id = Words(load_default="", validate=validate.Length(max=100))
    facts = fields.Dict(
        keys=fields.String(validate=validate.Length(max=60)),
        values=Words(validate=validate.Length(max=1000)),
        load_default=dict,
    )


class RenderedSchema(Schema):
    """A quick reply ready to be sent. `missing`: names of facts that are empty here."""

    text = fields.String(required=True)
    files = fields.List(fields.Nested(FileSchema), required=True)
    missing = fields.List(fields.String(), required=True)


class FieldSchema(Schema):
    """A fact that a quick reply may name."""

    name = fields.String(required=True)
    label = fields.String(required=True)
    group = fields.String(required=True)


class FieldListSchema(Schema):
    """The facts that a quick reply may name, by group."""

    items = fields.List(fields.Nested(FieldSchema), required=True)


def error_values(slug: str, adapter: str) -> dict[str, str] | None:
    """Give a reason with its sentence."""
    return {"reason": slug, "text": reason(slug, adapter, language.current())} if slug else None


def recipient_values(one: Recipient) -> dict[str, Any]:
    """Give a recipient's values."""
    return {
        "name": one.person.name,
        "contact": f"{one.person.kind}:{one.person.remote_id}",
        "address": one.address,
        "ways": [_way_values(way) for way in one.ways],
    }


def _way_values(way: Way) -> dict[str, Any]:
    channel = way.channel
    return {
        **{name: getattr(way, name) for name in ("left_s", "client_id", "client_name", "conversation_id")},
        "channel_id": channel.id,
        "channel_title": channel.title,
        "network": channel.adapter,
        "can_write": not way.reason,
        "error": error_values(way.reason, channel.adapter),
        "text_limit": channel.capabilities.text_limit,
    }


def dialog_values(one: Dialog) -> dict[str, Any]:
    """Give a dialog's values."""
    conversation, channel, last = one.conversation, one.channel, one.last
    return {
        **{name: getattr(one, name) for name in ("card", "contact", "left_s", "is_unanswered")},
        "conversation_id": conversation.id,
        "place": conversation.place,
        "title": conversation.title,
        "channel_id": channel.id,
        "channel_title": channel.title,
        "network": channel.adapter,
        "client_id": one.client.id,
        "client_name": one.client.name,
        "last_text": last.text if last else "",
        "last_direction": last.direction if last else "",
        "last_at": last.recorded_at if last else conversation.last_at,
        "status": one.sending.status if one.sending else "",
        "sending_error": error_values(one.sending.reason, channel.adapter) if one.sending else None,
        "can_write": not one.reason,
        "error": error_values(one.reason, channel.adapter),
    }


def told_values(talk: Talk, line: Line) -> dict[str, Any]:
    """Give a message's values with its honest status."""
    telling: Delivery | None = talk.telling(line)
    can_repeat = telling is not None and repeat.is_repeatable(telling.act, telling.status)
    return {
        **line_values(line),
        "attachments": talk.things.get(line.message.id, []),
        "status": telling.status if telling else "",
        "error": error_values(telling.reason, talk.channel.adapter) if telling else None,
        "repeatable_id": telling.id if telling is not None and can_repeat else None,
        **_ways_values(talk, line),
    }


def _ways_values(talk: Talk, line: Line) -> dict[str, Any]:
    ways, adapter = talk.ways.get(line.message.id), talk.channel.adapter
    return {
        "can_edit": ways is not None and not ways.edit,
        "can_delete": ways is not None and not ways.delete,
        "edit_error": error_values(ways.edit, adapter) if ways else None,
        "delete_error": error_values(ways.delete, adapter) if ways else None,
    }


def file_values(account_id: UUID, upload: Upload) -> dict[str, Any]:
    """Give a file's values."""
    return {
        "file": uploads.ticket(account_id, upload),
        "name": upload.name,
        "mime": upload.mime,
        "size_bytes": upload.size_bytes,
    }


def reply_values(row: QuickReply) -> dict[str, Any]:
    """Give a quick reply's values."""
    names = [name for name in ReplySchema._declared_fields if name != "files"]
    files = [file_values(row.account_id, one) for one in quick_replies.files_of(row)]
    return {**{name: getattr(row, name) for name in names}, "files": files}
