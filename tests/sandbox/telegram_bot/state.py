"""What the Telegram twin remembers: people, bots, chats, messages, files, business connections. No rules of the API."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.sandbox.files import StoredFile
    from tests.sandbox.telegram_bot.updates import UpdateQueue

Json = dict[str, Any]
HOUR_S = 3600
DAY_S = 24 * HOUR_S
FULL_RIGHTS = {"can_reply": True, "can_read_messages": True, "can_delete_sent_messages": True}


@dataclass(slots=True)
class Person:
    """A user of Telegram."""

    id: int
    first_name: str
    last_name: str = ""
    username: str = ""
    language_code: str = "ru"
    phone: str = ""
    photo: bytes = b""

    def user(self) -> Json:
        """Build the type User."""
        return {"id": self.id, "is_bot": False, **self._names(), "language_code": self.language_code}

    def chat(self) -> Json:
        """Build the type Chat of a private chat with this person."""
        return {"id": self.id, "type": "private", **self._names()}

    def _names(self) -> Json:
        names = {"first_name": self.first_name, "last_name": self.last_name, "username": self.username}
        return {name: value for name, value in names.items() if value}


@dataclass(slots=True)
class Message:
    """One message: `body` is the type Message; `text` of the ledger and the phone is its text or caption."""

    id: int
    body: Json
    outgoing: bool
    date: float
    deleted: bool = False
    edits: int = 0

    @property
    def text(self) -> str:
        """Return the words."""
        return str(self.body.get("text", self.body.get("caption", "")))

    def quoted(self) -> Json:
        """Build what reply_to_message holds: the message without its own reply."""
        return {name: value for name, value in self.body.items() if name not in {"reply_to_message", "reply_markup"}}


@dataclass(slots=True)
class Chat:
    """A chat as one bot (or one business connection) sees it."""

    id: int
    kind: str  # private | group | supergroup | channel
    title: str = ""
    username: str = ""
    person: Person | None = None
    is_open: bool = False  # the user pressed Start, the bot is a member
    is_blocked: bool = False  # the user blocked the bot, the group kicked it
    migrated_to: int = 0
    last_incoming_at: float = 0.0
    last_id: int = 0
    action: str = ""
    read_up_to: int = 0
    messages: dict[int, Message] = field(default_factory=dict)

    def json(self) -> Json:
        """Build the type Chat."""
        if self.person:
            return self.person.chat()
        values = {"id": self.id, "type": self.kind, "title": self.title, "username": self.username}
        return {name: value for name, value in values.items() if value}


@dataclass(slots=True)
class Connection:
    """A business connection: a bot that answers for an owner's personal account (telegram.md A5)."""

    id: str
    owner: Person
    date: int
    rights: Json = field(default_factory=lambda: dict(FULL_RIGHTS))
    is_enabled: bool = True
    last_id: int = 8000
    chats: dict[int, Chat] = field(default_factory=dict)

    def json(self) -> Json:
        """Build the type BusinessConnection."""
        return {
            "id": self.id,
            "user": self.owner.user(),
            "user_chat_id": self.owner.id,
            "date": self.date,
            "rights": {name: True for name, allowed in self.rights.items() if allowed},
            "is_enabled": self.is_enabled,
        }


@dataclass(slots=True)
class RemoteFile:
    """A file as one bot may use it: `file_id` is bound to the bot, `unique_id` is not."""

    file_id: str
    unique_id: str
    kind: str
    name: str
    mime_type: str
    size: int
    content: bytes
    path: str = ""
    path_until: float = 0.0
    shown: StoredFile | None = None  # where the phone page finds it
    facts: Json = field(default_factory=dict)  # width, height, duration, ... of its type


@dataclass(slots=True)
class Bot:
    """One bot with all it sees."""

    id: int
    secret: str
    username: str
    first_name: str
    queue: UpdateQueue
    is_revoked: bool = False
    last_id: int = 50
    chats: dict[int, Chat] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    files: dict[str, RemoteFile] = field(default_factory=dict)
    callbacks: dict[str, float] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """Return the token as @BotFather gives it."""
        return f"{self.id}:{self.secret}"

    def user(self) -> Json:
        """Build the type User as others see it."""
        return {"id": self.id, "is_bot": True, "first_name": self.first_name, "username": self.username}

    def me(self) -> Json:
        """Build the answer of getMe."""
        return {
            **self.user(),
            "can_join_groups": True,
            "can_read_all_group_messages": True,
            "supports_inline_queries": False,
            "can_connect_to_business": True,
            "has_main_web_app": False,
        }

    def next_id(self, chat: Chat, connection: Connection | None = None) -> int:
        """Number a message: private chats share the account's numbers, supergroups and channels have their own."""
        counter: Bot | Chat | Connection = connection or (self if chat.kind in {"private", "group"} else chat)
        counter.last_id += 1
        return counter.last_id


def new_secret() -> str:
    """Make the second half of a token: 35 characters."""
    return "AA" + secrets.token_urlsafe(32)[:33]


def new_unique() -> str:
    """Make a file_unique_id."""
    return "AQAD" + secrets.token_urlsafe(9)


def conversation_key(chat: Chat, connection: Connection | None = None) -> str:
    """Name a conversation in the ledger: the chat id, with the connection before it for business chats."""
    return f"{connection.id}:{chat.id}" if connection else str(chat.id)
