"""The Bitrix24 twin's pages: the portal, the twin of BX24.js, the operator's desk, and the full OAuth road."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from tests.sandbox.bitrix24.probe import Json, Probe, probing


def base(probe: Probe) -> str:
    return str(probe.peer.credentials()["portal"]["url"])


async def act(probe: Probe, path: str, body: Json) -> tuple[int, Json]:
    async with probe.http.post(f"{base(probe)}/pages/api/{path}", json=body) as answer:
        return answer.status, await answer.json()


def test_page_its_parts_and_the_library_are_served_whatever_the_faults() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.control("faults", {"outage": True})
            for path in ("portal", "static/portal.js", "static/portal.css", "static/bx24.js"):
                async with probe.http.get(f"{base(probe)}/pages/{path}") as answer:
                    assert answer.status == 200
            async with probe.http.get(f"{probe.endpoint}profile") as answer:
                assert answer.status == 503 and answer.content_type == "text/html"
            await probe.control("faults", {"outage": False})
            async with probe.http.get(probe.peer.credentials()["frame_script"]) as answer:
                assert answer.status == 200 and "installFinish" in await answer.text()
            async with probe.http.get(f"{base(probe)}/pages/static/peer.py") as answer:
                assert answer.status == 404

    asyncio.run(scene())


def test_administrator_installs_from_the_page_and_an_operator_cannot() -> None:
    async def scene() -> None:
        async with probing() as probe:
            urls = {"install_url": f"{probe.door}/install", "app_url": f"{probe.door}/app"}
            await act(probe, "app", {"client_id": probe.app, **urls})
            assert (await act(probe, "install", {"app": probe.app, "user": 27}))[0] == 409
            assert (await act(probe, "install", {"app": probe.app, "user": 1}))[0] == 200
            _, form = await act(probe, "frame", {"app": probe.app, "user": 1})
            assert form["action"].startswith(urls["install_url"]) and form["auth"]["member_id"] == probe.account
            await act(probe, "install-finish", {"app": probe.app})
            _, form = await act(probe, "frame", {"app": probe.app, "user": 1})
            assert form["action"].startswith(urls["app_url"])

    asyncio.run(scene())


def test_operator_answers_with_a_file_from_the_page() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            item = await probe.send()
            form = aiohttp.FormData({"text": "Держите", "user": "27"}, quote_fields=False)
            form.add_field("files", b"hello", filename="прайс.txt", content_type="text/plain")
            url = f"{base(probe)}/pages/api/chats/{item['session']['CHAT_ID']}"
            async with probe.http.post(f"{url}/messages", data=form) as answer:
                assert answer.status == 200
            told = (await probe.events("ONIMCONNECTORMESSAGEADD"))[0]["data"]["MESSAGES"][0]["message"]
            assert told["files"][0]["name"] == "прайс.txt" and told["files"][0]["size"] == "5"
            async with probe.http.get(url) as answer:
                shown = (await answer.json())["messages"][-1]
            assert shown["author"] == "Анна Оператор" and shown["is_delivered"] is False

    asyncio.run(scene())


def test_page_hears_of_every_change() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.connect()
            async with probe.http.get(f"{base(probe)}/pages/api/state") as answer:
                state = await answer.json()
            assert state["connectors"][0]["links"][0]["status"] is True
            waiting = asyncio.create_task(_wait(probe, state["version"]))
            await probe.send()
            assert await asyncio.wait_for(waiting, 3) > state["version"]

    asyncio.run(scene())


async def _wait(probe: Probe, version: int) -> int:
    async with probe.http.get(f"{base(probe)}/pages/api/wait", params={"version": version}) as answer:
        return int((await answer.json())["version"])


def test_full_oauth_road_comes_back_with_a_code_and_the_portal() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            await probe.control("app", {"client_id": probe.app, "redirect_url": f"{probe.door}/back"})
            params = {"client_id": probe.app, "state": "s1"}
            url = f"{base(probe)}/oauth/authorize/"
            async with probe.http.get(url, params=params, allow_redirects=False) as answer:
                assert answer.status == 302
                back = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
            assert back["member_id"] == probe.account and back["state"] == "s1"
            assert f"http://{back['server_domain']}" == probe.peer.cloud.oauth_urls[0]
            assert (await probe.oauth(grant_type="authorization_code", code=back["code"]))[0] == 200
            async with probe.http.get(url, params={"client_id": "nobody"}, allow_redirects=False) as answer:
                assert answer.status == 400

    asyncio.run(scene())


def test_notices_reach_the_user_they_are_for() -> None:
    async def scene() -> None:
        async with probing() as probe:
            await probe.install()
            assert await probe.result("im.notify.system.add", {"USER_ID": 27, "MESSAGE": "Не отправлено"}) > 0
            assert await probe.result("im.notify.system.add", {"USER_ID": 999, "MESSAGE": "x"}) is False
            assert probe.ledger("notice")[0]["text"] == "Не отправлено"

    asyncio.run(scene())
