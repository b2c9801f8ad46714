"""Errands: what is fetched from an end beside the road, right after record: files, whose links may live minutes, clients' profiles,
and the whole of messages of which a hook brought a part.

A lane waits a while for them (deliver), so that trouble here costs time and never a message. A file that comes later is had at the link
that the message went with (files), which is why it is asked for again and again for a quarter of an hour.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import structlog
from sqlalchemy import delete, func, select, text, update

from widget_backend import clock, files, outside
from widget_backend.bridge import content, keep, life, registry, runtime
from widget_backend.bridge.ends import Client, PullRequest
from widget_backend.bridge.errors import AccessLost, EndError, Misconfigured, MostikError, Rejected, Unsafe
from widget_backend.bridge.events import Attachment, Kind
from widget_backend.bridge.models import AttachmentRecord, ClientRecord, EndRecord, Errand, Lane, MessageKey
from widget_backend.bridge.tenancy import transaction
from widget_backend.limits import LimitWait

log = structlog.get_logger()

TRIES = 10
LONGEST_WAIT_S = 300
NOT_NOW = frozenset({408, 425, 429})
"""Answers of a file's server that are no refusal (RFC 9110, 8470, 6585)."""
FETCH_DEADLINE = timedelta(minutes=5)
LEASE_S = 30
"""Renewed by the process that holds it, so that the file of a worker that died is fetched again while its message still waits."""
PER_END = 4

_TAKE = text("""
    with due as (
        select e.subject_id, row_number() over (partition by e.end_id order by e.not_before) as place
        from errands e where e.not_before <= now() and e.end_id <> all(:full_ends)
    ),
    picked as (
        select e.subject_id from errands e join due d on d.subject_id = e.subject_id
        where d.place <= :per_end and e.not_before <= now() limit :limit for update of e skip locked
    )
    update errands e set lease = :token, tries = e.tries + 1, not_before = now() + make_interval(secs => :lease_s)
    from picked p where e.subject_id = p.subject_id
    returning e.subject_id, e.kind, e.account_id, e.end_id, e.conversation_id, e.tries
""")


@dataclass(frozen=True, slots=True)
class Task:
    """One leased errand. `tries`: how often it was begun, this time too; nobody else counts a try whose worker died."""

    subject_id: UUID
    kind: str
    account_id: UUID
    end_id: UUID
    conversation_id: UUID
    tries: int
    token: UUID


def take(limit: int, full_ends: Collection[UUID] = (), *, per_end: int = PER_END) -> list[Task]:
    """Lease due errands, few per end."""
    token = uuid4()
    with transaction(None) as session:
        rows = session.execute(
            _TAKE,
            {"token": token, "limit": limit, "per_end": per_end, "lease_s": LEASE_S, "full_ends": list(full_ends)},
        ).all()
    return [
        Task(row.subject_id, row.kind, row.account_id, row.end_id, row.conversation_id, row.tries, token)
        for row in rows
    ]


def renew(tokens: Collection[UUID]) -> None:
    """Keep what is being fetched."""
    until = func.now() + timedelta(seconds=LEASE_S)
    with transaction(None) as session:
        session.execute(update(Errand).where(Errand.lease.in_(list(tokens))).values(not_before=until))


def give_back(tokens: Collection[UUID]) -> None:
    """Let others begin anew what was leased here and will not be finished."""
    free = {"lease": None, "not_before": func.now(), "tries": Errand.tries - 1}
    with transaction(None) as session:
        session.execute(update(Errand).where(Errand.lease.in_(list(tokens))).values(free))


def run(task: Task) -> None:
    """Do an errand; on trouble try again a few times, then note why it failed and let the message go without.

    Raises: what nobody expected; then, as when a worker dies, the lease runs out and it is begun again, but not for ever.
    """
    if task.tries > TRIES:
        log.warning("errand_given_up", end=str(task.end_id), kind=task.kind, tries=task.tries)
        _give_up(task, "fetch_our_fault")
        return
    try:
        {"file": _fetch, "profile": _profile, "whole": _whole}[task.kind](task)
    except (EndError, Unsafe, outside.OutsideError, LimitWait, files.FileTooLarge) as error:
        _failed(task, error)
    else:
        _done(task)


def _fetch(task: Task) -> None:
    with transaction(task.account_id) as session:
        row = session.get(AttachmentRecord, task.subject_id)
        if row is None or row.state != "wait":
            return
        url, handle = content.source_of(row)
        end = life.snapshot_in(session, task.end_id)
    headers: dict[str, str] = {}
    if not url:
        place, extra = registry.adapter(end).locate(Attachment(kind=Kind.DOCUMENT, handle=handle, name=row.name))
        url, headers = place, dict(extra)
    limit = runtime.get().config.outside_max_file_bytes
    with files.store().incoming(task.account_id, max_bytes=limit, name=row.name) as incoming:
        outside.fetch(url, incoming, max_bytes=limit, deadline=FETCH_DEADLINE, headers=headers)
    stored = incoming.stored
    with transaction(task.account_id) as session:
        session.execute(
            update(AttachmentRecord)
            .where(AttachmentRecord.id == task.subject_id)
            .values(
                state="stored",
                file_ref=stored.sha256,
                mime=stored.content_type,
                size_bytes=stored.bytes_count,
                name=files.safe_name(row.name or url.split("?")[0].rsplit("/", 1)[-1]),
            )
        )


def _profile(task: Task) -> None:
    with transaction(task.account_id) as session:
        client = session.get(ClientRecord, task.subject_id)
        end = life.snapshot_in(session, task.end_id)
    if client is None:
        return
    known = content.person_of(client.remote_id, client.name, client.profile)
    found = registry.adapter(end).profile(Client(id=str(client.id), person=known))
    with transaction(task.account_id) as session:
        row = session.scalars(select(ClientRecord).where(ClientRecord.id == client.id).with_for_update()).one()
        row.name = found.name or row.name
        row.profile = {**row.profile, **content.profile_of(found)}
        row.profile_at = clock.now()


def _whole(task: Task) -> None:
    """Ask for a message of which the hook brought a part; what comes is kept like any hook and makes an edit."""
    with transaction(task.account_id) as session:
        names = session.scalars(
            select(MessageKey.remote_id).where(
                MessageKey.end_id == task.end_id, MessageKey.message_id == task.subject_id
            )
        ).all()
        end = life.snapshot_in(session, task.end_id)
    request = PullRequest(since=clock.now(), cursor={"message_ids": list(names)})
    pulled = registry.adapter(end).pull(request)
    keep.keep_pulled(keep.Door(task.end_id, task.account_id), pulled.raws, clock.now())


def _done(task: Task) -> None:
    with transaction(None) as session:
        session.execute(delete(Errand).where(Errand.subject_id == task.subject_id, Errand.lease == task.token))
    _let_go(task)


def _failed(task: Task, error: MostikError) -> None:
    told = str(getattr(error, "reason", type(error).__name__))
    log.warning("errand_trouble", end=str(task.end_id), kind=task.kind, reason=told, tries=task.tries)
    reason = _final(error)
    if reason or task.tries >= TRIES:
        _give_up(task, reason or "fetch_unreachable")
        return
    asked = getattr(error, "after", None) or timedelta(0)
    wait = max(asked, timedelta(seconds=min(2**task.tries, LONGEST_WAIT_S)))
    with transaction(None) as session:
        session.execute(
            update(Errand)
            .where(Errand.subject_id == task.subject_id, Errand.lease == task.token)
            .values(lease=None, not_before=func.now() + wait)
        )


def _final(error: MostikError) -> str:
    """Return the reason of a failure that another try will not mend; empty when it may."""
    match error:
        case Unsafe():
            return "fetch_unsafe"
        case files.FileTooLarge() | outside.MaybeSent(reason="too_large"):
            return "fetch_too_large"
        case outside.BadStatus(status=404 | 410):
            return "fetch_gone"
        case outside.BadStatus(status=status) if 400 <= status < 500 and status not in NOT_NOW:
            return "fetch_refused"
        case Rejected(reason=reason):
            return reason  # the adapter knows it best
        case AccessLost() | Misconfigured():
            return "fetch_refused"
    return ""


def _give_up(task: Task, reason: str) -> None:
    if task.kind == "file":
        with transaction(task.account_id) as session:
            session.execute(
                update(AttachmentRecord)
                .where(AttachmentRecord.id == task.subject_id, AttachmentRecord.state == "wait")
                .values(state="failed", reason=reason)
            )
    _done(task)


def _let_go(task: Task) -> None:
    """Let lanes of the conversation look at once, instead of at their next poll."""
    waits = (
        Lane.conversation_id == task.conversation_id,
        Lane.settled_seq < Lane.last_seq,
        Lane.not_before > func.now(),
        Lane.not_before < func.now() + timedelta(seconds=2),
    )
    with transaction(None) as session:
        # lanes of several ends: whoever holds one of them may want another
        free = session.scalars(select(Lane.end_id).where(*waits).with_for_update(skip_locked=True)).all()
        here = (Lane.conversation_id == task.conversation_id, Lane.end_id.in_(free))
        session.execute(update(Lane).where(*here).values(not_before=func.now()))


def count_waiting(account_id: UUID) -> int:
    """Count the errands of an account that are not done."""
    with transaction(account_id) as session:
        ends = select(EndRecord.id)
        return int(session.scalar(select(func.count()).where(Errand.end_id.in_(ends))) or 0)
