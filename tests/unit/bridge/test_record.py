"""What a recorder makes of events, without any process around it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from tests.unit.bridge.conftest import make_conversation
from widget_backend import clock, ids
from widget_backend.bridge import routes
from widget_backend.bridge.events import Direction, Event, LeadFormFilled, MessageEdited, MessageReceived, Person
from widget_backend.bridge.record import Recorder
from widget_backend.bridge.tenancy import transaction

ANNA = Person(remote_id="7", name="Анна")


def record(account_id: UUID, end_id: UUID, *events: Event) -> list[str]:
    """Record events as one batch of an end's inbox; return what became of each."""
    with transaction(account_id) as session:
        map = routes.read(session)
        recorder = Recorder(session, account_id, map.stops[end_id], map)
        recorder.prepare(events)
        outcomes = [recorder.take(event, "trace") for event in events]
        recorder.flush()
    return outcomes


def texts(account_id: UUID) -> list[str]:
    """Return the texts of all messages, in order."""
    with transaction(account_id) as session:
        return list(session.scalars(text("select text from messages order by seq")))


def test_a_lead_form_of_a_known_client_is_recorded_once(account_id: UUID, channel_id: UUID) -> None:
    written = MessageReceived(remote_id="1", direction=Direction.IN, sent_at=clock.now(), client=ANNA, text="hello")
    form = LeadFormFilled(remote_id="5", client=ANNA, at=clock.now(), title="form", answers=(("size", "M"),))
    assert record(account_id, channel_id, written) == ["recorded"]
    assert record(account_id, channel_id, form) == ["recorded"]
    assert record(account_id, channel_id, form) == ["duplicate"]
    assert texts(account_id) == ["hello", "form\nsize: M"]


def test_pieces_of_an_album_that_come_after_it_has_left_are_messages_of_their_own(
    account_id: UUID, channel_id: UUID
) -> None:
    def piece(number: int) -> MessageReceived:
        said = f"piece {number}"
        return MessageReceived(
            remote_id=str(number), direction=Direction.IN, sent_at=clock.now(), client=ANNA, text=said, group="9"
        )

    assert record(account_id, channel_id, piece(1)) == ["recorded"]
    with transaction(account_id) as session:
        session.execute(
            text(
                "insert into deliveries (id, account_id, end_id, conversation_id, message_id, act, dedupe, version, status,"
                " reason, detail, trigger) select id, account_id, :end, conversation_id, id, 'new', 'new', 1, 'delivered',"
                " '', '', 'auto' from messages"
            ),
            {"end": channel_id},
        )
    assert record(account_id, channel_id, piece(2)) == ["recorded"]
    assert record(account_id, channel_id, piece(3), piece(3)) == ["recorded", "duplicate"]
    assert texts(account_id) == ["piece 1", "piece 2", "piece 3"]


def test_a_number_of_ours_in_somebody_elses_conversation_is_a_coincidence(account_id: UUID, channel_id: UUID) -> None:
    ours = make_conversation(account_id, channel_id)
    message_id, part_id = ids.new_id(), ids.new_id()
    here = {"account": account_id, "end": channel_id, "conversation": ours, "message": message_id, "part": part_id}
    with transaction(account_id) as session:
        for statement in (
            (
                "insert into messages (id, account_id, conversation_id, origin_end_id, seq, direction, author, author_id, text,"
                " content, version, revision, is_late, is_automatic, trace_id, sent_at)"
                " values (:message, :account, :conversation, :end, 1, 'out', '', '', '', '{}', 1, '', false, false, '', now())"
            ),
            (
                "insert into deliveries (id, account_id, end_id, conversation_id, message_id, act, dedupe, version, status,"
                " reason, detail, trigger)"
                " values (:part, :account, :end, :conversation, :message, 'new', 'new', 1, 'queued', '', '', 'auto')"
            ),
            (
                "insert into parts (id, account_id, delivery_id, end_id, number, generation, counter, status, content)"
                " values (:part, :account, :part, :end, 1, 1, 77, 'queued', '{}')"
            ),
        ):
            session.execute(text(statement), here)
    by_hand = MessageReceived(
        remote_id="8", direction=Direction.OUT, sent_at=clock.now(), client=ANNA, text="by hand", own_key="77"
    )
    assert record(account_id, channel_id, by_hand) == ["recorded"]
    assert "by hand" in texts(account_id)


def test_an_edit_that_a_newer_one_overtook_changes_nothing(account_id: UUID, channel_id: UUID) -> None:
    written = MessageReceived(remote_id="1", direction=Direction.IN, sent_at=clock.now(), client=ANNA, text="0")

    def edit(said: int, *, at: int, revision: str) -> MessageEdited:
        moment = written.sent_at + timedelta(seconds=at)
        return MessageEdited(remote_id="1", edited_at=moment, client=ANNA, text=str(said), revision=revision)

    record(account_id, channel_id, written)
    assert record(account_id, channel_id, edit(2, at=9, revision="102")) == ["recorded"]
    assert record(account_id, channel_id, edit(1, at=8, revision="101")) == ["older"]
    assert record(account_id, channel_id, edit(1, at=9, revision="101")) == ["older"], "within a second"
    assert texts(account_id) == ["2"]
    assert record(account_id, channel_id, edit(3, at=7, revision="103")) == ["recorded"], "clocks lie, numbers grow"
    assert record(account_id, channel_id, edit(4, at=20, revision="5")) == ["recorded"], "they may begin anew"
    assert texts(account_id) == ["4"]
