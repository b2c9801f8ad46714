"""imconnector.*: registering, activating and describing connectors (bitrix24.md 3.1, 3.2)."""

from __future__ import annotations

import re

from tests.sandbox.bitrix24 import php
from tests.sandbox.bitrix24.errors import RestError, access_denied, missing
from tests.sandbox.bitrix24.methods.table import Call, method
from tests.sandbox.bitrix24.state import Connector, Link

_ID = re.compile(r"[a-z0-9_]+")
SWITCHES = {
    "CHAT_GROUP": "chat_group",
    "NEED_SYSTEM_MESSAGES": "need_system_messages",
    "NEED_SIGNATURE": "need_signature",
    "DEL_EXTERNAL_MESSAGES": "delete_external",
    "EDIT_INTERNAL_MESSAGES": "edit_internal",
    "DEL_INTERNAL_MESSAGES": "delete_internal",
}


@method("imconnector.register", scope="imopenlines", app=True)
def register(call: Call) -> object:
    """Register or update a connector; a failure is a 200 with an inner result of false."""
    connector_id = php.text(call.get("ID")).lower()
    icon = php.mapping(call.get("ICON"))
    checks = (
        (not connector_id, "CONNECTOR_ID_REQUIRED", "Не указан ID коннектора"),
        (not php.text(call.get("NAME")), "NAME_REQUIRED", "Не указано название коннектора"),
        (not php.text(icon.get("DATA_IMAGE")), "ICON_REQUIRED", "Не указана иконка коннектора"),
        (not php.text(call.get("PLACEMENT_HANDLER")), "NO_PLACEMENT_HANDLER", "Не указан обработчик настроек"),
        (not _ID.fullmatch(connector_id), "GENERAL_CONNECTOR_REGISTRATION_ERROR", "Недопустимый ID коннектора"),
        (
            connector_id in call.portal.connectors and call.portal.connectors[connector_id].client_id != call.client_id,
            "APPLICATION_REGISTRATION_ERROR",
            "Коннектор зарегистрирован другим приложением",
        ),
    )
    for failed, code, text in checks:
        if failed:
            return {"result": False, "error": code, "error_description": text}
    connector = Connector(
        connector_id, php.text(call.get("NAME")), call.client_id, icon, php.text(call.get("PLACEMENT_HANDLER"))
    )
    for name, field in SWITCHES.items():
        if call.get(name) is not None:
            setattr(connector, field, php.truthy(call.get(name)))
    call.portal.connectors[connector_id] = connector
    call.cloud.record("connector", call.portal, id=connector_id, text=connector.name)
    return {"result": True}


@method("imconnector.unregister", scope="imopenlines", app=True)
def unregister(call: Call) -> object:
    """Remove a connector and what it was bound to."""
    connector_id = php.text(call.get("ID")).lower()
    connector = call.portal.connectors.get(connector_id)
    if connector is None or connector.client_id != call.client_id:
        text = "Коннектор не зарегистрирован этим приложением"
        return {"result": False, "error": "APPLICATION_UNREGISTRATION_ERROR", "error_description": text}
    del call.portal.connectors[connector_id]
    for key in [key for key in call.portal.links if key[0] == connector_id]:
        del call.portal.links[key]
    call.cloud.record("connector_removed", call.portal, id=connector_id)
    return {"result": True}


@method("imconnector.activate", scope="imopenlines", app=True)
def activate(call: Call) -> object:
    """Switch a connector on or off on a line; ACTIVE must be present, even as 0."""
    connector_id, line = _place(call)
    if call.get("ACTIVE") in (None, ""):
        raise missing("ACTIVE")
    own_connector(call, connector_id)
    if line not in call.portal.lines:
        raise RestError(400, "NOT_ACTIVE_LINE", "The line with this ID is inactive or does not exist")
    link = call.portal.links.setdefault((connector_id, line), Link())
    link.active = php.truthy(call.get("ACTIVE"))
    if link.active:
        link.error = False
    else:
        link.connection = link.register = False
    call.cloud.record("activated" if link.active else "deactivated", call.portal, id=connector_id, line=line)
    return True


@method("imconnector.status", scope="imopenlines", app=True)
def status(call: Call) -> object:
    """Tell whether a connector works on a line; without LINE it never does."""
    connector_id, line = php.text(call.need("CONNECTOR")).lower(), php.number(call.get("LINE"))
    link = call.portal.links.get((connector_id, line)) if connector_id in call.portal.connectors else None
    return {
        "LINE": line,
        "CONNECTOR": connector_id,
        "ERROR": bool(link and link.error),
        "CONFIGURED": bool(link and link.active),
        "STATUS": bool(link and link.status and line),
    }


@method("imconnector.connector.data.set", scope="imopenlines", app=True)
def set_data(call: Call) -> object:
    """Describe the connected account; raises the connection and registration flags."""
    connector_id, line = _place(call)
    data = php.mapping(call.need("DATA"))
    own_connector(call, connector_id)
    link = call.portal.links.setdefault((connector_id, line), Link())
    link.data = {key.upper(): value for key, value in data.items()}
    link.connection = link.register = True
    call.cloud.record("connected", call.portal, id=connector_id, line=line, text=php.text(link.data.get("NAME")))
    return True


@method("imconnector.list", scope="imopenlines", app=True)
def list_all(call: Call) -> object:
    """List the connectors of the portal by id."""
    if not call.user.is_admin:
        raise RestError(400, "ACCESS_DENIED", "Access denied")
    return {"livechat": "Онлайн-чат"} | {connector.id: connector.name for connector in call.portal.connectors.values()}


@method("imconnector.set.error", scope="imopenlines", app=True)
def set_error(call: Call) -> object:
    """Switch a connector off on a line and show the error."""
    connector_id, line = _place(call)
    own_connector(call, connector_id)
    link = call.portal.links.setdefault((connector_id, line), Link())
    link.active, link.error = False, True
    call.cloud.record("connector_error", call.portal, id=connector_id, line=line)
    return {"SUCCESS": True, "DATA": []}


@method("imconnector.chat.name.set", scope="imconnector", app=True)
def set_chat_name(call: Call) -> object:
    """Rename a chat by its external id."""
    connector_id, line = _place(call)
    external_id, name = php.text(call.need("CHAT_ID")), php.text(call.need("NAME"))
    connector = own_connector(call, connector_id)
    if not connector.chat_group:
        call.need("USER_ID")
    active_link(call, connector_id, line)
    chat = call.portal.chat_of(connector_id, line, external_id)
    if chat is None:
        raise RestError(400, "CHAT_RENAMING_FAILED", "Chat renaming failed")
    chat.name = name
    call.cloud.record("chat_name", call.portal, conversation=external_id, chat_id=str(chat.id), text=name)
    return {"SUCCESS": True, "DATA": {"RESULT": {}}}


def own_connector(call: Call, connector_id: str) -> Connector:
    """Find a connector of the calling application. Raises RestError for one unknown or of another."""
    connector = call.portal.connectors.get(connector_id)
    if connector is None:
        text = "Could not find the appropriate provider for the connector"
        raise RestError(400, "IMCONNECTOR_NO_CORRECT_PROVIDER", text)
    if connector.client_id != call.client_id:
        raise access_denied()
    return connector


def active_link(call: Call, connector_id: str, line: int) -> Link:
    """Find the connector on an active line where it is activated. Raises RestError NOT_ACTIVE_LINE."""
    link = call.portal.links.get((connector_id, line))
    if link is None or not link.active or not call.portal.is_line_active(line):
        raise RestError(400, "NOT_ACTIVE_LINE", "The line with this ID is inactive or does not exist")
    return link


def _place(call: Call) -> tuple[str, int]:
    return php.text(call.need("CONNECTOR")).lower(), call.need_int("LINE")
