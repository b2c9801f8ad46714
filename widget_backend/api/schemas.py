"""The shapes of /api/v1. Moments are ISO 8601 in UTC; secrets never leave."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from widget_backend.bridge import setup
from widget_backend.bridge.journal import PAGE, Dossier, Line
from widget_backend.bridge.models import EndRecord
from widget_backend.bridge.setup import MASK
from widget_backend.bridge.statuses import Status

STATUSES = [status.value for status in Status]
MAX_PAGE = 200


class EndSchema(Schema):
    """A channel or a connection."""

    id = fields.UUID(required=True)
    adapter = fields.String(required=True, metadata={"description": "vk, telegram_bot, bitrix24, ..."})
    title = fields.String(required=True)
    remote_id = fields.String(required=True, metadata={"description": "What the outside system calls it"})
    state = fields.String(required=True, validate=validate.OneOf(["new", "active", "error", "off"]))
    reason = fields.String(required=True, metadata={"description": "Why it does not work: a stable slug, or empty"})
    settings = fields.Dict(keys=fields.String(), required=True, metadata={"description": "Secrets are masked"})
    created_at = fields.AwareDateTime(required=True)
    connected_at = fields.AwareDateTime(allow_none=True)
    checked_at = fields.AwareDateTime(allow_none=True)


class EndListSchema(Schema):
    """Channels or connections, oldest first."""

    items = fields.List(fields.Nested(EndSchema), required=True)


class NewChannelSchema(Schema):
    """What a new channel is made of."""

    adapter = fields.String(required=True, validate=validate.Length(1, 40))
    title = fields.String(load_default="", validate=validate.Length(max=120))
    settings = fields.Dict(
        keys=fields.String(), load_default=dict, metadata={"description": "As the form of the network asks"}
    )


class ConnectedSchema(Schema):
    """Result of connecting."""

    channel = fields.Nested(EndSchema, required=True)
    warnings = fields.List(fields.String(), required=True, metadata={"description": "Slugs of reasons"})


class RouteSchema(Schema):
    """This channel feeds this connection."""

    channel_id = fields.UUID(required=True)
    connection_id = fields.UUID(required=True)


class RouteListSchema(Schema):
    """What feeds what."""

    items = fields.List(fields.Nested(RouteSchema), required=True)


class AttemptSchema(Schema):
    """One outside call."""

    number = fields.Integer(required=True)
    part = fields.Integer(required=True)
    outcome = fields.String(required=True)
    reason = fields.String(required=True)
    trigger = fields.String(required=True)
    started_at = fields.AwareDateTime(required=True)
    duration_ms = fields.Integer(allow_none=True)
    next_at = fields.AwareDateTime(allow_none=True)


class DeliverySchema(Schema):
    """One act on its way to one end."""

    id = fields.UUID(required=True)
    end_id = fields.UUID(required=True)
    act = fields.String(required=True, validate=validate.OneOf(["new", "edit", "delete", "status", "read"]))
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    reason = fields.String(required=True)
    trigger = fields.String(required=True)
    created_at = fields.AwareDateTime(required=True)
    settled_at = fields.AwareDateTime(allow_none=True)
    expires_at = fields.AwareDateTime(allow_none=True)


class DeliveryWithAttemptsSchema(DeliverySchema):
    """A delivery with every outside call made for it."""

    remote_ids = fields.List(fields.String(), required=True)
    attempts = fields.List(fields.Nested(AttemptSchema), required=True)


class MessageSchema(Schema):
    """One message of the journal, in its newest version."""

    id = fields.UUID(required=True)
    conversation_id = fields.UUID(required=True)
    channel_id = fields.UUID(required=True)
    client_id = fields.UUID(required=True)
    client_name = fields.String(required=True)
    direction = fields.String(required=True, validate=validate.OneOf(["in", "out"]))
    author = fields.String(required=True)
    text = fields.String(required=True)
    version = fields.Integer(required=True)
    sent_at = fields.AwareDateTime(required=True, metadata={"description": "The sender's own clock"})
    recorded_at = fields.AwareDateTime(required=True)
    edited_at = fields.AwareDateTime(allow_none=True)
    deleted_at = fields.AwareDateTime(allow_none=True)
    attachments_count = fields.Integer(required=True)
    deliveries = fields.List(fields.Nested(DeliverySchema), required=True)


class MessageListSchema(Schema):
    """A page of the journal, newest first."""

    items = fields.List(fields.Nested(MessageSchema), required=True)
    next_cursor = fields.String(allow_none=True, metadata={"description": "Give it as `cursor` for the next page"})


class MessagesWantedSchema(Schema):
    """Which messages, and which page of them."""

    channel_id = fields.UUID(load_default=None)
    direction = fields.String(load_default="", validate=validate.OneOf(["", "in", "out"]))
    status = fields.String(load_default="", validate=validate.OneOf(["", *STATUSES]))
    client = fields.String(load_default="", validate=validate.Length(max=100))
    cursor = fields.String(load_default="", validate=validate.Length(max=200))
    limit = fields.Integer(load_default=PAGE, validate=validate.Range(1, MAX_PAGE))


class TraceSchema(Schema):
    """What one rule decided, and why."""

    rule = fields.String(required=True)
    verdict = fields.String(required=True)
    why = fields.String(required=True)
    end_id = fields.UUID(allow_none=True)
    at = fields.AwareDateTime(required=True)


class VersionSchema(Schema):
    """What a message said before."""

    version = fields.Integer(required=True)
    text = fields.String(required=True)
    replaced_at = fields.AwareDateTime(required=True)


class WholeMessageSchema(MessageSchema):
    """A message with everything that became of it."""

    deliveries = fields.List(fields.Nested(DeliveryWithAttemptsSchema), required=True)
    time_left_s = fields.Integer(
        allow_none=True,
        metadata={
            "description": "How long its client may still be answered; null without a limit, 0 when it is too late"
        },
    )
    versions = fields.List(fields.Nested(VersionSchema), required=True)
    trace = fields.List(fields.Nested(TraceSchema), required=True)


class RepeatedSchema(Schema):
    """Result of a repeat. `is_new` is false when the same key had asked for it before."""

    delivery = fields.Nested(DeliverySchema, required=True)
    is_new = fields.Boolean(required=True)


class RepeatHeadersSchema(Schema):
    """The key of one repeat, the caller's own."""

    key = fields.String(required=True, data_key="Idempotency-Key", validate=validate.Length(8, 200))


def end_values(row: EndRecord) -> dict[str, Any]:
    """Give an end's values; a secret that is set shows as a mask."""
    shown = {
        field.name: MASK if field.kind == "secret" else row.settings.get(field.name, field.default)
        for field in setup.fields_of(row.adapter)
    }
    names = [name for name in EndSchema._declared_fields if name != "settings"]
    return {**{name: getattr(row, name) for name in names}, "settings": shown}


def line_values(line: Line) -> dict[str, Any]:
    """Give a message's values."""
    message = line.message
    return {
        **{name: getattr(message, name) for name in MessageSchema._declared_fields if hasattr(message, name)},
        "channel_id": line.conversation.channel_id,
        "client_id": line.client.id,
        "client_name": line.client.name,
        "attachments_count": line.files_count,
        "deliveries": line.deliveries,
    }


def dossier_values(dossier: Dossier) -> dict[str, Any]:
    """Give everything about a message."""
    return {
        **line_values(dossier.line),
        "deliveries": [_delivery_values(dossier, row) for row in dossier.deliveries],
        "time_left_s": None if dossier.time_left is None else int(dossier.time_left.total_seconds()),
        "versions": dossier.versions,
        "trace": dossier.traces,
    }


def _delivery_values(dossier: Dossier, row: Any) -> dict[str, Any]:
    parts = {part.id: part for part in dossier.parts if part.delivery_id == row.id}
    attempts = [
        {
            **{name: getattr(one, name) for name in AttemptSchema._declared_fields if name != "part"},
            "part": parts[one.part_id].number,
        }
        for one in dossier.attempts
        if one.part_id in parts
    ]
    last = max((part.generation for part in parts.values()), default=1)
    return {
        **{name: getattr(row, name) for name in DeliverySchema._declared_fields},
        "remote_ids": [id for part in parts.values() if part.generation == last for id in part.remote_ids],
        "attempts": attempts,
    }
