"""Invariant 1: a genuine hook answered with 2xx is never lost, whatever is killed afterwards. (Every crash point: tests/chaos.)"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from tests.bridge.pair import Pair, new_user
from tests.stack import wait_for
from widget_backend.bridge import inbox, registry


def test_hooks_answered_before_a_power_cut_of_all_workers_arrive(pair: Pair) -> None:
    user = new_user()
    names = [name for name in pair.stack.processes if name.startswith("exchange")]
    said = [f"вопрос {number}" for number in range(5)]
    for number, one in enumerate(said):
        assert pair.vk_hook("message_new", pair.message_new(user, one, 9000 + number)).text == "ok"
    for name in names:
        pair.stack.kill(name)
    pair.wait_seen(user, *said, within_s=30)


def test_hooks_kept_by_a_killed_web_server_arrive_and_later_ones_too(pair: Pair) -> None:
    user = new_user()
    assert pair.vk_hook("message_new", pair.message_new(user, "до", 9100)).text == "ok"
    starts = pair.stack.processes["web"].starts
    pair.stack.kill("web")
    wait_for(lambda: pair.stack.processes["web"].starts > starts, what="the web's new start")
    wait_for(lambda: _answers(pair), within_s=30, what="the web")
    pair.customer(user, text="после")
    pair.wait_seen(user, "до", "после", within_s=30)


def test_hook_that_cannot_be_read_stops_nobody_and_stays_kept(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    user = new_user()
    lease = _hold_inbox(pair)
    for number, said in enumerate(("раз", "poison", "два")):
        pair.vk_hook("message_new", pair.message_new(user, said, 9200 + number))
    real = registry.hooks("vk")

    def parse(hook: Any, owner: Any) -> Any:
        if b"poison" in hook.body:
            raise RuntimeError("a bug of ours")
        return real.parse(hook, owner)

    monkeypatch.setattr(registry, "hooks", lambda key: SimpleNamespace(parse=parse))
    for _ in range(20):
        inbox.work(lease)
    inbox.release(lease)
    rows = pair.rows("select state, tries, note from inbox where owner_id = :id and tries > 0", id=pair.channel_id)
    assert [(row.state, row.tries, row.note) for row in rows] == [(inbox.GIVEN_UP, inbox.TRIES, "RuntimeError")]
    pair.wait_seen(user, "раз", "два")


def test_hook_of_an_end_in_error_is_read_all_the_same(pair: Pair) -> None:
    from widget_backend.bridge import life

    user = new_user()
    life.set_state(pair.account_id, pair.channel_id, "error", "token_revoked")
    pair.customer(user, text="вы тут?")
    pair.wait_seen(user, "вы тут?")


def _answers(pair: Pair) -> bool:
    import requests

    try:
        return requests.get(f"{pair.stack.url}/readyz", timeout=2).ok
    except requests.RequestException:
        return False


def _hold_inbox(pair: Pair) -> inbox.Lease:
    token = uuid4()
    pair.change(
        "update gates set inbox_lease = :token, inbox_lease_until = now() + interval '2 minutes' where end_id = :id",
        token=token,
        id=pair.channel_id,
    )
    return inbox.Lease(pair.channel_id, pair.account_id, token)
