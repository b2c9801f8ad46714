"""The Bitrix24 adapter against the strict twin, over real HTTP: life, both directions, echoes, failures, what was missed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests
from redis import Redis

from oauth import bitrix24 as oauth_bitrix24
from oauth.grants import Keys
from tests.sandbox.run import Running, start
from widget_backend import limits, outside
from widget_backend.bridge import runtime
from widget_backend.bridge.ends import (
    Accepted,
    Act,
    Client,
    Conversation,
    End,
    Hook,
    Item,
    Link,
    NotThere,
    OutFile,
    OutQuote,
    Owner,
    PullRequest,
    Side,
)
from widget_backend.bridge.errors import AccessLost, Misconfigured, Rejected, Retry, Uncertain
from widget_backend.bridge.events import (
    Attachment,
    DialogClosed,
    DialogOpened,
    Direction,
    EndBroken,
    EndChanged,
    EndRevoked,
    Event,
    Ignored,
    Kind,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    Person,
    Place,
)
from widget_backend.config import Config
from widget_backend.crms.bitrix24 import hooks
from widget_backend.crms.bitrix24.adapter import Bitrix24
from widget_backend.crypto import Secret

Json = dict[str, Any]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Running]:
    with start(["--only", "bitrix24"]) as running:
        yield running


@dataclass
class Receiver:
    """The product's door: keeps what the portal posts."""

    url: str = ""
    posts: list[tuple[str, bytes]] = field(default_factory=list)


@pytest.fixture(scope="module")
def door() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.posts.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(b"a file of a customer")

        def log_message(self, *args: Any) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


@dataclass
class TestTokens:
    """Tokens without a database: the refresh itself is real."""

    __test__ = False
    keys: Keys
    endpoint: str
    access: str
    refresh: str
    renewals: int = 0

    def current(self) -> str:
        return self.access

    def renew(self, stale: str) -> str:
        grant = oauth_bitrix24.refresh(self.keys, self.endpoint, Secret(self.refresh))
        self.access, self.refresh = grant.access.reveal(), grant.refresh.reveal()
        self.renewals += 1
        return self.access


@dataclass
class World:
    """A portal of its own with the app installed, and the end that stands for it."""

    base: str
    account: str
    app: str
    door: Receiver
    end: End
    tokens: TestTokens
    links: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def adapter(self) -> Bitrix24:
        return Bitrix24(self.end)

    def control(self, path: str, **body: Any) -> Json:
        answer = requests.post(f"{self.base}/_sandbox/{path}", json={"account": self.account, **body}, timeout=10)
        answer.raise_for_status()
        return dict(answer.json())

    def ledger(self, kind: str = "") -> list[Json]:
        answer = requests.get(f"{self.base}/_sandbox/ledger", timeout=10).json()
        return [i for i in answer["items"] if i.get("account") == self.account and (not kind or i["kind"] == kind)]

    def keep(self, *, settings: Mapping[str, object] | None = None, secrets: Mapping[str, str] | None = None) -> None:
        self.end = replace(
            self.end,
            settings={**self.end.settings, **(settings or {})},
            secrets={**self.end.secrets, **(secrets or {})},
        )

    def connect(self, line: str = "") -> None:
        if line:
            self.keep(settings={"line": line})
        self.keep(settings=self.adapter.connect(self.keep).settings)

    def owner(self) -> Owner:
        return Owner(
            adapter="bitrix24",
            remote_id=self.end.remote_id,
            settings=self.end.settings,
            secrets=self.end.secrets,
        )

    def events(self, wanted: type[Event], *, limit_s: float = 5.0) -> list[Any]:
        """Wait for events of a type among all that came; each body was verified and lost its tokens first."""
        until = time.monotonic() + limit_s
        while True:
            found = [event for event in self.all_events() if isinstance(event, wanted)]
            if found or time.monotonic() > until:
                return found
            time.sleep(0.05)

    def all_events(self) -> list[Event]:
        events: list[Event] = []
        path = urlsplit(self.end.hook_url).path
        for posted, body in list(self.door.posts):
            if posted.startswith(path):
                hook = Hook(body=body, received_at=datetime.now(UTC), name="event")
                kept = hooks.verify(hook, self.owner())
                assert kept.body is not None
                events += hooks.parse(replace(hook, body=kept.body), self.owner())
        return events

    def conversation(self, name: str = "Анна", **over: Any) -> Conversation:
        id = over.pop("id", uuid4().hex)
        person = over.pop("person", Person(remote_id="42", name=name))
        return Conversation(
            id=id,
            client=Client(id=f"u{id}", person=person),
            thread="",
            scope="",
            place=Place.DIRECT,
            title="",
            network="vk",
            channel_title="Магазин",
            link=Link(remote_id=id, state=self.links.setdefault(id, {})),
        )

    def item(self, conversation: Conversation, text: str = "", **over: Any) -> Item:
        known: dict[str, Any] = {
            "key": str(uuid4()),
            "counter": 1,
            "act": Act.NEW,
            "conversation": conversation,
            "message_id": str(uuid4()),
            "direction": Direction.IN,
            "sent_at": datetime.now(UTC),
            "text": text,
        }
        return Item(**{**known, **over})

    def deliver(self, *items: Item) -> list[Any]:
        outcomes = list(self.adapter.import_messages(items))
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, Accepted):
                self.links[item.conversation.id].update(outcome.state)
        return outcomes


@pytest.fixture
def world(sandbox: Running, door: Receiver, config: Config, redis: Redis[bytes]) -> World:
    twin = sandbox.addresses["bitrix24"]
    servers = {**config.servers, ("bitrix24", "oauth_urls"): tuple(twin["oauth_urls"])}
    runtime.configure(replace(config, servers=servers), None, redis)  # type: ignore[arg-type]
    outside.configure(outside.Settings(user_agent="mostik/test", private_hosts=("127.0.0.1",), valkey=redis))
    limits.take(redis, (limits.Limit("warm", 1.0, 1),))
    redis.set("mostik:limits:born", "0")  # as if this server had been idle long enough to have its whole burst
    answer = requests.post(f"{twin['base_url']}/_sandbox/make", json={"local": {"title": "Mostik"}}, timeout=10)
    made = answer.json()
    key = uuid4().hex
    urls = {"install_url": f"{door.url}/embedded/{key}/install", "handler_url": f"{door.url}/embedded/{key}"}
    told = {"account": made["account"], "app": made["client_id"]}
    form = requests.post(f"{twin['base_url']}/_sandbox/install", json={**told, **urls}, timeout=10).json()
    requests.post(f"{twin['base_url']}/_sandbox/install-finish", json=told, timeout=10).raise_for_status()
    fields = form["fields"]
    keys = Keys(client_id=made["client_id"], client_secret=Secret(made["client_secret"]))
    tokens = TestTokens(keys, made["oauth_url"], fields["AUTH_ID"], fields["REFRESH_ID"])
    server = {"rate": 2, "burst": 50, "request_limit_s": 30}
    end = End(
        id=str(uuid4()),
        account_id=str(uuid4()),
        adapter="bitrix24",
        side=Side.CRM,
        title="Мостик",
        remote_id=made["account"],
        settings={
            "client_endpoint": made["portal"]["client_endpoint"],
            "domain": made["portal"]["domain"],
            "user_id": str(made["portal"]["admin"]),
            "pages_url": f"{door.url}/embedded/{key}",
        },
        secrets={"application_token": fields["APPLICATION_TOKEN"]},
        hook_url=f"{door.url}/hooks/{key}",
        server=lambda name: server[name],  # type: ignore[return-value]
        tokens=tokens,
    )
    return World(twin["base_url"], made["account"], made["client_id"], door, end, tokens)


@pytest.fixture
def live(world: World) -> World:
    """A portal whose first line has our connector."""
    world.connect(world.adapter.settings_catalog("lines")[0].value)
    return world


# -- life ------------------------------------------------------------------------------------------------------------


def test_connecting_without_a_line_registers_and_says_what_is_missing(world: World) -> None:
    connected = world.adapter.connect(world.keep)

    assert connected.warnings == ("bitrix24_no_line",)
    assert connected.settings["connector"] == world.end.settings["connector"]


def test_connecting_to_a_line_goes_live_and_may_be_repeated(world: World) -> None:
    line = world.adapter.settings_catalog("lines")[0].value
    for _ in range(2):
        world.connect(line)

    world.adapter.check()
    assert world.end.settings["active_line"] == line


def test_missing_scope_is_named(world: World) -> None:
    world.control("app", client_id=world.app, scopes=["imopenlines"])
    world.tokens.renew("")
    with pytest.raises(Misconfigured) as raised:
        world.connect()

    assert (raised.value.reason, raised.value.detail) == ("bitrix24_scope", "imconnector")


def test_disconnecting_takes_everything_back_and_may_be_repeated(live: World) -> None:
    live.adapter.disconnect()
    live.adapter.disconnect()

    with pytest.raises(Misconfigured):
        live.adapter.check()


def test_update_of_the_app_is_noticed_by_the_pull_and_the_check(live: World) -> None:
    live.control("update", app=live.app)

    with pytest.raises(Misconfigured) as raised:
        live.adapter.check()
    assert raised.value.reason == "bitrix24_handlers_gone"
    assert _pulled(live) == [EndChanged(reconnect=True)]
    live.connect()
    live.adapter.check()


def test_catalogue_lists_lines_and_employees(live: World) -> None:
    assert live.adapter.settings_catalog("lines")[0].label
    assert live.adapter.settings_catalog("users")
    with pytest.raises(Rejected):
        live.adapter.settings_catalog("colours")


def test_line_disconnected_by_an_admin_breaks_the_end(live: World) -> None:
    live.control("disconnect", connector=live.end.settings["connector"], line=int(str(live.end.settings["line"])))

    assert [event.reason for event in live.events(EndBroken)] == ["bitrix24_line_disconnected"]


def test_uninstalling_revokes_the_end(live: World) -> None:
    live.control("uninstall", app=live.app, clean=True)

    assert live.events(EndRevoked) == [EndRevoked(reason="bitrix24_uninstalled", erase=True)]
    with pytest.raises(AccessLost):
        live.adapter.check()


# -- towards the portal ----------------------------------------------------------------------------------------------


def test_a_customers_message_is_shown_once_with_who_wrote_it(live: World) -> None:
    conversation = live.conversation("Анна-Мария Иванова 😀 77")
    item = live.item(conversation, "Здравствуйте! [b]не жирно[/b] https://acme.example")

    (outcome,) = live.deliver(item)

    assert isinstance(outcome, Accepted) and outcome.remote_ids == (item.key,)
    assert {"chat_id", "session_id", "client_user_id"} <= set(outcome.state)
    (shown,) = [i for i in live.ledger("message") if i["who"] == "client"]
    assert shown["external_id"] == item.key
    assert shown["conversation"] == conversation.id
    assert shown["text"].replace("\u2060", "") == item.text
    assert "[b]" not in shown["text"]


def test_messages_of_many_conversations_go_in_one_call(live: World) -> None:
    items = [live.item(live.conversation(), f"вопрос {at}") for at in range(50)]

    outcomes = live.deliver(*items)

    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert [outcome.remote_ids[0] for outcome in outcomes] == [item.key for item in items]


def test_one_refused_item_does_not_cost_the_others(live: World) -> None:
    good, bad = live.item(live.conversation(), "да"), live.item(live.conversation(), "")

    outcomes = live.deliver(good, bad)

    assert isinstance(outcomes[0], Accepted)
    assert isinstance(outcomes[1], Rejected) and outcomes[1].reason == "bitrix24_refused"


def test_phone_the_portal_refuses_is_sent_without_its_check(live: World) -> None:
    person = Person(remote_id="42", name="Анна", phone="12")

    (outcome,) = live.deliver(live.item(live.conversation(person=person), "привет"))

    assert isinstance(outcome, Accepted)


def test_files_and_quotes_are_shown(live: World) -> None:
    file = OutFile(attachment=Attachment(kind=Kind.DOCUMENT, mime="text/plain"), url=f"{live.door.url}/file")
    quote = OutQuote(remote_id="", text="Сколько?", author="Анна")

    (outcome,) = live.deliver(live.item(live.conversation(), "Вот", files=(file,), quote=quote))

    assert isinstance(outcome, Accepted)
    (shown,) = [i for i in live.ledger("message") if i["who"] == "client"]
    assert shown["text"] == "[quote][b]Анна:[/b] Сколько?[/quote]\nВот"
    assert [one["name"] for one in shown["attachments"]] == ["document.txt"]


def test_edit_and_deletion_reach_the_shown_message(live: World) -> None:
    conversation = live.conversation()
    item = live.item(conversation, "раз")
    live.deliver(item)
    known = (item.key,)

    edited = live.adapter.edit(live.item(conversation, "два", act=Act.EDIT, remote_ids=known))
    deleted = live.adapter.delete(live.item(conversation, act=Act.DELETE, remote_ids=known))

    assert (edited, deleted) == (Accepted(remote_ids=known), Accepted(remote_ids=known))
    assert [i["text"] for i in live.ledger("edit")] == ["два"]
    assert [i["external_id"] for i in live.ledger("delete")] == [item.key]


def test_message_written_elsewhere_is_shown_as_ours_and_its_echo_is_known(live: World) -> None:
    conversation = live.conversation()
    live.deliver(live.item(conversation, "вопрос"))
    item = live.item(conversation, "ответ из сообщества", direction=Direction.OUT, author="Пётр")

    live.deliver(item)

    echoes = [event for event in live.events(MessageReceived) if not event.is_automatic]
    assert [(echo.own_key, echo.remote_id, echo.text) for echo in echoes] == [(item.key, item.key, item.text)]


def test_echo_of_a_file_without_text_is_known(live: World) -> None:
    conversation = live.conversation()
    live.deliver(live.item(conversation, "вопрос"))
    file = OutFile(attachment=Attachment(kind=Kind.DOCUMENT, name="a.txt"), url=f"{live.door.url}/file")
    item = live.item(conversation, direction=Direction.OUT, files=(file,))

    live.deliver(item)

    echoes = [event for event in live.events(MessageReceived) if not event.is_automatic]
    assert [echo.own_key for echo in echoes] == [item.key]


# -- from the portal -------------------------------------------------------------------------------------------------


def _operator(live: World, conversation: Conversation, text: str = "Ответ", **over: Any) -> MessageReceived:
    before = len(_by_people(live))
    live.control("say", user=conversation.id, text=text, **over)
    _wait(lambda: len(_by_people(live)) > before)
    return _by_people(live)[-1]


def _by_people(live: World) -> list[MessageReceived]:
    return [e for e in live.all_events() if isinstance(e, MessageReceived) and not e.is_automatic]


def _wait(condition: Callable[[], bool], limit_s: float = 5.0) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def test_operators_answer_with_a_file_is_read(live: World) -> None:
    conversation = live.conversation()
    live.deliver(live.item(conversation, "вопрос"))

    answer = _operator(live, conversation, "[b]Да[/b]", attachments=[{"type": "photo"}])

    assert (answer.thread, answer.text, answer.direction) == (conversation.id, "Да", Direction.OUT)
    assert answer.author and answer.author_id and answer.own_key == ""
    assert answer.session["chat_id"] == live.links[conversation.id]["chat_id"]
    assert [one.kind for one in answer.attachments] == [Kind.PHOTO]
    assert requests.get(answer.attachments[0].url, timeout=5).content


def test_delivery_is_confirmed_and_then_edit_and_deletion_are_told(live: World) -> None:
    conversation = live.conversation()
    live.deliver(live.item(conversation, "вопрос"))
    answer = _operator(live, conversation)
    status = live.item(
        conversation, act=Act.STATUS, direction=Direction.OUT, status="sent", remote_ids=(answer.remote_id,)
    )

    assert live.adapter.report([status]) == [Accepted()]

    (shown,) = live.ledger("delivered")
    assert shown["external_ids"] == [answer.remote_id]
    number = answer.remote_id.partition(":")[2]
    live.control("say", edit=number, text="Ответ исправлен")
    live.control("say", delete=number)
    (edited,) = live.events(MessageEdited)
    (deleted,) = live.events(MessageDeleted)
    assert (edited.remote_id, edited.text, edited.thread) == (answer.remote_id, "Ответ исправлен", conversation.id)
    assert deleted.remote_id == answer.remote_id


def test_failure_is_said_in_the_chat_and_goes_no_further(live: World) -> None:
    conversation = live.conversation()
    live.deliver(live.item(conversation, "вопрос"))
    answer = _operator(live, conversation)
    status = live.item(
        conversation,
        act=Act.STATUS,
        direction=Direction.OUT,
        status="failed",
        reason="blocked_by_client",
        reason_text="Клиент запретил сообщения",
        remote_ids=(answer.remote_id,),
    )

    (outcome,) = live.adapter.report([status])

    assert isinstance(outcome, Accepted)
    assert any("Клиент запретил сообщения" in i["text"] for i in live.ledger("message") if i["who"] == "operator")
    assert live.events(Ignored) == [Ignored(kind="own_note")]
    assert len(_by_people(live)) == 1


def test_dialog_start_and_finish_are_told(live: World) -> None:
    conversation = live.conversation()
    live.deliver(live.item(conversation, "вопрос"))
    live.control("say", user=conversation.id, finish=True)

    (opened,) = live.events(DialogOpened)
    (closed,) = live.events(DialogClosed)
    assert opened.thread == closed.thread == conversation.id
    assert opened.session["session_id"] == live.links[conversation.id]["session_id"]


# -- what goes wrong -------------------------------------------------------------------------------------------------


def test_expired_token_is_renewed_once_and_the_call_repeated(live: World) -> None:
    requests.post(f"{live.base}/_sandbox/clock", json={"advance_s": 3700}, timeout=5).raise_for_status()
    item = live.item(live.conversation(), "после часа")

    (outcome,) = live.deliver(item)

    assert isinstance(outcome, Accepted) and live.tokens.renewals == 1


def test_renamed_portal_is_followed_and_reported(live: World) -> None:
    before = str(live.end.settings["client_endpoint"])
    moved = live.control("rename")

    (outcome,) = live.deliver(live.item(live.conversation(), "новый адрес"))

    assert isinstance(outcome, Accepted)
    (changed,) = [event for event in _pulled(live) if isinstance(event, EndChanged)]
    assert changed.settings["client_endpoint"] == moved["client_endpoint"] != before


def test_lost_answer_is_found_by_its_key(live: World) -> None:
    conversation = live.conversation()
    live.deliver(live.item(conversation, "первое"))
    item = live.item(conversation, "второе", started_at=datetime.now(UTC))
    _faults(live, lose_answers_rate=1.0)
    with pytest.raises(Uncertain):
        live.deliver(item)
    _faults(live, lose_answers_rate=0.0)

    found = live.adapter.lookup(item)

    assert isinstance(found, Accepted) and found.remote_ids == (item.key,)


def test_lost_answer_to_a_first_message_is_found_by_the_dialog_it_opened(live: World) -> None:
    item = live.item(live.conversation(), "первое", started_at=datetime.now(UTC), is_first=True)
    _faults(live, lose_answers_rate=1.0)
    with pytest.raises(Uncertain):
        live.deliver(item)
    _faults(live, lose_answers_rate=0.0)
    (opened,) = live.events(DialogOpened)
    live.links[item.conversation.id].update(opened.session)

    found = live.adapter.lookup(item)

    assert isinstance(found, Accepted) and found.state["chat_id"]


def test_first_message_that_may_be_there_is_left_to_people(live: World) -> None:
    started = datetime.now(UTC) - timedelta(minutes=1)
    item = live.item(live.conversation(), "первое", started_at=started, is_first=True)
    _faults(live, lose_answers_rate=1.0)
    with pytest.raises(Uncertain):
        live.deliver(item)
    _faults(live, lose_answers_rate=0.0)

    with pytest.raises(Uncertain):
        live.adapter.lookup(item)


def test_first_message_without_a_chat_is_not_there(live: World) -> None:
    started = datetime.now(UTC) - timedelta(minutes=1)

    assert live.adapter.lookup(live.item(live.conversation(), "x", started_at=started, is_first=True)) == NotThere()


def test_what_never_arrived_is_not_there_once_it_can_no_longer_arrive(live: World) -> None:
    conversation = live.conversation()
    live.deliver(live.item(conversation, "первое"))
    now = datetime.now(UTC)

    with pytest.raises(Retry):
        live.adapter.lookup(live.item(conversation, "второе", started_at=now))
    assert live.adapter.lookup(live.item(conversation, "второе", started_at=now - timedelta(minutes=1))) == NotThere()


def test_dead_portal_is_retried_or_uncertain_never_rejected(live: World) -> None:
    _faults(live, outage=True)
    with pytest.raises((Retry, Uncertain)):
        live.deliver(live.item(live.conversation(), "тишина"))
    _faults(live, outage=False)


def test_rate_refusal_is_a_short_retry(live: World) -> None:
    _faults(live, rate_limit=True)
    with pytest.raises(Retry) as raised:
        live.deliver(live.item(live.conversation(), "много"))
    _faults(live, rate_limit=False)

    assert raised.value.reason == "rate_limited" and raised.value.after == timedelta(seconds=1)


def test_operating_limit_waits_for_its_window(live: World) -> None:
    live.control("options", operation_cost_s={"imconnector.send.messages": 500.0})
    live.deliver(live.item(live.conversation(), "раз"))
    with pytest.raises(Retry) as raised:
        live.deliver(live.item(live.conversation(), "два"))

    assert raised.value.reason == "bitrix24_operating" and raised.value.after


@pytest.mark.parametrize(
    ("refusal", "kind", "reason"),
    [
        ("PAYMENT_REQUIRED", AccessLost, "bitrix24_payment"),
        ("user_access_error", AccessLost, "bitrix24_user_denied"),
        ("authorization_error", AccessLost, "bitrix24_user_gone"),
        ("ACCESS_DENIED", Misconfigured, "bitrix24_access_denied"),
    ],
)
def test_refusal_of_the_portal_closes_the_end_with_its_reason(
    live: World, refusal: str, kind: type[Exception], reason: str
) -> None:
    live.control("options", refuse=refusal)
    with pytest.raises(kind) as raised:
        live.deliver(live.item(live.conversation(), "нет"))

    assert raised.value.reason == reason  # type: ignore[attr-defined]


# -- what was missed -------------------------------------------------------------------------------------------------


def _faults(live: World, **faults: Any) -> None:
    requests.post(f"{live.base}/_sandbox/faults", json=faults, timeout=5).raise_for_status()


def _pulled(live: World, *conversations: Conversation) -> list[Event]:
    request = PullRequest(since=datetime.now(UTC) - timedelta(hours=2), cursor={}, conversations=tuple(conversations))
    raws = live.adapter.pull(request).raws
    hook = Hook(body=b"", received_at=datetime.now(UTC), name="pull")
    return [event for raw in raws for event in hooks.parse(replace(hook, body=raw.body), live.owner())]


def test_missed_answers_are_pulled_under_the_same_ids(live: World) -> None:
    conversations = [live.conversation() for _ in range(3)]
    live.deliver(*(live.item(one, "вопрос") for one in conversations))
    _faults(live, drop_hooks_rate=1.0)
    said = [
        live.control("say", user=one.id, text=f"ответ {at}", attachments=[{"type": "doc"}] * at)
        for at, one in enumerate(conversations)
    ]
    live.deliver(live.item(conversations[0], "из сообщества", direction=Direction.OUT))
    _faults(live, drop_hooks_rate=0.0)

    pulled = _pulled(live, *conversations)

    assert [(event.thread, event.remote_id, event.text) for event in pulled if isinstance(event, MessageReceived)] == [
        (one.id, f"{told['chat_id']}:{told['id']}", f"ответ {at}")
        for at, (one, told) in enumerate(zip(conversations, said, strict=True))
    ]
    assert all(isinstance(event, MessageReceived) and event.author and event.author_id for event in pulled)
    assert [len(event.attachments) for event in pulled if isinstance(event, MessageReceived)] == [0, 1, 2]


def test_pulling_two_dozen_conversations_takes_three_requests(live: World) -> None:
    conversations = [live.conversation() for _ in range(24)]
    live.deliver(*(live.item(one, "вопрос") for one in conversations))
    before = _spent(live)

    _pulled(live, *conversations)

    assert _spent(live) - before == 3


def _spent(live: World) -> int:
    shown = requests.get(f"{live.base}/_sandbox/limits", timeout=5).json()
    return sum(int(bucket["requests"]) for bucket in shown["buckets"] if bucket["account"] == live.account)
