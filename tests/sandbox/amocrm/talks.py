"""What the chats hold: participants, chats, messages, talks (amocrm.md 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
SENT, DELIVERED, READ, FAILED = 0, 1, 2, -1  # delivery_status (2.7); 0 is our word for "none"


@dataclass(slots=True)
class Participant:
    """A client, a manager or a bot in the chats of one channel in one account. `client_id` is the integration's id."""

    id: str
    name: str
    client_id: str = ""
    phone: str = ""
    email: str = ""
    avatar: str = ""
    profile_link: str = ""
    contact_id: int = 0
    is_client: bool = True


@dataclass(slots=True)
class Message:
    """One message. `msgid` is the integration's id."""

    id: str
    chat_id: str
    sender_id: str
    receiver_id: str
    is_incoming: bool
    at: int
    msec: int
    content: Json  # type, text, media, file_name, ...
    msgid: str = ""
    silent: bool = False
    lead_id: int = 0
    status: int = SENT
    error_code: int = 0
    error: str = ""
    is_edited: bool = False
    is_broken: bool = False  # its media could not be fetched
    reply_to: Json = field(default_factory=dict)
    forwards: Json = field(default_factory=dict)
    reactions: dict[str, str] = field(default_factory=dict)  # participant -> emoji
    media_group_id: str = ""
    hook: Json = field(default_factory=dict)  # the answer to the hook that carried it


@dataclass(slots=True)
class Chat:
    """A thread with one client. `conversation_id` is the integration's id, empty until it is bound (2.9)."""

    id: str
    channel_id: str
    client_id: str  # participant
    created_at: int
    conversation_id: str = ""
    source_id: int = 0  # marked with an explicit source; 0 = never marked
    contact_id: int = 0
    link_id: int = 0
    talk_id: int = 0  # the newest talk
    messages: list[Message] = field(default_factory=list)
    typing_until: float = 0.0


@dataclass(slots=True)
class Talk:
    """A work session over a chat (3.8)."""

    id: int
    chat_id: str
    contact_id: int
    lead_id: int
    created_at: int
    updated_at: int
    origin: str
    is_in_work: bool = True
    is_read: bool = False
    rate: int = 0
