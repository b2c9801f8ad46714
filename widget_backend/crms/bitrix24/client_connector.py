"""The blocks of imconnector calls: what one of our parts looks like to a portal (bitrix24.md 3.3, 3.4). No call is made here."""

from __future__ import annotations

import mimetypes
from typing import Any, TypeAlias
from uuid import UUID

from widget_backend import clock
from widget_backend.bridge.ends import Conversation, End, Item, OutFile
from widget_backend.bridge.errors import Rejected
from widget_backend.bridge.events import Direction, Place
from widget_backend.crms.bitrix24.format import (
    MarkKind,
    author_for_chat,
    person_name,
    quote_for_chat,
    to_chat,
    write_mark,
)

Entry: TypeAlias = dict[str, dict[str, Any]]
_CHAT_NAME_LIMIT = 200


def message(item: Item, end: End, kind: MarkKind) -> Entry:
    """Compose a part: the client's own words, or what the company's side wrote elsewhere, shown as said by an employee.

    Shape: the latter carries `message.user_id` and ends with our invisible mark, because it comes back as an event.
    Source: bitrix24.md 3.3, 4 ("Loop hazard").
    """
    said = to_chat(item.text)
    if item.quote and (item.quote.text or item.quote.author):
        said = quote_for_chat(item.quote.text, item.quote.author) + said
    block: dict[str, Any] = {"id": item.key, "date": int(item.sent_at.timestamp())}
    if item.direction is Direction.OUT:
        said = author_for_chat(item.author) + said
        block["user_id"] = _speaker(end)
        said += write_mark(kind, item.key, clock.now())
    if said:
        block["text"] = said
    if files := [_file(file) for file in item.files if file.url]:
        block["files"] = files
    if not end.settings.get("client_cards", True) or item.conversation.place is Place.GROUP:
        block["disable_crm"] = "Y"
    return {"user": _user(item.conversation), "message": block, "chat": _chat(item.conversation)}


def note(item: Item, end: End) -> Entry:
    """Compose our own word to the operator: why his message did not arrive. It comes back too and must go no further.

    Source: bitrix24.md 3.4 (there is no documented "undelivered").
    """
    said = f"\u26a0 {to_chat(item.reason_text)}{write_mark(MarkKind.NOTE, item.key, clock.now())}"
    block = {
        "id": item.key,
        "date": int(clock.now().timestamp()),
        "text": said,
        "user_id": _speaker(end),
        "disable_crm": "Y",
    }
    return {"user": _user(item.conversation), "message": block, "chat": _chat(item.conversation)}


def reference(item: Item, known_id: str) -> Entry:
    """Name a message that we showed. Source: bitrix24.md 3.3 (delete.messages)."""
    conversation = item.conversation
    return {
        "user": {"id": conversation.client.id},
        "message": {"id": known_id},
        "chat": {"id": chat_id(conversation)},
    }


def was_shown(item: Item) -> bool:
    """Tell whether the portal has a message from us, under our own key: of such a one there is nothing to mark. Source: bitrix24.md 3.3, 3.4."""
    try:
        return bool(item.remote_ids) and bool(UUID(item.remote_ids[0]))
    except ValueError:
        return False


def delivered(item: Item) -> Entry:
    """Say that an operator's message arrived; the id that we give it is the one we know it by.

    Raises: Rejected: the message is not one of the portal's.
    Source: bitrix24.md 3.4 (`message.id` is an array, `im.*` come from the event).
    """
    known = item.remote_ids[0] if item.remote_ids else ""
    im_chat, colon, im_message = known.partition(":")
    if not (colon and im_chat.isdecimal() and im_message.isdecimal()):
        raise Rejected("unknown_message")
    return {
        "im": {"chat_id": int(im_chat), "message_id": int(im_message)},
        "message": {"id": [known], "date": int(item.sent_at.timestamp())},
        "chat": {"id": chat_id(item.conversation)},
    }


def chat_id(conversation: Conversation) -> str:
    """Return the id by which both sides know the conversation. Source: bitrix24.md 4 (an event carries `chat.id` only)."""
    return conversation.link.remote_id if conversation.link else conversation.id


def _user(conversation: Conversation) -> dict[str, Any]:
    person = conversation.client.person
    first, last = person_name(person.name)
    facts = {
        "name": first,
        "last_name": last,
        "picture": {"url": person.photo_url} if person.photo_url else "",
        "url": person.profile_url,
        "phone": person.phone,
        "email": person.email,
    }
    return {"id": conversation.client.id, **{name: value for name, value in facts.items() if value}}


def chat_name(conversation: Conversation) -> str:
    """Name the chat: who writes, with what user.name may not hold (digits, emoji, a user name), and the channel it came by. Source: bitrix24.md 3.3."""
    person = conversation.client.person
    who = conversation.title or person.name or person.username or person.phone
    return " · ".join(part for part in (who, conversation.channel_title) if part)[:_CHAT_NAME_LIMIT]


def _chat(conversation: Conversation) -> dict[str, Any]:
    name = chat_name(conversation)
    return {"id": chat_id(conversation), **({"name": name} if name else {})}


def _file(file: OutFile) -> dict[str, str]:
    attachment = file.attachment
    if attachment.name:
        return {"url": file.url, "name": attachment.name}
    extension = mimetypes.guess_extension(attachment.mime.partition(";")[0]) or ""
    return {"url": file.url, "name": f"{attachment.kind.value}{extension}"}


def _speaker(end: End) -> int:
    """Return the employee in whose name we show what was written elsewhere: the chosen one, else who installed the app."""
    chosen = str(end.settings.get("outgoing_user") or end.settings.get("user_id") or "0")
    return int(chosen) if chosen.isdecimal() else 0
