"""The gate in front of every send."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from widget_backend.bridge import gate
from widget_backend.bridge.ends import Capabilities, Repeat
from widget_backend.bridge.models import ClientRecord, ConversationRecord, Delivery, Message
from widget_backend.bridge.statuses import Status

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
NETWORK = Capabilities(files={}, text_limit=100, repeat=Repeat.KEY, window=timedelta(hours=24), expires=True)
CRM = Capabilities(files={}, text_limit=100, repeat=Repeat.LOOKUP)


def _conversation(last_in_at: object, window_s: int | None = None, created_at: datetime = NOW) -> ConversationRecord:
    return ConversationRecord(last_in_at=last_in_at, window_s=window_s, created_at=created_at)


def _refuse(facts: Capabilities = NETWORK, **over: object) -> tuple[Status, str] | None:
    delivery = Delivery(
        act=over.get("act", "new"), expires_at=over.get("expires_at"), trigger=over.get("trigger", "auto")
    )
    message = Message(deleted_at=over.get("deleted_at"))
    conversation = _conversation(over.get("last_in_at", NOW - timedelta(hours=1)))
    client = ClientRecord(may_write=over.get("may_write"))
    return gate.refuse(delivery, message, conversation, client, facts, {}, NOW)


def test_answer_in_time_may_leave() -> None:
    assert _refuse(expires_at=NOW + timedelta(seconds=1)) is None


def test_late_answer_expires_unless_a_person_sent_it_again() -> None:
    assert _refuse(expires_at=NOW) == (Status.EXPIRED, "too_late")
    assert _refuse(expires_at=NOW, trigger="manual") is None


def test_deleted_answer_is_discarded() -> None:
    assert _refuse(deleted_at=NOW) == (Status.DISCARDED, "deleted_before_sending")


def test_client_who_forbade_is_not_written_to() -> None:
    assert _refuse(may_write=False) == (Status.FAILED, "client_forbade")
    assert _refuse(may_write=True) is None


@pytest.mark.parametrize(
    ("ago", "is_open"), [(timedelta(hours=23, minutes=59), True), (timedelta(hours=24), False), (None, False)]
)
def test_window_closes_to_the_minute(ago: timedelta | None, is_open: bool) -> None:
    refused = _refuse(last_in_at=NOW - ago if ago is not None else None)
    assert refused == (None if is_open else (Status.FAILED, "window_closed"))


def test_window_binds_neither_edits_nor_networks_without_one() -> None:
    assert _refuse(act="edit", last_in_at=None) is None
    assert _refuse(replace(NETWORK, window=None), last_in_at=None) is None


def test_the_smaller_window_of_end_and_conversation_counts() -> None:
    an_hour, boundless = 3600, replace(NETWORK, window=None)
    asked = NOW - timedelta(minutes=50)
    assert gate.time_left(_conversation(asked, an_hour), NETWORK, NOW) == timedelta(minutes=10)
    assert gate.time_left(_conversation(asked, an_hour), boundless, NOW) == timedelta(minutes=10)
    assert gate.time_left(_conversation(asked, 48 * an_hour), NETWORK, NOW) == timedelta(hours=23, minutes=10)


def test_a_chat_whose_client_we_never_heard_is_closed_when_he_cannot_have_written_in_time() -> None:
    a_day, boundless = 24 * 3600, replace(NETWORK, window=None)
    opened = NOW - timedelta(hours=23)
    assert gate.time_left(_conversation(None, a_day, opened), boundless, NOW) == timedelta(hours=1)
    assert gate.time_left(_conversation(None, a_day, opened - timedelta(hours=1)), boundless, NOW) == timedelta(0)
    assert gate.time_left(_conversation(None, a_day, opened), NETWORK, NOW) == timedelta(0)


def test_message_of_a_client_passes_whatever_became_of_it() -> None:
    assert _refuse(CRM, deleted_at=NOW, may_write=False, last_in_at=None) is None


def test_time_left_and_change_windows() -> None:
    assert gate.time_left(_conversation(NOW - timedelta(hours=20)), NETWORK, NOW) == timedelta(hours=4)
    assert gate.time_left(_conversation(None), CRM, NOW) is None
    assert gate.may_change(None, None, NOW) and not gate.may_change(None, timedelta(hours=1), NOW)
    assert gate.may_change(NOW - timedelta(minutes=59), timedelta(hours=1), NOW)
    assert not gate.may_change(NOW - timedelta(hours=1), timedelta(hours=1), NOW)
