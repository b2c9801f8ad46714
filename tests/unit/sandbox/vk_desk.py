"""A desk to try the VK twin from: one community of its own, a door for its hooks, every answer judged by the schema."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self

import requests

from tests.contract import vk_schema

Json = dict[str, Any]
LONGEST_WAIT_S = 5.0
USER = 100200300


def wait_for(condition: Callable[[], Any], what: str, seconds: float = LONGEST_WAIT_S) -> Any:
    """Wait until the condition holds and return what it returned."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.06)
    raise AssertionError(f"waited {seconds} s for {what}")


class Door:
    """Receives hooks. `answer(body) -> (status, text, headers)` may be replaced."""

    def __init__(self) -> None:
        self.code = ""
        self.seen: list[tuple[dict[str, str], Json]] = []
        self.answer: Callable[[Json], tuple[int, str, dict[str, str]]] = self._usual
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                door.seen.append((dict(self.headers.items()), body))
                status, text, headers = door.answer(body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(text.encode()))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/k"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _usual(self, body: Json) -> tuple[int, str, dict[str, str]]:
        return 200, self.code if body["type"] == "confirmation" else "ok", {}

    def events(self, kind: str) -> list[Json]:
        """Return what has come of one kind, each judged by the schema."""
        found = [body for _, body in self.seen if body["type"] == kind]
        if vk_schema.schema_folder():
            for body in found:
                vk_schema.load().check_event(body)
        return found

    def wait(self, kind: str, count: int = 1) -> Any:
        """Wait for so many events of a kind and return the last."""
        return wait_for(lambda: self.events(kind)[count - 1 : count], f"{kind} number {count}")[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Desk:
    """One community of the twin."""

    def __init__(self, base: str, **make: Any) -> None:
        self.base = base
        made = self.control("make", **make)
        self.token, self.group_id, self.made = made["token"], made["group_id"], made

    def control(self, name: str, **body: Any) -> Any:
        """Use a control route."""
        answer = requests.post(f"{self.base}/_sandbox/{name}", json=body, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def say(self, text: str = "", **body: Any) -> Any:
        """Let a customer do something."""
        more = {"text": text} if text else {}
        return self.control("say", **{"account": self.group_id, "user": USER, **more, **body})

    def ledger(self, kind: str) -> list[Json]:
        """Return this community's items of a kind."""
        items = requests.get(f"{self.base}/_sandbox/ledger", params={"kind": kind}, timeout=10).json()["items"]
        return [one for one in items if one["account"] == str(self.group_id)]

    def call(self, method: str, **params: Any) -> Any:
        """Call a method and return the whole body, judged by the schema."""
        given = {"v": "5.199", "access_token": self.token, **params}
        given = {key: value for key, value in given.items() if value is not None}
        answer = requests.post(f"{self.base}/method/{method}", data=given, timeout=10)
        assert answer.status_code == 200
        body = answer.json()
        if vk_schema.schema_folder() and method != "execute" and body.get("error", {}).get("error_code") != 3:
            vk_schema.load().check_response(method, body)
        return body

    def ok(self, method: str, **params: Any) -> Any:
        """Call and return the response."""
        body = self.call(method, **params)
        assert "response" in body, body
        return body["response"]

    def code(self, method: str, **params: Any) -> int:
        """Call and return the error code, 0 when there is none."""
        return self.call(method, **params).get("error", {}).get("error_code", 0)  # type: ignore[no-any-return]

    def send(self, text: str = "hello", random_id: int = 0, **params: Any) -> Any:
        """Send to the usual user."""
        return self.ok("messages.send", peer_id=USER, random_id=random_id, message=text, **params)

    def connect(self, door: Door, *events: str, secret: str = "s3cr3t") -> int:
        """Register the door for some events and wait until VK has confirmed it."""
        group = {"group_id": self.group_id}
        door.code = self.ok("groups.getCallbackConfirmationCode", **group)["code"]
        named = {"url": door.url, "title": "acme", "secret_key": secret}
        server_id = self.ok("groups.addCallbackServer", **group, **named)["server_id"]
        wait_for(lambda: self.status(server_id) == "ok", "status ok")
        flags = dict.fromkeys(events, 1)
        self.ok("groups.setCallbackSettings", **group, server_id=server_id, api_version="5.199", **flags)
        return int(server_id)

    def status(self, server_id: int) -> str:
        """Return the status of a callback server."""
        servers = self.ok("groups.getCallbackServers", group_id=self.group_id)["items"]
        return str(next((one["status"] for one in servers if one["id"] == server_id), "gone"))
