"""After a restore from backup: what was open then may have left meanwhile, so that nothing open leaves by itself (design.md, "Past one machine").

Between the backup and the restore this server lived on, and nobody knows how far. What is certain:

* a delivery that was open may have been made: it becomes `uncertain`, and only a person repeats it;
* a message to a CRM that can be looked up there, and whose parts (with their keys) are in the backup, is looked up instead;
* numbers given to parts since the backup are known outside as ours: the counter jumps past them;
* an answer written before the restore and found by a pull after it may have been sent: the gate does not let it go by itself (`RESTORED_AT`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import create_engine, func, null, select, text, update
from sqlalchemy.orm import Session

from widget_backend import clock
from widget_backend.accounts.models import Account, AuditEntry
from widget_backend.bridge import routes, runtime
from widget_backend.bridge.ends import Act, Repeat, Side
from widget_backend.bridge.gate import RESTORED_AT
from widget_backend.bridge.models import Attempt, Delivery, EndRecord, Errand, Gate, Lane, Message, Part
from widget_backend.bridge.route import Outbox
from widget_backend.bridge.routes import Stop
from widget_backend.bridge.settle import Settlement, lock
from widget_backend.bridge.statuses import Status
from widget_backend.bridge.tenancy import transaction
from widget_backend.config import Config

log = structlog.get_logger()

REASON = "restored"
COUNTER_JUMP = 1_000_000
"""More parts than any server makes between two backups; the sequence has room for a thousand such jumps."""

_BATCH = 200


def settle_after_restore(config: Config) -> None:
    """Judge everything that was open in the backup, account by account. Nothing else may run meanwhile; may itself be run again.

    Raises: sqlalchemy.exc.SQLAlchemyError; then what was not judged yet is still open, and nothing may be started.
    """
    from widget_backend import (
        create_app,
    )  # the application imports the bridge; here it only gives the bridge its engine

    create_app(config, pool_size=1)
    _jump(config.database_owner_url)
    now = clock.now()
    _free_leases()
    with transaction(None) as session:
        accounts = session.scalars(select(Account.id).order_by(Account.id)).all()
    for account_id in accounts:
        _settle_account(account_id, now)
    runtime.get().engine.dispose()


def _jump(owner_url: str) -> None:
    """Move the numbers of parts past those given since the backup: VK swallows a repeated `random_id` (vk.md 2.2). The owner's right alone."""
    engine = create_engine(owner_url)
    try:
        with engine.begin() as connection:
            jump = text("select setval('part_counter', nextval('part_counter') + :jump)")
            connection.execute(jump, {"jump": COUNTER_JUMP})
    finally:
        engine.dispose()


def _free_leases() -> None:
    """Clear the leases of processes that are long gone; let every end be tried and pulled at once."""
    with transaction(None) as session:
        free = {"lease": null(), "lease_until": func.now()}
        session.execute(update(Lane).where(Lane.lease.is_not(None)).values(free))
        session.execute(update(Errand).values(lease=null(), not_before=func.now()))
        session.execute(
            update(Gate).values(
                failures=0,
                not_before=func.now(),
                inbox_lease=null(),
                inbox_lease_until=func.now(),
                inbox_not_before=func.now(),
                pull_lease=null(),
                pull_lease_until=func.now(),
            )
        )
        session.execute(update(Gate).where(Gate.pull_at.is_not(None)).values(pull_at=func.now()))


def _settle_account(account_id: UUID, now: datetime) -> None:
    with transaction(account_id) as session:
        session.execute(update(Attempt).where(Attempt.outcome == "open").values(outcome="lost", reason=REASON))
        session.execute(update(Part).where(Part.attempt_id.is_not(None)).values(attempt_id=None))
        session.execute(
            update(EndRecord)
            .where(EndRecord.side == Side.NETWORK.value)
            .values(settings=EndRecord.settings.op("||")({RESTORED_AT: now.isoformat()}))
        )
    uncertain = looked_up = 0
    in_turn = (Delivery.conversation_id, Delivery.lane_seq)
    with transaction(account_id) as session:
        # read once: what is queued below are the reports of this
        is_open = Delivery.status == Status.QUEUED.value
        waiting = session.scalars(select(Delivery.id).where(is_open).order_by(*in_turn)).all()
    for start in range(0, len(waiting), _BATCH):
        with transaction(account_id) as session:
            found = _settle(session, waiting[start : start + _BATCH], now)
        uncertain, looked_up = uncertain + found[0], looked_up + found[1]
    with transaction(account_id) as session:
        details = {"uncertain": uncertain, "looked_up": looked_up}
        session.add(AuditEntry(account_id=account_id, actor="server", action="server.restored", details=details))
    log.info("account_restored", account=str(account_id), uncertain=uncertain, looked_up=looked_up)


def _settle(session: Session, ids: Sequence[UUID], now: datetime) -> tuple[int, int]:
    """Judge some open deliveries; count those uncertain now, and those to look up."""
    rows = session.execute(
        select(Delivery, Message)
        .join(Message, Message.id == Delivery.message_id)
        .where(Delivery.id.in_(ids))
        .order_by(Delivery.conversation_id, Delivery.lane_seq)
    ).all()
    deliveries = [row[0] for row in rows]
    lock(session, [delivery.conversation_id for delivery in deliveries])
    map = routes.read(session)
    outbox = Outbox(session, map)
    settlement = Settlement(session, outbox)
    parts = _newest_parts(session, ids)
    looked_up = 0
    for delivery in deliveries:
        waiting = parts.get(delivery.id, [])
        if waiting and delivery.act == Act.NEW.value and _can_look_up(map.stops.get(delivery.end_id)):
            looked_up += 1
            for part in waiting:
                if part.status != "accepted":
                    part.status, part.attempted_at = "uncertain", part.attempted_at or now
        else:
            settlement.move(delivery, Status.UNCERTAIN, REASON)
    settlement.flush()
    outbox.flush()
    return len(deliveries) - looked_up, looked_up


def _newest_parts(session: Session, delivery_ids: Sequence[UUID]) -> dict[UUID, list[Part]]:
    """Return the parts that deliveries are made of now, without those of earlier repeats."""
    found: dict[UUID, list[Part]] = {}
    for part in session.scalars(select(Part).where(Part.delivery_id.in_(delivery_ids)).order_by(Part.generation)):
        earlier = found.setdefault(part.delivery_id, [])
        if earlier and earlier[0].generation < part.generation:
            earlier.clear()
        earlier.append(part)
    return found


def _can_look_up(stop: Stop | None) -> bool:
    # towards a client never by itself: an answer that was lost hours ago may be the wrong one by now
    return stop is not None and stop.side is Side.CRM and stop.capabilities.repeat is Repeat.LOOKUP
