"""Invariant 7: a slow or dead end slows nobody else's lane."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest

from tests.bridge.pair import Pair, make_pair, new_user
from tests.stack import Stack, wait_for

SOON_S = 2.0


def test_dead_community_slows_no_other(stack: Stack, pair: Pair) -> None:
    other = make_pair(stack)
    users = [new_user() for _ in range(30)]
    for user in users:
        pair.customer(user, text="вопрос")
    pair.wait_quiet()
    asked = new_user()
    other.customer(asked, text="вопрос")
    other.wait_seen(asked, "вопрос")
    pair.faults("vk", outage=True, outage_mode="hang")
    for user in users:
        pair.operator(user, text="ответ")
    wait_for(lambda: pair.rows("select 1 from attempts where outcome = 'open'"), what="a hanging call")
    slowest = max(_answer_s(other, asked, f"ответ {number}") for number in range(8))
    assert slowest < SOON_S
    pair.faults("vk", outage=False)


def test_dead_end_is_asked_by_one_probe_and_all_its_lanes_arrive_afterwards(pair: Pair) -> None:
    users = [new_user() for _ in range(12)]
    for user in users:
        pair.customer(user, text="вопрос")
    pair.wait_quiet()
    pair.faults("vk", outage=True)
    for user in users:
        pair.operator(user, text="ответ")
    wait_for(lambda: pair.rows("select 1 from gates where failures >= 3"), what="three failures in a row")
    made = pair.rows("select count(*) as n, max(started_at) as at from attempts where outcome = 'retry'")[0]
    tries = "select count(*) as n from attempts where started_at > :at"
    wait_for(lambda: pair.rows(tries, at=made.at)[0].n, what="the next probe")
    assert pair.rows(tries, at=made.at)[0].n == 1, "one lane finds out for all"
    pair.faults("vk", outage=False)
    for user in users:
        pair.wait_got(user, "ответ")
    assert pair.rows("select failures from gates where end_id = :id", id=pair.channel_id)[0].failures == 0


def test_calls_that_fail_side_by_side_are_one_failure(pair: Pair) -> None:
    from datetime import timedelta
    from uuid import uuid4

    from widget_backend.bridge import lanes

    batches = [lanes.Batch(pair.channel_id, pair.account_id, "vk", uuid4(), ()) for _ in range(5)]
    for batch in batches:
        lanes.fail(batch, timedelta(seconds=1))
    assert pair.rows("select failures from gates where end_id = :id", id=pair.channel_id)[0].failures == 1


def test_trouble_of_one_message_does_not_stop_the_others_of_its_end(pair: Pair) -> None:
    first, second = new_user(), new_user()
    for user in (first, second):
        pair.customer(user, text="вопрос")
        pair.wait_seen(user, "вопрос")
    pair.stack.control("vk", "faults", only_account=str(pair.community["group_id"]), drop_hooks_rate=1)
    pair.customer(first, deny=True)
    pair.operator(first, text="не дойдёт")
    pair.operator(second, text="дойдёт")
    pair.wait_got(second, "дойдёт")
    pair.wait_status("не дойдёт", pair.channel_id, "failed")
    pair.customer(first, text="снова я")
    pair.stack.control("vk", "faults", drop_hooks_rate=0)
    pair.operator(first, text="а это дойдёт")
    pair.wait_got(first, "а это дойдёт")


@pytest.fixture
def slow_host() -> Iterator[str]:
    """Give the address of a server that sends a file one byte a second."""
    over = Event()

    class Trickle(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", "1000")
            self.end_headers()
            with suppress(OSError):
                while not over.wait(1):
                    self.wfile.write(b"x")
                    self.wfile.flush()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Trickle)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/photo.png"
    over.set()
    server.shutdown()
    server.server_close()


def test_slow_file_host_slows_no_other_even_past_the_end_of_a_slice(stack: Stack, pair: Pair, slow_host: str) -> None:
    other = make_pair(stack)
    asked = new_user()
    other.customer(asked, text="вопрос")
    other.wait_seen(asked, "вопрос")
    photo = {"type": "photo", "photo": {"id": 1, "owner_id": 1, "sizes": [{"url": slow_host, "width": 1, "height": 1}]}}
    for number in range(40):
        body = pair.message_new(new_user(), "фото", 9300 + number, attachments=[photo])
        assert pair.vk_hook("message_new", body).text == "ok"
    wait_for(lambda: pair.rows("select 1 from errands where lease is not null"), what="a fetch under way")
    until = time.monotonic() + stack.config.slice_s * 2 + 1
    slowest, number = 0.0, 0
    while time.monotonic() < until:
        number += 1
        slowest = max(slowest, _answer_s(other, asked, f"ответ {number}"))
    assert slowest < SOON_S
    user = new_user()
    other.customer(user, attachments=[{"type": "photo"}])
    wait_for(lambda: other.seen(user) or other.desk("message")[-1]["attachments"], within_s=5, what="others' files")


def _answer_s(pair: Pair, user: int, said: str) -> float:
    """Let an operator answer; return how long it took to reach the phone."""
    started = time.monotonic()
    pair.operator(user, text=said)
    wait_for(lambda: said in pair.got(user), every_s=0.02, what=said)
    return time.monotonic() - started


def test_stopped_worker_waits_for_no_slow_host_and_gives_its_fetches_back(pair: Pair, slow_host: str) -> None:
    photo = {"type": "photo", "photo": {"id": 1, "owner_id": 1, "sizes": [{"url": slow_host, "width": 1, "height": 1}]}}
    pair.vk_hook("message_new", pair.message_new(new_user(), "фото", 9400, attachments=[photo]))
    wait_for(
        lambda: pair.rows("select 1 from errands where lease is not null and end_id = :id", id=pair.channel_id),
        what="a fetch",
    )
    first = pair.rows("select lease from errands where end_id = :id", id=pair.channel_id)[0].lease
    names = [name for name in pair.stack.processes if name.startswith("exchange")]
    started = time.monotonic()
    for name in names:
        pair.stack.kill(name, signal.SIGTERM)
    assert time.monotonic() - started < 10
    wait_for(
        lambda: pair.rows(
            "select lease from errands where lease <> :first and end_id = :id", first=first, id=pair.channel_id
        ),
        what="the fetch begun anew",
    )
