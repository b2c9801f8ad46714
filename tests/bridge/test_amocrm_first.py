"""Writing first by amoCRM's own means: the phone menu of a card, a bot, the mobile app."""

from __future__ import annotations

import pytest

from tests.bridge.amocrm import Office, make_office
from tests.bridge.pair import new_user
from tests.stack import Json, Stack, wait_for
from widget_backend.bridge import life

PHONE = "79000000077"


@pytest.fixture
def office(stack: Stack) -> Office:
    """Give a company that works in amoCRM and has a contact with a phone number."""
    office = make_office(stack)
    office.made["contact"] = office.act("contact", name="Анна", phone=f"+{PHONE}", lead="Кружки")
    return office


def write_first(office: Office, text: str) -> Json:
    """Press the phone in the card and write."""
    return office.act("say", contact=office.made["contact"]["contact"], phone=PHONE, text=text)


def known_by_phone(office: Office, *, is_there: bool) -> int:
    """Let somebody whose phone we know have written to the community, with amoCRM or before it was there."""
    user = new_user()
    if not is_there:
        life.part(office.account_id, office.channel_id, office.connection_id)
    office.customer(user, text="раньше")
    wait_for(lambda: office.rows("select id from messages where text = 'раньше'"), what="the message")
    if is_there:
        office.wait_seen(user, "раньше")
    life.join(office.account_id, office.channel_id, office.connection_id)
    office.change(
        "insert into client_addresses (account_id, channel_id, kind, value, client_id, found_at)"
        " select account_id, channel_id, 'phone', :phone, id, now() from clients",
        phone=PHONE,
    )
    return user


def test_message_to_a_number_that_no_network_knows_is_marked_as_904(office: Office) -> None:
    written = write_first(office, "Здравствуйте!")

    status = wait_for(lambda: office.desk("status"), what="the error")[0]
    assert (status["id"], status["status"], status["error_code"]) == (written["id"], -1, 904)
    assert status["text"]
    office.wait_quiet()
    assert len(office.entities("contacts")) == 1
    assert not office.rows("select id from messages")


def test_message_to_a_known_number_arrives_and_the_answer_makes_no_second_contact(office: Office) -> None:
    user = known_by_phone(office, is_there=False)

    written = write_first(office, "Здравствуйте!")
    office.wait_got(user, "Здравствуйте!")
    write_first(office, "Есть кто?")
    office.wait_got(user, "Здравствуйте!", "Есть кто?")
    office.customer(user, text="Да")
    office.wait_status("Да", office.connection_id, "delivered")
    office.customer(user, read=True)

    wait_for(lambda: [one for one in office.desk("status") if one["id"] == written["id"]], what="its mark")
    office.wait_quiet()
    assert [one["id"] for one in office.entities("contacts")] == [office.made["contact"]["contact"]]
    assert [one["id"] for one in office.entities("leads")] == [office.made["contact"]["lead"]]
    assert not office.desk("duplicate")
    assert not office.rest("leads/unsorted")
    assert office.seen(user)[-1:] == ["Да"]
    contact = office.rows("select contact from links where connection_id = :id", id=office.connection_id)[0].contact
    assert contact == f"contact:{office.made['contact']['contact']}", "the card's panel lists it"
    office.operator(user, text="Отлично")
    office.wait_got(user, "Здравствуйте!", "Есть кто?", "Отлично")


def test_message_to_the_number_of_somebody_who_has_a_chat_goes_there_and_leaves_it_alone(office: Office) -> None:
    user = known_by_phone(office, is_there=True)
    before = len(office.entities("contacts"))

    write_first(office, "Здравствуйте!")
    office.wait_got(user, "Здравствуйте!")
    office.customer(user, text="Да")

    wait_for(lambda: "Да" in office.seen(user), what="the answer in the chat that was there")
    office.wait_quiet()
    assert len(office.entities("contacts")) == before
