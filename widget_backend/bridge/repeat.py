"""Repeat: a person sends again what failed, expired or stayed uncertain. Never done by the bridge itself."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from widget_backend.accounts.models import AuditEntry
from widget_backend.bridge import plan, route, routes, statuses, wake
from widget_backend.bridge.ends import Act, Side
from widget_backend.bridge.errors import MostikError
from widget_backend.bridge.models import ConversationRecord, Delivery, Message, Part, RepeatRecord
from widget_backend.bridge.route import Matter
from widget_backend.bridge.routes import Stop
from widget_backend.bridge.settle import lock
from widget_backend.bridge.statuses import Status
from widget_backend.bridge.tenancy import transaction

REPEATABLE = frozenset({Status.FAILED, Status.UNCERTAIN, Status.EXPIRED})
ACTS = frozenset({Act.NEW, Act.EDIT, Act.DELETE})


class CannotRepeat(MostikError):
    """A delivery that may not be repeated now. `reason`: key_reused, not_repeatable, end_off."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def is_repeatable(act: str, status: str) -> bool:
    """Tell whether a person may ask for a delivery again."""
    return act in ACTS and status in REPEATABLE


def repeat(account_id: UUID, delivery_id: UUID, *, key: str, actor: str) -> bool:
    """Put a delivery at the end of its lane again, with new keys for its parts; the same key again does nothing and says False.

    Raises: KeyError: this account has no such delivery; CannotRepeat.
    """
    with transaction(account_id) as session:
        known = session.get(Delivery, delivery_id)
        if known is None or known.account_id != account_id:
            raise KeyError(delivery_id)
        lock(session, [known.conversation_id])
        delivery = session.get_one(Delivery, delivery_id, populate_existing=True)
        if not _is_new(session, delivery, key, actor):
            return False
        stop = routes.read(session).working(delivery.end_id)
        if stop is None:
            raise CannotRepeat("end_off")
        _queue(session, stop, delivery, actor)
    wake.poke()
    return True


def _is_new(session: Session, delivery: Delivery, key: str, actor: str) -> bool:
    """Take the key, or tell that it was this very repeat's."""
    values = {"account_id": delivery.account_id, "key": key, "delivery_id": delivery.id, "actor": actor}
    made = session.scalars(
        insert(RepeatRecord).values(values).on_conflict_do_nothing().returning(RepeatRecord.delivery_id)
    ).first()
    if made is not None:
        return True
    earlier = session.get_one(RepeatRecord, (delivery.account_id, key))
    if earlier.delivery_id != delivery.id:
        raise CannotRepeat("key_reused")
    return False


def _queue(session: Session, stop: Stop, delivery: Delivery, actor: str) -> None:
    before = Status(delivery.status)
    table = statuses.TO_NETWORK if stop.side is Side.NETWORK else statuses.TO_CRM
    if not is_repeatable(delivery.act, before) or not statuses.may_move(table, before, Status.QUEUED):
        raise CannotRepeat("not_repeatable")
    message = session.get_one(Message, delivery.message_id)
    if delivery.act == Act.NEW and stop.side is Side.NETWORK and message.deleted_at is not None:
        raise CannotRepeat("not_repeatable")  # nobody sends a client what was taken back
    earlier = session.scalars(select(Part).where(Part.delivery_id == delivery.id).order_by(Part.number)).all()
    plan.again(session, delivery, earlier)
    conversation = session.get_one(ConversationRecord, delivery.conversation_id)
    matter = Matter(
        account_id=delivery.account_id,
        channel_id=conversation.channel_id,
        conversation_id=conversation.id,
        message_id=message.id,
        origin_id=message.origin_end_id,
        act=Act(delivery.act),
        direction=message.direction,
        place=conversation.place,
    )
    place = (stop.id, conversation.id)
    delivery.lane_seq = route.lengthen(session, [(place, [matter])])[place]
    delivery.status, delivery.reason, delivery.detail, delivery.trigger = Status.QUEUED.value, "", "", "manual"
    delivery.tries, delivery.lost_leases = 0, 0
    delivery.first_tried_at, delivery.settled_at = None, None
    delivery.expires_at = route.expires_at(stop, matter.act)
    session.add(
        AuditEntry(
            account_id=delivery.account_id,
            actor=actor,
            action="delivery.repeat",
            subject=str(delivery.id),
            details={"message": str(message.id), "end": str(stop.id), "was": before.value},
        )
    )
