"""What the portal's page is told, as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.sandbox.bitrix24 import talk as chats
from tests.sandbox.bitrix24.cloud import Cloud
from tests.sandbox.bitrix24.state import ACCESS_LIFE_S, App, Chat, Message, Portal

Json = dict[str, Any]


def state(cloud: Cloud, portal: Portal) -> Json:
    """Give users, lines, connectors, applications, widgets, the list of chats and the notices."""
    return {
        "version": portal.version,
        "title": portal.title,
        "domain": portal.domain,
        "member_id": portal.member_id,
        "users": [
            {"id": user.id, "name": user.full_name, "is_admin": user.is_admin}
            for user in portal.users.values()
            if not user.is_client
        ],
        "lines": [{"id": number, "name": line["LINE_NAME"]} for number, line in portal.lines.items()],
        "connectors": [_connector(portal, name) for name in portal.connectors if _is_shown(portal, name)],
        "apps": [_app(portal, app) for app in cloud.apps_of(portal)],
        "placements": [
            {"app": install.app.client_id, "code": bound.code, "title": bound.title or install.app.title}
            for install in portal.installs.values()
            if install.installed
            for bound in install.placements
        ],
        "chats": sorted((_chat(portal, chat) for chat in portal.chats.values()), key=lambda one: -one["at"]),
        "notices": portal.notices[-20:],
    }


def talk(portal: Portal, chat: Chat) -> Json:
    """Give a chat with all its messages."""
    return _chat(portal, chat) | {"messages": [_message(portal, message) for message in chat.messages]}


def auth(portal: Portal, fields: Mapping[str, str]) -> Json:
    """Give what BX24.getAuth answers for a frame (bitrix24.md 8.3)."""
    return {
        "access_token": fields["AUTH_ID"],
        "refresh_token": fields["REFRESH_ID"],
        "expires_in": ACCESS_LIFE_S,
        "domain": portal.domain,
        "member_id": portal.member_id,
    }


def _is_shown(portal: Portal, connector_id: str) -> bool:
    install = portal.installs.get(portal.connectors[connector_id].client_id)
    return bool(install and install.installed)


def _connector(portal: Portal, connector_id: str) -> Json:
    connector = portal.connectors[connector_id]
    links = {line: link for (name, line), link in portal.links.items() if name == connector_id}
    return {
        "id": connector_id,
        "name": connector.name,
        "icon": connector.icon.get("DATA_IMAGE", ""),
        "color": connector.icon.get("COLOR", "#2fc6f6"),
        "links": [
            {"line": line, "status": link.status, "active": link.active, "error": link.error, "data": link.data}
            for line, link in links.items()
        ],
    }


def _app(portal: Portal, app: App) -> Json:
    install = portal.installs.get(app.client_id)
    return {
        "client_id": app.client_id,
        "client_secret": app.client_secret if app.portal else "",
        "title": app.title,
        "is_local": bool(app.portal),
        "version": app.version,
        "app_url": app.app_url,
        "install_url": app.install_url,
        "event_url": app.event_url,
        "redirect_url": app.redirect_url,
        "is_begun": install is not None,
        "is_installed": bool(install and install.installed),
    }


def _chat(portal: Portal, chat: Chat) -> Json:
    last = next((message for message in reversed(chat.messages) if message.who != "system"), None)
    session = portal.sessions.get(chat.session_id)
    connector = portal.connectors.get(chat.connector)
    return {
        "id": chat.id,
        "name": chat.name,
        "external_id": chat.external_id,
        "connector": connector.name if connector else chat.connector,
        "picture": portal.users[chat.user_id].picture if chat.user_id in portal.users else "",
        "line": chat.line,
        "url": chat.url,
        "last": last.text or "Файл" if last else "",
        "last_who": last.who if last else "",
        "at": last.at if last else 0,
        "is_closed": bool(session and session.is_closed),
        "session_id": chat.session_id,
        "crm": chat.crm,
    }


def _message(portal: Portal, message: Message) -> Json:
    author = portal.users.get(message.author_id)
    return {
        "id": message.id,
        "who": message.who,
        "author": author.full_name if author else "",
        "text": message.text,
        "at": message.at,
        "files": [chats.shown_file(portal, file) for file in message.files],
        "is_edited": message.is_edited,
        "is_deleted": message.is_deleted,
        "is_delivered": message.is_delivered,
        "to_client": message.to_client,
    }
