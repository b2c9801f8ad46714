"""An independent client (aioamocrm) works against the amoCRM twin; only its base address is given.

Skipped where the client is not installed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.sandbox.run import Running, start

aioamocrm = pytest.importorskip("aioamocrm")
Json = dict[str, Any]
REDIRECT = "http://127.0.0.1:9/oauth/amocrm"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Running]:
    with start(["--only", "amocrm"]) as running:
        yield running


@pytest.fixture
def twin(sandbox: Running) -> Json:
    """Give a fresh account with an integration whose form is filled in."""
    twin = sandbox.addresses["amocrm"]
    made = dict(control(twin, "make", {"integration": {"redirect_uri": REDIRECT}}))
    return {**twin, **made}


def control(twin: Json, path: str, body: Json) -> Json:
    answer = requests.post(f"{twin['base_url']}/_sandbox/{path}", json=body, timeout=5)
    answer.raise_for_status()
    return dict(answer.json())


def about(twin: Json) -> Json:
    return {"account": twin["account"]["host"], "client_id": twin["integration"]["client_id"]}


def oauth(twin: Json) -> Any:
    keys = {name: twin["integration"][name] for name in ("client_id", "client_secret")}
    return aioamocrm.OAuth2(**keys, redirect_uri=REDIRECT, storage=aioamocrm.MemoryTokenStorage())


def client(twin: Json, auth: Any | None = None, **over: Any) -> Any:
    token = auth or aioamocrm.LongLivedToken(control(twin, "pair", about(twin))["access_token"])
    return aioamocrm.AmoCRMClient(auth=token, base_url=twin["account"]["url"], **over)


def test_client_exchanges_a_code_and_refreshes_after_401(twin: Json) -> None:
    async def scene() -> None:
        url = control(twin, "consent", about(twin))["url"]
        code = parse_qs(urlsplit(url).query)["code"][0]
        async with client(twin, oauth(twin)) as amo:
            first = await amo.exchange_code(code)
            assert (await amo.account.get()).subdomain == twin["account"]["subdomain"]
            control(twin, "faults", {"expire_tokens": True})
            control(twin, "faults", {"expire_tokens": False})
            assert (await amo.account.get(with_="amojo_id")).id == twin["account"]["id"]
            renewed = await amo.auth.storage.load()
            assert renewed.refresh_token != first.refresh_token
            with pytest.raises(aioamocrm.AuthError):
                await amo.exchange_code(code)

    asyncio.run(scene())


def test_client_makes_a_lead_with_its_contact_and_reads_it_back(twin: Json) -> None:
    async def scene() -> None:
        async with client(twin) as amo:
            phone = {"field_code": "PHONE", "values": [{"value": "+79000000001", "enum_code": "WORK"}]}
            [contact] = await amo.contacts.create([{"name": "Иван", "custom_fields_values": [phone]}])
            [lead] = await amo.leads.create([aioamocrm.Lead(name="Заявка", price=1500)])
            await amo.leads.link(lead.id, "contacts", contact.id, metadata={"is_main": True})
            [link] = await amo.leads.links(lead.id)
            assert (link.to_entity_id, link.to_entity_type) == (contact.id, "contacts")
            found = [one async for one in amo.contacts.iterate(query="79000000001")]
            assert [one.id for one in found] == [contact.id]
            read = await amo.leads.get(lead.id, with_="contacts")
            assert read.price == 1500 and read.embedded.contacts[0].id == contact.id
            pipelines = await amo.pipelines.list()
            stage = pipelines[0].embedded.statuses[2]
            await amo.leads.update([{"id": lead.id, "status_id": stage.id, "tags_to_add": [{"name": "vk"}]}])
            read = await amo.leads.get(lead.id)
            assert read.status_id == stage.id and [tag.name for tag in read.embedded.tags] == ["vk"]

    asyncio.run(scene())


def test_client_writes_notes_tasks_and_complex_leads(twin: Json) -> None:
    async def scene() -> None:
        async with client(twin) as amo:
            embedded = {"contacts": [{"first_name": "Анна"}], "companies": [{"name": "acme"}]}
            [made] = await amo.leads.create_complex([{"name": "Сделка", "_embedded": embedded}])
            assert made.contact_id and made.company_id and made.merged is False
            await amo.leads.notes.create([aioamocrm.Note.common(made.id, "Перезвонить")])
            assert [note.params["text"] async for note in amo.leads.notes.iterate()] == ["Перезвонить"]
            task = {"text": "Ответить", "complete_till": 1_900_000_000, "entity_id": made.id, "entity_type": "leads"}
            [task_ref] = await amo.tasks.create([task])
            await amo.tasks.complete(task_ref.id, result="готово")
            assert (await amo.tasks.get(task_ref.id)).is_completed is True

    asyncio.run(scene())


def test_client_walks_over_pages_and_understands_empty_lists(twin: Json) -> None:
    async def scene() -> None:
        async with client(twin) as amo:
            assert [one async for one in amo.leads.iterate()] == []
            await amo.leads.create([{"name": f"Сделка {number}"} for number in range(70)])
            found = [one.name async for one in amo.leads.iterate(limit=30)]
            assert len(found) == 70 and found[0] == "Сделка 0"

    asyncio.run(scene())


def test_client_understands_every_refusal(twin: Json) -> None:
    async def scene() -> None:
        async with client(twin, rate_limit=None, retry=aioamocrm.RetryPolicy(max_attempts=1)) as amo:
            with pytest.raises(aioamocrm.ValidationError) as bad:
                await amo.leads.create([{"name": 5, "custom_fields_values": [{"field_id": 1, "values": []}]}])
            paths = {issue.path for issue in bad.value.errors}
            assert paths == {"name", "custom_fields_values.0.field_id"}
            with pytest.raises(aioamocrm.NotFoundError):
                await amo.leads.get(1)
            control(twin, "options", {"account": twin["account"]["host"], "unpaid": True})
            with pytest.raises(aioamocrm.PaymentRequiredError):
                await amo.account.get()
            control(twin, "options", {"account": twin["account"]["host"], "unpaid": False, "refuse_address": True})
            with pytest.raises(aioamocrm.ForbiddenError):
                await amo.account.get()
            control(twin, "options", {"account": twin["account"]["host"], "refuse_address": False})
            with pytest.raises(aioamocrm.RateLimitError):
                await asyncio.gather(*(amo.account.get() for _ in range(9)))

    asyncio.run(scene())


def test_client_parses_the_webhooks(twin: Json) -> None:
    bodies: list[bytes] = []
    heard = threading.Event()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            heard.set()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    async def scene() -> None:
        async with client(twin) as amo:
            door = f"http://127.0.0.1:{server.server_port}/hook"
            await amo.request("POST", "webhooks", json={"destination": door, "settings": ["add_lead"]})
            [lead] = await amo.leads.create([{"name": "Заявка"}])
            assert await asyncio.to_thread(heard.wait, 5)
            told = aioamocrm.parse_webhook(bodies[0])
            assert told.account_id == twin["account"]["id"]
            assert [(event.entity, event.action, event.id) for event in told.events] == [("leads", "add", lead.id)]

    try:
        asyncio.run(scene())
    finally:
        server.shutdown()
        server.server_close()
