"""Lanes: one holder at a time, in order, people before mailings; a gate closes them all."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random
from threading import Lock
from uuid import UUID

from sqlalchemy import text

from tests.unit.bridge.conftest import make_channel, make_conversation, make_lane
from widget_backend import ids
from widget_backend.bridge import errands, lanes, life, pull
from widget_backend.bridge.tenancy import transaction


def test_lane_is_held_by_one_worker_at_a_time(account_id: UUID, channel_id: UUID) -> None:
    for _ in range(10):
        make_lane(account_id, channel_id, make_conversation(account_id, channel_id))
    with ThreadPoolExecutor(8) as pool:
        batches = [batch for found in pool.map(lambda _: lanes.take(5), range(8)) for batch in found]
    held = [conversation for batch in batches for conversation in batch.conversations]
    assert len(held) == len(set(held)) == 10


def test_released_lane_is_due_again_and_an_expired_lease_is_taken_over(account_id: UUID, channel_id: UUID) -> None:
    conversation = make_conversation(account_id, channel_id)
    make_lane(account_id, channel_id, conversation)
    (batch,) = lanes.take(5)
    assert not lanes.take(5)
    lanes.release(batch)
    (again,) = lanes.take(5)
    assert again.conversations == (conversation,)
    _change("update lanes set lease_until = now() - interval '1 second'")
    (third,) = lanes.take(5)
    lanes.renew([again.token])
    lanes.release(again)  # whoever lost it can neither keep nor give back what is another's
    assert not lanes.take(5)
    lanes.release(third)


def test_person_goes_before_live_before_mailing_before_history(account_id: UUID, channel_id: UUID) -> None:
    _change("update gates set batch = 1, cap = 1")
    wanted = {}
    for priority in (3, 1, 2, 0):
        wanted[priority] = make_conversation(account_id, channel_id)
        make_lane(account_id, channel_id, wanted[priority], priority=priority)
    order: list[UUID] = []
    for _ in range(4):
        (batch,) = lanes.take(5)
        order += batch.conversations
        _settle(channel_id, batch.conversations[0])
        lanes.release(batch)
    assert order == [wanted[priority] for priority in (0, 1, 2, 3)]


def test_closed_gate_and_resting_adapter_give_nothing(account_id: UUID, channel_id: UUID) -> None:
    make_lane(account_id, channel_id, make_conversation(account_id, channel_id))
    assert not lanes.take(5, full_ends=[channel_id])
    assert not lanes.take(5, full_adapters=["vk"])
    life.set_state(account_id, channel_id, "error", "token_revoked")
    assert not lanes.take(5)
    life.set_state(account_id, channel_id, "active")
    assert lanes.take(5)


def test_failing_end_waits_and_then_sends_one_probe(account_id: UUID, channel_id: UUID) -> None:
    for _ in range(6):
        make_lane(account_id, channel_id, make_conversation(account_id, channel_id))
    (batch,) = lanes.take(5)
    assert len(batch.conversations) == 6
    lanes.fail(batch, timedelta(seconds=30))
    lanes.release(batch)
    assert not lanes.take(5)
    _change("update gates set not_before = now()")
    (probe,) = lanes.take(5)
    assert (len(probe.conversations), probe.failures) == (1, 1)
    assert not lanes.take(5), "nobody else goes while the probe is out"
    lanes.succeed(probe)
    (rest,) = lanes.take(5)
    assert len(rest.conversations) == 5


def test_probe_without_a_call_lets_another_lane_be_the_probe(account_id: UUID, channel_id: UUID) -> None:
    for _ in range(2):
        make_lane(account_id, channel_id, make_conversation(account_id, channel_id))
    _change("update gates set failures = 2")
    (probe,) = lanes.take(5)
    assert not lanes.take(5)
    lanes.probe_again(probe)
    (other,) = lanes.take(5)
    assert other.conversations != probe.conversations


def test_end_with_much_to_do_leaves_room_for_the_others(account_id: UUID, channel_id: UUID) -> None:
    for _ in range(100):
        make_lane(account_id, channel_id, make_conversation(account_id, channel_id))
    quiet = make_channel(account_id)
    make_lane(account_id, quiet, make_conversation(account_id, quiet))
    assert quiet in {batch.end_id for batch in lanes.take(5)}


def test_order_within_each_lane_holds_with_many_workers(account_id: UUID, channel_id: UUID) -> None:
    """Workers take, do one and give back, some of them forget to; each lane's deliveries are done in order, each once."""
    _change("update gates set batch = 1, cap = 3")
    conversations = [make_conversation(account_id, channel_id) for _ in range(5)]
    for conversation in conversations:
        make_lane(account_id, channel_id, conversation, waiting=8)
    done: dict[UUID, list[int]] = defaultdict(list)
    lock, dice = Lock(), Random(5)

    def work(_: int) -> None:
        for batch in lanes.take(2):
            for conversation in batch.conversations:
                with transaction(None) as session:
                    seq = session.scalar(
                        text(
                            "update lanes set settled_seq = settled_seq + 1 where end_id = :end and conversation_id = :c"
                            " and lease = :token and lease_until > now() and settled_seq < last_seq returning settled_seq"
                        ),
                        {"end": batch.end_id, "c": conversation, "token": batch.token},
                    )
                if seq is not None:
                    with lock:
                        done[conversation].append(seq)
            if dice.random() < 0.3:
                _change(f"update lanes set lease_until = now() where lease = '{batch.token}'")  # the worker died
            else:
                lanes.release(batch)

    with ThreadPoolExecutor(6) as pool:
        for _ in range(40):
            list(pool.map(work, range(6)))
    assert {conversation: done[conversation] for conversation in conversations} == {
        conversation: list(range(1, 9)) for conversation in conversations
    }


def test_renewing_waits_for_nobody(account_id: UUID, channel_id: UUID) -> None:
    for _ in range(2):
        make_lane(account_id, channel_id, make_conversation(account_id, channel_id))
    batches = lanes.take(1)
    _change("update lanes set lease_until = now() + interval '5 seconds'")
    with transaction(None) as session:
        held = session.scalar(text("select conversation_id from lanes limit 1 for update"))
        lanes.renew([batch.token for batch in batches])
    with transaction(None) as session:
        soon = text("select conversation_id from lanes where lease_until < now() + interval '10 seconds'")
        assert session.scalars(soon).all() == [held]


def test_what_is_slow_stays_leased_while_its_process_lives(account_id: UUID, channel_id: UUID) -> None:
    conversation_id = make_conversation(account_id, channel_id)
    _change(
        "insert into errands (subject_id, kind, account_id, end_id, conversation_id)"
        f" values ('{ids.new_id()}', 'file', '{account_id}', '{channel_id}', '{conversation_id}')"
    )
    _change("update gates set pull_at = now()")
    fetch, pulled = errands.take(1)[0], pull.take(1)[0]
    _change("update errands set not_before = now()")
    _change("update gates set pull_lease_until = now()")
    errands.renew([fetch.token])
    pull.renew([pulled.token])
    assert errands.take(1) == [] and pull.take(1) == []


def test_seconds_to_next_knows_lanes_and_gates(account_id: UUID, channel_id: UUID) -> None:
    assert lanes.seconds_to_next() is None
    make_lane(account_id, channel_id, make_conversation(account_id, channel_id))
    assert lanes.seconds_to_next() == 0
    _change("update gates set not_before = now() + interval '10 seconds'")
    assert 8 < (lanes.seconds_to_next() or 0) <= 10


def _settle(end_id: UUID, conversation_id: UUID) -> None:
    with transaction(None) as session:
        session.execute(
            text("update lanes set settled_seq = last_seq where end_id = :end and conversation_id = :c"),
            {"end": end_id, "c": conversation_id},
        )


def _change(statement: str) -> None:
    with transaction(None) as session:
        session.execute(text(statement))
