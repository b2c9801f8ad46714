"""The amoCRM twin's chats API: signatures, required fields, side effects, hooks (amocrm.md 2, 4.1, 9.11 to 9.17)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.sandbox.amocrm import signing
from tests.sandbox.amocrm.probe import Probe, probing

Json = dict[str, Any]
SECRET = "0123456789abcdef0123456789abcdef01234567"
DATE = "Mon, 05 Jan 2026 10:00:00 +0000"


def play(scene: Callable[[Probe], Awaitable[None]], *, connected: bool = True) -> None:
    """Run a scene with a connected channel."""

    async def run() -> None:
        async with probing() as probe:
            await (probe.connect() if connected else probe.install())
            await scene(probe)

    asyncio.run(run())


def signature(method: str, path: str, body: bytes) -> tuple[str, str]:
    headers = {"Date": DATE, "Content-Type": "application/json", "Content-MD5": signing.md5(body)}
    return headers["Content-MD5"], signing.request_signature(SECRET, method, headers, path)


def test_vector_of_a_signed_post() -> None:
    body = b'{"account_id":"11111111-2222-4333-8444-555555555555","title":"Demo","hook_api_version":"v2"}'
    path = "/v2/origin/custom/aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee/connect"
    expected = ("85cd495da04fe71d750550a545dfe251", "2d06f2f547695463161d6cc6eb51ecd313adf7e9")
    assert signature("POST", path, body) == expected


def test_vector_of_a_signed_get() -> None:
    scope = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee_11111111-2222-4333-8444-555555555555"
    path = f"/v2/origin/custom/{scope}/chats/99999999-0000-4000-8000-000000000001/history"
    expected = ("d41d8cd98f00b204e9800998ecf8427e", "443fcf2d806863a615f552724131c3be1606ec3e")
    assert signature("GET", path, b"") == expected


def test_vector_of_a_signed_hook() -> None:
    body = b'{"account_id":"11111111-2222-4333-8444-555555555555","time":1767607200}'
    assert signing.hook_signature(SECRET, body) == "0e0a6c55a2afa7311e7d08404237f859b2bd54fb"


@pytest.mark.parametrize(
    ("over", "at_s"),
    [
        ({"X-Signature": "0" * 40}, 0),
        ({"Content-MD5": "d41d8cd98f00b204e9800998ecf8427e"}, 0),
        ({"Date": DATE}, 0),
        ({"Content-Type": "application/json; charset=utf-8"}, 0),
        ({"X-Signature": ""}, 0),
        ({}, -901),
        ({}, 901),
    ],
)
def test_bad_signature_is_403_with_the_envelope(over: Json, at_s: float) -> None:
    async def scene(probe: Probe) -> None:
        status, told = await probe.chat("POST", probe.scope, probe.message(), over=over, at_s=at_s)
        assert status == 403 and told["error_type"] == "ORIGIN_INVALID_SIGNATURE" and told["status"] == 0
        assert not probe.ledger("message")

    play(scene)


def test_another_content_type_is_400_even_when_signed() -> None:
    headers = {"Date": DATE, "Content-Type": "text/plain", "Content-MD5": signing.md5(b"{}")}
    headers["X-Signature"] = signing.request_signature(SECRET, "POST", headers, "/x")
    with pytest.raises(Exception, match="only application/json"):
        signing.check(SECRET, "POST", headers, "/x", b"{}", 1_767_607_200)


def test_unknown_channel_and_scope_are_404() -> None:
    async def scene(probe: Probe) -> None:
        channel, account = probe.channel["id"], probe.account["amojo_id"]
        other = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
        for tail in (f"{other}_{account}", f"{channel}_{other}"):
            status, told = await probe.chat("POST", tail, probe.message())
            assert status == 404 and told["error_type"] == "ORIGIN_NOT_REGISTERED"

    play(scene)


def test_private_channel_refuses_accounts_outside_its_list() -> None:
    async def scene(probe: Probe) -> None:
        await probe.control("channel", {"id": probe.channel["id"], "only_accounts": ["somebody-else"]})
        body = {"account_id": probe.account["amojo_id"], "hook_api_version": "v2"}
        status, _ = await probe.chat("POST", f"{probe.channel['id']}/connect", body)
        assert status == 403

    play(scene, connected=False)


def test_disconnect_stops_everything_until_connected_again() -> None:
    async def scene(probe: Probe) -> None:
        await probe.post(probe.message())
        body = {"account_id": probe.account["amojo_id"]}
        assert (await probe.chat("DELETE", f"{probe.channel['id']}/disconnect", body))[0] == 200
        assert (await probe.chat("POST", probe.scope, probe.message()))[0] == 404
        assert "error" in await probe.control("say", {"conversation": "vk-1", "text": "Да"})
        await probe.calls("/chats", 0)

    play(scene)


@pytest.mark.parametrize(
    ("over", "word"),
    [
        ({"msgid": None}, "payload.msgid is required"),
        ({"conversation_id": None}, "payload.conversation_id is required"),
        ({"timestamp": "1767607200"}, "payload.timestamp must be an integer"),
        ({"msec_timestamp": None}, "payload.msec_timestamp must be an integer"),
        ({"silent": "false"}, "payload.silent must be a boolean"),
        ({"sender": {"id": "u1"}}, "payload.sender.name is required"),
        ({"sender": {"name": "Анна"}}, "payload.sender.id is required"),
        ({"sender": {"id": 1, "name": "Анна"}}, "payload.sender.id must be a string"),
        ({"message": {"type": "text"}}, "message.text is required"),
        ({"message": {"type": "text", "text": "я" * 20_001}}, "longer than"),
        ({"message": {"type": "poll", "text": "?"}}, "not known"),
        ({"message": {"type": "picture", "file_name": "1.png", "file_size": 1}}, "media is required"),
        ({"message": {"type": "picture", "media": "https://x.example/1", "file_size": 1}}, "file_name is required"),
        (
            {"message": {"type": "file", "media": "https://x.example/1", "file_name": "1"}},
            "file_size must be an integer",
        ),
        ({"message": {"type": "voice", "media": "not a link"}}, "media must be a URL"),
        ({"message": {"type": "location", "location": {"lon": "37"}}}, "location.lon must be a number"),
        ({"message": {"type": "contact", "contact": {"name": "Анна"}}}, "contact.phone is required"),
        ({"source": {"external_id": "линия"}}, "printable ASCII"),
        ({"source": {"external_id": "x" * 41}}, "longer than 40"),
        ({"conversation_ref_id": "no-such-chat", "conversation_id": "vk-9"}, "conversation_ref_id is not known"),
        ({"forwards": {"messages": []}}, "forwards.messages"),
        ({"reply_to": {"message": {"type": "text", "text": "а"}}}, "sender"),
    ],
)
def test_message_with_wrong_data_is_400(over: Json, word: str) -> None:
    async def scene(probe: Probe) -> None:
        assert word in await probe.refused(probe.message(**over))
        assert not probe.ledger("message") and not probe.ledger("entity")

    play(scene)


def test_first_message_makes_contact_unsorted_lead_and_notice_and_the_second_only_joins() -> None:
    async def scene(probe: Probe) -> None:
        sender = {"id": "u1", "name": "Анна", "profile": {"phone": "79000000001"}}
        told = await probe.post(probe.message(sender=sender))
        assert told["ref_id"] == "m1" and told["msgid"] != "m1" and told["receiver_id"] is None
        await probe.post(probe.message("Ещё"))
        assert [one["entity"] for one in probe.ledger("entity")] == ["contacts", "leads"]
        assert len(probe.ledger("unsorted")) == 1 and len(probe.ledger("notification")) == 2
        contacts = await probe.result("GET", "contacts?query=79000000001")
        assert [one["name"] for one in contacts["_embedded"]["contacts"]] == ["Анна"]
        listed = await probe.result("GET", "leads/unsorted?filter[category][]=chats")
        assert listed["_embedded"]["unsorted"][0]["metadata"]["last_message_text"] == "Здравствуйте"

    play(scene)


def test_repeated_msgid_is_stored_once() -> None:
    async def scene(probe: Probe) -> None:
        body = probe.message()
        first, second = await probe.post(body), await probe.post(body)
        assert first == second and len(probe.ledger("message")) == 1 and len(probe.ledger("repeated")) == 1
        await probe.control("options", {"repeated_msgid": "refuse"})
        assert "not unique" in await probe.refused(body)

    play(scene)


def test_silent_message_makes_nothing() -> None:
    async def scene(probe: Probe) -> None:
        await probe.post(probe.message(silent=True))
        assert not probe.ledger("entity") and not probe.ledger("notification")

    play(scene)


def test_import_of_an_answer_needs_a_receiver_and_makes_no_unsorted() -> None:
    async def scene(probe: Probe) -> None:
        bot = {"id": "bot", "name": "acme", "ref_id": probe.channel["bot_id"]}
        assert "receiver" in await probe.refused(probe.message(sender=bot))
        await probe.post(probe.message(sender=bot, receiver={"id": "u1", "name": "Анна"}, silent=True))
        assert not probe.ledger("unsorted") and probe.ledger("message")[0]["direction"] == "out"
        await probe.calls("/chats", 0)

    play(scene)


def test_source_chooses_the_pipeline_and_marks_the_chat_for_ever() -> None:
    async def scene(probe: Probe) -> None:
        second = probe.account["pipelines"][1]["id"]
        form = [{"name": "VK", "external_id": "line7", "pipeline_id": second}, {"name": "Общий", "external_id": "all"}]
        await probe.result("POST", "sources", form)
        await probe.post(probe.message(source={"external_id": "line7"}))
        assert probe.ledger("unsorted")[0]["pipeline"] == second
        await probe.post(probe.message("Другой", source={"external_id": "all"}))
        await probe.control("say", {"conversation": "vk-1", "text": "Да"})
        (hook,) = await probe.calls("/chats")
        assert hook.json["message"]["source"] == {"external_id": "line7"}

    play(scene)


def test_created_and_linked_chat_makes_no_unsorted() -> None:
    async def scene(probe: Probe) -> None:
        made = await probe.control("contact", {"name": "Анна", "phone": "79000000001", "lead": "Заявка"})
        user = {"id": "u1", "name": "Анна"}
        status, chat = await probe.chat("POST", f"{probe.scope}/chats", {"conversation_id": "vk-1", "user": user})
        assert status == 200 and chat["user"]["client_id"] == "u1" and "phone" not in chat["user"]
        link = [{"contact_id": made["contact"], "chat_id": chat["id"], "request_id": "x"}]
        told = await probe.result("POST", "contacts/chats", link)
        assert told["_embedded"]["chats"][0]["request_id"] == "x"
        await probe.post(probe.message())
        assert not probe.ledger("unsorted") and probe.ledger("message")[0]["lead"] == made["lead"]

    play(scene)


def test_media_is_downloaded_and_a_missing_one_leaves_a_broken_message() -> None:
    async def scene(probe: Probe) -> None:
        picture = {"type": "picture", "file_name": "1.png", "file_size": 12}
        await probe.post(probe.message(message={**picture, "media": f"{probe.door}/files/photo.png"}))
        assert (await probe.look("file"))["is_ok"] is True
        probe.peer.ledger.items.clear()
        probe.answer_status = 404
        await probe.post(probe.message(message={**picture, "media": f"{probe.door}/gone.png"}))
        assert (await probe.look("file"))["is_ok"] is False

    play(scene)


def test_closed_leads_begin_a_new_unsorted_one_with_the_same_contact() -> None:
    async def scene(probe: Probe) -> None:
        await probe.post(probe.message())
        lead = probe.ledger("unsorted")[0]["lead"]
        await probe.control("move", {"lead": lead, "status_id": 143})
        await probe.post(probe.message("Снова"))
        first, second = probe.ledger("unsorted")
        assert first["contact"] == second["contact"] and first["lead"] != second["lead"]

    play(scene)
