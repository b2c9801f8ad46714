"""An errand is tried again while that may help, given up with its reason when it does not, and never begun for ever."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.unit.bridge.conftest import make_conversation
from widget_backend import crypto, files, ids, outside
from widget_backend.bridge import content, errands, registry
from widget_backend.bridge.errors import AccessLost, MostikError, Rejected, Retry, Uncertain, Unsafe
from widget_backend.bridge.tenancy import transaction
from widget_backend.limits import LimitWait


@pytest.fixture
def file_id(account_id: UUID, channel_id: UUID) -> UUID:
    """Give an attachment whose file is to be fetched."""
    conversation_id, message_id, id = make_conversation(account_id, channel_id), ids.new_id(), ids.new_id()
    source = crypto.seal_text(json.dumps({"url": "", "handle": "a handle"}), f"attachment:{id}")
    known = {"id": id, "account": account_id, "end": channel_id, "conversation": conversation_id}
    with transaction(account_id) as session:
        session.execute(
            text(
                "insert into messages (id, account_id, conversation_id, origin_end_id, seq, direction, author, author_id,"
                " text, content, version, revision, is_late, is_automatic, trace_id, sent_at)"
                " values (:message, :account, :conversation, :end, 1, 'in', '', '', '', '{}', 1, '', false, false, '', now())"
            ),
            {**known, "message": message_id},
        )
        session.execute(
            text(
                "insert into attachments (id, account_id, message_id, end_id, conversation_id, number, state, source,"
                " file_ref, name, mime, reason) values"
                " (:id, :account, :message, :end, :conversation, 1, 'wait', :source, '', '', '', '')"
            ),
            {**known, "message": message_id, "source": source},
        )
        session.execute(
            text(
                "insert into errands (subject_id, kind, account_id, end_id, conversation_id)"
                " values (:id, 'file', :account, :end, :conversation)"
            ),
            known,
        )
    return id


class Broken:
    """An adapter with a bug."""

    def __init__(self, end: object) -> None:
        pass

    def locate(self, attachment: object) -> tuple[str, dict[str, str]]:
        """Fail as nobody expects."""
        raise ZeroDivisionError


def test_a_bug_is_no_answer_and_the_errand_is_given_up_in_the_end(
    account_id: UUID, file_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "adapter", Broken)
    for _ in range(errands.TRIES):
        (task,) = _take()
        with pytest.raises(ZeroDivisionError):
            errands.run(task)
        assert _found(account_id, file_id).state == "wait"
    (task,) = _take()
    errands.run(task)
    found = _found(account_id, file_id)
    assert (found.state, found.reason) == ("failed", "fetch_our_fault")
    assert _take() == []


def test_an_errand_given_back_costs_no_try(file_id: UUID) -> None:
    for _ in range(3):
        (task,) = _take()
        errands.give_back([task.token])
    assert [task.tries for task in _take()] == [1]


def test_trouble_that_passes_is_waited_out_and_what_does_not_is_told(
    account_id: UUID, file_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble: list[MostikError] = [Retry("busy", after=timedelta(hours=1)), Rejected("file_gone")]

    class Troubled(Broken):
        def locate(self, attachment: object) -> tuple[str, dict[str, str]]:
            raise trouble.pop(0)

    monkeypatch.setattr(registry, "adapter", Troubled)
    errands.run(_take()[0])
    with transaction(None) as session:
        assert session.scalar(text("select not_before > now() + interval '50 minutes' from errands"))
    errands.run(_take()[0])
    found = _found(account_id, file_id)
    assert (found.state, found.reason, found.adapter) == ("failed", "file_gone", "vk")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unsafe("address"), "fetch_unsafe"),
        (files.FileTooLarge(10), "fetch_too_large"),
        (outside.MaybeSent("too_large", "host"), "fetch_too_large"),
        (outside.BadStatus(404, "host"), "fetch_gone"),
        (outside.BadStatus(410, "host"), "fetch_gone"),
        (outside.BadStatus(403, "host"), "fetch_refused"),
        (AccessLost("token_revoked"), "fetch_refused"),
        (Rejected("file_too_big"), "file_too_big"),
        (outside.BadStatus(429, "host"), ""),
        (outside.BadStatus(503, "host"), ""),
        (outside.MaybeSent("read_timeout", "host"), ""),
        (outside.NotSent("connect_failed", "host"), ""),
        (LimitWait(timedelta(seconds=1)), ""),
        (Retry("busy"), ""),
        (Uncertain("no_answer"), ""),
    ],
)
def test_which_trouble_is_final(error: MostikError, reason: str) -> None:
    assert errands._final(error) == reason


def _take() -> list[errands.Task]:
    """Take what is waiting, as if its time had come."""
    with transaction(None) as session:
        session.execute(text("update errands set not_before = now()"))
    return errands.take(1)


def _found(account_id: UUID, file_id: UUID) -> content.Whereabouts:
    found = content.whereabouts(account_id, file_id)
    assert found is not None
    return found
