"""The demo: the simulated outside world beside the server, and what is set up in it beforehand.

The sandbox is part of the source checkout, not of the installed package.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from widget_backend import create_app
from widget_backend.accounts.models import User
from widget_backend.accounts.signup import create_account
from widget_backend.config import Config, adapter_settings, env_name
from widget_backend.extensions import db
from widget_backend.local_secrets import free_port
from widget_backend.supervision import ROOT, Program

SANDBOX_DIR = ROOT / "tests" / "sandbox"
LOGIN = {"email": "demo@mostik.test", "password": "mostik-demo"}


class DemoError(Exception):
    """Say why the demo cannot start."""


def sandbox_program() -> Program:
    """Give the simulated peers as a program; each keeps its port when it is restarted."""
    names = sorted(path.parent.name for path in SANDBOX_DIR.glob("*/peer.py"))
    if not names:
        raise DemoError("the demo needs the source checkout: its simulated peers are in tests/sandbox")
    command = [sys.executable, "-m", "tests.sandbox", "--json"]
    for name in names:
        command += [f"--port-{name.replace('_', '-')}", str(free_port())]
    return Program(name="sandbox", command=command, order=200)


def read_peers(log: Path, *, wait_s: float = 60) -> dict[str, dict[str, Any]]:
    """Wait for the line in which the sandbox tells its addresses and credentials."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines() if log.exists() else ():
            if line.startswith("{"):
                return {name: value for name, value in json.loads(line).items() if isinstance(value, dict)}
        time.sleep(0.1)
    raise DemoError(f"the simulated peers did not start: see {log}")


def peer_settings(peers: Mapping[str, Mapping[str, Any]], allowed: tuple[str, ...] = ()) -> dict[str, str]:
    """Turn the peers' addresses into settings: a peer's value is the server setting of the same name.

    Shape: allowed are the private hosts that may be called already; the peers' are added.
    """
    settings: dict[str, str] = {}
    for manifest, setting in adapter_settings():
        value = peers.get(manifest.key, {}).get(setting.name)
        if value is not None:
            settings[env_name(manifest.key, setting.name)] = ",".join(value) if isinstance(value, list) else str(value)
    # any port of them: a simulated portal has one of its own, and more can be made while the demo runs
    hosts = {urlsplit(str(peer["base_url"])).hostname or "" for peer in peers.values()}
    settings["MOSTIK_OUTSIDE_PRIVATE_HOSTS"] = ",".join(sorted({*allowed, *hosts}))
    return settings


def seed(config: Config, peers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Set up what the demo starts with, once; safe to repeat. Shape: {login: {email, password}}."""
    with create_app(config).app_context():
        if db.session.query(User).filter_by(email=LOGIN["email"]).one_or_none() is None:
            create_account("acme", email=LOGIN["email"], password=LOGIN["password"])
        db.session.remove()
        db.engine.dispose()
    return {"login": LOGIN}
