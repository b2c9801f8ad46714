"""What the VK twin remembers: communities, users, dialogs, messages, media, callback servers. No behaviour of the API."""

from __future__ import annotations

import itertools
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Any

CHAT_BASE = 2_000_000_000
ADMIN_ID = 777
RIGHTS = {"stories": 1, "photos": 4, "app_widget": 64, "messages": 4096, "docs": 131072, "manage": 262144}
ALL_RIGHTS = RIGHTS["messages"] | RIGHTS["photos"] | RIGHTS["docs"] | RIGHTS["manage"]
Json = dict[str, Any]


@dataclass(slots=True)
class User:
    """A person of VK."""

    id: int
    first_name: str
    last_name: str
    screen_name: str
    sex: int = 0
    city: str = ""
    bdate: str = ""
    photo_url: str = ""
    deactivated: str = ""
    is_closed: bool = False

    @property
    def name(self) -> str:
        """Return the name as people read it."""
        return f"{self.first_name} {self.last_name}".strip()


@dataclass(slots=True)
class Message:
    """One message of a dialog; `attachments` are VK's own objects."""

    id: int
    cmid: int
    peer_id: int
    from_id: int
    out: bool
    date: int
    version: int
    text: str = ""
    attachments: list[Json] = field(default_factory=list)
    random_id: int = 0
    reply: Json | None = None
    forwards: list[Json] = field(default_factory=list)
    geo: Json | None = None
    payload: str = ""
    keyboard: Json | None = None
    ref: str = ""
    ref_source: str = ""
    admin_author_id: int = 0
    update_time: int = 0
    is_deleted: bool = False
    is_cropped: bool = False


@dataclass(slots=True)
class Dialog:
    """One customer's (or chat's) conversation with a community. in_read/out_read are message ids."""

    peer_id: int
    messages: list[Message] = field(default_factory=list)
    is_allowed: bool = False
    is_blocked: bool = False
    in_read: int = 0
    out_read: int = 0
    is_unanswered: bool = False
    typing_until: float = 0.0
    next_cmid: int = 1


@dataclass(slots=True)
class Server:
    """A Callback API server. `failures` counts failed tries in a row."""

    id: int
    url: str
    title: str
    secret: str
    status: str = "unconfigured"
    api_version: str = "5.199"
    events: dict[str, int] = field(default_factory=dict)
    failures: int = 0
    suspended_until: float = 0.0


@dataclass(slots=True)
class Media:
    """A saved photo or document, attachable as <kind><owner>_<id>[_<access_key>]."""

    kind: str
    owner_id: int
    id: int
    access_key: str
    attachment: Json


@dataclass(slots=True)
class LongPoll:
    """Bots Long Poll of a community; `dropped` updates are no longer kept."""

    is_enabled: bool = False
    api_version: str = "5.199"
    events: dict[str, int] = field(default_factory=dict)
    key: str = ""
    key_until: float = 0.0
    updates: deque[Json] = field(default_factory=lambda: deque(maxlen=1000))
    last: int = 0

    @property
    def first(self) -> int:
        """Return the number before the oldest update still kept."""
        return self.last - len(self.updates)


@dataclass(slots=True)
class Community:
    """A community with its settings, dialogs and media."""

    id: int
    name: str
    screen_name: str
    has_messages: bool = True
    has_bot: bool = True
    admins: set[int] = field(default_factory=lambda: {ADMIN_ID})
    confirmation_code: str = field(default_factory=lambda: secrets.token_hex(4))
    servers: dict[int, Server] = field(default_factory=dict)
    next_server: int = 1
    dialogs: dict[int, Dialog] = field(default_factory=dict)
    messages: dict[int, Message] = field(default_factory=dict)
    next_message: int = 1
    versions: Any = field(default_factory=lambda: itertools.count(10_000_001))
    random_ids: dict[int, dict[int, int]] = field(default_factory=dict)
    media: dict[tuple[str, int, int], Media] = field(default_factory=dict)
    longpoll: LongPoll = field(default_factory=LongPoll)
    comments: dict[tuple[str, int], list[Json]] = field(default_factory=dict)
    comment_guids: dict[str, int] = field(default_factory=dict)
    comment_moments: deque[float] = field(default_factory=deque)
    button_events: dict[str, tuple[int, float]] = field(default_factory=dict)

    def dialog(self, peer_id: int) -> Dialog:
        """Return the dialog, new if need be."""
        return self.dialogs.setdefault(peer_id, Dialog(peer_id))


@dataclass(slots=True)
class Token:
    """An access token: kind group (of one community, with a mask of rights), service or user."""

    value: str
    kind: str = "group"
    group_id: int = 0
    mask: int = ALL_RIGHTS
    user_id: int = 0
    is_revoked: bool = False
    moments: deque[float] = field(default_factory=deque)
    call_count: int = 0
    exceeded_count: int = 0
    most_in_1_s: int = 0


def new_token() -> str:
    """Make a token in VK's form."""
    return "vk1.a." + secrets.token_urlsafe(60)


class World:
    """All of it."""

    def __init__(self) -> None:
        self.communities: dict[int, Community] = {}
        self.users: dict[int, User] = {}
        self.tokens: dict[str, Token] = {}
        self.media_ids = itertools.count(457_239_017)
        self._group_ids = itertools.count(123_456_789)
        self._user_ids = itertools.count(100_200_300)

    def add_community(
        self, name: str, screen_name: str, mask: int = ALL_RIGHTS, *, token: str = ""
    ) -> tuple[Community, Token]:
        """Make a community and its token."""
        group_id = next(self._group_ids)
        community = Community(group_id, name, screen_name or f"club{group_id}")
        self.communities[group_id] = community
        return community, self.add_token("group", group_id=group_id, mask=mask, value=token)

    def add_token(
        self, kind: str, *, group_id: int = 0, mask: int = ALL_RIGHTS, user_id: int = 0, value: str = ""
    ) -> Token:
        """Issue a token in VK's form, or the one given."""
        token = Token(value or new_token(), kind, group_id, mask, user_id)
        self.tokens[token.value] = token
        return token

    def add_user(self, name: str, user_id: int = 0) -> User:
        """Make a person; a free id when none is given."""
        while not user_id:
            candidate = next(self._user_ids)
            user_id = candidate if candidate not in self.users else 0
        first, _, last = name.strip().partition(" ")
        sex = 1 if first.endswith(("а", "я", "a")) else 2
        user = User(user_id, first or f"User{user_id}", last, f"id{user_id}", sex=sex, city="Москва", bdate="5.11.1990")
        self.users[user_id] = user
        return user

    def find_user(self, wanted: int | str) -> User | None:
        """Find by id, full name or short name."""
        if isinstance(wanted, int) or wanted.isdigit():
            return self.users.get(int(wanted))
        return next((user for user in self.users.values() if wanted in (user.name, user.screen_name)), None)
