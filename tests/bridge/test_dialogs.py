"""Writing from our side: a dialog begun from a card or by a program arrives once, is shown once, and what would fail is refused before anything is kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
import requests

from tests.bridge.pair import Pair, new_user
from tests.sandbox import samples
from tests.stack import Json, wait_for
from widget_backend import ids
from widget_backend.accounts import keys
from widget_backend.bridge import cards, dialogs, life, quick_replies, recipients, setup
from widget_backend.bridge.composer import Writer
from widget_backend.bridge.dialogs import Opening
from widget_backend.bridge.ends import Address, Card, CardPerson
from widget_backend.bridge.errors import Rejected
from widget_backend.bridge.quick_replies import Template
from widget_backend.crms.bitrix24.adapter import Bitrix24

BEGUN = "Чат инициализирован"


@dataclass
class Program:
    """A program with a key of a pair's account, over real HTTP."""

    pair: Pair
    key: str = field(default="")

    def __post_init__(self) -> None:
        self.key = keys.issue(self.pair.account_id, title="program", role="admin", actor="test")

    def call(self, method: str, path: str, *, composer: str = "", **given: Any) -> requests.Response:
        """Call /api/v1; `composer` is the idempotency key."""
        headers = {"Authorization": f"Bearer {self.key}", "Accept-Language": "ru"}
        headers |= {"Idempotency-Key": composer} if composer else {}
        return requests.request(method, f"{self.pair.stack.url}/api/v1{path}", headers=headers, timeout=60, **given)

    def begin(self, user: int, text: str = "", *, composer: str = "", **over: Any) -> requests.Response:
        """Begin a dialog with a customer of the community, by his page."""
        to = {"kind": "link", "value": f"https://vk.com/id{user}"}
        body = {"channel_id": str(self.pair.channel_id), "to": to, "text": text, "author": {"name": "Иван"}} | over
        return self.call("POST", "/dialogs", composer=composer or ids.new_key(), json=body)


@pytest.fixture
def program(pair: Pair) -> Program:
    """Give a program of a company of its own."""
    return Program(pair)


def made(answer: requests.Response, status: int = 201) -> Json:
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def refused(answer: requests.Response, reason: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"], body["errors"]) == (422, "refused", {"reason": [reason]}), body
    assert body["detail"]


def allow(pair: Pair, user: int) -> None:
    """Let a customer who never wrote allow the community to write, and wait until VK has told us."""
    pair.customer(user, allow=True)
    wait_for(lambda: pair.rows("select 1 from clients where remote_id = :user and may_write", user=str(user)))


def counted(pair: Pair, table: str) -> int:
    return int(pair.rows(f"select count(*) as count from {table}")[0].count)


def test_a_dialog_is_begun_and_the_answer_comes_into_it(pair: Pair, program: Program) -> None:
    user = new_user()
    allow(pair, user)
    body = made(program.begin(user, "Здравствуйте, это acme"))
    pair.wait_got(user, "Здравствуйте, это acme")
    wait_for(lambda: len(pair.seen(user)) == 1, what="the message on the portal")
    assert "Здравствуйте, это acme" in pair.seen(user)[0] and "Иван" in pair.seen(user)[0]
    pair.customer(user, text="Здравствуйте!")
    wait_for(lambda: len(pair.seen(user)) == 2, what="the answer on the portal")
    assert pair.seen(user)[1] == "Здравствуйте!"
    pair.wait_quiet()
    path = f"/dialogs/{body['conversation_id']}/messages"
    items = made(program.call("GET", path), 200)["items"]
    assert [(one["text"], one["status"], one["error"]) for one in items] == [
        ("Здравствуйте!", "delivered", None),
        ("Здравствуйте, это acme", "sent", None),
    ]
    assert counted(pair, "conversations") == 1
    inside = {"text": "Чем помочь?", "connection_id": str(pair.connection_id)}
    made(program.call("POST", path, composer=ids.new_key(), json=inside))
    pair.wait_got(user, "Здравствуйте, это acme", "Чем помочь?")
    pair.wait_status("Чем помочь?", pair.connection_id, "delivered", act="status")
    assert len([line for line in pair.seen(user) if "Чем помочь?" in line]) == 1
    first = made(program.call("GET", f"{path}?limit=1"), 200)
    assert first["items"][0]["text"] == "Чем помочь?"
    second = made(program.call("GET", f"{path}?limit=2&cursor={first['next_cursor']}"), 200)
    assert [one["text"] for one in second["items"]] == ["Здравствуйте!", "Здравствуйте, это acme"]


def test_order_is_kept_between_what_is_written_in_the_panel_and_by_the_operator(pair: Pair, program: Program) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    path = f"/dialogs/{pair.rows('select id from conversations')[0].id}/messages"
    said = []
    for number in range(6):
        text = f"ответ {number}"
        if number % 2:
            pair.operator(user, text=text)
        else:
            made(program.call("POST", path, composer=ids.new_key(), json={"text": text}))
        said.append(text)
        pair.wait_got(user, *said)
        wait_for(lambda: len(pair.seen(user)) == len(said) + 1, what="the message on the portal")
    for text in ("раз", "два", "три"):
        made(program.call("POST", path, composer=ids.new_key(), json={"text": text}))
    said += ["раз", "два", "три"]
    pair.wait_got(user, *said)
    pair.wait_quiet()
    shown = pair.seen(user)[1:]
    assert [text in line for text, line in zip(said, shown, strict=True)] == [True] * len(said)


def test_who_does_not_allow_it_is_not_written_to_and_nothing_is_kept(pair: Pair, program: Program) -> None:
    user = new_user()
    allow(pair, user)
    pair.customer(user, deny=True)
    wait_for(lambda: pair.rows("select 1 from clients where may_write = false"), what="VK's word")
    key = ids.new_key()
    refused(program.begin(user, "Здравствуйте", composer=key), "client_forbade")
    assert [counted(pair, table) for table in ("messages", "conversations", "deliveries", "compositions")] == [0] * 4
    allow(pair, user)
    made(program.begin(user, "Здравствуйте", composer=key))
    pair.wait_got(user, "Здравствуйте")


def test_nobody_at_an_address_is_said_so(pair: Pair, program: Program) -> None:
    refused(program.begin(3, "Здравствуйте"), "recipient_not_found")
    answer = program.begin(3, "Здравствуйте", to={"kind": "phone", "value": "+7 912 345-67-89"})
    refused(answer, "address_unsupported")
    assert counted(pair, "clients") == 0


def test_what_would_fail_is_refused(pair: Pair, program: Program) -> None:
    user = new_user()
    allow(pair, user)
    refused(program.begin(user, "а" * 20_001), "text_too_long")
    refused(program.begin(user, files=["no ticket of ours"]), "file_expired")
    refused(program.begin(user, "x", connection_id=str(_another_portal(pair))), "not_joined")
    life.set_state(pair.account_id, pair.channel_id, "error", "token_revoked")
    refused(program.begin(user, "x"), "channel_broken")
    life.set_state(pair.account_id, pair.channel_id, "off")
    refused(program.begin(user, "x"), "channel_off")
    assert counted(pair, "messages") == 0


def _another_portal(pair: Pair) -> UUID:
    portal = pair.stack.control("bitrix24", "make")["portal"]
    made = pair.stack.connect_bitrix24(pair.account_id, portal)
    life.part(pair.account_id, pair.channel_id, made)
    return made


def test_fifty_clicks_at_once_and_one_the_next_day_are_one_message(pair: Pair, program: Program) -> None:
    user, key = new_user(), ids.new_key()
    allow(pair, user)
    with ThreadPoolExecutor(50) as people:
        answers = list(people.map(lambda _n: program.begin(user, "Одно сообщение", composer=key), range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    assert len({answer.json()["message"]["id"] for answer in answers}) == 1
    pair.wait_got(user, "Одно сообщение")
    day = "interval '25 hours'"
    pair.change(f"update compositions set at = at - {day}")
    pair.change(f"update client_addresses set found_at = found_at - {day}")
    late = made(program.begin(user, "Одно сообщение", composer=key), 200)
    assert (late["is_new"], late["message"]["id"]) == (False, answers[0].json()["message"]["id"])
    answer = program.begin(user, "Другое сообщение", composer=key)
    assert (answer.status_code, answer.json()["code"]) == (409, "key_reused")
    pair.wait_quiet()
    assert pair.got(user) == ["Одно сообщение"]
    assert len(pair.seen(user)) == 1
    assert [counted(pair, table) for table in ("messages", "conversations")] == [1, 1]


def test_the_network_is_asked_once_for_the_same_address(pair: Pair, program: Program) -> None:
    user = new_user()
    allow(pair, user)
    for number in range(3):
        made(program.begin(user, f"сообщение {number}"))
    pair.wait_got(user, *(f"сообщение {number}" for number in range(3)))
    asked = pair.calls("vk", "utils.resolveScreenName", "messages.isMessagesFromGroupAllowed")
    assert len(asked) <= 1


def test_without_a_text_only_the_crm_is_shown_that_the_chat_is_there(pair: Pair, program: Program) -> None:
    user = new_user()
    allow(pair, user)
    connection = str(pair.connection_id)
    body = made(program.begin(user, connection_id=connection, card="lead:12", contact="contact:7"))
    wait_for(lambda: any(BEGUN in line for line in pair.seen(user)), what="the portal's chat")
    assert body["message"]["text"] == BEGUN
    pair.wait_quiet()
    assert pair.got(user) == []
    link = pair.rows("select state, card, contact from links")[0]
    assert (link.card, link.contact) == ("lead:12", "contact:7")
    assert link.state["card"] == "lead:12"
    empty = program.call("POST", f"/dialogs/{body['conversation_id']}/messages", composer=ids.new_key(), json={})
    refused(empty, "empty")


def test_files_go_with_it_byte_for_byte(pair: Pair, program: Program) -> None:
    user, price, picture = new_user(), samples.pdf() + b"%price", samples.png(80, 60, 9)
    allow(pair, user)
    files = []
    for name, content in (("прайс.pdf", price), ("кружка.png", picture)):
        taken = made(program.call("POST", "/files", params={"name": name}, data=content))
        assert (taken["name"], taken["size_bytes"]) == (name, len(content))
        files.append(taken["file"])
    body = made(program.begin(user, "вот", files=files))
    pair.wait_got(user, "вот")
    shown = body["message"]["attachments"]
    assert [(one["kind"], one["name"]) for one in shown] == [("document", "прайс.pdf"), ("photo", "кружка.png")]
    assert [requests.get(one["url"], timeout=10).content for one in shown] == [price, picture]
    received = next(item for item in pair.phone(user, "message") if item["direction"] == "out")["attachments"]
    assert {requests.get(one["url"], timeout=10).content for one in received} == {price, picture}
    other = Program(Pair(pair.stack, pair.stack.make_account(), {}, {}, pair.channel_id, pair.connection_id))
    elsewhere = other.call("POST", "/quick-replies", json={"title": "чужой файл", "text": "", "files": [files[0]]})
    refused(elsewhere, "file_expired")


def test_what_the_network_refuses_is_said_with_its_cure(pair: Pair, program: Program) -> None:
    user = new_user()
    allow(pair, user)
    first = made(program.begin(user, "раз"))
    pair.wait_got(user, "раз")
    pair.customer(user, deny=True)
    wait_for(lambda: pair.rows("select 1 from clients where may_write = false"), what="VK's word")
    path = f"/dialogs/{first['conversation_id']}/messages"
    refused(program.call("POST", path, composer=ids.new_key(), json={"text": "два"}), "client_forbade")


def test_a_telegram_bot_writes_to_those_who_began_and_to_nobody_else(pair: Pair, program: Program) -> None:
    bot = pair.stack.control("telegram_bot", "make")
    channel_id = life.create(pair.account_id, "telegram_bot", secrets={"token": bot["token"]})
    life.connect(pair.account_id, channel_id)
    user = new_user()
    name = f"Anna_{user}"
    try:
        over: Json = {"channel_id": str(channel_id), "to": {"kind": "link", "value": f"https://t.me/{name}"}}
        refused(program.begin(0, "x", **over), "cannot_write_first")
        who = {"id": user, "first_name": "Анна", "username": name}
        pair.stack.control("telegram_bot", "say", account=str(bot["bot_id"]), user=who, start="promo")
        wait_for(lambda: pair.rows("select 1 from conversations where channel_id = :id", id=channel_id), what="Start")
        made(program.begin(0, "Здравствуйте", **over | {"to": {"kind": "telegram", "value": f"@{name.upper()}"}}))
        sent = wait_for(lambda: _sent_by(pair, bot), what="the message in Telegram")
        assert [one["text"] for one in sent] == ["Здравствуйте"]
    finally:
        life.disconnect(pair.account_id, channel_id)


def _sent_by(pair: Pair, bot: Json) -> list[Json]:
    items = pair.stack.ledger("telegram_bot", "message")
    return [one for one in items if one["account"] == str(bot["bot_id"]) and one["direction"] == "out"]


# ---------------------------------------------------------------------------------------------------------------- cards


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> dict[str, Card]:
    """Give the portal's cards, by "<kind>:<id>": user 5 may see them all, nobody else any."""
    shown: dict[str, Card] = {}

    def read_card(_self: Any, kind: str, id: str, viewer_id: str) -> Card:
        card = shown.get(f"{kind}:{id}")
        if card is None:
            raise Rejected("card_gone")
        if viewer_id != "5":
            raise Rejected("card_forbidden")
        return card

    monkeypatch.setattr(Bitrix24, "read_card", read_card, raising=False)
    return shown


def lead(user: int, **more: str) -> Card:
    addresses = (
        Address(kind="link", value=f"https://vk.com/id{user}", label="VK"),
        Address(kind="phone", value="8 912 345-67-89"),
    )
    person = CardPerson(remote_id="7", kind="contact", name="Анна", addresses=addresses)
    return Card(kind="lead", id="12", title="Кружки", people=(person,), fields={"DEAL_NAME": "Кружки", **more})


def test_a_card_names_its_recipients_and_only_to_who_may_see_it(pair: Pair, desk: dict[str, Card]) -> None:
    user = new_user()
    desk["lead:12"] = lead(user)
    for viewer in ("6", ""):
        with pytest.raises(cards.CardRefused, match="card_forbidden"):
            cards.read(pair.account_id, pair.connection_id, "lead:12", viewer)
    with pytest.raises(cards.CardRefused, match="card_gone"):
        cards.read(pair.account_id, pair.connection_id, "lead:13", "5")
    with pytest.raises(KeyError):
        cards.read(pair.account_id, pair.channel_id, "lead:12", "5")
    card = cards.read(pair.account_id, pair.connection_id, "lead:12", "5")
    page, phone = recipients.options(pair.account_id, card, connection_id=pair.connection_id)
    assert [(way.channel.id, way.reason, way.is_known) for way in page.ways] == [(pair.channel_id, "", False)]
    assert phone.ways == ()
    pair.customer(user, text="Здравствуйте")
    pair.wait_seen(user, "Здравствуйте")
    page, _phone = recipients.options(pair.account_id, card, connection_id=pair.connection_id)
    assert [(way.reason, way.is_known) for way in page.ways] == [("", True)]
    pair.change("update clients set may_write = false, may_write_at = now()")
    page, _phone = recipients.options(pair.account_id, card, connection_id=pair.connection_id)
    assert [way.reason for way in page.ways] == ["client_forbade"]


def test_a_dialog_begun_from_a_card_is_listed_there(pair: Pair, desk: dict[str, Card]) -> None:
    user = new_user()
    desk["lead:12"] = lead(user, CONTACT_NAME="Анна")
    allow(pair, user)
    reply = quick_replies.create(
        pair.account_id, Template(title="привет", text="%CONTACT_NAME%, вы про «%DEAL_NAME%»?")
    )
    opening = Opening(
        key=ids.new_key(),
        writer=Writer(actor="test", id="5", name="Иван"),
        channel_id=pair.channel_id,
        address=Address(kind="vk", value=f"id{user}"),
        quick_reply_id=reply.id,
        connection_id=pair.connection_id,
        card="lead:12",
        contact="contact:7",
    )
    written = dialogs.start(pair.account_id, opening)
    pair.wait_got(user, "Анна, вы про «Кружки»?")
    page = dialogs.for_card(pair.account_id, pair.connection_id, desk["lead:12"])
    assert [one.conversation.id for one in page.items] == [written.conversation_id]
    found = page.items[0]
    assert (found.card, found.contact, found.is_unanswered, found.reason) == ("lead:12", "contact:7", False, "")
    pair.customer(user, text="Да")
    wait_for(lambda: len(pair.seen(user)) == 2, what="the answer on the portal")
    found = dialogs.for_card(pair.account_id, pair.connection_id, desk["lead:12"]).items[0]
    assert found.is_unanswered and found.last is not None and found.last.text == "Да"
    desk["lead:13"] = Card(kind="lead", id="13", title="x", people=desk["lead:12"].people)
    other = {"key": ids.new_key(), "card": "lead:13", "quick_reply_id": None, "text": "из другой сделки"}
    going_on = {**other, "address": None, "channel_id": None, "conversation_id": written.conversation_id}
    dialogs.send(pair.account_id, Opening(**{**_fields(opening), **going_on}))
    assert pair.rows("select card from links")[0].card == "lead:12", "a dialog that goes on stays where it belongs"
    dialogs.start(pair.account_id, Opening(**{**_fields(opening), **other, "key": ids.new_key()}))
    assert pair.rows("select card from links")[0].card == "lead:13"
    stranger = Writer(actor="test", id="6", name="Иван")
    with pytest.raises(cards.CardRefused, match="card_forbidden"):
        dialogs.start(pair.account_id, Opening(**{**_fields(opening), "key": ids.new_key(), "writer": stranger}))


def _fields(opening: Opening) -> dict[str, Any]:
    return {name: getattr(opening, name) for name in Opening.__dataclass_fields__}


def test_another_accounts_people_and_talks_are_not_there(pair: Pair, program: Program) -> None:
    user = new_user()
    allow(pair, user)
    body = made(program.begin(user, "раз"))
    pair.wait_got(user, "раз")
    client_id = pair.rows("select id from clients where remote_id = :user", user=str(user))[0].id
    other = Program(Pair(pair.stack, pair.stack.make_account(), {}, {}, pair.channel_id, pair.connection_id))
    talk = f"/dialogs/{body['conversation_id']}/messages"
    seen = {"connection_id": str(pair.connection_id), "card": "lead:12", "viewer_id": "5"}
    tried = [
        other.begin(user, "x"),
        other.call("POST", "/dialogs", composer=ids.new_key(), json={"client_id": str(client_id), "text": "x"}),
        other.call("POST", talk, composer=ids.new_key(), json={"text": "x"}),
        other.call("GET", talk),
        other.call("GET", "/dialogs", params=seen),
        other.call("GET", "/recipients", params=seen),
    ]
    assert [answer.status_code for answer in tried] == [404] * 6
    pair.wait_quiet()
    assert pair.got(user) == ["раз"]


def test_a_crm_without_cards_says_so(pair: Pair, program: Program) -> None:
    wanted = {"connection_id": str(pair.connection_id), "card": "lead:12", "viewer_id": "5"}
    answer = program.call("GET", "/recipients", params=wanted)
    assert (answer.status_code, answer.json()["code"]) == (409, "cards_unsupported")
    assert setup.find(pair.account_id, pair.connection_id).state == "active"
