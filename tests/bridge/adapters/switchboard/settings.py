"""Settings of a switchboard's number."""

from __future__ import annotations

from marshmallow import Schema, fields


class Settings(Schema):
    """The number, and what else the switchboard calls it."""

    number = fields.String(required=True)
    aliases = fields.List(fields.String(), load_default=list)
