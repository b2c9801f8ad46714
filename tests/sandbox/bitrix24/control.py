"""What tests tell the twin to do: /_sandbox/say, make and the routes that only Bitrix24 has.

POST /_sandbox/say             {account?, conversation | user, text, attachments, operator?} or {edit|delete: id, text} or
                               {finish: true}; -> {"id"}. account is a member_id or domain, conversation a chat id of the
                               portal, user an external chat id.
POST /_sandbox/make            {title?, options?, local?: {title, app_url, install_url, event_url, redirect_url}}
POST /_sandbox/app             {client_id?, account?, title, app_url, ...}: change an application's card, or make one
POST /_sandbox/install         {account, app, install_url, handler_url, event_url?}: the POST of the installer iframe
POST /_sandbox/install-finish  {account, app}
POST /_sandbox/uninstall       {account, app, clean}        POST /_sandbox/update {account, app}
POST /_sandbox/frame           {account, app?, placement?, connector?, line?, user?, options?}: the POST of any iframe
POST /_sandbox/open            as frame, and makes the POST itself -> {status, trouble, text}
POST /_sandbox/code            {account, app}: a one-time code   POST /_sandbox/options {account, ...}: switches
POST /_sandbox/disconnect      {account, connector, line}: an administrator disconnects the connector
POST /_sandbox/line            {account, line?, params}: make or change an open line as its administrator -> {"line"}
POST /_sandbox/rename          {account}: the portal moves to another address
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from tests.sandbox import samples
from tests.sandbox.bitrix24 import events, install, lines, php, talk
from tests.sandbox.bitrix24.cloud import Cloud
from tests.sandbox.bitrix24.state import App, Chat, File, Message, Options, Portal
from tests.sandbox.frame import BadControl

Json = dict[str, Any]
CARD = ("title", "app_url", "install_url", "event_url", "redirect_url")
SAMPLES: dict[str, tuple[str, str, Callable[[], bytes]]] = {
    "photo": ("photo.png", "image/png", lambda: samples.png(320, 200)),
    "doc": ("price.pdf", "application/pdf", samples.pdf),
}


def actions(cloud: Cloud) -> dict[str, Callable[[Json], Awaitable[Json]]]:
    """List the additional control routes by the name after /_sandbox/."""
    known = (
        app,
        code,
        disconnect,
        frame,
        line,
        open_frame,
        options,
        rename,
        start_install,
        uninstall,
        update,
        finish_install,
    )
    names = {start_install: "install", finish_install: "install-finish", open_frame: "open"}

    def bound(action: Callable[[Cloud, Json], Awaitable[Json]]) -> Callable[[Json], Awaitable[Json]]:
        async def act(body: Json) -> Json:
            try:
                return await action(cloud, body)
            except (install.Impossible, talk.Refused) as refusal:
                raise BadControl(str(refusal)) from refusal

        return act

    return {names.get(action, action.__name__): bound(action) for action in known}


def describe(portal: Portal) -> Json:
    """Give what a test needs to know about a portal."""
    return {
        "domain": portal.domain,
        "url": portal.base,
        "client_endpoint": portal.endpoint,
        "member_id": portal.member_id,
        "admin": portal.admin.id,
        "operators": [user.id for user in portal.users.values() if not (user.is_admin or user.is_client)],
        "lines": list(portal.lines),
        "webhook": f"{portal.endpoint}{portal.admin.id}/{portal.webhook_code}/",
        "page": f"{portal.base}/pages/portal",
    }


async def say(cloud: Cloud, body: Json) -> Json:
    """Act as an operator in an open-line chat."""
    portal = _portal(cloud, body)
    try:
        if number := body.get("edit") or body.get("delete"):
            return _change(cloud, portal, body, _message(portal, number))
        chat = find_chat(portal, body)
        operator = int(body.get("operator") or chat.operator_id or min(chat.members, default=portal.admin.id))
        if operator not in portal.users:
            raise BadControl(f"no user {operator} on this portal")
        if body.get("finish"):
            talk.finish(cloud, portal, chat, operator_id=operator)
            return {"id": str(chat.session_id)}
        files = [_file(portal, one) for one in body.get("attachments", [])]
        text = str(body.get("text", ""))
        if not (text or files):
            raise BadControl("text or attachments needed")
        message = talk.operator_message(cloud, portal, chat, operator_id=operator, text=text, files=files)
    except talk.Refused as refusal:
        raise BadControl(str(refusal)) from refusal
    return {"id": str(message.id), "chat_id": str(chat.id)}


def _change(cloud: Cloud, portal: Portal, body: Json, message: Message) -> Json:
    if body.get("edit"):
        talk.edit_message(cloud, portal, message, str(body.get("text", "")))
    else:
        talk.delete_message(cloud, portal, message)
    return {"id": str(message.id)}


def find_chat(portal: Portal, body: Json) -> Chat:
    """Find a chat by the portal's own id or the external one. Raises BadControl."""
    if body.get("conversation"):
        chat = portal.chats.get(php.number(str(body["conversation"]).removeprefix("chat")))
        if chat:
            return chat
    external = str(body.get("user") or body.get("conversation") or "")
    found = [chat for chat in portal.chats.values() if chat.external_id == external]
    if not found:
        raise BadControl(f"no chat {external} on this portal")
    return found[-1]


async def make(cloud: Cloud, body: Json) -> Json:
    """Make a portal, with a local application when asked."""
    portal = await cloud.open_portal(str(body.get("title", "acme")), _options(Options(), body.get("options", {})))
    made = {"account": portal.member_id, "portal": describe(portal), "oauth_url": cloud.oauth_urls[0]}
    if "local" in body:
        local = cloud.add_app(portal=portal, **_card({"title": "Mostik"} | body["local"]))
        return made | {"client_id": local.client_id, "client_secret": local.client_secret}
    return made


async def app(cloud: Cloud, body: Json) -> Json:
    """Change the card of an application, or make one (local when an account is named)."""
    if "client_id" in body:
        card = _app(cloud, body["client_id"])
        for name, value in _card(body).items():
            setattr(card, name, value)
    else:
        portal = _portal(cloud, body) if body.get("account") else None
        card = cloud.add_app(portal=portal, **_card({"title": "Mostik"} | body))
    if "scopes" in body:
        card.scopes = tuple(body["scopes"])
    return {"client_id": card.client_id, "client_secret": card.client_secret}


async def start_install(cloud: Cloud, body: Json) -> Json:
    """Press "Install": answer the POST the iframe would make, or {} for an application without pages."""
    portal, card = _portal(cloud, body), _app(cloud, body.get("app"))
    for name, key in (("install_url", "install_url"), ("app_url", "handler_url"), ("event_url", "event_url")):
        if key in body:
            setattr(card, name, str(body[key]))
    begun = install.begin(cloud, portal, card, user_id=int(body.get("user", 0)))
    if begun.installed:
        return {}
    return dataclasses.asdict(install.page(cloud, portal, card.client_id))


async def finish_install(cloud: Cloud, body: Json) -> Json:
    """Do what the installer page's BX24.installFinish does; answer the POST of the application page."""
    portal = _portal(cloud, body)
    card = _app(cloud, body.get("app"))
    install.finish(cloud, portal, card.client_id)
    return dataclasses.asdict(install.page(cloud, portal, card.client_id))


async def uninstall(cloud: Cloud, body: Json) -> Json:
    """Remove an application, with or without its data."""
    install.uninstall(cloud, _portal(cloud, body), str(body.get("app")), clean=bool(body.get("clean")))
    return {"ok": True}


async def update(cloud: Cloud, body: Json) -> Json:
    """Put the next version of an application."""
    install.update(cloud, _portal(cloud, body), str(body.get("app")))
    return {"ok": True}


async def frame(cloud: Cloud, body: Json) -> Json:
    """Answer the POST that opening a page of the application would make."""
    return dataclasses.asdict(_form(cloud, _portal(cloud, body), body))


async def open_frame(cloud: Cloud, body: Json) -> Json:
    """Make that POST and tell what a browser would: status, why it could not be framed, the text."""
    portal = _portal(cloud, body)
    made = _form(cloud, portal, body)
    async with aiohttp.ClientSession() as session, session.post(made.action, data=made.fields) as response:
        trouble = install.frame_trouble(response.headers, portal)
        return {"status": response.status, "trouble": trouble, "text": await response.text()}


async def code(cloud: Cloud, body: Json) -> Json:
    """Make a one-time code as the redirect back from the portal would carry it."""
    portal = _portal(cloud, body)
    return {"code": cloud.issue_code(_app(cloud, body.get("app")), portal, int(body.get("user", portal.admin.id)))}


async def options(cloud: Cloud, body: Json) -> Json:
    """Change the switches of a portal."""
    portal = _portal(cloud, body)
    portal.options = _options(portal.options, {key: value for key, value in body.items() if key != "account"})
    return dataclasses.asdict(portal.options)


async def disconnect(cloud: Cloud, body: Json) -> Json:
    """Let the administrator disconnect a connector: OnImConnectorStatusDelete to its owner."""
    portal = _portal(cloud, body)
    connector_id, line = str(body.get("connector")), int(body.get("line", 0))
    if portal.links.pop((connector_id, line), None) is None:
        raise BadControl("this connector is not on this line")
    owner, data = portal.connectors[connector_id].client_id, {"connector": connector_id, "line": line}
    cloud.record("disconnected", portal, id=connector_id, line=line)
    events.emit_to_owner(cloud, portal, owner, "OnImConnectorStatusDelete", data, user_id=portal.admin.id)
    return {"ok": True}


async def line(cloud: Cloud, body: Json) -> Json:
    """Make an open line, or change one; params are those of imopenlines.config.add."""
    portal, number = _portal(cloud, body), int(body.get("line", 0))
    if not number:
        return {"line": lines.add(portal, body.get("params", {}), creator=portal.admin.id)}
    if number not in portal.lines:
        raise BadControl(f"no line {number}")
    lines.update(portal, number, body.get("params", {}), editor=portal.admin.id)
    return {"line": number}


async def rename(cloud: Cloud, body: Json) -> Json:
    """Move the portal; member_id stays."""
    portal = _portal(cloud, body)
    await cloud.move(portal)
    return describe(portal)


def _form(cloud: Cloud, portal: Portal, body: Json) -> install.Form:
    placement, user = str(body.get("placement", "DEFAULT")), int(body.get("user", 0))
    if placement == "SETTING_CONNECTOR":
        line = int(body.get("line", next(iter(portal.lines))))
        return install.connector_settings(cloud, portal, str(body.get("connector")), line, user_id=user)
    if placement == "DEFAULT":
        return install.page(cloud, portal, str(body.get("app")), user_id=user)
    return install.widget(cloud, portal, str(body.get("app")), placement, body.get("options", {}), user_id=user)


def _portal(cloud: Cloud, body: Json) -> Portal:
    portal = cloud.find_portal(body.get("account"))
    if portal is None:
        raise BadControl(f"no portal {body.get('account')}")
    return portal


def _app(cloud: Cloud, client_id: object) -> App:
    found = cloud.apps.get(str(client_id)) if client_id else next(iter(cloud.apps.values()))
    if found is None:
        raise BadControl(f"no application {client_id}")
    return found


def _message(portal: Portal, number: object) -> Message:
    message = portal.messages.get(php.number(number))
    if message is None:
        raise BadControl(f"no message {number}")
    return message


def _card(body: Json) -> dict[str, str]:
    return {name: str(body[name]) for name in CARD if name in body}


def _options(old: Options, changed: Json) -> Options:
    try:
        return dataclasses.replace(old, **changed)
    except TypeError as trouble:
        raise BadControl(str(trouble)) from trouble


def _file(portal: Portal, wanted: Json) -> File:
    name, mime, sample = SAMPLES["photo" if wanted.get("type") == "photo" else "doc"]
    try:
        content = base64.b64decode(wanted["content_b64"], validate=True) if "content_b64" in wanted else sample()
    except binascii.Error as trouble:
        raise BadControl("content_b64 is not base64") from trouble
    return talk.keep_file(portal, str(wanted.get("name", name)), str(wanted.get("content_type", mime)), content)
