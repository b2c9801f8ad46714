"""What the admin may set for a Bitrix24 connection; the form, the API, the docs and the masking come from this schema."""

from __future__ import annotations

from marshmallow import EXCLUDE, Schema, fields, validate


class Settings(Schema):
    """Settings of one portal. The fields without a label are facts that `connect` and the pages store."""

    class Meta:
        """What is not known here is not an error: an older release may have stored it."""

        unknown = EXCLUDE

    line = fields.String(
        load_default="",
        validate=validate.Regexp(r"^\d{0,10}$"),
        metadata={"label": "bitrix24.line", "help": "bitrix24.line_help", "catalog": "lines", "widget": "select"},
    )
    outgoing_user = fields.String(
        load_default="",
        validate=validate.Regexp(r"^\d{0,10}$"),
        metadata={
            "label": "bitrix24.outgoing_user",
            "help": "bitrix24.outgoing_user_help",
            "catalog": "users",
            "widget": "select",
        },
    )
    client_cards = fields.Boolean(
        load_default=True,
        metadata={"label": "bitrix24.client_cards", "help": "bitrix24.client_cards_help", "widget": "switch"},
    )
    automatic_texts = fields.Boolean(
        load_default=True,
        metadata={"label": "bitrix24.automatic_texts", "help": "bitrix24.automatic_texts_help", "widget": "switch"},
    )

    domain = fields.String(load_default="")
    client_endpoint = fields.String(load_default="")
    server_endpoint = fields.String(load_default="")
    connector = fields.String(load_default="")
    user_id = fields.String(load_default="")
