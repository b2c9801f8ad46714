"""What becomes of a delivery by the answers to its calls, without any process around it."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tests.unit.bridge.conftest import make_conversation
from widget_backend import ids
from widget_backend.bridge import deliver, lanes, life, outcomes, routes, runtime
from widget_backend.bridge.deliver import Call
from widget_backend.bridge.ends import Accepted, Act, Outcome
from widget_backend.bridge.errors import AccessLost, Rejected, Retry, Scope, Uncertain
from widget_backend.bridge.lanes import Batch
from widget_backend.bridge.repeat import CannotRepeat, repeat
from widget_backend.bridge.route import Matter, Outbox
from widget_backend.bridge.tenancy import transaction


@pytest.fixture
def conversation_id(account_id: UUID, channel_id: UUID) -> UUID:
    """Give a conversation in which an answer waits for its client."""
    conversation_id, message_id, origin_id = make_conversation(account_id, channel_id), ids.new_id(), ids.new_id()
    with transaction(account_id) as session:
        session.execute(
            text(
                "insert into messages (id, account_id, conversation_id, origin_end_id, seq, direction, author, author_id, text,"
                " content, version, revision, is_late, is_automatic, trace_id, sent_at)"
                " values (:id, :account, :conversation, :origin, 1, 'out', '', '', 'answer', '{}', 1, '', false, false, '', now())"
            ),
            {"id": message_id, "account": account_id, "conversation": conversation_id, "origin": origin_id},
        )
        outbox = Outbox(session, routes.read(session))
        outbox.message(
            Matter(
                account_id=account_id,
                channel_id=channel_id,
                conversation_id=conversation_id,
                message_id=message_id,
                origin_id=origin_id,
                act=Act.NEW,
                direction="out",
                text="answer",
            )
        )
        outbox.flush()
    return conversation_id


def call_out(batch: Batch, conversation_id: UUID) -> Call:
    """Open an attempt as the exchange does."""
    return deliver.prepare(batch, [conversation_id]).calls[0]


def take() -> Batch:
    """Lease the lane that is due."""
    return lanes.take(1)[0]


def try_with(account_id: UUID, conversation_id: UUID, outcome: Outcome) -> None:
    """Make one try that ends so, however long it should have waited for its turn."""
    with transaction(account_id) as session:
        session.execute(text("update lanes set not_before = now()"))
        session.execute(
            text("update gates set not_before = now(), failures = 0, ok_at = clock_timestamp() + interval '1 s'")
        )
    batch = take()
    outcomes.settle(batch, [call_out(batch, conversation_id)], [(outcome, 1)])
    lanes.release(batch)


def status(account_id: UUID) -> str:
    """Return the status of the one delivery."""
    with transaction(account_id) as session:
        return str(session.scalar(text("select status from deliveries")))


def test_an_answer_is_kept_though_its_end_was_disconnected_meanwhile(
    account_id: UUID, channel_id: UUID, conversation_id: UUID
) -> None:
    batch = take()
    call = call_out(batch, conversation_id)
    life.set_state(account_id, channel_id, "off")
    outcomes.settle(batch, [call], [(Accepted(remote_ids=("55",)), 1)])
    assert status(account_id) == "sent"


def test_lost_access_of_a_disconnected_end_is_no_news(
    account_id: UUID, channel_id: UUID, conversation_id: UUID
) -> None:
    batch = take()
    call = call_out(batch, conversation_id)
    life.set_state(account_id, channel_id, "off")
    outcomes.settle(batch, [call], [(AccessLost("token_revoked"), 1)])
    with transaction(account_id) as session:
        assert session.scalar(text("select state from ends")) == "off"
    assert status(account_id) == "queued"


@pytest.mark.parametrize(("first", "last"), [(Uncertain("no_answer"), "uncertain"), (Retry("refused"), "failed")])
def test_only_what_surely_did_not_arrive_has_failed(
    account_id: UUID, conversation_id: UUID, first: Outcome, last: str
) -> None:
    try_with(account_id, conversation_id, first)
    for _ in runtime.get().config.message_retry_s:
        assert status(account_id) == "queued"
        try_with(account_id, conversation_id, Retry("refused", scope=Scope.MESSAGE))
    if status(account_id) == "queued":
        try_with(account_id, conversation_id, Retry("refused", scope=Scope.MESSAGE))
    assert status(account_id) == last


def test_answers_are_settled_once_the_database_is_back(
    account_id: UUID, conversation_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = take()
    call = call_out(batch, conversation_id)
    settle, tries = outcomes.settle, iter([True, True, False])

    def away(*given: object) -> object:
        if next(tries):
            raise OperationalError("select", {}, Exception())
        return settle(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(outcomes, "settle", away)
    monkeypatch.setattr(deliver, "SETTLE_AGAIN_S", 0.01)
    deliver._settled(batch, [call], [(Accepted(remote_ids=("55",)), 1)])
    assert status(account_id) == "sent"


def test_a_late_refusal_does_not_touch_the_attempt_of_who_took_over(account_id: UUID, conversation_id: UUID) -> None:
    early = take()
    first = call_out(early, conversation_id)
    with transaction(account_id) as session:
        session.execute(text("update lanes set lease_until = now() - interval '1 s'"))
    second = call_out(take(), conversation_id)
    outcomes.settle(early, [first], [(Retry("refused", scope=Scope.MESSAGE), 1)])
    with transaction(account_id) as session:
        row = session.execute(
            text("select p.attempt_id, d.tries from parts p join deliveries d on d.id = p.delivery_id")
        ).one()
    assert (row.attempt_id, row.tries) == (second.attempt_id, 0)


def test_nothing_is_repeated_towards_an_end_that_is_off(
    account_id: UUID, channel_id: UUID, conversation_id: UUID
) -> None:
    try_with(account_id, conversation_id, Rejected("client_forbade"))
    life.set_state(account_id, channel_id, "off")
    with transaction(account_id) as session:
        delivery_id = session.scalar(text("select id from deliveries"))
    with pytest.raises(CannotRepeat, match="end_off"):
        repeat(account_id, delivery_id, key="a key", actor="Анна")
    assert status(account_id) == "failed"


def test_a_part_that_arrived_after_all_is_not_sent_again(account_id: UUID, conversation_id: UUID) -> None:
    batch = take()
    call = call_out(batch, conversation_id)
    with transaction(account_id) as session:
        session.execute(text("update parts set content = content || '{\"of\": 2}'"))
        session.execute(text("update deliveries set status = 'uncertain'"))
        session.execute(text("update lanes set settled_seq = last_seq"))
        delivery_id = session.scalar(text("select id from deliveries"))
    assert repeat(account_id, delivery_id, key="a key", actor="Анна")
    outcomes.settle(batch, [call], [(Accepted(remote_ids=("55",)), 1)])
    with transaction(account_id) as session:
        rows = session.execute(text("select generation, status, remote_ids from parts order by generation")).all()
    assert [tuple(row) for row in rows] == [(1, "accepted", ["55"]), (2, "accepted", ["55"])]
