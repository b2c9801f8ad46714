"""The whole product as processes: engines, sandbox, web, workers, cron, in a folder of its own, for tests, chaos runs and measurements.

Nothing here is simulated but the outside world. Every process can be killed and is started again by `Stack.tend`, as the supervisor would.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import requests
from flask import Flask

from widget_backend import create_app, crypto, engines, files, ids, local_secrets, outside, processes
from widget_backend.accounts.models import Account, App
from widget_backend.bridge import runtime
from widget_backend.config import Config
from widget_backend.crypto import Secret
from widget_backend.database import migrate_schema
from widget_backend.extensions import db
from widget_backend.local_secrets import free_port

ROOT = Path(__file__).parent.parent
FAST = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=128MB")
Json = dict[str, Any]


@dataclass
class Process:
    """One process of the stack and how to start it again."""

    name: str
    command: list[str]
    environ: dict[str, str] | None = None
    as_nobody: bool = False
    running: subprocess.Popen[bytes] | None = None
    starts: int = 0
    before: Callable[[], None] | None = None


@dataclass
class Stack:
    """A running product. `peers` are the sandbox's addresses and credentials."""

    var: Path
    config: Config
    app: Flask
    peers: Json
    processes: dict[str, Process] = field(default_factory=dict)
    tending: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where the web answers."""
        return self.config.public_url

    def log(self, name: str) -> Path:
        """Return the log of a process."""
        return self.var / f"{name}.log"

    def start(self, name: str) -> None:
        """Start a process of the stack."""
        process = self.processes[name]
        if process.before is not None:
            process.before()

        def prepare() -> None:
            if process.as_nobody:
                engines.drop_root("nobody")
            processes.die_with_parent()

        with self.log(name).open("ab") as output:
            process.running = subprocess.Popen(
                process.command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=process.environ,
                preexec_fn=prepare,
                cwd="/" if process.as_nobody else ROOT,
            )
        process.starts += 1

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Kill a process as power loss would."""
        running = self.processes[name].running
        if running is not None and running.poll() is None:
            running.send_signal(number)
            running.wait(60)

    def tend(self) -> None:
        """Start again whatever dies, until `tending` is cleared; a second after its death, as a supervisor does."""
        self.tending.set()

        def loop() -> None:
            while self.tending.is_set():
                for name, process in self.processes.items():
                    if process.running is not None and process.running.poll() is not None and self.tending.is_set():
                        self.start(name)
                time.sleep(0.3)

        threading.Thread(target=loop, daemon=True).start()

    def stop(self) -> None:
        """End everything."""
        self.tending.clear()
        time.sleep(0.4)
        for name in reversed(list(self.processes)):
            self.kill(name)

    # ------------------------------------------------------------------------------------------------ the outside world

    def control(self, peer: str, action: str, **body: Any) -> Json:
        """Ask a simulated peer for something over its control interface."""
        answer = requests.post(f"{self.peers[peer]['base_url']}/_sandbox/{action}", json=body, timeout=30)
        assert answer.ok, (peer, action, answer.status_code, answer.text)
        return dict(answer.json())

    def look(self, peer: str, action: str) -> Json:
        """Read from a peer's control interface."""
        answer = requests.get(f"{self.peers[peer]['base_url']}/_sandbox/{action}", timeout=30)
        assert answer.ok, (peer, action, answer.status_code, answer.text)
        return dict(answer.json())

    def ledger(self, peer: str, *kinds: str) -> list[Json]:
        """Return what a peer received or showed, in order."""
        return [item for item in self.look(peer, "ledger")["items"] if not kinds or item["kind"] in kinds]

    # -------------------------------------------------------------------------------------------------------- set-up

    def make_account(self, name: str = "acme") -> UUID:
        """Make an account."""
        with self.app.app_context():
            account = Account(name=name)
            db.session.add(account)
            db.session.commit()
            return account.id

    def connect_vk(self, account_id: UUID, community: Mapping[str, Any] | None = None, **settings: object) -> UUID:
        """Connect a VK community as its admin would; without one, the seeded one."""
        from widget_backend.bridge import life

        token = (community or self.peers["vk"])["token"]
        end_id = life.create(account_id, "vk", settings=settings, secrets={"token": token})
        life.connect(account_id, end_id)
        return end_id

    def connect_bitrix24(self, account_id: UUID, portal: Mapping[str, Any] | None = None) -> UUID:
        """Install the catalogue app on a portal and go live on its first line; without a portal, on the seeded one."""
        import oauth.store as store
        from oauth.grants import Grant
        from widget_backend.bridge import life

        peer = self.peers["bitrix24"]
        portal = portal or peer["portal"]
        app_id = self._app_id(peer)
        member_id = portal["member_id"]
        urls = {"install_url": f"{self.url}/install", "handler_url": f"{self.url}/handler"}
        form = self.control("bitrix24", "install", account=member_id, app=peer["client_id"], **urls)["fields"]
        end_id = life.create(
            account_id,
            "bitrix24",
            settings={
                "domain": portal["domain"],
                "client_endpoint": portal["client_endpoint"],
                "server_endpoint": form["SERVER_ENDPOINT"],
                "line": str(portal.get("lines", [1])[0]),
                "pages_url": f"{self.url}/embedded/bitrix24",
            },
            secrets={"application_token": form["APPLICATION_TOKEN"]},
            remote_id=member_id,
            app_id=app_id,
        )
        grant = Grant(
            access=Secret(form["AUTH_ID"]),
            refresh=Secret(form["REFRESH_ID"]),
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            endpoint=form["SERVER_ENDPOINT"],
        )
        store.save(account_id, end_id, provider="bitrix24", app_id=app_id, grant=grant)
        life.connect(account_id, end_id)
        self.control("bitrix24", "install-finish", account=member_id, app=peer["client_id"])
        return end_id

    def _app_id(self, peer: Mapping[str, Any]) -> UUID:
        with self.lock, self.app.app_context():
            known = db.session.query(App).filter_by(adapter="bitrix24", client_id=peer["client_id"]).first()
            if known is None:
                id = ids.new_id()
                secret = crypto.seal_text(peer["client_secret"], f"app:{id}")
                known = App(id=id, adapter="bitrix24", key=ids.new_key(), client_id=peer["client_id"], secret=secret)
                db.session.add(known)
                db.session.commit()
            return known.id


def wait_for(condition: Callable[[], Any], *, within_s: float = 20, every_s: float = 0.05, what: str = "") -> Any:
    """Wait until a condition holds; return what it gave. Raises: AssertionError after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within_s} s: {what or condition}"
        time.sleep(every_s)


@contextmanager
def running(
    commands: Mapping[str, list[str]] | None = None, *, is_durable: bool = False, **settings: str
) -> Iterator[Stack]:
    """Run a whole product with the sandbox; settings are environment variables, `commands` replace those of processes by name.

    With `is_durable` PostgreSQL waits for the disk, as in production.
    """
    folder = Path(tempfile.mkdtemp(prefix="mostik-stack-"))
    folder.chmod(0o755)
    stack: Stack | None = None
    before = (runtime._runtime, crypto._ring, files._store, outside._setup)
    try:
        stack = _start(folder, settings, commands or {}, () if is_durable else FAST)
        yield stack
    finally:
        runtime._runtime, crypto._ring, files._store, outside._setup = (
            before  # a stack within another one ends without a trace
        )
        if stack is not None:
            stack.stop()
        if not os.environ.get("MOSTIK_TEST_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, settings: Mapping[str, str], commands: Mapping[str, list[str]], speed: Sequence[str]) -> Stack:
    postgres, valkey = engines.prepare_postgres(folder, "nobody"), engines.prepare_valkey(folder)
    data = engines.postgres_data(folder, "nobody")
    parts = {
        "postgres": Process(
            "postgres",
            [*engines.postgres_command(folder, "nobody"), *speed],
            as_nobody=True,
            before=lambda: engines.clear_leftovers(data),
        ),
        "valkey": Process("valkey", engines.valkey_command(folder)),
    }
    stack = Stack(folder, None, None, {}, parts)  # type: ignore[arg-type]
    try:
        stack.start("postgres")
        stack.start("valkey")
        parts["sandbox"] = Process("sandbox", [sys.executable, "-m", "tests.sandbox", "--json"])
        stack.start("sandbox")
        engines.wait_postgres(postgres)
        engines.wait_valkey(valkey)
        engines.ensure_roles(postgres)
        stack.peers = wait_for(lambda: _peers(stack.log("sandbox")), within_s=30, what="the sandbox")
        environ = _environ(folder, postgres, valkey, stack.peers) | settings
        stack.config = Config.from_env(environ)
        migrate_schema(stack.config)
        (folder / "metrics").mkdir()
        stack.app = create_app(stack.config, pool_size=20)
        # the caller's own settings are not the stack's
        everything = {name: value for name, value in os.environ.items() if not name.startswith("MOSTIK_")} | environ
        python = sys.executable
        web = [python, "-m", "gunicorn", "-c", "python:widget_backend.web_server", "wsgi:app"]
        parts["web"] = Process("web", web, everything)
        for number in range(1, stack.config.exchange_workers + 1):
            parts[f"exchange-{number}"] = Process("", [python, "-m", "jobs.worker", "exchange"], everything)
        parts["schedules"] = Process("schedules", [python, "-m", "jobs.worker", "schedules"], everything)
        parts["cron"] = Process("cron", [python, "-m", "jobs.cron"], everything)
        for name, command in commands.items():
            parts[name].command = command
        for name in ("web", *[name for name in parts if name.startswith("exchange")], "schedules", "cron"):
            stack.start(name)
        wait_for(lambda: _is_ready(stack.url), within_s=40, what="the web")
    except BaseException:
        stack.stop()
        raise
    return stack


def _environ(
    folder: Path, postgres: local_secrets.PostgresSecrets, valkey: local_secrets.ValkeySecrets, peers: Json
) -> dict[str, str]:
    port = free_port()
    return {
        "DATABASE_URL": postgres.url(local_secrets.APP_ROLE),
        "MOSTIK_DATABASE_OWNER_URL": postgres.url(local_secrets.OWNER_ROLE),
        "REDIS_URL": valkey.url(),
        "MOSTIK_VAR": str(folder),
        "MOSTIK_KEYS": "test:" + base64.b64encode(os.urandom(32)).decode(),
        "MOSTIK_SECRET_KEY": "only for tests, " * 3,
        "MOSTIK_WEB_PORT": str(port),
        "MOSTIK_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        "MOSTIK_OUTSIDE_PRIVATE_HOSTS": "127.0.0.0/8",
        "MOSTIK_VK_API_URL": peers["vk"]["api_url"],
        "MOSTIK_TELEGRAM_BOT_API_URL": peers["telegram_bot"]["api_url"],
        "MOSTIK_BITRIX24_REQUEST_LIMIT_S": "10",  # the sandbox drops nothing and takes a second at most
        "MOSTIK_BITRIX24_OAUTH_URLS": ",".join(peers["bitrix24"]["oauth_urls"]),
        "MOSTIK_AMOCRM_ACCOUNT_URL": peers["amocrm"]["account_url"],
        "MOSTIK_AMOCRM_CHATS_URL": peers["amocrm"]["chats_url"],
        "MOSTIK_AMOCRM_CONSENT_URL": peers["amocrm"]["consent_url"],
    }


def _peers(log: Path) -> Json | None:
    for line in log.read_text().splitlines() if log.exists() else ():
        if line.startswith("{"):
            return {name: value for name, value in json.loads(line).items() if isinstance(value, dict)}
    return None


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=2).ok
    except requests.RequestException:
        return False
