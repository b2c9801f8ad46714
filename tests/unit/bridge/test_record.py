"""What a recorder makes of events, without any process around it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from widget_backend import clock
from widget_backend.bridge import routes
from widget_backend.bridge.events import Direction, Event, LeadFormFilled, MessageReceived, Person
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
