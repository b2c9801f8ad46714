"""The amoCRM twin: hosts as the first part of the path, and the chats API on a port of its own.

http://127.0.0.1:P/{host}/...: acme.amocrm.ru (REST v4, tokens), www.amocrm.ru (consent page), api-a.amocrm.ru (renamed
accounts), drive-b.amocrm.ru (files). http://127.0.0.1:Q/v2/origin/custom/...: amojo.amocrm.ru, without a prefix, because
the signature covers the path. /_sandbox/* and /pages/* on P.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from tests.sandbox.amocrm import (
    api,
    chat_marks,
    chats,
    consent,
    control,
    drive,
    host,
    oauth,
    pages,
    rest,
    saying,
    signing,
)
from tests.sandbox.amocrm.chats import Call
from tests.sandbox.amocrm.cloud import API_DOMAINS, Cloud
from tests.sandbox.amocrm.problems import ChatsRefusal, Refusal, bad_data, not_found
from tests.sandbox.amocrm.reading import Reader
from tests.sandbox.frame import Options, Peer, json_answer, local_port

SCOPE = "/v2/origin/custom/{scope}"
RATE_BODY = {"title": "Too Many Requests", "type": "https://httpstatus.es/429", "status": 429, "retry_after": 300}


def make_peer(options: Options) -> Peer:
    """Make the peer; called by `python -m tests.sandbox`."""
    return AmoCrmPeer(options)


class AmoCrmPeer(Peer):
    """Accounts, OAuth, chats and control."""

    name = "amocrm"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.cloud = Cloud(self)
        self._chats_port = 0

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the hosts, the chats API, pages and the twin's own control routes."""
        for path, action in control.actions(self.cloud).items():
            router.add_post(f"/_sandbox/{path}", self._control(action))
        router.add_get("/_sandbox/limits", self._limits)
        pages.add_routes(router, self.cloud)
        router.add_post("/_sandbox/widget", self._control(host.add_routes(router, self.cloud).upload))
        router.add_get("/attachments/{key}/{name}", self._get_file)
        for path in (SCOPE, f"{SCOPE}/{{tail:.+}}"):
            router.add_route("*", path, self._chats)
        consent.add_routes(router, self.cloud)
        drive.add_routes(router, self.cloud)
        router.add_post("/{host}/oauth2/access_token", self._token)
        router.add_get("/{host}/oauth2/account/current/subdomain", self._subdomain)
        router.add_route("*", "/{host}/api/v4/{path:.*}", self._rest)

    async def ready(self) -> None:
        """Open the chats port; seed one account, one integration and one channel."""
        self._chats_port = await self.listen()
        self.cloud.chats_url = f"http://127.0.0.1:{self._chats_port}"
        self._seed()

    def _seed(self) -> None:
        self.cloud.open_account("acme", name="acme")
        integration = self.cloud.add_integration()
        self.cloud.add_channel(integration.client_id, "VK")

    def credentials(self) -> dict[str, Any]:
        """Tell the seeded account, integration and channel, and where everything is."""
        cloud = self.cloud
        account, integration = next(iter(cloud.accounts.values())), next(iter(cloud.integrations.values()))
        return {
            "base_url": self.base_url,
            "account_url": f"{self.base_url}/{{host}}",
            "chats_url": cloud.chats_url,
            "consent_url": f"{cloud.url('www.amocrm.ru')}/oauth",
            "account": control.describe(cloud, account),
            "integration": control.describe_integration(integration),
            "channels": [
                control.describe_channel(one)
                for one in cloud.channels.values()
                if one.client_id == integration.client_id
            ],
            "page": f"{self.base_url}/pages/{account.host}",
        }

    async def say(self, body: dict[str, Any]) -> dict[str, Any]:
        """Let a manager answer, write first, type, react or close."""
        return await saying.say(self.cloud, body)

    async def make(self, body: dict[str, Any]) -> dict[str, Any]:
        """Make one more account, with an integration and channels of its own unless client_id names one."""
        return await control.make(self.cloud, body)

    async def forget(self, *, everything: bool) -> None:
        """Forget talks, leads and counters; with `everything` also the accounts, back to the seed."""
        self.cloud.limits.clear()
        self.cloud.downloads.cancel()
        for account in self.cloud.accounts.values():
            account.forget()
        if everything:
            self._back_to_seed()

    def _back_to_seed(self) -> None:
        """Keep host, ids and keys of the seed, forget the rest."""
        cloud = self.cloud
        account, integration = next(iter(cloud.accounts.values())), next(iter(cloud.integrations.values()))
        channel = next(iter(cloud.channels.values()))
        for memory in (cloud.accounts, cloud.integrations, cloud.channels, cloud.access, cloud.refresh, cloud.codes):
            memory.clear()
        cloud.old_hosts.clear()
        cloud.drive.clear()
        cloud.reseed(account, integration, channel)

    async def account_of(self, request: web.Request) -> str:
        """Tell whose host, or whose scope, a request names."""
        if self._is_chats(request):
            link = self.cloud.connection(request.match_info.get("scope", ""))
            return link.account.host if link else ""
        return request.match_info.get("host", "")

    def _is_chats(self, request: web.Request) -> bool:
        return local_port(request) == self._chats_port

    def faults_changed(self, changed: Mapping[str, Any]) -> None:
        """Expire every access token when told so."""
        if changed.get("expire_tokens"):
            self.cloud.expire_tokens()

    def fault_answer(self, kind: str) -> web.Response:
        """Answer as the service in trouble does."""
        if kind == "rate_limit":
            return json_answer({**RATE_BODY, "detail": "Too Many Requests"}, 429)
        if kind == "error":
            return json_answer({"title": "ErrInternalServer", "status": 500, "trace_id": "sandbox"}, 500)
        page = "<html><head><title>504 Gateway Time-out</title></head><body></body></html>"
        return web.Response(status=504, text=page, content_type="text/html")

    # -- OAuth -------------------------------------------------------------------------------------------------------

    async def _token(self, request: web.Request) -> web.StreamResponse:
        account = self.cloud.by_host(request.match_info["host"])
        try:
            self.cloud.limits.check_ban(request.remote or "")
            answer = oauth.token_answer(self.cloud, account, await _fields(request))
        except Refusal as refusal:
            self.cloud.record("oauth", account, status=refusal.status, code=refusal.code)
            return refusal.answer()
        self.cloud.record("oauth", account, status=200, code="")
        return json_answer(answer)

    async def _subdomain(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["host"] not in API_DOMAINS.values():
            return not_found().answer()
        try:
            return json_answer(oauth.present_domain(self.cloud, request.headers.get("X-Refresh-Token", "")))
        except Refusal as refusal:
            return refusal.answer()

    # -- REST v4 -----------------------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        host, path = request.match_info["host"], request.match_info["path"].strip("/")
        account = self.cloud.by_host(host)
        asked = rest.Request(
            request.method, path, request.query_string, await request.read(), request.headers, request.remote or ""
        )
        try:
            if account is None and host in self.cloud.old_hosts:
                raise Refusal(self.cloud.accounts[self.cloud.old_hosts[host]].options.moved_status, "Account not found")
            made = rest.answer(self.cloud, account, asked, api.TABLE)
        except Refusal as refusal:
            self.cloud.record(
                "refusal", account, method=f"{request.method} {path}", status=refusal.status, code=refusal.code
            )
            return refusal.answer()
        self.cloud.record("call", account, method=f"{request.method} {path}", status=made.status)
        if made.body is None:
            return web.Response(status=made.status)
        response = json_answer(made.body, made.status)
        response.content_type = "application/hal+json"
        return response

    # -- chats -------------------------------------------------------------------------------------------------------

    async def _chats(self, request: web.Request) -> web.StreamResponse:
        scope, tail, body = request.match_info["scope"], request.match_info.get("tail", ""), await request.read()
        if not self._is_chats(request):
            raise web.HTTPNotFound
        link = self.cloud.connection(scope)
        try:
            made = self._chats_answer(request, scope, tail, body)
        except ChatsRefusal as refusal:
            account = link.account if link else None
            self.cloud.record(
                "refusal",
                account,
                method=f"{request.method} {tail}",
                status=refusal.status,
                code=refusal.code,
                text=refusal.detail,
            )
            return refusal.answer()
        return made

    def _chats_answer(self, request: web.Request, scope: str, tail: str, body: bytes) -> web.Response:
        channel = self.cloud.channels.get(scope.partition("_")[0])
        if channel is None:
            raise chats.not_registered()
        signing.check(channel.secret, request.method, request.headers, request.rel_url.raw_path, body, self.now())
        call = Call(self.cloud, channel, _object(request.method, body), request.query, self.cloud.connection(scope))
        return _chats_route(call, request.method, tail)

    async def _limits(self, request: web.Request) -> web.StreamResponse:
        return json_answer({"rates": self.cloud.limits.rates, "counters": self.cloud.limits.show()})


def _chats_route(call: Call, method: str, tail: str) -> web.Response:
    """Choose by method and what follows the scope."""
    parts = tail.split("/") if tail else []
    match (method, parts):
        case ("POST", ["connect"]):
            return json_answer(chats.connect(call))
        case ("DELETE", ["disconnect"]):
            chats.disconnect(call)
            return web.Response(status=200)
        case ("POST", []):
            return json_answer(chats.post(call) or {})
        case ("POST", ["chats"]):
            return json_answer(chats.create_chat(call))
        case ("GET", ["chats", chat_id, "history"]):
            found = chat_marks.history(call, chat_id)
            return json_answer(found) if found else web.Response(status=204)
        case ("POST", ["typing"]):
            chat_marks.typing(call)
            return web.Response(status=204)
        case ("POST", ["react"]):
            chat_marks.react(call)
            return web.Response(status=200)
        case ("POST", [message_id, "delivery_status"]):
            chat_marks.delivery_status(call, message_id)
            return web.Response(status=200)
    raise ChatsRefusal(404, "NOT_FOUND", f"Cannot {method} {tail}")


def _object(method: str, body: bytes) -> Reader:
    if method == "GET":
        return Reader({})
    try:
        return Reader(json.loads(body))
    except ValueError as trouble:
        raise bad_data("body is not valid JSON") from trouble


async def _fields(request: web.Request) -> Mapping[str, object]:
    """Read JSON or a form (1.4)."""
    raw = await request.read()
    if request.content_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(raw.decode(errors="replace"), keep_blank_values=True))
    try:
        body = json.loads(raw or b"{}")
    except ValueError as trouble:
        raise Refusal(400, "Request data is not valid JSON") from trouble
    return body if isinstance(body, dict) else {}
