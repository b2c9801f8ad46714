"""Every call fixture of every end: what an adapter sends over real HTTP for a thing asked of it, and what it makes of the answers.

A fixture `<end>/calls/<method>__<variant>.json` holds `source`, `ask` (the arguments of that method of the adapter: each a value of
its annotated type, as tests/contract/jsonable.py builds it), `exchanges` (in order: `request` with `path` and `form`, `json` or `parts`, and
maybe `query` and those `headers` that matter; `answer` with `body` and maybe `status`) and `outcome`, what the method returns or raises. `settings` are merged over the owner's.
`{BASE}` in an answer or in `<end>/owner.json` is the address of the player. The owner's file says whose calls they are: its `end` adds fields
of `End`, its `app` is the app's Owner, its `access_token` what the end's tokens give.
An end whose official schema is at hand has `<end>_schema.py` here, with `load().check_request(method, params)` and
`check_response(method, body)`; `"fits_schema": false` in an exchange says that the schema does not know it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import threading
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.contract.jsonable import build, jsonable
from widget_backend import outside
from widget_backend.bridge import registry
from widget_backend.bridge.ends import End, Owner
from widget_backend.bridge.errors import EndError

HERE = Path(__file__).parent
FIXTURES = sorted(HERE.glob("*/calls/*.json"))


class NoLimits:
    """Stands for Valkey where nothing is limited: every token is there."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        return 0

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        return 0

    def script_load(self, script: Any) -> Any:
        return ""


class FixedTokens:
    """Tokens of a fixture's end: one that is current, and the same with "-new" behind it once it was renewed."""

    def __init__(self, token: str) -> None:
        self._token = token

    def current(self) -> str:
        return self._token

    def renew(self, stale: str) -> str:
        self._token = f"{stale}-new"
        return self._token


class Player:
    """Plays the answers of a fixture, one by one, and writes down what was asked."""

    def __init__(self, exchanges: list[dict[str, Any]]) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._answers = [one["answer"] for one in exchanges]
        player = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                player.headers.append(dict(self.headers.items()))
                player.asked.append(read_request(self.path, self.headers, body))
                answer = player.next_answer()
                told = json.dumps(answer["body"]).replace("{BASE}", player.base_url).encode()
                self.send_response(answer.get("status", 200))
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def next_answer(self) -> dict[str, Any]:
        return self._answers.pop(0) if self._answers else {"status": 500, "body": "nothing more was expected"}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def read_request(path: str, headers: Message, body: bytes) -> dict[str, Any]:
    """Tell a request the way fixtures write it."""
    parts = urlsplit(path)
    told: dict[str, Any] = {"path": parts.path}
    if parts.query:
        told["query"] = dict(parse_qsl(parts.query, keep_blank_values=True))
    kind = headers.get_content_type()
    if kind == "application/json" and body:
        told["json"] = json.loads(body)
    elif kind == "application/x-www-form-urlencoded":
        told["form"] = dict(parse_qsl(body.decode(), keep_blank_values=True))
    elif kind == "multipart/form-data":
        told["parts"] = read_parts(headers["Content-Type"], body)
    return told


def read_parts(content_type: str, body: bytes) -> dict[str, Any]:
    """Tell a multipart body: a text for a plain part, {name, type, content} for a file."""
    whole = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    found: dict[str, Any] = {}
    for part in whole.iter_parts():
        content = part.get_payload(decode=True).decode()
        name = part.get_param("name", header="content-disposition")
        if part.get_filename() is None:
            found[name] = content
        else:
            found[name] = {"name": part.get_filename(), "type": part.get_content_type(), "content": content}
    return found


@pytest.fixture
def free_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process call the player, uncounted; afterwards everything is as it was."""
    monkeypatch.setattr(outside, "_setup", None)
    outside.configure(outside.Settings(user_agent="mostik-tests", private_hosts=("127.0.0.1",), valkey=NoLimits()))


def name_of(path: Path) -> str:
    return f"{path.parents[1].name}-{path.stem}"


def end_for(path: Path, told: dict[str, Any], base_url: str) -> End:
    """Make the end of a fixture; every address among its server settings is the player's."""
    key = path.parents[1].name
    owner = json.loads((path.parents[1] / "owner.json").read_text().replace("{BASE}", base_url))
    manifest = registry.manifest(key)
    servers = {one.name: base_url if one.name.endswith("_url") else one.default for one in manifest.server_settings}
    return End(
        id="end-1",
        account_id="account-1",
        adapter=key,
        side=manifest.side,
        title=manifest.title,
        remote_id=owner["remote_id"],
        settings={**owner.get("settings", {}), **told.get("settings", {})},
        secrets=owner["secrets"],
        tokens=FixedTokens(owner["access_token"]) if "access_token" in owner else None,
        app=Owner(**owner["app"], adapter=key, is_app=True) if "app" in owner else None,
        **{"hook_url": "https://mostik.test/hooks/key-1", "server": servers.__getitem__, **owner.get("end", {})},
    )


def asked_of(adapter: Any, method: str, ask: dict[str, Any]) -> Any:
    """Call a method of an adapter with arguments from a fixture; an error is its outcome too."""
    hints = get_type_hints(getattr(adapter, method))
    try:
        return getattr(adapter, method)(**{name: build(hints[name], value) for name, value in ask.items()})
    except EndError as error:
        return error


@pytest.mark.parametrize("path", FIXTURES, ids=name_of)
def test_a_call_is_made_as_written(path: Path, free_outside: None) -> None:
    told = json.loads(path.read_text())
    player = Player(told["exchanges"])
    try:
        adapter = registry.adapter(end_for(path, told, player.base_url))
        outcome = asked_of(adapter, path.stem.partition("__")[0], told["ask"])
    finally:
        player.stop()
    assert told["source"]
    expected = [dict(one["request"]) for one in told["exchanges"]]
    headers = [one.pop("headers", {}) for one in expected]
    assert player.asked == expected
    assert all(want.items() <= came.items() for want, came in zip(headers, player.headers, strict=True))
    assert jsonable(outcome) == told["outcome"]


@pytest.mark.parametrize("path", FIXTURES, ids=name_of)
def test_the_exchanges_fit_the_official_schema(path: Path) -> None:
    key = path.parents[1].name
    if importlib.util.find_spec(f"tests.contract.{key}_schema") is None:
        pytest.skip("no official schema says what this end takes")
    schema = importlib.import_module(f"tests.contract.{key}_schema").load()
    for exchange in json.loads(path.read_text())["exchanges"]:
        if exchange.get("fits_schema", True):
            request = exchange["request"]
            method = request["path"].rpartition("/")[2]
            schema.check_request(method, request.get("form") or request.get("json") or {})
            if exchange["answer"].get("status", 200) == 200:
                schema.check_response(method, exchange["answer"]["body"])
