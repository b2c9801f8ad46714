"""Invariant 2: one message in a network is one message in a CRM and the other way round, however often hooks repeat or workers die."""

from __future__ import annotations

import time
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from tests.bridge.pair import Pair, new_user
from tests.stack import wait_for
from widget_backend.bridge import deliver, lanes, registry, repeat
from widget_backend.bridge.ends import Accepted
from widget_backend.bridge.errors import Uncertain


def test_lost_answer_of_vk_is_made_good_by_its_echo(pair: Pair) -> None:
    user = _asked(pair)
    pair.faults("vk", lose_answers_rate=1)
    pair.operator(user, text="ответ")
    pair.wait_status("ответ", pair.channel_id, "sent")
    pair.faults("vk", lose_answers_rate=0)
    pair.wait_quiet()
    assert pair.got(user) == ["ответ"] and len(pair.desk("delivered")) == 1


def test_lost_answer_and_lost_echo_of_vk_leave_one_message_and_status_sent(pair: Pair) -> None:
    user = _asked(pair)
    pair.faults("vk", lose_answers_rate=1, drop_hooks_rate=1)
    pair.operator(user, text="ответ")
    wait_for(lambda: len(_attempts(pair, "ответ")) >= 2, what="a repeat")
    pair.faults("vk", lose_answers_rate=0)
    pair.wait_status("ответ", pair.channel_id, "sent")
    pair.wait_quiet()
    assert pair.got(user) == ["ответ"]
    assert "uncertain" in _outcomes(pair, "ответ")
    assert len(pair.desk("delivered")) == 1


def test_lost_answer_of_the_portal_is_looked_up_and_leaves_one_message(pair: Pair) -> None:
    user = _asked(pair)
    # the portal's twin cannot tell accounts apart here, so everything it answers is lost for a moment
    pair.stack.control("bitrix24", "faults", lose_answers_rate=1)
    pair.customer(user, text="второй вопрос")
    wait_for(lambda: len(pair.seen(user)) == 2, what="the message on the portal")
    pair.stack.control("bitrix24", "faults", lose_answers_rate=0)
    pair.wait_status("второй вопрос", pair.connection_id, "delivered", within_s=30)
    pair.wait_quiet()
    assert pair.seen(user) == ["вопрос", "второй вопрос"]
    assert "uncertain" in _outcomes(pair, "второй вопрос")


def test_killed_workers_leave_one_message(pair: Pair) -> None:
    user = _asked(pair)
    pair.faults("vk", latency_ms=2500)
    pair.operator(user, text="ответ")
    wait_for(lambda: "open" in _outcomes(pair, "ответ"), what="an open attempt")
    _kill_workers(pair)
    pair.faults("vk", latency_ms=0)
    pair.wait_status("ответ", pair.channel_id, "sent", within_s=40)
    pair.wait_quiet()
    assert pair.got(user) == ["ответ"]


def test_killed_workers_leave_one_message_on_the_portal(pair: Pair) -> None:
    user = _asked(pair)
    pair.stack.control("bitrix24", "faults", latency_ms=2500)
    pair.customer(user, text="второй вопрос")
    wait_for(lambda: "open" in _outcomes(pair, "второй вопрос"), what="an open attempt")
    _kill_workers(pair)
    pair.stack.control("bitrix24", "faults", latency_ms=0)
    wait_for(lambda: "open" not in _outcomes(pair, "второй вопрос"), within_s=40, what="the lost attempt judged")
    assert "lost" in _outcomes(pair, "второй вопрос")
    if len(pair.seen(user)) == 2:  # it had arrived: found by the look-up
        pair.wait_status("второй вопрос", pair.connection_id, "delivered", within_s=30)
    assert len(pair.seen(user)) <= 2


def test_third_lost_lease_quarantines_the_delivery_and_the_conversation_goes_on(pair: Pair) -> None:
    user = _asked(pair)
    pair.faults("vk", outage=True)
    pair.operator(user, text="проклятый")
    wait_for(lambda: "retry" in _outcomes(pair, "проклятый"), what="a first try")
    wait_for(lambda: "open" not in _outcomes(pair, "проклятый"), what="no call under way")
    pair.change("update gates set is_open = false where end_id = :id", id=pair.channel_id)
    pair.change(
        "update deliveries set lost_leases = 2 where message_id in (select id from messages where text = 'проклятый')"
    )
    pair.change(
        "update parts set attempt_id = (select max(id) from attempts) where delivery_id in"
        " (select d.id from deliveries d join messages m on m.id = d.message_id where m.text = 'проклятый')"
    )
    pair.faults("vk", outage=False)
    pair.change(
        "update gates set is_open = true, failures = 0, not_before = now() where end_id = :id", id=pair.channel_id
    )
    pair.wait_status("проклятый", pair.channel_id, "uncertain")
    assert pair.deliveries("m.text = 'проклятый' and d.act = 'new'")[0].reason == "quarantined"
    pair.operator(user, text="следующий")
    pair.wait_got(user, "следующий")
    wait_for(lambda: [t for t in pair.seen(user) if "прерывалась несколько раз" in t], what="the reason on the portal")


class Careless:
    """An end that offers neither key nor look-up, and whose answers are lost."""

    sent: ClassVar[list[str]] = []

    def __init__(self, end: object) -> None:
        pass

    def send(self, batch: Any) -> list[Any]:
        """Take everything and lose the first answer."""
        Careless.sent += [item.text for item in batch]
        if len(Careless.sent) == 1:
            raise Uncertain("no_answer")
        return [Accepted(remote_ids=(f"r{len(Careless.sent)}",)) for _ in batch]

    def mark_read(self, item: Any) -> Accepted:
        """Take it."""
        return Accepted()


def test_end_without_key_and_lookup_stays_uncertain_until_a_person_repeats(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from widget_backend.bridge.ends import Repeat

    user = _asked(pair)
    _only_here(pair)
    manifest = registry.manifest("vk")
    monkeypatch.setitem(
        registry._all(), "vk", replace(manifest, capabilities=replace(manifest.capabilities, repeat=Repeat.NEVER))
    )
    monkeypatch.setattr(registry, "adapter", lambda end: Careless(end))
    Careless.sent = []
    pair.operator(user, text="ответ")
    wait_for(lambda: pair.status("ответ", pair.channel_id) == "queued", what="the answer in its lane")
    _work(pair)
    assert pair.status("ответ", pair.channel_id) == "uncertain"
    for _ in range(3):
        _work(pair)
    assert Careless.sent == ["ответ"], "nothing is repeated by itself"
    delivery = pair.deliveries("m.text = 'ответ' and d.act = 'new'")[0]
    assert repeat.repeat(pair.account_id, delivery.id, key="click", actor="Анна")
    assert not repeat.repeat(pair.account_id, delivery.id, key="click", actor="Анна"), (
        "a second click is the same repeat"
    )
    _work(pair)
    assert Careless.sent == ["ответ", "ответ"]
    assert pair.status("ответ", pair.channel_id) == "sent"
    parts = pair.rows(
        "select generation, counter from parts where delivery_id = :id order by generation", id=delivery.id
    )
    assert [part.generation for part in parts] == [1, 2] and parts[0].counter != parts[1].counter
    with pytest.raises(repeat.CannotRepeat):
        repeat.repeat(pair.account_id, delivery.id, key="another", actor="Анна")


def test_true_answer_that_comes_late_wins_over_uncertain(pair: Pair) -> None:
    from widget_backend.bridge import outcomes

    user = _asked(pair)
    _only_here(pair)
    pair.operator(user, text="ответ")
    wait_for(lambda: pair.status("ответ", pair.channel_id) == "queued", what="the answer in its lane")
    _open_gate(pair)
    batch = next(one for one in lanes.take(100) if one.end_id == pair.channel_id)
    prepared = deliver.prepare(batch, batch.conversations)
    pair.change(
        "update deliveries set status = 'uncertain' where id = :id", id=prepared.calls[0].delivery_id
    )  # as another worker would after a lost lease
    outcomes.settle(batch, prepared.calls, [(Accepted(remote_ids=("987654",)), 12)])
    lanes.release(batch)
    assert pair.status("ответ", pair.channel_id) == "sent"


def test_batches_leased_together_give_back_only_their_own_lanes(pair: Pair) -> None:
    first, second = _asked(pair), _asked(pair)
    _only_here(pair)
    pair.operator(first, text="один")
    pair.operator(second, text="два")
    wait_for(lambda: pair.status("два", pair.channel_id) == "queued", what="both answers waiting")
    pair.change("update gates set batch = 1, is_open = true where end_id = :id", id=pair.channel_id)
    one, two = (batch for batch in lanes.take(100) if batch.end_id == pair.channel_id)
    pair.change("update gates set is_open = false where end_id = :id", id=pair.channel_id)
    assert one.token == two.token
    lanes.release(one)
    leased = pair.rows("select conversation_id from lanes where lease = :token", token=two.token)
    assert [row.conversation_id for row in leased] == list(two.conversations)
    lanes.release(two)


def _asked(pair: Pair) -> int:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    return user


def _attempts(pair: Pair, said: str) -> list[Any]:
    return pair.rows(
        "select a.outcome from attempts a join deliveries d on d.id = a.delivery_id"
        " join messages m on m.id = d.message_id where m.text = :said and d.act = 'new' order by a.id",
        said=said,
    )


def _outcomes(pair: Pair, said: str) -> list[str]:
    return [row.outcome for row in _attempts(pair, said)]


def _kill_workers(pair: Pair) -> None:
    names = [name for name in pair.stack.processes if name.startswith("exchange")]
    starts = {name: pair.stack.processes[name].starts for name in names}
    for name in names:
        pair.stack.kill(name)
    wait_for(
        lambda: all(pair.stack.processes[name].starts > starts[name] for name in names), what="the workers' new start"
    )


def _only_here(pair: Pair) -> None:
    """Keep the workers from this channel: the test works its lanes itself."""
    pair.wait_quiet()
    pair.change("update gates set is_open = false where end_id = :id", id=pair.channel_id)
    time.sleep(0.1)


def _open_gate(pair: Pair) -> None:
    pair.change("update gates set is_open = true, not_before = now() where end_id = :id", id=pair.channel_id)


def _work(pair: Pair) -> None:
    """Lease and deliver this channel's lanes as a worker would, before the workers see them."""
    token = uuid4()
    leased = pair.rows(
        "update lanes set lease = :token, lease_until = now() + interval '30 seconds'"
        " where end_id = :id and settled_seq < last_seq returning conversation_id",
        token=token,
        id=pair.channel_id,
    )
    if leased:
        batch = lanes.Batch(pair.channel_id, pair.account_id, "vk", token, tuple(row.conversation_id for row in leased))
        deliver.deliver(batch, may_go_on=lambda: True)
