"""An independent library, vk_api, works with the VK twin as with VK: only the host is another."""

from __future__ import annotations

import io
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
import requests
import vk_api  # type: ignore[import-untyped]
from requests.adapters import HTTPAdapter
from vk_api.bot_longpoll import VkBotEventType, VkBotLongPoll  # type: ignore[import-untyped]

from tests.contract import vk_schema
from tests.sandbox import samples
from tests.sandbox.run import start

USER = 100200300
VK_HOST = "https://api.vk.ru"


class OtherHost(HTTPAdapter):
    """Sends what is meant for VK to the twin."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base_url = base_url

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        request.url = request.url.replace(VK_HOST, self._base_url)
        request.headers.pop("Host", None)
        return super().send(request, *args, **kwargs)


@pytest.fixture
def credentials() -> Iterator[dict[str, Any]]:
    with start(["--only", "vk"]) as running:
        yield running.addresses["vk"]


@pytest.fixture
def session(credentials: dict[str, Any]) -> Any:
    session = vk_api.VkApiGroup(token=credentials["token"], api_version="5.199")
    session.http.mount(VK_HOST, OtherHost(credentials["base_url"]))
    return session


def say(credentials: dict[str, Any], **body: Any) -> Any:
    answer = requests.post(f"{credentials['base_url']}/_sandbox/say", json={"user": USER, **body}, timeout=5)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_sends_and_reads_history(session: Any, credentials: dict[str, Any]) -> None:
    say(credentials, text="Здравствуйте")
    api = session.get_api()
    sent = api.messages.send(peer_id=USER, random_id=7, message="Добрый день")
    assert api.messages.send(peer_id=USER, random_id=7, message="Добрый день") == sent
    texts = [one["text"] for one in api.messages.getHistory(peer_id=USER)["items"]]
    assert texts == ["Добрый день", "Здравствуйте"]
    assert api.users.get(user_ids=USER)[0]["id"] == USER


def test_refusals_are_understood(session: Any) -> None:
    with pytest.raises(vk_api.exceptions.ApiError) as refusal:
        session.get_api().messages.send(peer_id=USER, random_id=7, message="x")
    assert refusal.value.code == 901


def test_uploads_a_photo_a_document_and_a_voice_message(session: Any, credentials: dict[str, Any]) -> None:
    say(credentials, text="hi")
    upload, api = vk_api.VkUpload(session), session.get_api()
    photo_file = io.BytesIO(samples.png(40, 30))
    photo_file.name = "p.png"
    photo = upload.photo_messages(photo_file, peer_id=USER)[0]
    doc_file = io.BytesIO(samples.pdf())
    doc_file.name = "p.pdf"
    doc = upload.document_message(doc_file, title="p.pdf", peer_id=USER)["doc"]
    voice_file = io.BytesIO(samples.ogg(2))
    voice_file.name = "v.ogg"
    voice = upload.audio_message(voice_file, peer_id=USER)["audio_message"]
    names = [f"{kind}{one['owner_id']}_{one['id']}" for kind, one in (("photo", photo), ("doc", doc), ("doc", voice))]
    api.messages.send(peer_id=USER, random_id=1, attachment=",".join(names))
    last = api.messages.getHistory(peer_id=USER, count=1)["items"][0]
    assert [one["type"] for one in last["attachments"]] == ["photo", "doc", "audio_message"]


def test_bot_long_poll_receives_a_message(session: Any, credentials: dict[str, Any]) -> None:
    group_id = credentials["group_id"]
    session.get_api().groups.setLongPollSettings(group_id=group_id, enabled=1, api_version="5.199", message_new=1)
    poll = VkBotLongPoll(session, group_id, wait=5)
    Thread(target=say, args=(credentials,), kwargs={"text": "Здравствуйте"}, daemon=True).start()
    event = next(one for one in poll.listen() if one.type == VkBotEventType.MESSAGE_NEW)
    assert event.message.text == "Здравствуйте" and event.message.peer_id == USER
    if vk_schema.schema_folder():
        vk_schema.load().check_event(event.raw)


def test_execute_pool_runs_many_calls_at_once(session: Any, credentials: dict[str, Any]) -> None:
    say(credentials, text="hi")
    with vk_api.VkRequestsPool(session) as pool:
        sent = pool.method("messages.send", {"peer_id": USER, "random_id": 1, "message": "№ 1"})
        person = pool.method("users.get", {"user_ids": USER})
        refused = pool.method("messages.send", {"peer_id": 5, "random_id": 2, "message": "№ 2"})
    assert (sent.result, person.result[0]["id"], refused.error["error_code"]) == (2, USER, 901)


def test_the_schema_judge_refuses_what_vk_would_refuse() -> None:
    schema = vk_schema.load()
    schema.check_request("messages.send", {"peer_id": "1", "random_id": "7", "message": "x", "v": "5.199"})
    for wrong in ({"peerid": "1"}, {"peer_id": "one"}, {"message": "x" * 9001}, {"dont_parse_links": "yes"}):
        with pytest.raises(AssertionError):
            schema.check_request("messages.send", wrong)
    with pytest.raises(AssertionError):
        schema.check_response("messages.send", {"response": "5577"})
    with pytest.raises(AssertionError):
        schema.check_event({"type": "message_new", "group_id": 1, "v": "5.199", "object": {}})
