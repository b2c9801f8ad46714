"""The road of a message: what is written on one side is read on the other, once, in order, whatever it holds."""

from __future__ import annotations

import base64
import json
from typing import Any

import requests

from tests.bridge.pair import Pair, new_user
from tests.sandbox import samples
from tests.stack import Json, wait_for


def test_text_written_by_customer_is_shown_and_answer_is_sent(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="Здравствуйте! Есть кружка?")
    pair.wait_seen(user, "Здравствуйте! Есть кружка?")
    pair.operator(user, text="Есть, 500 ₽")
    pair.wait_got(user, "Есть, 500 ₽")
    pair.wait_status("Здравствуйте! Есть кружка?", pair.connection_id, "delivered")
    pair.wait_status("Есть, 500 ₽", pair.channel_id, "sent")


def test_many_messages_of_both_sides_arrive_in_their_order(pair: Pair) -> None:
    user = new_user()
    asked = [f"вопрос {number}" for number in range(15)]
    pair.customer_in_turn(user, *({"text": question} for question in asked))
    pair.wait_seen(user, *asked)
    answered = [f"ответ {number}" for number in range(15)]
    for said in answered:
        pair.operator(user, text=said)
    pair.wait_got(user, *answered)


def test_photo_document_and_voice_of_customer_are_fetched_by_portal_byte_for_byte(pair: Pair) -> None:
    user = new_user()
    contents = {"photo": samples.png(64, 48, 3), "doc": samples.pdf() + b"%tail", "voice": samples.ogg(2)}
    for kind, content in contents.items():
        pair.customer(user, attachments=[{"type": kind, "content_b64": base64.b64encode(content).decode()}])
    wait_for(lambda: len(_shown_files(pair, user)) == 3, what="three files on the portal")
    assert sorted(item["size"] for item in _shown_files(pair, user)) == sorted(map(len, contents.values()))
    links = [file["url"] for file in _sent_files(pair)]
    assert {requests.get(link, timeout=10).content for link in links} == set(contents.values())


def test_album_is_one_message_with_all_its_pictures(pair: Pair) -> None:
    user = new_user()
    pictures = [base64.b64encode(samples.png(40, 40, seed)).decode() for seed in range(4)]
    pair.customer(user, text="все четыре", attachments=[{"type": "photo", "content_b64": one} for one in pictures])
    pair.wait_seen(user, "все четыре")
    assert [file["type"] for file in _shown_files(pair, user)] == ["image"] * 4


def test_files_of_operator_are_uploaded_byte_for_byte(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="пришлите прайс и фото")
    pair.wait_seen(user, "пришлите прайс и фото")
    price, picture = samples.pdf() + b"%price", samples.png(80, 60, 9)
    wanted = [("doc", "прайс.pdf", price, "application/pdf"), ("photo", "кружка.png", picture, "image/png")]
    attachments = [
        {"type": kind, "name": name, "content_type": mime, "content_b64": base64.b64encode(content).decode()}
        for kind, name, content, mime in wanted
    ]
    pair.operator(user, text="вот", attachments=attachments)
    pair.wait_got(user, "вот")
    received = next(item for item in pair.phone(user, "message") if item["direction"] == "out")["attachments"]
    assert {requests.get(one["url"], timeout=10).content for one in received} == {price, picture}


def test_what_portal_cannot_show_natively_is_told_in_words_and_links(pair: Pair) -> None:
    user = new_user()
    kinds = [
        {"type": "geo", "lat": 59.9386, "long": 30.3141},
        {"type": "link", "url": "https://example.com/mug", "title": "Кружка"},
        {"type": "market"},
        {"type": "wall"},
        {"type": "poll"},
        {"type": "story"},
        {"type": "video", "title": "обзор"},
        {"type": "call"},
    ]
    pair.customer_in_turn(user, *({"attachments": [one]} for one in kinds))
    wait_for(lambda: len(pair.seen(user)) == len(kinds), what="every kind on the portal")
    geo, link, market, wall, poll, story, video, call = pair.seen(user)
    assert "59.938600,30.314100" in geo
    assert "https://example.com/mug" in link and "Кружка" in link
    assert "https://vk.com/product" in market and "500 ₽" in market
    assert "https://vk.com/wall" in wall and "Запись" in wall
    assert "https://vk.com/poll" in poll
    assert "https://vk.com/story" in story
    assert "https://vk.com/video" in video and "обзор" in video
    assert call


def test_sticker_and_graffiti_are_pictures_on_the_portal(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, attachments=[{"type": "sticker"}])
    pair.customer(user, attachments=[{"type": "graffiti"}])
    wait_for(lambda: len(_shown_files(pair, user)) == 2, what="two pictures")
    assert {file["type"] for file in _shown_files(pair, user)} == {"image"}


def test_unknown_kind_beside_a_text_is_told_and_the_text_stays(pair: Pair) -> None:
    user = new_user()
    raw = {"type": "raw", "attachment": {"type": "hologram", "hologram": {"depth": 3}}}
    pair.vk_hook("message_new", pair.message_new(user, "смотрите", 7001, attachments=[raw["attachment"]]))
    wait_for(lambda: pair.seen(user), what="the message")
    assert "смотрите" in pair.seen(user)[0]
    assert "Сообщение не поддерживается" in pair.seen(user)[0]


def test_forwarded_messages_are_told_with_their_authors_and_files(pair: Pair) -> None:
    user = new_user()
    first = pair.customer(user, text="то самое", attachments=[{"type": "photo"}])
    pair.wait_seen(user, "то самое")
    pair.customer(user, text="смотрите выше", forward=[first["cmid"]])
    wait_for(lambda: len(pair.seen(user)) == 2, what="the forward")
    assert "смотрите выше" in pair.seen(user)[1] and "то самое" in pair.seen(user)[1]
    assert len(_shown_files(pair, user)) == 2


def test_customer_quoting_an_answer_is_shown_with_the_quote(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="сколько стоит?")
    pair.wait_seen(user, "сколько стоит?")
    pair.operator(user, text="пятьсот рублей")
    pair.wait_got(user, "пятьсот рублей")
    answer = next(item for item in pair.phone(user, "message") if item["direction"] == "out")
    pair.customer(user, text="дорого", reply_to=answer["cmid"])
    wait_for(lambda: len(pair.seen(user)) == 3, what="the quoting message")
    assert "пятьсот рублей" in pair.seen(user)[2] and "дорого" in pair.seen(user)[2]
    quoted = pair.rows("select content from messages where text = 'дорого'")[0].content["quote"]
    assert quoted["message_id"] == str(pair.rows("select id from messages where text = 'пятьсот рублей'")[0].id)


def test_keyboard_payload_and_ref_are_kept(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="Начать", payload='{"command":"start"}', ref="promo-7", ref_source="banner")
    pair.wait_seen(user, "Начать")
    content = pair.rows("select content from messages where text = 'Начать'")[0].content
    assert content["payload"] == '{"command":"start"}'
    assert (content["ref"], content["ref_source"]) == ("promo-7", "banner")


def test_pressed_button_without_a_text_is_shown(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="привет")
    pair.wait_seen(user, "привет")
    pair.customer(user, press={"button": "catalog"}, message=1)
    wait_for(lambda: len(pair.seen(user)) == 2, what="the pressed button")
    assert "catalog" in pair.seen(user)[1]


def test_long_answer_is_cut_into_parts_that_arrive_in_order(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="расскажите всё")
    pair.wait_seen(user, "расскажите всё")
    words = " ".join(f"слово{number}" for number in range(1200))
    assert len(words) > 2 * 4096
    pair.operator(user, text=words)
    wait_for(lambda: " ".join(pair.got(user)) == words, what="all parts")
    assert len(pair.got(user)) == 3 and all(len(part) <= 4096 for part in pair.got(user))
    wait_for(lambda: pair.desk("delivered"), what="the report")
    pair.wait_quiet()
    assert len(pair.desk("delivered")) == 1, "reported once, when the last part had arrived"


def test_admin_typing_in_vk_is_shown_as_outgoing_and_never_doubled(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    pair.admin(user, text="ответ из самого ВК")
    pair.wait_seen(user, "вопрос", "ответ из самого ВК")
    shown = [item for item in pair.desk("message") if item["text"].startswith("ответ")]
    assert [item["who"] for item in shown] == ["operator"]
    pair.customer(user, text="спасибо")
    pair.wait_seen(user, "вопрос", "ответ из самого ВК", "спасибо")
    assert pair.got(user) == ["ответ из самого ВК"], "what came back from the portal was not sent again"


def test_echo_of_our_own_answer_is_no_new_message(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="раз")
    pair.wait_seen(user, "раз")
    pair.operator(user, text="два")
    pair.wait_got(user, "два")
    pair.customer(user, text="три")
    pair.wait_seen(user, "раз", "два", "три")
    pair.wait_quiet()
    assert len(pair.rows("select 1 from messages")) == 3
    assert [item["text"] for item in pair.desk("message") if item["who"] == "operator"] == ["два"], "shown once"


def test_lead_form_reaches_the_portal_with_its_answers(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, lead=[{"key": "phone", "question": "Телефон", "answer": "+7 999 000-00-00"}])
    wait_for(lambda: pair.desk("message"), what="the lead form")
    assert "Телефон: +7 999 000-00-00" in json.dumps(pair.desk("message"), ensure_ascii=False)


def test_text_with_nul_and_lone_surrogate_arrives_without_them(pair: Pair) -> None:
    user = new_user()
    answer = pair.vk_hook("message_new", pair.message_new(user, "до\u0000по\ud800сле", 7100))
    assert answer.text == "ok"
    wait_for(lambda: pair.seen(user), what="the message")
    assert pair.seen(user)[0].startswith("до") and pair.seen(user)[0].endswith("сле")


def _shown_files(pair: Pair, user: int) -> list[Json]:
    items = [item for item in pair.desk("message") if item["conversation"] == pair.thread_of(user)]
    return [file for item in items for file in item["attachments"]]


def _sent_files(pair: Pair) -> list[Json]:
    calls = pair.calls("bitrix24", "imconnector.send.messages")
    return [
        file
        for call in calls
        for item in _as_list(call["params"]["MESSAGES"])
        for file in _as_list(item["message"].get("files", []))
    ]


def _as_list(value: Any) -> list[Json]:
    """Read a list as a PHP form may write it: with its places as keys."""
    return list(value.values()) if isinstance(value, dict) else list(value)
