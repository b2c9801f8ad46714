"""What the simulated amoCRM remembers: integrations, channels, accounts. Plain values; the rules live beside."""

from __future__ import annotations

import secrets
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.sandbox.amocrm.talks import Chat, Message, Participant, Talk

Json = dict[str, Any]
CODE_LIFE_S = 20 * 60  # amocrm.md 1.3
ACCESS_LIFE_S = 24 * 3600  # 1.4
REFRESH_LIFE_S = 90 * 24 * 3600
SCOPES = ("crm", "files", "files_delete", "notifications")
KINDS = ("leads", "contacts", "companies")
TOP_LEVEL = {1: "ru", 2: "com"}
HOSTS = {1: "amocrm.ru", 2: "kommo.com"}
WON, LOST = 142, 143  # system stages of every pipeline (3.10)


def new_uuid() -> str:
    """Make a UUID as amoCRM shows them."""
    return str(uuid.uuid4())


@dataclass(slots=True)
class Integration:
    """An OAuth client as its form describes it (1.1)."""

    client_id: str
    client_secret: str
    title: str
    redirect_uri: str = ""
    disable_hook_url: str = ""
    scopes: tuple[str, ...] = SCOPES
    widget_code: str = ""
    has_archive: bool = True
    multiple_sources: bool = True
    duplicate_control: bool = False
    only_account: int = 0  # a private integration belongs to one account


@dataclass(slots=True)
class Channel:
    """A registration in the chats API, as support made it (2.1)."""

    id: str
    secret: str
    code: str
    title: str
    client_id: str
    hook_url: str = ""
    bot_id: str = field(default_factory=new_uuid)
    only_accounts: set[str] = field(default_factory=set)  # amojo ids; empty = published
    write_first: bool = True
    quotes: bool = True
    forwards: bool = True
    reactions: bool = True
    typing: bool = True


@dataclass(slots=True)
class Connection:
    """A channel connected to an account: the scope (2.4)."""

    channel: Channel
    account: Account
    title: str
    is_time_window_disabled: bool = False

    @property
    def scope_id(self) -> str:
        """{channel}_{amojo account}."""
        return f"{self.channel.id}_{self.account.amojo_id}"


@dataclass(slots=True)
class Code:
    """A one-time authorization code."""

    client_id: str
    account_id: int
    user_id: int
    expires_at: float
    is_used: bool = False


@dataclass(slots=True)
class Token:
    """A pair of tokens of one user in one account."""

    access: str
    refresh: str
    client_id: str
    account_id: int
    user_id: int
    scopes: tuple[str, ...]
    expires_at: float
    refresh_expires_at: float
    is_revoked: bool = False
    refresh_used: bool = False
    successor: Token | None = None
    was_seen: bool = False


@dataclass(slots=True)
class User:
    """An employee. `rights` are letters per entity: A all, G group, M own, D denied (3.2)."""

    id: int
    name: str
    email: str
    amojo_id: str
    is_admin: bool = False
    is_active: bool = True
    is_free: bool = False
    group_id: int = 0
    rights: dict[str, dict[str, str]] = field(default_factory=dict)

    def right(self, kind: str, act: str) -> str:
        """Return the letter for an act (view, edit, add, delete, export); an admin may do all."""
        return "A" if self.is_admin else self.rights.get(kind, {}).get(act, "D")


@dataclass(slots=True)
class Entity:
    """A lead, contact or company. `values` are its plain fields, `cf` the custom ones by field id."""

    id: int
    kind: str
    name: str
    responsible_user_id: int
    created_at: int
    updated_at: int
    created_by: int = 0
    updated_by: int = 0
    values: Json = field(default_factory=dict)
    cf: dict[int, list[Json]] = field(default_factory=dict)
    tags: list[int] = field(default_factory=list)
    is_deleted: bool = False


@dataclass(slots=True)
class Options:
    """Switches of one account."""

    unpaid: bool = False  # 402 on everything (3.1)
    refuse_address: bool = False  # the account's white list of addresses: 403 HTML
    filters: str = "reject"  # the paid filter add-on: work, or reject | ignore without it (3.1, 9.6)
    has_webhooks: bool = True  # plan Extended and up (4.2)
    webhooks_limit: int = 100
    lenient_refresh: bool = False  # the old refresh token lives until the new pair is used (1.4, docs conflict)
    repeated_msgid: str = "same"  # a repeated msgid: same = 200 with the stored id, refuse = 400 (unconfirmed)
    moved_status: int = 401  # what the old host of a renamed account answers: 401 or 404


@dataclass(slots=True)
class Account:
    """One amoCRM with everything in it."""

    id: int
    subdomain: str
    name: str
    platform: int = 1
    amojo_id: str = field(default_factory=new_uuid)
    uuid: str = field(default_factory=new_uuid)
    options: Options = field(default_factory=Options)
    users: dict[int, User] = field(default_factory=dict)
    installs: set[str] = field(default_factory=set)  # client ids
    pipelines: dict[int, Json] = field(default_factory=dict)
    fields: dict[str, dict[int, Json]] = field(default_factory=lambda: defaultdict(dict))  # by entity kind
    tags: dict[str, dict[int, Json]] = field(default_factory=lambda: defaultdict(dict))
    entities: dict[str, dict[int, Entity]] = field(default_factory=lambda: defaultdict(dict))
    links: dict[tuple[str, int], dict[tuple[str, int], Json]] = field(default_factory=lambda: defaultdict(dict))
    notes: dict[int, Json] = field(default_factory=dict)
    tasks: dict[int, Json] = field(default_factory=dict)
    events: list[Json] = field(default_factory=list)
    unsorted: dict[str, Json] = field(default_factory=dict)
    uid_by_lead: dict[int, str] = field(default_factory=dict)
    sources: dict[int, Json] = field(default_factory=dict)
    templates: dict[int, Json] = field(default_factory=dict)
    webhooks: dict[str, Json] = field(default_factory=dict)  # by destination
    widgets: dict[str, Json] = field(default_factory=dict)
    entity_files: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)  # by channel id
    participants: dict[str, Participant] = field(default_factory=dict)
    clients: dict[tuple[str, str], Participant] = field(default_factory=dict)  # by channel and the integration's id
    conversations: dict[tuple[str, str], Chat] = field(default_factory=dict)  # the same for chats
    msgids: dict[tuple[str, str], Message] = field(default_factory=dict)  # and for messages
    chats: dict[str, Chat] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    talks: dict[int, Talk] = field(default_factory=dict)
    waiting_bots: dict[tuple[int, int], str] = field(default_factory=dict)  # (bot, continue id) -> client id
    notices: list[Json] = field(default_factory=list)
    version: int = 0  # raised by every visible change; the manager's page waits for it
    next_ids: dict[str, int] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """acme.amocrm.ru or acme.kommo.com."""
        return f"{self.subdomain}.{HOSTS[self.platform]}"

    @property
    def admin(self) -> User:
        """The first administrator."""
        return next(user for user in self.users.values() if user.is_admin)

    @property
    def main_pipeline(self) -> Json:
        """The pipeline leads go to when none is named."""
        return next(pipeline for pipeline in self.pipelines.values() if pipeline["is_main"])

    def new_id(self, kind: str, first: int) -> int:
        """Give the next number of this kind; each kind starts elsewhere, so that mixed-up ids show."""
        self.next_ids[kind] = self.next_ids.get(kind, first + secrets.randbelow(50)) + 1
        return self.next_ids[kind]

    def forget(self) -> None:
        """Forget talks, leads and contacts; users, pipelines, fields, sources and channels stay."""
        for mapping in (self.chats, self.messages, self.talks, self.unsorted, self.links, self.notes, self.tasks):
            mapping.clear()
        for index in (
            self.clients,
            self.conversations,
            self.msgids,
            self.entities,
            self.waiting_bots,
            self.uid_by_lead,
        ):
            index.clear()
        self.events.clear()
        self.notices.clear()
        people = {user.amojo_id for user in self.users.values()}
        people |= {link.channel.bot_id for link in self.connections.values()}
        self.participants = {name: one for name, one in self.participants.items() if name in people}
        self.version += 1

    def join(self, one: Entity, other: Entity, metadata: Json) -> None:
        """Link two entities; both sides share the metadata."""
        self.links[one.kind, one.id][other.kind, other.id] = metadata
        self.links[other.kind, other.id][one.kind, one.id] = metadata

    def part(self, one: Entity, other: Entity) -> None:
        """Undo a link."""
        self.links[one.kind, one.id].pop((other.kind, other.id), None)
        self.links[other.kind, other.id].pop((one.kind, one.id), None)

    def linked(self, kind: str, entity_id: int, other: str) -> list[int]:
        """List the linked entities of another kind, the main contact first."""
        found = [(key[1], metadata) for key, metadata in self.links[kind, entity_id].items() if key[0] == other]
        return [number for number, metadata in sorted(found, key=lambda one: not one[1].get("is_main"))]
