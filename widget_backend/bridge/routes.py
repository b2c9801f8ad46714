"""What feeds what: the ends that hear of a message, read once per batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from widget_backend.bridge import registry
from widget_backend.bridge.ends import Capabilities, Side
from widget_backend.bridge.models import EndRecord, Route


@dataclass(frozen=True, slots=True)
class Stop:
    """One end that deliveries may go to."""

    id: UUID
    side: Side
    adapter: str
    title: str
    state: str
    settings: Mapping[str, object]
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class Map:
    """Every end of an account and the routes between them."""

    stops: Mapping[UUID, Stop]
    connections_by_channel: Mapping[UUID, tuple[UUID, ...]]

    def others(self, channel_id: UUID, origin_id: UUID) -> list[Stop]:
        """Return the ends that hear of a message of a conversation: the channel and its connections, but not where it came from."""
        wanted = (channel_id, *self.connections_by_channel.get(channel_id, ()))
        return [self.stops[id] for id in wanted if id != origin_id and id in self.stops]


def read(session: Session) -> Map:
    """Read the map of the transaction's account."""
    rows = session.scalars(select(EndRecord).where(EndRecord.deleted_at.is_(None), EndRecord.state != "off")).all()
    stops = {row.id: stop_of(row) for row in rows}
    found: dict[UUID, tuple[UUID, ...]] = {}
    for route in session.execute(select(Route.channel_id, Route.connection_id)):
        found[route.channel_id] = (*found.get(route.channel_id, ()), route.connection_id)
    return Map(stops, found)


def stop_of(row: EndRecord) -> Stop:
    """Return an end as the router sees it."""
    facts = registry.manifest(row.adapter).capabilities
    return Stop(row.id, Side(row.side), row.adapter, row.title, row.state, row.settings, facts)
