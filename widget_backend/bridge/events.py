"""What adapters tell the bridge: plain frozen dataclasses with no trace of a network's JSON.

One vocabulary serves both sides. An event of a channel names its client and thread; an event of a connection names the conversation by
`thread`, which is the id under which the CRM knows it (`Link.remote_id`), and leaves `client` empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class Kind(StrEnum):
    """Kinds of attachment, the same words for every network and CRM."""

    PHOTO = "photo"
    VIDEO = "video"
    AUDIO = "audio"
    VOICE = "voice"
    ROUND_VIDEO = "round_video"
    ANIMATION = "animation"
    DOCUMENT = "document"
    STICKER = "sticker"
    LOCATION = "location"
    CONTACT = "contact"
    LINK = "link"
    POST = "post"
    PRODUCT = "product"
    STORY = "story"
    POLL = "poll"
    CALL = "call"
    GIFT = "gift"
    UNSUPPORTED = "unsupported"


class Direction(StrEnum):
    """IN: the client wrote. OUT: somebody on the company's side wrote."""

    IN = "in"
    OUT = "out"


class Place(StrEnum):
    """What kind of conversation it is."""

    DIRECT = "direct"
    GROUP = "group"
    COMMENTS = "comments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One thing attached to a message.

    Shape: `url` is where the file can be fetched (it may live minutes); `handle` is the network's own reference when the URL must first be
    asked for (`locate`); a kind without a file (location, link, poll ...) has neither and is told by its other fields. `link` is a page for
    people and is never fetched.
    """

    kind: Kind
    url: str = ""
    handle: str = ""
    name: str = ""
    mime: str = ""
    size_bytes: int | None = None
    duration_s: int | None = None
    width: int | None = None
    height: int | None = None
    title: str = ""
    text: str = ""
    link: str = ""
    latitude: float | None = None
    longitude: float | None = None
    phone: str = ""

    @property
    def has_file(self) -> bool:
        """Tell whether there is a file to fetch."""
        return bool(self.url or self.handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A client as his network knows him; empty fields mean "not told this time", never "none"."""

    remote_id: str
    name: str = ""
    username: str = ""
    photo_url: str = ""
    profile_url: str = ""
    phone: str = ""
    email: str = ""
    city: str = ""
    birthday: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The message that is answered. `remote_id` in the sender's own numbering, empty when unknown; text and author as far as told."""

    remote_id: str = ""
    text: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """One forwarded message, flattened (nested ones follow their parent)."""

    author: str = ""
    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived:
    """Somebody wrote.

    Shape: `remote_id` is unique within (end, `scope`); `scope` is empty where ids are unique in the whole end. `own_key` is our own part
    key when the end echoes it (VK random_id): a match means the message is ours. `group` joins the pieces of one album: pieces of one group are
    recorded as one message. `author` is the name of who wrote when it is not the client (an employee, a member of a group chat). `is_partial`: the
    hook brought only a part, the whole is asked for (a pull with the cursor {"message_ids": [...]}). `session` are facts about the
    conversation to remember at this end (`Link.state` of a connection). `window`: how long after the client's last message one may answer in
    this conversation, where that differs inside one end (None: the end's own `Capabilities.window` alone).
    `send_until`: when it is no longer sent to a client by itself, sooner than it would expire (an answer that was found long after it was written).
    Units: sent_at is the sender's clock, aware UTC.
    """

    remote_id: str
    direction: Direction
    sent_at: datetime
    client: Person | None = None
    thread: str = ""
    scope: str = ""
    place: Place = Place.DIRECT
    place_title: str = ""
    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    quote: Quote | None = None
    forwards: tuple[Forward, ...] = ()
    author: str = ""
    author_id: str = ""
    own_key: str = ""
    group: str = ""
    ref: str = ""
    ref_source: str = ""
    payload: str = ""
    is_automatic: bool = False
    is_partial: bool = False
    send_until: datetime | None = None
    window: timedelta | None = None
    session: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEdited:
    """A message has a new text (or attachments: None means unchanged). `revision` tells a repeat of the same edit from a new one."""

    remote_id: str
    edited_at: datetime
    text: str
    client: Person | None = None
    thread: str = ""
    scope: str = ""
    attachments: tuple[Attachment, ...] | None = None
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDeleted:
    """A message was deleted by its author."""

    remote_id: str
    deleted_at: datetime
    client: Person | None = None
    thread: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChanged:
    """A message that we delivered has a new status: `received`, `read` or `failed`."""

    remote_id: str
    status: str
    at: datetime
    scope: str = ""
    thread: str = ""
    own_key: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadUpTo:
    """Everything up to `remote_id` (as the end orders its ids: by `order`) was read by the other side."""

    remote_id: str
    at: datetime
    client: Person | None = None
    thread: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypingStarted:
    """The client, or (told by a CRM) a manager, is typing: shown at once to the other side where that can be shown, never stored, never repeated."""

    client: Person | None = None
    thread: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientChanged:
    """Facts about a client changed. `may_write` False: he forbade messages; True: he allowed them; None: not said."""

    client: Person
    at: datetime
    may_write: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogOpened:
    """The CRM opened a dialog for a conversation; `session` is remembered in `Link.state`."""

    thread: str
    at: datetime
    session: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogWanted:
    """A CRM's user wrote first, by the CRM's own means, to an address that no conversation of ours stands for yet.

    Shape: `remote_id` is the CRM's id of the message; `chat` its id of the dialog, by which a later message finds the conversation that was made;
    `channel` is our id of the channel he chose, empty where he was not asked; `place` names whatever the adapter needs to answer; `session` is remembered
    in `Link.state` of the conversation.
    """

    remote_id: str
    chat: str
    address_kind: str
    address: str
    at: datetime
    text: str
    author: str = ""
    author_id: str = ""
    channel: str = ""
    place: str = ""
    session: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogClosed:
    """The CRM's user closed the dialog."""

    thread: str
    at: datetime
    session: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadFormFilled:
    """A client filled in a lead form."""

    remote_id: str
    client: Person
    at: datetime
    title: str
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMissed:
    """A client called and nobody answered."""

    remote_id: str
    client: Person
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRevoked:
    """The outside says that we no longer have access. `erase`: the admin also asked to delete what we keep."""

    reason: str
    erase: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EndChanged:
    """Facts about the end itself changed: settings and secrets to merge; `reconnect`: the adapter's `connect` must run again."""

    settings: dict[str, object] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    reconnect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EndBroken:
    """A setting at the outside was removed (a line deleted, a connector switched off): the end goes to `error` with this reason."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Understood, and of no use to anybody; counted only."""

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unparsed:
    """Genuine but not understood: kept, counted and shown. `why` holds no contents."""

    kind: str
    why: str


Event = (
    MessageReceived
    | MessageEdited
    | MessageDeleted
    | StatusChanged
    | ReadUpTo
    | TypingStarted
    | ClientChanged
    | DialogOpened
    | DialogWanted
    | DialogClosed
    | LeadFormFilled
    | CallMissed
    | EndRevoked
    | EndChanged
    | EndBroken
    | Ignored
    | Unparsed
)
