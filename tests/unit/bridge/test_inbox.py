"""What a hook says about its end is carried out, whatever dies meanwhile."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from jobs import exchange
from widget_backend import clock, ids
from widget_backend.bridge import inbox, keep, life
from widget_backend.bridge.ends import Raw
from widget_backend.bridge.events import EndRevoked
from widget_backend.bridge.tenancy import transaction


def _lease(account_id: UUID, end_id: UUID) -> inbox.Lease:
    lease = inbox.Lease(end_id, account_id, uuid4())
    leased = "update gates set inbox_lease = :token, inbox_lease_until = now() + interval '1 minute'"
    with transaction(None) as session:
        session.execute(text(leased), {"token": lease.token})
    return lease


def _work(account_id: UUID, end_id: UUID) -> None:
    inbox.work(_lease(account_id, end_id))


def _states(end_id: UUID) -> list[int]:
    with transaction(None) as session:
        return list(session.scalars(text("select state from inbox where owner_id = :id"), {"id": end_id}))


@pytest.mark.parametrize("trouble", [MemoryError, KeyboardInterrupt])
def test_an_end_that_was_revoked_is_told_so_after_a_crash_too(
    account_id: UUID, channel_id: UUID, monkeypatch: pytest.MonkeyPatch, trouble: type[BaseException]
) -> None:
    monkeypatch.setattr(inbox, "_parse", lambda _row, _owner: [EndRevoked(reason="uninstalled")])
    raw = Raw(event_id="1", body=b"{}")
    keep.keep_pulled(keep.Door(channel_id, account_id), [raw], clock.now())

    def dies(*_args: object) -> None:
        raise trouble

    with monkeypatch.context() as patched:
        patched.setattr(life, "mark_lost", dies)
        with suppress(KeyboardInterrupt):
            _work(account_id, channel_id)
    assert _states(channel_id) == [inbox.NEW]
    _work(account_id, channel_id)
    assert _states(channel_id) == [inbox.DONE]
    with transaction(account_id) as session:
        assert session.execute(text("select state, reason from ends")).one() == ("error", "uninstalled")


def test_what_cannot_be_carried_out_is_given_up_at_last(
    account_id: UUID, channel_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "_parse", lambda _row, _owner: [EndRevoked(reason="uninstalled")])
    keep.keep_pulled(keep.Door(channel_id, account_id), [Raw(event_id=ids.new_key(), body=b"{}")], clock.now())

    def fails(*_args: object) -> None:
        raise ValueError

    monkeypatch.setattr(life, "mark_lost", fails)
    for _try in range(inbox.TRIES):
        assert _states(channel_id) == [inbox.NEW]
        _work(account_id, channel_id)
    assert _states(channel_id) == [inbox.GIVEN_UP]


def _fail(*_args: object) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("events", [[], [EndRevoked(reason="uninstalled")], None])
def test_an_inbox_is_given_back_whatever_was_in_it(
    account_id: UUID, channel_id: UUID, monkeypatch: pytest.MonkeyPatch, events: list[EndRevoked] | None
) -> None:
    monkeypatch.setattr(inbox, "_parse", _fail if events is None else lambda _row, _owner: events)
    keep.keep_pulled(keep.Door(channel_id, account_id), [Raw(event_id="1", body=b"{}")], clock.now())
    exchange.Slice()._read_inbox(_lease(account_id, channel_id))
    with transaction(None) as session:
        assert session.scalars(text("select inbox_lease from gates")).all() == [None]
