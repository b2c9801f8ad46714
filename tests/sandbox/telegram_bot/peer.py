"""The Telegram Bot API as a simulated peer: {base}/bot<token>/<method>, {base}/file/bot<token>/<path> (telegram.md part A)."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.sandbox.frame import BadControl, Options, Peer, json_answer
from tests.sandbox.telegram_bot import customer, media, params
from tests.sandbox.telegram_bot.calls import Call, Done
from tests.sandbox.telegram_bot.contract import Contract
from tests.sandbox.telegram_bot.deeds import Deeds
from tests.sandbox.telegram_bot.errors import ApiError, too_many
from tests.sandbox.telegram_bot.limits import Limits
from tests.sandbox.telegram_bot.methods import BY_LOWER, METHODS
from tests.sandbox.telegram_bot.phone import show
from tests.sandbox.telegram_bot.state import Bot, Json, Person, new_secret
from tests.sandbox.telegram_bot.updates import UpdateQueue

TOKEN = re.compile(r"\d+:[A-Za-z0-9_-]{35}")
SEED_BOT_ID = 7_000_000_001
SEED_PEOPLE = (Person(500100, "Анна", "К.", "anna_k", phone="79990000001"), Person(500200, "Иван", "", "ivan_p"))


class TelegramPeer(Peer):
    """The twin. Its own faults: own = {"loopback_http": false} refuses http webhooks on loopback too."""

    name = "telegram_bot"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.contract = Contract(self.ledger)
        self.deeds = Deeds(self)
        self.people: dict[int, Person] = {}
        self.bots: dict[int, Bot] = {}
        self._limits: dict[int, Limits] = {}

    @property
    def allows_loopback(self) -> bool:
        """Tell whether a webhook may be http on loopback, as with a self-hosted server in local mode."""
        return bool(self.faults.own.get("loopback_http", True))

    def limits_of(self, bot: Bot) -> Limits:
        """Return the counters of a bot."""
        return self._limits.setdefault(bot.id, Limits())

    # -- seed --------------------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Seed two people and one bot."""
        self._seed()

    def _seed(self) -> None:
        self.people = {
            one.id: Person(one.id, one.first_name, one.last_name, one.username, phone=one.phone) for one in SEED_PEOPLE
        }
        self.bots.clear()
        self._limits.clear()
        self._new_bot(SEED_BOT_ID, "acme_bot", "Acme")

    def _new_bot(self, bot_id: int, username: str, first_name: str) -> Bot:
        queue = UpdateQueue(self, str(bot_id), self.contract.update)
        self.bots[bot_id] = Bot(bot_id, new_secret(), username, first_name, queue)
        return self.bots[bot_id]

    def credentials(self) -> dict[str, Any]:
        """Return the address and the seeded bot."""
        return self._credentials(next(iter(self.bots.values())))

    def _credentials(self, bot: Bot) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            "api_url": self.base_url,
            "token": bot.token,
            "bot_id": bot.id,
            "username": bot.username,
        }

    # -- control -----------------------------------------------------------------------------------------------------

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the API, the files and the counters of limits."""
        router.add_route("*", "/bot{token:[^/]+}/{method}", self._api)
        router.add_get("/file/bot{token:[^/]+}/{path:.+}", self._file)
        router.add_get("/_sandbox/limits", self._show_limits)

    async def say(self, body: dict[str, Any]) -> dict[str, Any]:
        """Let a customer (or the owner of a business account) do something; see customer.py for the words."""
        return customer.act(self, body)

    async def make(self, body: dict[str, Any]) -> dict[str, Any]:
        """Make one more bot: {"username", "first_name"}, both optional."""
        number = SEED_BOT_ID + len(self.bots)
        username = str(body.get("username") or f"acme{len(self.bots) + 1}_bot")
        if any(bot.username.lower() == username.lower() for bot in self.bots.values()):
            raise BadControl(f"the username {username} is taken")
        return self._credentials(self._new_bot(number, username, str(body.get("first_name") or "Acme")))

    async def forget(self, *, everything: bool) -> None:
        """Forget chats and queues; bots, webhooks and business connections stay."""
        if everything:
            self._seed()
            return
        self._limits.clear()
        for bot in self.bots.values():
            bot.queue.clear()
            bot.chats.clear()
            bot.files.clear()
            bot.callbacks.clear()
            for connection in bot.connections.values():
                connection.chats.clear()

    def faults_changed(self, changed: Mapping[str, Any]) -> None:
        """Revoke all tokens (as /revoke at @BotFather does), or let them work again."""
        if "expire_tokens" in changed:
            for bot in self.bots.values():
                bot.is_revoked = bool(changed["expire_tokens"])

    def fault_answer(self, kind: str) -> web.Response:
        """Answer like the service in trouble: 429 in its envelope, 502 as HTML, 500 while it restarts."""
        if kind == "rate_limit":
            return too_many(5).answer()
        if kind == "error":
            page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
            return web.Response(status=502, text=page, content_type="text/html")
        return ApiError(500, "Internal Server Error: restart").answer()

    def phone(self, conversation: str) -> dict[str, Any] | None:
        """Show the customer's side."""
        return show(self, conversation)

    # -- the API -----------------------------------------------------------------------------------------------------

    def _bot(self, token: str) -> Bot:
        if not TOKEN.fullmatch(token):
            raise ApiError(404, "Not Found")
        bot = self.bots.get(int(token.partition(":")[0]))
        if bot is None or not secrets.compare_digest(bot.token, token) or bot.is_revoked:
            raise ApiError(401, "Unauthorized")
        return bot

    async def _api(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._called(request)
        except ApiError as refusal:
            return refusal.answer()

    async def _called(self, request: web.Request) -> web.StreamResponse:
        if request.method not in {"GET", "POST"}:
            raise ApiError(405, "Method Not Allowed: closing connection")
        bot = self._bot(request.match_info["token"])
        method = BY_LOWER.get(request.match_info["method"].lower())
        if method is None:
            raise ApiError(404, "Not Found: method not found")
        given = await params.read(request)
        self.contract.request(method, given.for_contract())
        arrived_at = self.now() - (time.monotonic() - request["arrived_s"])
        result = await METHODS[method](Call(self, bot, given, arrived_at))
        body: Json = {"ok": True, "result": result}
        if isinstance(result, Done):
            body = {"ok": True, "result": result.result, "description": result.description}
        self.contract.response(method, body["result"])
        return json_answer(body)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        try:
            stored = media.by_path(self._bot(request.match_info["token"]), request.match_info["path"], self.now())
        except ApiError as refusal:
            return refusal.answer()
        if stored is None:
            return ApiError(404, "Not Found").answer()
        return web.Response(body=stored.content, content_type="application/octet-stream")

    async def _show_limits(self, request: web.Request) -> web.StreamResponse:
        return json_answer({str(bot.id): self.limits_of(bot).counts() for bot in self.bots.values()})


def make_peer(options: Options) -> TelegramPeer:
    """Make the twin."""
    return TelegramPeer(options)
