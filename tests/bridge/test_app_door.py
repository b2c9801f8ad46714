"""The app's door: one address for the hooks of many ends. Parts reach their own ends, in order, once, whatever dies or cannot be read meanwhile."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.bridge.adapters.switchboard import hooks
from tests.bridge.conftest import PATIENCE
from tests.bridge.switchboard import COMMANDS, find_switchboard, forget_switchboard
from tests.chaos.doomed import FOLDER, arm
from tests.stack import Json, Stack, running, wait_for
from widget_backend.accounts import apps
from widget_backend.bridge import keep, life, split
from widget_backend.bridge.errors import Misconfigured
from widget_backend.bridge.models import EndKey
from widget_backend.bridge.tenancy import transaction


@pytest.fixture(scope="module")
def doom() -> Iterator[Path]:
    """Give the folder in which crash points are armed."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def stack(doom: Path) -> Iterator[Stack]:
    """Give the product with one more network, the switchboard, in its processes and in this one."""
    find_switchboard()
    try:
        with running(COMMANDS, **{**PATIENCE, FOLDER: str(doom)}) as product:
            product.tend()
            yield product
    finally:
        forget_switchboard()


@dataclass
class Board:
    """One app of a switchboard."""

    stack: Stack
    app_id: UUID
    key: str
    secret: str
    calls: int = 0
    accounts: dict[UUID, UUID] = field(default_factory=dict)

    def number(self, number: str, *aliases: str, account_id: UUID | None = None) -> UUID:
        """Connect a number, in an account of its own unless one is given."""
        account = account_id or self.stack.make_account()
        settings: Json = {"number": number, "aliases": list(aliases)}
        end_id = life.create(account, "switchboard", settings=settings, app_id=self.app_id)
        self.accounts[end_id] = account
        life.connect(account, end_id)
        return end_id

    def call(self, number: str, said: str, **over: Any) -> Json:
        """Make one call, with an id of its own."""
        self.calls += 1
        return {"number": number, "id": f"call-{self.calls}", "caller": "c1", "text": said, **over}

    def ring(self, *calls: Json, body: bytes = b"", name: str = "") -> requests.Response:
        """Post calls in one body, or a body as it is, to the app's door."""
        body = body or json.dumps({"calls": calls}).encode()
        headers = {"X-Signature": hooks.sign(body, self.secret)}
        answer = requests.post(f"{self.stack.url}/hooks/{self.key}{name}", data=body, headers=headers, timeout=30)
        assert answer.status_code in (200, 403), answer.text
        return answer

    def said(self, end_id: UUID) -> list[str]:
        """Return the texts recorded for an end, in the order of its conversation."""
        with transaction(self.accounts[end_id]) as session:
            rows = session.execute(
                text("select text from messages where origin_end_id = :id order by seq"), {"id": end_id}
            )
            return [row.text for row in rows]

    def wait_said(self, end_id: UUID, texts: Sequence[str], *, within_s: float = 20) -> None:
        """Wait until these texts are recorded for an end, in this order and each once, and nothing else."""
        wait_for(
            lambda: len(self.said(end_id)) >= len(texts), within_s=within_s, what=f"{texts}, not {self.said(end_id)}"
        )
        assert self.said(end_id) == list(texts)

    def bodies(self) -> list[Any]:
        """Return the app's own hooks, oldest first."""
        with transaction(None) as session:
            return list(
                session.execute(text("select * from inbox where owner_id = :id order by id"), {"id": self.app_id})
            )

    def wait_cut(self, count: int) -> list[Any]:
        """Wait until so many bodies are cut; return all."""
        wait_for(lambda: sum(row.state != 0 for row in self.bodies()) >= count, what=f"{count} bodies cut")
        return self.bodies()


@pytest.fixture
def board(stack: Stack) -> Board:
    """Give an app of its own."""
    secret = secrets.token_hex()
    with transaction(None) as session:
        app = apps.add(session, "switchboard", client_id=secrets.token_hex(8), secret=secret)
        return Board(stack, app.id, app.key, secret)


def test_parts_of_one_body_go_each_to_its_own_account(board: Board) -> None:
    first, second = board.number("1"), board.number("2")
    board.ring(board.call("1", "a"), board.call("2", "b"), board.call("1", "c"))
    board.ring(board.call("2", "d"))
    board.wait_said(first, ["a", "c"])
    board.wait_said(second, ["b", "d"])
    with transaction(None) as session:
        parts = session.execute(
            text("select owner_id, account_id from inbox where owner_id in (:a, :b)"), {"a": first, "b": second}
        )
        assert {(row.owner_id, row.account_id) for row in parts} == {
            (first, board.accounts[first]),
            (second, board.accounts[second]),
        }


def test_many_bodies_keep_their_order(board: Board) -> None:
    end_id = board.number("1")
    texts = [f"{number}" for number in range(120)]
    for said in texts:
        assert board.ring(board.call("1", said)).status_code == 200
    board.wait_said(end_id, texts, within_s=40)


def test_forged_hook_is_403_and_nothing_is_kept(board: Board) -> None:
    board.number("1")
    forged = Board(board.stack, board.app_id, board.key, "not the secret")
    assert forged.ring(forged.call("1", "a lie")).status_code == 403
    assert board.bodies() == []


def test_same_call_told_twice_is_one_message(board: Board) -> None:
    end_id = board.number("1")
    once = board.call("1", "once")
    board.ring(once)
    board.wait_said(end_id, ["once"])
    board.ring(once)
    board.ring(once, board.call("1", "later"))
    board.wait_said(end_id, ["once", "later"])


def test_same_body_without_an_id_of_its_own_may_come_again(board: Board) -> None:
    body = json.dumps({"calls": []}).encode()
    for count in (1, 2):
        board.ring(body=body)
        assert [row.state for row in board.wait_cut(count)] == [1] * count


def test_body_that_cannot_be_cut_is_given_up_and_the_app_goes_on(board: Board) -> None:
    end_id = board.number("1")
    board.ring(board.call("1", "before"))
    board.ring(body=b"no json")
    board.ring(body=json.dumps({"calls": [board.call("1", "lost"), {"id": "without a number"}]}).encode())
    board.ring(body=json.dumps({"calls": [board.call("1", "no text of theirs", id="\x00")]}).encode())
    board.ring(board.call("1", "after"))
    board.wait_said(end_id, ["before", "after"])
    rows = board.bodies()
    assert [row.state for row in rows] == [1, 3, 3, 3, 1]
    assert [row.note for row in rows] == [None, "JSONDecodeError", "KeyError", "DataError", None]
    seen = requests.get(f"{board.stack.url}/metrics", timeout=10).text
    assert 'mostik_hooks_total{adapter="switchboard",outcome="unreadable"} 3.0' in seen


def test_name_and_query_of_the_hook_reach_the_part(board: Board) -> None:
    end_id = board.number("1")
    board.ring(board.call("1", "said "), name="/scope?a=b")
    board.wait_said(end_id, ["said scopea=b"])


def test_number_is_found_by_its_aliases_and_by_no_longer_given_ones_not(board: Board) -> None:
    end_id = board.number("1", "chats-1", "old-1")
    board.ring(board.call("chats-1", "a"), board.call("1", "b"), board.call("old-1", "c"))
    board.wait_said(end_id, ["a", "b", "c"])
    account = board.accounts[end_id]
    life.change(account, end_id, settings={"aliases": ["chats-1"]})
    life.connect(account, end_id)
    board.ring(board.call("old-1", "d"), board.call("chats-1", "e"))
    board.wait_said(end_id, ["a", "b", "c", "e"])
    # it is free for another end of the app now, and what waited for it comes along
    board.wait_said(board.number("old-1"), ["d"])


def test_name_that_another_end_has_refuses_the_connection(board: Board) -> None:
    first = board.number("1", "shared")
    with pytest.raises(Misconfigured, match="already_connected"):
        board.number("2", "shared")
    with pytest.raises(Misconfigured, match="already_connected"):
        board.number("shared")
    with pytest.raises(IntegrityError):
        life.create(board.stack.make_account(), "switchboard", remote_id="1", app_id=board.app_id)
    board.ring(board.call("shared", "mine"))
    board.wait_said(first, ["mine"])


def test_same_number_in_two_apps_is_two_ends(board: Board, stack: Stack) -> None:
    secret = secrets.token_hex()
    with transaction(None) as session:
        app = apps.add(session, "switchboard", client_id=secrets.token_hex(8), secret=secret)
        other = Board(stack, app.id, app.key, secret)
    first, second = board.number("1", "chats"), other.number("1", "chats")
    board.ring(board.call("chats", "to the first"))
    other.ring(other.call("chats", "to the second"))
    board.wait_said(first, ["to the first"])
    other.wait_said(second, ["to the second"])


def test_strangers_parts_wait_for_their_end_and_come_before_newer_ones(board: Board) -> None:
    known = board.number("1")
    early = [f"early {number}" for number in range(60)]
    for said in early:
        board.ring(board.call("2", said), board.call("1", said))
    board.wait_said(known, early)
    assert {row.note for row in board.bodies()} == {"1 parts wait for their ends"}
    waiting = _stranger(board, "2")
    with transaction(None) as session:
        rows = session.execute(text("select account_id, body from inbox where owner_id = :id"), {"id": waiting}).all()
    assert len(rows) == 60 and {row.account_id for row in rows} == {None}
    assert not any(b"early" in bytes(row.body) for row in rows)
    assert keep.oldest_waiting_s() < 5
    end_id = board.number("2")
    late = [f"late {number}" for number in range(5)]
    for said in late:
        board.ring(board.call("2", said))
    board.wait_said(end_id, [*early, *late])


def test_strangers_parts_are_handed_over_without_a_newer_hook_and_more_than_one_turn_takes(board: Board) -> None:
    said = [f"{number}" for number in range(split.HANDED_OVER + 20)]
    board.ring(*[board.call("2", one) for one in said])
    board.wait_cut(1)
    board.wait_said(board.number("2"), said, within_s=40)


def test_what_comes_for_an_end_that_is_off_waits_until_it_is_connected_again(board: Board) -> None:
    end_id = board.number("1")
    account = board.accounts[end_id]
    life.disconnect(account, end_id)
    board.ring(board.call("1", "while off"))
    board.wait_cut(1)
    assert board.said(end_id) == []
    life.connect(account, end_id)
    board.ring(board.call("1", "on again"))
    board.wait_said(end_id, ["while off", "on again"])


def test_strangers_are_forgotten_after_their_time(board: Board) -> None:
    board.ring(board.call("9", "old"), board.call("8", "young"))
    board.wait_cut(1)
    old = _stranger(board, "9")
    with transaction(None) as session:
        age = text("update inbox set received_at = received_at - :age where owner_id = :id")
        session.execute(age, {"age": split.STRANGERS_FOR, "id": old})
    before = split.strangers()
    assert split.forget_strangers() == 1
    assert split.strangers() == before - 1
    end_id = board.number("8")
    board.wait_said(end_id, ["young"])


@pytest.mark.parametrize("point", ["part-after", "read-before"])
def test_worker_that_dies_between_split_and_record_loses_and_doubles_nothing(
    board: Board, doom: Path, point: str
) -> None:
    first, second = board.number("1"), board.number("2")
    armed = arm(doom, point, second)
    board.ring(board.call("1", "a"), board.call("2", "b", id=""), board.call("1", "c", id=""))
    board.ring(board.call("2", "d"))
    wait_for(lambda: not armed.exists(), what="the death of a worker")
    board.wait_said(first, ["a", "c"], within_s=40)
    board.wait_said(second, ["b", "d"], within_s=40)
    with transaction(None) as session:
        parts = text("select count(*) from inbox where owner_id in (:a, :b)")
        assert session.scalar(parts, {"a": first, "b": second}) == 4


def test_two_workers_at_one_app_do_not_overtake_each_other(board: Board) -> None:
    end_id = board.number("1")
    with transaction(None) as session:
        lock = text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")
        session.execute(lock, {"name": f"mostik:split:{board.app_id}"})
        board.ring(board.call("1", "a"))
        board.ring(board.call("1", "b"))
        assert not split.work(board.app_id)
        assert {row.state for row in board.bodies()} == {0}
    board.wait_said(end_id, ["a", "b"])


def test_unread_body_of_an_app_counts_as_waiting(board: Board) -> None:
    with transaction(None) as session:
        lock = text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")
        session.execute(lock, {"name": f"mostik:split:{board.app_id}"})
        board.ring(board.call("1", "a"))
        with transaction(None) as other:
            back = text("update inbox set received_at = now() - interval '90 seconds' where owner_id = :id")
            other.execute(back, {"id": board.app_id})
        assert keep.oldest_waiting_s() > 80
    board.wait_cut(1)


def test_erased_end_leaves_no_name_behind(board: Board) -> None:
    end_id = board.number("1", "chats-1")
    life.erase(board.accounts[end_id], end_id)
    with transaction(None) as session:
        assert session.query(EndKey).filter_by(app_id=board.app_id, kind="remote").count() == 0
    again = board.number("chats-1")
    board.ring(board.call("chats-1", "hello"))
    board.wait_said(again, ["hello"])


def _stranger(board: Board, number: str) -> UUID:
    """Return whose the parts of a number are while no end has it."""
    return UUID(bytes=life.remote_digest("switchboard", number, board.app_id)[:16])
