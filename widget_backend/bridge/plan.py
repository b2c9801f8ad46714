"""Plan: the parts of a delivery, made when its turn comes, and the same over every automatic repeat of what may have arrived."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from widget_backend import ids, texts
from widget_backend.bridge import gate, items, represent, standing
from widget_backend.bridge.ends import Act, Capabilities, Side
from widget_backend.bridge.events import Direction
from widget_backend.bridge.items import Head
from widget_backend.bridge.models import Delivery, Part
from widget_backend.bridge.represent import PartContent
from widget_backend.bridge.routes import Stop
from widget_backend.bridge.statuses import Status

LOCALE = "ru"
SHORT = 200


def parts(session: Session, stop: Stop, head: Head, now: datetime) -> list[Part]:
    """Make and store the parts of a delivery; none when there is nothing to do at this end."""
    return _store(session, head, _wanted(stop, head, now), generation=1)


def is_stale(head: Head) -> bool:
    """Tell whether the parts of a delivery were made of an older version of its message than there is now."""
    if head.delivery.act not in (Act.NEW, Act.EDIT):
        return False
    made_of = min((standing.version(part, head.delivery) for part in head.parts), default=head.message.version)
    return made_of < head.message.version


def anew(session: Session, stop: Stop, head: Head, now: datetime) -> list[Part]:
    """Make the parts of a delivery anew, of the newest version of its message; what the end has taken is kept, or edited where it can."""
    generation = head.parts[0].generation + 1
    if head.delivery.act != Act.NEW:
        return _store(session, head, _wanted(stop, head, now), generation=generation)
    before = [part for part in head.parts if part.content.get("act") != Act.DELETE.value]
    contents = _wanted(stop, head, now)
    made = [_onto(stop.capabilities, part, content) for part, content in zip(before, contents, strict=False)]
    made += contents[len(before) :]
    surplus = [list(ids) for part in before[len(contents) :] if (ids := _ids_there(part))]
    surplus += [_targets(part) for part in head.parts if part not in before and part.status != "accepted"]
    if stop.capabilities.can_delete:
        made += [{"act": Act.DELETE.value, "targets": targets} for targets in surplus]
    parts = _store(session, head, made, generation=generation)
    for part, earlier in zip(parts, before, strict=False):
        if part.content.get("targets"):
            part.remote_ids = _targets(part)
        elif earlier.status == "accepted" and _says_the_same(earlier.content, part.content):
            part.status, part.remote_ids, part.attempted_at = "accepted", earlier.remote_ids, earlier.attempted_at
    return parts


def nothing_to_do(delivery: Delivery) -> tuple[Status, str]:
    """Say what a delivery without parts becomes."""
    return Status.DISCARDED, f"cannot_{delivery.act}" if delivery.act in (Act.EDIT, Act.DELETE) else "empty"


def needless(head: Head) -> str:
    """Say why an edit or a deletion has nothing to do at its end, as things stand there; empty when it has."""
    delivery, message, there = head.delivery, head.message, head.there
    if delivery.act == Act.EDIT and message.deleted_at is not None:
        return "superseded"
    if delivery.act == Act.EDIT and there.version >= delivery.version:
        return "superseded"  # the newer wording went with the message itself, or with a later edit
    if _is_by_hand(head):
        return ""
    if delivery.act == Act.EDIT and not there.has_arrived:
        return "message_not_there"
    return "" if there.parts else "message_not_there"


def again(session: Session, delivery: Delivery, earlier: Sequence[Part]) -> None:
    """Make the parts anew, with new keys, for a repeat that a person asked for; what was accepted stays accepted.

    If the message was edited since, they are made once more of its newest version when their turn comes (`anew`).
    """
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


def _wanted(stop: Stop, head: Head, now: datetime) -> list[dict[str, object]]:
    match Act(head.delivery.act):
        case Act.NEW:
            return _told([_new(content) for content in _contents(stop, head)], items.not_there(head))
        case Act.EDIT:
            return _edit(stop, head, now)
        case Act.DELETE:
            return _delete(stop, head, now)
        case Act.STATUS | Act.READ:
            return [{"act": head.delivery.act}]


def _onto(facts: Capabilities, part: Part, content: dict[str, object]) -> dict[str, object]:
    """Return what makes a part of an earlier plan say something else."""
    ids = _ids_there(part)
    is_new = content["act"] == Act.NEW.value
    if not ids or not is_new or not facts.can_edit or _says_the_same(part.content, content):
        return content
    return {**content, "act": Act.EDIT.value, "targets": ids}


def _says_the_same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return all(one.get(name) == other.get(name) for name in ("act", "text", "things", "targets"))


def _ids_there(part: Part) -> list[str]:
    """Return the ids under which something of a part stands at the end, whatever became of the part itself."""
    return list(part.remote_ids) if part.status == "accepted" else _targets(part)


def _targets(part: Part) -> list[str]:
    targets = part.content.get("targets", [])
    return [str(id) for id in targets] if isinstance(targets, list) else []


def _contents(stop: Stop, head: Head, told: Collection[int] = ()) -> list[PartContent]:
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
        items.things(head, LOCALE, told),
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
    there = head.there.parts
    is_by_hand = _is_by_hand(head)
    if not there and not is_by_hand:
        return []
    facts = stop.capabilities
    contents = _contents(stop, head, head.there.told)
    if is_by_hand or not facts.can_edit or not gate.may_change(there[0].at, facts.edit_window, now):
        words = texts.text("represent.edited", LOCALE, text=head.message.text)
        return [_new(content) for content in represent.parts(words, [], facts, locale=LOCALE)]
    made: list[dict[str, object]] = []
    for number, content in enumerate(contents):
        if number < len(there):
            made.append({**_new(content), "act": Act.EDIT.value, "targets": list(there[number].remote_ids)})
        else:
            made.append(_new(content))
    if facts.can_delete:
        made += [{"act": Act.DELETE.value, "targets": list(part.remote_ids)} for part in there[len(contents) :]]
    return _told(made, {*head.there.told, *items.not_there(head)})


def _told(contents: list[dict[str, object]], numbers: Collection[int]) -> list[dict[str, object]]:
    """Note which attachments are told in words since their files were not there: an edit will leave them so."""
    if contents and numbers:
        contents[0] = {**contents[0], "told": sorted(numbers)}
    return contents


def _is_by_hand(head: Head) -> bool:
    """Tell whether a message was written at this end by a person: nobody but he can change it there, we only say what became of it."""
    return head.message.origin_end_id == head.delivery.end_id and not head.there.status


def _delete(stop: Stop, head: Head, now: datetime) -> list[dict[str, object]]:
    there = head.there.parts
    is_by_hand = _is_by_hand(head)
    if not there and not is_by_hand:
        return []
    facts = stop.capabilities
    if not is_by_hand and facts.can_delete and gate.may_change(there[0].at, facts.delete_window, now):
        return [{"act": Act.DELETE.value, "targets": list(part.remote_ids)} for part in there]
    if stop.side is Side.NETWORK:
        return []  # a notice of a deletion would tell the client more than the message that stays
    if head.message.direction == Direction.IN:
        return [{"act": Act.NEW.value, "text": texts.text("represent.deleted", LOCALE)}]
    words = texts.text("represent.taken_back", LOCALE, text=head.message.text[:SHORT])
    return [_new(content) for content in represent.parts(words, [], facts, locale=LOCALE)]


def _store(session: Session, head: Head, contents: Sequence[dict[str, object]], *, generation: int) -> list[Part]:
    made = [
        Part(
            id=ids.new_id(),
            account_id=head.delivery.account_id,
            delivery_id=head.delivery.id,
            end_id=head.delivery.end_id,
            number=number,
            generation=generation,
            status="queued",
            attempts=0,
            remote_ids=[],
            content={**content, "of": len(contents), "version": head.message.version},
        )
        for number, content in enumerate(contents, start=1)
    ]
    session.add_all(made)  # flushed together with those of the other lanes, before the attempts
    return made
