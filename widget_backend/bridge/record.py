"""Record: events become clients, conversations, messages and versions, once each, in one transaction with their routing.

A Recorder serves one batch of one end's events. The conversations concerned are locked first, in one order everywhere, so that two
transactions never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from widget_backend import clock, ids
from widget_backend.bridge import changes, codec, content, settle, spots
from widget_backend.bridge.ends import Act, Side
from widget_backend.bridge.events import (
    CallMissed,
    ClientChanged,
    DialogClosed,
    DialogOpened,
    Direction,
    Event,
    LeadFormFilled,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    ReadUpTo,
    StatusChanged,
)
from widget_backend.bridge.models import Delivery, LinkRecord, Message, MessageKey, Parked, Part
from widget_backend.bridge.route import ALBUM_WAIT, Matter, Outbox
from widget_backend.bridge.routes import Map, Stop
from widget_backend.bridge.spots import Spot

LATE_AFTER = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Known:
    """A message that this end's ids lead to."""

    message_id: UUID
    part_id: UUID | None


class Recorder:
    """Records the events of one end, in one transaction."""

    def __init__(self, session: Session, account_id: UUID, stop: Stop, map: Map) -> None:
        self.session = session
        self.account_id = account_id
        self.stop = stop
        self.outbox = Outbox(session, map)
        self.settlement = settle.Settlement(session, self.outbox)
        self.spots: dict[tuple[str, str], Spot] = {}
        self.keys: dict[tuple[str, str], Known] = {}
        self._awaited: set[tuple[str, str]] = set()
        self._messages: list[dict[str, object]] = []
        self._new_keys: list[dict[str, object]] = []
        self.files = content.Files(session, account_id, stop.id)

    def prepare(self, events: Sequence[Event]) -> None:
        """Lock the conversations that the events speak of, and read which of their ids are known."""
        told = [content.told_as_message(e) if isinstance(e, LeadFormFilled | CallMissed) else e for e in events]
        named = [e for e in told if isinstance(e, MessageReceived | MessageEdited | MessageDeleted | ReadUpTo)]
        places = {self._address(event) for event in named}
        places |= {("", e.thread) for e in events if isinstance(e, DialogOpened | DialogClosed)}
        self.spots |= spots.locked(self.session, self.stop, sorted(places))
        wanted = {(e.scope, e.remote_id) for e in named}
        wanted |= {(e.scope, e.remote_id) for e in events if isinstance(e, StatusChanged) and e.remote_id}
        wanted |= {(e.scope, _album(e.group)) for e in named if isinstance(e, MessageReceived) and e.group}
        if wanted:
            self._read_keys(sorted(wanted))

    def take(self, event: Event, trace_id: str) -> str:
        """Record one event; return what became of it, a slug for the log."""
        match event:
            case MessageReceived():
                return self._message(event, trace_id)
            case LeadFormFilled() | CallMissed():
                return self._message(content.told_as_message(event), trace_id)
            case ClientChanged():
                return self._client_changed(event)
            case DialogOpened() | DialogClosed():
                return self._remember_session(event.thread, event.session)
            case MessageEdited() | MessageDeleted() | StatusChanged() | ReadUpTo():
                self.flush()
                return changes.take(self, event, trace_id)
            case _:
                return "ignored"

    def flush(self) -> bool:
        """Write what was collected; tell whether anything now waits in a lane."""
        if self._messages:
            self.session.execute(insert(Message), self._messages)
            self.session.execute(insert(MessageKey), self._new_keys)
            self._messages, self._new_keys = [], []
        self.files.flush()
        spots.write(self.session, self.spots.values())
        self.settlement.flush()
        return self.outbox.flush()

    def park(self, event: Event, trace_id: str, *, waits_for: str, conversation_id: UUID | None = None) -> str:
        """Keep an event until what it speaks of is known."""
        self._awaited.add((getattr(event, "scope", ""), getattr(event, "remote_id", "")))
        self.session.add(
            Parked(
                account_id=self.account_id,
                end_id=self.stop.id,
                waits_for=waits_for,
                scope=getattr(event, "scope", ""),
                remote_id=getattr(event, "remote_id", ""),
                conversation_id=conversation_id,
                event=codec.dump(event),
                trace_id=trace_id,
            )
        )
        return "parked"

    # ------------------------------------------------------------------------------------------------- one message

    def _message(self, event: MessageReceived, trace_id: str) -> str:
        key = (event.scope, event.remote_id)
        if key in self.keys:
            return "duplicate"
        place = self.spots.get(self._address(event))
        if event.own_key and place is not None and self.settlement.confirm_own(self.stop.id, place.id, event):
            if key in self.settlement.named:
                self.keys[key] = Known(*self.settlement.named[key])
                self._release_parked(event)
            return "own"
        spot = self._spot(event)
        if spot is None:
            return "unknown_conversation"
        if event.direction is Direction.OUT and not event.own_key and self._has_open_attempt(spot):
            return self.park(event, trace_id, waits_for="echo", conversation_id=spot.id)
        album = (event.scope, _album(event.group)) if event.group else None
        if album in self.keys and album is not None:
            self.flush()
            if self.files.add_to_album(self.keys[album].message_id, event):
                self._remember_key(key, self.keys[album].message_id)
                self._write_keys()
                return "album"
        message_id = self._add(event, spot, trace_id)
        self._remember_key(key, message_id)
        if album is not None and album not in self.keys:
            self._remember_key(album, message_id)
        self._route(event, spot, message_id)
        if event.is_partial:
            content.ask_whole(self.session, self.account_id, self.stop.id, message_id, spot.id)
        self._release_parked(event)
        return "recorded"

    def _add(self, event: MessageReceived, spot: Spot, trace_id: str) -> UUID:
        spot.last_seq += 1
        spot.has_changed = True
        is_in = event.direction is Direction.IN
        is_late = is_in and spot.last_in_at is not None and event.sent_at < spot.last_in_at - LATE_AFTER
        if is_in:
            spot.last_in_at = max(event.sent_at, spot.last_in_at or event.sent_at)
        message_id = ids.new_id()
        stored = self.files.content_of(event, message_id, spot.id, self.keys)
        self._messages.append(
            {
                "id": message_id,
                "account_id": self.account_id,
                "conversation_id": spot.id,
                "origin_end_id": self.stop.id,
                "seq": spot.last_seq,
                "direction": event.direction.value,
                "author": event.author,
                "author_id": event.author_id,
                "text": event.text,
                "content": stored,
                "is_late": is_late,
                "is_automatic": event.is_automatic,
                "trace_id": trace_id,
                "sent_at": event.sent_at,
                "recorded_at": clock.now(),
            }
        )
        return message_id

    def _route(self, event: MessageReceived, spot: Spot, message_id: UUID) -> None:
        matter = Matter(
            account_id=self.account_id,
            channel_id=spot.channel_id,
            conversation_id=spot.id,
            message_id=message_id,
            origin_id=self.stop.id,
            act=Act.NEW,
            direction=event.direction.value,
            place=spot.place,
            thread=spot.thread,
            text=event.text,
            is_automatic=event.is_automatic,
            not_before=clock.now() + ALBUM_WAIT if event.group else None,
            send_until=event.send_until,
        )
        if not self.outbox.message(matter):
            self.files.leave(message_id)
        if event.direction is Direction.IN:
            self.outbox.arrived(matter)
        elif self.stop.side is Side.CRM and not event.is_automatic:
            self.outbox.read(matter, spot.last_seq)  # who answers has read

    # --------------------------------------------------------------------------------------- clients, conversations

    def _address(self, event: MessageReceived | MessageEdited | MessageDeleted | ReadUpTo) -> tuple[str, str]:
        is_network = self.stop.side is Side.NETWORK
        return (event.client.remote_id if event.client and is_network else "", event.thread)

    def _read_keys(self, wanted: Sequence[tuple[str, str]]) -> None:
        rows = self.session.execute(
            select(MessageKey.scope, MessageKey.remote_id, MessageKey.message_id, MessageKey.part_id).where(
                MessageKey.end_id == self.stop.id, tuple_(MessageKey.scope, MessageKey.remote_id).in_(wanted)
            )
        )
        for scope, remote_id, message_id, part_id in rows:
            self.keys[(scope, remote_id)] = Known(message_id, part_id)
        parked = select(Parked.scope, Parked.remote_id).where(
            Parked.end_id == self.stop.id,
            Parked.waits_for == "message",
            tuple_(Parked.scope, Parked.remote_id).in_(wanted),
        )
        self._awaited = {(scope, remote_id) for scope, remote_id in self.session.execute(parked)}

    def _spot(self, event: MessageReceived) -> Spot | None:
        address = self._address(event)
        spot = self.spots.get(address)
        if spot is None and self.stop.side is Side.NETWORK and event.client is not None:
            spot = spots.opened(self.session, self.account_id, self.stop.id, event, event.client)
            self.spots[address] = spot
        if spot is None:
            return None
        if event.session and self.stop.side is Side.CRM:
            self._remember_session(event.thread, event.session)
        if event.client and event.client.name and event.client.name != spot.client_name:
            spots.tell_client(self.session, spot.client_id, event.client)
            spot.client_name = event.client.name
        if event.window is not None and self.stop.side is Side.NETWORK:
            spot.window_s = int(event.window.total_seconds())
        return spot

    def _client_changed(self, event: ClientChanged) -> str:
        if self.stop.side is not Side.NETWORK:
            return "ignored"
        client_id, _name = spots.known_client(self.session, self.account_id, self.stop.id, event.client)
        spots.tell_client(self.session, client_id, event.client, event.may_write)
        return "recorded"

    def _remember_session(self, thread: str, session_facts: dict[str, str]) -> str:
        merged = self.session.execute(
            update(LinkRecord)
            .where(LinkRecord.connection_id == self.stop.id, LinkRecord.remote_id == thread)
            .values(state=LinkRecord.state.op("||")(session_facts))
            .returning(LinkRecord.conversation_id)
        ).first()
        return "recorded" if merged else "unknown_conversation"

    # ------------------------------------------------------------------------------------------------- keys, parking

    def _remember_key(self, key: tuple[str, str], message_id: UUID) -> None:
        self.keys[key] = Known(message_id, None)
        self._new_keys.append(
            {
                "account_id": self.account_id,
                "end_id": self.stop.id,
                "scope": key[0],
                "remote_id": key[1],
                "message_id": message_id,
            }
        )

    def _write_keys(self) -> None:
        self.session.execute(insert(MessageKey), self._new_keys)
        self._new_keys = []

    def _has_open_attempt(self, spot: Spot) -> bool:
        open_part = (
            select(Part.id)
            .join(Delivery, Delivery.id == Part.delivery_id)
            .where(
                Delivery.end_id == self.stop.id,
                Delivery.conversation_id == spot.id,
                Delivery.act == Act.NEW.value,
                Part.attempt_id.is_not(None),
                Part.attempted_at > clock.now() - changes.ECHO_WAIT,  # after that nobody waits for its echo any more
            )
        )
        return self.session.scalar(open_part.limit(1)) is not None

    def _release_parked(self, event: MessageReceived) -> None:
        """Take up edits, deletions and statuses that came before their message."""
        if (event.scope, event.remote_id) not in self._awaited:
            return
        waiting = self.session.scalars(
            select(Parked)
            .where(
                Parked.end_id == self.stop.id,
                Parked.scope == event.scope,
                Parked.remote_id == event.remote_id,
                Parked.waits_for == "message",
            )
            .order_by(Parked.id)
            .with_for_update(skip_locked=True)  # the schedule may be at them (held)
        ).all()
        for parked in waiting:
            self.session.delete(parked)
            self.take(codec.load(parked.event), parked.trace_id)


def _album(group: str) -> str:
    # two spaces of names share message_keys: a network's own ids never begin with this
    return f"album:{group}"
