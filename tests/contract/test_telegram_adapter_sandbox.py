"""The Telegram adapter against the Telegram twin, over real HTTP both ways: webhook and polling, delivering, looking up, refusals.

The twin validates every request and every answer of its own against the official spec; what did not fit stands in its ledger.
"""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import requests

from tests.contract.test_calls import NoLimits
from tests.sandbox import run, samples
from tests.sandbox.telegram_bot.gifts import MP4
from widget_backend import outside
from widget_backend.bridge.ends import (
    Accepted,
    Act,
    Client,
    Conversation,
    End,
    Hook,
    Item,
    Network,
    OutFile,
    OutQuote,
    Owner,
    PullRequest,
    Side,
)
from widget_backend.bridge.errors import AccessLost, Misconfigured, NotGenuine, Rejected, Retry, Uncertain
from widget_backend.bridge.events import (
    Attachment,
    ClientChanged,
    Direction,
    EndChanged,
    Ignored,
    Kind,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    Person,
    Place,
    Unparsed,
)
from widget_backend.networks.telegram_bot import hooks
from widget_backend.networks.telegram_bot.adapter import TelegramBot

ANNA = 500100
GROUP = -1002220001
HEADER = "X-Telegram-Bot-Api-Secret-Token"
COUNTERS = itertools.count(1)


def wait_for(look: Callable[[], Any], what: str, seconds: float = 10.0) -> Any:
    """Wait until a look finds something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {what}")


class Door:
    """Our hook door in small: verifies and parses as the product's does, with what `keep` stored."""

    def __init__(self) -> None:
        self.settings: dict[str, object] = {}
        self.secrets: dict[str, str] = {}
        self.remote_id = ""
        self.events: list[Any] = []
        self.refused: list[str] = []
        self._seen: set[str] = set()
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {HEADER.lower(): self.headers.get(HEADER, "")}
                self.send_response(door.take(Hook(body=body, received_at=datetime.now(UTC), headers=headers)))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/key-1"
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def keep(self, *, settings: Any = None, secrets: Any = None) -> None:
        """Store facts as the bridge's `keep` does."""
        self.settings |= settings or {}
        self.secrets |= secrets or {}

    @property
    def owner(self) -> Owner:
        return Owner(adapter="telegram_bot", remote_id=self.remote_id, settings=self.settings, secrets=self.secrets)

    def take(self, hook: Hook) -> int:
        try:
            kept = hooks.verify(hook, self.owner)
        except NotGenuine as error:
            self.refused.append(error.why)
            return 403
        self.read(kept.event_id, hook)
        return hooks.answer(hook, self.owner).status

    def read(self, event_id: str, hook: Hook) -> None:
        """Parse what was not seen before, as the inbox does."""
        if event_id not in self._seen:
            self._seen.add(event_id)
            self.events += hooks.parse(hook, self.owner)

    def wait(self, kind: type, look: Callable[[Any], bool] = lambda _: True) -> Any:
        """Wait for an event."""
        return wait_for(
            lambda: next((one for one in self.events if isinstance(one, kind) and look(one)), None), kind.__name__
        )

    def heard(self, remote_id: str) -> Any:
        """Wait for a message by its number."""
        return self.wait(MessageReceived, lambda one: one.remote_id == remote_id)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Desk:
    """One bot of the twin, connected or not."""

    def __init__(self, base_url: str, door: Door, mode: str = "webhook") -> None:
        self.base_url = base_url
        self.door = door
        self.mode = mode
        self.bot = self.control("make")
        self.cursor: dict[str, object] = {}
        door.secrets["token"] = self.bot["token"]

    def control(self, name: str, **body: Any) -> Any:
        answer = requests.post(f"{self.base_url}/_sandbox/{name}", json=body, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def say(self, text: str = "", **what: Any) -> Any:
        return self.control("say", account=str(self.bot["bot_id"]), user=what.pop("user", ANNA), text=text, **what)

    def later(self, seconds: int = 5) -> None:
        """Let time pass, so that the limit of a chat is not what is tested."""
        self.control("clock", advance_s=seconds)

    def ledger(self, kind: str) -> list[dict[str, Any]]:
        items = requests.get(f"{self.base_url}/_sandbox/ledger", params={"kind": kind}, timeout=10).json()["items"]
        return [one for one in items if one.get("account") == str(self.bot["bot_id"])]

    def shown(self) -> list[dict[str, Any]]:
        """What the client sees of ours."""
        return [one for one in self.ledger("message") if one["direction"] == "out" or one["by_bot"]]

    def api(self, method: str, **params: Any) -> Any:
        """Call the twin past the adapter."""
        answer = requests.post(f"{self.base_url}/bot{self.bot['token']}/{method}", json=params, timeout=10).json()
        return answer["result"]

    def end(self, **over: Any) -> End:
        facts: dict[str, Any] = {
            "id": "end-1", "account_id": "account-1", "adapter": "telegram_bot", "side": Side.NETWORK, "title": "",
            "remote_id": self.door.remote_id, "settings": dict(self.door.settings), "secrets": dict(self.door.secrets),
            "hook_url": self.door.url, "server": {"api_url": self.base_url, "mode": self.mode}.__getitem__,
        }  # fmt: skip
        return End(**(facts | over))

    def connect(self) -> TelegramBot:
        self.later()  # setWebhook is taken once a second
        connected = self.telegram.connect(self.door.keep)
        self.door.keep(settings=connected.settings, secrets=connected.secrets)
        self.door.remote_id = connected.remote_id
        return self.telegram

    @property
    def telegram(self) -> TelegramBot:
        return TelegramBot(self.end())

    def pull(self) -> int:
        """Pull as the bridge does: keep, then move the cursor."""
        pulled = self.telegram.pull(PullRequest(since=datetime.now(UTC), cursor=self.cursor))
        for raw in pulled.raws:
            self.door.read(raw.event_id, Hook(body=raw.body, received_at=datetime.now(UTC), name=raw.name))
        self.cursor = dict(pulled.cursor)
        return len(pulled.raws)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with run.start(["--only", "telegram_bot"]) as running:
        yield running.addresses["telegram_bot"]["base_url"]


@pytest.fixture
def door(sandbox: str) -> Iterator[Door]:
    door = Door()
    yield door
    door.stop()
    unfit = requests.get(f"{sandbox}/_sandbox/ledger", params={"kind": "contract"}, timeout=10).json()["items"]
    requests.post(f"{sandbox}/_sandbox/reset", json={"all": True}, timeout=10)
    assert not unfit


@pytest.fixture(autouse=True)
def free_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "_setup", None)
    outside.configure(outside.Settings(user_agent="mostik-tests", private_hosts=("127.0.0.1",), valkey=NoLimits()))


@pytest.fixture
def desk(sandbox: str, door: Door) -> Desk:
    desk = Desk(sandbox, door)
    desk.connect()
    return desk


@pytest.fixture
def talking(desk: Desk) -> Desk:
    """A connected bot to which Anna has written."""
    desk.say("Здравствуйте")
    desk.door.wait(MessageReceived)
    return desk


@pytest.fixture
def business(desk: Desk) -> Desk:
    """A connected bot that answers for Ivan's account, to which Anna has written."""
    desk.say("Добрый день", business=True)
    desk.door.wait(MessageReceived)
    return desk


def conversation(chat_id: int = ANNA, connection: str = "") -> Conversation:
    client = Client(id="u1", person=Person(remote_id=str(chat_id)))
    return Conversation(
        id=f"c{chat_id}",
        client=client,
        thread=connection,
        scope=f"{connection}:{chat_id}" if connection else str(chat_id),
        place=Place.GROUP if chat_id < 0 else Place.DIRECT,
        title="",
        network="telegram_bot",
        channel_title="",
    )


def item(text: str = "", **over: Any) -> Item:
    counter = next(COUNTERS)
    facts: dict[str, Any] = {
        "key": f"key-{counter}", "counter": counter, "act": Act.NEW, "conversation": conversation(),
        "message_id": f"m{counter}", "direction": Direction.OUT, "sent_at": datetime.now(UTC), "text": text,
    }  # fmt: skip
    return Item(**(facts | over))


def file(kind: Kind, name: str, mime: str, content: bytes) -> OutFile:
    return OutFile(attachment=Attachment(kind=kind, name=name, mime=mime), open=lambda: io.BytesIO(content))


def thing(**facts: Any) -> OutFile:
    return OutFile(attachment=Attachment(**facts))


def outcome(desk: Desk, one: Item) -> Any:
    desk.later()
    return desk.telegram.send([one])[0]


def sent(desk: Desk, one: Item) -> tuple[str, ...]:
    found = outcome(desk, one)
    assert isinstance(found, Accepted), found
    return found.remote_ids


def reason(found: object) -> str:
    assert isinstance(found, Rejected), found
    return found.reason


# ------------------------------------------------------------------------------------------------------------------ life


def test_the_adapter_is_a_network(desk: Desk) -> None:
    assert isinstance(desk.telegram, Network)


def test_connecting_sets_a_webhook_with_our_secret_and_our_updates(desk: Desk) -> None:
    info = desk.api("getWebhookInfo")
    assert (info["url"], set(info["allowed_updates"])) == (desk.door.url, set(hooks.UPDATES))
    assert desk.door.remote_id == str(desk.bot["bot_id"])
    assert desk.door.settings["transport"] == "webhook"
    desk.telegram.check()


def test_connecting_again_keeps_the_secret(desk: Desk) -> None:
    before = desk.door.secrets["webhook_secret"]
    desk.connect()
    assert desk.door.secrets["webhook_secret"] == before
    desk.say("still heard")
    desk.door.wait(MessageReceived)


def test_what_waited_at_telegram_comes_after_connecting(sandbox: str, door: Door) -> None:
    desk = Desk(sandbox, door)
    desk.say("before you came")
    desk.connect()
    assert desk.door.wait(MessageReceived).text == "before you came"


def test_a_wrong_token_is_access_lost(desk: Desk) -> None:
    for token in (desk.bot["token"][:-3] + "abc", "nonsense"):
        desk.door.secrets["token"] = token
        with pytest.raises(AccessLost) as caught:
            desk.telegram.check()
        assert caught.value.reason == "token_revoked"


def test_a_token_of_another_bot_is_refused(desk: Desk) -> None:
    desk.door.secrets["token"] = desk.control("make")["token"]
    with pytest.raises(Misconfigured) as caught:
        desk.telegram.connect(desk.door.keep)
    assert caught.value.reason == "other_bot"


def test_an_address_that_telegram_refuses_is_told(sandbox: str, door: Door) -> None:
    desk = Desk(sandbox, door)
    for address in ("http://mostik.example/hooks/k", "https://mostik.example:8000/hooks/k", "https://10.0.0.1/hooks/k"):
        with pytest.raises(Misconfigured) as caught:
            TelegramBot(desk.end(hook_url=address)).connect(door.keep)
        assert caught.value.reason == "webhook_refused"
        desk.later()


def test_a_webhook_of_somebody_else_is_told_by_the_check_and_when_replaced(desk: Desk) -> None:
    desk.later()
    desk.api("setWebhook", url="https://other.example/hook")
    with pytest.raises(Misconfigured) as caught:
        desk.telegram.check()
    assert caught.value.reason == "used_elsewhere"
    desk.telegram.disconnect()  # not ours: it stays
    assert desk.api("getWebhookInfo")["url"] == "https://other.example/hook"
    desk.later()
    assert desk.telegram.connect(desk.door.keep).warnings == ("webhook_replaced",)


def test_disconnecting_takes_the_webhook_back_and_keeps_what_waits(desk: Desk) -> None:
    desk.telegram.disconnect()
    desk.telegram.disconnect()
    assert desk.api("getWebhookInfo")["url"] == ""
    desk.say("for later")
    assert desk.api("getWebhookInfo")["pending_update_count"] == 1


def test_disconnecting_with_a_revoked_token_is_fine(desk: Desk) -> None:
    desk.control("faults", expire_tokens=True)
    desk.telegram.disconnect()


def test_a_hook_without_our_secret_is_refused(desk: Desk) -> None:
    desk.door.secrets["webhook_secret"] = "another"
    desk.say("not for us")
    wait_for(lambda: desk.door.refused, "a refusal")
    assert not desk.door.events


# ---------------------------------------------------------------------------------------------------------------- polling


@pytest.fixture
def polling(sandbox: str, door: Door) -> Desk:
    desk = Desk(sandbox, door, "auto")  # the door has no https
    desk.connect()
    return desk


def test_without_a_public_address_messages_come_by_polling(polling: Desk) -> None:
    assert polling.door.settings["transport"] == "polling"
    polling.telegram.check()
    polling.say("one")
    polling.say("two")
    assert polling.pull() == 2
    assert [one.text for one in polling.door.events] == ["one", "two"]
    polling.say("three")
    assert polling.pull() == 1
    assert polling.api("getWebhookInfo")["pending_update_count"] == 1, "confirmed only after it was kept"
    assert polling.pull() == 0
    assert polling.api("getWebhookInfo")["pending_update_count"] == 0
    assert polling.cursor == {}


def test_a_pull_that_was_not_kept_brings_the_same_again(polling: Desk) -> None:
    polling.say("only once")
    assert polling.pull() == 1
    polling.cursor = {}
    assert polling.pull() == 1
    assert [one.text for one in polling.door.events] == ["only once"]


def test_more_than_a_hundred_updates_come_in_several_pulls(polling: Desk) -> None:
    for number in range(105):
        polling.say(str(number))
    pulled = polling.telegram.pull(PullRequest(since=datetime.now(UTC), cursor={}))
    assert (len(pulled.raws), pulled.more) == (100, True)
    pulled = polling.telegram.pull(PullRequest(since=datetime.now(UTC), cursor=pulled.cursor))
    assert (len(pulled.raws), pulled.more) == (5, False)


def test_connecting_for_polling_takes_a_webhook_away(sandbox: str, door: Door) -> None:
    desk = Desk(sandbox, door, "polling")
    desk.api("setWebhook", url="https://other.example/hook")
    assert desk.telegram.connect(door.keep).warnings == ("webhook_replaced",)
    assert desk.api("getWebhookInfo")["url"] == ""


def test_a_webhook_set_by_somebody_stops_polling_with_a_reason(polling: Desk) -> None:
    polling.api("setWebhook", url="https://other.example/hook")
    with pytest.raises(Misconfigured) as caught:
        polling.pull()
    assert caught.value.reason == "used_elsewhere"
    with pytest.raises(Misconfigured):
        polling.telegram.check()


def test_with_a_webhook_a_pull_asks_nothing(desk: Desk) -> None:
    desk.control("faults", outage=True)
    desk.cursor = {"offset": 5}
    assert desk.pull() == 0
    assert desk.cursor == {"offset": 5}


def test_a_changed_address_is_told(desk: Desk) -> None:
    desk.mode = "auto"
    with pytest.raises(Misconfigured) as caught:
        desk.telegram.check()
    assert caught.value.reason == "address_changed"


# ---------------------------------------------------------------------------------------------------------------- hooks


def test_what_the_client_does_arrives_as_events(talking: Desk) -> None:
    kinds = {
        "photo": Kind.PHOTO, "document": Kind.DOCUMENT, "voice": Kind.VOICE, "audio": Kind.AUDIO, "video": Kind.VIDEO,
        "video_note": Kind.ROUND_VIDEO, "animation": Kind.ANIMATION, "sticker": Kind.STICKER, "poll": Kind.POLL,
        "location": Kind.LOCATION, "venue": Kind.LOCATION, "contact": Kind.CONTACT, "story": Kind.STORY,
    }  # fmt: skip
    for name, kind in kinds.items():
        told = talking.say(attachments=[{"type": name}])
        event = talking.door.heard(told["id"])
        assert [one.kind for one in event.attachments] == [kind], name
    talking.say(start="promo7")
    assert talking.door.wait(MessageReceived, lambda one: one.ref).ref == "promo7"
    first = talking.say("see")
    talking.say("seen", edit=first["id"])
    assert talking.door.wait(MessageEdited).text == "seen"
    talking.say(attachments=[{"type": "dice", "value": 6}])
    talking.door.wait(MessageReceived, lambda one: one.text == "🎲 6")
    talking.say("Ответ", reply_to=first["id"])
    assert talking.door.wait(MessageReceived, lambda one: one.quote).quote.remote_id == first["id"]
    talking.say(block=True)
    talking.door.wait(ClientChanged, lambda one: one.may_write is False)
    talking.say(unblock=True)
    talking.door.wait(ClientChanged, lambda one: one.may_write is True)
    assert not talking.door.refused
    assert not [one for one in talking.door.events if isinstance(one, Unparsed)]


def test_the_pieces_of_an_album_name_their_album(talking: Desk) -> None:
    told = talking.say("Три", attachments=[{"type": "photo"}] * 3, album=True)
    wait_for(lambda: len(talking.door.events) == 4, "the pieces")
    pieces = [one for one in talking.door.events[1:] if isinstance(one, MessageReceived)]
    assert {one.remote_id for one in pieces} == set(told["ids"])
    assert len({one.group for one in pieces}) == 1 and pieces[0].group
    assert sorted(one.text for one in pieces) == ["", "", "Три"]


def test_what_is_said_in_a_group_is_understood_with_its_author(talking: Desk) -> None:
    talking.say("heard", chat={"id": GROUP})
    event = talking.door.wait(MessageReceived, lambda one: one.place is Place.GROUP)
    assert (event.text, event.author, event.client.remote_id) == ("heard", "Анна К.", str(GROUP))


def test_a_file_is_fetched_through_its_handle(talking: Desk) -> None:
    talking.say(attachments=[{"type": "document"}])
    event = talking.door.wait(MessageReceived, lambda one: one.attachments)
    url, headers = talking.telegram.locate(event.attachments[0])
    assert requests.get(url, headers=dict(headers), timeout=10).content == samples.pdf()


def test_a_file_beyond_twenty_megabytes_is_refused_with_its_reason(talking: Desk) -> None:
    talking.say(attachments=[{"type": "document", "size": 21 * 1024 * 1024}])
    event = talking.door.wait(MessageReceived, lambda one: one.attachments)
    with pytest.raises(Rejected) as caught:
        talking.telegram.locate(event.attachments[0])
    assert caught.value.reason == "file_too_big"
    with pytest.raises(Rejected):
        talking.telegram.locate(Attachment(kind=Kind.DOCUMENT, handle="unknown"))


# ------------------------------------------------------------------------------------------------------------- delivery


def test_a_text_arrives_as_it_was_written(talking: Desk) -> None:
    text = 'Добрый день <b>&amp;</b> *_[x](y)` 🙂 https://acme.example "quoted"'
    (message_id,) = sent(talking, item(text))
    assert [(one["id"], one["text"]) for one in talking.shown()] == [(message_id, text)]


def test_every_kind_of_file_leaves_by_its_own_call(talking: Desk) -> None:
    kinds = [
        (Kind.PHOTO, "a.png", "image/png", samples.png(40, 30), "photo"),
        (Kind.DOCUMENT, "прайс.pdf", "application/pdf", samples.pdf(), "document"),
        (Kind.VIDEO, "v.mp4", "video/mp4", MP4, "video"),
        (Kind.ANIMATION, "g.mp4", "video/mp4", MP4, "animation"),
        (Kind.AUDIO, "s.mp3", "audio/mpeg", samples.mp3(1), "audio"),
        (Kind.VOICE, "v.ogg", "audio/ogg", samples.ogg(1), "voice"),
        (Kind.ROUND_VIDEO, "r.mp4", "video/mp4", MP4, "video_note"),
        (Kind.STICKER, "s.webp", "image/webp", b"RIFFxxxxWEBP", "sticker"),
    ]
    for kind, name, mime, content, expected in kinds:
        sent(
            talking,
            item("Вот" if expected not in ("video_note", "sticker") else "", files=(file(kind, name, mime, content),)),
        )
        shown = talking.shown()[-1]
        assert [one["type"] for one in shown["attachments"]] == [expected]
        assert shown["text"] == ("" if expected in ("video_note", "sticker") else "Вот")
    assert talking.shown()[1]["attachments"][0]["name"] == "прайс.pdf"


def test_places_and_contacts_are_sent(talking: Desk) -> None:
    sent(talking, item(files=(thing(kind=Kind.LOCATION, latitude=55.5, longitude=37.5),)))
    sent(
        talking,
        item(files=(thing(kind=Kind.LOCATION, latitude=55.5, longitude=37.5, title="Склад", text="Ленина, 1"),)),
    )
    sent(talking, item(files=(thing(kind=Kind.CONTACT, title="Иван", phone="+79990000002"),)))
    sent(talking, item(files=(thing(kind=Kind.CONTACT, title="Иван"),)))
    kinds = [[one["type"] for one in shown["attachments"]] for shown in talking.shown()]
    assert kinds == [["location"], ["venue"], ["contact"], []]


def test_an_album_is_one_call_with_an_id_for_each_piece(talking: Desk) -> None:
    photos = tuple(file(Kind.PHOTO, f"{n}.png", "image/png", samples.png(40, 30, n)) for n in range(3))
    ids = sent(talking, item("Три", files=photos))
    shown = talking.shown()
    assert [one["id"] for one in shown] == list(ids)
    assert len({one["album"] for one in shown}) == 1 and shown[0]["album"]
    assert [one["text"] for one in shown] == ["Три", "", ""]


def test_a_picture_that_telegram_refuses_goes_as_a_document(talking: Desk) -> None:
    long = file(Kind.PHOTO, "long.png", "image/png", samples.png(2100, 100))
    sent(talking, item("Узкая", files=(long,)))
    sent(talking, item("Две", files=(long, long)))
    assert [one["attachments"][0]["type"] for one in talking.shown()] == ["document"] * 3


def test_a_quote_is_kept_and_a_deleted_one_does_not_stop_the_answer(talking: Desk) -> None:
    first = talking.say("Сколько?")["id"]
    sent(talking, item("Триста", quote=OutQuote(remote_id=first, text="Сколько?", author="Анна")))
    sent(talking, item("Да", quote=OutQuote(remote_id="9999", text="", author="")))
    assert [one["reply_to"] for one in talking.shown()] == [first, ""]


def test_a_message_is_edited_by_what_it_is(talking: Desk) -> None:
    photo = file(Kind.PHOTO, "a.png", "image/png", samples.png(40, 30))
    words = sent(talking, item("было"))
    picture = sent(talking, item("было", files=(photo,)))
    telegram = talking.telegram
    for ids, files in ((words, ()), (picture, (photo,))):
        for _ in range(2):  # the second time nothing is modified
            edited = telegram.edit(item("стало", act=Act.EDIT, remote_ids=ids, files=files))
            assert edited == Accepted(remote_ids=ids)
    telegram.edit(item("без файла", act=Act.EDIT, remote_ids=picture))
    telegram.edit(item("с файлом", act=Act.EDIT, remote_ids=words, files=(photo,)))
    assert [one["text"] for one in talking.ledger("edit")] == ["стало", "стало", "без файла", "с файлом"]
    assert talking.ledger("edit")[-1]["attachments"][0]["type"] == "photo"
    with pytest.raises(Rejected) as caught:
        telegram.edit(item("x", act=Act.EDIT, remote_ids=("9999",)))
    assert caught.value.reason == "not_found"


def test_messages_are_deleted_for_two_days(talking: Desk) -> None:
    photos = tuple(file(Kind.PHOTO, f"{n}.png", "image/png", samples.png(40, 30, n)) for n in range(2))
    album, old = sent(talking, item(files=photos)), sent(talking, item("старое"))
    for _ in range(2):
        talking.telegram.delete(item(act=Act.DELETE, remote_ids=album))
    assert [one["id"] for one in talking.ledger("delete")] == list(album)
    talking.later(3 * 24 * 3600)
    with pytest.raises(Rejected) as caught:
        talking.telegram.delete(item(act=Act.DELETE, remote_ids=old))
    assert caught.value.reason == "too_late_to_delete"


def test_what_surely_fails_is_rejected_with_its_reason(talking: Desk) -> None:
    assert reason(outcome(talking, item("nobody", conversation=conversation(777)))) == "client_not_found"
    assert reason(outcome(talking, item("x" * 4097))) == "text_too_long"
    assert reason(outcome(talking, item("   "))) == "empty"
    assert reason(outcome(talking, item("?", conversation=conversation(ANNA, "bc_unknown")))) == "business_off"
    talking.say(block=True)
    assert reason(outcome(talking, item("blocked"))) == "blocked_by_client"
    talking.door.secrets["token"] = talking.bot["token"][:-3] + "abc"
    assert isinstance(outcome(talking, item("revoked")), AccessLost)


def test_a_limit_is_a_retry_after_what_telegram_says(talking: Desk) -> None:
    found = [talking.telegram.send([item(str(n))])[0] for n in range(6)]
    late = next(one for one in found if isinstance(one, Retry))
    assert late.reason == "limit" and late.after and late.after.total_seconds() >= 1


def test_trouble_of_telegram_is_uncertain_for_sends_and_a_retry_for_questions(talking: Desk) -> None:
    for faults in ({"error_rate": 1}, {"lose_answers_rate": 1}):
        talking.control("faults", **faults)
        assert isinstance(outcome(talking, item("maybe")), Uncertain)
        with pytest.raises(Retry):
            talking.telegram.check()
        talking.control("faults", **dict.fromkeys(faults, 0))
    assert len(talking.shown()) == 1, "the lost answer was to a message that had arrived"


def test_a_group_that_moved_is_followed(talking: Desk) -> None:
    talking.say("в группе", chat={"id": -333, "type": "group"})
    talking.say(chat=-333, migrate=-1002220333)
    group = conversation(-333)
    ids = sent(talking, item("вслед", conversation=group))
    assert ids[0].startswith("-1002220333/")
    edited = talking.telegram.edit(item("вслед!", act=Act.EDIT, remote_ids=ids, conversation=group))
    assert isinstance(edited, Accepted)
    talking.telegram.delete(item(act=Act.DELETE, remote_ids=ids, conversation=group))
    assert talking.ledger("delete")[0]["conversation"] == "-1002220333"


# -------------------------------------------------------------------------------------------------------------- business


def connection_of(desk: Desk) -> str:
    changed = desk.door.wait(EndChanged)
    (name,) = changed.settings
    return str(name).partition(":")[2]


def test_a_business_account_is_answered_for(business: Desk) -> None:
    connection = connection_of(business)
    event = business.door.wait(MessageReceived)
    there = conversation(ANNA, connection)
    assert (event.thread, event.scope, event.direction) == (connection, there.scope, Direction.IN)
    (message_id,) = sent(business, item("Здравствуйте", conversation=there))
    assert business.door.wait(Ignored).kind == "own_echo"
    owner = business.say("сам", business=connection, as_owner=True)
    by_hand = business.door.wait(MessageReceived, lambda one: one.direction is Direction.OUT)
    assert (by_hand.remote_id, by_hand.scope, by_hand.author) == (owner["id"], there.scope, "Иван")
    business.telegram.edit(item("Здравствуйте!", act=Act.EDIT, remote_ids=(message_id,), conversation=there))
    read = item(act=Act.READ, conversation=there, other_remote_ids=(event.remote_id,))
    business.telegram.mark_read(read)
    assert business.ledger("read")[0]["id"] == event.remote_id
    business.telegram.delete(item(act=Act.DELETE, remote_ids=(message_id,), conversation=there))
    assert business.door.wait(MessageDeleted).remote_id == message_id


def test_a_business_chat_is_open_for_a_day(business: Desk) -> None:
    there = conversation(ANNA, connection_of(business))
    business.later(24 * 3600 + 60)
    assert reason(outcome(business, item("поздно", conversation=there))) == "window_closed"


def test_a_business_account_may_take_its_rights_back(business: Desk) -> None:
    connection = connection_of(business)
    there = conversation(ANNA, connection)
    business.say(business=connection, connection={"rights": {"can_reply": False}})
    assert reason(outcome(business, item("?", conversation=there))) == "business_rights"
    business.say(business=connection, connection={"is_enabled": False})
    assert reason(outcome(business, item("?", conversation=there))) == "business_off"


# ------------------------------------------------------------------------------------------------------------ looking up


def test_looking_up_tells_what_telegram_tells(talking: Desk) -> None:
    known = Client(id="u1", person=Person(remote_id=str(ANNA)))
    found = talking.telegram.profile(known)
    assert (found.name, found.username, found.profile_url) == ("Анна К.", "anna_k", "https://t.me/anna_k")
    assert not found.photo_url
    assert talking.telegram.may_write_first(known)
    assert not talking.telegram.may_write_first(Client(id="u2", person=Person(remote_id="777")))
    assert talking.telegram.resolve("@anna_k") is None
    talking.say(block=True)
    assert not talking.telegram.may_write_first(known)
    with pytest.raises(Rejected):
        talking.telegram.profile(Client(id="u2", person=Person(remote_id="777")))


def test_typing_is_shown(talking: Desk) -> None:
    talking.telegram.typing(conversation())
    assert len(talking.ledger("typing")) == 1
