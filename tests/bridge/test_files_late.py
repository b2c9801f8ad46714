"""A message waits a minute for its file, no longer: then it goes with a link of ours, which opens the file once it has come, or says why it never did."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from tests.bridge.pair import Pair, new_user
from tests.sandbox import samples
from tests.stack import Json, wait_for

CONTENT = samples.pdf() + b"%" + b"x" * 2000
LINK = re.compile(r"http://127\.0\.0\.1:\d+/files/[\w.~-]+")


class Host:
    """A host of files whose owner decides when the rest of one comes, and what the answer is."""

    def __init__(self) -> None:
        self.asked, self.released = threading.Event(), threading.Event()
        self.status_before, self.status_after = 200, 200
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status = host.status_after if host.released.is_set() else host.status_before
                self.send_response(status)
                self.send_header("Content-Type", "application/pdf")
                self.send_header("Content-Length", str(len(CONTENT) if status == 200 else 0))
                self.end_headers()
                host.asked.set()
                if status == 200:
                    host.pour(self.wfile)

            def log_message(self, *given: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where the file is."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/price.pdf"

    def pour(self, to: Any) -> None:
        """Send the file, a byte now and then until the rest is released."""
        sent = 0
        while not self.released.wait(0.4):
            to.write(CONTENT[sent : sent + 1])
            to.flush()
            sent += 1
        to.write(CONTENT[sent:])


@contextmanager
def serving() -> Iterator[Host]:
    """Run a host of files."""
    host = Host()
    try:
        yield host
    finally:
        host.released.set()
        host.server.shutdown()
        host.server.server_close()


@pytest.fixture
def host() -> Iterator[Host]:
    """Give a host of files."""
    with serving() as made:
        yield made


def test_file_that_comes_in_time_goes_with_its_message(pair: Pair, host: Host) -> None:
    user = new_user()
    _write(pair, user, "вот", host.url)
    wait_for(host.asked.is_set, what="the fetch")
    wait_for(lambda: pair.rows("select 1 from lanes where not_before > now()"), what="the message waiting for its file")
    host.released.set()
    pair.wait_seen(user, "вот")
    files = [file for item in pair.desk("message") for file in item["attachments"]]
    assert [file["size"] for file in files] == [len(CONTENT)]


def test_file_that_comes_late_is_had_at_the_link_its_message_went_with(pair: Pair, host: Host) -> None:
    user = new_user()
    _write(pair, user, "вот", host.url)
    wait_for(host.asked.is_set, what="the fetch")
    _let_a_minute_pass(pair)
    shown = _shown(pair, user)
    assert shown.startswith("вот") and "прайс.pdf" in shown and "ещё загружается" in shown
    link = _link(shown)
    early = requests.get(link, headers={"Accept-Language": "ru"}, timeout=10)
    assert early.status_code == 425 and "Файл ещё загружается" in early.text and early.headers["Retry-After"]
    assert "still being fetched" in requests.get(link, headers={"Accept-Language": "en"}, timeout=10).text
    host.released.set()
    wait_for(lambda: requests.get(link, timeout=10).ok, what="the file")
    late = requests.get(link, timeout=10)
    assert late.content == CONTENT and late.headers["Content-Type"] == "application/pdf"
    pair.wait_quiet()
    assert len(pair.seen(user)) == 1, "the file makes no second message"


def test_edit_of_a_message_with_a_late_file_keeps_its_link(pair: Pair, host: Host) -> None:
    user = new_user()
    _write(pair, user, "вот", host.url)
    wait_for(host.asked.is_set, what="the fetch")
    _let_a_minute_pass(pair)
    _shown(pair, user)
    host.released.set()
    wait_for(lambda: pair.rows("select 1 from attachments where state = 'stored'"), what="the file")
    _write(pair, user, "вот он", host.url, event="message_edit", version=2)
    text = wait_for(lambda: pair.desk("edit"), what="the edit")[0]["text"]
    assert text.startswith("вот он") and "загружается" not in text
    assert requests.get(_link(text), timeout=10).content == CONTENT


def test_file_that_never_comes_is_told_at_the_link(pair: Pair, host: Host) -> None:
    user = new_user()
    host.status_before, host.status_after = 503, 404
    _write(pair, user, "вот", host.url)
    wait_for(host.asked.is_set, what="a first try")
    _let_a_minute_pass(pair)
    link = _link(_shown(pair, user))
    assert requests.get(link, timeout=10).status_code == 425
    host.released.set()
    page = wait_for(lambda: _answered(link, 404), what="the file given up")
    assert "Файл не удалось получить" in page and "По своему адресу файла больше нет" in page


def test_file_that_is_gone_is_told_in_words_at_once(pair: Pair, host: Host) -> None:
    user = new_user()
    host.status_before = 404
    _write(pair, user, "вот", host.url)
    shown = _shown(pair, user)
    assert "прайс.pdf" in shown and "По своему адресу файла больше нет" in shown and "/files/" not in shown


def test_file_at_an_address_that_is_not_public_is_told_in_words_at_once(pair: Pair) -> None:
    user = new_user()
    _write(pair, user, "вот", "http://10.1.2.3/price.pdf")
    shown = _shown(pair, user)
    assert "прайс.pdf" in shown and "разрешены только общедоступные адреса" in shown


def test_link_to_a_file_of_an_erased_message_opens_nothing(pair: Pair, host: Host) -> None:
    user = new_user()
    _write(pair, user, "вот", host.url)
    wait_for(host.asked.is_set, what="the fetch")
    _let_a_minute_pass(pair)
    link = _link(_shown(pair, user))
    pair.change("delete from attachments")
    assert requests.get(link, timeout=10).status_code == 404
    assert requests.get(link[:-3] + "abc", timeout=10).status_code == 404


def _write(pair: Pair, user: int, text: str, url: str, *, event: str = "message_new", version: int = 1) -> None:
    """Let VK tell of a customer's message with a document that lies anywhere."""
    doc: Json = {"id": 5, "owner_id": user, "title": "прайс.pdf", "size": len(CONTENT), "ext": "pdf", "url": url}
    attachments = [{"type": "doc", "doc": doc | {"type": 1, "date": 1_790_000_000}}]
    about = pair.message_new(user, text, 4100, attachments=attachments, version=version)
    assert pair.vk_hook(event, about if event == "message_new" else about["message"]).text == "ok"


def _let_a_minute_pass(pair: Pair) -> None:
    wait_for(lambda: pair.rows("select 1 from attachments where state = 'wait'"), what="the message")
    pair.change("update messages set recorded_at = recorded_at - interval '61 seconds'")


def _shown(pair: Pair, user: int) -> str:
    """Wait for the one text that the portal shows of a customer."""
    seen = wait_for(lambda: pair.seen(user), what="the message on the portal")
    assert len(seen) == 1
    return str(seen[0])


def _link(text: str) -> str:
    found = LINK.search(text)
    assert found is not None, text
    return found[0]


def _answered(link: str, status: int) -> str:
    answer = requests.get(link, headers={"Accept-Language": "ru"}, timeout=10)
    return answer.text if answer.status_code == status else ""
