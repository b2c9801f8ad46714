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
    from ends e where e.deleted_at is null
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

    @property
    def is_off(self) -> bool:
        """Tell whether its admin disconnected it."""
        return self.state == "off"


@dataclass(frozen=True, slots=True)
class Map:
    """Every end of an account, those that are off too, and the routes between them."""

    stops: Mapping[UUID, Stop]
    connections_by_channel: Mapping[UUID, tuple[UUID, ...]]

    def others(self, channel_id: UUID, origin_id: UUID) -> list[Stop]:
        """Return the ends that hear of a message of a conversation: the channel and its connections, but not where it came from.

        A connection that is off hears of nothing; a channel that is off is among them, since whoever answers there must be told.
        """
        wanted = (channel_id, *self.connections_by_channel.get(channel_id, ()))
        known = [self.stops[id] for id in wanted if id != origin_id and id in self.stops]
        return [stop for stop in known if stop.id == channel_id or not stop.is_off]

    def working(self, id: UUID) -> Stop | None:
        """Return an end unless it is off or gone."""
        stop = self.stops.get(id)
        return None if stop is None or stop.is_off else stop


def read(session: Session) -> Map:
    """Read the map of the transaction's account."""
    stops: dict[UUID, Stop] = {}
    feeds: dict[UUID, tuple[UUID, ...]] = {}
    for row in session.execute(_READ):
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
