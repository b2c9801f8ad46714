"""The road with amoCRM at its other end: chats both ways, statuses, edits, files, deals, notes."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.bridge.amocrm import Office, make_office
from tests.bridge.pair import NO_LIMIT, Pair, new_user
from tests.sandbox import samples
from tests.stack import Json, Stack, wait_for
from widget_backend.bridge import keep, life, pull, registry, wake
from widget_backend.bridge.ends import Act, Item, PullRequest
from widget_backend.bridge.errors import Rejected
from widget_backend.bridge.events import Direction
from widget_backend.bridge.tenancy import transaction


@pytest.fixture
def office(stack: Stack) -> Office:
    """Give a company that works in amoCRM."""
    return make_office(stack)


def asked(office: Office, text: str = "вопрос") -> int:
    """Let a new customer ask something; return who he is once amoCRM shows it."""
    user = new_user()
    office.customer(user, text=text)
    office.wait_seen(user, text)
    return user


def stage_of(office: Office, name: str = "Переговоры") -> str:
    """Return a stage as the settings name it."""
    pipeline = office.made["account"]["pipelines"][0]
    return f"{pipeline['id']}:{next(one['id'] for one in pipeline['statuses'] if one['name'] == name)}"


def pull_as_if_later(office: Office, *, minutes: int) -> None:
    """Keep what a pull finds as if it had been written some time ago: the moments of its messages are put back."""
    adapter = registry.adapter(life.snapshot(office.account_id, office.connection_id))
    with transaction(office.account_id) as session:
        conversations = pull._active(session, life.snapshot_in(session, office.connection_id))
    since = datetime.now(UTC) - timedelta(hours=1)
    found = adapter.pull(PullRequest(since=since, cursor={}, conversations=conversations)).raws
    aged = [replace(raw, body=_aged(raw.body, minutes)) for raw in found]
    keep.keep_pulled(keep.Door(office.connection_id, office.account_id), aged, datetime.now(UTC))
    wake.poke()


def _aged(body: bytes, minutes: int) -> bytes:
    told = json.loads(body)
    if "message" in told:
        told["message"]["msec_timestamp"] -= minutes * 60_000
    return json.dumps(told).encode()


def notes_of(office: Office, lead_id: str) -> list[Json]:
    """Return the notes of a deal."""
    found: list[Json] = office.rest(f"leads/{lead_id}/notes").get("_embedded", {}).get("notes", [])
    return found


# ------------------------------------------------------------------------------------------------------- both ways


def test_customer_and_manager_talk_over_the_chats_of_amocrm(office: Office) -> None:
    user = asked(office, "Здравствуйте! Сколько стоит доставка?")

    office.operator(user, text="Триста рублей.")
    office.wait_got(user, "Триста рублей.")

    office.wait_status("Триста рублей.", office.channel_id, "sent")
    office.wait_quiet()
    assert office.seen(user) == ["Здравствуйте! Сколько стоит доставка?", "Триста рублей."], "no echo comes back"


def test_first_message_makes_one_contact_and_one_unsorted_lead_where_that_is_wanted(office: Office) -> None:
    office.settings(stage="unsorted")
    user = new_user()

    office.customer_in_turn(user, {"text": "раз"}, {"text": "два"}, {"text": "три"})
    office.wait_seen(user, "раз", "два", "три")

    assert len(office.made_of("contacts")) == 1
    assert len(office.rest("leads/unsorted")["_embedded"]["unsorted"]) == 1


def test_first_message_makes_the_source_of_its_channel_once(office: Office) -> None:
    asked(office)
    asked(office)

    sources = office.rest("sources")["_embedded"]["sources"]
    assert [one["external_id"] for one in sources] == [office.channel_id.hex]
    assert sources[0]["origin_code"] == office.made["channels"][0]["code"]


def test_first_message_of_a_conversation_costs_four_calls_and_a_later_one_none_but_its_own(office: Office) -> None:
    asked(office)
    office.wait_quiet()
    before = len(office.calls("amocrm"))
    user = asked(office)
    office.wait_quiet()
    assert len(office.calls("amocrm")) == before + 4
    before = len(office.calls("amocrm"))

    office.customer(user, text="и ещё")
    office.wait_seen(user, "вопрос", "и ещё")

    office.wait_quiet()
    assert len(office.calls("amocrm")) == before, "no call to the REST API"


def test_photo_of_customer_arrives_as_a_picture(office: Office) -> None:
    user = new_user()
    content = base64.b64encode(samples.png(64, 48)).decode()

    office.customer(user, text="вот", attachments=[{"type": "photo", "content_b64": content}])

    shown = wait_for(lambda: office.desk("message"))[0]
    assert (shown["text"], shown["attachments"][0]["type"]) == ("вот", "picture")
    fetched = wait_for(lambda: office.desk("file"), what="amoCRM fetched it")
    assert fetched[0]["is_ok"]
    assert office.thread_of(user)


def test_file_of_manager_arrives_on_the_phone(office: Office) -> None:
    user = asked(office)

    office.operator(user, text="прайс", attachments=[{"type": "doc"}])

    sent = wait_for(lambda: [one for one in office.phone(user, "message") if one["direction"] == "out"])
    assert sent[-1]["attachments"][0]["type"] == "doc"


def test_two_files_of_one_answer_arrive_together(office: Office) -> None:
    user = asked(office)

    office.operator(user, text="оба", attachments=[{"type": "photo"}, {"type": "photo"}])

    sent = wait_for(lambda: [one for one in office.phone(user, "message") if one["direction"] == "out"])
    office.wait_quiet()
    assert [len(one["attachments"]) for one in sent] == [2]


def test_quote_points_at_the_message_it_answers_on_both_sides(office: Office) -> None:
    user = asked(office, "какой цвет?")
    first = office.chat_items(user)[0]["id"]

    office.operator(user, text="синий", reply_to=first)
    office.wait_got(user, "синий")
    answer = next(one for one in office.phone(user, "message") if one["text"] == "синий")
    office.customer(user, text="беру", reply_to=answer["cmid"])

    office.wait_seen(user, "какой цвет?", "синий", "беру")
    assert office.chat_items(user)[-1]["reply_to"]["id"] == office.chat_items(user)[1]["id"]


# -------------------------------------------------------------------------------------------- changes and statuses


def test_edit_of_customer_changes_the_text_in_the_chat(office: Office) -> None:
    user = new_user()
    said = office.customer(user, text="хочу кружку")
    office.wait_seen(user, "хочу кружку")

    office.customer(user, edit=said["id"], text="хочу две кружки")

    assert [one["text"] for one in wait_for(lambda: office.desk("edit"))] == ["хочу две кружки"]


def test_read_by_the_customer_is_reported_to_amocrm(office: Office) -> None:
    user = asked(office)
    office.operator(user, text="ответ")
    office.wait_got(user, "ответ")

    office.customer(user, read=True)

    wait_for(lambda: [one for one in office.desk("status") if one["status"] == 2], what="read in amoCRM")


def test_answer_that_cannot_be_sent_is_marked_with_its_reason(office: Office) -> None:
    user = asked(office)
    office.customer(user, deny=True)
    office.wait_quiet()

    office.operator(user, text="ответ")

    failed = wait_for(lambda: [one for one in office.desk("status") if one["status"] == -1], what="an error in amoCRM")
    assert failed[0]["error_code"] == 901
    assert failed[0]["text"], "the manager reads why"


def test_customer_sees_that_a_manager_is_typing(office: Office) -> None:
    user = asked(office)

    office.operator(user, typing=True)

    wait_for(lambda: office.phone(user, "typing_by_community"), what="typing on the phone")


# -------------------------------------------------------------------------------------------------- exactly once


@pytest.mark.parametrize("repeated", ["same", "refuse"])
def test_lost_answer_leaves_one_message(office: Office, repeated: str) -> None:
    user = asked(office, "до")
    office.act("options", repeated_msgid=repeated)
    office.faults("amocrm", only_account=office.host, lose_answers_rate=1)
    try:
        office.customer(user, text="под шум")
        wait_for(lambda: "под шум" in office.seen(user), what="amoCRM took it")
    finally:
        office.faults("amocrm", only_account="", lose_answers_rate=0)

    office.wait_status("под шум", office.connection_id, "delivered", within_s=40)

    office.wait_quiet()
    assert office.seen(user) == ["до", "под шум"]


@pytest.mark.parametrize("mode", ["chats", "notes"])
def test_lost_answers_on_the_way_make_no_second_contact_or_deal(office: Office, mode: str) -> None:
    office.settings(mode=mode, contact_name="%NAME% %IDENTITY%")
    users = [new_user() for _ in range(3)]
    office.faults("amocrm", only_account=office.host, lose_answers_rate=0.1)
    try:
        for user in users:
            office.customer(user, text=f"вопрос {user}")
        for user in users:
            office.wait_status(f"вопрос {user}", office.connection_id, "delivered", within_s=90)
    finally:
        office.faults("amocrm", only_account="", lose_answers_rate=0)

    assert len(office.entities("contacts")) == 3
    assert len(office.entities("leads")) == 3
    if mode == "chats":
        assert [office.seen(user) for user in users] == [[f"вопрос {user}"] for user in users]
    else:
        assert [len(notes_of(office, str(lead["id"]))) for lead in office.entities("leads")] == [1, 1, 1]


def test_answer_whose_hook_was_lost_is_found_in_the_history(office: Office) -> None:
    user = asked(office)
    office.operator(user, text="первый")
    office.wait_got(user, "первый")
    office.faults("amocrm", only_account=office.host, drop_hooks_rate=1)
    try:
        office.operator(user, text="потерянный")
    finally:
        office.faults("amocrm", only_account="", drop_hooks_rate=0)

    office.change("update gates set pull_at = now() where end_id = :id", id=office.connection_id)

    office.wait_got(user, "первый", "потерянный", within_s=30)


# -------------------------------------------------------------------------------------------------- deals


def test_chosen_stage_makes_contact_and_deal_and_no_unsorted_lead(stack: Stack) -> None:
    office = make_office(stack)
    office.settings(stage=stage_of(office), deal_tags="vk,%CHANNEL%")

    user = asked(office)

    leads, contacts = office.entities("leads"), office.entities("contacts")
    assert len(leads) == len(contacts) == 1
    assert str(leads[0]["status_id"]) == stage_of(office).partition(":")[2]
    assert not office.rest("leads/unsorted")
    assert [
        link["contact_id"]
        for link in office.rest(f"contacts/chats?contact_id={contacts[0]['id']}")["_embedded"]["chats"]
    ]
    office.customer(user, text="ещё")
    office.wait_seen(user, "вопрос", "ещё")
    assert len(office.entities("leads")) == 1
    assert not office.rest("leads/unsorted")


def test_task_is_set_for_a_new_deal_once(stack: Stack) -> None:
    office = make_office(stack)
    office.settings(stage=stage_of(office), task="deal")

    user = asked(office)
    office.customer(user, text="ещё")
    office.wait_seen(user, "вопрос", "ещё")

    tasks = wait_for(lambda: office.entities("tasks"))
    assert [task["entity_id"] for task in tasks] == [office.entities("leads")[0]["id"]]


# -------------------------------------------------------------------------------------------------- notes


def test_messenger_without_chat_channel_writes_notes_into_one_deal(stack: Stack) -> None:
    office = make_office(stack, with_chats=False)
    user = new_user()

    office.customer_in_turn(user, {"text": "раз"}, {"text": "два"})
    office.wait_quiet()

    leads = office.entities("leads")
    assert len(leads) == 1
    assert len(office.entities("contacts")) == 1
    texts = [note["params"]["text"] for note in notes_of(office, str(leads[0]["id"]))]
    assert [text.splitlines()[-1] for text in sorted(texts)] == ["два", "раз"]


def test_customer_who_writes_to_a_closed_deal_gets_a_new_one_with_the_same_contact(stack: Stack) -> None:
    office = make_office(stack, mode="notes")
    user = new_user()
    office.customer(user, text="раз")
    first = wait_for(lambda: office.entities("leads"))[0]["id"]
    office.wait_quiet()
    office.act("move", lead=first, status_id=143)

    office.customer(user, text="снова")

    wait_for(lambda: len(office.entities("leads")) == 2, what="a new deal")
    assert len(office.entities("contacts")) == 1


# -------------------------------------------------------------------------------------------------- too late


def test_answer_found_long_after_it_was_written_is_offered_and_not_sent(office: Office) -> None:
    user = asked(office)
    office.operator(user, text="первый")
    office.wait_got(user, "первый")
    office.faults("amocrm", only_account=office.host, drop_hooks_rate=1)
    try:
        office.operator(user, text="вчерашний")
    finally:
        office.faults("amocrm", only_account="", drop_hooks_rate=0)
    pull_as_if_later(office, minutes=11)

    office.wait_status("вчерашний", office.channel_id, "expired", within_s=30)

    assert office.got(user) == ["первый"]
    wait_for(lambda: [one for one in office.desk("status") if one["status"] == -1], what="amoCRM is told")


def test_answer_that_waited_for_a_lost_channel_does_not_leave_when_it_is_back(office: Office) -> None:
    user = asked(office)
    life.set_state(office.account_id, office.channel_id, "error", "token_revoked")
    office.operator(user, text="вчерашний")
    wait_for(lambda: office.status("вчерашний", office.channel_id) == "queued")
    office.change("update deliveries set created_at = created_at - interval '61 minutes' where status = 'queued'")

    life.connect(office.account_id, office.channel_id)

    office.wait_status("вчерашний", office.channel_id, "expired")
    assert office.got(user) == []
    office.operator(user, text="сегодняшний")
    office.wait_got(user, "сегодняшний")


# -------------------------------------------------------------------------------------------------- changing the mode


def test_going_from_notes_to_chats_keeps_contact_and_deal(stack: Stack) -> None:
    office = make_office(stack, mode="notes")
    user = new_user()
    office.customer(user, text="раз")
    wait_for(lambda: office.entities("leads"))
    office.wait_quiet()

    office.settings(mode="chats")
    office.customer(user, text="два")

    office.wait_seen(user, "два")
    office.wait_quiet()
    assert (len(office.entities("leads")), len(office.entities("contacts"))) == (1, 1)
    assert not office.rest("leads/unsorted")


@pytest.mark.parametrize("stage", ["", "unsorted"])
def test_going_from_chats_to_notes_keeps_the_contact(stack: Stack, stage: str) -> None:
    office = make_office(stack, stage=stage)
    user = asked(office)

    office.settings(mode="notes")
    office.customer(user, text="два")

    wait_for(lambda: any(notes_of(office, str(lead["id"])) for lead in office.entities("leads")), what="a note")
    assert len(office.entities("contacts")) == 1


# -------------------------------------------------------------------------------------------------- beside another CRM


def test_answer_of_a_portal_appears_in_amocrm_as_ours_and_is_sent_once(office: Office) -> None:
    portal = office.stack.control("bitrix24", "make", options={"plan": NO_LIMIT})["portal"]
    portal_id = office.stack.connect_bitrix24(office.account_id, portal)
    life.join(office.account_id, office.channel_id, portal_id)
    user = asked(office)
    both = Pair(
        office.stack,
        office.account_id,
        office.community,
        portal,
        office.channel_id,
        portal_id,
        {**office.since, "bitrix24": 0},
    )
    both.wait_seen(user, "вопрос")

    both.operator(user, text="ответ из портала")
    office.wait_seen(user, "вопрос", "ответ из портала")
    office.operator(user, text="ответ из amoCRM")
    both.wait_got(user, "ответ из портала", "ответ из amoCRM")

    office.wait_quiet()
    both.wait_quiet()
    assert [one["direction"] for one in office.chat_items(user)] == ["in", "out", "out"]
    assert office.got(user) == ["ответ из портала", "ответ из amoCRM"]


# -------------------------------------------------------------------------------------------------- the adapter alone


def delivered_item(office: Office, message: str) -> Item:
    """Build what the adapter would be given for a change of a message that amoCRM has."""
    row = office.deliveries("m.text = :message and d.end_id = :end", message=message, end=office.connection_id)[0]
    with transaction(office.account_id) as session:
        talks = pull._active(session, life.snapshot_in(session, office.connection_id))
    talk = next(one for one in talks if one.id == str(row.conversation_id))
    remote = office.rows("select remote_ids from parts where delivery_id = :id", id=row.id)[0].remote_ids
    at = datetime.now(UTC)
    facts = {"act": Act.EDIT, "conversation": talk, "message_id": str(row.message_id), "direction": Direction.IN}
    return Item(key=str(uuid4()), counter=1, sent_at=at, remote_ids=tuple(remote), text=message, **facts)  # type: ignore[arg-type]


def test_deletion_replaces_the_text_of_the_message(office: Office) -> None:
    user = asked(office, "тайна")
    adapter = registry.adapter(life.snapshot(office.account_id, office.connection_id))

    adapter.delete(delivered_item(office, "тайна"))

    assert [one["text"] for one in office.desk("edit")] == ["Сообщение удалено клиентом"]
    assert office.thread_of(user)


def test_choices_come_from_the_account(office: Office) -> None:
    adapter = registry.adapter(life.snapshot(office.account_id, office.connection_id))

    stages = [one.value for one in adapter.settings_catalog("stages")]
    people = {one.label for one in adapter.settings_catalog("users")}
    fields = {one.label for one in adapter.settings_catalog("contact_fields")}

    assert stages[:2] == ["", "unsorted"]
    assert stage_of(office) in stages
    assert not [stage for stage in stages if stage.endswith((":142", ":143"))]
    assert {one["name"] for one in office.made["account"]["users"]} <= people
    assert "Должность" not in fields
    assert {one.value for one in adapter.settings_catalog("modes")} == {"chats", "notes"}


def test_card_tells_people_addresses_and_facts_as_its_viewer_sees_them(office: Office) -> None:
    made = office.act("contact", name="Анна", phone="+79000000001", email="anna@acme.example", lead="Кружки")
    admin = next(one for one in office.made["account"]["users"] if one["is_admin"])
    adapter = registry.adapter(life.snapshot(office.account_id, office.connection_id))

    card = adapter.read_card("lead", str(made["lead"]), str(admin["id"]))

    assert (card.title, [one.name for one in card.people]) == ("Кружки", ["Анна"])
    assert {(one.kind, one.value) for one in card.people[0].addresses} == {
        ("phone", "+79000000001"),
        ("email", "anna@acme.example"),
    }
    assert card.fields["DEAL_STATUS"] == "Первичный контакт"
    assert card.fields["DEAL_RESPONSIBLE"] == card.fields["USER_NAME"] == admin["name"]
    assert card.fields["CONTACT_PHONE"] == "+79000000001"


def test_card_of_another_manager_is_refused_to_whom_it_is_closed(office: Office) -> None:
    made = office.act("contact", name="Анна", lead="Кружки")
    anna, ivan = (one["id"] for one in office.made["account"]["users"] if not one["is_admin"])
    adapter = registry.adapter(life.snapshot(office.account_id, office.connection_id))

    assert adapter.read_card("lead", str(made["lead"]), str(anna)).title == "Кружки"
    with pytest.raises(Rejected) as refused:
        adapter.read_card("lead", str(made["lead"]), str(ivan))
    assert refused.value.reason == "card_forbidden"
    with pytest.raises(Rejected) as gone:
        adapter.read_card("lead", "999999999", str(anna))
    assert gone.value.reason == "card_gone"
    assert office.state()[0] == "active", "a forbidden card is nobody's lost access"
