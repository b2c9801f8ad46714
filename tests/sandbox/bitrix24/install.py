"""The life of an application on a portal: installer, installFinish, update, removal (bitrix24.md 1.1 to 1.4)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from tests.sandbox.bitrix24 import events
from tests.sandbox.bitrix24.cloud import Cloud
from tests.sandbox.bitrix24.state import ACCESS_LIFE_S, App, Install, Portal


class Impossible(Exception):
    """What cannot be done in this state; the text is for people."""


@dataclass(frozen=True, slots=True)
class Form:
    """The POST that an iframe of the portal makes: query in `action`, body in `fields`."""

    action: str
    fields: Mapping[str, str]
    app_sid: str


def begin(cloud: Cloud, portal: Portal, app: App, *, user_id: int = 0) -> Install:
    """Install: applications with pages wait for installFinish, those without get ONAPPINSTALL and are done."""
    if app.portal not in ("", portal.member_id):
        raise Impossible("Это локальное приложение другого портала.")
    if user_id and not portal.users[user_id].is_admin:
        raise Impossible("Устанавливать приложения может только администратор.")
    has_pages = bool(app.app_url or app.install_url)
    install = Install(app, secrets.token_hex(16), not has_pages, user_id or portal.admin.id)
    portal.installs[app.client_id] = install
    cloud.record("installed" if install.installed else "install_begun", portal, id=app.client_id)
    if not has_pages:
        _tell_install(cloud, portal, install)
    return install


def finish(cloud: Cloud, portal: Portal, client_id: str) -> Install:
    """Do what BX24.installFinish does: from now on widgets are shown and events delivered."""
    install = _need(portal, client_id)
    if install.installed:
        cloud.record("warning", portal, text="installFinish was called for an installed application")
        return install
    install.installed = True
    cloud.record("installed", portal, id=client_id)
    if install.app.event_url:
        _tell_install(cloud, portal, install)
    return install


def update(cloud: Cloud, portal: Portal, client_id: str) -> None:
    """Put a new version: handlers and widgets are wiped, the application token changes (section 11, 18)."""
    install = _need(portal, client_id)
    urls = _urls(install, "ONAPPUPDATE")
    install.app.version += 1
    install.handlers.clear()
    install.placements.clear()
    install.application_token = secrets.token_hex(16)
    cloud.record("updated", portal, id=client_id, text=str(install.app.version))
    data = {"VERSION": install.app.version, "PREVIOUS_VERSION": install.app.version - 1, "LANGUAGE_ID": "ru"}
    for url in urls:
        events.emit_to_url(cloud, portal, install, url, "ONAPPUPDATE", data)


def uninstall(cloud: Cloud, portal: Portal, client_id: str, *, clean: bool) -> None:
    """Remove: tokens die, handlers, widgets and connectors go, ONAPPUNINSTALL comes without tokens."""
    install = _need(portal, client_id)
    del portal.installs[client_id]
    own = [name for name, connector in portal.connectors.items() if connector.client_id == client_id]
    for name in own:
        del portal.connectors[name]
    for key in [key for key in portal.links if key[0] in own]:
        del portal.links[key]
    cloud.record("uninstalled", portal, id=client_id, text=f"CLEAN={int(clean)}")
    for url in _urls(install, "ONAPPUNINSTALL"):
        data = {"LANGUAGE_ID": "ru", "CLEAN": int(clean)}
        events.emit_to_url(cloud, portal, install, url, "ONAPPUNINSTALL", data)
    if install.app.portal:
        del cloud.apps[client_id]


def page(cloud: Cloud, portal: Portal, client_id: str, *, user_id: int = 0) -> Form:
    """Open the application: administrators are sent to the installer until it is finished."""
    install = _need(portal, client_id)
    user = portal.users[user_id or portal.admin.id]
    if not install.installed and not user.is_admin:
        raise Impossible("Приложение установлено не полностью. Обратитесь к администратору.")
    app = install.app
    first, second = (app.app_url, app.install_url) if install.installed else (app.install_url, app.app_url)
    url = first or second
    if not url:
        raise Impossible("У приложения нет интерфейса.")
    return form(cloud, portal, install, url, user_id=user.id)


def widget(
    cloud: Cloud, portal: Portal, client_id: str, code: str, options: Mapping[str, object], *, user_id: int = 0
) -> Form:
    """Open a bound placement with its own options."""
    install = _need(portal, client_id)
    bound = next((known for known in install.placements if known.code == code), None)
    if bound is None or not install.installed:
        raise Impossible("Встройка недоступна: не привязана, или установка приложения не завершена.")
    told = {**options, "URI": options.get("URI", "/")}
    return form(cloud, portal, install, bound.handler, placement=code, options=told, user_id=user_id)


def connector_settings(cloud: Cloud, portal: Portal, connector_id: str, line: int, *, user_id: int = 0) -> Form:
    """Open a connector's settings on a line: the POST of SETTING_CONNECTOR (bitrix24.md 8.2)."""
    connector = portal.connectors.get(connector_id)
    if connector is None or line not in portal.lines:
        raise Impossible("Нет такого коннектора или такой открытой линии.")
    install = _need(portal, connector.client_id)
    if not install.installed:
        raise Impossible("Установка приложения не завершена.")
    link = portal.links.get((connector_id, line))
    options = {
        "CONNECTOR": connector_id,
        "LINE": str(line),
        "STATUS": bool(link and link.status),
        "ACTIVE_STATUS": bool(link and link.active),
        "CONNECTION_STATUS": bool(link and link.connection),
        "REGISTER_STATUS": bool(link and link.register),
        "ERROR_STATUS": bool(link and link.error),
        "URI": f"/contact_center/connector/?ID={connector_id}&LINE={line}&IFRAME=Y&IFRAME_TYPE=SIDE_SLIDER",
    }
    return form(
        cloud, portal, install, connector.handler, placement="SETTING_CONNECTOR", options=options, user_id=user_id
    )


def form(
    cloud: Cloud,
    portal: Portal,
    install: Install,
    url: str,
    *,
    placement: str = "DEFAULT",
    options: Mapping[str, object] | None = None,
    user_id: int = 0,
) -> Form:
    """Build the POST of bitrix24.md 1.3: portal in the query, tokens of the opening user in the body."""
    token = cloud.issue(install.app, portal, user_id or portal.admin.id)
    app_sid = secrets.token_hex(16)
    query = {"DOMAIN": portal.domain, "PROTOCOL": portal.options.protocol, "LANG": "ru", "APP_SID": app_sid}
    fields = {
        "AUTH_ID": token.access,
        "AUTH_EXPIRES": str(ACCESS_LIFE_S),
        "REFRESH_ID": token.refresh,
        "SERVER_ENDPOINT": cloud.server_endpoint,
        "APPLICATION_TOKEN": install.application_token,
        "APPLICATION_SCOPE": ",".join(install.app.scopes),
        "member_id": portal.member_id,
        "status": install.app.status,
        "PLACEMENT": placement,
    }
    if options is not None:
        fields["PLACEMENT_OPTIONS"] = json.dumps(options, ensure_ascii=False, separators=(",", ":"))
    return Form(f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}", fields, app_sid)


def frame_trouble(headers: Mapping[str, str], portal: Portal) -> str:
    """Tell why a browser would not show this answer in the portal's iframe; empty when it would (section 11, 20)."""
    if headers.get("X-Frame-Options"):
        return "X-Frame-Options forbids the iframe"
    policy = headers.get("Content-Security-Policy", "")
    parts = [part.split() for part in policy.split(";")]
    allowed = next((part[1:] for part in parts if part and part[0].lower() == "frame-ancestors"), None)
    if allowed is not None and not {portal.base, portal.domain, "*"} & set(allowed):
        return f"frame-ancestors does not name {portal.base}"
    return ""


def _need(portal: Portal, client_id: str) -> Install:
    install = portal.installs.get(client_id)
    if install is None:
        raise Impossible("Приложение не установлено на этом портале.")
    return install


def _urls(install: Install, event: str) -> list[str]:
    bound = [handler.url for handler in install.handlers if handler.event == event]
    card = [install.app.event_url] if install.app.event_url else []
    return list(dict.fromkeys(bound + card))


def _tell_install(cloud: Cloud, portal: Portal, install: Install) -> None:
    data = {"VERSION": install.app.version, "ACTIVE": "Y", "INSTALLED": "Y", "LANGUAGE_ID": "ru"}
    for url in _urls(install, "ONAPPINSTALL"):
        events.emit_to_url(cloud, portal, install, url, "ONAPPINSTALL", data)
