"""imopenlines.config.*: reading and changing open lines (bitrix24.md 5.1)."""

from __future__ import annotations

from tests.sandbox.bitrix24 import events, lines, php
from tests.sandbox.bitrix24.errors import RestError
from tests.sandbox.bitrix24.methods.table import Call, method

LIST_PARTS = ("SELECT", "ORDER", "FILTER", "LIMIT", "OFFSET")
LIST_OPTIONS = ("QUEUE", "CONFIG_QUEUE", "CHECK_PERMISSION")
_PREFIXES = "><=!%@"


@method("imopenlines.config.list.get", scope="imopenlines")
def list_get(call: Call) -> object:
    """List lines by select, order, filter, limit and offset; anything unknown is INVALID_FORMAT."""
    params = {key.upper(): value for key, value in php.mapping(call.get("PARAMS")).items()}
    options = {key.upper(): value for key, value in php.mapping(call.get("OPTIONS")).items()}
    select = [php.text(name) for name in php.items(params.get("SELECT"))]
    order, wanted = php.mapping(params.get("ORDER")), php.mapping(params.get("FILTER"))
    fields = [name for name in (*select, *order, *(key.lstrip(_PREFIXES) for key in wanted)) if name != "*"]
    strange = [name for name in params if name not in LIST_PARTS]
    strange += [name for name in options if name not in LIST_OPTIONS]
    strange += [name for name in fields if name not in lines.FIELDS]
    if strange:
        raise RestError(400, "INVALID_FORMAT", f"Unknown field: {', '.join(strange)}")
    found = [line for line in call.portal.lines.values() if _fits(line, wanted)]
    for name, way in reversed(list(order.items())):
        found.sort(key=lambda line: str(line[name]).zfill(12), reverse=php.text(way).upper() == "DESC")
    offset, limit = php.number(params.get("OFFSET")), php.number(params.get("LIMIT"))
    return [_shown(call, line, select, options) for line in found[offset : offset + limit if limit else None]]


@method("imopenlines.config.get", scope="imopenlines")
def get(call: Call) -> object:
    """Read one line, every scalar as a string."""
    line = call.portal.lines.get(_config_id(call))
    if line is None:
        return False
    shown = lines.as_text(line)
    if call.get("WITH_QUEUE") == "N":
        shown.pop("QUEUE")
    return shown


@method("imopenlines.config.add", scope="imopenlines")
def add(call: Call) -> object:
    """Make a line and return its id."""
    _require_manager(call)
    return lines.add(call.portal, php.mapping(call.get("PARAMS")), creator=call.user.id)


@method("imopenlines.config.update", scope="imopenlines")
def update(call: Call) -> object:
    """Change a line; false for one that does not exist."""
    line_id = _config_id(call)
    _require_manager(call)
    if line_id not in call.portal.lines:
        return False
    lines.update(call.portal, line_id, php.mapping(call.get("PARAMS")), editor=call.user.id)
    return True


@method("imopenlines.config.delete", scope="imopenlines")
def delete(call: Call) -> object:
    """Delete a line with its sessions; OnImConnectorLineDelete reaches every subscriber."""
    line_id = _config_id(call)
    _require_manager(call)
    if call.portal.lines.pop(line_id, None) is None:
        return False
    for key in [key for key in call.portal.links if key[1] == line_id]:
        del call.portal.links[key]
    for chat in call.portal.chats.values():
        if chat.line == line_id and chat.session_id:
            call.portal.sessions[chat.session_id].is_closed = True
    for install in call.portal.installs.values():
        events.emit(call.cloud, call.portal, install, "ONIMCONNECTORLINEDELETE", line_id, user_id=call.user.id)
    call.cloud.record("line_deleted", call.portal, id=str(line_id))
    return True


@method("imopenlines.config.path.get", scope="imopenlines")
def path_get(call: Call) -> object:
    """Tell where the contact center is."""
    return {"SERVER_ADDRESS": call.portal.base, "PUBLIC_PATH": "/contact_center/"}


@method("imopenlines.revision.get", scope="imopenlines")
def revision_get(call: Call) -> object:
    """Tell the versions of the module's interfaces."""
    return {"rest": 2, "web": 1, "mobile": 1}


def _config_id(call: Call) -> int:
    line_id = php.number(call.get("CONFIG_ID"))
    if not line_id:
        raise RestError(400, "CONFIG_ID_EMPTY", "Config id can't be empty")
    return line_id


def _require_manager(call: Call) -> None:
    if not call.user.is_admin:
        raise RestError(403, "CONFIG_WRONG_USER_PERMISSION", "You dont have access to this action")


def _fits(line: dict[str, object], wanted: dict[str, object]) -> bool:
    for key, value in wanted.items():
        name = key.lstrip(_PREFIXES)
        values = [php.text(one) for one in php.items(value)] or [php.text(value)]
        if (php.text(line.get(name)) in values) == key.startswith("!"):
            return False
    return True


def _shown(call: Call, line: dict[str, object], select: list[str], options: dict[str, object]) -> dict[str, object]:
    text = lines.as_text(line)
    users = php.items(text.pop("QUEUE"))
    shown = {name: text[name] for name in select if name in text} if select and "*" not in select else text
    if options.get("QUEUE") == "Y":
        names = {str(user): call.portal.users[php.number(user)].full_name for user in users}
        shown["QUEUE"] = users
        shown["QUEUE_USERS_FIELDS"] = php.mapped({user: {"USER_NAME": name} for user, name in names.items()})
    if options.get("CONFIG_QUEUE") == "Y":
        shown["CONFIG_QUEUE"] = [{"ENTITY_ID": user, "ENTITY_TYPE": "user"} for user in users]
    return shown
