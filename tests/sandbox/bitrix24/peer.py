"""The Bitrix24 twin: a control port, an OAuth server under two names, and portals on ports of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from aiohttp import web
from yarl import URL

from tests.sandbox.bitrix24 import control, pages, php, rest
from tests.sandbox.bitrix24.cloud import Cloud
from tests.sandbox.bitrix24.errors import RestError
from tests.sandbox.bitrix24.oauth import app_info, token_answer
from tests.sandbox.bitrix24.state import Portal
from tests.sandbox.frame import Options, Peer, json_answer, local_port

OAUTH_NAMES = 2
CATALOGUE_TITLE = "Mostik"


def make_peer(options: Options) -> Peer:
    """Make the peer; called by `python -m tests.sandbox`."""
    return Bitrix24Peer(options)


class Bitrix24Peer(Peer):
    """Portals, OAuth and control; what arrives is told apart by the port it came to."""

    name = "bitrix24"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.cloud = Cloud(self)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add OAuth, REST, files, pages and the twin's own control routes."""
        router.add_route("*", "/oauth/token/", self._oauth_token)
        router.add_get("/oauth/authorize/", self._oauth_authorize)
        router.add_route("*", "/rest/{path:.+}", self._rest)
        router.add_get("/~{key}", self._file)
        pages.add_routes(router, self.cloud, self.portal_of)
        for path, action in control.actions(self.cloud).items():
            router.add_post(f"/_sandbox/{path}", self._control(action))
        router.add_get("/_sandbox/limits", self._limits)

    async def ready(self) -> None:
        """Open the OAuth ports, and seed one portal and the catalogue application."""
        for _ in range(OAUTH_NAMES):
            self.cloud.oauth_urls.append(f"http://127.0.0.1:{await self.listen()}")
        self.cloud.add_app(CATALOGUE_TITLE)
        await self.cloud.open_portal()

    def credentials(self) -> dict[str, Any]:
        """Tell the seeded portal, the catalogue application's keys and where everything is."""
        portal, app = next(iter(self.cloud.portals.values())), next(iter(self.cloud.apps.values()))
        return {
            "base_url": self.base_url,
            "oauth_url": self.cloud.oauth_urls[0],
            "oauth_urls": self.cloud.oauth_urls,
            "portal": control.describe(portal),
            "client_id": app.client_id,
            "client_secret": app.client_secret,
            "page": f"{portal.base}/pages/portal",
            "frame_script": f"{self.base_url}/api/v1/",
        }

    async def say(self, body: dict[str, Any]) -> dict[str, Any]:
        """Let an operator answer, edit, delete or finish."""
        return await control.say(self.cloud, body)

    async def make(self, body: dict[str, Any]) -> dict[str, Any]:
        """Make one more portal; with local = {...} also a local application of it."""
        return await control.make(self.cloud, body)

    async def forget(self, *, everything: bool) -> None:
        """Forget talks and counters; with `everything` also portals and applications."""
        self.cloud.limits.clear()
        for portal in self.cloud.portals.values():
            for memory in (portal.chats, portal.chat_by_code, portal.sessions, portal.messages, portal.files):
                memory.clear()
            portal.seen_mids.clear()
            portal.notices.clear()
            portal.entities.clear()
            portal.version += 1
        if everything:
            await self.cloud.back_to_seed()

    async def account_of(self, request: web.Request) -> str:
        """Tell whose portal a request came to; the OAuth server is nobody's."""
        return "" if self._is_oauth(request) else self.cloud.member_by_port.get(local_port(request), "")

    def faults_changed(self, changed: Mapping[str, Any]) -> None:
        """Expire every access token when told so."""
        if changed.get("expire_tokens"):
            self.cloud.expire_tokens()

    def fault_answer(self, kind: str) -> web.Response:
        """Answer as the service in trouble does: JSON for its own limits, HTML from the server in front of it."""
        if kind == "rate_limit":
            return json_answer({"error": "QUERY_LIMIT_EXCEEDED", "error_description": "Too many requests"}, 503)
        if kind == "error":
            text = "Internal server error"
            return json_answer({"error": "INTERNAL_SERVER_ERROR", "error_description": text}, 500)
        page = "<html><head><title>503 Service Temporarily Unavailable</title></head><body></body></html>"
        return web.Response(status=503, text=page, content_type="text/html")

    def portal_of(self, request: web.Request) -> Portal:
        """Find the portal by the port the request came to. Raises HTTPFound when the portal has moved."""
        port = local_port(request)
        portal = self.cloud.portals.get(self.cloud.member_by_port.get(port, ""))
        if portal is None:
            raise web.HTTPNotFound(text="no portal at this address")
        if portal.domain != f"127.0.0.1:{port}":
            raise web.HTTPFound(f"{portal.base}{request.path_qs}")
        return portal

    async def _oauth_token(self, request: web.Request) -> web.StreamResponse:
        fields = {key: php.text(value) for key, value in (await _parameters(request)).items()}
        if not self._is_oauth(request):
            portal = self.portal_of(request)
            if "client_secret" in fields:
                self.cloud.record("violation", portal, text="client_secret was sent to a portal host")
            raise web.HTTPNotFound(text="this box has no OAuth server")
        grant_type = fields.get("grant_type", "")
        try:
            answer = token_answer(self.cloud, fields)
        except RestError as refusal:
            self.cloud.record("oauth", method=grant_type, status=refusal.status, code=refusal.code)
            return json_answer(refusal.body(), refusal.status)
        portal = self.cloud.portals[str(answer["member_id"])]
        self.cloud.record("oauth", portal, method=grant_type, status=200, code="")
        return json_answer(answer)

    async def _oauth_authorize(self, request: web.Request) -> web.StreamResponse:
        """Send the administrator back with a code; errors are pages of the portal, never redirects."""
        portal = self.portal_of(request)
        app = self.cloud.apps.get(request.query.get("client_id", ""))
        if app is None or app.client_id not in portal.installs or not app.redirect_url:
            raise web.HTTPBadRequest(text="Приложение не найдено на этом портале")
        query = {
            "code": self.cloud.issue_code(app, portal, portal.admin.id),
            "state": request.query.get("state", ""),
            "domain": portal.domain,
            "member_id": portal.member_id,
            "scope": ",".join(app.scopes),
            "server_domain": self.cloud.oauth_urls[0].partition("//")[2],
        }
        raise web.HTTPFound(URL(app.redirect_url).update_query(query))

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        params = await _parameters(request)
        if self._is_oauth(request):
            try:
                if path.strip("/") != "app.info":
                    raise RestError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
                return json_answer(app_info(self.cloud, php.text(params.get("auth"))))
            except RestError as refusal:
                return json_answer(refusal.body(), refusal.status)
        portal = self.portal_of(request)
        status, body = await rest.answer(self.cloud, portal, rest.Request(path, params, request.remote or ""))
        response = json_answer(body, status)
        response.headers["Access-Control-Allow-Origin"] = "*"  # BX24.callMethod runs in the application's own page
        return response

    async def _file(self, request: web.Request) -> web.StreamResponse:
        portal = self.portal_of(request)
        if file := portal.files.get(request.match_info["key"]):
            headers = {"Content-Disposition": f"inline; filename*=UTF-8''{quote(file.name)}"}
            return web.Response(body=file.content, content_type=file.mime, headers=headers)
        raise web.HTTPNotFound(text="no such file")

    async def _limits(self, request: web.Request) -> web.StreamResponse:
        violations = [item for item in self.ledger.items if item["kind"] == "violation"]
        warnings = [item for item in self.ledger.items if item["kind"] == "warning"]
        return json_answer({"buckets": self.cloud.limits.show(), "violations": violations, "warnings": len(warnings)})

    def _is_oauth(self, request: web.Request) -> bool:
        return f"http://127.0.0.1:{local_port(request)}" in self.cloud.oauth_urls


async def _parameters(request: web.Request) -> dict[str, object]:
    """Read query, form, multipart or JSON, all nested as PHP would."""
    params = php.parse(request.query_string)
    if not request.can_read_body:
        return params
    if request.content_type == "application/json":
        try:
            body = await request.json()
        except ValueError:
            return params
        return params | (body if isinstance(body, dict) else {})
    fields = [(key, value) for key, value in (await request.post()).items() if isinstance(value, str)]
    return params | php.nest(fields)
