"""The road with amoCRM at its other end: install, chats both ways, statuses, edits, deals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bridge.amocrm import Office, make_office
from tests.bridge.pair import new_user
from tests.stack import Stack, wait_for


@pytest.fixture
def office(stack: Stack) -> Iterator[Office]:
    """Give a company that works in amoCRM."""
    yield make_office(stack)


def test_customer_and_manager_talk_over_the_chats_of_amocrm(office: Office) -> None:
    user = new_user()

    office.customer(user, text="Здравствуйте! Сколько стоит доставка?")
    office.wait_seen(user, "Здравствуйте! Сколько стоит доставка?")
    office.operator(user, text="Триста рублей.")
    office.wait_got(user, "Триста рублей.")

    office.wait_status("Триста рублей.", office.channel_id, "sent")
    office.wait_quiet()
    assert office.seen(user) == ["Здравствуйте! Сколько стоит доставка?", "Триста рублей."], "no echo comes back"


def test_first_message_makes_one_contact_and_one_unsorted_lead(office: Office) -> None:
    user = new_user()

    office.customer_in_turn(user, {"text": "раз"}, {"text": "два"}, {"text": "три"})
    office.wait_seen(user, "раз", "два", "три")

    assert len(office.desk("contact")) == 1
    assert len(office.rest("leads/unsorted")["_embedded"]["unsorted"]) == 1


def test_read_by_the_customer_is_reported_to_amocrm(office: Office) -> None:
    user = new_user()
    office.customer(user, text="вопрос")
    office.wait_seen(user, "вопрос")
    office.operator(user, text="ответ")
    office.wait_got(user, "ответ")

    office.customer(user, read=True)

    wait_for(lambda: [one for one in office.desk("status") if one.get("status") == 2], what="read in amoCRM")


def test_answer_that_cannot_be_sent_is_marked_with_its_reason(office: Office) -> None:
    user = new_user()
    office.customer(user, text="вопрос")
    office.wait_seen(user, "вопрос")
    office.customer(user, event="message_deny")
    office.wait_quiet()

    office.operator(user, text="ответ")

    wait_for(lambda: [one for one in office.desk("status") if one.get("status") == -1], what="an error in amoCRM")
