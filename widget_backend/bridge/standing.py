"""Standing: what an end shows of a message now, told from the parts that it took: new ones, edited ones, without the deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from widget_backend.bridge.ends import Act
from widget_backend.bridge.models import Delivery, Part
from widget_backend.bridge.statuses import Status

ARRIVED = frozenset({Status.DELIVERED, Status.SENT, Status.RECEIVED, Status.READ})
OPEN = frozenset({Status.QUEUED, Status.UNCERTAIN})


@dataclass(frozen=True, slots=True)
class Standing:
    """One part as it stands at the end, by the ids it has there."""

    remote_ids: tuple[str, ...]
    content: Mapping[str, object]
    at: datetime | None


@dataclass(frozen=True, slots=True)
class There:
    """What an end has of a message. `status`: of the message's own delivery, empty when none was made; `version`: the newest that arrived whole, or 0."""

    status: str
    version: int
    parts: tuple[Standing, ...]

    @property
    def is_open(self) -> bool:
        """Tell whether nobody knows yet that the message is, or will never be, there."""
        return self.status in OPEN

    @property
    def has_arrived(self) -> bool:
        """Tell whether the whole message is there."""
        return self.status in ARRIVED

    @property
    def told(self) -> frozenset[int]:
        """Return the numbers of the attachments that are told in words, their files not having been there in time."""
        return frozenset(number for part in self.parts for number in told(part.content))


NOTHING = There("", 0, ())


def told(content: Mapping[str, object]) -> Sequence[int]:
    """Return the numbers of the attachments that a part tells in words since their files were not there."""
    numbers = content.get("told", [])
    return [int(number) for number in numbers] if isinstance(numbers, list) else []


def version(part: Part, delivery: Delivery) -> int:
    """Return the version of the message that a part was made of."""
    return int(str(part.content.get("version", delivery.version)))


def read(session: Session, end_id: UUID, message_ids: Sequence[UUID]) -> dict[UUID, There]:
    """Read what an end has of messages."""
    rows = session.execute(
        select(Delivery, Part)
        .outerjoin(Part, (Part.delivery_id == Delivery.id) & (Part.status == "accepted"))
        .where(
            Delivery.end_id == end_id,
            Delivery.message_id.in_(message_ids),
            Delivery.act.in_((Act.NEW.value, Act.EDIT.value)),
        )
        .order_by(Delivery.lane_seq, Delivery.id, Part.generation, Part.number)
    ).all()
    by_message: dict[UUID, list[tuple[Delivery, list[Part]]]] = {}
    for delivery, part in rows:
        mine = by_message.setdefault(delivery.message_id, [])
        if not mine or mine[-1][0] is not delivery:
            mine.append((delivery, []))
        if part is not None:
            mine[-1][1].append(part)
    return {message_id: _there(mine) for message_id, mine in by_message.items()}


def _there(deliveries: Sequence[tuple[Delivery, list[Part]]]) -> There:
    status, newest = "", 0
    found: list[Standing] = []
    # a message that a person sent again stands behind its edits in the lane; what it says was there before them
    for delivery, parts in sorted(deliveries, key=lambda one: one[0].act != Act.NEW.value):
        last = [part for part in parts if part.generation == parts[-1].generation]
        if delivery.act == Act.NEW.value:
            status = delivery.status
        if delivery.status in ARRIVED and last:
            newest = max(newest, min(version(part, delivery) for part in last))
        for part in last:
            _apply(found, part)
    return There(status, newest, tuple(found))


def _apply(found: list[Standing], part: Part) -> None:
    targets = part.content.get("targets", [])
    ids = tuple(str(id) for id in (targets if isinstance(targets, list) and targets else part.remote_ids))
    place = next((number for number, one in enumerate(found) if one.remote_ids == ids), None)
    if part.content.get("act") == Act.DELETE.value:
        if place is not None:
            del found[place]
    elif place is not None:
        found[place] = Standing(ids, part.content, found[place].at)
    elif ids:
        found.append(Standing(ids, part.content, part.attempted_at))
