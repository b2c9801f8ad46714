"""Telegram bots behind the seam: the life of a channel, what is delivered to clients, what is asked about them, polling."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

from widget_backend.bridge import ends
from widget_backend.bridge.ends import (
    Accepted,
    Connected,
    Conversation,
    End,
    Item,
    NotThere,
    Outcome,
    Pulled,
    Raw,
)
from widget_backend.bridge.errors import EndError, Rejected, Uncertain, preparing
from widget_backend.bridge.events import Attachment, Kind, Person
from widget_backend.networks.telegram_bot.client import POLL_COUNT, Client, Params, understood
from widget_backend.networks.telegram_bot.format import birthday, person
from widget_backend.networks.telegram_bot.hooks import UPDATES
from widget_backend.networks.telegram_bot.login import POLLING, Registration
from widget_backend.networks.telegram_bot.media import CAPTIONLESS, METHODS, Upload, opened
from widget_backend.reading import Reader

WEBHOOK_PULL = timedelta(minutes=10)
"""How often an end with a webhook is looked at: Telegram keeps and repeats what we missed by itself (telegram.md A2)."""


@dataclass(frozen=True, slots=True)
class _Chat:
    """Where a message goes: a chat, and whose it is when it is a business account's."""

    id: str
    connection: str = ""

    @property
    def params(self) -> dict[str, object]:
        """How calls name it. Source: telegram.md A5: without the connection the same number is the bot's own chat."""
        business = {"business_connection_id": self.connection} if self.connection else {}
        return {"chat_id": self.id, **business}


class TelegramBot:
    """A Telegram bot as a channel."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._client = Client(end)

    # ------------------------------------------------------------------------------------------------------------ life

    def connect(self, keep: ends.Keep) -> Connected:
        """Have updates come to us. Source: telegram.md A1, A2."""
        return Registration(self._end, self._client).connect(keep)

    def check(self) -> None:
        """See whether the token works and updates still come to us. Source: telegram.md A2."""
        Registration(self._end, self._client).check()

    def disconnect(self) -> None:
        """Take our webhook back. Source: telegram.md A1."""
        Registration(self._end, self._client).disconnect()

    def pull(self, request: ends.PullRequest) -> Pulled:
        """Fetch what waits at Telegram, where updates come by polling; with a webhook Telegram repeats by itself.

        Shape: the cursor's `offset` confirms what the last pull brought, once that is kept. It is forgotten when nothing waits:
        after a quiet week the numbers begin anew.
        Source: telegram.md A2, `getUpdates`, `update_id`.
        """
        if self._end.settings.get("transport") != POLLING:
            return Pulled(raws=(), cursor=request.cursor, next_in=WEBHOOK_PULL)
        with preparing(), understood():
            offset = Reader(dict(request.cursor))["offset"].integer_or(0)
            updates = self._client.get_updates(offset, UPDATES)
            raws = tuple(_raw(update) for update in updates)
            newest = max((update["update_id"].integer() for update in updates), default=0)
        cursor = {"offset": newest + 1} if updates else {}
        return Pulled(raws=raws, cursor=cursor, more=len(updates) == POLL_COUNT)

    def locate(self, attachment: Attachment) -> tuple[str, Mapping[str, str]]:
        """Return where a file can be fetched. Raises: Rejected `file_too_big` above 20 MB. Source: telegram.md A4."""
        with preparing(), understood():
            path = self._client.get_file(attachment.handle)
        if path.startswith("/"):  # a self-hosted server in local mode names its own disk (telegram.md A4)
            raise Rejected("local_file")
        return self._client.file_url(path), {}

    def lookup(self, item: Item) -> Accepted | NotThere:
        """Telegram lists no messages to bots. Source: telegram.md A4."""
        raise Uncertain("no_answer", "nothing to look up at")

    # -------------------------------------------------------------------------------------------------------- delivery

    def send(self, batch: Sequence[Item]) -> Sequence[Outcome]:
        """Send new messages, one by one.

        Shape: nothing is raised for the whole batch, so that no result of an earlier call is lost.
        """
        return [self._outcome(item) for item in batch]

    def _outcome(self, item: Item) -> Outcome:
        try:
            with understood():
                return Accepted(remote_ids=self._sent(item))
        except EndError as error:
            return error

    def _sent(self, item: Item) -> tuple[str, ...]:
        """Send to where the chat is now. What went to a group's new chat is numbered there, so its ids name the chat.

        Source: telegram.md A8, `migrate_to_chat_id`: the call was refused, nothing was sent.
        """
        chat = _chat(item.conversation)
        try:
            return tuple(self._posted(item, chat))
        except Rejected as error:
            if error.reason != "group_moved":
                raise
            moved = _Chat(error.detail)
        return tuple(f"{moved.id}/{message_id}" for message_id in self._posted(item, moved))

    def _posted(self, item: Item, chat: _Chat) -> list[str]:
        """Send, and what Telegram refuses as a picture, voice or album once more as documents. Source: telegram.md A4, A8."""
        to = {**chat.params, **_quoting(item)}
        try:
            messages = self._messages(item, to, [one.attachment.kind for one in item.files])
        except Rejected as error:
            if error.reason != "file_refused" or all(one.attachment.kind is Kind.DOCUMENT for one in item.files):
                raise
            messages = self._messages(item, to, [Kind.DOCUMENT] * len(item.files))
        # a message that Telegram will send later has no number yet (api.json, Message.message_id)
        return [message["message_id"].remote_id() for message in messages if message["message_id"].integer()]

    def _messages(self, item: Item, to: Params, kinds: Sequence[Kind]) -> list[Reader]:
        if not item.files:
            return [self._client.send_message(to, item.text, self._previews())]
        if len(item.files) > 1:
            return self._album(item, to, kinds)
        native = _NATIVE.get(kinds[0])
        if native is not None:
            return [native(self._client, to, item.files[0].attachment)]
        method, name = METHODS[kinds[0]]
        caption = "" if kinds[0] in CAPTIONLESS else item.text
        with ExitStack() as files:
            upload = opened(item.files[0])
            files.enter_context(upload[1])
            return [self._client.send_file(to, method, name, upload, caption)]

    def _album(self, item: Item, to: Params, kinds: Sequence[Kind]) -> list[Reader]:
        """Send several files as one; the words stand below the first. Source: telegram.md A4, sendMediaGroup."""
        with ExitStack() as files:
            media: list[Params] = []
            uploads: dict[str, Upload] = {}
            for number, (one, kind) in enumerate(zip(item.files, kinds, strict=True)):
                uploads[f"file{number}"] = upload = opened(one)
                files.enter_context(upload[1])
                caption = {"caption": item.text} if item.text and not media else {}
                media.append({"type": METHODS[kind][1], "media": f"attach://file{number}", **caption})
            return self._client.send_media_group(to, media, uploads)

    def _previews(self) -> dict[str, object]:
        is_off = self._end.settings.get("link_previews") is False
        return {"link_preview_options": {"is_disabled": True}} if is_off else {}

    def edit(self, item: Item) -> Outcome:
        """Change the words of a message, or put a file into one that had none. Source: telegram.md A4, A8."""
        if item.files and item.files[0].attachment.kind in (*CAPTIONLESS, *_NATIVE):
            return Accepted(remote_ids=item.remote_ids)  # has no words to change
        at = _message_at(item)
        steps: list[tuple[str, Callable[[], None]]] = [
            ("no_text_there", lambda: self._client.edit_message_text(at, item.text, self._previews())),
            ("no_caption_there", lambda: self._client.edit_message_caption(at, item.text)),
            ("", lambda: self._edit_media(item, at)),
        ]
        for passes_on, step in steps[1:] if item.files else steps[:2]:
            try:
                with understood():
                    step()
                break
            except Rejected as error:
                if error.reason == "not_modified":
                    break
                if error.reason != passes_on:
                    raise
        else:
            raise Rejected("cannot_be_edited")
        return Accepted(remote_ids=item.remote_ids)

    def _edit_media(self, item: Item, at: Params) -> None:
        with ExitStack() as files:
            upload = opened(item.files[0])
            files.enter_context(upload[1])
            kind = METHODS[item.files[0].attachment.kind][1]
            media = {"type": kind if kind != "voice" else "audio", "media": "attach://file0", "caption": item.text}
            self._client.edit_message_media(at, media, {"file0": upload})

    def delete(self, item: Item) -> Outcome:
        """Delete a message for everybody; what is already gone is fine. Source: telegram.md A4, A5."""
        chat = _chat(item.conversation)
        numbers = [int(one.rpartition("/")[2]) for one in item.remote_ids]
        moved = item.remote_ids[0].rpartition("/")[0]
        with understood():
            if chat.connection:
                self._client.delete_business_messages(chat.connection, numbers)
            else:
                self._client.delete_messages(moved or chat.id, numbers)
        return Accepted(remote_ids=item.remote_ids)

    def mark_read(self, item: Item) -> Outcome:
        """Mark the client's messages as read where Telegram lets a bot do so: for a business account. Source: telegram.md A5."""
        chat = _chat(item.conversation)
        read = [one for one in item.other_remote_ids if one.isdecimal()]
        if chat.connection and read:
            with understood():
                self._client.read_business_message({**chat.params, "message_id": int(read[-1])})
        return Accepted()

    def typing(self, conversation: Conversation) -> None:
        """Show that somebody is typing. Source: telegram.md A4."""
        self._client.send_chat_action(_chat(conversation).params, "typing")

    # -------------------------------------------------------------------------------------------------------- looking up

    def profile(self, client: ends.Client) -> Person:
        """Ask who a client is. His photo stays out: its address would hold the token. Source: telegram.md A4, getChat."""
        with preparing(), understood():
            chat = self._client.get_chat(client.person.remote_id)
            known = person(chat)
            return Person(
                remote_id=client.person.remote_id,
                name=known.name,
                username=known.username,
                profile_url=known.profile_url,
                birthday=birthday(chat["birthdate"]),
            )

    def may_write_first(self, client: ends.Client) -> bool:
        """Tell whether the client has pressed Start and not blocked the bot: it may only then show that it types. Source: telegram.md A8, 403."""
        try:
            with preparing(), understood():
                self._client.send_chat_action({"chat_id": client.person.remote_id}, "typing")
        except Rejected:
            return False
        return True

    def resolve(self, address: str) -> Person | None:
        """A bot cannot find people. Source: telegram.md, first table: the user must press Start once."""
        return None


def _chat(conversation: Conversation) -> _Chat:
    return _Chat(conversation.client.person.remote_id, conversation.thread)


def _message_at(item: Item) -> dict[str, object]:
    chat = _chat(item.conversation)
    moved, _, message_id = item.remote_ids[0].rpartition("/")
    return {**chat.params, **({"chat_id": moved} if moved else {}), "message_id": int(message_id)}


def _quoting(item: Item) -> dict[str, object]:
    """Name the message answered; one that is gone stops nothing. Source: telegram.md A4, A8."""
    if item.quote is None or not item.quote.remote_id.isdecimal():
        return {}
    return {"reply_parameters": {"message_id": int(item.quote.remote_id), "allow_sending_without_reply": True}}


def _raw(update: Reader) -> Raw:
    body = json.dumps(update.plain(), ensure_ascii=False, separators=(",", ":")).encode()
    return Raw(event_id=update["update_id"].remote_id(), body=body)


def _location(client: Client, to: Params, place: Attachment) -> Reader:
    latitude, longitude = place.latitude or 0.0, place.longitude or 0.0
    if place.title and place.text:
        return client.send_venue(to, latitude, longitude, place.title, place.text)
    return client.send_location(to, latitude, longitude)


def _contact(client: Client, to: Params, contact: Attachment) -> Reader:
    name = contact.title or contact.name
    if not contact.phone:  # Telegram takes no contact without a number
        return client.send_message(to, name, {})
    return client.send_contact(to, contact.phone, name or contact.phone)


_NATIVE: Mapping[Kind, Callable[[Client, Params, Attachment], Reader]] = {
    Kind.LOCATION: _location,
    Kind.CONTACT: _contact,
}
