"""Invariant 9: a token is refreshed once, however many workers need it. (Each death in the middle: tests/chaos; each answer: tests/unit/oauth.)"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from tests.bridge.pair import Pair, new_user
from tests.stack import Json
from widget_backend.bridge import life

USERS = 16


def _refreshes(pair: Pair) -> list[Json]:
    asked = pair._ledger("bitrix24", pair.portal["member_id"], ("oauth",))
    return [item for item in asked if item["method"] == "refresh_token"]


def test_many_workers_in_several_processes_refresh_an_expired_token_once(pair: Pair) -> None:
    users = [new_user() for _ in range(USERS)]
    for user in users:
        pair.customer(user, text="before")
    for user in users:
        pair.wait_seen(user, "before")
    pair.wait_quiet()
    generation = pair.rows("select generation from oauth_tokens")[0].generation
    done = len(_refreshes(pair))
    # a slow answer lets everybody meet the expired token before the first of them has a new one
    pair.faults("bitrix24", expire_tokens=True, latency_ms=700)
    tokens = life.snapshot(pair.account_id, pair.connection_id).tokens
    assert tokens is not None
    stale = tokens.current()
    start = Barrier(USERS)

    def renew(user: int) -> str:
        start.wait()
        return tokens.renew(stale)

    with ThreadPoolExecutor(USERS) as pool:
        renewing = pool.map(renew, users)
        for user in users:
            pair.customer(user, text="after")
        renewed = set(renewing)
    for user in users:
        pair.wait_seen(user, "before", "after")
    assert len(_refreshes(pair)) == done + 1
    assert len(renewed) == 1 and stale not in renewed
    row = pair.rows("select generation, lease_token from oauth_tokens")[0]
    assert (row.generation, row.lease_token) == (generation + 1, None)
