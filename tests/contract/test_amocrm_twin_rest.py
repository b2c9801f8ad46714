"""The amoCRM twin's REST v4: shapes, types, rights, limits, webhooks (amocrm.md 3, 4.2, 6, 9.5 to 9.10)."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.contract.test_amocrm_twin_chats import play
from tests.sandbox.amocrm.probe import Probe

Json = dict[str, Any]


async def no_limits(probe: Probe) -> None:
    await probe.control("limits", {"integration": 0, "account": 0})


def test_account_gives_the_chats_id_only_when_asked() -> None:
    async def scene(probe: Probe) -> None:
        assert "amojo_id" not in await probe.result("GET", "account")
        told = await probe.result("GET", "account?with=amojo_id,drive_url,task_types")
        assert told["amojo_id"] == probe.account["amojo_id"] and told["_embedded"]["task_types"]

    play(scene, connected=False)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "leads", None, 204),
        ("GET", "leads/1", None, 404),
        ("GET", "nothing", None, 404),
        ("DELETE", "leads", [{"id": 1}], 405),
        ("POST", "leads", {"name": "Сделка"}, 400),
        ("POST", "leads", [], 400),
        ("POST", "leads", [{"name": "Сделка"}] * 251, 422),
        ("POST", "leads", [{"price": "100"}], 400),
        ("POST", "leads", [{"colour": "red"}], 400),
        ("POST", "leads", [{"status_id": 1}], 400),
        ("POST", "leads", [{"responsible_user_id": 1}], 400),
        ("POST", "companies", [{}], 400),
        ("POST", "leads/complex", [{"name": "Сделка"}] * 51, 422),
        ("GET", "leads?limit=251", None, 422),
        ("GET", "leads?filter[pipeline_id]=1", None, 403),
        ("POST", "leads/notes", [{"entity_id": 1, "note_type": "common", "params": {}}], 400),
        ("POST", "tasks", [{"text": "Ответить"}], 400),
        ("POST", "webhooks", {"destination": "https://x.example/h", "settings": ["read_lead"]}, 400),
        ("POST", "sources", [{"name": "VK", "external_id": "x" * 37}], 400),
        ("POST", "sources", [{"name": "VK", "external_id": "1"}, {"name": "VK", "external_id": "1"}], 400),
        ("DELETE", "sources/1", None, 404),
        ("GET", "sources", None, 204),
        ("POST", "chats/templates", [{"name": "Привет"}], 400),
        ("POST", "contacts/chats", [{"contact_id": 1, "chat_id": "x"}], 400),
        ("POST", "talks/1/close", {"force_close": True}, 404),
    ],
)
def test_refusals_have_their_status(method: str, path: str, body: Any, status: int) -> None:
    async def scene(probe: Probe) -> None:
        assert (await probe.call(method, path, body))[0] == status

    play(scene, connected=False)


def test_validation_errors_name_request_and_path_and_nothing_is_made() -> None:
    async def scene(probe: Probe) -> None:
        bad = {"name": "б", "custom_fields_values": [{"field_id": 1, "values": [{"value": "x"}]}], "request_id": "r7"}
        status, told = await probe.call("POST", "leads", [{"name": "а"}, bad])
        assert status == 400 and told["validation-errors"] == [
            {
                "request_id": "r7",
                "errors": [
                    {
                        "code": "NotSupportedChoice",
                        "path": "custom_fields_values.0.field_id",
                        "detail": "The value you selected is not a valid choice.",
                    }
                ],
            }
        ]
        assert (await probe.call("GET", "leads"))[0] == 204

    play(scene, connected=False)


def test_rights_hide_other_people_s_leads_and_context_user_is_obeyed() -> None:
    async def scene(probe: Probe) -> None:
        await no_limits(probe)
        made = await probe.control("contact", {"name": "Анна", "lead": "Чужая"})
        mine = str(probe.account["users"][2]["id"])
        headers = {"X-Context-User-ID": mine}
        path = f"leads/{made['lead']}"
        assert (await probe.call("GET", path))[0] == 200
        assert (await probe.call("GET", path, headers=headers))[0] == 403
        assert (await probe.call("GET", "leads", headers=headers))[0] == 204
        await probe.result("PATCH", path, {"responsible_user_id": int(mine)})
        assert (await probe.call("GET", path, headers=headers))[0] == 200
        await probe.control("user", {"id": int(mine), "rights": "D"})
        assert (await probe.call("POST", "leads", [{"name": "Сделка"}], headers=headers))[0] == 400
        assert (await probe.call("GET", path, headers={"X-Context-User-ID": "1"}))[0] == 401

    play(scene, connected=False)


def test_the_eighth_request_of_a_second_is_429_and_going_on_bans_the_address() -> None:
    async def scene(probe: Probe) -> None:
        told = await asyncio.gather(*(probe.call("GET", "account") for _ in range(9)))
        statuses = [status for status, _ in told]
        assert statuses.count(200) == 7 and statuses.count(429) == 2
        assert next(body for status, body in told if status == 429)["retry_after"] == 300
        await asyncio.gather(*(probe.call("GET", "account") for _ in range(30)))
        status, text = await probe.call("GET", "account")
        assert status == 403 and "<html>" in text
        await probe.control("clock", {"advance_s": 301})
        assert (await probe.call("GET", "account"))[0] == 200

    play(scene, connected=False)


def test_unpaid_is_402_and_a_refused_address_is_403_html() -> None:
    async def scene(probe: Probe) -> None:
        await probe.control("options", {"unpaid": True})
        assert (await probe.call("GET", "account"))[0] == 402
        await probe.control("options", {"unpaid": False, "refuse_address": True})
        status, text = await probe.call("GET", "account")
        assert status == 403 and "nginx" in text

    play(scene, connected=False)


def test_sources_are_seen_only_by_their_integration_and_have_one_default() -> None:
    async def scene(probe: Probe) -> None:
        form = [{"name": name, "external_id": name, "default": True} for name in ("a", "b")]
        told = await probe.result("POST", "sources", form)
        first, second = [one["id"] for one in told["_embedded"]["sources"]]
        listed = (await probe.result("GET", "sources"))["_embedded"]["sources"]
        assert [one["default"] for one in listed] == [False, True]
        assert (await probe.call("PATCH", f"sources/{first}", {"external_id": "c"}))[0] == 400
        other = await probe.control("integration", {"redirect_uri": f"{probe.door}/other"})
        pair = await probe.control("pair", {"client_id": other["client_id"]})
        assert (await probe.call("GET", "sources", token=pair["access_token"]))[0] == 204
        status, told = await probe.call("DELETE", "sources", [{"id": second}, {"id": 1}])
        assert status == 400 and told["validation-errors"][0]["errors"][0]["code"] == "EntityNotFound"
        assert (await probe.call("DELETE", f"sources/{second}"))[0] == 204

    play(scene, connected=False)


def test_relinking_a_chat_moves_it_and_cookies_are_refused() -> None:
    async def scene(probe: Probe) -> None:
        await no_limits(probe)
        await probe.post(probe.message())
        chat = next(iter(probe.peer.cloud.find_account("").chats.values()))  # type: ignore[union-attr]
        other = (await probe.control("contact", {"name": "Иван"}))["contact"]
        before = (await probe.result("GET", f"contacts/chats?chat_id={chat.id}"))["_embedded"]["chats"]
        link = [{"contact_id": other, "chat_id": chat.id}]
        assert (await probe.call("POST", "contacts/chats", link, headers={"Cookie": "session=1"}))[0] == 400
        await probe.result("POST", "contacts/chats", link)
        after = (await probe.result("GET", f"contacts/chats?chat_id={chat.id}"))["_embedded"]["chats"]
        assert len(before) == len(after) == 1 and after[0]["contact_id"] == other and after[0]["id"] != before[0]["id"]
        assert (await probe.call("GET", f"contacts/chats?contact_id={before[0]['contact_id']}"))[0] == 204

    play(scene)


def test_unsorted_is_linked_to_a_known_lead_and_talk_closes_once() -> None:
    async def scene(probe: Probe) -> None:
        await no_limits(probe)
        made = await probe.control("contact", {"name": "Иван", "lead": "Заявка"})
        await probe.post(probe.message())
        uid = (await probe.result("GET", "leads/unsorted"))["_embedded"]["unsorted"][0]["uid"]
        link = {"entity_id": made["lead"], "entity_type": "leads", "metadata": {"contact_id": made["contact"]}}
        await probe.result("POST", f"leads/unsorted/{uid}/link", {"link": link})
        assert (await probe.call("GET", f"leads/unsorted/{uid}"))[0] == 404
        await probe.post(probe.message("Ещё"))
        assert probe.ledger("message")[-1]["lead"] == made["lead"] and len(probe.ledger("unsorted")) == 1
        talk = next(iter(probe.peer.cloud.find_account("").talks))  # type: ignore[union-attr]
        assert (await probe.call("POST", f"talks/{talk}/close", {"force_close": True}))[0] == 202
        assert (await probe.call("POST", f"talks/{talk}/close", {"force_close": True}))[0] == 422

    play(scene)


def test_custom_fields_are_made_written_read_and_lose_their_values_when_deleted() -> None:
    async def scene(probe: Probe) -> None:
        await no_limits(probe)
        made = await probe.result("POST", "contacts/custom_fields", [{"type": "url", "name": "Профиль VK"}])
        field = made["_embedded"]["custom_fields"][0]["id"]
        value = [{"field_id": field, "values": [{"value": "https://vk.com/id1"}]}]
        body = [{"name": "Анна", "custom_fields_values": value}]
        contact = (await probe.result("POST", "contacts", body))["_embedded"]["contacts"][0]["id"]
        read = await probe.result("GET", f"contacts/{contact}")
        assert read["custom_fields_values"][0]["values"] == [{"value": "https://vk.com/id1"}]
        assert (await probe.call("DELETE", f"contacts/custom_fields/{field}"))[0] == 204
        assert (await probe.call("PATCH", f"contacts/{contact}", {"custom_fields_values": value}))[0] == 400
        assert (await probe.result("GET", f"contacts/{contact}"))["custom_fields_values"] is None

    play(scene, connected=False)


def test_templates_are_seen_only_by_their_creator() -> None:
    async def scene(probe: Probe) -> None:
        form = [{"name": "Привет", "content": "Добрый день, {{contact.name}}", "external_id": "qr-1", "type": "amocrm"}]
        made = (await probe.result("POST", "chats/templates", form))["_embedded"]["chat_templates"][0]
        assert made["is_editable"] is False and made["request_id"] == "0"
        other = await probe.control("integration", {"redirect_uri": f"{probe.door}/other"})
        pair = await probe.control("pair", {"client_id": other["client_id"]})
        status, _ = await probe.call("GET", f"chats/templates/{made['id']}", token=pair["access_token"])
        assert status == 404
        assert (await probe.call("DELETE", f"chats/templates/{made['id']}"))[0] == 204

    play(scene, connected=False)


def test_webhooks_are_forms_of_strings_and_climb_the_ladder() -> None:
    async def scene(probe: Probe) -> None:
        probe.answer_status = 404
        body = {"destination": f"{probe.door}/wh", "settings": ["add_lead", "add_talk"]}
        assert (await probe.call("POST", "webhooks", body))[0] == 201
        await probe.result("POST", "leads", [{"name": "Заявка", "price": 5}])
        (call,) = await probe.calls("/wh")
        form = parse_qs(call.body.decode())
        assert form["leads[add][0][price]"] == ["5"] and form["account[subdomain]"] == ["acme"]
        assert call.headers["User-Agent"] == "amoCRM-Webhooks/3.0" and "X-Signature" not in call.headers
        for advance, count in ((301, 2), (901, 3), (901, 3), (3601, 3)):
            await probe.control("clock", {"advance_s": advance})
            if count > len([one for one in probe.heard if one.path == "/wh"]):
                await probe.calls("/wh", count)
        await probe.calls("/wh", 3)

    play(scene, connected=False)


def test_files_go_up_in_parts_and_hang_on_a_lead() -> None:
    async def scene(probe: Probe) -> None:
        await no_limits(probe)
        drive = (await probe.result("GET", "account?with=drive_url"))["drive_url"]
        headers = {"Authorization": f"Bearer {probe.tokens['access_token']}"}
        form = {"file_name": "price.pdf", "file_size": 600_000, "content_type": "application/pdf"}
        async with probe.http.post(f"{drive}/v1.0/sessions", json=form, headers=headers) as response:
            session = await response.json()
        part = session["max_part_size"]
        async with probe.http.post(session["upload_url"], data=b"x" * (part + 1), headers=headers) as response:
            assert response.status == 400
        async with probe.http.post(session["upload_url"], data=b"x" * part, headers=headers) as response:
            url = (await response.json())["next_url"]
        async with probe.http.post(url, data=b"x" * (600_000 - part), headers=headers) as response:
            file = await response.json()
        made = await probe.control("contact", {"name": "Иван", "lead": "Заявка"})
        assert (await probe.call("PUT", f"leads/{made['lead']}/files", [{"file_uuid": file["uuid"]}]))[0] == 202
        listed = await probe.result("GET", f"leads/{made['lead']}/files")
        assert listed["_embedded"]["files"][0]["file_uuid"] == file["uuid"]

    play(scene, connected=False)


def test_kommo_account_counts_by_address() -> None:
    async def scene(probe: Probe) -> None:
        made = await probe.control("make", {"platform": 2, "integration": {"redirect_uri": f"{probe.door}/k"}})
        host, client_id = made["account"]["host"], made["integration"]["client_id"]
        assert host.endswith(".kommo.com")
        pair = await probe.control("pair", {"account": host, "client_id": client_id})
        other = await probe.control("integration", {"redirect_uri": f"{probe.door}/k2"})
        second = await probe.control("pair", {"account": host, "client_id": other["client_id"]})
        tokens = [pair["access_token"], second["access_token"]] * 5
        told = await asyncio.gather(*(probe.call("GET", "account", token=token, host=host) for token in tokens))
        assert [status for status, _ in told].count(429) == 3

    play(scene, connected=False)
