"""The VK peer: routes, the seed, control. See state.py for what it remembers and api.py for the door of methods."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.sandbox.frame import BadControl, Options, Peer, json_answer
from tests.sandbox.phone.routes import PhoneRoutes
from tests.sandbox.vk import api, oauth, phone
from tests.sandbox.vk.callback import Events
from tests.sandbox.vk.deeds import Deeds
from tests.sandbox.vk.media import MediaRoom
from tests.sandbox.vk.rules import TEXTS
from tests.sandbox.vk.say import Say
from tests.sandbox.vk.state import ADMIN_ID, ALL_RIGHTS, RIGHTS, Community, Token, World, new_token

LONGEST_WAIT_S = 90
METHOD_MODULES = ("methods_messages", "methods_history", "methods_groups", "methods_rest", "media")
OUTAGE_PAGE = "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"


class VkPeer(Peer):
    """The simulated VK."""

    name = "vk"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.world = World()
        self.events = Events(self)
        self.deeds = Deeds(self)
        self.media = MediaRoom(self)
        self.say_now = Say(self)
        self.oauth = oauth.Doors(self)
        self._seed: tuple[Community, Token] | None = None
        self._seed_token, self._service_token = new_token(), new_token()  # the same after a reset of everything
        for module in METHOD_MODULES:
            importlib.import_module(f"tests.sandbox.vk.{module}")

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add methods, uploads, Long Poll, OAuth and the phone."""
        router.add_route("*", "/method/{name}", self._method)
        router.add_post("/upload/{key}", self.media.take)
        router.add_get("/whp/{group_id}", self._long_poll)
        router.add_get("/_sandbox/limits", self._limits)
        self.oauth.add_routes(router)
        PhoneRoutes(self).add_routes(router)

    async def ready(self) -> None:
        """Seed one community with its token."""
        self._seed = self.world.add_community("Магазин acme", "acme", token=self._seed_token)
        self.world.add_token("service", value=self._service_token)
        self.world.add_user("Админ Acme", ADMIN_ID)

    def credentials(self) -> dict[str, Any]:
        """Return the seeded community's."""
        assert self._seed
        return self._credentials(*self._seed)

    def _credentials(self, community: Community, token: Token) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            "api_url": self.base_url,
            "oauth_url": self.base_url + "/oauth",
            "id_url": self.base_url + "/id",
            "token": token.value,
            "group_id": community.id,
            "screen_name": community.screen_name,
            "page": self.base_url + "/phone",
            "client_id": oauth.CLIENT_ID,
            "client_secret": oauth.CLIENT_SECRET,
            "service_token": self._service_token,
        }

    async def say(self, body: dict[str, Any]) -> dict[str, Any]:
        """See say.py."""
        try:
            return self.say_now(body)
        except (TypeError, ValueError, KeyError) as trouble:
            raise BadControl(f"{type(trouble).__name__}: {trouble}") from trouble

    async def make(self, body: dict[str, Any]) -> dict[str, Any]:
        """Make a community: {"name", "screen_name", "rights": [names], "has_bot", "has_messages"}.

        With {"token_for": group_id} only one more token of a known community, as another service would have.
        """
        unknown = set(body.get("rights", ())) - set(RIGHTS)
        if unknown:
            raise BadControl(f"unknown rights {sorted(unknown)}")
        mask = sum(RIGHTS[name] for name in body["rights"]) if "rights" in body else ALL_RIGHTS
        if "token_for" in body:
            community = self.world.communities.get(int(body["token_for"]))
            if community is None:
                raise BadControl("no such community")
            return self._credentials(community, self.world.add_token("group", group_id=community.id, mask=mask))
        number = len(self.world.communities) + 1
        name, screen_name = str(body.get("name", f"Сообщество {number}")), str(body.get("screen_name", ""))
        community, token = self.world.add_community(name, screen_name, mask)
        community.has_bot = bool(body.get("has_bot", True))
        community.has_messages = bool(body.get("has_messages", True))
        return self._credentials(community, token)

    async def forget(self, *, everything: bool) -> None:
        """Forget dialogs and files; with everything also communities, tokens and people."""
        self.events.cancel()
        self.files.clear()
        self.media.uploads.clear()
        if everything:
            self.world = World()
            self.oauth.forget()
            await self.ready()
            return
        for community in self.world.communities.values():
            community.dialogs.clear()
            community.messages.clear()
            community.random_ids.clear()
            community.media.clear()
            community.comments.clear()
            community.comment_guids.clear()
            community.comment_moments.clear()
        for user in self.world.users.values():
            self.say_now.draw(user)
        for token in self.world.tokens.values():
            token.call_count = token.exceeded_count = token.most_in_1_s = 0

    async def account_of(self, request: web.Request) -> str:
        """Find the community by the token of the call, the upload address or the Long Poll address."""
        if "group_id" in request.match_info:
            return request.match_info["group_id"]
        upload = self.media.uploads.get(request.match_info.get("key", ""))
        if upload:
            return str(upload.group_id)
        token = self.world.tokens.get((await api.read_params(request)).get("access_token", ""))
        return str(token.group_id) if token else ""

    def faults_changed(self, changed: Mapping[str, Any]) -> None:
        """Know the twin's own switches: {"revoke_token": value}, {"longpoll_failed": 1|2|3}, {"confirmation_code": ...}."""
        own = changed.get("own", {})
        if own.get("revoke_token") in self.world.tokens:
            self.world.tokens[own["revoke_token"]].is_revoked = True

    def fault_answer(self, kind: str) -> web.Response:
        """Answer as VK: errors are HTTP 200 with JSON, outages are HTML."""
        if kind == "outage":
            return web.Response(status=503, text=OUTAGE_PAGE, content_type="text/html")
        code = 6 if kind == "rate_limit" else 10
        return json_answer({"error": {"error_code": code, "error_msg": TEXTS[code], "request_params": []}})

    def phone(self, conversation: str) -> dict[str, Any] | None:
        """Show customers' phones."""
        return phone.show(self, conversation)

    async def stop(self) -> None:
        """Stop sending too."""
        self.events.cancel()
        await super().stop()

    async def _method(self, request: web.Request) -> web.StreamResponse:
        return await api.answer_method(self, request)

    async def _long_poll(self, request: web.Request) -> web.StreamResponse:
        """Answer Bots Long Poll (vk.md 3.6)."""
        community = self.world.communities.get(int(request.match_info["group_id"]))
        query = request.query
        if community is None or query.get("act") != "a_check" or not query.get("ts", "").isdigit():
            return json_answer({"failed": 3})
        poll = community.longpoll
        forced = self.faults.own.pop("longpoll_failed", 0)
        if forced == 2 or query.get("key") != poll.key or self.now() > poll.key_until:
            return json_answer({"failed": 2})
        since = int(query["ts"])
        if forced == 1 or since < poll.first:
            return json_answer({"failed": 1, "ts": poll.last})
        if forced == 3 or since > poll.last:
            return json_answer({"failed": 3})
        until = time.monotonic() + min(int(query.get("wait", 25)), LONGEST_WAIT_S)
        while poll.last <= since and (left_s := until - time.monotonic()) > 0:
            await self.events.wait(left_s)
        updates = list(poll.updates)[since - poll.first :]
        return json_answer({"ts": str(poll.last), "updates": updates})

    async def _limits(self, request: web.Request) -> web.StreamResponse:
        """Show how each token kept to its limit; the token itself is not shown."""
        tokens = [
            {
                "account": str(token.group_id or ""),
                "kind": token.kind,
                "calls": token.call_count,
                "exceeded": token.exceeded_count,
                "most_in_1_s": token.most_in_1_s,
            }
            for token in self.world.tokens.values()
        ]
        return json_answer({"exceeded": sum(token["exceeded"] for token in tokens), "tokens": tokens})


def make_peer(options: Options) -> Peer:
    """Make the peer."""
    return VkPeer(options)
