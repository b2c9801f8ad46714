"""Facts about ends, as data: sides, acts, limits, capabilities, manifests. Adapters and the core import them from `bridge/ends.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from widget_backend.bridge.events import Kind


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
    `window`: how long after the client's last message one may write; a conversation may have a smaller one of its own (`MessageReceived.window`).
    `can_mark_read`, `reads_threads_only`: it shows the client that his messages were read; only in conversations with a `thread`, or in all.
    `can_group`: it knows group chats; what is written there goes to no CRM that does not.
    `told`: the statuses that a CRM which `reports` can be told.
    `once`: its hooks come only once, so it is pulled after outages. `batch`: conversations that one call can carry. `cap`: calls at a time per end.
    `shared_host`: all ends of this kind live on one host, which has one breaker for all.
    `expires`: what waits for it is not sent any more after the account's time limit (messages to clients).
    `addresses`: the kinds of address (`Address.kind`) by which `resolve` finds somebody who has never written here.
    `known_as`: the kind of address that its clients' user names and pages are, so that a card's address leads to a client who wrote before.
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
    addresses: frozenset[str] = frozenset()
    known_as: str = ""
    can_mark_read: bool = False
    reads_threads_only: bool = False
    can_type: bool = False
    can_group: bool = False
    reports: bool = False
    told: frozenset[str] = frozenset({"sent", "received", "read", "failed", "expired", "uncertain"})
    limits: tuple[Limit, ...] = ()
    body_limit_bytes: int = 4 * 1024 * 1024
    once: bool = False
    pull_every: timedelta | None = None
    batch: int = 1
    cap: int = 8
    shared_host: bool = True
    expires: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSetting:
    """A setting of the server's owner for one adapter: environment variable MOSTIK_<KEY>_<NAME>. `kind`: str, int, bool, list."""

    name: str
    default: str
    help: str
    kind: str = "str"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the registry reads at start. `adapter`, `hooks`, `settings`, `pages`, `widget` are import paths, `module:name` or `module`, imported on first use.

    Shape: `door` is "end" when every end has its own hook address, "app" when one address serves all ends of an app (then `hooks.split` is used).
    `needs_app`: an app (keys of this server) must exist before an end can be made. `scope_of_app`: "server" or "account".
    `pages`: reads what a CRM posts into a frame of ours. `widget`: proves the tokens that a widget in the CRM's own pages brings (`pages/panel_door.py`).
    """

    key: str
    side: Side
    title: str
    capabilities: Capabilities
    adapter: str
    hooks: str
    settings: str
    pages: str = ""
    widget: str = ""
    door: str = "end"
    needs_app: bool = False
    hook_headers: tuple[str, ...] = ()
    server_settings: tuple[ServerSetting, ...] = ()
