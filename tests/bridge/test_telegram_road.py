"""Telegram on the whole road, with Bitrix24 at the other end: once by webhook, once by polling. The bridge knows neither."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import requests

from tests import stack as product
from tests.bridge.conftest import PATIENCE
from tests.bridge.pair import NO_LIMIT, Pair, new_user
from tests.sandbox import samples
from tests.stack import Json, Stack, wait_for
from widget_backend.bridge import journal, life, setup


@pytest.fixture(scope="module", params=["webhook", "polling"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Give a running product whose bots get their updates one way or the other."""
    with product.running(None, **PATIENCE, MOSTIK_TELEGRAM_BOT_MODE=request.param) as running:
        running.tend()
        yield running


@dataclass
class Line(Pair):
    """A company with a bot of its own in place of the community."""

    def customer(self, user: int, **body: Any) -> Json:
        """Let a customer act in Telegram: see tests/sandbox/telegram_bot/customer.py."""
        return self.stack.control("telegram_bot", "say", account=str(self.community["bot_id"]), user=user, **body)

    def phone(self, user: int, *kinds: str, connection: str = "") -> list[Json]:
        """Return what was seen in a customer's chat with the bot, or with the owner of a business connection."""
        place = f"{connection}:{user}" if connection else str(user)
        items = self._ledger("telegram_bot", str(self.community["bot_id"]), kinds)
        return [item for item in items if item.get("conversation") == place]


@pytest.fixture
def line(stack: Stack) -> Iterator[Line]:
    """Give a company with a bot and a portal; whatever trouble the test made outside is over afterwards."""
    since = {peer: stack.look(peer, "ledger?since=1000000000")["last"] for peer in ("telegram_bot", "bitrix24")}
    bot = stack.control("telegram_bot", "make")
    portal = stack.control("bitrix24", "make", options={"plan": NO_LIMIT})["portal"]
    account_id = stack.make_account()
    channel_id = life.create(account_id, "telegram_bot", secrets={"token": bot["token"]})
    life.connect(account_id, channel_id)
    connection_id = stack.connect_bitrix24(account_id, portal)
    yield Line(stack, account_id, bot, portal, channel_id, connection_id, since)
    stack.control("telegram_bot", "faults", lose_answers_rate=0, error_rate=0, repeat_hooks_rate=0)
    life.disconnect(account_id, channel_id)
    unfit = [item for item in stack.ledger("telegram_bot", "contract") if item["n"] > since["telegram_bot"]]
    assert not unfit, "every call and answer fits the official spec"


def _files(*contents: bytes, kind: str = "photo", name: str = "a.png", mime: str = "image/png") -> list[Json]:
    return [
        {"type": kind, "name": name, "content_type": mime, "content_b64": base64.b64encode(content).decode()}
        for content in contents
    ]


def test_a_question_is_shown_and_its_answer_arrives(line: Line) -> None:
    user = new_user()
    line.customer(user, start="promo7")
    line.customer(user, text="Есть кружка?")
    line.wait_seen(user, "/start", "Есть кружка?")
    line.operator(user, text="Есть, <b>500</b> ₽ & доставка")
    line.wait_got(user, "Есть, <b>500</b> ₽ & доставка")
    line.wait_status("Есть кружка?", line.connection_id, "delivered")
    line.wait_status("Есть, <b>500</b> ₽ & доставка", line.channel_id, "sent")
    assert line.rows("select content from messages where text = '/start'")[0].content["ref"] == "promo7"


def test_many_messages_of_both_sides_arrive_in_their_order(line: Line) -> None:
    user = new_user()
    asked = [f"вопрос {number}" for number in range(8)]
    for question in asked:
        line.customer(user, text=question)
    line.wait_seen(user, *asked)
    answered = [f"ответ {number}" for number in range(6)]
    for said in answered:
        line.operator(user, text=said)
    line.wait_got(user, *answered)
    counted = line.stack.look("telegram_bot", "limits")[str(line.community["bot_id"])]
    assert counted["refused"] == {"overall": 0, "chat": 0, "group": 0}, "we wait before Telegram must say so"


def test_an_album_is_one_message_both_ways(line: Line) -> None:
    user = new_user()
    pictures = [samples.png(40, 40, seed) for seed in range(3)]
    line.customer(user, text="все три", attachments=_files(*pictures), album=True)
    line.wait_seen(user, "все три")
    (shown,) = [item for item in line.desk("message") if item["who"] != "system"]
    assert [one["type"] for one in shown["attachments"]] == ["image"] * 3
    line.operator(user, text="вот", attachments=_files(*pictures))
    wait_for(lambda: len(_answers(line, user)) == 3, what="three pieces")
    assert len({item["album"] for item in _answers(line, user)}) == 1
    assert [item["text"] for item in _answers(line, user)] == ["вот", "", ""]
    line.wait_status("вот", line.channel_id, "sent")


def test_files_arrive_byte_for_byte(line: Line) -> None:
    user = new_user()
    contents = {"photo": samples.png(64, 48, 3), "document": samples.pdf() + b"%tail", "voice": samples.ogg(2)}
    for kind, content in contents.items():
        line.customer(user, attachments=[{"type": kind, "content_b64": base64.b64encode(content).decode()}])
    wait_for(lambda: len(_shown_files(line)) == 3, what="three files on the portal")
    assert sorted(one["size"] for one in _shown_files(line)) == sorted(map(len, contents.values()))
    price = samples.pdf() + b"%price"
    line.operator(user, attachments=_files(price, kind="doc", name="прайс.pdf", mime="application/pdf"))
    wait_for(lambda: _answers(line, user), what="the price list")
    (received,) = _answers(line, user)[0]["attachments"]
    assert (received["type"], received["name"]) == ("document", "прайс.pdf")
    assert _downloaded(line, received["file_id"]) == price


def test_a_file_too_large_for_bots_is_told_in_words(line: Line) -> None:
    user = new_user()
    line.customer(user, text="проект", attachments=[{"type": "document", "name": "дом.zip", "size": 30_000_000}])
    wait_for(lambda: line.seen(user), what="the message")
    assert "проект" in line.seen(user)[0] and "дом.zip" in line.seen(user)[0]
    failed = line.rows("select reason from attachments where state = 'failed'")
    assert [row.reason for row in failed] == ["file_too_big"]


def test_edits_of_both_sides_and_a_deletion_are_followed(line: Line) -> None:
    user = new_user()
    asked = line.customer(user, text="хочу кружку")
    line.wait_seen(user, "хочу кружку")
    line.customer(user, edit=asked["id"], text="хочу две кружки")
    wait_for(lambda: [item["text"] for item in line.desk("edit")] == ["хочу две кружки"], what="the customer's edit")
    answer = line.operator(user, text="пятьсот")["id"]
    line.wait_got(user, "пятьсот")
    wait_for(lambda: line.desk("delivered"), what="the report")
    line.operator(edit=answer, text="тысяча")
    wait_for(lambda: [i["text"] for i in line.phone(user, "edit")] == ["хочу две кружки", "тысяча"], what="our edit")
    line.operator(delete=answer)
    wait_for(lambda: line.phone(user, "delete"), what="the deletion")


def test_quotes_are_kept_both_ways(line: Line) -> None:
    user = new_user()
    line.customer(user, text="сколько стоит?")
    line.wait_seen(user, "сколько стоит?")
    line.operator(user, text="пятьсот рублей")
    line.wait_got(user, "пятьсот рублей")
    line.customer(user, text="дорого", reply_to=_answers(line, user)[0]["id"])
    wait_for(lambda: len(line.seen(user)) == 3, what="the quoting message")
    assert "пятьсот рублей" in line.seen(user)[2] and "дорого" in line.seen(user)[2]


def test_a_client_who_blocked_the_bot_is_told_to_the_operator(line: Line) -> None:
    user = new_user()
    line.customer(user, text="не пишите мне")
    line.wait_seen(user, "не пишите мне")
    line.customer(user, block=True)
    line.wait_quiet()
    wait_for(lambda: line.rows("select 1 from clients where may_write = false"), what="the block")
    line.operator(user, text="почему?")
    line.wait_status("почему?", line.channel_id, "failed")
    assert not _answers(line, user)


def test_a_lost_answer_is_uncertain_and_nothing_is_sent_twice(line: Line) -> None:
    user = new_user()
    line.customer(user, text="вопрос")
    line.wait_seen(user, "вопрос")
    line.stack.control("telegram_bot", "faults", lose_answers_rate=1)
    line.operator(user, text="один раз")
    line.wait_status("один раз", line.channel_id, "uncertain")
    line.stack.control("telegram_bot", "faults", lose_answers_rate=0)
    line.operator(user, text="и дальше")
    wait_for(lambda: "и дальше" in line.got(user), what="the next answer")
    assert line.got(user) == ["один раз", "и дальше"]


def test_a_business_account_is_answered_for_and_its_owner_may_write_too(line: Line) -> None:
    user = new_user()
    line.customer(user, text="Добрый день", business=True)
    line.wait_seen(user, "Добрый день")
    connection = line.rows("select thread from conversations")[0].thread
    line.operator(user, text="Здравствуйте")
    wait_for(lambda: len(line.phone(user, "message", connection=connection)) == 2, what="the answer")
    answer = line.phone(user, "message", connection=connection)[1]
    assert (answer["text"], answer["direction"], answer["by_bot"]) == ("Здравствуйте", "out", True)
    line.customer(user, text="Это Иван", business=connection, as_owner=True)
    wait_for(lambda: len(line.seen(user)) == 3, what="what the owner wrote")
    assert "Это Иван" in line.seen(user)[2]
    line.wait_quiet()
    assert len(line.rows("select 1 from messages")) == 3, "our own answer came back and is no new message"


def test_a_business_chat_is_read_when_answered_and_open_for_a_day(line: Line) -> None:
    user = new_user()
    asked = line.customer(user, text="Добрый день", business=True)
    line.wait_seen(user, "Добрый день")
    (chat,) = line.rows("select id, thread, window_s from conversations")
    assert chat.window_s == 24 * 3600
    line.operator(user, text="Здравствуйте")
    wait_for(lambda: line.phone(user, "read", connection=chat.thread), what="the read mark")
    assert [item["id"] for item in line.phone(user, "read", connection=chat.thread)] == [str(asked["id"])]
    line.change("update conversations set last_in_at = now() - interval '25 hours'")
    before = len(line.calls("telegram_bot"))
    line.operator(user, text="Вы ещё здесь?")
    line.wait_status("Вы ещё здесь?", line.channel_id, "failed")
    line.wait_quiet()
    assert len(line.phone(user, "message", connection=chat.thread)) == 2
    refused = line.deliveries("m.text = 'Вы ещё здесь?' and d.act = 'new'")[0]
    assert (refused.reason, refused.first_tried_at) == ("window_closed", None), "refused without a call"
    assert "sendMessage" not in {item["method"] for item in line.calls("telegram_bot")[before:]}
    shown = journal.message(line.account_id, refused.message_id)
    assert shown.time_left == timedelta(0)
    line.customer(user, text="Здесь", business=True)
    wait_for(lambda: "Здесь" in line.seen(user), what="the customer's answer")
    left = journal.message(line.account_id, refused.message_id).time_left
    assert left is not None and left > timedelta(hours=23)


def test_groups_reach_the_crm_only_when_they_are_wanted_and_are_always_seen_in_the_journal(line: Line) -> None:
    group, user = -1_000_000_000_000 - new_user(), new_user()
    line.customer(user, text="кто-нибудь?", chat={"id": group}, attachments=_files(samples.png(4, 4, 1)))
    wait_for(lambda: line.status("кто-нибудь?", line.connection_id) == "filtered", what="the rule's decision")
    (message,) = line.rows("select id from messages")
    known = journal.message(line.account_id, message.id)
    assert [(one.state, one.reason) for one in known.attachments] == [("failed", "not_wanted")], "nothing is fetched"
    assert [(one.rule, one.why) for one in known.traces] == [
        ("automatic", "not_automatic"),
        ("groups", "groups_unwanted"),
    ]
    setup.change(line.account_id, line.channel_id, title=None, given={"group_chats": True})
    line.customer(user, text="есть кто?", chat={"id": group})
    line.wait_status("есть кто?", line.connection_id, "delivered")
    line.wait_quiet()
    (shown,) = [item["text"] for item in line.desk("message") if item["who"] != "system"]
    assert shown.endswith("есть кто?")


def test_an_update_that_comes_again_is_one_message(line: Line) -> None:
    line.stack.control("telegram_bot", "faults", repeat_hooks_rate=1)
    user = new_user()
    for number in range(3):
        line.customer(user, text=f"один раз {number}")
    line.wait_seen(user, *[f"один раз {number}" for number in range(3)])
    line.wait_quiet()
    assert len(line.rows("select 1 from messages")) == 3


def _answers(line: Line, user: int) -> list[Json]:
    return [item for item in line.phone(user, "message") if item["direction"] == "out"]


def _shown_files(line: Line) -> list[Json]:
    return [one for item in line.desk("message") if item["who"] != "system" for one in item["attachments"]]


def _downloaded(line: Line, file_id: str) -> bytes:
    base, token = line.community["base_url"], line.community["token"]
    path = requests.post(f"{base}/bot{token}/getFile", json={"file_id": file_id}, timeout=10).json()["result"][
        "file_path"
    ]
    return requests.get(f"{base}/file/bot{token}/{path}", timeout=10).content
