"""What is carried over the seams: an end, a conversation, one part to deliver and its outcome, what was pulled, a CRM's card.

Adapters and the core import them from `bridge/ends.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import BinaryIO, Protocol

from widget_backend.bridge.errors import EndError
from widget_backend.bridge.events import Attachment, Direction, Person, Place
from widget_backend.bridge.facts import Act, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose hook it is: an end, or an app. `secrets` hold what `verify` compares with; `previous` are those still valid during a rotation."""

    adapter: str
    remote_id: str
    settings: Mapping[str, object]
    secrets: Mapping[str, str] = field(repr=False)
    previous: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_app: bool = False


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
    """Where a delivery belongs. `network` is the network's key, `channel_id` our id of the channel.

    Shape: `link` is set for a connection; `route` are the settings of the pair of channel and connection, empty where the connection's own hold.
    """

    id: str
    client: Client
    thread: str
    scope: str
    place: Place
    title: str
    network: str
    channel_title: str
    channel_id: str = ""
    link: Link | None = None
    route: Mapping[str, object] = field(default_factory=dict)


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
    `is_from_here`: Act.NEW to a CRM only: it was written in our panel inside this very CRM, whose user `author_id` is; show it as his own message.
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
    is_from_here: bool = False
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
    """Result of `connect`: facts to store.

    Shape: `aliases` are the further names by which hooks of the app's door call this remote account (an amoCRM account has another id in its chats
    API); `split` may return any of them. Together with `remote_id` they belong to this end alone among all ends of the app: one that another end has
    refuses the connection (`already_connected`), and one that is no longer given is free again.
    """

    remote_id: str
    title: str
    aliases: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One entry of a catalogue (a line, a pipeline, a user)."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A shared quick reply, as a CRM's own list of them may have it. `facts`: the names of facts that stand in its text between percent signs."""

    id: str
    title: str
    text: str
    language: str = ""
    facts: frozenset[str] = frozenset()


# ---------------------------------------------------------------------------------------------------------------- cards


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where somebody can be reached. `kind`: phone, email, vk, telegram, instagram, facebook, whatsapp ... or link; `label` is the CRM's own name of the field."""

    kind: str
    value: str
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPerson:
    """Somebody a card names. `kind`: contact or company."""

    remote_id: str
    kind: str
    name: str
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """An entity of a CRM as one of its users sees it. `kind`: lead, contact, company, deal, task.

    Shape: `fields` are what quick replies may name, in capitals as in `bridge/substitutions.py` (DEAL_NAME, CONTACT_NAME ...); `language` is the client's,
    if the CRM knows it.
    """

    kind: str
    id: str
    title: str
    people: tuple[CardPerson, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    language: str = ""


CARD = "card"
"""`Link.state`: the card that a dialog was begun from, `<kind>:<id>`; `import_messages` shows the conversation there."""
CONTACT = "contact"
"""`Link.state`: the contact or company written to, `<kind>:<id>`; `import_messages` makes no second one."""
