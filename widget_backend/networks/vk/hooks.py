"""The Callback API of VK: who sent a hook, what it says, what VK gets for an answer. Pure: no database, no network, no clock."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from widget_backend.bridge.ends import Hook, HookAnswer, Kept, Owner
from widget_backend.bridge.errors import NotGenuine
from widget_backend.bridge.events import (
    Attachment,
    ClientChanged,
    Direction,
    Event,
    Forward,
    Ignored,
    Kind,
    LeadFormFilled,
    MessageEdited,
    MessageReceived,
    Person,
    Place,
    Quote,
    ReadUpTo,
    TypingStarted,
    Unparsed,
)
from widget_backend.networks.vk.format import dialog_url, person_url, readable
from widget_backend.networks.vk.media import attachments_of
from widget_backend.reading import Malformed, Reader, peek_json, read_json

FIRST_CHAT = 2_000_000_000
MAX_DEPTH = 200  # forwards nest; deeper than this nobody reads
_CONFIRMATION = "confirmation"
_SHOWN_KIND_CHARS = 60


# -------------------------------------------------------------------------------------------------------- who sent it


def verify(hook: Hook, owner: Owner) -> Kept:
    """Prove that VK sent this: our secret in the body, and our community.

    Shape: the secret is cut out of what is kept. A `confirmation` may come without a secret; it is only answered, with a
    code that means nothing to anybody but VK.
    Raises: NotGenuine.
    Source: vk.md 3.1: the secret is the only authentication, there is no signature.
    """
    try:
        envelope = peek_json(hook.body)
        group_id, kind = envelope["group_id"].remote_id(), envelope["type"].text()
        secret = envelope["secret"].text_or("")
        event_id = envelope["event_id"].remote_id_or("")
    except Malformed as error:
        raise NotGenuine(f"malformed: {error}") from error
    if not hmac.compare_digest(group_id.encode(), _group_id(owner).encode()):
        raise NotGenuine("another community")
    is_confirmation = kind == _CONFIRMATION
    if not _is_secret(secret, owner) and not (is_confirmation and not secret):
        raise NotGenuine("wrong secret")
    if is_confirmation:
        return Kept(event_id=event_id, keep=False)
    # the bytes as they came, without the secret: letters, digits, - and _, which JSON writes one way only
    return Kept(event_id=event_id, body=hook.body.replace(secret.encode(), b""))


def _group_id(owner: Owner) -> str:
    # VK asks for the confirmation while `connect` still runs: the end has no remote id yet, only what `keep` stored
    return owner.remote_id or str(owner.settings.get("group_id") or "")


def _is_secret(secret: str, owner: Owner) -> bool:
    valid = (owner.secrets.get("callback_secret"), owner.previous.get("callback_secret"))
    # every valid secret is compared, so that the time says nothing about which one matched
    matches = [hmac.compare_digest(secret.encode(), one.encode()) for one in valid if one]
    return any(matches)


def split(hook: Hook) -> Sequence[tuple[str, str, bytes]]:
    """Cut a body into parts by community: a Callback API body always holds one event of one community.

    Source: vk.md 3.1.
    """
    try:
        envelope = read_json(hook.body, max_depth=MAX_DEPTH)
        return [(envelope["group_id"].remote_id(), envelope["event_id"].remote_id_or(""), hook.body)]
    except Malformed:
        return []


def answer(hook: Hook, owner: Owner) -> HookAnswer:
    """Answer exactly `ok`, or the confirmation code where VK asks for it.

    Source: vk.md 3.1; anything else counts as a failure there and is repeated.
    """
    # most hooks are none, and the door is measured: they are not read twice
    if _CONFIRMATION.encode() not in hook.body or _kind_of(hook) != _CONFIRMATION:
        return HookAnswer(body="ok")
    code = owner.secrets.get("confirmation", "")
    return HookAnswer(body=code) if code else HookAnswer(status=503, body="no confirmation code")


def _kind_of(hook: Hook) -> str:
    try:
        return read_json(hook.body, max_depth=MAX_DEPTH)["type"].text()[:_SHOWN_KIND_CHARS]
    except Malformed:
        return ""


# -------------------------------------------------------------------------------------------------------- what it says


def parse(hook: Hook, owner: Owner) -> Sequence[Event]:
    """Turn one Callback API body, or one pulled message in the same shape, into events.

    Shape: body = {type, group_id, event_id, v, object}. One event per body; Ignored for kinds that nobody needs.
    Units: dates are Unix seconds.
    Raises: nothing; a body that is not understood becomes [Unparsed].
    Source: vk.md 3.2 to 3.8 (Callback API 5.199).
    """
    try:
        body = read_json(hook.body, max_depth=MAX_DEPTH)
        kind = body["type"].text()
        if kind in IGNORED:
            return [Ignored(kind=kind)]
        read = _READERS.get(kind)
        if read is None:
            return [Unparsed(kind=kind[:_SHOWN_KIND_CHARS], why="unknown event")]
        return [read(body["object"], hook, owner)]
    except Malformed as error:
        return [Unparsed(kind=_kind_of(hook) or "unknown", why=str(error))]


def _message_new(thing: Reader, hook: Hook, owner: Owner) -> Event:
    # v < 5.103 did not wrap the message (vk.md 3.2); a server set to an old version by hand still reaches us
    return _message(thing["message"] if thing["message"].is_there else thing, owner)


def _message_reply(thing: Reader, hook: Hook, owner: Owner) -> Event:
    return _message(thing, owner)


def _message(message: Reader, owner: Owner) -> Event:
    peer_id = message["peer_id"].integer()
    if "action" in message:
        return Ignored(kind="service_action")
    is_ours = message["out"].flag_or(False) or message["from_id"].remote_id() == f"-{_group_id(owner)}"
    author, author_id = _author(message, peer_id, is_ours)
    page = dialog_url(_group_id(owner), peer_id)
    files = attachments_of(message, page)
    if message["is_cropped"].flag_or(False):
        # the rest must be asked for (vk.md 3.2): until then the manager is told where to read it
        files += (Attachment(kind=Kind.UNSUPPORTED, link=page),)
    return MessageReceived(
        remote_id=_remote_id(message, peer_id),
        direction=Direction.OUT if is_ours else Direction.IN,
        sent_at=_moment(message["date"]),
        client=_client(peer_id),
        scope=_scope(peer_id),
        place=Place.GROUP if peer_id >= FIRST_CHAT else Place.DIRECT,
        is_partial=message["is_cropped"].flag_or(False),
        text=readable(message["text"].text_or("")),
        attachments=files,
        quote=_quote(message["reply_message"], peer_id) if "reply_message" in message else None,
        forwards=tuple(_forwards(message["fwd_messages"], page)),
        author=author,
        author_id=author_id,
        own_key=_own_key(message["random_id"].integer_or(0)) if is_ours else "",
        ref=message["ref"].text_or(""),
        ref_source=message["ref_source"].text_or(""),
        payload=message["payload"].text_or(""),
    )


def _author(message: Reader, peer_id: int, is_ours: bool) -> tuple[str, str]:
    """Say who wrote (name, id) when it is not the client himself. VK tells no names here; an admin is known by his id."""
    if is_ours:
        return "", message["admin_author_id"].remote_id_or("")
    if peer_id < FIRST_CHAT:
        return "", ""
    from_id = message["from_id"].integer()
    return person_url(from_id), str(from_id)


def _remote_id(message: Reader, peer_id: int) -> str:
    if peer_id >= FIRST_CHAT:  # `id` is 0 in chats (vk.md 3.2)
        return str(message["conversation_message_id"].integer())
    if message["id"].integer() <= 0:
        raise Malformed(message["id"].path, "id above zero", "integer")
    return message["id"].remote_id()


def _scope(peer_id: int) -> str:
    return str(peer_id) if peer_id >= FIRST_CHAT else ""


def _client(peer_id: int) -> Person:
    if peer_id >= FIRST_CHAT:
        return Person(remote_id=str(peer_id))
    return Person(remote_id=str(peer_id), profile_url=person_url(peer_id))


def _own_key(random_id: int) -> str:
    """Return what may be a counter of ours: `random_id` is echoed (vk.md 3.3), and ours lie between 1 and 2**31."""
    return str(random_id) if 0 < random_id < 2**31 else ""


def _quote(message: Reader, peer_id: int) -> Quote:
    name = "conversation_message_id" if peer_id >= FIRST_CHAT else "id"
    return Quote(remote_id=message[name].remote_id_or(""), text=readable(message["text"].text_or("")))


def _forwards(messages: Reader, page: str) -> Iterator[Forward]:
    """Flatten forwarded messages: the nested ones follow their parent."""
    for message in messages.items():
        yield Forward(
            author=person_url(message["from_id"].integer()),
            text=readable(message["text"].text_or("")),
            attachments=attachments_of(message, page),
            sent_at=_moment(message["date"]),
        )
        yield from _forwards(message["fwd_messages"], page)
        if "reply_message" in message:
            yield from _forwards(Reader([message["reply_message"].plain()], message["reply_message"].path), page)


def _message_edit(message: Reader, hook: Hook, owner: Owner) -> Event:
    peer_id = message["peer_id"].integer()
    if "action" in message:
        return Ignored(kind="service_action")
    # the echo of an edit made by call: VK's names for our own files and mentions are no news
    is_echo = message["out"].flag_or(False) and not message["admin_author_id"].is_there
    text = message["text"].text_or("")
    return MessageEdited(
        remote_id=_remote_id(message, peer_id),
        edited_at=_moment(message["update_time"]) if "update_time" in message else hook.received_at,
        text=text if is_echo else readable(text),
        client=_client(peer_id),
        scope=_scope(peer_id),
        attachments=None if is_echo else attachments_of(message, dialog_url(_group_id(owner), peer_id)),
        # the version grows with every edit; the time alone would join two edits of one second
        revision=message["version"].remote_id_or("") or message["update_time"].remote_id_or(""),
    )


def _message_allow(thing: Reader, hook: Hook, owner: Owner) -> Event:
    return ClientChanged(client=_client(thing["user_id"].integer()), at=hook.received_at, may_write=True)


def _message_deny(thing: Reader, hook: Hook, owner: Owner) -> Event:
    return ClientChanged(client=_client(thing["user_id"].integer()), at=hook.received_at, may_write=False)


def _message_typing_state(thing: Reader, hook: Hook, owner: Owner) -> Event:
    from_id = thing["from_id"].integer()
    if from_id <= 0:
        return Ignored(kind="own_typing")
    return TypingStarted(client=_client(from_id))


def _message_read(thing: Reader, hook: Hook, owner: Owner) -> Event:
    peer_id, from_id = thing["peer_id"].integer(), thing["from_id"].integer()
    if from_id < 0:
        return Ignored(kind="own_reading")
    name = "conversation_message_id" if peer_id >= FIRST_CHAT else "read_message_id"
    return ReadUpTo(
        remote_id=str(thing[name].integer()), at=hook.received_at, client=_client(peer_id), scope=_scope(peer_id)
    )


def _message_event(thing: Reader, hook: Hook, owner: Owner) -> Event:
    """A button that answers by an event and writes no message: shown as a message that has nothing but its payload."""
    peer_id = thing["peer_id"].integer()
    return MessageReceived(
        remote_id=f"event:{thing['event_id'].text()}",
        direction=Direction.IN,
        sent_at=hook.received_at,
        client=_client(peer_id),
        scope=_scope(peer_id),
        place=Place.GROUP if peer_id >= FIRST_CHAT else Place.DIRECT,
        author_id=str(thing["user_id"].integer()) if peer_id >= FIRST_CHAT else "",
        payload=json.dumps(thing["payload"].plain(), ensure_ascii=False, separators=(",", ":")),
    )


def _lead_forms_new(thing: Reader, hook: Hook, owner: Owner) -> Event:
    return LeadFormFilled(
        remote_id=thing["lead_id"].remote_id(),
        client=_client(thing["user_id"].integer()),
        at=hook.received_at,
        title=thing["form_name"].text_or(""),
        answers=tuple(
            (one["question"].text_or("") or one["key"].text(), one["answer"].text_or(""))
            for one in thing["answers"].items()
        ),
    )


def _moment(date: Reader) -> datetime:
    try:
        return datetime.fromtimestamp(date.integer(), UTC)
    except (ValueError, OverflowError, OSError):
        raise Malformed(date.path, "date", "integer") from None


_READERS: Mapping[str, Callable[[Reader, Hook, Owner], Event]] = {
    "message_new": _message_new,
    "message_reply": _message_reply,
    "message_edit": _message_edit,
    "message_allow": _message_allow,
    "message_deny": _message_deny,
    "message_typing_state": _message_typing_state,
    "message_read": _message_read,
    "message_event": _message_event,
    "lead_forms_new": _lead_forms_new,
}

EVENTS = (*_READERS,)
"""What our callback server asks for."""

IGNORED = frozenset(
    {_CONFIRMATION, "message_reaction_event", "audio_new", "photo_new", "video_new", "poll_vote_new", "like_add",
     "like_remove", "group_join", "group_leave", "group_change_photo", "group_change_settings", "group_officers_edit",
     "user_block", "user_unblock", "market_order_new", "market_order_edit", "wall_post_new", "wall_repost",
     "wall_schedule_post_new", "wall_schedule_post_delete", "vkpay_transaction", "app_payload",
     "donut_subscription_create", "donut_subscription_prolonged", "donut_subscription_cancelled",
     "donut_subscription_price_changed", "donut_subscription_expired", "donut_money_withdraw",
     "donut_money_withdraw_error"}
    | {f"{place}_{deed}" for place in ("wall_reply", "photo_comment", "video_comment", "market_comment", "board_post")
       for deed in ("new", "edit", "restore", "delete")}
)  # fmt: skip
"""Understood and not asked for: a community's admin may have switched them on by hand for our server (vk.md 3.4, 3.5)."""
