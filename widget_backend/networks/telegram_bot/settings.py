"""Settings of a Telegram bot channel: what its admin fills in, and the facts that `connect` adds."""

from __future__ import annotations

from marshmallow import EXCLUDE, Schema, fields, validate

from widget_backend.bridge import channel_settings


class Settings(Schema):
    """One bot. Labels and helps are keys of the locales' `settings/telegram_bot.json`; hidden fields are facts, not choices."""

    class Meta:
        unknown = EXCLUDE

    token = fields.String(
        required=True,
        validate=validate.Regexp(r"^\d{3,20}:[A-Za-z0-9_-]{30,64}$"),  # telegram.md A1
        metadata={"secret": True, "label": "token", "help": "token_help"},
    )
    group_chats = fields.Boolean(load_default=False, metadata={"label": "group_chats", "help": "group_chats_help"})
    automatic_texts = channel_settings.AUTOMATIC_TEXTS
    mark_read = fields.Boolean(load_default=True, metadata={"label": "channel.mark_read", "help": "mark_read_help"})
    auto_read = fields.Boolean(load_default=False, metadata={"label": "channel.auto_read", "help": "auto_read_help"})
    show_typing = channel_settings.SHOW_TYPING
    link_previews = fields.Boolean(load_default=True, metadata={"label": "link_previews", "help": "link_previews_help"})
    expiry_hours = channel_settings.EXPIRY_HOURS

    transport = fields.String(load_default="", metadata={"widget": "hidden"})
    username = fields.String(load_default="", metadata={"widget": "hidden"})
