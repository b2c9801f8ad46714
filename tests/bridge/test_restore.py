"""After a restore from backup nothing that was open leaves by itself (design.md, "Past one machine"); what can be looked up is looked up.

The gates of a company stand in for the time of the backup: behind a closed gate deliveries stay as a backup would have caught them.
"""

from __future__ import annotations

import time

from sqlalchemy import create_engine, text

from tests.bridge.pair import Pair, new_user
from tests.stack import Stack, wait_for
from widget_backend.bridge import repeat, wake
from widget_backend.bridge.restore import COUNTER_JUMP, settle_after_restore


def _gates(pair: Pair, *, is_open: bool) -> None:
    pair.change("update gates set is_open = :open where account_id = :account", open=is_open, account=pair.account_id)


def _talk(pair: Pair) -> int:
    user = new_user()
    pair.customer(user, text="hello")
    pair.wait_seen(user, "hello")
    pair.operator(user, text="welcome")
    pair.wait_got(user, "welcome")
    pair.wait_quiet()
    return user


def _restore(pair: Pair) -> None:
    settle_after_restore(pair.stack.config)
    _gates(pair, is_open=True)
    wake.poke()


def _counter(stack: Stack) -> int:
    engine = create_engine(stack.config.database_owner_url)
    with engine.connect() as connection:
        value = int(connection.scalar(text("select last_value from part_counter")) or 0)
    engine.dispose()
    return value


def test_an_open_answer_is_uncertain_and_only_a_person_sends_it(pair: Pair) -> None:
    """Leave an answer open, restore: it does not leave, the operator is told, a person may send it."""
    user = _talk(pair)
    _gates(pair, is_open=False)
    pair.operator(user, text="answer")
    pair.wait_status("answer", pair.channel_id, "queued")
    counter = _counter(pair.stack)
    _restore(pair)
    assert pair.status("answer", pair.channel_id) == "uncertain"
    pair.wait_quiet()
    assert pair.got(user) == ["welcome"]
    assert _counter(pair.stack) > counter + COUNTER_JUMP
    told = pair.deliveries("d.act = 'status' and d.payload ->> 'status' = 'uncertain'")
    assert [(row.status, row.payload["reason"]) for row in told] == [("delivered", "restored")]
    audit = pair.rows("select details from audit_entries where action = 'server.restored'")
    assert audit[0].details["uncertain"] >= 1
    open_one = pair.deliveries("m.text = 'answer' and d.end_id = :end", end=pair.channel_id)[0]
    repeat.repeat(pair.account_id, open_one.id, key="once", actor="admin")
    pair.wait_got(user, "welcome", "answer")


def test_a_message_that_was_never_tried_in_the_backup_is_uncertain_in_the_crm_too(pair: Pair) -> None:
    """Its key was made after the backup, so that nobody can look for it; those behind it go on."""
    user = _talk(pair)
    _gates(pair, is_open=False)
    pair.customer(user, text="question")
    pair.wait_status("question", pair.connection_id, "queued")
    _restore(pair)
    assert pair.status("question", pair.connection_id) == "uncertain"
    pair.customer(user, text="another")
    pair.wait_status("another", pair.connection_id, "delivered")
    assert pair.seen(user) == ["hello", "welcome", "another"]


def test_a_tried_message_is_looked_up_and_not_shown_twice(pair: Pair) -> None:
    """Let the portal show a message, forget that, restore: the look-up finds it."""
    user = _talk(pair)
    pair.customer(user, text="question")
    pair.wait_status("question", pair.connection_id, "delivered")
    pair.wait_quiet()
    _gates(pair, is_open=False)
    _forget(pair, "question")
    _restore(pair)
    pair.wait_status("question", pair.connection_id, "delivered")
    assert pair.seen(user) == ["hello", "welcome", "question"]
    attempts = pair.rows(
        "select a.outcome, a.reason from attempts a join deliveries d on d.id = a.delivery_id join messages m"
        " on m.id = d.message_id where m.text = 'question' and d.act = 'new' order by a.id"
    )
    assert [(row.outcome, row.reason) for row in attempts] == [("lost", "restored"), ("accepted", "")]


def test_a_tried_message_that_is_not_there_is_shown_once(pair: Pair) -> None:
    """Let the portal refuse a message, restore: the look-up does not find it, then it goes."""
    user = _talk(pair)
    pair.faults("bitrix24", outage=True)
    pair.customer(user, text="question")
    wait_for(
        lambda: pair.rows(
            "select 1 from parts p join deliveries d on d.id = p.delivery_id join messages m"
            " on m.id = d.message_id where m.text = 'question'"
        ),
        what="a part",
    )
    _gates(pair, is_open=False)
    wait_for(lambda: not pair.rows("select 1 from attempts where outcome = 'open'"), what="the end of the call")
    pair.faults("bitrix24", outage=False)
    pair.change("update parts set attempted_at = now() - interval '1 minute'")
    _restore(pair)
    pair.wait_status("question", pair.connection_id, "delivered")
    assert pair.seen(user) == ["hello", "welcome", "question"]


def test_an_answer_from_before_the_restore_that_a_pull_brings_does_not_leave_by_itself(pair: Pair) -> None:
    """Lose an answer's event, restore: the pull finds it, and it may have been sent by the server that was lost."""
    user = _talk(pair)
    # nothing runs while a server is restored; here the workers do, and would pull what is judged only later
    _gates(pair, is_open=False)
    pair.faults("bitrix24", drop_hooks_rate=1.0)
    pair.operator(user, text="written before")
    pair.faults("bitrix24", drop_hooks_rate=0.0)
    _restore(pair)
    pair.wait_status("written before", pair.channel_id, "uncertain")
    begun = time.time()
    wait_for(lambda: time.time() > begun + 1, what="a new second: the portal's moments are whole ones")
    pair.operator(user, text="written after")
    pair.wait_got(user, "welcome", "written after")


def _forget(pair: Pair, message: str) -> None:
    """Put a delivery back to where a backup in the middle of its call has it."""
    one = pair.deliveries("m.text = :message and d.end_id = :end", message=message, end=pair.connection_id)[0]
    place = {"end": one.end_id, "conversation": one.conversation_id}
    pair.change("update attempts set outcome = 'open', duration_ms = null where delivery_id = :id", id=one.id)
    pair.change(
        "update parts set status = 'queued', remote_ids = '{}', attempted_at = now() - interval '1 minute', attempt_id ="
        " (select max(a.id) from attempts a where a.part_id = parts.id) where delivery_id = :id",
        id=one.id,
    )
    pair.change("update deliveries set status = 'queued', settled_at = null where id = :id", id=one.id)
    pair.change(
        "update lanes set settled_seq = last_seq - 1 where end_id = :end and conversation_id = :conversation", **place
    )
