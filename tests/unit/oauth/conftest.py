"""An OAuth server of one's own, over real HTTP, and an end that has tokens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from redis import Redis
from sqlalchemy import create_engine

from oauth import store
from oauth.grants import Grant
from widget_backend import clock, crypto, ids, outside
from widget_backend.accounts.models import Account, App
from widget_backend.bridge import life, runtime
from widget_backend.bridge.tenancy import transaction
from widget_backend.config import Config
from widget_backend.crypto import Secret


@dataclass
class OAuthServer:
    """Rotates pairs strictly: a refresh token works once. `error` answers every refresh with that code."""

    url: str = ""
    refresh: str = "refresh-1"
    count: int = 0
    delay_s: float = 0.0
    error: str = ""
    seen: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.seen.append({"path": path, **query})
        time.sleep(self.delay_s)
        with self.lock:
            if self.error:
                return 400, {"error": self.error, "error_description": ""}
            if query.get("refresh_token") != self.refresh:
                return 400, {"error": "invalid_grant", "error_description": ""}
            self.count += 1
            self.refresh = f"refresh-{self.count + 1}"
            return 200, {
                "access_token": f"access-{self.count + 1}",
                "refresh_token": self.refresh,
                "expires_in": 3600,
                "domain": "oauth.test",
                "server_endpoint": f"{self.url}/rest/",
                "client_endpoint": "https://acme.bitrix24.ru/rest/",
                "member_id": "m1",
            }


@dataclass(frozen=True)
class TokenedEnd:
    """A connection with a pair: access-1, refresh-1."""

    account_id: UUID
    end_id: UUID
    app_id: UUID


@pytest.fixture
def oauth_server() -> Iterator[OAuthServer]:
    """Give an OAuth server on a free port."""
    state = OAuthServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            status, body = state.answer(parts.path, {k: v[0] for k, v in parse_qs(parts.query).items()})
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args: Any) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def world(db: Any, config: Config, redis: Redis[bytes], oauth_server: OAuthServer) -> Iterator[Config]:
    """Let this process reach the database and that server."""
    servers = {**config.servers, ("bitrix24", "oauth_urls"): (oauth_server.url,)}
    local = replace(config, servers=servers)
    engine = create_engine(config.database_url, pool_size=30)
    runtime.configure(local, engine, redis)
    outside.configure(outside.Settings(user_agent="mostik/test", private_hosts=("127.0.0.1",), valkey=redis))
    yield local
    engine.dispose()


@pytest.fixture
def end(world: Config, oauth_server: OAuthServer) -> TokenedEnd:
    """Give a connection that has been granted access."""
    account_id, app_id = ids.new_id(), ids.new_id()
    with transaction(account_id) as session:
        session.add(Account(id=account_id, name="acme"))
        session.flush()
        session.add(
            App(
                id=app_id,
                adapter="bitrix24",
                key=ids.new_key(),
                client_id="app.1",
                secret=crypto.seal_text("the secret", f"app:{app_id}"),
            )
        )
    end_id = life.create(account_id, "bitrix24", remote_id="m1", app_id=app_id)
    grant = Grant(
        access=Secret("access-1"), refresh=Secret("refresh-1"), expires_at=clock.now(), endpoint=oauth_server.url
    )
    store.save(account_id, end_id, provider="bitrix24", app_id=app_id, grant=grant)
    return TokenedEnd(account_id, end_id, app_id)
