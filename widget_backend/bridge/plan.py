"""Plan: the parts of a delivery, made once when its turn comes, and the same over every automatic repeat."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from widget_backend import ids, texts
from widget_backend.bridge import gate, items, represent
from widget_backend.bridge.ends import Act, Side
from widget_backend.bridge.items import Head
from widget_backend.bridge.models import Delivery, Part
from widget_backend.bridge.represent import PartContent
from widget_backend.bridge.routes import Stop
from widget_backend.bridge.statuses import Status

LOCALE = "ru"


def parts(session: Session, stop: Stop, head: Head, now: datetime) -> list[Part]:
    """Make and store the parts of a delivery; none when there is nothing to do at this end."""
    match Act(head.delivery.act):
        case Act.NEW:
            contents = [_new(content) for content in _contents(stop, head)]
        case Act.EDIT:
            contents = _edit(stop, head, now)
        case Act.DELETE:
            contents = _delete(stop, head, now)
        case Act.STATUS | Act.READ:
            contents = [{"act": head.delivery.act}]
    return _store(session, head, contents)


def nothing_to_do(delivery: Delivery) -> tuple[Status, str]:
    """Say what a delivery without parts becomes."""
    return Status.DISCARDED, f"cannot_{delivery.act}" if delivery.act in (Act.EDIT, Act.DELETE) else "empty"


def again(session: Session, delivery: Delivery, earlier: Sequence[Part]) -> None:
    """Make the parts anew, with new keys, for a repeat that a person asked for; what was accepted stays accepted."""
    generation = max((part.generation for part in earlier), default=0) + 1
    for part in earlier:
        if part.generation == generation - 1:
            session.add(
                Part(
                    id=ids.new_id(),
                    account_id=delivery.account_id,
                    delivery_id=delivery.id,
                    end_id=delivery.end_id,
                    number=part.number,
                    generation=generation,
                    status="accepted" if part.status == "accepted" else "queued",
                    attempted_at=part.attempted_at if part.status == "accepted" else None,
                    remote_ids=part.remote_ids,
                    content=part.content,
                )
            )


def _contents(stop: Stop, head: Head) -> list[PartContent]:
    quote = head.message.content.get("quote")
    has_quote = isinstance(quote, dict)
    in_words = has_quote and not (stop.capabilities.can_quote and head.quote_remote_id)
    forwards = head.message.content.get("forwards", [])
    text = _with_forwards(head.message.text, forwards if isinstance(forwards, list) else [])
    payload = head.message.content.get("payload")
    if payload and not text and not head.message.content.get("attachments"):
        text = texts.text("represent.pressed", LOCALE, payload=payload)  # a button that writes nothing is shown too
    return represent.parts(
        text,
        items.things(head, LOCALE),
        stop.capabilities,
        locale=LOCALE,
        quote_text=str(quote.get("text", "")) if in_words and isinstance(quote, dict) else "",
        quote_author=str(quote.get("author", "")) if in_words and isinstance(quote, dict) else "",
    )


def _with_forwards(text: str, forwards: Sequence[dict[str, str]]) -> str:
    lines = [text] if text else []
    for forward in forwards:
        head = texts.text("represent.forwarded", LOCALE, author=forward.get("author") or "…")
        lines.append(f"{head}\n{forward.get('text', '')}".rstrip())
    return "\n".join(lines)


def _new(content: PartContent) -> dict[str, object]:
    things = [[number, kind.value] for number, kind in content.things]
    return {"act": Act.NEW.value, "text": content.text, **({"things": things} if things else {})}


def _edit(stop: Stop, head: Head, now: datetime) -> list[dict[str, object]]:
    """Edit part by part where the end can; else say the new text in words. A part too many is deleted, one too few is sent."""
    if not head.earlier:
        return []
    facts = stop.capabilities
    contents = _contents(stop, head)
    sent_at = head.earlier[0].attempted_at
    if not facts.can_edit or not gate.may_change(sent_at, facts.edit_window, now):
        words = texts.text("represent.edited", LOCALE, text=head.message.text)
        return [_new(content) for content in represent.parts(words, [], facts, locale=LOCALE)]
    made: list[dict[str, object]] = []
    for number, content in enumerate(contents):
        if number < len(head.earlier):
            targets = head.earlier[number].remote_ids
            made.append({**_new(content), "act": Act.EDIT.value, "targets": targets})
        else:
            made.append(_new(content))
    if facts.can_delete:
        made += [{"act": Act.DELETE.value, "targets": part.remote_ids} for part in head.earlier[len(contents) :]]
    return made


def _delete(stop: Stop, head: Head, now: datetime) -> list[dict[str, object]]:
    if not head.earlier:
        return []
    facts = stop.capabilities
    if facts.can_delete and gate.may_change(head.earlier[0].attempted_at, facts.delete_window, now):
        return [{"act": Act.DELETE.value, "targets": part.remote_ids} for part in head.earlier]
    if stop.side is Side.NETWORK:
        return []  # a notice of a deletion would tell the client more than the message that stays
    return [{"act": Act.NEW.value, "text": texts.text("represent.deleted", LOCALE)}]


def _store(session: Session, head: Head, contents: Sequence[dict[str, object]]) -> list[Part]:
    made = [
        Part(
            id=ids.new_id(),
            account_id=head.delivery.account_id,
            delivery_id=head.delivery.id,
            end_id=head.delivery.end_id,
            number=number,
            generation=1,
            status="queued",
            attempts=0,
            remote_ids=[],
            content={**content, "of": len(contents)},
        )
        for number, content in enumerate(contents, start=1)
    ]
    session.add_all(made)  # flushed together with those of the other lanes, before the attempts
    return made
