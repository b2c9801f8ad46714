"""What the histories of chats hold that our hooks did not bring, and whether a message of ours is there (amocrm.md 2.7)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from widget_backend.bridge.ends import Conversation, PullRequest, Raw
from widget_backend.bridge.errors import Rejected
from widget_backend.crms.amocrm import format as words
from widget_backend.crms.amocrm.client_chats import Chats
from widget_backend.reading import Malformed, Reader

PAGE = 50
PAGES = 4


def chat_of(chats: Chats, conversation: Conversation, state: Mapping[str, str]) -> str:
    """Return the chat of a conversation; one that is known is found by our id, and none is shown that holds no message. Source: amocrm.md 2.5."""
    if state.get("chat"):
        return state["chat"]
    assert conversation.link is not None
    made = chats.create(conversation.link.remote_id, words.client(conversation), "")
    return made["id"].text()


Find = Callable[[Chats, Conversation], Mapping[str, str]]
"""Tells the contact and deal of a conversation as far as we do not know them."""


def missed(chats: Chats, conversation: Conversation, request: PullRequest, find_card: Find) -> list[Raw]:
    """Return what managers wrote in one conversation since then, as hooks would have told it, and its chat and card if we did not know them."""
    link = conversation.link
    assert link is not None
    chat_id = chat_of(chats, conversation, link.state)
    raws, told = [], {"id": chat_id, "client_id": link.remote_id}
    if link.state.get("chat") != chat_id:
        raws.append(Raw(event_id=f"c:{chat_id}", body=json.dumps({"chat": told}).encode()))
    if card := find_card(chats, conversation):
        body = json.dumps({"chat": {**told, "session": dict(card)}}).encode()
        raws.append(Raw(event_id=f"p:{chat_id}:{'-'.join(card.values())}"[:200], body=body))
    for found in _since(chats, chat_id, request.since):
        if _is_managers(found, conversation):
            raws.append(_as_hook(chats, found, chat_id, link.remote_id))
    return raws


def find(chats: Chats, conversation: Conversation, msgid: str, since: datetime) -> str:
    """Return what amoCRM calls a message of ours, empty when it is not there."""
    state = conversation.link.state if conversation.link else {}
    chat_id = chat_of(chats, conversation, state)
    for found in _since(chats, chat_id, since):
        if found["message"]["client_id"].remote_id_or("") == msgid:
            return found["message"]["id"].remote_id()
    return ""


def _since(chats: Chats, chat_id: str, since: datetime) -> list[Reader]:
    """Read a history back to a moment."""
    found: list[Reader] = []
    for page in range(PAGES):
        messages = chats.history(chat_id, offset=page * PAGE, limit=PAGE)
        fresh = [one for one in messages if _at(one) >= since]
        found += fresh
        if len(messages) < PAGE or len(fresh) < len(messages):
            break
    return found


def _is_managers(found: Reader, conversation: Conversation) -> bool:
    """Tell a manager's or a bot's message from the client's and from those that we imported: theirs alone have no id of ours."""
    ours = found["message"]["client_id"].remote_id_or("")
    return not ours and found["sender"]["client_id"].remote_id_or("") != words.participant_id(conversation)


def _as_hook(chats: Chats, found: Reader, chat_id: str, thread: str) -> Raw:
    message = found["message"]
    body = {
        "account_id": chats.amojo_id,
        "message": {
            "conversation": {"id": chat_id, "client_id": thread},
            "sender": found["sender"].plain(),
            "receiver": found["receiver"].plain(),
            "timestamp": found["timestamp"].plain(),
            "msec_timestamp": found["msec_timestamp"].plain(),
            "message": message.plain(),
        },
    }
    return Raw(event_id=f"m:{message['id'].remote_id()}", body=json.dumps(body).encode())


def _at(found: Reader) -> datetime:
    milliseconds = found["msec_timestamp"].integer_or(0) or found["timestamp"].integer_or(0) * 1000
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def pulled(chats: Chats, conversation: Conversation, request: PullRequest, find_card: Find) -> list[Raw]:
    """As `missed`; one chat that cannot be read does not cost the others."""
    try:
        return missed(chats, conversation, request, find_card)
    except (Rejected, Malformed):
        return []
