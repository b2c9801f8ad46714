"""What the admin may set for an amoCRM connection; the form, the API, the docs and the masking come from this schema."""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, Schema, fields, validate

UNSORTED = "unsorted"
"""The stage where amoCRM itself makes a lead that waits to be accepted; none chosen: the first stage of the main pipeline."""

CHATS, NOTES = "chats", "notes"
NO_TASK, TASK_PER_DEAL, TASK_PER_MESSAGE = "", "deal", "message"


def _chosen(name: str, catalog: str, pattern: str, default: str = "") -> Any:
    return fields.String(
        load_default=default,
        validate=validate.Regexp(pattern),
        metadata={"label": name, "help": f"{name}_help", "catalog": catalog, "widget": "select"},
    )


def _written(name: str, default: str = "") -> Any:
    return fields.String(
        load_default=default, validate=validate.Length(max=250), metadata={"label": name, "help": f"{name}_help"}
    )


class Settings(Schema):
    """Settings of one amoCRM account. Labels and helps are keys of the locales' `settings/amocrm.json`; hidden fields are facts that `connect` stores."""

    class Meta:
        """What is not known here is not an error: an older release may have stored it."""

        unknown = EXCLUDE

    mode = _chosen("mode", "modes", f"^({CHATS}|{NOTES})$", CHATS)
    stage = _chosen("stage", "stages", rf"^({UNSORTED}|\d{{1,12}}:\d{{1,12}})?$")
    new_when_closed = fields.Boolean(
        load_default=True, metadata={"label": "new_when_closed", "help": "new_when_closed_help", "widget": "switch"}
    )
    responsible = _chosen("responsible", "users", r"^\d{0,12}$")
    deal_name = _written("deal_name", "%NAME% (%SOURCE%)")
    contact_name = _written("contact_name", "%NAME%")
    deal_tags = _written("deal_tags", "Mostik")
    contact_tags = _written("contact_tags")
    profile_field = _chosen("profile_field", "contact_fields", r"^\d{0,12}$")
    task = _chosen("task", "tasks", f"^({NO_TASK}|{TASK_PER_DEAL}|{TASK_PER_MESSAGE})$")
    task_minutes = fields.Integer(
        load_default=5,
        validate=validate.Range(min=1, max=10_080),
        metadata={"label": "task_minutes", "help": "task_minutes_help"},
    )

    domain = fields.String(load_default="", metadata={"widget": "hidden"})
    amojo_id = fields.String(load_default="", metadata={"widget": "hidden"})
    user_id = fields.String(load_default="", metadata={"widget": "hidden"})
    server_endpoint = fields.String(load_default="", metadata={"widget": "hidden"})
    pages_url = fields.String(load_default="", metadata={"widget": "hidden"})
    connected_channels = fields.List(fields.String(), load_default=[], metadata={"widget": "hidden"})
    refused_channels = fields.List(fields.String(), load_default=[], metadata={"widget": "hidden"})
    notices = fields.List(fields.String(), load_default=[], metadata={"widget": "hidden"})
    known_stages = fields.List(fields.String(), load_default=[], metadata={"widget": "hidden"})
