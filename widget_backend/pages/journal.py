"""The message journal, one message, and sending it again."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from flask import redirect, request, url_for
from werkzeug.wrappers import Response as Redirect

from widget_backend import clock, files, ids
from widget_backend.accounts import access
from widget_backend.bridge import journal, repeat, setup
from widget_backend.bridge.ends import Side
from widget_backend.bridge.journal import Cursor, Dossier, Wanted
from widget_backend.bridge.models import AttachmentRecord, Attempt, Part
from widget_backend.bridge.statuses import Status
from widget_backend.pages.shell import blueprint, not_found, page, say
from widget_backend.problems import Conflict, Invalid

DIRECTIONS = ("in", "out")


@blueprint.get("/messages")
@access.requires(access.may_look)
def messages() -> str:
    """Show a page of the journal."""
    account_id = access.who().account_id
    ends = {end.id: end for end in setup.listed(account_id)}
    wanted = _wanted(request.args)
    found = journal.page(account_id, wanted)
    chosen = {name: value for name, value in request.args.items() if value and name != "cursor"}
    return page(
        "messages.html",
        found=found,
        ends=ends,
        channels=[end for end in ends.values() if end.side == Side.NETWORK],
        statuses=[status.value for status in Status],
        chosen=chosen,
        is_first=wanted.cursor is None,
        next_page=url_for("pages.messages", **{**chosen, "cursor": found.next.encode()}) if found.next else "",  # type: ignore[arg-type]
    )


@blueprint.get("/messages/<uuid:message_id>")
@access.requires(access.may_look)
def message(message_id: UUID) -> str:
    """Show one message with everything that became of it."""
    account_id = access.who().account_id
    try:
        dossier = journal.message(account_id, message_id)
    except KeyError:
        not_found()
        raise
    return page(
        "message.html",
        dossier=dossier,
        ends={end.id: end for end in setup.listed(account_id)},
        by_delivery=_parts(dossier),
        links={row.id: link for row in dossier.attachments if (link := _link(account_id, row))},
        answer_until=clock.now() + dossier.time_left if dossier.time_left else None,
        is_repeatable=repeat.is_repeatable,
        form_key=str(ids.new_id()),
    )


@blueprint.post("/deliveries/<uuid:delivery_id>/repeat")
@access.requires(access.may_repeat)
def repeat_delivery(delivery_id: UUID) -> Redirect:
    """Send a message again; the form's key makes a second click the same repeat."""
    who = access.who()
    key = request.form.get("key", "")
    if not 8 <= len(key) <= 200:
        raise Invalid("key_missing")
    try:
        delivery = journal.delivery(who.account_id, delivery_id)
        repeat.repeat(who.account_id, delivery_id, key=f"{who.actor}:{key}", actor=who.actor)
    except KeyError:
        not_found()
        raise
    except repeat.CannotRepeat as error:
        raise Conflict(error.reason) from error
    say("message.repeated")
    return redirect(url_for("pages.message", message_id=delivery.message_id), 303)


def _wanted(given: Mapping[str, str]) -> Wanted:
    """Read the filter; what is not understood does not narrow."""
    return Wanted(
        channel_id=_uuid(given.get("channel", "")),
        direction=given.get("direction", "") if given.get("direction") in DIRECTIONS else "",
        status=given.get("status", "") if given.get("status") in set(Status) else "",
        client=given.get("client", "").strip()[:100],
        cursor=_cursor(given.get("cursor", "")),
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _cursor(text: str) -> Cursor | None:
    try:
        return Cursor.decode(text) if text else None
    except ValueError:
        return None


def _parts(dossier: Dossier) -> dict[UUID, list[tuple[Part, list[Attempt]]]]:
    """Group parts, newest generation last, with their attempts, by delivery."""
    found: dict[UUID, list[tuple[Part, list[Attempt]]]] = {}
    for part in dossier.parts:
        attempts = [attempt for attempt in dossier.attempts if attempt.part_id == part.id]
        found.setdefault(part.delivery_id, []).append((part, attempts))
    return found


def _link(account_id: UUID, row: AttachmentRecord) -> str:
    return files.store().link(account_id, row.file_ref, row.name) if row.state == "stored" and row.file_ref else ""
