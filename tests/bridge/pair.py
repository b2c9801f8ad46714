"""One company of the tests: an account with a VK community and a Bitrix24 portal of its own, and the two people who talk over them."""

from __future__ import annotations

import itertools
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import requests
from sqlalchemy import text

from tests.stack import Json, Stack, wait_for
from widget_backend import crypto
from widget_backend.bridge.tenancy import transaction

NO_LIMIT = "box"
"""A plan of the simulated portal that counts no requests."""
_INVISIBLE = re.compile("[\u200b-\u200f\u2060-\u2064]+")
_users = itertools.count(500_000_000 + secrets.randbelow(100_000_000))


def new_user() -> int:
    """Return the VK id of a customer whom nobody knows yet."""
    return next(_users)


@dataclass
class Pair:
    """`channel_id` and `connection_id` are joined; ledgers are read from where this pair began."""

    stack: Stack
    account_id: UUID
    community: Mapping[str, Any]
    portal: Mapping[str, Any]
    channel_id: UUID
    connection_id: UUID
    since: Mapping[str, int] = field(default_factory=dict)

    # ----------------------------------------------------------------------------------------------- what people do

    def customer(self, user: int, **body: Any) -> Json:
        """Let a customer act in VK: see tests/sandbox/vk/say.py."""
        return self.stack.control("vk", "say", account=str(self.community["group_id"]), user=user, **body)

    def customer_in_turn(self, user: int, *said: Json) -> None:
        """Let a customer write several messages, each after VK has told us the one before: VK's hooks overtake each other."""
        for one in said:
            told = len(self.hooks("message_new"))
            self.customer(user, **one)
            self._wait_told(told)

    def _wait_told(self, before: int) -> None:
        wait_for(lambda: len(self.hooks("message_new")) > before, every_s=0.01, what="VK's hook")

    def hooks(self, label: str) -> list[Json]:
        """Return the hooks that VK sent us for this community, with our answers."""
        return [
            item for item in self._ledger("vk", str(self.community["group_id"]), ("hook",)) if item["label"] == label
        ]

    def admin(self, user: int, **body: Any) -> Json:
        """Let the community's admin act in VK's own pages."""
        return self.customer(user, **{"as": "admin"}, **body)

    def operator(self, user: int = 0, **body: Any) -> Json:
        """Let an operator act in the portal, in the chat of a customer."""
        place = {"conversation": self.chat_of(user)} if user else {}
        return self.stack.control("bitrix24", "say", account=self.portal["member_id"], **place, **body)

    # --------------------------------------------------------------------------------------------------- what they see

    def chat_of(self, user: int) -> str:
        """Return the portal's number of a customer's chat, once it is there."""
        thread = self.thread_of(user)
        return str(
            wait_for(lambda: [item for item in self.desk("message") if item["conversation"] == thread])[0]["chat_id"]
        )

    def thread_of(self, user: int) -> str:
        """Return the id that we gave a customer's conversation on the portal."""

        def look() -> str | None:
            rows = self.rows(
                "select l.remote_id from links l join conversations c on c.id = l.conversation_id"
                " join clients k on k.id = c.client_id where k.remote_id = :user and l.connection_id = :connection",
                user=str(user),
                connection=self.connection_id,
            )
            return str(rows[0].remote_id) if rows else None

        return str(wait_for(look, what=f"a link of {user}"))

    def desk(self, *kinds: str) -> list[Json]:
        """Return what the portal received or showed."""
        return self._ledger("bitrix24", self.portal["member_id"], kinds)

    def phone(self, user: int, *kinds: str) -> list[Json]:
        """Return what was seen on a customer's phone."""
        items = self._ledger("vk", str(self.community["group_id"]), kinds)
        return [item for item in items if item.get("conversation") == str(user)]

    def seen(self, user: int) -> list[str]:
        """Return the texts of the portal's chat with a customer, without the portal's own lines."""
        thread = self.thread_of(user)
        items = self.desk("message")
        shown = [item for item in items if item["conversation"] == thread and item["who"] != "system"]
        return [_INVISIBLE.sub("", item["text"]) for item in shown]

    def got(self, user: int) -> list[str]:
        """Return the texts that the company sent a customer."""
        return [item["text"] for item in self.phone(user, "message") if item["direction"] == "out"]

    def calls(self, peer: str, *methods: str) -> list[Json]:
        """Return the API calls made for this pair."""
        account = str(self.community["group_id"]) if peer == "vk" else self.portal["member_id"]
        return [item for item in self._ledger(peer, account, ("call",)) if not methods or item["method"] in methods]

    def wait_seen(self, user: int, *texts: str, within_s: float = 20) -> None:
        """Wait until the portal shows these texts of a conversation, in this order and each once."""
        wait_for(
            lambda: len(self.seen(user)) >= len(texts), within_s=within_s, what=f"{len(texts)} texts on the portal"
        )
        assert self.seen(user) == list(texts)

    def wait_got(self, user: int, *texts: str, within_s: float = 20) -> None:
        """Wait until a customer has these texts, in this order and each once."""
        wait_for(lambda: len(self.got(user)) >= len(texts), within_s=within_s, what=f"{len(texts)} texts on the phone")
        assert self.got(user) == list(texts)

    # ----------------------------------------------------------------------------------------------- what we know

    def rows(self, query: str, **values: object) -> list[Any]:
        """Ask our database as this account."""
        with transaction(self.account_id) as session:
            return list(session.execute(text(query), values).all())

    def change(self, query: str, **values: object) -> None:
        """Change something in our database as this account."""
        with transaction(self.account_id) as session:
            session.execute(text(query), values)

    def deliveries(self, where: str = "true", **values: object) -> list[Any]:
        """Return deliveries, oldest first, with the text and direction of their messages."""
        return self.rows(
            "select d.*, m.text, m.direction, m.origin_end_id from deliveries d join messages m on m.id = d.message_id"
            f" where {where} order by d.created_at, d.lane_seq",
            **values,
        )

    def status(self, message: str, end_id: UUID, act: str = "new") -> str:
        """Return the status of a text's delivery to an end, empty when there is none."""
        found = self.deliveries(
            "m.text = :message and d.end_id = :end and d.act = :act", message=message, end=end_id, act=act
        )
        return str(found[-1].status) if found else ""

    def wait_status(self, message: str, end_id: UUID, status: str, *, act: str = "new", within_s: float = 20) -> None:
        """Wait until the delivery of a text has a status."""
        wait_for(
            lambda: self.status(message, end_id, act) == status,
            within_s=within_s,
            what=f"{status}, not {self.status(message, end_id, act)}",
        )

    def wait_quiet(self, within_s: float = 20) -> None:
        """Wait until nothing of this pair waits any more: no hook, no lane, no errand."""

        def is_quiet() -> bool:
            row = self.rows(
                "select (select count(*) from inbox where owner_id in (:a, :b) and state = 0)"
                " + (select count(*) from lanes where end_id in (:a, :b) and settled_seq < last_seq)"
                " + (select count(*) from errands where end_id in (:a, :b)) as waiting",
                a=self.channel_id,
                b=self.connection_id,
            )
            return not row[0].waiting

        wait_for(is_quiet, within_s=within_s, what="quiet")

    # ------------------------------------------------------------------------------------------------- hooks by hand

    def secrets_of(self, end_id: UUID) -> dict[str, str]:
        """Return the secrets of an end."""
        sealed = bytes(self.rows("select secrets from ends where id = :id", id=end_id)[0].secrets)
        return dict(json.loads(crypto.open_text(sealed, f"end:{end_id}")))

    def hook_url(self, end_id: UUID) -> str:
        """Return the address of an end's door."""
        return f"{self.stack.url}/hooks/{self.secrets_of(end_id)['hook_key']}"

    def vk_hook(self, kind: str, about: Json, **over: Any) -> requests.Response:
        """Post an event to the community's door as VK would."""
        body = {
            "type": kind,
            "group_id": self.community["group_id"],
            "event_id": secrets.token_hex(20),
            "v": "5.199",
            "object": about,
            "secret": self.secrets_of(self.channel_id)["callback_secret"],
        } | over
        return requests.post(self.hook_url(self.channel_id), json=body, timeout=30)

    def message_new(self, user: int, text: str, number: int, **over: Any) -> Json:
        """Return the object of VK's message_new."""
        message = {
            "id": number,
            "date": 1_790_000_000 + number % 1000,
            "peer_id": user,
            "from_id": user,
            "out": 0,
            "text": text,
            "conversation_message_id": number,
            "random_id": 0,
            "attachments": [],
            "fwd_messages": [],
            "version": number,
        } | over
        return {"message": message, "client_info": {}}

    def faults(self, peer: str, **changed: Any) -> None:
        """Give this pair's community or portal alone some trouble (all of a peer for what it cannot tell apart)."""
        if peer == "vk":
            changed.setdefault("only_account", str(self.community["group_id"]))
        self.stack.control(peer, "faults", **changed)

    def _ledger(self, peer: str, account: str, kinds: tuple[str, ...]) -> list[Json]:
        items = self.stack.look(peer, f"ledger?since={self.since[peer]}")["items"]
        return [item for item in items if item.get("account") == account and (not kinds or item["kind"] in kinds)]


def make_pair(stack: Stack, **settings: object) -> Pair:
    """Make an account with a community and a portal, both connected; settings are the channel's."""
    since = {peer: stack.look(peer, "ledger?since=1000000000")["last"] for peer in ("vk", "bitrix24")}
    community = stack.control("vk", "make")
    portal = stack.control("bitrix24", "make", options={"plan": NO_LIMIT})["portal"]
    account_id = stack.make_account()
    channel_id = stack.connect_vk(account_id, community, **settings)
    connection_id = stack.connect_bitrix24(account_id, portal)
    return Pair(stack, account_id, community, portal, channel_id, connection_id, since)
