"""docs/settings.md, made from the settings themselves: `mostik docs` writes it, a test checks it."""

from widget_backend.config import adapter_settings, env_name, own_settings

HEAD = """# Settings

Made from `widget_backend/config.py` and the adapters' manifests by `mostik docs`; do not edit. All settings are environment variables. An
unknown `MOSTIK_*` name, a wrong value or a missing secret stops every command at once, with everything that is wrong in one message.

"""


def text() -> str:
    """Write the page."""
    rows = [("Setting", "Type", "Default", "Meaning"), ("---", "---", "---", "---")]
    for setting in own_settings():
        about = setting.metadata
        default = (
            "none: must be given, or is made by an embedded start"
            if about["default"] is None
            else _code(about["default"])
        )
        rows.append((_code(about["env"]), about["read"].__name__.strip("_").replace("_", " "), default, about["help"]))
    adapters = [("Setting", "Type", "Default", "Meaning"), ("---", "---", "---", "---")]
    for manifest, server in adapter_settings():
        adapters.append((_code(env_name(manifest.key, server.name)), server.kind, _code(server.default), server.help))
    return f"{HEAD}{_table(rows)}\n## Of single networks and CRMs\n\n{_table(adapters)}"


def _code(value: str) -> str:
    return f"`{value}`" if value else "empty"


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)
