"""The VK adapter against the VK twin, over real HTTP both ways: connecting, delivering, looking up, catching up, and every refusal."""

from __future__ import annotations

import io
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import requests

from tests.contract import vk_schema
from tests.contract.test_calls import NoLimits
from tests.sandbox import run, samples
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
    NotThere,
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
    Event,
    Kind,
    MessageEdited,
    MessageReceived,
    Person,
    Place,
    ReadUpTo,
    TypingStarted,
    Unparsed,
)
from widget_backend.networks.vk import hooks
from widget_backend.networks.vk.adapter import Vk

ANNA = 100200300
CALLS_PER_S = 19
COUNTERS = itertools.count(1)


class Paced(NoLimits):
    """Counts the calls as Valkey would, for one community: the twin allows 20 in any second."""

    def __init__(self) -> None:
        self._moments: list[float] = []

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        now = time.monotonic()
        self._moments = [one for one in self._moments if one > now - 1.05]
        if len(self._moments) >= CALLS_PER_S:
            return int((self._moments[0] + 1.05 - now) * 1_000_000) + 1
        self._moments.append(now)
        return 0


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
    """Our hook door in small: verifies, parses and answers as the product's does, with what `keep` stored."""

    def __init__(self) -> None:
        self.settings: dict[str, object] = {}
        self.secrets: dict[str, str] = {}
        self.remote_id = ""
        self.events: list[Event] = []
        self.refused: list[str] = []
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, text = door.take(Hook(body=body, received_at=datetime.now(UTC)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

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
        return Owner(adapter="vk", remote_id=self.remote_id, settings=self.settings, secrets=self.secrets)

    def take(self, hook: Hook) -> tuple[int, str]:
        try:
            kept = hooks.verify(hook, self.owner)
        except NotGenuine as error:
            self.refused.append(error.why)
            return 403, "no"
        if kept.keep:
            self.events += hooks.parse(replace(hook, body=kept.body or hook.body), self.owner)
        answer = hooks.answer(hook, self.owner)
        return answer.status, answer.body

    def wait(self, kind: type, look: Callable[[Any], bool] = lambda _: True) -> Any:
        """Wait for an event."""
        return wait_for(
            lambda: next((one for one in self.events if isinstance(one, kind) and look(one)), None), kind.__name__
        )

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Desk:
    """One community of the twin, connected or not."""

    def __init__(self, base_url: str, door: Door, rights: list[str] | None = None) -> None:
        self.base_url = base_url
        self.door = door
        self.community = self.control("make", {"rights": rights} if rights is not None else {})
        door.secrets["token"] = self.community["token"]

    def control(self, name: str, body: dict[str, Any]) -> Any:
        answer = requests.post(f"{self.base_url}/_sandbox/{name}", json=body, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def say(self, **what: Any) -> Any:
        return self.control("say", {"account": str(self.community["group_id"]), "user": ANNA, **what})

    def ledger(self, kind: str = "") -> list[dict[str, Any]]:
        items = requests.get(f"{self.base_url}/_sandbox/ledger", params={"kind": kind}, timeout=10).json()["items"]
        return [one for one in items if one.get("account") == str(self.community["group_id"])]

    def calls(self, method: str) -> list[dict[str, Any]]:
        return [one for one in self.ledger("call") if one["method"] == method]

    def end(self, **over: Any) -> End:
        facts: dict[str, Any] = {
            "id": "end-1", "account_id": "account-1", "adapter": "vk", "side": Side.NETWORK, "title": "VK",
            "remote_id": self.door.remote_id, "settings": dict(self.door.settings), "secrets": dict(self.door.secrets),
            "hook_url": self.door.url, "server": {"api_url": self.base_url}.__getitem__,
        }  # fmt: skip
        return End(**(facts | over))

    def connect(self) -> Vk:
        connected = Vk(self.end()).connect(self.door.keep)
        self.door.keep(settings=connected.settings, secrets=connected.secrets)
        self.door.remote_id = connected.remote_id
        return self.vk

    @property
    def vk(self) -> Vk:
        return Vk(self.end())

    def outgoing(self) -> list[Any]:
        """What lies in the dialog on the community's side, as VK tells it."""
        answer = requests.post(
            f"{self.base_url}/method/messages.getHistory",
            data={"peer_id": ANNA, "count": 200, "v": "5.199", "access_token": self.community["token"]},
            timeout=10,
        ).json()["response"]["items"]
        return [one for one in reversed(answer) if one["out"]]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with run.start(["--only", "vk"]) as running:
        yield running.addresses["vk"]["base_url"]


@pytest.fixture
def door(sandbox: str) -> Iterator[Door]:
    door = Door()
    yield door
    door.stop()
    requests.post(f"{sandbox}/_sandbox/reset", json={"all": True}, timeout=10)


@pytest.fixture(autouse=True)
def free_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "_setup", None)
    outside.configure(outside.Settings(user_agent="mostik-tests", private_hosts=("127.0.0.1",), valkey=Paced()))


@pytest.fixture
def desk(sandbox: str, door: Door) -> Desk:
    desk = Desk(sandbox, door)
    desk.connect()
    return desk


@pytest.fixture
def talking(desk: Desk) -> Desk:
    """A connected community to which Anna has written."""
    desk.say(text="Здравствуйте")
    desk.door.wait(MessageReceived)
    return desk


def conversation(peer_id: int = ANNA) -> Conversation:
    client = Client(id="u1", person=Person(remote_id=str(peer_id)))
    return Conversation(
        id=f"c{peer_id}",
        client=client,
        thread="",
        scope="",
        place=Place.DIRECT,
        title="",
        network="vk",
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


def sent(vk: Vk, one: Item) -> str:
    outcome = vk.send([one])[0]
    assert isinstance(outcome, Accepted), outcome
    return outcome.remote_ids[0]


# ------------------------------------------------------------------------------------------------------------------ life


def test_connecting_registers_a_confirmed_server_with_our_events(desk: Desk) -> None:
    answer = requests.post(
        f"{desk.base_url}/method/groups.getCallbackServers",
        data={"group_id": desk.community["group_id"], "v": "5.199", "access_token": desk.community["token"]},
        timeout=10,
    ).json()["response"]["items"]
    assert [(one["url"], one["title"], one["status"]) for one in answer] == [(desk.door.url, "Mostik", "ok")]
    assert desk.door.settings["server_id"] == answer[0]["id"]
    assert desk.door.remote_id == str(desk.community["group_id"])
    desk.vk.check()


def test_connecting_again_uses_the_server_that_works(desk: Desk) -> None:
    before = dict(desk.door.settings)
    desk.connect()
    assert desk.door.settings == before
    assert len(desk.calls("groups.addCallbackServer")) == 1


def test_connecting_after_the_secret_was_lost_makes_a_new_server(desk: Desk) -> None:
    del desk.door.secrets["callback_secret"]
    desk.connect()
    assert len(desk.calls("groups.deleteCallbackServer")) == 1
    desk.say(text="still heard")
    desk.door.wait(MessageReceived)


def test_a_missing_right_is_told_before_anything_is_registered(sandbox: str, door: Door) -> None:
    desk = Desk(sandbox, door, ["messages", "photos"])
    with pytest.raises(Misconfigured) as caught:
        desk.connect()
    assert (caught.value.reason, caught.value.detail) == ("rights_missing", "docs, manage")
    assert not desk.calls("groups.addCallbackServer")


def test_a_wrong_key_is_access_lost(sandbox: str, door: Door) -> None:
    desk = Desk(sandbox, door)
    door.secrets["token"] = "vk1.a.wrong"
    with pytest.raises(AccessLost):
        desk.connect()


def test_a_key_of_another_community_is_refused(desk: Desk) -> None:
    other = desk.control("make", {})
    with pytest.raises(Misconfigured) as caught:
        Vk(desk.end(secrets={"token": other["token"]})).connect(desk.door.keep)
    assert caught.value.reason == "other_community"


def test_a_door_that_does_not_answer_is_told(sandbox: str, door: Door) -> None:
    desk = Desk(sandbox, door)
    with pytest.raises(Misconfigured) as caught:
        Vk(desk.end(hook_url="http://127.0.0.1:9/hooks/nobody")).connect(door.keep)
    assert caught.value.reason == "server_not_confirmed"


def test_without_a_public_address_it_connects_and_pulls(sandbox: str, door: Door) -> None:
    desk = Desk(sandbox, door)
    connected = Vk(desk.end(hook_url="")).connect(door.keep)
    assert connected.warnings == ("no_public_address",)
    Vk(desk.end(hook_url="")).check()


def test_disconnecting_takes_our_server_and_no_other(desk: Desk) -> None:
    service = {"group_id": desk.community["group_id"], "v": "5.199", "access_token": desk.community["token"]}
    other = {"url": desk.door.url + "-other", "title": "Other", "secret_key": "x"}
    requests.post(f"{desk.base_url}/method/groups.addCallbackServer", data=service | other, timeout=10)
    desk.vk.disconnect()
    desk.vk.disconnect()
    found = requests.post(f"{desk.base_url}/method/groups.getCallbackServers", data=service, timeout=10).json()
    assert [one["title"] for one in found["response"]["items"]] == ["Other"]
    with pytest.raises(Misconfigured):
        desk.vk.check()


def test_disconnecting_with_a_revoked_key_is_fine(desk: Desk) -> None:
    desk.control("faults", {"expire_tokens": True})
    desk.vk.disconnect()


# ---------------------------------------------------------------------------------------------------------------- hooks


def test_what_the_client_does_arrives_as_events(talking: Desk) -> None:
    kinds = {
        "photo": Kind.PHOTO, "doc": Kind.DOCUMENT, "voice": Kind.VOICE, "sticker": Kind.STICKER, "geo": Kind.LOCATION,
        "link": Kind.LINK, "video": Kind.VIDEO, "audio": Kind.AUDIO, "graffiti": Kind.PHOTO, "wall": Kind.POST,
        "wall_reply": Kind.POST, "market": Kind.PRODUCT, "gift": Kind.GIFT, "story": Kind.STORY, "poll": Kind.POLL,
        "call": Kind.CALL,
    }  # fmt: skip
    for name, kind in kinds.items():
        told = talking.say(text=f"a {name}", attachments=[{"type": name}])
        event = talking.door.wait(MessageReceived, lambda one, told=told: one.remote_id == str(told["id"]))
        assert [one.kind for one in event.attachments] == [kind], name
    first = talking.say(text="see", ref="promo7", ref_source="site")
    event = talking.door.wait(MessageReceived, lambda one: one.remote_id == str(first["id"]))
    assert (event.ref, event.ref_source, event.direction) == ("promo7", "site", Direction.IN)
    talking.say(edit=first["id"], text="seen")
    assert talking.door.wait(MessageEdited).text == "seen"
    talking.say(typing=True)
    talking.door.wait(TypingStarted)
    talking.say(deny=True)
    talking.door.wait(ClientChanged, lambda one: one.may_write is False)
    assert not talking.door.refused
    assert not [one for one in talking.door.events if isinstance(one, Unparsed)]


def test_a_cropped_message_is_completed_by_a_pull(talking: Desk) -> None:
    told = talking.say(text="long " * 300, attachments=[{"type": "photo"}], cropped=True)
    cropped = talking.door.wait(MessageReceived, lambda one: one.remote_id == str(told["id"]))
    assert cropped.attachments[-1].kind is Kind.UNSUPPORTED
    request = PullRequest(since=datetime.now(UTC), cursor={"message_ids": [cropped.remote_id], "last_id": 3})
    pulled = talking.vk.pull(request)
    (event,) = parsed(talking, pulled.raws)
    assert isinstance(event, MessageEdited)
    assert event.text == ("long " * 300)
    assert [one.kind for one in event.attachments or ()] == [Kind.PHOTO]
    assert pulled.cursor == {"last_id": 3}


def test_what_an_admin_writes_in_vk_is_outgoing_and_not_ours(talking: Desk) -> None:
    talking.say(**{"as": "admin"}, text="from VK")
    event = talking.door.wait(MessageReceived, lambda one: one.text == "from VK")
    assert (event.direction, event.author_id) == (Direction.OUT, "777")


# ------------------------------------------------------------------------------------------------------------- delivery


def test_a_text_is_sent_once_however_often_and_its_echo_names_our_counter(talking: Desk) -> None:
    one = item("Добрый день")
    assert sent(talking.vk, one) == sent(talking.vk, one)
    assert [message["text"] for message in talking.outgoing()] == ["Добрый день"]
    echo = talking.door.wait(MessageReceived, lambda event: event.direction is Direction.OUT)
    assert (echo.own_key, echo.remote_id) == (str(one.counter), str(talking.outgoing()[0]["id"]))


def test_a_repeat_after_a_lost_answer_sends_nothing_twice(talking: Desk) -> None:
    one = item("only once")
    talking.control("faults", {"lose_answers_rate": 1})
    assert isinstance(talking.vk.send([one])[0], Uncertain)
    talking.control("faults", {"lose_answers_rate": 0})
    found = talking.vk.lookup(one)
    assert isinstance(found, Accepted)
    assert sent(talking.vk, one) == found.remote_ids[0]
    assert len(talking.outgoing()) == 1
    assert isinstance(talking.vk.lookup(item("never sent")), NotThere)


def test_a_batch_spends_one_request_and_each_has_his_own_outcome(talking: Desk) -> None:
    talking.say(user=ANNA + 1, text="Здравствуйте")
    batch = [
        item('one "quoted" \\ line\nтекст 🙂 '),
        item("nobody allowed this", conversation=conversation(ANNA + 7)),
        item("x" * 4097),
        item("with a file", files=(file(Kind.DOCUMENT, "a.exe", "", b"MZ"),)),
        item("two", conversation=conversation(ANNA + 1)),
    ]
    outcomes = talking.vk.send(batch)
    reasons = [getattr(one, "reason", "ok") for one in outcomes]
    assert reasons == ["ok", "not_allowed", "text_too_long", "file_refused", "ok"]
    assert talking.outgoing()[0]["text"] == batch[0].text
    assert len(talking.calls("execute")) == 1
    assert talking.vk.send(batch)[0] == outcomes[0]
    assert len(talking.outgoing()) == 1


def test_files_and_places_are_sent(talking: Desk) -> None:
    files = (
        file(Kind.PHOTO, "a.png", "image/png", samples.png(40, 30, 1)),
        file(Kind.DOCUMENT, "price.pdf", "application/pdf", samples.pdf()),
        file(Kind.VIDEO, "clip.mp4", "video/mp4", b"mp4"),
    )
    sent(talking.vk, item("three", files=files))
    sent(talking.vk, item(files=(file(Kind.VOICE, "v.ogg", "audio/ogg", samples.ogg(2)),)))
    place = OutFile(attachment=Attachment(kind=Kind.LOCATION, latitude=55.75, longitude=37.61))
    sent(talking.vk, item(files=(place,)))
    three, voice, where = talking.outgoing()
    assert [one["type"] for one in three["attachments"]] == ["photo", "doc", "doc"]
    assert [one["type"] for one in voice["attachments"]] == ["audio_message"]
    assert where["geo"]["coordinates"] == {"latitude": 55.75, "longitude": 37.61}


def test_a_file_that_vk_refuses_is_rejected_and_nothing_is_sent(talking: Desk) -> None:
    bad = (file(Kind.DOCUMENT, "setup.exe", "application/x-dosexec", b"MZ"),)
    outcome = talking.vk.send([item("run this", files=bad)])[0]
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "file_refused"
    assert not talking.outgoing()


def test_a_quote_is_kept_and_a_deleted_one_does_not_stop_the_answer(talking: Desk) -> None:
    question = talking.say(text="Is it?")
    quote = OutQuote(remote_id=str(question["id"]), text="Is it?", author="Анна")
    sent(talking.vk, item("Yes", quote=quote))
    talking.say(delete=question["id"])
    sent(talking.vk, item("Really", quote=quote))
    yes, really = talking.outgoing()
    assert yes["reply_message"]["text"] == "Is it?"
    assert "reply_message" not in really


def test_an_edit_keeps_attachments_and_a_deletion_is_for_everybody(talking: Desk) -> None:
    files = (file(Kind.PHOTO, "a.png", "image/png", samples.png(40, 30, 1)),)
    one = item("before", files=files)
    remote_id = sent(talking.vk, one)
    edited = replace(one, act=Act.EDIT, text="after", remote_ids=(remote_id,))
    assert talking.vk.edit(edited) == Accepted(remote_ids=(remote_id,))
    (message,) = talking.outgoing()
    assert (message["text"], [one["type"] for one in message["attachments"]]) == ("after", ["photo"])
    assert len(talking.ledger("upload")) == 1
    assert isinstance(talking.vk.delete(replace(edited, act=Act.DELETE)), Accepted)
    assert isinstance(talking.vk.delete(replace(edited, act=Act.DELETE)), Accepted)
    assert not talking.outgoing()


def test_after_a_day_neither_edit_nor_deletion_is_taken(talking: Desk) -> None:
    one = replace(item("old"), remote_ids=(sent(talking.vk, item("old")),))
    talking.control("clock", {"advance_s": 25 * 3600})
    with pytest.raises(Rejected) as caught:
        talking.vk.edit(replace(one, text="new"))
    assert caught.value.reason == "too_late_to_edit"
    outcome = talking.vk.delete(one)
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "too_late_to_delete"


def test_reading_goes_both_ways_and_typing_is_shown(talking: Desk) -> None:
    theirs = talking.door.wait(MessageReceived).remote_id
    remote_id = sent(talking.vk, item("read me"))
    assert talking.vk.mark_read(item(other_remote_ids=(theirs, "event:1"))) == Accepted()
    talking.vk.typing(conversation())
    talking.say(read=True)
    assert talking.door.wait(ReadUpTo).remote_id == remote_id


@pytest.mark.parametrize(
    ("before", "kind", "reason"),
    [
        ({"deny": True}, Rejected, "not_allowed"),
        ({"block": True}, Rejected, "client_is_banned"),
    ],
)
def test_a_client_who_cannot_be_written_to_is_named(talking: Desk, before: Any, kind: type, reason: str) -> None:
    talking.say(**before)
    outcome = talking.vk.send([item("hello?")])[0]
    assert isinstance(outcome, kind)
    assert outcome.reason == reason


@pytest.mark.parametrize(
    ("faults", "kind", "reason"),
    [
        ({"rate_limit": True}, Retry, "limit"),
        ({"expire_tokens": True}, AccessLost, "token_revoked"),
        ({"outage": True}, Retry, "vk_trouble"),
        ({"error_rate": 1}, Retry, "vk_trouble"),
    ],
)
def test_trouble_of_vk_is_said_with_its_reason(talking: Desk, faults: Any, kind: type, reason: str) -> None:
    talking.control("faults", faults)
    outcome = talking.vk.send([item("hello?")])[0]
    assert isinstance(outcome, kind), outcome
    assert outcome.reason == reason
    assert not [one for one in talking.ledger() if one["kind"] == "message" and one.get("text") == "hello?"]


# ----------------------------------------------------------------------------------------------------------- looking up


def test_profiles_and_addresses_are_found(talking: Desk) -> None:
    person = talking.vk.profile(conversation().client)
    assert person.remote_id == str(ANNA)
    assert person.name
    assert talking.vk.resolve(f"https://vk.com/id{ANNA}") == person
    assert talking.vk.resolve("@nobody_of_this_name") is None
    assert talking.vk.may_write_first(conversation().client) is True
    assert talking.vk.may_write_first(conversation(ANNA + 9).client) is False
    with pytest.raises(Rejected):
        talking.vk.profile(conversation(999999999).client)


# ----------------------------------------------------------------------------------------------------------------- pull


def parsed(desk: Desk, raws: Any) -> list[Event]:
    bodies = [Hook(body=one.body, received_at=datetime.now(UTC), name=one.name) for one in raws]
    return [event for hook in bodies for event in hooks.parse(hook, desk.door.owner)]


def pull_all(desk: Desk, since: datetime, cursor: dict[str, object]) -> tuple[list[Event], dict[str, object]]:
    events: list[Event] = []
    while True:
        pulled = desk.vk.pull(PullRequest(since=since, cursor=cursor))
        cursor = json.loads(json.dumps(pulled.cursor))
        events += parsed(desk, pulled.raws)
        if not pulled.more:
            return events, cursor


def test_a_pull_brings_what_hooks_did_not_in_order_and_nothing_twice(talking: Desk) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    first = talking.door.wait(MessageReceived)
    known, cursor = pull_all(talking, since, {})
    assert [one.remote_id for one in known] == [first.remote_id]
    talking.vk.disconnect()
    for number in range(25):
        talking.say(user=ANNA + number, text=f"missed {number}")
    talking.say(text="missed again")
    talking.say(**{"as": "admin"}, text="written in VK")
    missed, cursor = pull_all(talking, since, cursor)
    assert len(missed) == 27
    annas = [one for one in missed if isinstance(one, MessageReceived) and one.client.remote_id == str(ANNA)]
    assert [one.text for one in annas] == ["missed 0", "missed again", "written in VK"]
    assert [one.direction for one in annas] == [Direction.IN, Direction.IN, Direction.OUT]
    assert pull_all(talking, since, cursor)[0] == []


def test_a_pulled_message_has_the_id_its_hook_had(talking: Desk) -> None:
    told = talking.say(text="both ways", attachments=[{"type": "photo"}])
    by_hook = talking.door.wait(MessageReceived, lambda one: one.remote_id == str(told["id"]))
    events, _ = pull_all(talking, datetime.now(UTC) - timedelta(hours=1), {})
    assert by_hook in events


# --------------------------------------------------------------------------------------------------------------- schema


def test_every_request_fits_the_official_schema_and_the_adapter_is_a_network(talking: Desk) -> None:
    schema = vk_schema.load()
    assert isinstance(talking.vk, Network)
    quote = OutQuote(remote_id=talking.door.wait(MessageReceived).remote_id, text="?", author="")
    files = (file(Kind.PHOTO, "a.png", "image/png", samples.png(40, 30, 1)),)
    one = item("schema", quote=quote, files=files)
    one = replace(one, remote_ids=(sent(talking.vk, one),))
    talking.vk.edit(replace(one, text="schema!"))
    talking.vk.mark_read(replace(one, other_remote_ids=(quote.remote_id,)))
    talking.vk.typing(conversation())
    talking.vk.profile(conversation().client)
    talking.vk.may_write_first(conversation().client)
    talking.vk.resolve("acme")
    talking.vk.delete(one)
    pull_all(talking, datetime.now(UTC) - timedelta(hours=1), {})
    talking.vk.disconnect()
    calls = talking.ledger("call")
    assert len({call["method"] for call in calls}) >= 18
    for call in calls:
        schema.check_request(call["method"], call["params"])
