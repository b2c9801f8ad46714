"""One key, one message: also without Valkey, where nobody waits for anybody."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from redis import Redis
from sqlalchemy import text

from tests.unit.bridge.conftest import make_channel, make_conversation
from widget_backend import ids
from widget_backend.bridge import dialogs, life, runtime
from widget_backend.bridge.addresses import spelled
from widget_backend.bridge.composer import KeyReused, Refused, Writer, Written
from widget_backend.bridge.dialogs import Opening
from widget_backend.bridge.ends import Address
from widget_backend.bridge.tenancy import transaction


@pytest.fixture
def no_valkey(account_id: UUID) -> Iterator[None]:
    """Let this process find no Valkey."""
    known = runtime.get()
    runtime.configure(known.config, known.engine, Redis(port=1, socket_connect_timeout=0.2))
    yield
    runtime.configure(known.config, known.engine, known.redis)


def talk(account_id: UUID, channel_id: UUID) -> UUID:
    made = make_conversation(account_id, channel_id)
    with transaction(account_id) as session:
        session.execute(text("update conversations set last_in_at = now()"))
    return made


def press(account_id: UUID, conversation_id: UUID, said: str = "раз") -> Written | type[KeyReused]:
    opening = Opening(key="composer", writer=Writer(actor="test"), conversation_id=conversation_id, text=said)
    try:
        return dialogs.start(account_id, opening)
    except KeyReused:
        return KeyReused


def count(account_id: UUID, table: str) -> int:
    with transaction(account_id) as session:
        return int(session.execute(text(f"select count(*) from {table}")).scalar_one())


def test_one_key_is_one_message_without_valkey(account_id: UUID, channel_id: UUID, no_valkey: None) -> None:
    conversation_id = talk(account_id, channel_id)
    with ThreadPoolExecutor(8) as people:
        pressed = list(people.map(lambda _n: press(account_id, conversation_id), range(24)))
    made = [one for one in pressed if isinstance(one, Written)]
    assert len(made) == 24 and len({one.message_id for one in made}) == 1
    assert [one.is_new for one in made].count(True) == 1
    assert [count(account_id, table) for table in ("messages", "deliveries", "compositions")] == [1, 1, 1]


def test_one_key_for_two_conversations_writes_in_one(account_id: UUID, channel_id: UUID, no_valkey: None) -> None:
    talks = [talk(account_id, channel_id), talk(account_id, channel_id)]
    with ThreadPoolExecutor(8) as people:
        pressed = list(people.map(lambda number: press(account_id, talks[number % 2]), range(16)))
    assert pressed.count(KeyReused) == 8
    assert count(account_id, "messages") == 1


def test_a_refused_message_keeps_nothing(account_id: UUID, channel_id: UUID) -> None:
    conversation_id = talk(account_id, channel_id)
    life.set_state(account_id, channel_id, "error", "token_revoked")
    with pytest.raises(Refused) as refused:
        dialogs.start(
            account_id,
            Opening(key="k", writer=Writer(actor="test"), conversation_id=conversation_id, text="раз"),
        )
    assert (refused.value.reason, refused.value.adapter) == ("channel_broken", "vk")
    assert count(account_id, "messages") == count(account_id, "compositions") == 0


def test_a_key_is_an_accounts_own(account_id: UUID, channel_id: UUID) -> None:
    first, second = talk(account_id, channel_id), talk(account_id, make_channel(account_id))
    assert isinstance(press(account_id, first), Written)
    assert press(account_id, first, "два") is KeyReused
    assert press(account_id, second) is KeyReused


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        ("phone", "8 (912) 345-67-89", ("phone", "79123456789")),
        ("phone", "+7 912 345 67 89", ("phone", "79123456789")),
        ("phone", "+44 20 7946 0018", ("phone", "442079460018")),
        ("phone", "доб. 12", ("phone", "")),
        ("whatsapp", "https://wa.me/79123456789", ("phone", "79123456789")),
        ("link", "https://vk.com/Anna?w=wall1", ("vk", "anna")),
        ("link", "vk.com/id123/", ("vk", "id123")),
        ("vk", "@anna", ("vk", "anna")),
        ("telegram", "https://t.me/79998887766", ("telegram", "79998887766")),
        ("link", "https://t.me/Anna_A", ("telegram", "anna_a")),
        ("instagram", "https://www.instagram.com/anna/", ("instagram", "anna")),
        ("link", "https://acme.test/Anna", ("link", "https://acme.test/anna")),
        ("email", " Anna@Acme.test ", ("email", "anna@acme.test")),
        ("vk", "", ("vk", "")),
    ],
)
def test_addresses_are_read_as_people_write_them(kind: str, written: str, meant: tuple[str, str]) -> None:
    found = spelled(Address(kind=kind, value=written))
    assert (found.kind, found.value) == meant


def hear(account_id: UUID, channel_id: UUID, conversation_id: UUID) -> None:
    """Let the client write."""
    with transaction(account_id) as session:
        session.execute(text("update conversations set last_seq = 1"))
        session.execute(
            text(
                "insert into messages (id, account_id, conversation_id, origin_end_id, seq, direction, author, author_id, text,"
                " content, version, revision, is_late, is_automatic, trace_id, sent_at)"
                " values (:id, :account, :conversation, :end, 1, 'in', '', '', 'вопрос', '{}', 1, '', false, false, '', now())"
            ),
            {"id": ids.new_id(), "account": account_id, "conversation": conversation_id, "end": channel_id},
        )


@pytest.mark.parametrize(("marks_read", "acts"), [(True, ["new", "read"]), (False, ["new"])])
def test_who_answers_has_read(account_id: UUID, channel_id: UUID, marks_read: bool, acts: list[str]) -> None:
    life.change(account_id, channel_id, settings={"mark_read": marks_read})
    conversation_id = talk(account_id, channel_id)
    hear(account_id, channel_id, conversation_id)
    press(account_id, conversation_id)
    with transaction(account_id) as session:
        rows = session.execute(
            text("select d.act, m.text from deliveries d join messages m on m.id = d.message_id order by d.lane_seq")
        ).all()
    assert [row.act for row in rows] == acts
    assert [row.text for row in rows] == ["раз", "вопрос"][: len(acts)]
