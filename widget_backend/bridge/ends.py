"""The seams: what the bridge gives an adapter and what it asks of it. Adapters implement these protocols and inherit from nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import BinaryIO, Protocol, runtime_checkable

from marshmallow import Schema

from widget_backend.bridge.errors import EndError
from widget_backend.bridge.events import Attachment, Direction, Event, Kind, Person, Place


class Side(StrEnum):
    """NETWORK: a channel. CRM: a connection."""

    NETWORK = "network"
    CRM = "crm"


class Repeat(StrEnum):
    """What may be done with a call whose answer never came."""

    KEY = "key"
    LOOKUP = "lookup"
    NEVER = "never"


class Act(StrEnum):
    """What a delivery does at its end."""

    NEW = "new"
    EDIT = "edit"
    DELETE = "delete"
    STATUS = "status"
    READ = "read"


class Priority(StrEnum):
    """Who waits: a person at a screen, a live conversation, a mailing, an import of history."""

    PERSON = "person"
    LIVE = "live"
    MAILING = "mailing"
    HISTORY = "history"


# ---------------------------------------------------------------------------------------------------- facts about an end


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One rate limit of a remote. `counts` names what the remote counts by (`end`, `app`, `conversation`, `host`).

    Units: `rate` calls per `per`; `burst` calls at once on top of an idle period. `sliding`: the remote counts a sliding window, else a leaky bucket.
    """

    counts: str
    rate: float
    per: timedelta = timedelta(seconds=1)
    burst: int = 1
    sliding: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRule:
    """What one kind of attachment may be. Units: bytes. `types`: MIME types accepted, empty = any."""

    max_bytes: int
    types: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Facts about an end, as data; the router, the gate, the API and the pages read them.

    Shape: `files` maps the kinds that the end takes natively to their rules: other kinds with a file go as DOCUMENT if that is there, else as a link.
    `together`: sets of kinds that may share one part; a kind in none goes alone. `attachments_per_part` bounds them.
    `caption_limit`: text beside attachments (None: as text_limit). `native`: kinds without a file that the end can show itself (location ...).
    `window`: how long after the client's last message one may write. `confirms`: statuses the end reports by itself.
    `told`: the statuses that a CRM which `reports` can be told.
    `once`: its hooks come only once, so it is pulled after outages. `batch`: conversations that one call can carry. `cap`: calls at a time per end.
    `shared_host`: all ends of this kind live on one host, which has one breaker for all.
    `expires`: what waits for it is not sent any more after the account's time limit (messages to clients).
    """

    files: Mapping[Kind, FileRule]
    text_limit: int
    repeat: Repeat
    caption_limit: int | None = None
    attachments_per_part: int = 1
    together: tuple[frozenset[Kind], ...] = ()
    native: frozenset[Kind] = frozenset()
    window: timedelta | None = None
    edit_window: timedelta | None = None
    delete_window: timedelta | None = None
    can_edit: bool = False
    can_delete: bool = False
    can_quote: bool = False
    can_write_first: bool = False
    can_mark_read: bool = False
    can_type: bool = False
    can_group: bool = False
    reports: bool = False
    told: frozenset[str] = frozenset({"sent", "received", "read", "failed", "expired", "uncertain"})
    confirms: frozenset[str] = frozenset()
    limits: tuple[Limit, ...] = ()
    body_limit_bytes: int = 4 * 1024 * 1024
    signed: bool = True
    once: bool = False
    pull_every: timedelta | None = None
    batch: int = 1
    cap: int = 8
    shared_host: bool = True
    expires: bool = False
    runner: str = "exchange"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSetting:
    """A setting of the server's owner for one adapter: environment variable MOSTIK_<KEY>_<NAME>. `kind`: str, int, bool, list."""

    name: str
    default: str
    help: str
    kind: str = "str"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the registry reads at start. `adapter`, `hooks`, `settings`, `pages` are import paths, `module:name` or `module`, imported on first use.

    Shape: `door` is "end" when every end has its own hook address, "app" when one address serves all ends of an app (then `hooks.split` is used).
    `needs_app`: an app (keys of this server) must exist before an end can be made. `scope_of_app`: "server" or "account".
    """

    key: str
    side: Side
    title: str
    capabilities: Capabilities
    adapter: str
    hooks: str
    settings: str
    pages: str = ""
    door: str = "end"
    needs_app: bool = False
    hook_headers: tuple[str, ...] = ()
    server_settings: tuple[ServerSetting, ...] = ()


# ---------------------------------------------------------------------------------------------------------------- hooks


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One HTTP call from outside, as it came. `name` is the rest of the path after the key; `headers` hold the manifest's `hook_headers`, lower-cased."""

    body: bytes
    received_at: datetime
    name: str = ""
    query: str = ""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    remote_address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose hook it is: an end, or an app. `secrets` hold what `verify` compares with; `previous` are those still valid during a rotation."""

    adapter: str
    remote_id: str
    settings: Mapping[str, object]
    secrets: Mapping[str, str] = field(repr=False)
    previous: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_app: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What `verify` says about a genuine hook.

    Shape: `event_id` is the sender's own id of the event, empty where there is none (then the digest of the body serves while unprocessed).
    `keep` False: nothing to store, only to answer. `body`: the bytes to keep when they must differ from what came (tokens removed), else None.
    """

    event_id: str = ""
    keep: bool = True
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HookAnswer:
    """What the caller gets."""

    status: int = 200
    body: str = ""
    content_type: str = "text/plain; charset=utf-8"


@runtime_checkable
class Hooks(Protocol):
    """The module `hooks.py` of an adapter. Pure: no database, no network, no clock but `hook.received_at`."""

    def verify(self, hook: Hook, owner: Owner) -> Kept:
        """Prove on the raw bytes, in constant time, that the call is genuine. Raises: NotGenuine."""

    def split(self, hook: Hook) -> Sequence[tuple[str, str, bytes]]:
        """App door only: cut a body into (remote account, event id, part), each part parseable by itself."""

    def parse(self, hook: Hook, owner: Owner) -> Sequence[Event]:
        """Turn a body into events. Raises: nothing; what is not understood becomes `Unparsed`. `hook.received_at` is when we kept it."""

    def answer(self, hook: Hook, owner: Owner) -> HookAnswer:
        """Say what the caller gets, after the commit."""


# ------------------------------------------------------------------------------------------------------ what is delivered


class Tokens(Protocol):
    """Access to an end's OAuth tokens. The adapter never stores or refreshes by itself."""

    def current(self) -> str:
        """Return the access token. Raises: AccessLost when there is none."""

    def renew(self, stale: str) -> str:
        """Return a token newer than `stale`, refreshing once for all workers. Raises: AccessLost, Retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A snapshot of a channel or connection. `hook_url` is the public address of its door, `server` reads the manifest's server settings."""

    id: str
    account_id: str
    adapter: str
    side: Side
    title: str
    remote_id: str
    settings: Mapping[str, object]
    secrets: Mapping[str, str] = field(repr=False)
    hook_url: str
    server: Callable[[str], str]
    tokens: Tokens | None = None
    app: Owner | None = None
    locale: str = "ru"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The client of a conversation. `id` is ours and never changes; `person` as the network knows him."""

    id: str
    person: Person


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A conversation as one CRM knows it: `remote_id` is the id both sides use for it (ours, made once), `state` what the adapter remembered."""

    remote_id: str
    state: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Where a delivery belongs. `network` is the network's key, `link` is set for a connection."""

    id: str
    client: Client
    thread: str
    scope: str
    place: Place
    title: str
    network: str
    channel_title: str
    link: Link | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutFile:
    """A file or thing to deliver. `url`: our signed link, for ends that fetch; `open`: the bytes, for ends that upload; neither for kinds without a file."""

    attachment: Attachment
    url: str = ""
    open: Callable[[], BinaryIO] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutQuote:
    """The message answered: `remote_id` at this end when it is known there, else text and author to be shown in words."""

    remote_id: str
    text: str
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One part of a delivery, ready to be given to an end.

    Shape: `key` is the part's idempotency key (an UUID; automatic repeats keep it), `counter` a positive number below 2**31 that belongs to the key and
    is unique for this end for ever. `remote_ids`: what the end called this part when it was new (edit, delete, status). `is_first`: the first message of
    this conversation at this end. `direction` IN: the client wrote it; OUT: the company's side did (`author`).
    `status`, `reason`, `reason_text` only for Act.STATUS: the status of the message at the other end, and the sentence for people.
    Units: sent_at aware UTC, the original sender's clock.
    """

    key: str
    counter: int
    act: Act
    conversation: Conversation
    message_id: str
    direction: Direction
    sent_at: datetime
    text: str = ""
    files: tuple[OutFile, ...] = ()
    quote: OutQuote | None = None
    author: str = ""
    author_id: str = ""
    is_first: bool = False
    is_late: bool = False
    part: int = 1
    parts: int = 1
    remote_ids: tuple[str, ...] = ()
    other_remote_ids: tuple[str, ...] = ()
    status: str = ""
    reason: str = ""
    reason_text: str = ""
    payload: Mapping[str, str] = field(default_factory=dict)
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The end took it. `remote_ids`: its ids (several for an album); `state` is merged into `Link.state`; `status` overrides the usual `sent`/`delivered`."""

    remote_ids: tuple[str, ...] = ()
    state: Mapping[str, str] = field(default_factory=dict)
    status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotThere:
    """`lookup` only: the end surely does not have it."""


Outcome = Accepted | EndError


PULLED = "pull"


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """One thing pulled, to be kept in the inbox as if a hook had brought it: `parse` must understand it."""

    event_id: str
    body: bytes
    name: str = PULLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """Result of one `pull`. `more`: call again at once. `next_in`: when to pull again, where the manifest's `pull_every` does not fit this end."""

    raws: tuple[Raw, ...]
    cursor: Mapping[str, object]
    more: bool = False
    next_in: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """What to pull: since when we may have missed something, and (for ends that are asked by conversation) the conversations active lately."""

    since: datetime
    cursor: Mapping[str, object]
    conversations: tuple[Conversation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """Result of `connect`: facts to store. `tokens_scope` are rights that the remote granted."""

    remote_id: str
    title: str
    settings: Mapping[str, object] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One entry of a catalogue (a line, a pipeline, a user)."""

    value: str
    label: str
    note: str = ""


class Keep(Protocol):
    """Store facts about an end at once, in their own transaction (VK asks for the confirmation code before its `connect` call returns)."""

    def __call__(
        self, *, settings: Mapping[str, object] | None = None, secrets: Mapping[str, str] | None = None
    ) -> None: ...


@runtime_checkable
class Life(Protocol):
    """Life of an end, the same for both sides."""

    def connect(self, keep: Keep) -> Connected:
        """Make the end work: check access, register our hook, choose events. May be repeated. Raises: AccessLost, Misconfigured, Retry."""

    def check(self) -> None:
        """Ask the outside whether the end still works. Raises: AccessLost, Misconfigured, Unregistered (`connect` will do), Retry."""

    def disconnect(self) -> None:
        """Take back what `connect` registered. What is already gone is fine. Raises: Retry."""

    def pull(self, request: PullRequest) -> Pulled:
        """Fetch what hooks may have missed, or (no public address) everything new. Raises: AccessLost, Retry."""

    def locate(self, attachment: Attachment) -> tuple[str, Mapping[str, str]]:
        """Return (url, headers) for an attachment that came with a `handle`. Raises: Rejected, Retry, AccessLost."""

    def lookup(self, item: Item) -> Accepted | NotThere:
        """Find out whether an attempt without an answer was accepted (`Repeat.LOOKUP`); `item.started_at` is when it left. Raises: Retry, Uncertain."""


@runtime_checkable
class Network(Life, Protocol):
    """A network's adapter: constructed as `Adapter(end)`, keeps no state between calls, is cheap to build."""

    def send(self, batch: Sequence[Item]) -> Sequence[Outcome]:
        """Send new messages to clients, one Outcome per item in the same order. Raises: EndError, for the whole batch."""

    def edit(self, item: Item) -> Outcome:
        """Change a sent part. Raises: EndError."""

    def delete(self, item: Item) -> Outcome:
        """Delete a sent part for everybody. Raises: EndError."""

    def mark_read(self, item: Item) -> Outcome:
        """Mark the client's messages up to `other_remote_ids[-1]` as read. Raises: EndError."""

    def typing(self, conversation: Conversation) -> None:
        """Show the client that somebody is typing. Raises: EndError."""

    def profile(self, client: Client) -> Person:
        """Ask for the client's name, photo and so on. Raises: EndError."""

    def may_write_first(self, client: Client) -> bool:
        """Tell whether the network would take a message to this client now. Raises: EndError."""

    def resolve(self, address: str) -> Person | None:
        """Find a person by phone, user name or link; None when there is none. Raises: EndError."""


@runtime_checkable
class Crm(Life, Protocol):
    """A CRM's adapter."""

    def import_messages(self, batch: Sequence[Item]) -> Sequence[Outcome]:
        """Show new messages in the CRM, one Outcome per item in the same order. Raises: EndError, for the whole batch."""

    def edit(self, item: Item) -> Outcome:
        """Show an edit. Raises: EndError."""

    def delete(self, item: Item) -> Outcome:
        """Show a deletion. Raises: EndError."""

    def report(self, batch: Sequence[Item]) -> Sequence[Outcome]:
        """Tell what became of messages that the CRM's user wrote (Act.STATUS). Raises: EndError."""

    def settings_catalog(self, name: str) -> Sequence[Choice]:
        """List what a setting can be (`lines`, `users`, `pipelines` ...). Raises: EndError."""


@runtime_checkable
class SettingsModule(Protocol):
    """The module `settings.py` of an adapter: `Settings` is one marshmallow schema; field metadata: secret, label, help, catalog, widget."""

    Settings: type[Schema]
