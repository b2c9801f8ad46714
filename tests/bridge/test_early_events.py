"""What comes before its time, late, or more than once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from tests.bridge.pair import Pair, new_user
from tests.stack import wait_for
from widget_backend.bridge.tenancy import transaction


def test_edit_before_its_message_is_parked_and_applied(pair: Pair) -> None:
    user = new_user()
    about = pair.message_new(user, "исправленное", 7001, update_time=1_790_000_500, version=9)["message"]
    pair.vk_hook("message_edit", about)
    wait_for(lambda: pair.rows("select 1 from parked"), what="the parked edit")
    pair.vk_hook("message_new", pair.message_new(user, "первое", 7001))
    wait_for(lambda: [row.text for row in pair.rows("select text from messages")] == ["исправленное"], what="the edit")
    pair.wait_quiet()
    assert not pair.rows("select 1 from parked")
    shown = {item["id"]: item["text"] for item in pair.desk("message", "edit") if item["who"] == "client"}
    assert list(shown.values()) == ["исправленное"]


def test_late_message_is_delivered_late_and_marked(pair: Pair) -> None:
    user = new_user()
    now = int(datetime.now(UTC).timestamp())
    pair.vk_hook("message_new", pair.message_new(user, "второе", 7002, date=now))
    pair.wait_seen(user, "второе")
    pair.vk_hook("message_new", pair.message_new(user, "первое", 7001, date=now - 600))
    pair.wait_seen(user, "второе", "первое")
    rows = pair.rows("select text, is_late from messages order by seq")
    assert [(row.text, row.is_late) for row in rows] == [("второе", False), ("первое", True)]


def test_same_event_sent_again_makes_one_message(pair: Pair) -> None:
    user = new_user()
    for _ in range(3):
        assert pair.vk_hook("message_new", pair.message_new(user, "раз", 7003), event_id="e" * 40).text == "ok"
    pair.wait_seen(user, "раз")
    pair.wait_quiet()
    assert len(pair.rows("select 1 from messages")) == 1


def test_same_message_in_another_event_makes_one_message(pair: Pair) -> None:
    user = new_user()
    for _ in range(3):
        pair.vk_hook("message_new", pair.message_new(user, "раз", 7004))
    pair.customer(user, text="два")
    pair.wait_seen(user, "раз", "два")
    pair.wait_quiet()
    assert pair.seen(user) == ["раз", "два"] and len(pair.rows("select 1 from messages")) == 2


def test_repeated_and_overtaking_hooks_make_each_message_once(pair: Pair) -> None:
    user = new_user()
    pair.faults("vk", repeat_hooks_rate=0.7, reorder_hooks_rate=0.5)
    said = {f"номер {number}" for number in range(12)}
    for one in said:
        pair.customer(user, text=one)
    wait_for(lambda: len(pair.seen(user)) >= 12, what="all messages")
    wait_for(lambda: len(pair.hooks("message_new")) > 12, what="repeated hooks")
    pair.wait_quiet()
    assert len(pair.seen(user)) == 12 and set(pair.seen(user)) == said


def test_pull_brings_what_hooks_lost_and_nothing_twice(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="раз")
    pair.wait_seen(user, "раз")
    pair.faults("vk", drop_hooks_rate=1)
    pair.customer(user, text="два")
    pair.customer(user, text="три")
    pair.faults("vk", drop_hooks_rate=0)
    pull(pair, pair.channel_id)
    pair.wait_seen(user, "раз", "два", "три")
    pull(pair, pair.channel_id)
    pair.wait_quiet()
    assert pair.seen(user) == ["раз", "два", "три"]


def test_pull_brings_answers_whose_only_event_was_lost(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    pair.operator(user, text="раз")
    pair.wait_got(user, "раз")
    pair.stack.control("bitrix24", "faults", only_account=pair.portal["member_id"], drop_hooks_rate=1)
    pair.operator(user, text="два")
    pair.stack.control("bitrix24", "faults", only_account="", drop_hooks_rate=0)
    pull(pair, pair.connection_id)
    pair.wait_got(user, "раз", "два")
    pull(pair, pair.connection_id)
    pair.wait_quiet()
    assert pair.got(user) == ["раз", "два"]


def test_parked_event_that_its_message_passed_by_is_found_by_the_sweep(pair: Pair) -> None:
    from widget_backend.bridge import codec, held
    from widget_backend.bridge.events import MessageEdited

    user = new_user()
    pair.customer(user, text="раз")
    pair.wait_seen(user, "раз")
    key = pair.rows("select remote_id from message_keys where end_id = :id", id=pair.channel_id)[0].remote_id
    event = MessageEdited(remote_id=key, edited_at=datetime.now(UTC), text="два", revision="99")
    with transaction(pair.account_id) as session:
        session.execute(
            text(
                "insert into parked (account_id, end_id, waits_for, scope, remote_id, event, trace_id)"
                " values (:account, :end, 'message', '', :key, cast(:event as jsonb), 't')"
            ),
            {"account": pair.account_id, "end": pair.channel_id, "key": key, "event": _json(codec.dump(event))},
        )
    held.release_overdue(pair.account_id, pair.channel_id)
    assert [row.text for row in pair.rows("select text from messages")] == ["два"]
    assert not pair.rows("select 1 from parked")


def test_echo_held_for_a_call_that_never_closed_is_recorded_after_a_while(pair: Pair) -> None:
    from widget_backend.bridge import codec, held
    from widget_backend.bridge.events import Direction, MessageReceived, Person

    user = new_user()
    pair.customer(user, text="раз")
    pair.wait_seen(user, "раз")
    conversation = pair.rows("select id from conversations")[0].id
    event = MessageReceived(
        remote_id="777777",
        direction=Direction.OUT,
        sent_at=datetime.now(UTC),
        client=Person(remote_id=str(user)),
        text="из ВК",
    )
    with transaction(pair.account_id) as session:
        session.execute(
            text(
                "insert into parked (account_id, end_id, waits_for, scope, remote_id, conversation_id, event, trace_id, at)"
                " values (:account, :end, 'echo', '', '777777', :conversation, cast(:event as jsonb), 't', :at)"
            ),
            {
                "account": pair.account_id,
                "end": pair.channel_id,
                "conversation": conversation,
                "event": _json(codec.dump(event)),
                "at": datetime.now(UTC) - timedelta(seconds=61),
            },
        )
    assert held.release_overdue(pair.account_id, pair.channel_id)
    pair.wait_seen(user, "раз", "из ВК")


def pull(pair: Pair, end_id: object) -> None:
    """Have an end pulled now, and wait until it was."""
    before = pair.rows("select clock_timestamp() as at")[0].at
    pair.change("update gates set pull_at = now() where end_id = :id", id=end_id)
    query = "select 1 from gates where end_id = :id and pulled_at > :before"
    wait_for(lambda: pair.rows(query, id=end_id, before=before), what="the pull")


def _json(value: object) -> str:
    import json

    return json.dumps(value)
