"""The portal's pages: contact center, application frames, open-line chats; one page with a small JSON interface."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.sandbox.bitrix24 import install, php, talk
from tests.sandbox.bitrix24.cloud import Cloud
from tests.sandbox.bitrix24.pages import shown
from tests.sandbox.bitrix24.state import Portal
from tests.sandbox.frame import json_answer

FOLDER = Path(__file__).parent
STATIC = {"portal.js": "text/javascript", "portal.css": "text/css", "bx24.js": "text/javascript"}
WAIT_S = 20.0
LOOK_S = 0.1
PortalOf = Callable[[web.Request], Portal]
Json = dict[str, Any]


def add_routes(router: web.UrlDispatcher, cloud: Cloud, portal_of: PortalOf) -> None:
    """Add the pages; they stand under /pages/, where faults do not act."""
    desk = Desk(cloud, portal_of)
    router.add_get("/", desk.root)
    router.add_get("/pages/portal", desk.page)
    router.add_get("/pages/static/{name}", desk.static)
    router.add_get("/api/v1/", desk.library)
    router.add_get("/pages/api/state", desk.state)
    router.add_get("/pages/api/chats/{chat}", desk.chat)
    router.add_get("/pages/api/wait", desk.wait)
    router.add_post("/pages/api/chats/{chat}/messages", desk.write)
    for name, act in desk.acts().items():
        router.add_post(f"/pages/api/{name}", desk.acting(act))


class Desk:
    """Answers the page's requests. Who acts is named by the page: here everybody is trusted."""

    def __init__(self, cloud: Cloud, portal_of: PortalOf) -> None:
        self._cloud = cloud
        self._portal_of = portal_of

    async def root(self, request: web.Request) -> web.StreamResponse:
        """Lead to the portal's page."""
        raise web.HTTPFound("/pages/portal")

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Show the portal."""
        self._portal_of(request)
        return web.FileResponse(FOLDER / "portal.html", headers={"Cache-Control": "no-store"})

    async def static(self, request: web.Request) -> web.StreamResponse:
        """Serve scripts and styles."""
        name = request.match_info["name"]
        if name not in STATIC:
            raise web.HTTPNotFound
        headers = {"Content-Type": f"{STATIC[name]}; charset=utf-8", "Cache-Control": "no-store"}
        return web.FileResponse(FOLDER / name, headers=headers)

    async def library(self, request: web.Request) -> web.StreamResponse:
        """Serve the twin of BX24.js at the path of the real one (bitrix24.md 8.3)."""
        headers = {"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-store"}
        return web.FileResponse(FOLDER / "bx24.js", headers=headers)

    async def state(self, request: web.Request) -> web.StreamResponse:
        """Give everything but the talks."""
        portal = self._portal_of(request)
        return json_answer(shown.state(self._cloud, portal))

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Give one chat with its messages."""
        portal = self._portal_of(request)
        chat = portal.chats.get(int(request.match_info["chat"]))
        if chat is None:
            raise web.HTTPNotFound
        return json_answer(shown.talk(portal, chat))

    async def wait(self, request: web.Request) -> web.StreamResponse:
        """Answer when something visible changed, or after a while."""
        portal, seen = self._portal_of(request), int(request.query.get("version", 0))
        until = time.monotonic() + WAIT_S
        while portal.version == seen and time.monotonic() < until:
            await asyncio.sleep(LOOK_S)
        return json_answer({"version": portal.version})

    async def write(self, request: web.Request) -> web.StreamResponse:
        """Take an operator's answer with its files (multipart)."""
        portal, form = self._portal_of(request), await request.post()
        chat = portal.chats.get(int(request.match_info["chat"]))
        if chat is None:
            raise web.HTTPNotFound
        files = [
            talk.keep_file(portal, part.filename, part.content_type, part.file.read())
            for part in form.getall("files", [])
            if isinstance(part, web.FileField) and part.filename
        ]
        text, operator = str(form.get("text", "")), int(str(form.get("user", portal.admin.id)))
        try:
            message = talk.operator_message(self._cloud, portal, chat, operator_id=operator, text=text, files=files)
        except talk.Refused as refusal:
            return json_answer({"error": str(refusal)}, 409)
        return json_answer({"id": message.id})

    def acts(self) -> dict[str, Callable[[Cloud, Portal, Json], object]]:
        """List what the page can do, by route."""
        return {
            "edit": lambda cloud, portal, body: talk.edit_message(
                cloud, portal, portal.messages[int(body["id"])], str(body["text"])
            ),
            "delete": lambda cloud, portal, body: talk.delete_message(cloud, portal, portal.messages[int(body["id"])]),
            "finish": lambda cloud, portal, body: talk.finish(
                cloud, portal, portal.chats[int(body["chat"])], operator_id=int(body["user"])
            ),
            "install": lambda cloud, portal, body: install.begin(
                cloud, portal, cloud.apps[body["app"]], user_id=int(body["user"])
            ),
            "install-finish": lambda cloud, portal, body: install.finish(cloud, portal, str(body["app"])),
            "uninstall": lambda cloud, portal, body: install.uninstall(
                cloud, portal, str(body["app"]), clean=bool(body.get("clean"))
            ),
            "update": lambda cloud, portal, body: install.update(cloud, portal, str(body["app"])),
            "app": _save_app,
            "frame": _frame,
        }

    def acting(
        self, act: Callable[[Cloud, Portal, Json], object]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Make a route of an act: JSON in, JSON out, refusals as 409 with a text for the page."""

        async def handle(request: web.Request) -> web.StreamResponse:
            portal = self._portal_of(request)
            try:
                made = act(self._cloud, portal, await request.json())
            except (install.Impossible, talk.Refused) as refusal:
                return json_answer({"error": str(refusal)}, 409)
            except (KeyError, ValueError) as trouble:
                return json_answer({"error": f"bad request: {trouble}"}, 400)
            return json_answer(made if isinstance(made, dict) else {"ok": True})

        return handle


def _save_app(cloud: Cloud, portal: Portal, body: Json) -> Json:
    """Make a local application from the form, or change the card of a known one."""
    urls = {name: str(body.get(name, "")) for name in ("app_url", "install_url", "event_url", "redirect_url")}
    if known := cloud.apps.get(str(body.get("client_id", ""))):
        for name, value in urls.items():
            setattr(known, name, value)
        return {"client_id": known.client_id}
    made = cloud.add_app(str(body.get("title") or "Локальное приложение"), portal=portal, **urls)
    return {"client_id": made.client_id, "client_secret": made.client_secret}


def _frame(cloud: Cloud, portal: Portal, body: Json) -> Json:
    """Give the POST for an iframe of the page."""
    user = php.number(body.get("user"))
    if body.get("connector"):
        made = install.connector_settings(cloud, portal, str(body["connector"]), int(body["line"]), user_id=user)
    elif body.get("placement"):
        made = install.widget(
            cloud, portal, str(body["app"]), str(body["placement"]), body.get("options", {}), user_id=user
        )
    else:
        made = install.page(cloud, portal, str(body["app"]), user_id=user)
    return {**dataclasses.asdict(made), "auth": shown.auth(portal, made.fields)}
