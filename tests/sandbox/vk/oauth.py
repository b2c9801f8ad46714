"""VK's sign-in pages: a community key by Authorization Code, and VK ID with PKCE (vk.md 1.2).

Any redirect_uri is trusted unless the fault own.trusted_redirects lists them; both steps must name the same one, letter
by letter. The consent page has two plain links, so a person or a test can press "allow" or "deny";
`&sandbox=allow|deny` in the address presses at once.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from tests.sandbox.frame import json_answer
from tests.sandbox.vk.state import ADMIN_ID, RIGHTS, Json

if TYPE_CHECKING:
    from tests.sandbox.vk.peer import VkPeer

CLIENT_ID = "51000001"
CLIENT_SECRET = "sandbox-secret-of-the-vk-app"
CODE_LIVES_S = 3600.0
VERIFIER = re.compile(r"^[A-Za-z0-9_-]{43,128}$")
PAGE = """<!doctype html><html lang="ru"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>VK — доступ</title><style>body{font:16px/1.5 system-ui;max-width:24rem;margin:12vh auto;padding:0 1rem}
a{display:inline-block;padding:.6rem 1.2rem;border-radius:.6rem;text-decoration:none;margin-right:.5rem}
.yes{background:#2688eb;color:#fff}.no{background:#e6e9ee;color:#222}</style>
<h1>Разрешить доступ?</h1><p>%s</p>
<p><a class="yes" id="allow" href="%s">Разрешить</a><a class="no" id="deny" href="%s">Отмена</a></p>"""


@dataclass(frozen=True, slots=True)
class Code:
    """A code that was given out, good once."""

    redirect_uri: str
    until: float
    group_ids: tuple[int, ...] = ()
    mask: int = 0
    challenge: str = ""
    device_id: str = ""
    scope: str = ""


class Doors:
    """OAuth of one twin."""

    def __init__(self, peer: VkPeer) -> None:
        self._peer = peer
        self._codes: dict[str, Code] = {}
        self._refresh: dict[str, tuple[str, str]] = {}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add oauth.vk.com under /oauth and id.vk.com under /id."""
        router.add_get("/oauth/authorize", self._authorize)
        router.add_route("*", "/oauth/access_token", self._access_token)
        router.add_get("/id/authorize", self._id_authorize)
        router.add_post("/id/oauth2/auth", self._id_token)

    def forget(self) -> None:
        """Forget codes."""
        self._codes.clear()
        self._refresh.clear()

    def _is_trusted(self, address: str) -> bool:
        trusted = self._peer.faults.own.get("trusted_redirects")
        parts = urlsplit(address)
        return address in trusted if trusted else parts.scheme in {"http", "https"} and bool(parts.netloc)

    # -- a community's key -------------------------------------------------------------------------------------------

    async def _authorize(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if query.get("client_id") != CLIENT_ID:
            return _refuse("invalid_client", "client_id is incorrect")
        if not self._is_trusted(query.get("redirect_uri", "")):
            return _refuse(
                "invalid_request", "redirect_uri is incorrect, check application redirect uri in the settings page"
            )
        if query.get("response_type") != "code" or not query.get("v"):
            return _refuse("invalid_request", "response_type must be code and v is required")
        ids = [int(one) for one in query.get("group_ids", "").split(",") if one.isdigit()]
        groups = [self._peer.world.communities.get(one) for one in ids]
        if not ids or any(one is None or ADMIN_ID not in one.admins for one in groups):
            return _refuse("invalid_request", "group_ids is incorrect or you are not an administrator")
        mask = read_scope(query.get("scope", ""))
        if mask is None:
            return _refuse("invalid_scope", "scope is incorrect")
        code = secrets.token_hex(32)
        until = self._peer.now() + CODE_LIVES_S
        names = ", ".join(html.escape(one.name) for one in groups if one)
        good = Code(query["redirect_uri"], until, tuple(ids), mask)
        return self._ask(request, code, good, f"Приложение просит ключ сообщества: {names}", {})

    def _ask(self, request: web.Request, code: str, made: Code, text: str, more: dict[str, str]) -> web.StreamResponse:
        self._codes[code] = made
        state = {"state": request.query["state"]} if "state" in request.query else {}
        allow = {"code": code, **more, **state}
        deny = {
            "error": "access_denied",
            "error_reason": "user_denied",
            "error_description": "User denied your request",
            **state,
        }
        to = {name: with_query(made.redirect_uri, values) for name, values in (("allow", allow), ("deny", deny))}
        pressed = request.query.get("sandbox", "")
        if pressed in to:
            return web.Response(status=302, headers={"Location": to[pressed]})
        links = (html.escape(to["allow"], quote=True), html.escape(to["deny"], quote=True))
        return web.Response(text=PAGE % (text, *links), content_type="text/html")

    def _take(self, code: str, redirect_uri: str) -> Code | None:
        """Use up a code; it dies by the first look, right or wrong."""
        made = self._codes.pop(code, None)
        if made is None or made.redirect_uri != redirect_uri or self._peer.now() > made.until:
            return None
        return made

    async def _access_token(self, request: web.Request) -> web.StreamResponse:
        given = dict(request.query) | {k: v for k, v in (await request.post()).items() if isinstance(v, str)}
        if given.get("client_id") != CLIENT_ID or given.get("client_secret") != CLIENT_SECRET:
            return _refuse("invalid_client", "client_secret is incorrect")
        code = self._take(given.get("code", ""), given.get("redirect_uri", ""))
        if code is None or not code.group_ids:
            return _refuse("invalid_grant", "Code is invalid or expired.")
        world = self._peer.world
        tokens = [(one, world.add_token("group", group_id=one, mask=code.mask)) for one in code.group_ids]
        groups = [{"group_id": group_id, "access_token": token.value} for group_id, token in tokens]
        return json_answer({"groups": groups, "expires_in": 0})

    # -- VK ID -------------------------------------------------------------------------------------------------------

    async def _id_authorize(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if query.get("client_id") != CLIENT_ID or not self._is_trusted(query.get("redirect_uri", "")):
            return _refuse("invalid_client", "client_id or redirect_uri is incorrect")
        if query.get("response_type") != "code" or not query.get("state"):
            return _refuse("invalid_request", "response_type must be code and state is required")
        if query.get("code_challenge_method", "").lower() != "s256" or not query.get("code_challenge"):
            return _refuse("invalid_request", "code_challenge is required")
        code, device_id = "vk2.a." + secrets.token_urlsafe(40), secrets.token_urlsafe(24)
        until, scope = self._peer.now() + CODE_LIVES_S, query.get("scope", "")
        made = Code(query["redirect_uri"], until, challenge=query["code_challenge"], device_id=device_id, scope=scope)
        more = {"device_id": device_id, "type": "code_v2", "expires_in": "600"}
        return self._ask(request, code, made, "Приложение просит войти через VK ID", more)

    async def _id_token(self, request: web.Request) -> web.StreamResponse:
        given = {key: value for key, value in (await request.post()).items() if isinstance(value, str)}
        if given.get("client_id") != CLIENT_ID or not given.get("device_id"):
            return _refuse("invalid_request", "client_id or device_id is missing or invalid")
        if given.get("grant_type") == "refresh_token":
            known = self._refresh.pop(given.get("refresh_token", ""), None)
            if known is None or known[0] != given["device_id"]:
                return _refuse("invalid_grant", "refresh_token is invalid")
            return json_answer(self._tokens(given, known[1]))
        code = self._take(given.get("code", ""), given.get("redirect_uri", ""))
        verifier = given.get("code_verifier", "")
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        is_proven = code and VERIFIER.match(verifier) and digest == code.challenge.rstrip("=")
        if code is None or not is_proven or code.device_id != given["device_id"]:
            return _refuse("invalid_grant", "code, code_verifier or device_id is invalid")
        return json_answer(self._tokens(given, code.scope))

    def _tokens(self, given: dict[str, str], scope: str) -> Json:
        token = self._peer.world.add_token("user", user_id=ADMIN_ID)
        refresh = "vk2.a." + secrets.token_urlsafe(40)
        self._refresh[refresh] = (given["device_id"], scope)
        names = {"access_token": token.value, "refresh_token": refresh, "id_token": secrets.token_urlsafe(40)}
        rest = {"token_type": "Bearer", "expires_in": 3600, "user_id": ADMIN_ID, "scope": scope}
        return names | rest | {"state": given.get("state", "")}


def read_scope(scope: str) -> int | None:
    """Read names or a mask; None for an unknown name."""
    if scope.isdigit():
        return int(scope)
    names = [name for name in re.split(r"[,\s]+", scope) if name]
    return sum(RIGHTS[name] for name in set(names)) if all(name in RIGHTS for name in names) else None


def with_query(address: str, values: dict[str, str]) -> str:
    """Add parameters to an address."""
    return address + ("&" if urlsplit(address).query else "?") + urlencode(values)


def _refuse(error: str, text: str) -> web.Response:
    return json_answer({"error": error, "error_description": text}, status=401)
