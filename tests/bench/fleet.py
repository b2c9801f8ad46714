"""Many accounts at once: each with a community and a portal of its own, connected as their admins would."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import requests

from tests.stack import Json, Stack

_session = requests.Session()


@dataclass(frozen=True)
class Tenant:
    """One company of the fleet."""

    account_id: UUID
    channel_id: UUID
    connection_id: UUID
    community: Json
    portal: Json


def make(stack: Stack, count: int, *, plan: str = "enterprise") -> list[Tenant]:
    """Make and connect so many tenants."""

    def one(number: int) -> Tenant:
        account = stack.make_account(f"acme {number}")
        community = stack.control("vk", "make", title=f"acme {number}")
        made = stack.control("bitrix24", "make", title=f"acme {number}", options={"plan": plan})
        portal = made.get("portal", made)
        connection = stack.connect_bitrix24(account, portal)
        channel = stack.connect_vk(account, community)
        return Tenant(account, channel, connection, community, portal)

    with ThreadPoolExecutor(12) as pool:
        return list(pool.map(one, range(count)))


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
