"""The amoCRM twin's manager's page and control routes, as the page and tests use them."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.contract.test_amocrm_twin_chats import play
from tests.sandbox.amocrm.probe import Probe, probing

Json = dict[str, Any]


async def desk(probe: Probe, path: str) -> Json:
    async with probe.http.get(f"{probe.account['page']}/desk/{path}") as response:
        told: Json = await response.json()
        return told


async def press(probe: Probe, path: str, body: Json) -> tuple[int, Json]:
    async with probe.http.post(f"{probe.account['page']}/desk/{path}", json=body) as response:
        return response.status, await response.json()


async def write(probe: Probe, lead: int, **fields: str) -> tuple[int, Json]:
    async with probe.http.post(f"{probe.account['page']}/desk/leads/{lead}/messages", data=fields) as response:
        return response.status, await response.json()


def test_unsorted_lead_is_seen_answered_and_so_accepted() -> None:
    async def scene(probe: Probe) -> None:
        await probe.post(probe.message())
        (row,) = (await desk(probe, "state"))["leads"]
        assert row["uid"] and row["is_unanswered"] and row["last"] == "Здравствуйте"
        card = await desk(probe, f"leads/{row['id']}")
        (place,) = card["places"]
        assert (await write(probe, row["id"], where=place["where"], text="Добрый день"))[0] == 200
        (hook,) = await probe.calls("/chats")
        assert hook.json["message"]["message"]["text"] == "Добрый день"
        (row,) = (await desk(probe, "state"))["leads"]
        assert not row["uid"] and not row["is_unanswered"]

    play(scene)


def test_new_lead_is_written_first_from_the_desk_and_shows_the_status() -> None:
    async def scene(probe: Probe) -> None:
        assert (await press(probe, "add", {"name": "Иван", "phone": "+7 900 000-00-01"}))[0] == 200
        (row,) = (await desk(probe, "state"))["leads"]
        (place,) = (await desk(probe, f"leads/{row['id']}"))["places"]
        assert place["where"].startswith("first:")
        assert (await write(probe, row["id"], where=place["where"], text="Это acme"))[0] == 200
        (hook,) = await probe.calls("/chats")
        number = hook.json["message"]["message"]["id"]
        status = {"delivery_status": -1, "error_code": 904, "error": "нет"}
        await probe.chat("POST", f"{probe.scope}/{number}/delivery_status", status)
        (one,) = (await desk(probe, f"leads/{row['id']}"))["feed"]
        assert (one["status"], one["error"]) == ("failed", "904: нет")

    play(scene)


def test_desk_tells_refusals_in_words() -> None:
    async def scene(probe: Probe) -> None:
        await probe.post(probe.message())
        lead = probe.ledger("unsorted")[0]["lead"]
        chat = (await desk(probe, f"leads/{lead}"))["places"][0]["where"]
        await probe.control("disable")
        status, told = await write(probe, lead, where=chat, text="Да")
        assert status == 409 and "отключён" in told["error"]

    play(scene)


def test_reset_forgets_talks_and_all_brings_the_seed_back_with_its_keys() -> None:
    async def scene(probe: Probe) -> None:
        before = probe.peer.credentials()
        await probe.post(probe.message())
        await probe.control("make")
        await probe.control("reset")
        assert (await probe.call("GET", "leads"))[0] == 204 and len(probe.peer.cloud.accounts) == 2
        await probe.post(probe.message())
        await probe.control("reset", {"all": True})
        after = probe.peer.credentials()
        assert len(probe.peer.cloud.accounts) == 1 and (await probe.call("GET", "leads"))[0] == 401
        for name in ("client_id", "client_secret", "widget_code"):
            assert before["integration"][name] == after["integration"][name]
        assert before["account"]["amojo_id"] == after["account"]["amojo_id"]
        assert before["channels"][0]["secret"] == after["channels"][0]["secret"]

    play(scene)


def test_faults_act_on_one_account_and_never_on_control() -> None:
    async def run() -> None:
        async with probing() as probe:
            await probe.connect()
            made = await probe.control("make", {"client_id": probe.integration["client_id"]})
            host = made["account"]["host"]
            pair = await probe.control("pair", {"account": host})
            await probe.control("faults", {"outage": True, "only_account": probe.account["host"]})
            assert (await probe.call("GET", "account"))[0] == 504
            assert (await probe.call("GET", "account", token=pair["access_token"], host=host))[0] == 200
            async with probe.http.post(f"{probe.peer.cloud.chats_url}/v2/origin/custom/{probe.scope}") as response:
                assert response.status == 504

    asyncio.run(run())


def test_salesbot_answers_in_the_name_of_the_channel_s_bot() -> None:
    async def scene(probe: Probe) -> None:
        await probe.post(probe.message())
        markup = {"mode": "inline", "buttons": [[{"text": "Да"}, {"text": "Нет"}]]}
        say = {"conversation": "vk-1", "text": "Удобно?", "bot": True, "extra": {"markup": markup}}
        await probe.control("say", say)
        (hook,) = await probe.calls("/chats")
        assert hook.json["message"]["sender"]["id"] == probe.channel["bot_id"]
        assert hook.json["message"]["message"]["markup"] == markup

    play(scene)
