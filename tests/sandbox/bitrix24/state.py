"""What a portal and the OAuth server remember. Plain values; the rules that change them live beside."""

from __future__ import annotations

import secrets
from collections import defaultdict
from dataclasses import dataclass, field

CODE_LIFE_S = 30
ACCESS_LIFE_S = 3600
REFRESH_LIFE_S = 180 * 24 * 3600
ALL_SCOPES = ("crm", "im", "imopenlines", "imconnector", "placement", "contact_center", "user", "user_brief", "disk")


@dataclass(slots=True)
class App:
    """An application: one for all portals (catalogue) or of one portal (local)."""

    client_id: str
    client_secret: str
    title: str
    scopes: tuple[str, ...] = ALL_SCOPES
    portal: str = ""  # member_id of the only portal of a local application
    app_url: str = ""
    install_url: str = ""
    event_url: str = ""
    redirect_url: str = ""
    version: int = 1

    @property
    def status(self) -> str:
        """The code of 1.1: L for local, F for a free catalogue application."""
        return "L" if self.portal else "F"


@dataclass(slots=True)
class Token:
    """A pair of tokens of one user of one installed application."""

    access: str
    refresh: str
    client_id: str
    member_id: str
    user_id: int
    scopes: tuple[str, ...]
    expires_at: float
    refresh_expires_at: float
    refresh_used: bool = False


@dataclass(slots=True)
class Code:
    """A one-time code of the full OAuth road."""

    client_id: str
    member_id: str
    user_id: int
    expires_at: float


@dataclass(slots=True)
class Handler:
    """One bound event."""

    id: int
    event: str
    url: str
    auth_type: int


@dataclass(slots=True)
class Placement:
    """One bound widget."""

    id: int
    code: str
    handler: str
    title: str
    description: str
    lang_all: dict[str, object]
    options: dict[str, object]


@dataclass(slots=True)
class Install:
    """An application on a portal. `installed` turns true only with installFinish (bitrix24.md 1.2)."""

    app: App
    application_token: str
    installed: bool
    user_id: int
    handlers: list[Handler] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)


@dataclass(slots=True)
class User:
    """An employee, or the internal user made for a client."""

    id: int
    name: str
    last_name: str = ""
    is_admin: bool = False
    is_client: bool = False
    is_active: bool = True
    email: str = ""
    phone: str = ""
    picture: str = ""
    url: str = ""

    @property
    def full_name(self) -> str:
        """Name and last name."""
        return f"{self.name} {self.last_name}".strip()


@dataclass(slots=True)
class Connector:
    """A registered connector with its switches (bitrix24.md 3.1)."""

    id: str
    name: str
    client_id: str
    icon: dict[str, object]
    handler: str
    chat_group: bool = False
    need_system_messages: bool = True
    need_signature: bool = True
    edit_internal: bool = True
    delete_internal: bool = True
    delete_external: bool = True


@dataclass(slots=True)
class Link:
    """A connector on a line: the flags of the settings slider (bitrix24.md 8.2)."""

    active: bool = False
    connection: bool = False
    register: bool = False
    error: bool = False
    data: dict[str, object] = field(default_factory=dict)

    @property
    def status(self) -> bool:
        """True only when activated, connected and registered, without error."""
        return self.active and self.connection and self.register and not self.error


@dataclass(slots=True)
class File:
    """A file kept on the portal, served without authorization by its secret link."""

    id: int
    name: str
    mime: str
    content: bytes
    key: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    @property
    def kind(self) -> str:
        """image, video, audio or file."""
        head = self.mime.partition("/")[0]
        return head if head in ("image", "video", "audio") else "file"


@dataclass(slots=True)
class Message:
    """One message of a chat. `mids` are the external ids (CONNECTOR_MID)."""

    id: int
    chat_id: int
    session_id: int
    author_id: int
    who: str  # client, operator or system
    text: str
    at: float
    files: list[File] = field(default_factory=list)
    mids: list[str] = field(default_factory=list)
    to_client: bool = False
    is_edited: bool = False
    is_deleted: bool = False
    is_delivered: bool = False
    is_read: bool = False
    remote_date: str = ""


@dataclass(slots=True)
class Session:
    """One dialog from its first message to its finish."""

    id: int
    chat_id: int
    parent_id: int
    started_at: float
    is_closed: bool = False
    waits_vote: bool = False
    vote: str = ""


@dataclass(slots=True)
class Chat:
    """An open-line chat, one for each USER_CODE."""

    id: int
    connector: str
    line: int
    external_id: str
    user_id: int  # internal client user; 0 in group mode
    name: str
    url: str = ""
    members: set[int] = field(default_factory=set)
    operator_id: int = 0
    session_id: int = 0
    crm: dict[str, int] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)

    @property
    def user_code(self) -> str:
        """connector|line|external chat|internal user, the key of the chat (bitrix24.md 5.3)."""
        return f"{self.connector}|{self.line}|{self.external_id}|{self.user_id}"


@dataclass(slots=True)
class Options:
    """Switches of one portal."""

    echo: bool = True  # injected manager messages come back as OnImConnectorMessageAdd
    strict_refresh: bool = True  # the old refresh token dies at the refresh
    plan: str = "standard"  # standard: 50 and 2/s; enterprise: 250 and 5/s; box: no limit
    is_plan_small: bool = False  # the plan forbids "all at once" queues, votes and working time (section 11, 24)
    protocol: str = "0"
    operation_limit_s: float = 480.0
    operation_cost_s: dict[str, float] = field(default_factory=dict)  # simulated seconds of one call, by method
    refuse: str = ""  # a tariff or access fault: PAYMENT_REQUIRED, ACCESS_DENIED, user_access_error, ...
    file_refusal: str = "mark"  # a file that cannot be fetched: mark = [FILE] in the text, error = item error


@dataclass(slots=True)
class Portal:
    """One Bitrix24 with everything on it."""

    member_id: str
    title: str
    webhook_code: str
    domain: str = ""
    options: Options = field(default_factory=Options)
    users: dict[int, User] = field(default_factory=dict)
    clients: dict[str, int] = field(default_factory=dict)  # connector|external user -> internal user
    installs: dict[str, Install] = field(default_factory=dict)
    connectors: dict[str, Connector] = field(default_factory=dict)
    links: dict[tuple[str, int], Link] = field(default_factory=dict)
    lines: dict[int, dict[str, object]] = field(default_factory=dict)
    chats: dict[int, Chat] = field(default_factory=dict)
    chat_by_code: dict[str, Chat] = field(default_factory=dict)
    sessions: dict[int, Session] = field(default_factory=dict)
    messages: dict[int, Message] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)  # by the key of the link
    entities: dict[int, dict[int, dict[str, object]]] = field(default_factory=lambda: defaultdict(dict))
    app_options: dict[str, dict[str, object]] = field(default_factory=lambda: defaultdict(dict))
    notices: list[dict[str, object]] = field(default_factory=list)
    seen_mids: dict[tuple[int, str], int] = field(default_factory=dict)  # (chat, external id) -> message
    version: int = 0  # raised by every visible change; the operator's page waits for it
    next_ids: dict[str, int] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The address of the portal; plain http, as boxes may have it (bitrix24.md 1.7)."""
        return f"http://{self.domain}"

    @property
    def endpoint(self) -> str:
        """client_endpoint."""
        return f"{self.base}/rest/"

    @property
    def admin(self) -> User:
        """The first administrator."""
        return next(user for user in self.users.values() if user.is_admin)

    def new_id(self, kind: str, first: int) -> int:
        """Give the next number of this kind; each kind starts elsewhere, so that mixed-up ids show."""
        self.next_ids[kind] = self.next_ids.get(kind, first - 1) + 1
        return self.next_ids[kind]

    def chat_of(self, connector: str, line: int, external_id: str) -> Chat | None:
        """Find the newest chat of an external chat id."""
        found = [
            chat
            for chat in self.chats.values()
            if (chat.connector, chat.line, chat.external_id) == (connector, line, external_id)
        ]
        return found[-1] if found else None

    def is_line_active(self, line: int) -> bool:
        """Tell whether the line exists and is switched on."""
        return line in self.lines and self.lines[line]["ACTIVE"] == "Y"
