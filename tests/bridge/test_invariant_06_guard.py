"""Invariant 6: no outside URL is fetched without the guard. (Every kind of address by itself: tests/unit/test_guard.py.)"""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from tests.bridge.pair import Pair, new_user
from tests.sandbox.samples import png
from tests.stack import wait_for


class Inside:
    """A server of the inner network. The owner named 127.0.0.0/8 as a private host; 0.0.0.0 is the same machine, and nobody named it."""

    def __init__(self, port: int) -> None:
        self.allowed, self.forbidden = f"http://127.0.0.1:{port}", f"http://0.0.0.0:{port}"
        self.asked: list[str] = []


@pytest.fixture
def inside() -> Iterator[Inside]:
    """Give a server that notes who asks it for what."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", f"{state.forbidden}/behind")
                self.end_headers()
                return
            body = b"<html>not what it says</html>" if self.path == "/page" else png(2, 2)
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Inside(server.server_address[1])
    Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


def test_links_that_clients_send_lead_nowhere_inside(pair: Pair, inside: Inside) -> None:
    user = new_user()
    links = {
        "fine": f"{inside.allowed}/photo",
        "private": f"{inside.forbidden}/photo-inside",
        "redirect": f"{inside.allowed}/moved",
        "metadata": "http://169.254.169.254/latest/meta-data/",
        "scheme": "file:///etc/passwd",
        "type": f"{inside.allowed}/page",
    }
    for number, (said, url) in enumerate(links.items()):
        sizes = [{"url": url, "width": 1, "height": 1}]
        photo = {"type": "photo", "photo": {"id": number, "owner_id": 1, "sizes": sizes}}
        body = pair.message_new(user, said, 9600 + number, attachments=[photo])
        assert pair.vk_hook("message_new", body).text == "ok"
    wait_for(lambda: len(_attachments(pair)) == len(links), what="every attachment judged")
    found = _attachments(pair)
    assert found["fine"][0] == "stored"
    assert {said for said, (state, _mime) in found.items() if state == "failed"} >= {
        "private",
        "redirect",
        "metadata",
        "scheme",
    }
    assert "image" not in found["type"][1], "the type is what the content is"
    assert sorted(inside.asked) == ["/moved", "/page", "/photo"], "nobody asked where nobody may"
    pair.wait_quiet()
    assert {text.splitlines()[0] for text in pair.seen(user)} == set(links), "the words arrive all the same"


def _attachments(pair: Pair) -> dict[str, tuple[str, str]]:
    """Return state and type of each message's attachment, once it is judged."""
    rows = pair.rows(
        "select m.text, a.state, a.mime from attachments a join messages m on m.id = a.message_id where a.state <> 'wait'"
    )
    return {row.text: (row.state, row.mime) for row in rows}
