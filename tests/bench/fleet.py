"""Many accounts at once: each with a community and a portal of its own, an amoCRM account, or both, connected as their admins would."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import requests

from tests.bridge.amocrm import make_office
from tests.stack import Json, Stack
from widget_backend import clock
from widget_backend.bridge import keep, life, wake
from widget_backend.bridge.ends import Raw

_session = requests.Session()


@dataclass(frozen=True)
class Desk:
    """A CRM where a company's operators sit. `account`: what the peer calls it."""

    peer: str
    account: str
    connection_id: UUID


@dataclass(frozen=True)
class Tenant:
    """One company of the fleet. `portal` is empty for one without Bitrix24."""

    account_id: UUID
    channel_id: UUID
    community: Json
    portal: Json
    desks: tuple[Desk, ...] = ()


@dataclass
class Counted:
    """How far a ledger has been read, and how many messages stood there."""

    until: int = 0
    messages: int = 0


_counted: dict[Path, Counted] = {}


def make(stack: Stack, count: int, *, plan: str = "enterprise") -> list[Tenant]:
    """Make and connect so many tenants."""

    def one(number: int) -> Tenant:
        account = stack.make_account(f"acme {number}")
        community = stack.control("vk", "make", title=f"acme {number}")
        portal, desk = _portal(stack, account, plan)
        channel = stack.connect_vk(account, community)
        return Tenant(account, channel, community, portal, (desk,))

    with ThreadPoolExecutor(12) as pool:
        return list(pool.map(one, range(count)))


def make_amocrm(stack: Stack, count: int, *, with_portal: bool = False) -> list[Tenant]:
    """Make and connect so many tenants that work in amoCRM, or there and in a portal."""

    def one(_number: int) -> Tenant:
        office = make_office(stack)
        portal: Json = {}
        desks = [Desk("amocrm", office.host, office.connection_id)]
        if with_portal:
            portal, desk = _portal(stack, office.account_id, "enterprise")
            life.join(office.account_id, office.channel_id, desk.connection_id)
            desks.append(desk)
        return Tenant(office.account_id, office.channel_id, dict(office.community), portal, tuple(desks))

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, range(count)))


def _portal(stack: Stack, account_id: UUID, plan: str) -> tuple[Json, Desk]:
    made = stack.control("bitrix24", "make", title="acme", options={"plan": plan})
    portal = made.get("portal", made)
    return portal, Desk("bitrix24", portal["member_id"], stack.connect_bitrix24(account_id, portal))


def say(stack: Stack, tenant: Tenant, user: str, text: str) -> Any:
    """Let a customer of a tenant write."""
    url = f"{stack.peers['vk']['base_url']}/_sandbox/say"
    body = {"account": tenant.community["group_id"], "user": user, "text": text}
    answer = _session.post(url, json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()["id"]


def keep_hooks(tenant: Tenant, said: Sequence[tuple[int, str]]) -> None:
    """Keep hooks of VK, (number of a customer, text) each, as the door does once it has verified them: without HTTP."""
    door = keep.Door(tenant.channel_id, tenant.account_id)
    begun = time.time_ns() // 1000 % 10**12
    raws = [_hook(tenant, begun + number, talk, said) for number, (talk, said) in enumerate(said)]
    for start in range(0, len(raws), 500):
        keep.keep_pulled(door, raws[start : start + 500], clock.now())
        wake.poke()


def _hook(tenant: Tenant, number: int, talk: int, said: str) -> Raw:
    user = 700_000_000 + talk
    message = {
        "id": number,
        "date": int(time.time()),
        "peer_id": user,
        "from_id": user,
        "out": 0,
        "text": said,
        "conversation_message_id": number,
        "random_id": 0,
        "attachments": [],
        "fwd_messages": [],
        "version": number,
    }
    body = {
        "type": "message_new",
        "group_id": tenant.community["group_id"],
        "event_id": f"{number:040x}",
        "v": "5.199",
        "object": {"message": message, "client_info": {}},
    }
    return Raw(event_id=str(body["event_id"]), body=json.dumps(body).encode(), name="")


def shown(stack: Stack) -> int:
    """Count the messages that all portals have shown. Only what is new in the ledger is read."""
    counted = _counted.setdefault(stack.var, Counted())
    news = stack.look("bitrix24", f"ledger?since={counted.until}&kind=message")
    counted.until = news["last"]
    counted.messages += len(news["items"])
    return counted.messages


def settle_down(stack: Stack, expected: int, *, within_s: float) -> float:
    """Wait until so many messages are shown; return when (monotonic)."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if shown(stack) >= expected:
            return time.monotonic()
        time.sleep(0.2)
    raise AssertionError(f"{shown(stack)} of {expected} messages within {within_s} s")


def spread(tenants: Sequence[Tenant], count: int) -> list[tuple[Tenant, str]]:
    """Spread so many messages evenly over tenants and a few customers of each."""
    return [
        (tenants[number % len(tenants)], f"user{number % len(tenants)}-{number // len(tenants) % 25}")
        for number in range(count)
    ]
