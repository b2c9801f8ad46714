"""What happens to a message after it was written: edits, deletions, statuses, read marks, a client who forbids."""

from __future__ import annotations

from typing import Any

from tests.bridge.pair import Pair, new_user
from tests.stack import Json, wait_for
from widget_backend.bridge import repeat

LONG = " ".join(f"слово{number}" for number in range(800))


def test_edit_of_customer_changes_the_message_on_the_portal(pair: Pair) -> None:
    user = new_user()
    said = pair.customer(user, text="хочу кружку")
    pair.wait_seen(user, "хочу кружку")
    pair.customer(user, edit=said["id"], text="хочу две кружки")
    edits = wait_for(lambda: pair.desk("edit"), what="the edit on the portal")
    assert [item["text"] for item in edits] == ["хочу две кружки"]
    assert pair.seen(user) == ["хочу кружку"], "changed, not written once more"
    assert [row.text for row in pair.rows("select text from message_versions")] == ["хочу кружку"]


def test_edit_of_operator_changes_the_message_on_the_phone(pair: Pair) -> None:
    user = new_user()
    answer = _answer(pair, user, "пятьсот")
    pair.operator(edit=answer, text="шестьсот")
    edits = wait_for(lambda: pair.phone(user, "edit"), what="the edit on the phone")
    assert [item["text"] for item in edits] == ["шестьсот"]
    wait_for(lambda: len(pair.hooks("message_edit")) == 1, what="VK's echo of the edit")
    pair.wait_quiet()
    versions = pair.rows("select version, text from messages where direction = 'out'")
    assert [(row.version, row.text) for row in versions] == [(2, "шестьсот")], "the echo of our edit is no new edit"


def test_edit_of_a_long_answer_changes_its_parts_and_keeps_its_text(pair: Pair) -> None:
    user = new_user()
    answer = _answer(pair, user, LONG, parts=2)
    changed = "начало " + LONG
    pair.operator(edit=answer, text=changed)
    wait_for(lambda: " ".join(_on_phone(pair, user)) == changed, what="the edited parts")
    wait_for(lambda: len(pair.hooks("message_edit")) == 2, what="VK's echoes")
    pair.wait_quiet()
    assert [row.text for row in pair.rows("select text from messages where direction = 'out'")] == [changed]


def test_edit_of_a_long_answer_to_a_short_one_deletes_the_part_too_many(pair: Pair) -> None:
    user = new_user()
    answer = _answer(pair, user, LONG, parts=2)
    pair.operator(edit=answer, text="коротко")
    wait_for(lambda: _on_phone(pair, user) == ["коротко"], what="one part left")


def test_edit_after_a_person_repeated_one_part_changes_the_parts_that_stand(pair: Pair) -> None:
    user = new_user()
    answer = _answer(pair, user, LONG, parts=2)
    delivery = pair.deliveries("d.end_id = :id and d.act = 'new'", id=pair.channel_id)[0].id
    pair.change(
        "update parts set status = 'queued', remote_ids = '{}' where number = 2 and delivery_id = :id", id=delivery
    )
    pair.change("update deliveries set status = 'failed' where id = :id", id=delivery)
    assert repeat.repeat(pair.account_id, delivery, key="click", actor="Анна")
    wait_for(lambda: len(pair.got(user)) == 3, what="the second part sent again, and only that")
    pair.wait_quiet()
    pair.operator(edit=answer, text="начало " + LONG)
    wait_for(lambda: len(pair.phone(user, "edit")) >= 2, what="both parts edited")
    pair.wait_quiet()
    first, _second, third = [item["id"] for item in pair.phone(user, "message") if item["direction"] == "out"]
    assert [item["id"] for item in pair.phone(user, "edit")] == [first, third]
    assert not pair.phone(user, "delete")


def test_admins_edit_of_one_part_in_vk_changes_only_that_part_of_the_message(pair: Pair) -> None:
    user = new_user()
    _answer(pair, user, LONG, parts=2)
    last = [item for item in pair.phone(user, "message") if item["direction"] == "out"][-1]
    changed = last["text"].replace("слово799", "конец")
    body = pair.message_new(user, changed, int(last["id"]))["message"]
    about = body | {"from_id": -int(pair.community["group_id"]), "out": 1, "admin_author_id": 777, "version": 10**8}
    assert pair.vk_hook("message_edit", about).text == "ok"
    wait_for(
        lambda: pair.rows("select text from messages where direction = 'out'")[0].text.endswith("конец"),
        what="the edit",
    )
    assert pair.rows("select text from messages where direction = 'out'")[0].text == LONG.replace("слово799", "конец")


def test_deletion_by_operator_deletes_every_part_on_the_phone(pair: Pair) -> None:
    user = new_user()
    answer = _answer(pair, user, LONG, parts=2)
    pair.operator(delete=answer)
    wait_for(lambda: len(pair.phone(user, "delete")) == 2, what="both parts deleted")
    pair.wait_quiet()
    assert pair.rows("select deleted_at from messages where direction = 'out'")[0].deleted_at is not None


def test_answer_deleted_before_it_left_is_never_sent(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    pair.faults("vk", outage=True)
    pair.operator(user, text="первый")
    wait_for(lambda: pair.rows("select 1 from attempts where outcome = 'retry'"), what="a first try")
    pair.operator(user, text="лишний")
    wait_for(lambda: pair.status("лишний", pair.channel_id) == "queued", what="the second answer waiting")
    deleted = pair.rows(
        "select k.remote_id from message_keys k join messages m on m.id = k.message_id where m.text = 'лишний'"
    )
    _portal_event(pair, "ONIMCONNECTORMESSAGEDELETE", deleted[0].remote_id)
    wait_for(
        lambda: pair.rows("select 1 from messages where text = 'лишний' and deleted_at is not null"),
        what="the deletion",
    )
    pair.faults("vk", outage=False)
    pair.wait_got(user, "первый")
    pair.wait_status("лишний", pair.channel_id, "discarded")
    pair.wait_quiet()
    assert pair.got(user) == ["первый"] and not pair.phone(user, "delete")


def test_answer_edited_before_it_left_is_sent_once_as_it_is_now(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    pair.faults("vk", outage=True)
    pair.operator(user, text="первый")
    wait_for(lambda: pair.rows("select 1 from attempts where outcome = 'retry'"), what="a first try")
    pair.operator(user, text="втарой")
    wait_for(lambda: pair.status("втарой", pair.channel_id) == "queued", what="the second answer waiting")
    known = pair.rows(
        "select k.remote_id from message_keys k join messages m on m.id = k.message_id where m.text = 'втарой'"
    )
    _portal_event(pair, "ONIMCONNECTORMESSAGEUPDATE", known[0].remote_id, text="второй")
    wait_for(lambda: pair.rows("select 1 from messages where text = 'второй'"), what="the edit recorded")
    pair.faults("vk", outage=False)
    pair.wait_got(user, "первый", "второй")
    pair.wait_quiet()
    assert _on_phone(pair, user) == ["первый", "второй"]


def test_answer_is_reported_delivered_only_after_vk_took_it(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    pair.faults("vk", latency_ms=4000)
    pair.operator(user, text="ответ")
    wait_for(
        lambda: pair.rows(
            "select 1 from attempts a join deliveries d on d.id = a.delivery_id"
            " join messages m on m.id = d.message_id where m.text = 'ответ'"
        ),
        what="an attempt",
    )
    assert not pair.desk("delivered"), "VK has not answered yet"
    assert pair.status("ответ", pair.channel_id) == "queued"
    wait_for(lambda: pair.desk("delivered"), what="the report")
    assert pair.got(user) == ["ответ"]


def test_customer_reading_turns_every_answer_before_it_to_read(pair: Pair) -> None:
    user = new_user()
    _answer(pair, user, "раз")
    pair.operator(user, text="два")
    pair.wait_got(user, "раз", "два")
    pair.wait_status("два", pair.channel_id, "sent")
    pair.customer(user, read=True)
    pair.wait_status("раз", pair.channel_id, "read")
    pair.wait_status("два", pair.channel_id, "read")


def test_read_mark_that_comes_before_the_answer_of_vk_is_applied(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    pair.faults("vk", latency_ms=800)
    # VK takes the message, tells that it was read, and only then do we hear its answer
    number = int(pair.phone(user, "message")[0]["id"]) + 1
    about = {"from_id": user, "peer_id": user, "read_message_id": number, "conversation_message_id": 2}
    pair.vk_hook("message_read", about)
    wait_for(lambda: pair.rows("select 1 from parked where waits_for = 'message'"), what="the parked read mark")
    pair.operator(user, text="ответ")
    pair.wait_status("ответ", pair.channel_id, "read")
    assert not pair.rows("select 1 from parked")


def test_client_who_forbade_is_not_written_to_and_operator_reads_why(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    pair.customer(user, deny=True)
    wait_for(lambda: pair.rows("select 1 from clients where may_write is false"), what="the deny")
    pair.operator(user, text="ответ")
    pair.wait_status("ответ", pair.channel_id, "failed")
    shown = wait_for(lambda: [text for text in pair.seen(user) if "Клиент запретил писать" in text], what="the reason")
    assert len(shown) == 1 and not pair.got(user) and not pair.desk("delivered")
    pair.customer(user, allow=True)
    wait_for(lambda: pair.rows("select 1 from clients where may_write"), what="the allow")
    pair.operator(user, text="теперь можно")
    pair.wait_got(user, "теперь можно")


def test_refusal_by_vk_is_shown_to_operator_in_russian(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    # forbidden behind our back: the hook is lost, VK answers 901
    pair.stack.control("vk", "faults", only_account=str(pair.community["group_id"]), drop_hooks_rate=1)
    pair.customer(user, deny=True)
    pair.operator(user, text="ответ")
    pair.wait_status("ответ", pair.channel_id, "failed")
    wait_for(lambda: [text for text in pair.seen(user) if "Клиент не разрешил" in text], what="the reason")
    pair.wait_quiet()
    assert len(pair.seen(user)) == 3 and len(pair.rows("select 1 from messages")) == 2, (
        "the note is shown once and came back to nobody"
    )
    assert not pair.got(user)


def _answer(pair: Pair, user: int, text: str, *, parts: int = 1) -> str:
    """Let a customer ask and an operator answer; return the portal's number of the answer, reported as delivered."""
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    number = pair.operator(user, text=text)["id"]
    wait_for(lambda: len(pair.got(user)) == parts, what="the answer")
    wait_for(lambda: pair.desk("delivered"), what="the report")
    return str(number)


def _on_phone(pair: Pair, user: int) -> list[str]:
    """Return what a customer sees of the company's messages now."""
    shown: dict[str, str] = {}
    for item in pair.phone(user, "message", "edit", "delete"):
        if item["direction"] == "out" and item["kind"] == "delete":
            shown.pop(item["id"])
        elif item["direction"] == "out":
            shown[item["id"]] = item["text"]
    return list(shown.values())


def _portal_event(pair: Pair, event: str, known_id: str, text: str = "") -> Any:
    """Post what a portal would send about an answer it was not yet told the delivery of."""
    import requests

    chat, message = known_id.split(":")
    at = pair.rows("select settings from ends where id = :id", id=pair.connection_id)[0].settings
    thread = pair.rows("select remote_id from links")[0].remote_id
    form: Json = {
        "event": event,
        "data[CONNECTOR]": at["connector"],
        "data[LINE]": at["line"],
        "data[MESSAGES][0][im][chat_id]": chat,
        "data[MESSAGES][0][im][message_id]": message,
        "data[MESSAGES][0][message][id]": known_id,
        "data[MESSAGES][0][chat][id]": thread,
        "ts": "1790000000",
        "auth[member_id]": pair.portal["member_id"],
        "auth[application_token]": pair.secrets_of(pair.connection_id)["application_token"],
        "auth[client_endpoint]": at["client_endpoint"],
    }
    if text:
        form["data[MESSAGES][0][message][text]"] = f"[b]Оператор:[/b] [br]{text}"
    answer = requests.post(f"{pair.hook_url(pair.connection_id)}/event", data=form, timeout=30)
    assert answer.status_code == 200
    return answer
