"""What the admin may set for a Bitrix24 connection; the form, the API, the docs and the masking come from this schema."""

from __future__ import annotations

from marshmallow import EXCLUDE, Schema, fields, validate


class Settings(Schema):
    """Settings of one portal. Labels and helps are keys of the locales' `settings/bitrix24.json`; hidden fields are facts that `connect` and the pages store."""

    class Meta:
        """What is not known here is not an error: an older release may have stored it."""

        unknown = EXCLUDE

    line = fields.String(
        load_default="",
        validate=validate.Regexp(r"^\d{0,10}$"),
        metadata={"label": "line", "help": "line_help", "catalog": "lines", "widget": "select"},
    )
    outgoing_user = fields.String(
        load_default="",
        validate=validate.Regexp(r"^\d{0,10}$"),
        metadata={
            "label": "outgoing_user",
            "help": "outgoing_user_help",
            "catalog": "users",
            "widget": "select",
        },
    )
    client_cards = fields.Boolean(
        load_default=True,
        metadata={"label": "client_cards", "help": "client_cards_help", "widget": "switch"},
    )
    automatic_texts = fields.Boolean(
        load_default=True,
        metadata={"label": "automatic_texts", "help": "automatic_texts_help", "widget": "switch"},
    )

    domain = fields.String(load_default="", metadata={"widget": "hidden"})
    client_endpoint = fields.String(load_default="", metadata={"widget": "hidden"})
    server_endpoint = fields.String(load_default="", metadata={"widget": "hidden"})
    connector = fields.String(load_default="", metadata={"widget": "hidden"})
    user_id = fields.String(load_default="", metadata={"widget": "hidden"})
    active_line = fields.String(load_default="", metadata={"widget": "hidden"})
    pages_url = fields.String(load_default="", metadata={"widget": "hidden"})
