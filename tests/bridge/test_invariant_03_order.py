"""Invariant 3 and what waits: order is kept whatever happens in between, answers expire, clients' messages never do."""

from __future__ import annotations

from tests.bridge.pair import Pair, new_user
from tests.stack import wait_for
from widget_backend.bridge import life


def test_answers_written_during_an_outage_leave_in_their_order(pair: Pair) -> None:
    user = _asked(pair)
    pair.faults("vk", outage=True)
    for number in range(6):
        pair.operator(user, text=f"ответ {number}")
    wait_for(lambda: pair.rows("select 1 from gates where failures > 1"), what="several failures")
    assert not pair.got(user)
    pair.faults("vk", outage=False)
    pair.wait_got(user, *(f"ответ {number}" for number in range(6)))


def test_message_with_a_slow_file_does_not_let_the_next_one_pass(pair: Pair) -> None:
    user = new_user()
    pair.customer_in_turn(user, {"text": "с файлом", "attachments": [{"type": "doc"}]}, {"text": "после"})
    pair.wait_seen(user, "с файлом", "после")


def test_expired_answer_is_never_sent_and_operator_reads_why(pair: Pair) -> None:
    user = _asked(pair)
    pair.faults("vk", outage=True)
    pair.operator(user, text="давно пора")
    wait_for(lambda: pair.rows("select 1 from attempts where outcome = 'retry'"), what="a first try")
    pair.operator(user, text="тоже давно")
    wait_for(lambda: pair.status("тоже давно", pair.channel_id) == "queued", what="the second answer waiting")
    pair.change("update deliveries set expires_at = now() where status = 'queued' and end_id = :id", id=pair.channel_id)
    pair.faults("vk", outage=False)
    pair.wait_status("давно пора", pair.channel_id, "expired")
    pair.wait_status("тоже давно", pair.channel_id, "expired")
    wait_for(lambda: len([t for t in pair.seen(user) if "не ушло вовремя" in t]) == 2, what="the reasons")
    pair.operator(user, text="новый ответ")
    pair.wait_got(user, "новый ответ")


def test_expired_answer_that_may_have_arrived_is_uncertain(pair: Pair) -> None:
    user = _asked(pair)
    pair.faults("vk", outage=True, outage_mode="reset", drop_hooks_rate=1)
    pair.operator(user, text="ответ")
    wait_for(lambda: pair.rows("select 1 from attempts where outcome = 'uncertain'"), what="a try without an answer")
    pair.change("update deliveries set expires_at = now() where status = 'queued' and end_id = :id", id=pair.channel_id)
    pair.wait_status("ответ", pair.channel_id, "uncertain")


def test_message_of_a_client_never_expires(pair: Pair) -> None:
    user = _asked(pair)
    pair.stack.control("bitrix24", "options", account=pair.portal["member_id"], refuse="PAYMENT_REQUIRED")
    pair.customer(user, text="второй вопрос")
    waiting = "m.text = 'второй вопрос' and d.end_id = :id and d.status = 'queued'"
    rows = wait_for(lambda: pair.deliveries(waiting, id=pair.connection_id), what="the waiting message")
    assert [row.expires_at for row in rows] == [None]
    pair.stack.control("bitrix24", "options", account=pair.portal["member_id"], refuse="")


def test_lost_access_closes_the_lanes_and_a_reconnect_opens_them_in_order(pair: Pair) -> None:
    user = _asked(pair)
    token = pair.community["token"]
    pair.stack.control("vk", "faults", own={"revoke_token": token})
    pair.operator(user, text="раз")
    state = "select state, reason from ends where id = :id"
    wait_for(lambda: pair.rows(state, id=pair.channel_id)[0].state == "error", what="the end in error")
    assert pair.rows(state, id=pair.channel_id)[0].reason == "token_revoked"
    pair.operator(user, text="два")
    pair.customer(user, text="ещё вопрос")
    wait_for(lambda: "ещё вопрос" in pair.seen(user), what="clients still reach the portal")
    assert not pair.got(user)
    made = pair.stack.control("vk", "make", token_for=pair.community["group_id"])
    life.change(pair.account_id, pair.channel_id, secrets={"token": made["token"]})
    life.connect(pair.account_id, pair.channel_id)
    pair.wait_got(user, "раз", "два")


def test_expired_oauth_token_is_refreshed_once_and_nothing_is_lost(pair: Pair) -> None:
    user = _asked(pair)
    pair.stack.control("bitrix24", "faults", expire_tokens=True)
    said = [f"вопрос {number}" for number in range(5)]
    pair.customer_in_turn(user, *({"text": one} for one in said))
    pair.wait_seen(user, "вопрос", *said)
    account = pair.portal["member_id"]
    refreshes = [
        item
        for item in pair.stack.look("bitrix24", f"ledger?since={pair.since['bitrix24']}")["items"]
        if item["kind"] == "oauth" and item["account"] == account and item["method"] == "refresh_token"
    ]
    assert len(refreshes) == 1


def _asked(pair: Pair) -> int:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    return user
