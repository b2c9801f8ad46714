"""Events that a portal sends to applications: form-encoded, once, never repeated (bitrix24.md 1.4, 4)."""

from __future__ import annotations

from urllib.parse import urlencode

from tests.sandbox.bitrix24 import php
from tests.sandbox.bitrix24.cloud import Cloud
from tests.sandbox.bitrix24.state import ACCESS_LIFE_S, Handler, Install, Portal
from tests.sandbox.hooks import Hook, Once

TIMEOUT_S = 10.0
APPLICATION_EVENTS = ("ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUNINSTALL", "ONAPPPAYMENT", "ONAPPTEST")
KNOWN_EVENTS = (
    *APPLICATION_EVENTS,
    "ONIMCONNECTORMESSAGEADD", "ONIMCONNECTORMESSAGEUPDATE", "ONIMCONNECTORMESSAGEDELETE",
    "ONIMCONNECTORDIALOGSTART", "ONIMCONNECTORDIALOGFINISH", "ONIMCONNECTORSTATUSDELETE", "ONIMCONNECTORLINEDELETE",
    "ONOPENLINEMESSAGEADD", "ONOPENLINEMESSAGEUPDATE", "ONOPENLINEMESSAGEDELETE", "ONSESSIONSTART", "ONSESSIONFINISH",
    "ONCRMLEADADD", "ONCRMLEADUPDATE", "ONCRMLEADDELETE", "ONCRMDEALADD", "ONCRMDEALUPDATE", "ONCRMDEALDELETE",
    "ONCRMCONTACTADD", "ONCRMCONTACTUPDATE", "ONCRMCONTACTDELETE",
)  # fmt: skip


def emit(
    cloud: Cloud, portal: Portal, install: Install, event: str, data: object, *, user_id: int = 0, lane: str = ""
) -> None:
    """Send an event to every handler the application bound to it; nothing before installFinish (bitrix24.md 1.2)."""
    if not install.installed:
        return
    for handler in install.handlers:
        if handler.event == event.upper():
            send(cloud, portal, handler, _fields(cloud, portal, install, handler, data, user_id), lane=lane)


def emit_to_owner(
    cloud: Cloud, portal: Portal, client_id: str, event: str, data: object, *, user_id: int = 0, lane: str = ""
) -> None:
    """Send an event only to the application that registered the connector."""
    if install := portal.installs.get(client_id):
        emit(cloud, portal, install, event, data, user_id=user_id, lane=lane)


def emit_to_url(cloud: Cloud, portal: Portal, install: Install, url: str, event: str, data: object) -> None:
    """Send an application event to an address of the application's card, bound or not."""
    handler = Handler(portal.new_id("handler", 551), event, url, 0)
    user_id = 0 if event == "ONAPPUNINSTALL" else install.user_id
    send(cloud, portal, handler, _fields(cloud, portal, install, handler, data, user_id))


def send(cloud: Cloud, portal: Portal, handler: Handler, fields: dict[str, object], *, lane: str = "") -> None:
    """Queue one POST. Events of one chat leave one after another; nothing else is promised."""
    cloud.peer.hooks.send(
        Hook(
            handler.url,
            urlencode(php.flatten(fields)).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "Bitrix24 Webhook Engine"},
            policy=Once(TIMEOUT_S),
            lane=f"{portal.member_id}/{lane}" if lane else "",
            label=handler.event,
            account=portal.member_id,
        )
    )


def _fields(
    cloud: Cloud, portal: Portal, install: Install, handler: Handler, data: object, user_id: int
) -> dict[str, object]:
    return {
        "event": handler.event,
        "event_handler_id": handler.id,
        "data": data,
        "ts": int(cloud.peer.now()),
        "auth": _auth(cloud, portal, install, handler, user_id),
    }


def _auth(cloud: Cloud, portal: Portal, install: Install, handler: Handler, user_id: int) -> dict[str, object]:
    """Describe who acted: tokens only when a user did, the refresh token only at the installation."""
    proof: dict[str, object] = {
        "domain": portal.domain,
        "server_endpoint": cloud.server_endpoint,
        "client_endpoint": portal.endpoint,
        "member_id": portal.member_id,
        "application_token": install.application_token,
    }
    acting = handler.auth_type or user_id
    if handler.event == "ONAPPUNINSTALL" or not acting:
        return proof
    token = cloud.issue(install.app, portal, acting)
    separator = " " if handler.event == "ONAPPINSTALL" else ","
    shown: dict[str, object] = {
        "access_token": token.access,
        "expires": int(token.expires_at),
        "expires_in": ACCESS_LIFE_S,
        "scope": separator.join(token.scopes),
        **proof,
        "status": install.app.status,
        "user_id": acting,
    }
    if handler.event == "ONAPPINSTALL":
        return shown | {"refresh_token": token.refresh}
    return shown
