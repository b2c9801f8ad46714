"""A fault of ours with one message holds back that message alone, and not for ever; nobody spins."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from uuid import UUID

import pytest
from sqlalchemy import text

from jobs import exchange
from tests.unit.bridge.conftest import make_conversation
from widget_backend import clock, ids
from widget_backend.bridge import changes, deliver, held, lanes, life, outcomes, routes, runtime
from widget_backend.bridge.ends import Accepted, Act, Item
from widget_backend.bridge.lanes import Batch
from widget_backend.bridge.models import Parked
from widget_backend.bridge.route import Matter, Outbox
from widget_backend.bridge.tenancy import transaction
from widget_backend.networks.vk.adapter import Vk

UNREADABLE = '{"attachments": [{"kind": "photo"}]}'


def answer(account_id: UUID, channel_id: UUID, conversation_id: UUID, said: str, *, content: str = "{}") -> None:
    """Write an answer that waits for its client."""
    message_id = ids.new_id()
    with transaction(account_id) as session:
        session.execute(
            text(
                "insert into messages (id, account_id, conversation_id, origin_end_id, seq, direction, author, author_id, text,"
                " content, version, revision, is_late, is_automatic, trace_id, sent_at)"
                " select :id, :account, :conversation, :id, count(*) + 1, 'out', '', '', :said, cast(:content as jsonb), 1,"
                " '', false, false, '', now() from messages where conversation_id = :conversation"
            ),
            {
                "id": message_id,
                "account": account_id,
                "conversation": conversation_id,
                "said": said,
                "content": content,
            },
        )
        outbox = Outbox(session, routes.read(session))
        outbox.message(
            Matter(
                account_id=account_id,
                channel_id=channel_id,
                conversation_id=conversation_id,
                message_id=message_id,
                origin_id=message_id,
                act=Act.NEW,
                direction="out",
                text=said,
            )
        )
        outbox.flush()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give what was sent; everything is accepted."""
    found: list[str] = []

    def send(_self: Vk, items: Sequence[Item]) -> list[Accepted]:
        found.extend(item.text for item in items)
        return [Accepted(remote_ids=(str(len(found) + number),)) for number, _item in enumerate(items)]

    monkeypatch.setattr(Vk, "send", send)
    return found


def work(account_id: UUID, channel_id: UUID, conversations: Sequence[UUID], *, now: bool = True) -> None:
    """Work lanes together, as one batch."""
    token = ids.new_id()
    with transaction(None) as session:
        if now:
            session.execute(text("update lanes set not_before = now()"))
        session.execute(
            text("update lanes set lease = :token, lease_until = now() + interval '1 minute'"), {"token": token}
        )
    batch = Batch(channel_id, account_id, "vk", token, tuple(conversations))
    deliver.deliver(batch, may_go_on=lambda: True)


def statuses(account_id: UUID) -> dict[str, tuple[str, str]]:
    with transaction(account_id) as session:
        rows = session.execute(
            text("select m.text, d.status, d.reason from deliveries d join messages m on m.id = d.message_id")
        )
        return {row.text: (row.status, row.reason) for row in rows}


def test_a_message_that_we_cannot_prepare_holds_nobody_and_fails_at_last(
    account_id: UUID, channel_id: UUID, sent: list[str]
) -> None:
    bad, good = make_conversation(account_id, channel_id), make_conversation(account_id, channel_id)
    answer(account_id, channel_id, bad, "unreadable", content=UNREADABLE)
    answer(account_id, channel_id, bad, "behind it")
    answer(account_id, channel_id, good, "elsewhere")
    work(account_id, channel_id, [bad, good])
    assert sent == ["elsewhere"]
    assert statuses(account_id)["unreadable"] == ("queued", "not_made")
    assert lanes.take(1) == [], "it waits, and nobody spins"
    for _step in runtime.get().config.message_retry_s:
        work(account_id, channel_id, [bad])
    assert statuses(account_id)["unreadable"] == ("failed", "not_made")
    work(account_id, channel_id, [bad])
    assert sent == ["elsewhere", "behind it"]


def test_no_message_is_to_blame_for_an_end_that_we_cannot_read(
    account_id: UUID, channel_id: UUID, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation_id = make_conversation(account_id, channel_id)
    answer(account_id, channel_id, conversation_id, "waits")

    def unreadable(*_args: object, **_named: object) -> None:
        raise ValueError("the key is gone")

    with monkeypatch.context() as patched:
        patched.setattr(life, "_snapshot", unreadable)
        patched.setattr(life, "_snapshots", {})
        for _step in range(len(runtime.get().config.message_retry_s) + 2):
            work(account_id, channel_id, [conversation_id])
        assert statuses(account_id)["waits"] == ("queued", "")
        assert lanes.take(1) == []
    work(account_id, channel_id, [conversation_id])
    assert sent == ["waits"]


def test_a_held_event_that_we_cannot_record_holds_no_other(account_id: UUID, channel_id: UUID) -> None:
    make_conversation(account_id, channel_id)
    with transaction(account_id) as session:
        remote_id = str(session.scalar(text("select remote_id from clients")))
        at = clock.now().isoformat()
        good = {
            "client": {"remote_id": remote_id},
            "direction": "out",
            "remote_id": "5",
            "sent_at": at,
            "text": "by hand",
        }
        for number, event in enumerate(({"_": "Unheard"}, {"_": "MessageReceived", **good})):
            session.add(
                Parked(
                    account_id=account_id,
                    end_id=channel_id,
                    waits_for="echo",
                    remote_id=str(number),
                    event=event,
                    at=clock.now() - 2 * changes.ECHO_WAIT,
                )
            )
    held.release_overdue(account_id, channel_id)
    with transaction(account_id) as session:
        assert session.scalars(text("select text from messages")).all() == ["by hand"]
        assert session.scalars(text("select remote_id from parked")).all() == ["0"]
        session.execute(text("update parked set at = now() - interval '8 days'"))
    held.release_overdue(account_id, channel_id)
    with transaction(account_id) as session:
        assert session.scalars(text("select 1 from parked")).all() == []


def test_a_slice_whose_time_is_over_beats_no_longer(account_id: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    def over(_futures: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(exchange, "wait", over)
    with pytest.raises(TimeoutError):
        exchange.Slice().drain()
    beats = [thread for thread in threading.enumerate() if thread.name == "heartbeat"]
    for thread in beats:
        thread.join(2)
    assert not any(thread.is_alive() for thread in beats)


def test_an_answer_that_we_cannot_settle_makes_nobody_call_again_at_once(
    account_id: UUID, channel_id: UUID, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation_id = make_conversation(account_id, channel_id)
    answer(account_id, channel_id, conversation_id, "arrived")

    def fails(*_args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(outcomes, "settle", fails)
    with pytest.raises(ZeroDivisionError):
        work(account_id, channel_id, [conversation_id])
    assert sent == ["arrived"]
    assert lanes.take(1) == []
