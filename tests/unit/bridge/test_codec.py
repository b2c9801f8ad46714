"""An event that is parked comes back as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from widget_backend.bridge import codec
from widget_backend.bridge.events import (
    Attachment,
    Direction,
    Event,
    Forward,
    Kind,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    Person,
    Place,
    Quote,
    ReadUpTo,
    StatusChanged,
)

short = st.text(max_size=12)
moments = st.datetimes(timezones=st.just(UTC))
people = st.builds(Person, remote_id=short, name=short, phone=short, profile_url=short)
attachments = st.builds(
    Attachment,
    kind=st.sampled_from(Kind),
    url=short,
    handle=short,
    name=short,
    size_bytes=st.none() | st.integers(0, 2**40),
    latitude=st.none() | st.floats(-90, 90),
    title=short,
    link=short,
)
quotes = st.none() | st.builds(Quote, remote_id=short, text=short, author=short)
forwards = st.builds(Forward, author=short, text=short, attachments=st.tuples(attachments), sent_at=st.none() | moments)
common = {"remote_id": short, "client": st.none() | people, "thread": short, "scope": short}
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        MessageReceived,
        direction=st.sampled_from(Direction),
        sent_at=moments,
        place=st.sampled_from(Place),
        text=short,
        attachments=st.lists(attachments, max_size=2).map(tuple),
        quote=quotes,
        forwards=st.lists(forwards, max_size=2).map(tuple),
        payload=short,
        is_automatic=st.booleans(),
        send_until=st.none() | moments,
        window=st.none() | st.timedeltas(timedelta(0), timedelta(days=30)),
        session=st.dictionaries(short, short, max_size=2),
        **common,
    ),
    st.builds(
        MessageEdited,
        edited_at=moments,
        text=short,
        attachments=st.none() | st.lists(attachments, max_size=2).map(tuple),
        revision=short,
        **common,
    ),
    st.builds(MessageDeleted, deleted_at=moments, **common),
    st.builds(ReadUpTo, at=moments, **common),
    st.builds(StatusChanged, remote_id=short, status=short, at=moments, scope=short, own_key=short, reason=short),
)


@given(events)
def test_event_survives_being_parked(event: Event) -> None:
    assert codec.load(json.loads(json.dumps(codec.dump(event)))) == event


def test_edit_that_took_all_attachments_away_is_not_one_that_left_them() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    for attached in ((), None):
        event = MessageEdited(remote_id="1", edited_at=at, text="", attachments=attached)
        assert codec.load(codec.dump(event)) == event


def test_stored_attachment_keeps_no_address_of_its_file() -> None:
    stored = codec.dump_attachment(Attachment(kind=Kind.PHOTO, url="https://example.com/?secret", handle="s", name="n"))
    assert stored == {"kind": "photo", "name": "n"}
