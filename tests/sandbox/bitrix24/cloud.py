"""The vendor's side: applications, portals, tokens. One `Cloud` per sandbox; the portals' inner life is elsewhere."""

from __future__ import annotations

import secrets
from typing import Any

from tests.sandbox.bitrix24 import lines
from tests.sandbox.bitrix24.limits import Limits
from tests.sandbox.bitrix24.state import (
    ACCESS_LIFE_S,
    CODE_LIFE_S,
    REFRESH_LIFE_S,
    App,
    Code,
    Install,
    Options,
    Portal,
    Token,
    User,
)
from tests.sandbox.frame import Peer

SCOPE_SEPARATOR = ","


class Cloud:
    """Everything the simulated vendor knows."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.limits = Limits(peer.now)
        self.oauth_urls: list[str] = []
        self.apps: dict[str, App] = {}
        self.portals: dict[str, Portal] = {}
        self.member_by_port: dict[int, str] = {}
        self.access: dict[str, Token] = {}
        self.refresh: dict[str, Token] = {}
        self.codes: dict[str, Code] = {}

    @property
    def server_endpoint(self) -> str:
        """SERVER_ENDPOINT: where tokens are checked and refreshed."""
        return f"{self.oauth_urls[0]}/rest/"

    def record(self, kind: str, portal: Portal | None = None, **values: Any) -> None:
        """Write into the ledger and wake the pages that show the portal."""
        self.peer.ledger.add(kind, account=portal.member_id if portal else "", **values)
        if portal:
            portal.version += 1

    # -- portals and applications ------------------------------------------------------------------------------------

    async def open_portal(self, title: str = "acme", options: Options | None = None) -> Portal:
        """Make a portal on its own port with an administrator, two operators and one open line."""
        portal = Portal(secrets.token_hex(16), title, secrets.token_hex(8), options=options or Options())
        await self.move(portal)
        self._furnish(portal)
        return portal

    async def back_to_seed(self) -> None:
        """Keep the first portal's address and the first application's keys, forget the rest."""
        old, app = next(iter(self.portals.values())), next(iter(self.apps.values()))
        self.portals.clear()
        self.apps = {app.client_id: App(app.client_id, app.client_secret, app.title)}
        for memory in (self.access, self.refresh, self.codes):
            memory.clear()
        self._furnish(Portal(old.member_id, old.title, old.webhook_code, old.domain))

    def _furnish(self, portal: Portal) -> None:
        portal.users = {
            1: User(1, "Мария", "Админ", is_admin=True, email="admin@acme.example"),
            27: User(27, "Анна", "Оператор", email="anna@acme.example"),
            103: User(103, "Иван", "Оператор", email="ivan@acme.example"),
        }
        lines.add(
            portal,
            {
                "LINE_NAME": "Открытая линия 1",
                "QUEUE": [{"ENTITY_TYPE": "user", "ENTITY_ID": "27"}, {"ENTITY_TYPE": "user", "ENTITY_ID": "103"}],
                "WELCOME_MESSAGE": "N",
                "VOTE_MESSAGE": "N",
                "CLOSE_RULE": "none",
            },
            creator=1,
        )
        self.portals[portal.member_id] = portal

    async def move(self, portal: Portal) -> None:
        """Give the portal a new address; the old one answers 302 from now on (bitrix24.md 2)."""
        port = await self.peer.listen()
        self.member_by_port[port] = portal.member_id
        portal.domain = f"127.0.0.1:{port}"

    def add_app(self, title: str, *, portal: Portal | None = None, **urls: str) -> App:
        """Make an application: of the catalogue, or local to one portal, with keys that look so (bitrix24.md 1.1).

        Shape: urls = app_url, install_url, event_url, redirect_url.
        """
        head = "local" if portal else "app"
        client_id = f"{head}.{secrets.token_hex(7)}.{secrets.randbelow(10**8):08d}"
        app = App(client_id, secrets.token_hex(25), title, portal=portal.member_id if portal else "")
        for name, value in urls.items():
            setattr(app, name, value)
        self.apps[client_id] = app
        return app

    def apps_of(self, portal: Portal) -> list[App]:
        """List what the portal may install."""
        return [app for app in self.apps.values() if app.portal in ("", portal.member_id)]

    # -- tokens ------------------------------------------------------------------------------------------------------

    def issue(self, app: App, portal: Portal, user_id: int) -> Token:
        """Make a new pair of tokens."""
        now = self.peer.now()
        token = Token(
            access=secrets.token_hex(20),
            refresh=secrets.token_hex(20),
            client_id=app.client_id,
            member_id=portal.member_id,
            user_id=user_id,
            scopes=app.scopes,
            expires_at=now + ACCESS_LIFE_S,
            refresh_expires_at=now + REFRESH_LIFE_S,
        )
        self.access[token.access] = token
        self.refresh[token.refresh] = token
        return token

    def issue_code(self, app: App, portal: Portal, user_id: int) -> str:
        """Make a one-time code that lives 30 s."""
        code = secrets.token_hex(20)
        self.codes[code] = Code(app.client_id, portal.member_id, user_id, self.peer.now() + CODE_LIFE_S)
        return code

    def expire_tokens(self, member_id: str = "") -> None:
        """Let every access token (of one portal) be expired at once."""
        for token in self.access.values():
            if member_id in ("", token.member_id):
                token.expires_at = min(token.expires_at, self.peer.now() - 1)

    def install_of(self, token: Token) -> Install | None:
        """Find the installation a token belongs to; None after the removal."""
        return self.portals[token.member_id].installs.get(token.client_id)

    def grant(self, token: Token) -> dict[str, object]:
        """Describe a pair of tokens as the OAuth server answers it (bitrix24.md 1.2 C)."""
        portal, app = self.portals[token.member_id], self.apps[token.client_id]
        return {
            "access_token": token.access,
            "refresh_token": token.refresh,
            "expires": int(token.expires_at),
            "expires_in": ACCESS_LIFE_S,
            "scope": SCOPE_SEPARATOR.join(token.scopes),
            "domain": self.oauth_urls[0].partition("//")[2],
            "server_endpoint": self.server_endpoint,
            "client_endpoint": portal.endpoint,
            "member_id": portal.member_id,
            "status": app.status,
            "user_id": token.user_id,
        }

    def find_portal(self, account: object) -> Portal | None:
        """Find a portal by member_id or domain; without a name, the first one."""
        if not account:
            return next(iter(self.portals.values()))
        for portal in self.portals.values():
            if account in (portal.member_id, portal.domain):
                return portal
        return None
