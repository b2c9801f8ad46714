"""The seams: what the bridge asks of an adapter, with all that passes over them. Adapters implement these protocols and inherit from nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

from marshmallow import Schema

from widget_backend.bridge.carried import (
    CARD,
    CONTACT,
    PULLED,
    Accepted,
    Address,
    Card,
    CardPerson,
    Choice,
    Client,
    Connected,
    Conversation,
    End,
    Item,
    Link,
    NotThere,
    Offered,
    Outcome,
    OutFile,
    OutQuote,
    Owner,
    Pulled,
    PullRequest,
    Raw,
    Tokens,
)
from widget_backend.bridge.events import Attachment, DialogWanted, Event, Person
from widget_backend.bridge.facts import (
    Act,
    Capabilities,
    FileRule,
    Limit,
    Manifest,
    Priority,
    Repeat,
    ServerSetting,
    Side,
)

__all__ = [
    "Accepted",
    "Act",
    "Address",
    "CARD",
    "CONTACT",
    "Capabilities",
    "Card",
    "CardPerson",
    "Cards",
    "Choice",
    "Client",
    "Connected",
    "Conversation",
    "Crm",
    "End",
    "FileRule",
    "Hook",
    "HookAnswer",
    "Hooks",
    "Item",
    "Keep",
    "Kept",
    "Life",
    "Limit",
    "Link",
    "Manifest",
    "Network",
    "NotThere",
    "Offered",
    "Offers",
    "OutFile",
    "OutQuote",
    "Outcome",
    "Owner",
    "PULLED",
    "Priority",
    "PullRequest",
    "Pulled",
    "Raw",
    "Refuses",
    "Repeat",
    "ServerSetting",
    "SettingsModule",
    "Side",
    "Tokens",
]

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
        """App door only: cut a body into (remote account, event id, part), each part parseable by itself.

        Shape: the remote account by any name its end has in this app: its `remote_id` or one of `Connected.aliases`; of one that no end has, the
        part waits for its end. The event id is unique within the remote account, empty where there is none.
        Raises: nothing on purpose; a body on which it raises is given up, counted and shown.
        """

    def parse(self, hook: Hook, owner: Owner) -> Sequence[Event]:
        """Turn a body into events. Raises: nothing; what is not understood becomes `Unparsed`. `hook.received_at` is when we kept it."""

    def answer(self, hook: Hook, owner: Owner) -> HookAnswer:
        """Say what the caller gets, after the commit."""


# ----------------------------------------------------------------------------------------------------------------- ends


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
class Cards(Protocol):
    """What a CRM's adapter offers besides `Crm` when its cards can be read: writing from a card needs it."""

    def read_card(self, kind: str, id: str, viewer_id: str) -> Card:
        """Read a card as that user of the CRM sees it.

        Raises: Rejected("card_forbidden") when he may not see it, Rejected("card_gone"), AccessLost, Retry.
        """


@runtime_checkable
class Refuses(Protocol):
    """What a CRM's adapter offers whose users can write first by its own means (`DialogWanted`)."""

    def refuse(self, event: DialogWanted, reason: str, reason_text: str) -> None:
        """Tell who wrote that his message cannot be sent. Raises: EndError."""


@runtime_checkable
class Offers(Protocol):
    """What a CRM's adapter offers besides `Crm` when that CRM has a list of quick replies of its own."""

    def write_quick_replies(self, replies: Sequence[Offered]) -> None:
        """Make our part of the list these replies and no others; what people made there is not touched. May be repeated. Raises: EndError."""


@runtime_checkable
class SettingsModule(Protocol):
    """The module `settings.py` of an adapter: `Settings` is one marshmallow schema; field metadata: secret, label, help, catalog, widget."""

    Settings: type[Schema]
