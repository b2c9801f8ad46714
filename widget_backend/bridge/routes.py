"""What feeds what: the ends that hear of a message, read once per batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from widget_backend.bridge import registry
from widget_backend.bridge.ends import Capabilities, Side
from widget_backend.bridge.models import EndRecord

_READ = text("""
    select e.id, e.xmin::text as version, e.side, e.adapter, e.title, e.state, e.settings,
           array(select r.connection_id from routes r where r.account_id = e.account_id and r.channel_id = e.id)
             as connections
    from ends e where e.deleted_at is null and (e.state <> 'off' or e.id = :also)
""")


@dataclass(frozen=True, slots=True)
class Stop:
    """One end that deliveries may go to. `version` changes with every change of its row."""

    id: UUID
    side: Side
    adapter: str
    title: str
    state: str
    settings: Mapping[str, object]
    capabilities: Capabilities
    version: str = ""


@dataclass(frozen=True, slots=True)
class Map:
    """Every end of an account and the routes between them."""

    stops: Mapping[UUID, Stop]
    connections_by_channel: Mapping[UUID, tuple[UUID, ...]]

    def others(self, channel_id: UUID, origin_id: UUID) -> list[Stop]:
        """Return the ends that hear of a message of a conversation: the channel and its connections, but not where it came from."""
        wanted = (channel_id, *self.connections_by_channel.get(channel_id, ()))
        return [self.stops[id] for id in wanted if id != origin_id and id in self.stops]


def read(session: Session, *, also: UUID | None = None) -> Map:
    """Read the map of the transaction's account. `also`: an end that belongs there even when it is off, for what it did before."""
    stops: dict[UUID, Stop] = {}
    feeds: dict[UUID, tuple[UUID, ...]] = {}
    for row in session.execute(_READ, {"also": also}):
        facts = registry.manifest(row.adapter).capabilities
        stops[row.id] = Stop(
            row.id, Side(row.side), row.adapter, row.title, row.state, row.settings, facts, row.version
        )
        if row.connections:
            feeds[row.id] = tuple(row.connections)
    return Map(stops, feeds)


def stop_of(row: EndRecord) -> Stop:
    """Return an end as the router sees it."""
    facts = registry.manifest(row.adapter).capabilities
    return Stop(row.id, Side(row.side), row.adapter, row.title, row.state, row.settings, facts)
