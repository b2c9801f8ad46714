"""What the panel is told, as plain values in the viewer's language: recipients, conversations, messages, quick replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from widget_backend import files, texts
from widget_backend.bridge import cards, composer, dialogs, quick_replies, recipients, registry, repeat, uploads
from widget_backend.bridge.corrections import Ways
from widget_backend.bridge.dialogs import Dialog, Talk
from widget_backend.bridge.ends import Card, Side
from widget_backend.bridge.events import Direction, Kind
from widget_backend.bridge.journal import Line
from widget_backend.bridge.models import AttachmentRecord, Delivery, Message, QuickReply
from widget_backend.bridge.recipients import Recipient, Way
from widget_backend.bridge.routes import Stop
from widget_backend.pages import panel_card, words
from widget_backend.pages.panel_door import Seat

PREVIEW = 160
EMAIL = "email"
Json = dict[str, Any]


def recipient_key(recipient: Recipient) -> str:
    """Name an address of a card for the panel's form."""
    person, address = recipient.person, recipient.address
    return f"{person.kind}:{person.remote_id}:{address.kind}:{address.value}"


def card(seat: Seat, read: Card, found: Sequence[Recipient]) -> Json:
    """Say who can be written to from a card, those who can be first; e-mails that no channel reaches are left out."""
    shown = [_recipient(seat, one) for one in found if one.ways or one.address.kind != EMAIL]
    return {"title": read.title, "recipients": sorted(shown, key=lambda one: not one["can"])}


def _recipient(seat: Seat, one: Recipient) -> Json:
    ways = [_way(seat, way) for way in one.ways]
    can = any(way["can"] for way in ways)
    only = ways[0]["why"] if len(ways) == 1 else seat.words("no_way")
    return {
        "key": recipient_key(one),
        "person": one.person.name,
        "value": one.address.value,
        "label": one.address.label,
        "can": can,
        "why": "" if can else only if ways else seat.words("no_channel"),
        "channels": ways,
    }


def _way(seat: Seat, way: Way) -> Json:
    return {
        "id": str(way.channel.id),
        "title": way.channel.title or network(way.channel),
        "network": network(way.channel),
        "can": not way.reason,
        "why": texts.reason(way.reason, way.channel.adapter, seat.locale) if way.reason else "",
        "window_s": way.left_s,
        "is_known": way.is_known,
    }


def network(stop: Stop) -> str:
    """Name a channel's network."""
    return registry.manifest(stop.adapter).title


# -- conversations -----------------------------------------------------------------------------------------------------


def conversation(seat: Seat, dialog: Dialog, read: Card) -> Json:
    """Say how a conversation stands, for the list. Whom the network has not named yet has his name in the card."""
    last, place = dialog.last, dialog.conversation.place
    named = {cards.key(one.kind, one.remote_id): one.name for one in read.people if one.name}
    return {
        "id": str(dialog.conversation.id),
        "client": dialog.conversation.title or dialog.client.name or named.get(dialog.contact, dialog.client.remote_id),
        "network": network(dialog.channel),
        "channel": dialog.channel.title,
        "place": seat.words(f"place_{place}") if place != "direct" else "",
        "unanswered": dialog.is_unanswered,
        "last": _last(seat, last, dialog) if last is not None else None,
    }


def _last(seat: Seat, message: Message, dialog: Dialog) -> Json:
    is_ours = message.direction == Direction.OUT.value
    return {
        "text": _preview(seat, message),
        "at": message.sent_at.isoformat(),
        "is_ours": is_ours,
        **_standing(seat, dialog.sending if is_ours else None, dialog.channel),
    }


def talk(seat: Seat, found: Talk) -> Json:
    """Say what was said in a conversation, oldest first, and whether one can answer."""
    attached = panel_card.attachments(seat, [line.message.id for line in found.lines])
    newest = found.lines[0] if found.lines else None
    refused = composer.refusal(found.channel, newest.client, newest.conversation) if newest else ""
    return {
        "items": [_line(seat, found, line, attached) for line in reversed(found.lines)],
        "earlier": str(found.next) if found.next is not None else "",
        "can_write": not refused,
        "why": texts.reason(refused, found.channel.adapter, seat.locale) if refused else "",
    }


def _line(seat: Seat, found: Talk, line: Line, attached: Mapping[UUID, list[AttachmentRecord]]) -> Json:
    message = line.message
    is_ours = message.direction == Direction.OUT.value
    ways = found.ways.get(message.id)
    is_gone = message.deleted_at is not None and (ways is None or ways.last is None)  # how it once arrived is no news
    return {
        "id": str(message.id),
        "is_ours": is_ours,
        "author": message.author,
        "text": message.text,
        "quote": _quote(message),
        "at": message.sent_at.isoformat(),
        "is_edited": message.edited_at is not None,
        "is_deleted": message.deleted_at is not None,
        "files": [_file(seat, row) for row in attached.get(message.id, [])],
        **_standing(seat, found.telling(line) if is_ours and not is_gone else None, found.channel),
        **_ways(seat, ways, found.channel),
    }


def _ways(seat: Seat, ways: Ways | None, channel: Stop) -> Json:
    """Say whether a message can be changed and taken back at the client's, and why not; of what was taken back, nothing."""
    if ways is None or ways.delete == "deleted_already":
        return {"can_edit": False, "can_delete": False, "why_not": []}
    slugs = dict.fromkeys(slug for slug in (ways.edit, ways.delete) if slug)
    why_not = [texts.reason(slug, channel.adapter, seat.locale) for slug in slugs]
    return {"can_edit": not ways.edit, "can_delete": not ways.delete, "why_not": why_not}


def _standing(seat: Seat, delivery: Delivery | None, channel: Stop) -> Json:
    """Say what became of a message of ours: its status, why it is in trouble, and the delivery that may be sent again."""
    if delivery is None or delivery.end_id != channel.id:
        return {"status": "", "tone": "", "why": "", "repeat": ""}
    can_repeat = repeat.is_repeatable(delivery.act, delivery.status)
    return {
        "status": words.status_of(delivery.status, Side.NETWORK.value),
        "tone": words.tone(delivery.status),
        "why": texts.reason(delivery.reason, channel.adapter, seat.locale) if delivery.reason else "",
        "repeat": str(delivery.id) if can_repeat else "",
    }


def _preview(seat: Seat, message: Message) -> str:
    if message.deleted_at is not None:
        return seat.words("deleted")
    kinds = [str(one.get("kind", "")) for one in _attachments(message)]
    return message.text[:PREVIEW] or ", ".join(words.attachment(kind) for kind in kinds)


def _attachments(message: Message) -> list[Json]:
    stored = message.content.get("attachments")
    return [one for one in stored if isinstance(one, dict)] if isinstance(stored, list) else []


def _quote(message: Message) -> str:
    quote = message.content.get("quote")
    return str(quote.get("text", ""))[:PREVIEW] if isinstance(quote, dict) else ""


def _file(seat: Seat, row: AttachmentRecord) -> Json:
    is_here = row.state == "stored" and bool(row.file_ref)
    return {
        "name": row.name,
        "kind": words.attachment(Kind.DOCUMENT.value),
        "size": row.size_bytes,
        "is_picture": row.mime.startswith("image/"),
        "url": files.store().link(seat.account, row.file_ref, row.name) if is_here else "",
    }


# -- quick replies -----------------------------------------------------------------------------------------------------


def reply(seat: Seat, row: QuickReply, read: Card) -> Json:
    """Say a quick reply as it would be sent from this card."""
    rendered = quick_replies.render(row, read)
    return {
        "id": str(row.id),
        "title": row.title,
        "text": rendered.text,
        "files": [upload(seat, one) for one in rendered.files],
    }


def upload(seat: Seat, one: uploads.Upload) -> Json:
    """Name a file that may be sent."""
    return {"id": uploads.ticket(seat.account, one), "name": one.name, "size": one.size_bytes}


def begun(seat: Seat, read: Card, conversation_id: UUID) -> Json:
    """Say which conversation a dialog was begun in, as the list would."""
    known = next((one for one in listed(seat, read) if one.conversation.id == conversation_id), None)
    return conversation(seat, known, read) if known else {"id": str(conversation_id)}


def listed(seat: Seat, read: Card) -> list[Dialog]:
    """Return the conversations of a card, the latest first."""
    return dialogs.for_card(seat.account, seat.connection, read).items


def options(seat: Seat, read: Card) -> list[Recipient]:
    """Return the addresses of a card with the channels that feed this CRM."""
    return recipients.options(seat.account, read, connection_id=seat.connection)
