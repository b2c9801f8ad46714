"""The vendor's side: accounts by host, integrations, channels, tokens. One `Cloud` per sandbox."""

from __future__ import annotations

import secrets
from typing import Any

from tests.sandbox.amocrm import jwt, seed
from tests.sandbox.amocrm.downloads import Downloads
from tests.sandbox.amocrm.limits import Limits
from tests.sandbox.amocrm.state import (
    ACCESS_LIFE_S,
    CODE_LIFE_S,
    REFRESH_LIFE_S,
    TOP_LEVEL,
    Account,
    Channel,
    Code,
    Connection,
    Integration,
    Token,
    new_uuid,
)
from tests.sandbox.frame import Peer

API_DOMAINS = {1: "api-a.amocrm.ru", 2: "api-c.kommo.com"}


class Cloud:
    """Everything the simulated vendor knows. Real-looking hosts stand as the first part of the path."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.limits = Limits(peer.now)
        self.chats_url = ""
        self.accounts: dict[int, Account] = {}
        self.old_hosts: dict[str, int] = {}  # of renamed accounts
        self.integrations: dict[str, Integration] = {}
        self.channels: dict[str, Channel] = {}
        self.access: dict[str, Token] = {}
        self.refresh: dict[str, Token] = {}
        self.codes: dict[str, Code] = {}
        self.drive: dict[str, dict[str, Any]] = {}  # files and upload sessions by uuid
        self.downloads = Downloads(self)
        self._key = secrets.token_hex(32)

    def url(self, host: str) -> str:
        """Return where a real-looking host answers."""
        return f"{self.peer.base_url}/{host}"

    def record(self, kind: str, account: Account | None = None, **values: Any) -> None:
        """Write into the ledger and wake the pages that show the account."""
        self.peer.ledger.add(kind, account=account.host if account else "", **values)
        if account:
            account.version += 1

    # -- finding -----------------------------------------------------------------------------------------------------

    def by_host(self, host: str) -> Account | None:
        """Find an account by its present host."""
        return next((account for account in self.accounts.values() if account.host == host), None)

    def find_account(self, named: object) -> Account | None:
        """Find an account by host, subdomain, id or amojo id; without a name, the first one."""
        if not named:
            return next(iter(self.accounts.values()))
        for account in self.accounts.values():
            if str(named) in (account.host, account.subdomain, str(account.id), account.amojo_id):
                return account
        return None

    def by_amojo_id(self, amojo_id: str) -> Account | None:
        """Find an account by its id in the chats API."""
        return next((account for account in self.accounts.values() if account.amojo_id == amojo_id), None)

    def connection(self, scope_id: str) -> Connection | None:
        """Find a connected channel by its scope."""
        channel_id, _, amojo_id = scope_id.partition("_")
        account = self.by_amojo_id(amojo_id)
        return account.connections.get(channel_id) if account else None

    # -- making ------------------------------------------------------------------------------------------------------

    def open_account(self, subdomain: str = "", *, platform: int = 1, name: str = "") -> Account:
        """Make an account with users, two pipelines and the usual fields."""
        number = 30_000_000 + secrets.randbelow(9_000_000)
        subdomain = subdomain or f"acme{number % 100_000}"
        account = Account(number, subdomain, name or subdomain.capitalize(), platform)
        seed.furnish(account)
        self.accounts[account.id] = account
        return account

    def reseed(self, account: Account, integration: Integration, channel: Channel) -> None:
        """Make the seed anew under the same names and keys."""
        fresh = Account(account.id, "acme", "acme", amojo_id=account.amojo_id, uuid=account.uuid)
        seed.furnish(fresh)
        self.accounts[fresh.id] = fresh
        keys = (integration.client_id, integration.client_secret, integration.title)
        self.integrations[keys[0]] = Integration(*keys, widget_code=integration.widget_code)
        kept = Channel(channel.id, channel.secret, channel.code, channel.title, keys[0], bot_id=channel.bot_id)
        self.channels[kept.id] = kept

    def add_integration(self, title: str = "Mostik", **values: Any) -> Integration:
        """Make an integration with keys that look so."""
        made = Integration(new_uuid(), secrets.token_urlsafe(48), title, **values)
        made.widget_code = made.widget_code or f"w{secrets.token_hex(8)}"
        self.integrations[made.client_id] = made
        return made

    def add_channel(self, client_id: str, title: str = "VK", **values: Any) -> Channel:
        """Register a chat channel, as support does (2.1)."""
        code = f"amo.ext.{secrets.token_hex(4)}"
        made = Channel(new_uuid(), secrets.token_hex(20), code, title, client_id, **values)
        self.channels[made.id] = made
        return made

    # -- tokens ------------------------------------------------------------------------------------------------------

    def issue_code(self, integration: Integration, account: Account, user_id: int) -> str:
        """Make a one-time code that lives 20 minutes."""
        code = f"def502{secrets.token_hex(180)}"
        until = self.peer.now() + CODE_LIFE_S
        self.codes[code] = Code(integration.client_id, account.id, user_id, until)
        return code

    def issue(self, integration: Integration, account: Account, user_id: int) -> Token:
        """Make a new pair of tokens."""
        now = self.peer.now()
        claims = {
            "aud": integration.client_id,
            "jti": secrets.token_hex(16),
            "iat": int(now),
            "nbf": int(now),
            "exp": int(now) + ACCESS_LIFE_S,
            "sub": str(user_id),
            "grant_type": "",
            "account_id": account.id,
            "base_domain": account.host.partition(".")[2],
            "version": 2,
            "scopes": list(integration.scopes),
            "api_domain": API_DOMAINS[account.platform],
        }
        token = Token(
            access=jwt.encode(claims, self._key),
            refresh=f"def502{secrets.token_hex(300)}",
            client_id=integration.client_id,
            account_id=account.id,
            user_id=user_id,
            scopes=integration.scopes,
            expires_at=now + ACCESS_LIFE_S,
            refresh_expires_at=now + REFRESH_LIFE_S,
        )
        self.access[token.access] = token
        self.refresh[token.refresh] = token
        return token

    def grant(self, token: Token) -> dict[str, object]:
        """Describe a pair as the token endpoint answers it (1.4)."""
        return {
            "token_type": "Bearer",
            "expires_in": ACCESS_LIFE_S,
            "server_time": int(self.peer.now()),
            "access_token": token.access,
            "refresh_token": token.refresh,
        }

    def tokens_of(self, client_id: str, account_id: int) -> list[Token]:
        """List the living pairs of an installation."""
        return [
            token
            for token in self.access.values()
            if (token.client_id, token.account_id) == (client_id, account_id) and not token.is_revoked
        ]

    def expire_tokens(self, account_id: int = 0) -> None:
        """Let every access token (of one account) be expired at once."""
        for token in self.access.values():
            if account_id in (0, token.account_id):
                token.expires_at = min(token.expires_at, self.peer.now() - 1)

    def one_time_token(self, integration: Integration, account: Account, user_id: int, **over: Any) -> str:
        """Make the token that $authorizedAjax puts into X-Auth-Token (1.8); `over` replaces claims, alg and key."""
        now, user = int(self.peer.now()), account.users[user_id]
        claims = {
            "iss": f"https://{account.host}",
            "aud": audience(integration.redirect_uri),
            "jti": new_uuid(),
            "iat": now,
            "nbf": now,
            "exp": now + 1800,
            "account_id": account.id,
            "user_id": user_id,
            "subdomain": account.subdomain,
            "client_uuid": integration.client_id,
            "top_level_domain": TOP_LEVEL[account.platform],
            "is_admin": user.is_admin,
        }
        return self._signed(integration, claims, "HS256", over)

    def bot_token(self, integration: Integration, account: Account, url: str, **over: Any) -> str:
        """Make the token of a Salesbot's widget_request (1.8)."""
        now = int(self.peer.now())
        claims = {
            "iss": f"https://{account.host}",
            "aud": audience(url),
            "jti": new_uuid(),
            "iat": now,
            "nbf": now,
            "exp": now + 1800,
            "account_id": account.id,
            "subdomain": account.subdomain,
            "client_uuid": integration.client_id,
            "bot_type": "salesbot",
            "entity_type": "leads",
            "entity_id": 0,
        }
        return self._signed(integration, claims, "HS512", over)

    def _signed(self, integration: Integration, claims: dict[str, Any], algorithm: str, over: dict[str, Any]) -> str:
        key = str(over.pop("key", integration.client_secret))
        algorithm = str(over.pop("alg", algorithm))
        told = {name: value for name, value in {**claims, **over}.items() if value is not None}
        return jwt.encode(told, key, algorithm)


def audience(url: str) -> str:
    """scheme://host of an address."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
