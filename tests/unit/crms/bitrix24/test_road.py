"""The whole road with a real portal twin at one end and a VK twin at the other: what only shows when all rooms work together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests
from sqlalchemy import func, update

from jobs import exchange
from tests.unit.crms.bitrix24.conftest import Json, World
from widget_backend.bridge import life
from widget_backend.bridge.models import Gate
from widget_backend.bridge.tenancy import transaction
from widget_backend.crms.bitrix24.format import plain

pytestmark = pytest.mark.parametrize("world", ["local"], indirect=True)  # one kind of app is enough here
INVISIBLE = "\u200b\u200c\u200d\u2060\u2063"


@pytest.fixture
def road(world: World) -> Iterator[World]:
    """Connect both ends and let the exchange run."""
    end = world.connected()
    connector, line = end.settings["connector"], world.portal["lines"][0]
    assert world.open(placement="SETTING_CONNECTOR", connector=connector, line=line)["status"] == 200
    _vk(world, "reset", {"all": True})
    channel = life.create(world.account_id, "vk", settings={}, secrets={"token": _vk_key(world)})
    life.connect(world.account_id, channel)
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            exchange.run()
            time.sleep(0.05)

    thread = threading.Thread(target=run)
    thread.start()
    yield world
    stop.set()
    thread.join()


def _vk(world: World, path: str, body: Json) -> Json:
    answer = requests.post(f"{world.vk['base_url']}/_sandbox/{path}", json=body, timeout=10)
    assert answer.ok, answer.text
    return dict(answer.json())


def _vk_key(world: World) -> str:
    return str(requests.get(f"{world.vk['base_url']}/_sandbox/credentials", timeout=5).json()["token"])


def _shown(world: World, kind: str = "message") -> list[Json]:
    """List what the portal shows of this account: (who, text) and so on, in order."""
    answer = requests.get(f"{world.twin['base_url']}/_sandbox/ledger", timeout=10).json()
    return [item for item in answer["items"] if item["kind"] == kind and item["account"] == world.account]


def _phone(world: World, kind: str = "message") -> list[Json]:
    """List what the customer's side shows."""
    answer = requests.get(f"{world.vk['base_url']}/_sandbox/ledger", timeout=10).json()
    return [item for item in answer["items"] if item["kind"] == kind]


def _texts(world: World, who: str) -> list[str]:
    return [plain(item["text"]).strip(INVISIBLE) for item in _shown(world) if item["who"] == who]


def _wait(look: Callable[[], object], limit_s: float = 15.0) -> None:
    until = time.monotonic() + limit_s
    while not look():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def _settled(world: World) -> None:
    """Wait until nothing moves any more: what must not come would have come by now."""
    count = -1
    while count != (count := len(_shown(world, "call")) + len(_phone(world, "call"))):
        time.sleep(1.0)


def _conversation(world: World, text: str = "Здравствуйте!") -> str:
    _vk(world, "say", {"user": "Анна", "text": text})
    _wait(lambda: _texts(world, "client"))
    return str(_shown(world)[-1]["conversation"])


def test_question_and_answer_arrive_once_and_the_answer_is_confirmed(road: World) -> None:
    chat = _conversation(road)

    road.control("say", user=chat, text="[b]Добрый[/b] день", attachments=[{"type": "doc"}])

    _wait(lambda: _shown(road, "delivered"))
    _settled(road)
    sent = [item for item in _phone(road) if item["direction"] == "out"]
    assert [item["text"] for item in sent] == ["Добрый день"]
    assert [len(item["attachments"]) for item in sent] == [1]
    assert _texts(road, "client") == ["Здравствуйте!"]


def test_answer_written_in_the_network_is_shown_once_and_not_sent_back(road: World) -> None:
    _conversation(road)

    _vk(road, "say", {"user": "Анна", "text": "Ответ из сообщества", "as": "admin"})

    _wait(lambda: _texts(road, "operator"))
    _settled(road)
    assert _texts(road, "operator") == ["Ответ из сообщества"]
    assert [item["text"] for item in _phone(road) if item["direction"] == "out"] == ["Ответ из сообщества"]


def test_edits_travel_both_ways(road: World) -> None:
    said = _vk(road, "say", {"user": "Анна", "text": "Здраствуйте"})
    _wait(lambda: _texts(road, "client"))
    chat = str(_shown(road)[-1]["conversation"])
    _vk(road, "say", {"user": "Анна", "edit": said["id"], "text": "Здравствуйте"})
    _wait(lambda: [item["text"] for item in _shown(road, "edit")] == ["Здравствуйте"])

    answer = road.control("say", user=chat, text="Отвт")
    _wait(lambda: _shown(road, "delivered"))
    road.control("say", edit=answer["id"], text="Ответ")

    _wait(lambda: [item["text"] for item in _phone(road, "edit")][-1:] == ["Ответ"])


def test_refusal_of_the_network_is_said_in_the_chat_and_nowhere_else(road: World) -> None:
    chat = _conversation(road)
    _vk(road, "say", {"user": "Анна", "deny": True})

    road.control("say", user=chat, text="Вы здесь?")

    _wait(lambda: any("\u26a0" in text for text in _texts(road, "operator")))
    _settled(road)
    assert not [item for item in _phone(road) if item["direction"] == "out"]
    assert len([text for text in _texts(road, "operator") if "\u26a0" in text]) == 1


def test_answer_whose_event_was_lost_is_found_by_the_pull(road: World) -> None:
    chat = _conversation(road)
    _wait(lambda: _shown(road, "dialog_start"))
    _faults(road, drop_hooks_rate=1.0)
    road.control("say", user=chat, text="Ответ без события")
    _faults(road, drop_hooks_rate=0.0)
    with transaction(None) as session:
        session.execute(update(Gate).where(Gate.adapter == "bitrix24").values(pull_at=func.now()))

    _wait(lambda: [item["text"] for item in _phone(road) if item["direction"] == "out"] == ["Ответ без события"])
    _wait(lambda: _shown(road, "delivered"))


def _faults(world: World, **faults: object) -> None:
    requests.post(f"{world.twin['base_url']}/_sandbox/faults", json=faults, timeout=5).raise_for_status()
