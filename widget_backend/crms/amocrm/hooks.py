"""What the chats API tells us: messages, typing and reactions of managers, each once, at one address for every account (amocrm.md 4.1).

What `pull` finds in the history of a chat is written in the same words. Hooks of the CRM itself are not relied on: they depend on an account's plan.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from widget_backend.bridge.ends import CARD, CONTACT, PULLED, Hook, HookAnswer, Kept, Owner
from widget_backend.bridge.errors import NotGenuine
from widget_backend.bridge.events import (
    Attachment,
    DialogOpened,
    DialogWanted,
    Direction,
    EndChanged,
    Event,
    Forward,
    Ignored,
    Kind,
    MessageReceived,
    Quote,
    TypingStarted,
    Unparsed,
)
from widget_backend.crms.amocrm.format import with_buttons
from widget_backend.reading import Malformed, Reader, read_json

PLACE = "chats"
"""The door's name for these hooks: support is given `<door>/chats/:scope_id`."""

MISSED_FOR = timedelta(minutes=10)
"""How old an answer may be that was found in a history to be sent by itself."""

_KINDS = {
    "picture": Kind.PHOTO,
    "video": Kind.VIDEO,
    "voice": Kind.VOICE,
    "audio": Kind.AUDIO,
    "sticker": Kind.STICKER,
    "file": Kind.DOCUMENT,
}
_FOUND = ("notices", "known_stages")
_OUR_SOURCE = re.compile(r"[0-9a-f]{32}")
_OUR_KEY = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()


def verify(hook: Hook, owner: Owner) -> Kept:
    """Prove with the secret of the channel that the scope in the address names.

    Raises: NotGenuine.
    Source: amocrm.md 4.1 (`X-Signature`: HMAC-SHA1 of the raw body), 2.4 (scope).
    """
    channel_id, _, account_id = hook.name.removeprefix(f"{PLACE}/").partition("_")
    known = [one.get(f"channel:{channel_id}", "") for one in (owner.secrets, owner.previous)]
    told = hook.headers.get("x-signature", "").encode()
    if not any(secret and hmac.compare_digest(told, signature(secret, hook.body).encode()) for secret in known):
        raise NotGenuine("wrong_secret" if any(known) else "unknown_channel")
    try:
        body = read_json(hook.body)
        if body["account_id"].text_or("") != account_id:
            raise NotGenuine("other_account")
        if "message" in body:
            return Kept(event_id=f"m:{body['message']['message']['id'].remote_id_or('')}")
    except Malformed:
        pass  # genuine: kept, and shown as not understood
    return Kept()


def split(hook: Hook) -> Sequence[tuple[str, str, bytes]]:
    """Name the account a body belongs to; one body never holds several. Source: amocrm.md 4.1 (`account_id` is that of the chats API)."""
    try:
        body = read_json(hook.body)
        message_id = body["message"]["message"]["id"].remote_id_or("")
        return [(body["account_id"].text(), f"m:{message_id}" if message_id else "", hook.body)]
    except Malformed:
        return [("", "", hook.body)]


def parse(hook: Hook, owner: Owner) -> Sequence[Event]:
    """Turn a chat hook, or a message found in a history, into events.

    Units: timestamp s, msec_timestamp ms.
    Raises: nothing.
    Source: amocrm.md 4.1.
    """
    try:
        body = read_json(hook.body)
        if "message" in body:
            return [_message(body["message"], hook)]
        if "chat" in body and hook.name == PULLED:
            return [_chat(body["chat"], hook)]
        if "survey" in body and hook.name == PULLED:
            return [
                EndChanged(settings={name: _names(body["survey"][name]) for name in _FOUND if name in body["survey"]})
            ]
        action = body["action"]
        if "typing" in action:
            return [TypingStarted(thread=action["typing"]["conversation"]["client_id"].remote_id_or(""))]
        if "reaction" in action:
            return [Ignored(kind="reaction")]
        return [Unparsed(kind="", why="neither a message nor an action we know")]
    except Malformed as error:
        return [Unparsed(kind="message" if b'"message"' in hook.body else "", why=str(error))]


def answer(hook: Hook, owner: Owner) -> HookAnswer:
    """Say 200 at once: five seconds are all there is, and nothing is repeated. Source: amocrm.md 4.1."""
    return HookAnswer()


def signature(secret: str, body: bytes) -> str:
    """Sign a body as the chats API does. Source: amocrm.md 4.1; the secret is text, not hex (10.6)."""
    return hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()


def _message(told: Reader, hook: Hook) -> Event:
    conversation, message = told["conversation"], told["message"]
    thread = conversation["client_id"].remote_id_or("")
    if not thread:
        return _wanted(told, hook)
    session = {"chat": conversation["id"].remote_id_or(""), "user_ref": told["receiver"]["id"].remote_id_or("")}
    attachments = _attachments(message)
    text = with_buttons(message["text"].text_or(""), message["markup"])
    forwards = tuple(_forward(one) for one in message["forwards"]["messages"].items())
    if not (text or attachments or forwards):
        return Unparsed(kind=message["type"].text_or("")[:80], why="a message without text and files")
    sent_at = _moment(told, hook.received_at)
    ours = message["client_id"].remote_id_or(message["msgid"].remote_id_or(""))
    return MessageReceived(
        remote_id=message["id"].remote_id(),
        direction=Direction.OUT,
        sent_at=sent_at,
        thread=thread,
        text=text,
        attachments=attachments,
        quote=_quote(message["reply_to"]["message"]),
        forwards=forwards,
        author=told["sender"]["name"].text_or(""),
        author_id=told["sender"]["id"].remote_id_or(""),
        own_key=ours if _OUR_KEY.fullmatch(ours) else "",
        send_until=sent_at + MISSED_FOR if hook.name == PULLED else None,
        group=message["media_group_id"].remote_id_or("") if attachments else "",
        session={name: value for name, value in session.items() if value},
    )


def _wanted(told: Reader, hook: Hook) -> Event:
    """Read a message to a phone number: amoCRM has a chat of its own for it and knows no name of ours. Files are sent as links. Source: amocrm.md 2.9."""
    message, chat = told["message"], told["conversation"]["id"].remote_id()
    links = [thing.url for thing in _attachments(message)]
    source = told["source"]["external_id"].text_or("")
    return DialogWanted(
        remote_id=message["id"].remote_id(),
        chat=chat,
        address_kind="phone",
        address=told["receiver"]["phone"].text_or(""),
        at=_moment(told, hook.received_at),
        text="\n".join(part for part in (message["text"].text_or(""), *links) if part),
        author=told["sender"]["name"].text_or(""),
        author_id=told["sender"]["id"].remote_id_or(""),
        channel=source if _OUR_SOURCE.fullmatch(source) else "",
        place=hook.name.removeprefix(f"{PLACE}/").partition("_")[0],
        session={"begun": "1", "began_there": "1", "chat": chat, "user_ref": told["receiver"]["id"].remote_id_or("")},
    )


def _names(told: Reader) -> list[str]:
    return [one.text_or("") for one in told.items()]


def _chat(told: Reader, hook: Hook) -> Event:
    """Read what `pull` learnt about a conversation: its chat, contact and deal. Source: amocrm.md 2.5, 3.5."""
    session = {"chat": told["id"].remote_id()}
    session |= {name: value for name in (CARD, CONTACT) if (value := told["session"][name].text_or(""))}
    return DialogOpened(thread=told["client_id"].remote_id(), at=hook.received_at, session=session)


def _attachments(message: Reader) -> tuple[Attachment, ...]:
    """Read the file of a message; a link that amoCRM shortened is left as it is. Source: amocrm.md 4.1."""
    url = message["media"].text_or("")
    kind = message["type"].text_or("")
    if not url:
        return ()
    return (
        Attachment(
            kind=_KINDS.get(kind, Kind.DOCUMENT),
            url=url,
            name=message["file_name"].text_or(""),
            size_bytes=message["file_size"].integer_or(0) or None,
            duration_s=message["media_duration"].integer_or(0) or None,
        ),
    )


def _quote(told: Reader) -> Quote | None:
    if not told.is_there:
        return None
    return Quote(
        remote_id=told["id"].remote_id_or(""), text=told["text"].text_or(""), author=told["sender"]["name"].text_or("")
    )


def _forward(told: Reader) -> Forward:
    return Forward(
        author=told["sender"]["name"].text_or(""), text=told["text"].text_or(""), attachments=_attachments(told)
    )


def _moment(told: Reader, received_at: datetime) -> datetime:
    milliseconds = told["msec_timestamp"].integer_or(0)
    seconds = milliseconds / 1000 if milliseconds else float(told["timestamp"].integer_or(0))
    return datetime.fromtimestamp(seconds, UTC) if 0 < seconds < _LATEST else received_at
