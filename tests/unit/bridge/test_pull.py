"""Pulls: what was missed is asked for until it was had, however the pull before ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.unit.bridge.conftest import make_conversation
from widget_backend.bridge import pull, registry
from widget_backend.bridge.ends import Pulled, PullRequest
from widget_backend.bridge.errors import AccessLost
from widget_backend.bridge.tenancy import transaction
from widget_backend.networks.vk.adapter import Vk

Answer = Callable[[PullRequest], Pulled]


def _change(statement: str, **values: object) -> None:
    with transaction(None) as session:
        session.execute(text(statement), values)


def _gate(end_id: UUID) -> Any:
    with transaction(None) as session:
        return session.execute(text("select *, now() as now from gates where end_id = :end"), {"end": end_id}).one()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[PullRequest]:
    """Give what the end was asked; it has nothing to tell."""
    requests: list[PullRequest] = []
    answer_with(monkeypatch, requests, lambda _request: Pulled(raws=(), cursor={}))
    return requests


def answer_with(monkeypatch: pytest.MonkeyPatch, requests: list[PullRequest], answer: Answer) -> None:
    def asked(_self: Vk, request: PullRequest) -> Pulled:
        requests.append(request)
        return answer(request)

    monkeypatch.setattr(Vk, "pull", asked)


def run(end_id: UUID, *, pulled: timedelta = timedelta(minutes=10)) -> None:
    """Pull an end that was pulled some time ago."""
    _change("update gates set pull_at = now(), pulled_at = now() - :ago where end_id = :end", ago=pulled, end=end_id)
    for task in pull.take(1):
        pull.run(task)


def test_a_pull_that_met_a_lost_access_is_not_done(channel_id: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_request: PullRequest) -> Pulled:
        raise AccessLost("token_revoked")

    answer_with(monkeypatch, [], lost)
    run(channel_id, pulled=timedelta(hours=8))
    gate = _gate(channel_id)
    assert not gate.is_open
    assert gate.now - gate.pulled_at > timedelta(hours=7), "after the reconnect all eight hours are asked for"


def test_the_next_pull_begins_where_this_one_began(channel_id: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[datetime] = []

    def slow(_request: PullRequest) -> Pulled:
        begun.append(_gate(channel_id).now)
        return Pulled(raws=(), cursor={})

    answer_with(monkeypatch, [], slow)
    run(channel_id)
    assert _gate(channel_id).pulled_at < begun[0]


def test_what_one_turn_does_not_bring_is_pulled_at_once(channel_id: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[PullRequest] = []
    answer_with(monkeypatch, requests, lambda request: Pulled(raws=(), cursor=request.cursor, more=True))
    run(channel_id)
    gate = _gate(channel_id)
    assert len(requests) == pull.ROUNDS
    assert gate.pull_at <= gate.now and gate.now - gate.pulled_at > timedelta(minutes=9)


def test_who_asks_for_a_pull_while_one_is_under_way_gets_it(channel_id: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked_for(_request: PullRequest) -> Pulled:
        _change("update gates set pull_at = now() where end_id = :end", end=channel_id)
        return Pulled(raws=(), cursor={})

    answer_with(monkeypatch, [], asked_for)
    run(channel_id)
    gate = _gate(channel_id)
    assert gate.pull_at <= gate.now


@pytest.mark.parametrize(("away", "groups"), [(timedelta(minutes=10), [3]), (timedelta(days=2), [3, 2])])
def test_after_an_outage_every_talk_of_before_is_asked_about(
    account_id: UUID,
    channel_id: UUID,
    asked: list[PullRequest],
    monkeypatch: pytest.MonkeyPatch,
    away: timedelta,
    groups: Sequence[int],
) -> None:
    monkeypatch.setattr(pull, "CONVERSATIONS", 3)
    manifest = registry.manifest("vk")
    monkeypatch.setattr(registry, "manifest", lambda _key: replaced(manifest))
    for _number in range(5):
        talk = make_conversation(account_id, channel_id)
        with transaction(account_id) as session:
            ago = {"id": talk, "ago": away + timedelta(hours=1)}
            session.execute(text("update conversations set last_at = now() - :ago where id = :id"), ago)
    run(channel_id, pulled=away)
    assert [len(request.conversations) for request in asked] == groups


def replaced(manifest: Any) -> Any:
    """Return the manifest of an end whose hooks come only once."""
    return replace(manifest, capabilities=replace(manifest.capabilities, once=True))
