"""An edit or a deletion that meets its message failed, waiting or in doubt: the newest wording arrives, once, and nothing is forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.bridge.pair import Pair, new_user
from tests.stack import Json, wait_for
from widget_backend.bridge import deliver, held, lanes, outcomes, registry, repeat, routes
from widget_backend.bridge.ends import Repeat
from widget_backend.bridge.errors import Rejected, Retry, Scope, Uncertain
from widget_backend.bridge.lanes import Batch
from widget_backend.bridge.models import Delivery
from widget_backend.bridge.route import Outbox
from widget_backend.bridge.settle import Settlement, lock
from widget_backend.bridge.statuses import Status
from widget_backend.bridge.tenancy import transaction

LONG = " ".join(f"слово{number}" for number in range(800))


@pytest.fixture(autouse=True)
def careful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let VK be, in this process alone, an end that offers neither key nor look-up."""
    manifest = registry.manifest("vk")
    never = replace(manifest, capabilities=replace(manifest.capabilities, repeat=Repeat.NEVER))
    monkeypatch.setitem(registry._all(), "vk", never)


class Held:
    """An answer of the operator to one customer, whose call this test makes by itself; the workers are kept from the channel."""

    def __init__(self, pair: Pair, text: str = "пятьсот") -> None:
        self.pair, self.user = pair, new_user()
        pair.customer(self.user, text="вопрос")
        pair.wait_seen(self.user, "вопрос")
        pair.wait_quiet()
        self.close()
        pair.faults("vk", drop_hooks_rate=1)
        pair.operator(self.user, text=text)
        wait_for(lambda: pair.status(text, pair.channel_id) == "queued", what="the answer in its lane")
        self.known_id = str(
            pair.rows(
                "select remote_id from message_keys where end_id = :id order by remote_id desc", id=pair.connection_id
            )[0].remote_id
        )
        self.message_id = pair.rows("select id from messages where direction = 'out'")[0].id
        self.batch, self.prepared = self.lease()
        self.answers: list[Any] = []

    def lease(self) -> tuple[Batch, deliver.Prepared]:
        """Take the lane as a worker would and open the attempts."""
        token = uuid4()
        leased = self.pair.rows(
            "update lanes set lease = :token, lease_until = now() + interval '60 seconds', not_before = now()"
            " where end_id = :id and settled_seq < last_seq returning conversation_id",
            token=token,
            id=self.pair.channel_id,
        )
        conversations = tuple(row.conversation_id for row in leased)
        batch = Batch(self.pair.channel_id, self.pair.account_id, "vk", token, conversations)
        return batch, deliver.prepare(batch, conversations)

    def leave_in_doubt(self, *, arrives: bool) -> None:
        """Make the call, or lose it before it arrives; either way its answer is lost."""
        if arrives:
            self.answers = deliver.call(self.prepared.end, self.prepared.calls)  # type: ignore[arg-type]
        self.settle([(Uncertain("read_timeout"), 5)])
        assert self.new.status == "uncertain"

    def settle(self, results: list[Any]) -> None:
        """Write what became of the call."""
        outcomes.settle(self.batch, self.prepared.calls, results)
        lanes.release(self.batch)

    def work(self) -> None:
        """Work the channel's lane until nothing is due in it."""
        batch, _prepared = self.lease()
        deliver.deliver(batch, may_go_on=lambda: True)

    def close(self) -> None:
        """Keep the workers from the channel."""
        self.pair.change("update gates set is_open = false where end_id = :id", id=self.pair.channel_id)

    def open(self) -> None:
        """Let the workers do the rest."""
        self.pair.faults("vk", drop_hooks_rate=0)
        self.pair.change(
            "update gates set is_open = true, failures = 0, not_before = now() where end_id = :id",
            id=self.pair.channel_id,
        )

    def edit(self, text: str) -> None:
        """Let the portal tell that the operator edited the answer."""
        self._portal("ONIMCONNECTORMESSAGEUPDATE", text)
        wait_for(lambda: self._is_now("text = :text", text=text), what="the edit recorded")

    def delete(self) -> None:
        """Let the portal tell that the operator deleted the answer."""
        self._portal("ONIMCONNECTORMESSAGEDELETE")
        wait_for(lambda: self._is_now("deleted_at is not null"), what="the deletion recorded")

    def _is_now(self, what: str, **values: object) -> bool:
        return bool(self.pair.rows(f"select 1 from messages where id = :id and {what}", id=self.message_id, **values))

    @property
    def new(self) -> Any:
        """The delivery of the answer itself."""
        return self.changes("new")[0]

    def changes(self, act: str) -> list[Any]:
        """Return the deliveries of one act to the channel."""
        return self.pair.deliveries(
            "d.message_id = :id and d.end_id = :end and d.act = :act",
            id=self.message_id,
            end=self.pair.channel_id,
            act=act,
        )

    def told(self, act: str) -> list[tuple[str, str]]:
        """Return (status, reason) of the deliveries of one act."""
        return [(row.status, row.reason) for row in self.changes(act)]

    @property
    def phone(self) -> list[str]:
        """What the customer sees of the company's messages now."""
        return _on_phone(self.pair, self.user)

    def _portal(self, event: str, text: str = "") -> None:
        pair, (chat, message) = self.pair, self.known_id.split(":")
        at = pair.rows("select settings from ends where id = :id", id=pair.connection_id)[0].settings
        form: Json = {
            "event": event,
            "data[CONNECTOR]": at["connector"],
            "data[LINE]": at["line"],
            "data[MESSAGES][0][im][chat_id]": chat,
            "data[MESSAGES][0][im][message_id]": message,
            "data[MESSAGES][0][message][id]": self.known_id,
            "data[MESSAGES][0][chat][id]": pair.rows("select remote_id from links")[0].remote_id,
            "ts": str(1_790_000_000 + len(pair.rows("select 1 from inbox"))),
            "auth[member_id]": pair.portal["member_id"],
            "auth[application_token]": pair.secrets_of(pair.connection_id)["application_token"],
            "auth[client_endpoint]": at["client_endpoint"],
        }
        if text:
            form["data[MESSAGES][0][message][text]"] = f"[b]Оператор:[/b] [br]{text}"
        answer = requests.post(f"{pair.hook_url(pair.connection_id)}/event", data=form, timeout=30)
        assert answer.status_code == 200

    def repeat(self) -> None:
        """Let a person send the answer again."""
        assert repeat.repeat(self.pair.account_id, self.new.id, key=uuid4().hex, actor="Анна")


def test_edit_of_a_message_in_doubt_waits_and_follows_when_it_turns_out_to_be_there(pair: Pair) -> None:
    answer = Held(pair)
    answer.leave_in_doubt(arrives=True)
    answer.edit("шестьсот")
    answer.edit("семьсот")
    answer.work()
    assert answer.told("edit") == [("queued", "message_open")] * 2
    assert not pair.rows("select 1 from lanes where end_id = :id and settled_seq < last_seq", id=pair.channel_id), (
        "the conversation goes on"
    )
    answer.settle(answer.answers)
    assert answer.new.status == "sent"
    answer.open()
    wait_for(lambda: answer.phone == ["семьсот"], what="the edit on the phone")
    pair.wait_quiet()
    assert answer.told("edit") == [("discarded", "superseded"), ("sent", "")]
    assert len(pair.phone(answer.user, "edit")) == 1


def test_edit_of_a_message_in_doubt_goes_with_it_when_a_person_repeats_it(pair: Pair) -> None:
    answer = Held(pair)
    answer.leave_in_doubt(arrives=False)
    answer.edit("шестьсот")
    answer.work()
    answer.repeat()
    answer.open()
    wait_for(lambda: answer.new.status == "sent", what="the repeat")
    pair.wait_quiet()
    assert answer.phone == ["шестьсот"] and not pair.phone(answer.user, "edit")
    assert answer.told("edit") == [("discarded", "superseded")]


def test_edit_follows_when_the_first_call_arrived_while_its_repeat_waited(pair: Pair) -> None:
    answer = Held(pair)
    answer.leave_in_doubt(arrives=True)
    answer.edit("шестьсот")
    answer.repeat()
    answer.settle(answer.answers)
    answer.open()
    wait_for(lambda: answer.phone == ["шестьсот"], what="the edit on the phone")
    pair.wait_quiet()
    assert len(pair.got(answer.user)) == 1, "the repeat was spared"


def test_edit_of_a_message_in_doubt_is_dropped_when_it_failed(pair: Pair) -> None:
    answer = Held(pair)
    answer.leave_in_doubt(arrives=False)
    answer.edit("шестьсот")
    answer.work()
    _move(pair, answer.new, Status.FAILED)
    answer.open()
    pair.wait_quiet()
    assert answer.told("edit") == [("discarded", "message_not_there")] and answer.phone == []


def test_edit_made_after_a_message_failed_follows_when_it_had_arrived_after_all(pair: Pair) -> None:
    answer = Held(pair)
    answer.answers = deliver.call(answer.prepared.end, answer.prepared.calls)  # type: ignore[arg-type]
    answer.settle([(Rejected("client_forbade"), 5)])
    answer.edit("шестьсот")
    assert answer.told("edit") == []
    answer.settle(answer.answers)
    answer.open()
    wait_for(lambda: answer.phone == ["шестьсот"], what="the edit on the phone")


def test_deletion_of_a_message_in_doubt_follows_when_it_turns_out_to_be_there(pair: Pair) -> None:
    answer = Held(pair)
    answer.leave_in_doubt(arrives=True)
    answer.edit("шестьсот")
    answer.delete()
    answer.work()
    assert answer.told("delete") == [("queued", "message_open")]
    answer.settle(answer.answers)
    answer.open()
    wait_for(lambda: pair.phone(answer.user, "delete"), what="the deletion on the phone")
    pair.wait_quiet()
    assert answer.phone == [] and not pair.phone(answer.user, "edit")


def test_edit_of_a_message_that_stays_in_doubt_is_closed_and_still_follows_a_late_answer(pair: Pair) -> None:
    answer = Held(pair)
    answer.leave_in_doubt(arrives=True)
    answer.edit("шестьсот")
    answer.work()
    assert held.close_changes(pair.account_id) == 0
    pair.change("update deliveries set created_at = now() - interval '25 hours' where act = 'edit'")
    assert held.close_changes(pair.account_id) == 1
    assert answer.told("edit") == [("discarded", "message_unknown")]
    answer.settle(answer.answers)
    answer.open()
    wait_for(lambda: answer.phone == ["шестьсот"], what="the edit on the phone")
    pair.wait_quiet()
    assert len(pair.phone(answer.user, "edit")) == 1


def test_nobody_can_repeat_an_answer_that_was_deleted(pair: Pair) -> None:
    answer = Held(pair)
    answer.leave_in_doubt(arrives=False)
    answer.delete()
    with pytest.raises(repeat.CannotRepeat, match="not_repeatable"):
        answer.repeat()


def test_message_that_failed_and_was_edited_is_repeated_as_it_is_now(pair: Pair) -> None:
    answer = Held(pair)
    answer.settle([(Rejected("client_forbade"), 5)])
    answer.edit("шестьсот")
    answer.repeat()
    answer.edit("семьсот")
    answer.open()
    wait_for(lambda: answer.new.status == "sent", what="the repeat")
    pair.wait_quiet()
    assert pair.got(answer.user) == ["семьсот"] and not pair.phone(answer.user, "edit")
    assert answer.told("edit") == [("discarded", "superseded")]


def test_edit_of_a_message_that_surely_did_not_leave_goes_in_its_place(pair: Pair) -> None:
    answer = Held(pair)
    answer.settle([(Retry("refused", scope=Scope.MESSAGE), 5)])
    assert answer.new.status == "queued" and answer.new.tries == 1
    answer.edit("шестьсот")
    answer.open()
    wait_for(lambda: answer.new.status == "sent", what="the next try")
    pair.wait_quiet()
    assert pair.got(answer.user) == ["шестьсот"] and not pair.phone(answer.user, "edit")
    assert answer.told("edit") == [("discarded", "superseded")]


def test_answer_deleted_between_two_tries_is_not_sent(pair: Pair) -> None:
    answer = Held(pair)
    answer.settle([(Retry("refused", scope=Scope.MESSAGE), 5)])
    answer.delete()
    answer.open()
    pair.wait_quiet()
    assert answer.told("new") == [("discarded", "deleted_before_sending")]
    assert answer.told("delete") == [("discarded", "message_not_there")] and not pair.got(answer.user)


def test_repeat_of_a_half_sent_long_answer_edits_what_stands_and_sends_the_rest(pair: Pair) -> None:
    answer = Held(pair, LONG)
    answer.settle(deliver.call(answer.prepared.end, answer.prepared.calls))  # type: ignore[arg-type]
    assert len(pair.got(answer.user)) == 1
    _move(pair, answer.new, Status.FAILED)
    changed = "начало " + LONG
    answer.edit(changed)
    answer.repeat()
    answer.open()
    wait_for(lambda: answer.new.status == "sent", what="the repeat")
    pair.wait_quiet()
    assert " ".join(answer.phone) == changed and len(pair.got(answer.user)) == 2


def test_answer_made_short_and_long_again_stands_as_it_was_written_last(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    said = pair.operator(user, text=LONG)["id"]
    wait_for(lambda: pair.desk("delivered"), what="the report")
    for text in ("коротко", "опять " + LONG, "и снова " + LONG):
        pair.operator(edit=said, text=text)
        _wait_reads(pair, user, text)
    pair.wait_quiet()
    assert len(_on_phone(pair, user)) == 2


def _move(pair: Pair, delivery: Any, status: Status) -> None:
    """Let a delivery become what its end would tell of it."""
    with transaction(pair.account_id) as session:
        lock(session, [delivery.conversation_id])
        outbox = Outbox(session, routes.read(session))
        settlement = Settlement(session, outbox)
        assert settlement.move(session.get_one(Delivery, delivery.id), status, "client_forbade")
        settlement.flush()
        outbox.flush()


def _wait_reads(pair: Pair, user: int, text: str) -> None:
    wait_for(lambda: " ".join(_on_phone(pair, user)) == text, what=text[:20])


def _on_phone(pair: Pair, user: int) -> list[str]:
    shown: dict[str, str] = {}
    for item in pair.phone(user, "message", "edit", "delete"):
        if item["direction"] == "out" and item["kind"] == "delete":
            shown.pop(item["id"])
        elif item["direction"] == "out":
            shown[item["id"]] = item["text"]
    return list(shown.values())
