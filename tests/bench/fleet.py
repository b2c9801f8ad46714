"""Many accounts at once: each with a community and a portal of its own, an amoCRM account, or both, connected as their admins would."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import requests

from tests.bridge.amocrm import make_office
from tests.stack import Json, Stack
from widget_backend.bridge import life

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
        desks, portal = [Desk("amocrm", office.host, office.connection_id)], {}
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


def shown(stack: Stack) -> int:
    """Count the messages that all portals have shown."""
    return len(stack.ledger("bitrix24", "message"))


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
