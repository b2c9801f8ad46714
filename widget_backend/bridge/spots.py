"""Spots: the conversations and clients that a batch of events speaks of, found and locked, or opened. Used by the Recorder, in its transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, func, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from widget_backend import ids
from widget_backend.bridge import content
from widget_backend.bridge.ends import Side
from widget_backend.bridge.events import MessageReceived, Person
from widget_backend.bridge.models import ClientRecord, ConversationRecord, LinkRecord
from widget_backend.bridge.routes import Stop

_CONVERSATIONS = ConversationRecord.__table__
_MOVE_ON = (
    update(_CONVERSATIONS)  # type: ignore[arg-type]
    .where(_CONVERSATIONS.c.id == bindparam("spot"))
    .values(
        last_seq=bindparam("seq"),
        last_in_at=bindparam("in_at"),
        window_s=bindparam("own_window_s"),
        last_at=func.now(),
    )
)


@dataclass(slots=True, kw_only=True)
class Spot:
    """A conversation of a batch, locked; what changes is written at the flush."""

    id: UUID
    channel_id: UUID
    client_id: UUID
    place: str
    thread: str
    scope: str
    last_seq: int = 0
    last_in_at: datetime | None = None
    window_s: int | None = None
    client_name: str = ""
    has_changed: bool = False


def locked(session: Session, stop: Stop, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Spot]:
    """Lock the known conversations among an end's places (client, thread), ordered by id; a connection knows them by thread alone."""
    if not places:
        return {}
    place = ConversationRecord
    base = select(
        place.id,
        place.channel_id,
        place.client_id,
        place.place,
        place.thread,
        place.scope,
        place.last_seq,
        place.last_in_at,
        place.window_s,
        ClientRecord.name.label("client_name"),
    ).join(ClientRecord, ClientRecord.id == place.client_id)
    if stop.side is Side.NETWORK:
        query = base.add_columns(ClientRecord.remote_id.label("who"), place.thread.label("at")).where(
            ClientRecord.channel_id == stop.id, tuple_(ClientRecord.remote_id, place.thread).in_(places)
        )
    else:
        query = (
            base.add_columns(literal("").label("who"), LinkRecord.remote_id.label("at"))
            .join(LinkRecord, LinkRecord.conversation_id == place.id)
            .where(LinkRecord.connection_id == stop.id, LinkRecord.remote_id.in_([thread for _who, thread in places]))
        )
    found: dict[tuple[str, str], Spot] = {}
    for row in session.execute(query.order_by(place.id).with_for_update(of=place)).mappings():
        values = dict(row)
        address = (values.pop("who") or "", values.pop("at"))
        found[address] = Spot(**values)
    return found


def opened(session: Session, account_id: UUID, channel_id: UUID, event: MessageReceived, person: Person) -> Spot:
    """Open the conversation of a channel that a message begins, and have its client's profile asked for when we have no name."""
    client_id, name = known_client(session, account_id, channel_id, person)
    conversation = ConversationRecord(
        id=ids.new_id(),
        account_id=account_id,
        channel_id=channel_id,
        client_id=client_id,
        thread=event.thread,
        scope=event.scope,
        place=event.place.value,
        title=event.place_title,
    )
    session.add(conversation)
    session.flush()
    if not name:
        content.ask_profile(session, account_id, channel_id, client_id, conversation.id)
    return Spot(
        id=conversation.id,
        channel_id=channel_id,
        client_id=client_id,
        place=event.place.value,
        thread=event.thread,
        scope=event.scope,
        client_name=name,
    )


def known_client(session: Session, account_id: UUID, channel_id: UUID, person: Person) -> tuple[UUID, str]:
    """Return (id, name) of a client, making him when he is new."""
    adding = insert(ClientRecord).values(
        id=ids.new_id(),
        account_id=account_id,
        channel_id=channel_id,
        remote_id=person.remote_id,
        name=person.name,
        profile=content.profile_of(person),
    )
    # an update that changes nothing, so that the id comes back for a known client too
    same = adding.on_conflict_do_update(
        index_elements=["channel_id", "remote_id"], set_={"remote_id": person.remote_id}
    )
    client_id, name = session.execute(same.returning(ClientRecord.id, ClientRecord.name)).one()
    return client_id, name


def tell_client(session: Session, client_id: UUID, person: Person, may_write: bool | None = None) -> None:
    """Note what was told about a client this time."""
    row = session.get_one(ClientRecord, client_id)
    row.name = person.name or row.name
    row.profile = {**row.profile, **content.profile_of(person)}
    if may_write is not None:
        row.may_write = may_write


def write(session: Session, spots: Iterable[Spot]) -> None:
    """Write what changed in conversations."""
    changed = [spot for spot in spots if spot.has_changed]
    if changed:
        values = [
            {"spot": one.id, "seq": one.last_seq, "in_at": one.last_in_at, "own_window_s": one.window_s}
            for one in changed
        ]
        session.connection().execute(_MOVE_ON, values)
    for spot in changed:
        spot.has_changed = False
