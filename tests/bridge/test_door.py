"""The door: who is let in, what is kept of what, and what the caller gets. Never a 500."""

from __future__ import annotations

import json
import secrets
import socket

import pytest
import requests

from tests.bridge.pair import Pair, make_pair, new_user
from tests.stack import Stack, wait_for
from widget_backend.bridge import registry


@pytest.fixture(scope="module")
def shared(stack: Stack) -> Pair:
    """Give a company whose door is knocked at by all tests of this file."""
    return make_pair(stack)


def _kept(pair: Pair) -> int:
    ends = {"a": pair.channel_id, "b": pair.connection_id}
    return int(pair.rows("select count(*) as n from inbox where owner_id in (:a, :b)", **ends)[0].n)


def _events(pair: Pair, end_id: object) -> list[str]:
    rows = pair.rows("select why from security_events where end_id = :id order by id", id=end_id)
    return [row.why for row in rows]


def test_unknown_key_is_404_and_looks_the_same_for_all(shared: Pair) -> None:
    answers = [
        requests.post(f"{shared.stack.url}/hooks/{key}", data=b"{}", timeout=10)
        for key in ("x", secrets.token_urlsafe(32), "%00", "кириллица")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1


def test_get_is_405(shared: Pair) -> None:
    assert requests.get(shared.hook_url(shared.channel_id), timeout=10).status_code == 405


def test_wrong_secret_is_403_with_a_security_event_and_nothing_kept(shared: Pair) -> None:
    before, events = _kept(shared), len(_events(shared, shared.channel_id))
    answer = shared.vk_hook("message_new", shared.message_new(new_user(), "ложь", 8001), secret="wrong")
    assert answer.status_code == 403
    assert _kept(shared) == before
    assert _events(shared, shared.channel_id)[events:] == ["wrong secret"]
    pulled = shared.rows("select pulled_at, pull_at from gates where end_id = :id", id=shared.channel_id)[0]
    assert pulled.pull_at is not None, "the end is asked what we may have missed"


def test_another_ends_secret_and_another_community_are_403(shared: Pair, pair: Pair) -> None:
    before = _kept(shared)
    foreign = pair.secrets_of(pair.channel_id)["callback_secret"]
    body = shared.message_new(new_user(), "ложь", 8002)
    assert shared.vk_hook("message_new", body, secret=foreign).status_code == 403
    assert shared.vk_hook("message_new", body, group_id=pair.community["group_id"]).status_code == 403
    assert _kept(shared) == before


def test_portals_form_with_anothers_token_is_403(shared: Pair, pair: Pair) -> None:
    form = {
        "event": "ONIMCONNECTORMESSAGEADD",
        "auth[member_id]": shared.portal["member_id"],
        "auth[application_token]": pair.secrets_of(pair.connection_id)["application_token"],
    }
    before = _kept(shared)
    assert requests.post(shared.hook_url(shared.connection_id), data=form, timeout=10).status_code == 403
    assert _kept(shared) == before


def test_body_over_the_limit_is_413(shared: Pair) -> None:
    url, body = shared.hook_url(shared.channel_id), b"x" * (5 * 1024 * 1024)
    before = _kept(shared)
    assert requests.post(url, data=body, timeout=30).status_code == 413
    assert _kept(shared) == before


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b'{"type": 1}', b"\xff\xfe", b"[" * 5000, b'{"group_id": {}, "type": []}', b'"text"'],
    ids=["empty", "cut", "null", "list", "types", "bytes", "deep", "objects", "string"],
)
def test_what_cannot_be_proved_is_403_and_never_500(shared: Pair, body: bytes) -> None:
    for end_id in (shared.channel_id, shared.connection_id):
        answer = requests.post(shared.hook_url(end_id), data=body, timeout=10)
        assert answer.status_code == 403, answer.text


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("message_new", {"message": {"id": "seven", "peer_id": [], "text": 5}}),
        ("message_new", "text"),
        ("message_new", None),
        ("message_new", {"message": None}),
        ("message_edit", {"peer_id": {"a": 1}}),
        ("holiday_of_the_future", {"a": 1}),
        ("message_read", {"from_id": "x"}),
    ],
)
def test_genuine_hook_that_is_not_understood_is_kept_and_counted(shared: Pair, kind: str, about: object) -> None:
    before = shared.rows("select count(*) as n from inbox where owner_id = :id and state = 2", id=shared.channel_id)[
        0
    ].n
    answer = shared.vk_hook(kind, about)  # type: ignore[arg-type]
    assert (answer.status_code, answer.text) == (200, "ok")
    query = "select count(*) as n from inbox where owner_id = :id and state = 2"
    wait_for(lambda: shared.rows(query, id=shared.channel_id)[0].n == before + 1, what="the unparsed hook")
    row = shared.rows("select note from inbox where owner_id = :id order by id desc limit 1", id=shared.channel_id)[0]
    assert row.note.startswith(kind)


def test_kept_body_is_sealed_and_holds_no_secret(shared: Pair) -> None:
    user = new_user()
    shared.vk_hook("message_new", shared.message_new(user, "очень личное", 8003))
    shared.wait_seen(user, "очень личное")
    row = shared.rows("select * from inbox where owner_id = :id order by id desc limit 1", id=shared.channel_id)[0]
    assert "очень личное".encode() not in bytes(row.body)
    from widget_backend import crypto

    opened = crypto.open_sealed(bytes(row.body), f"inbox:{shared.channel_id}")
    assert json.loads(opened)["object"]["message"]["text"] == "очень личное"
    assert shared.secrets_of(shared.channel_id)["callback_secret"] not in opened.decode()


def test_hook_of_a_disconnected_end_is_404(pair: Pair) -> None:
    from widget_backend.bridge import life

    url = pair.hook_url(pair.channel_id)
    life.disconnect(pair.account_id, pair.channel_id)
    wait_for(
        lambda: requests.post(url, data=json.dumps({"type": "x"}), timeout=10).status_code == 404,
        what="the door closed",
    )


def test_bodies_that_lie_about_their_length_are_told_so(shared: Pair) -> None:
    """Speak HTTP by hand: a length that is none, a body cut short, one sent in pieces and one too large in pieces."""
    before = _kept(shared)
    path = shared.hook_url(shared.channel_id).removeprefix(shared.stack.url)

    def ask(headers: str, body: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", shared.stack.config.web_port), timeout=10) as connection:
            connection.sendall(
                f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n\r\n".encode() + body
            )
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").readline()

    assert b" 400 " in ask("Content-Length: many", b"{}")
    assert b" 400 " in ask("Content-Length: 100", b"{}")
    in_pieces = b"2\r\n{}\r\n0\r\n\r\n"
    assert b" 403 " in ask("Transfer-Encoding: chunked", in_pieces)
    limit = registry.manifest("vk").capabilities.body_limit_bytes
    piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    assert b" 413 " in ask("Transfer-Encoding: chunked", piece * (limit // 0x100000 + 1) + b"0\r\n\r\n")
    assert _kept(shared) == before
