"""What the company wrote is changed or taken back: at the client's in VK, in the other CRM, and where it was written; once, however often it is pressed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.bridge.amocrm import Office, make_office
from tests.bridge.pair import NO_LIMIT, Pair, new_user
from tests.bridge.test_amocrm_panel import Manager, contacts
from tests.bridge.test_dialogs import Program, made, refused
from tests.stack import Json, Stack, wait_for
from widget_backend import ids
from widget_backend.accounts import keys
from widget_backend.bridge import life


@pytest.fixture
def program(pair: Pair) -> Program:
    """Give a program of a company of its own."""
    return Program(pair)


def answered(pair: Pair, user: int, text: str) -> str:
    """Let a customer write and an operator answer by hand in the portal; return our id of the answer."""
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    pair.operator(user, text=text)
    pair.wait_got(user, text)
    pair.wait_quiet()
    return str(pair.rows("select id from messages where text = :text", text=text)[0].id)


def on_phone(pair: Pair, user: int) -> list[str]:
    """Return what a customer sees of the company's messages now."""
    shown: dict[str, str] = {}
    for item in pair.phone(user, "message", "edit", "delete"):
        if item["direction"] == "out" and item["kind"] == "delete":
            shown.pop(item["id"])
        elif item["direction"] == "out":
            shown[item["id"]] = item["text"]
    return list(shown.values())


def edit(program: Program, message: str, text: str, key: str = "") -> Any:
    return program.call("PATCH", f"/messages/{message}", composer=key or ids.new_key(), json={"text": text})


def delete(program: Program, message: str, key: str = "") -> Any:
    return program.call("DELETE", f"/messages/{message}", composer=key or ids.new_key())


def in_dialog(program: Program, message: str) -> Json:
    """Return a message as its dialog tells it."""
    conversation = program.pair.rows("select conversation_id from messages where id = :id", id=UUID(message))[0][0]
    items = made(program.call("GET", f"/dialogs/{conversation}/messages"), 200)["items"]
    return next(one for one in items if one["id"] == message)


def test_edit_reaches_the_client_and_a_line_tells_the_crm_where_it_was_written(pair: Pair, program: Program) -> None:
    user = new_user()
    message = answered(pair, user, "Стоит 100")
    assert in_dialog(program, message)["can_edit"]
    body = made(edit(program, message, "Стоит 120"), 200)
    assert body["is_new"] and body["message"]["text"] == "Стоит 120"
    wait_for(lambda: on_phone(pair, user) == ["Стоит 120"], what="the edit")
    wait_for(lambda: len(pair.seen(user)) == 3, what="the line in the portal")
    pair.wait_quiet()
    assert "Исправленное сообщение: Стоит 120" in pair.seen(user)[2]
    told = in_dialog(program, message)
    assert (told["status"], told["error"]) == ("sent", None)
    assert pair.rows("select count(*) from message_versions")[0][0] == 1
    assert len(pair.rows("select 1 from messages")) == 2, "nothing came back to us as a message"


def test_same_key_and_a_crowd_of_presses_make_one_edit(pair: Pair, program: Program) -> None:
    user = new_user()
    message, key = answered(pair, user, "раз"), ids.new_key()
    with ThreadPoolExecutor(12) as crowd:
        answers = list(crowd.map(lambda _: edit(program, message, "два", key), range(12)))
    assert {one.status_code for one in answers} == {200} and sum(one.json()["is_new"] for one in answers) == 1
    assert edit(program, message, "три", key).status_code == 409
    assert not made(edit(program, message, "два"), 200)["is_new"], "it says that already"
    wait_for(lambda: on_phone(pair, user) == ["два"], what="the edit")
    pair.wait_quiet()
    assert len(pair.calls("vk", "messages.edit")) == 1


def test_deleted_message_is_gone_at_the_clients_and_noted_in_the_crm(pair: Pair, program: Program) -> None:
    user = new_user()
    message = answered(pair, user, "Ошибся окном")
    assert made(delete(program, message), 200)["is_new"]
    wait_for(lambda: on_phone(pair, user) == [], what="the deletion")
    wait_for(lambda: len(pair.seen(user)) == 3, what="the line in the portal")
    assert "Сообщение удалено у клиента: Ошибся окном" in pair.seen(user)[2]
    assert not made(delete(program, message), 200)["is_new"]
    refused(edit(program, message, "поздно"), "deleted_already")
    told = in_dialog(program, message)
    assert (told["can_edit"], told["can_delete"], told["delete_error"]["reason"]) == (False, False, "deleted_already")


def test_what_cannot_be_changed_is_refused_with_the_reason(pair: Pair, program: Program) -> None:
    user = new_user()
    message = answered(pair, user, "вчера")
    theirs = str(pair.rows("select id from messages where direction = 'in'")[0].id)
    refused(edit(program, theirs, "x"), "not_ours")
    assert edit(program, str(ids.new_id()), "x").status_code == 404
    refused(edit(program, message, "  "), "empty")
    pair.change("update parts set attempted_at = attempted_at - :day", day=timedelta(hours=25))
    refused(edit(program, message, "сегодня"), "edit_window_closed")
    refused(delete(program, message), "delete_window_closed")
    told = in_dialog(program, message)
    assert not told["can_edit"] and told["edit_error"]["text"]
    pair.admin(user, text="прямо из сообщества")
    direct = wait_for(lambda: pair.rows("select id from messages where text = 'прямо из сообщества'"), what="it")[0].id
    refused(edit(program, str(direct), "x"), "written_in_network")
    assert on_phone(pair, user)[0] == "вчера"


def test_reader_changes_nothing_and_another_account_sees_nothing(pair: Pair, program: Program, stack: Stack) -> None:
    message = answered(pair, new_user(), "наше")
    reader = Program(pair)
    reader.key = keys.issue(pair.account_id, title="reader", role="reader", actor="test")
    assert edit(reader, message, "x").status_code == 403
    stranger = Program(pair)
    stranger.key = keys.issue(stack.make_account(), title="stranger", role="admin", actor="test")
    assert edit(stranger, message, "x").status_code == 404 and delete(stranger, message).status_code == 404


# -- the panel in amoCRM -----------------------------------------------------------------------------------------------


@pytest.fixture
def panel(stack: Stack) -> tuple[Office, int, Manager, str]:
    """Give a company in amoCRM, a customer who has written, the panel of his contact, and the path of the messages."""
    office, user = make_office(stack), new_user()
    pipeline = office.made["account"]["pipelines"][0]
    office.settings(stage=f"{pipeline['id']}:{pipeline['statuses'][1]['id']}")
    office.customer(user, text="Здравствуйте!")
    office.wait_seen(user, "Здравствуйте!")
    contact = wait_for(lambda: contacts(office), what="a contact")[0]
    manager = Manager(office, {"kind": "contact", "id": str(contact["id"])}).opened()
    path = f"conversations/{manager.get('conversations')['items'][0]['id']}/messages"
    return office, user, manager, path


def written(office: Office, user: int, manager: Manager, path: str, text: str) -> Json:
    """Write in the panel; return the message as the panel tells it once it has arrived."""
    manager.post(path, key=ids.new_key()[:32], text=text, files=[])
    office.wait_got(user, text)
    wait_for(lambda: text in office.seen(user), what="the message in amoCRM")
    office.wait_quiet()
    return dict(next(one for one in manager.get(path)["items"] if one["text"] == text))


def test_message_of_the_panel_is_edited_in_amocrm_itself(panel: tuple[Office, int, Manager, str]) -> None:
    office, user, manager, path = panel
    message = written(office, user, manager, path, "Привезём завтра")
    assert message["can_edit"] and message["can_delete"] and message["why_not"] == []

    body = {"key": "e" * 32, "text": "Привезём сегодня"}
    answers = [manager.call("PATCH", f"{path}/{message['id']}", json=body) for _ in range(2)]
    assert [one.json()["is_new"] for one in answers] == [True, False]
    wait_for(lambda: on_phone(office, user) == ["Привезём сегодня"], what="the edit")
    office.wait_quiet()
    edited = [one["text"] for one in office.desk("edit")]
    assert edited == ["Привезём сегодня"] and len(office.seen(user)) == 2, "no line of its own"

    deleted = manager.call("DELETE", f"{path}/{message['id']}", json={"key": "d" * 32})
    assert deleted.status_code == 200
    wait_for(lambda: on_phone(office, user) == [], what="the deletion")
    office.wait_quiet()
    assert "клиентом" not in office.desk("edit")[-1]["text"]
    shown = manager.get(path)["items"][-1]
    assert shown["is_deleted"] and not shown["can_edit"] and not shown["can_delete"]


def test_answer_written_in_amocrms_own_chat_gets_a_line_below(panel: tuple[Office, int, Manager, str]) -> None:
    office, user, manager, path = panel
    office.operator(user, text="Цена 5")
    office.wait_got(user, "Цена 5")
    office.wait_quiet()
    message = manager.get(path)["items"][-1]
    assert manager.call("PATCH", f"{path}/{message['id']}", json={"key": "n" * 32, "text": "Цена 6"}).status_code == 200
    wait_for(lambda: on_phone(office, user) == ["Цена 6"], what="the edit")
    wait_for(lambda: office.seen(user)[-1] == "Исправленное сообщение: Цена 6", what="the line")
    office.wait_quiet()
    assert on_phone(office, user) == ["Цена 6"], "the line is not sent to the client"


def test_right_to_the_card_is_read_before_every_change_and_repeat(panel: tuple[Office, int, Manager, str]) -> None:
    office, user, manager, path = panel
    message = written(office, user, manager, path, "Пока можно")
    employee = office.act("user", name="Иван", rights="A")["id"]
    his = Manager(office, manager.card, employee).opened()
    assert his.get("conversations")["items"]
    delivery = office.deliveries("m.text = 'Пока можно' and d.end_id = :end", end=office.channel_id)[0].id
    office.act("user", id=employee, rights="D")

    assert his.get("conversations")["items"], "believed for a while, to look"
    for method, where, body in (
        ("POST", f"deliveries/{delivery}/repeat", {"key": "r" * 32}),
        ("PATCH", f"{path}/{message['id']}", {"key": "s" * 32, "text": "x"}),
        ("DELETE", f"{path}/{message['id']}", {"key": "t" * 32}),
    ):
        answer = his.call(method, where, json=body)
        assert (answer.status_code, answer.json()["reason"]) == (403, "card_forbidden"), where
        assert his.call("GET", "conversations").status_code == 403, "and not believed any more"
        office.act("user", id=employee, rights="A")
        assert his.get("conversations")["items"]
        office.act("user", id=employee, rights="D")
    assert on_phone(office, user) == ["Пока можно"]


def test_message_of_another_conversation_is_not_there(panel: tuple[Office, int, Manager, str]) -> None:
    office, _user, manager, path = panel
    other = new_user()
    office.customer(other, text="Другой")
    office.wait_seen(other, "Другой")
    office.operator(other, text="Ответ другому")
    office.wait_got(other, "Ответ другому")
    message = office.rows("select id from messages where text = 'Ответ другому'")[0].id
    answer = manager.call("PATCH", f"{path}/{message}", json={"key": "o" * 32, "text": "x"})
    assert answer.status_code == 404


def test_other_crm_shows_the_change_in_its_place_and_the_one_of_the_writer_a_line(
    panel: tuple[Office, int, Manager, str],
) -> None:
    office, _user, _manager, _path = panel
    portal = office.stack.control("bitrix24", "make", options={"plan": NO_LIMIT})["portal"]
    portal_id = office.stack.connect_bitrix24(office.account_id, portal)
    life.join(office.account_id, office.channel_id, portal_id)
    since = {**office.since, "bitrix24": 0}
    both = Pair(office.stack, office.account_id, office.community, portal, office.channel_id, portal_id, since)
    user = new_user()
    office.customer(user, text="вопрос")
    both.wait_seen(user, "вопрос")
    office.wait_seen(user, "вопрос")
    both.operator(user, text="Из портала")
    office.wait_seen(user, "вопрос", "Из портала")
    both.wait_got(user, "Из портала")
    both.wait_quiet()
    message = str(office.rows("select id from messages where text = 'Из портала'")[0].id)

    made(edit(Program(both), message, "Из портала, верно"), 200)
    wait_for(lambda: on_phone(office, user) == ["Из портала, верно"], what="the edit")
    wait_for(lambda: [one["text"] for one in office.desk("edit")] == ["Из портала, верно"], what="it in amoCRM")
    wait_for(lambda: len(both.seen(user)) == 3, what="the line in the portal")
    both.wait_quiet()
    office.wait_quiet()
    assert "Исправленное сообщение: Из портала, верно" in both.seen(user)[-1]
    assert len(office.seen(user)) == 2 and on_phone(office, user) == ["Из портала, верно"]
