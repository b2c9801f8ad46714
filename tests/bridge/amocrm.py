"""One company of the tests that works in amoCRM: an account with a VK community and an amoCRM account whose admin installed the integration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import requests

from tests.bridge.pair import Pair
from tests.stack import Json, Stack, wait_for
from widget_backend.accounts import apps
from widget_backend.accounts.models import App
from widget_backend.bridge import life
from widget_backend.bridge.tenancy import transaction

FEATURES = ["quotes", "typing", "reactions", "write_first"]


@dataclass
class Office(Pair):
    """A pair whose connection is an amoCRM account; `made` is what the sandbox made for it."""

    made: Json = field(default_factory=dict)
    app_id: UUID = field(default_factory=lambda: UUID(int=0))

    @property
    def host(self) -> str:
        """Return the account's host: what its ledger is called by."""
        return str(self.made["account"]["host"])

    @property
    def client_id(self) -> str:
        """Return the integration's id."""
        return str(self.made["integration"]["client_id"])

    def desk(self, *kinds: str) -> list[Json]:
        """Return what the account received or showed."""
        return self._ledger("amocrm", self.host, kinds)

    def chat_items(self, user: int) -> list[Json]:
        """Return the messages of a customer's chat, imported ones and managers' own."""
        thread = self.thread_of(user)
        return [item for item in self.desk("message", "answer") if item["conversation"] == thread]

    def seen(self, user: int) -> list[str]:
        """Return the texts of a customer's chat."""
        return [item["text"] for item in self.chat_items(user)]

    def operator(self, user: int = 0, **body: Any) -> Json:
        """Let a manager act in the chat of a customer."""
        place = {"conversation": self.thread_of(user)} if user else {}
        return self.act("say", **place, **body)

    def act(self, action: str, **body: Any) -> Json:
        """Do something in this amoCRM account."""
        return self.stack.control("amocrm", action, account=self.host, **body)

    def rest(self, path: str) -> Json:
        """Read from the account's REST API as its administrator."""
        return self._rest("GET", path)

    def rest_post(self, path: str, body: object) -> Json:
        """Make something over the account's REST API as its administrator."""
        return self._rest("POST", path, body)

    def _rest(self, method: str, path: str, body: object = None) -> Json:
        if not hasattr(self, "_token"):
            self._token = self.act("pair", client_id=self.client_id)["access_token"]
        url = f"{self.stack.peers['amocrm']['account_url'].replace('{host}', self.host)}/api/v4/{path}"
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = requests.request(method, url, headers=headers, json=body, timeout=30)
        assert answer.status_code in (200, 204), (path, answer.status_code, answer.text)
        return dict(answer.json()) if answer.status_code == 200 else {}

    def entities(self, kind: str) -> list[Json]:
        """List leads, contacts ... of the account."""
        found: list[Json] = self.rest(kind).get("_embedded", {}).get(kind, [])
        return found

    def settings(self, **changed: object) -> None:
        """Change the settings of the connection."""
        life.change(self.account_id, self.connection_id, settings=changed)

    def calls(self, peer: str, *methods: str) -> list[Json]:
        """Return the API calls made for this office."""
        if peer != "amocrm":
            return super().calls(peer, *methods)
        return [item for item in self.desk("call") if not methods or item["method"] in methods]

    def made_of(self, kind: str) -> list[Json]:
        """Return what was made in the account since the test began: leads, contacts ..."""
        return [item for item in self.desk("entity") if item["entity"] == kind]

    def state(self) -> tuple[str, str]:
        """Return state and reason of the connection."""
        row = self.rows("select state, reason from ends where id = :id", id=self.connection_id)[0]
        return row.state, row.reason


def register(stack: Stack, made: Json, account_id: UUID | None, *, with_chats: bool = True) -> App:
    """Take an integration's keys and channels, and tell amoCRM our addresses, as the set-up page makes the admin do."""
    integration = made["integration"]
    with transaction(account_id) as session:
        app = apps.add(
            session,
            "amocrm",
            client_id=integration["client_id"],
            secret=integration["client_secret"],
            account_id=account_id,
            settings={"platform": "amocrm", "widget_code": integration["widget_code"]},
        )
        for channel in made["channels"] if with_chats else ():
            apps.set_channel(
                session,
                app,
                channel["title"].lower(),
                remote_id=channel["id"],
                secret=channel["secret"],
                settings={"code": channel["code"], "bot_id": channel["bot_id"], "features": FEATURES},
            )
    form = {
        "redirect_uri": f"{stack.url}/oauth/install/{app.key}",
        "disable_hook_url": f"{stack.url}/oauth/farewell/{app.key}",
    }
    stack.control("amocrm", "integration", client_id=integration["client_id"], **form)
    for channel in made["channels"]:
        hook_url = f"{stack.url}/hooks/{app.key}/chats/:scope_id"
        stack.control("amocrm", "channel", id=channel["id"], hook_url=hook_url)
    return app


def make_office(stack: Stack, *, with_chats: bool = True, **settings: object) -> Office:
    """Make an account with a community and an amoCRM account, both connected; settings are the connection's."""
    since = {peer: stack.look(peer, "ledger?since=1000000000")["last"] for peer in ("vk", "amocrm")}
    community = stack.control("vk", "make")
    made = stack.control("amocrm", "make", channels=[{"title": "VK"}])
    stack.control("amocrm", "limits", **dict.fromkeys(stack.look("amocrm", "limits")["rates"], 0))
    account_id = stack.make_account()
    channel_id = stack.connect_vk(account_id, community)
    app = register(stack, made, account_id, with_chats=with_chats)
    office = Office(stack, account_id, community, {}, channel_id, UUID(int=0), since, made=made, app_id=app.id)
    office.act("install", client_id=office.client_id)
    office.connection_id = wait_for(lambda: _installed(office), within_s=60, what="the install")
    if settings:
        office.settings(**settings)
    return office


def _installed(office: Office) -> UUID | None:
    rows = office.rows("select id, state, reason from ends where adapter = 'amocrm'")
    if rows:
        assert rows[0].state in ("new", "active"), rows[0]
    return rows[0].id if rows and rows[0].state == "active" else None
