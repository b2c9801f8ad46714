"""Settings of a VK channel: what its admin fills in, and the facts that `connect` adds."""

from __future__ import annotations

from marshmallow import EXCLUDE, Schema, fields, validate

from widget_backend.bridge import channel_settings


class Settings(Schema):
    """One VK community. Labels and helps are keys of the locales' `settings/vk.json`; hidden fields are facts, not choices."""

    class Meta:
        unknown = EXCLUDE

    token = fields.String(
        required=True,
        validate=validate.Length(min=20, max=500),
        metadata={"secret": True, "label": "token", "help": "token_help"},
    )
    group_chats = fields.Boolean(load_default=False, metadata={"label": "group_chats", "help": "group_chats_help"})
    automatic_texts = channel_settings.AUTOMATIC_TEXTS
    mark_read = channel_settings.MARK_READ
    auto_read = channel_settings.AUTO_READ
    show_typing = channel_settings.SHOW_TYPING
    link_previews = fields.Boolean(load_default=True, metadata={"label": "link_previews", "help": "link_previews_help"})
    expiry_hours = channel_settings.EXPIRY_HOURS

    group_id = fields.String(load_default="", metadata={"widget": "hidden"})
    screen_name = fields.String(load_default="", metadata={"widget": "hidden"})
    server_id = fields.Integer(load_default=0, metadata={"widget": "hidden"})
