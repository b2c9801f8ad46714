"""The manager's page: unsorted and leads, a card with the feed of its chats; one page with a small JSON interface."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.sandbox.amocrm import chathooks, deeds, manager
from tests.sandbox.amocrm.cloud import Cloud
from tests.sandbox.amocrm.pages import shown
from tests.sandbox.amocrm.state import Account, User
from tests.sandbox.frame import json_answer

FOLDER = Path(__file__).parent
STATIC = {"desk.js": "text/javascript", "desk.css": "text/css"}
WAIT_S = 20.0
LOOK_S = 0.1
Json = dict[str, Any]
Act = Callable[[Cloud, Account, User, Json], object]


def add_routes(router: web.UrlDispatcher, cloud: Cloud) -> None:
    """Add the pages; they stand under /pages/, where faults do not act."""
    desk = Desk(cloud)
    router.add_get("/pages/desk/{name}", desk.static)
    router.add_get("/pages/{host}", desk.page)
    router.add_get("/pages/{host}/desk/state", desk.state)
    router.add_get("/pages/{host}/desk/wait", desk.wait)
    router.add_get("/pages/{host}/desk/leads/{id}", desk.lead)
    router.add_post("/pages/{host}/desk/leads/{id}/messages", desk.write)
    router.add_post("/pages/{host}/desk/{act}", desk.act)


class Desk:
    """Answers the page's requests. Who acts is named by the page: here everybody is trusted."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def _account(self, request: web.Request) -> Account:
        found = self._cloud.by_host(request.match_info["host"])
        if found is None:
            raise web.HTTPNotFound(text="no such account")
        return found

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Show the desk."""
        self._account(request)
        return web.FileResponse(FOLDER / "desk.html", headers={"Cache-Control": "no-store"})

    async def static(self, request: web.Request) -> web.StreamResponse:
        """Serve scripts and styles."""
        name = request.match_info["name"]
        if name not in STATIC:
            raise web.HTTPNotFound
        headers = {"Content-Type": f"{STATIC[name]}; charset=utf-8", "Cache-Control": "no-store"}
        return web.FileResponse(FOLDER / name, headers=headers)

    async def state(self, request: web.Request) -> web.StreamResponse:
        """Give the lists."""
        return json_answer(shown.state(self._cloud, self._account(request)))

    async def lead(self, request: web.Request) -> web.StreamResponse:
        """Give a card with its feed."""
        found = shown.card(self._account(request), int(request.match_info["id"]))
        if found is None:
            raise web.HTTPNotFound
        return json_answer(found)

    async def wait(self, request: web.Request) -> web.StreamResponse:
        """Answer when something visible changed, or after a while."""
        account, seen = self._account(request), int(request.query.get("version", 0))
        until = time.monotonic() + WAIT_S
        while account.version == seen and time.monotonic() < until:
            await asyncio.sleep(LOOK_S)
        return json_answer({"version": account.version})

    async def write(self, request: web.Request) -> web.StreamResponse:
        """Take a manager's answer with its files (multipart): into a chat, or first to a phone of the contact."""
        account, form = self._account(request), await request.post()
        files = [
            manager.Upload(part.filename, part.content_type, part.file.read())
            for part in form.getall("files", [])
            if isinstance(part, web.FileField) and part.filename
        ]
        user = account.users.get(int(str(form.get("user", 0)))) or account.admin
        text, where = str(form.get("text", "")), str(form.get("where", ""))
        try:
            if where.startswith("first:"):
                self._first(account, user, where, text, files)
            elif where in account.chats:
                quote = str(form.get("reply_to", ""))
                chat = account.chats[where]
                manager.answer(self._cloud, account, chat, user, text=text, files=files, reply_to=quote)
            else:
                raise manager.Refused("Выберите, куда писать.")
        except manager.Refused as refusal:
            return json_answer({"error": str(refusal)}, 409)
        return json_answer({"ok": True})

    def _first(self, account: Account, user: User, where: str, text: str, files: list[manager.Upload]) -> None:
        """Write first: where = first:<contact>:<channel>:<source or 0>:<digits>."""
        _, contact_id, channel, source, digits = where.split(":")
        contact = account.entities["contacts"].get(int(contact_id))
        if contact is None:
            raise manager.Refused("Контакт удалён.")
        named = account.sources.get(int(source))
        manager.write_first(
            self._cloud, account, user, contact, phone=digits, source=named, channel_id=channel, text=text, files=files
        )

    async def act(self, request: web.Request) -> web.StreamResponse:
        """Do one thing: JSON in, JSON out, refusals as 409 with a text for the page."""
        account, body, act = self._account(request), await request.json(), ACTS.get(request.match_info["act"])
        if act is None:
            raise web.HTTPNotFound
        user = account.users.get(int(body.get("user", 0))) or account.admin
        try:
            act(self._cloud, account, user, body)
        except manager.Refused as refusal:
            return json_answer({"error": str(refusal)}, 409)
        except (KeyError, ValueError) as trouble:
            return json_answer({"error": f"bad request: {trouble}"}, 400)
        return json_answer({"ok": True})


def _move(cloud: Cloud, account: Account, user: User, body: Json) -> None:
    lead = account.entities["leads"][int(body["lead"])]
    pipeline, status = int(lead.values["pipeline_id"]), int(body["status"])
    deeds.move(cloud, account, lead, pipeline_id=pipeline, status_id=status, user_id=user.id)


def _react(cloud: Cloud, account: Account, user: User, body: Json) -> None:
    manager.react(cloud, account, account.messages[body["message"]], user, str(body["emoji"]))


def _typing(cloud: Cloud, account: Account, user: User, body: Json) -> None:
    chat = account.chats[body["chat"]]
    chathooks.typing(cloud, manager.connection_of(account, chat), chat, user.amojo_id)


def _add(cloud: Cloud, account: Account, user: User, body: Json) -> None:
    """Make a contact with a lead in the first stage."""
    contact = deeds.add_entity(cloud, account, "contacts", str(body["name"]), user_id=user.id)
    deeds.set_field(account, contact, "PHONE", str(body.get("phone", "")))
    pipeline = account.main_pipeline
    stage = next(one["id"] for one in pipeline["statuses"] if one["type"] == 0)
    lead = deeds.add_lead(cloud, account, f"Сделка: {contact.name}", pipeline, stage, user_id=user.id)
    deeds.link(account, lead, contact)


ACTS: dict[str, Act] = {
    "accept": lambda cloud, account, user, body: deeds.accept(cloud, account, body["uid"], user_id=user.id),
    "decline": lambda cloud, account, user, body: deeds.decline(cloud, account, body["uid"], user_id=user.id),
    "close": lambda cloud, account, user, body: deeds.close_talk(cloud, account, account.talks[int(body["talk"])]),
    "move": _move,
    "react": _react,
    "typing": _typing,
    "add": _add,
}
