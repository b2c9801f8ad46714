"""Everything that happens to a chat, whoever did it: state, ledger and updates change together here (telegram.md A3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.sandbox.telegram_bot.calls import Place
from tests.sandbox.telegram_bot.state import Bot, Json, Message, Person, conversation_key

if TYPE_CHECKING:
    from tests.sandbox.telegram_bot.peer import TelegramPeer

MEDIA_FIELDS = ("photo", "video", "animation", "document", "audio", "voice", "video_note", "sticker")
OTHER_FIELDS = ("location", "venue", "contact", "poll", "dice", "story")
CONTENT = ("text", "entities", "caption", "caption_entities", "reply_markup", *MEDIA_FIELDS, *OTHER_FIELDS)


class Deeds:
    """The deeds of one twin."""

    def __init__(self, peer: TelegramPeer) -> None:
        self._peer = peer

    # -- messages ----------------------------------------------------------------------------------------------------

    def from_bot(self, bot: Bot, place: Place, fields: Json) -> Message:
        """Let the bot write: in its own chat, or for the owner of a business connection."""
        sender: Json = {"from": bot.user()}
        if place.connection:
            sender = {
                "from": place.connection.owner.user(),
                "sender_business_bot": bot.user(),
                "business_connection_id": place.connection.id,
            }
        if place.chat.kind == "channel":
            sender = {"sender_chat": place.chat.json()}
        message = self._add(bot, place, {**sender, **fields}, outgoing=True)
        place.chat.action = ""
        if place.connection:  # its own messages come back too (telegram.md A5)
            self._tell(bot, place, "business_message", message.body)
        return message

    def from_person(self, bot: Bot, place: Place, person: Person, fields: Json) -> Message:
        """Let a person write: a customer, or the owner of a business account by hand."""
        sender: Json = {"sender_chat": place.chat.json()} if place.chat.kind == "channel" else {"from": person.user()}
        is_owner = bool(place.connection and place.connection.owner.id == person.id)
        if place.connection:
            sender["business_connection_id"] = place.connection.id
        if place.chat.kind == "private" and not is_owner:
            place.chat.last_incoming_at = self._peer.now()
        message = self._add(bot, place, {**sender, **fields}, outgoing=is_owner)
        self._tell(bot, place, self._kind(place, "message"), message.body)
        return message

    def _add(self, bot: Bot, place: Place, fields: Json, *, outgoing: bool) -> Message:
        now = self._peer.now()
        number = bot.next_id(place.chat, place.connection)
        body = {"message_id": number, "date": int(now), "chat": place.chat.json(), **fields}
        message = Message(number, body, outgoing, now)
        place.chat.messages[number] = message
        self.note("message", bot, place, message)
        return message

    def edit(self, bot: Bot, place: Place, message: Message, content: Json, *, by_bot: bool) -> None:
        """Replace the content of a message; the other side hears of it, the bot does not hear of its own edits."""
        kept = {name: value for name, value in message.body.items() if name not in CONTENT}
        message.body = {**kept, "edit_date": int(self._peer.now()), **content}
        message.edits += 1
        self.note("edit", bot, place, message)
        if place.connection or not by_bot:
            self._tell(bot, place, "edited_" + self._kind(place, "message"), message.body)

    def delete(self, bot: Bot, place: Place, messages: list[Message]) -> None:
        """Delete for everybody. Only business connections are told (telegram.md A3)."""
        for message in messages:
            message.deleted = True
            self.note("delete", bot, place, message)
        if place.connection and messages:
            body = {
                "business_connection_id": place.connection.id,
                "chat": place.chat.json(),
                "message_ids": [message.id for message in messages],
            }
            self._tell(bot, place, "deleted_business_messages", body)

    # -- the rest ----------------------------------------------------------------------------------------------------

    def block(self, bot: Bot, place: Place, person: Person, *, is_blocked: bool) -> None:
        """Let a user block or unblock the bot, or a group kick or add it: my_chat_member."""
        chat = place.chat
        before = "kicked" if chat.is_blocked else "member" if chat.is_open or chat.kind == "private" else "left"
        chat.is_blocked, chat.is_open = is_blocked, not is_blocked
        after = "kicked" if is_blocked else "member"
        body = {
            "chat": chat.json(),
            "from": person.user(),
            "date": int(self._peer.now()),
            "old_chat_member": member(bot.user(), before),
            "new_chat_member": member(bot.user(), after),
        }
        self.short_note("blocked" if is_blocked else "unblocked", bot, place)
        bot.queue.add("my_chat_member", body, f"member/{chat.id}")

    def connect(self, bot: Bot, place: Place) -> None:
        """Tell the bot of its business connection as it is now."""
        assert place.connection
        self.short_note("business_connection", bot, place, is_enabled=place.connection.is_enabled)
        bot.queue.add("business_connection", place.connection.json(), f"connection/{place.connection.owner.id}")

    def _kind(self, place: Place, kind: str) -> str:
        if place.connection:
            return f"business_{kind}"
        return "channel_post" if place.chat.kind == "channel" else kind

    def _tell(self, bot: Bot, place: Place, kind: str, body: Json) -> None:
        """Queue an update; messages and edits of a chat share a queue, business ones have their own (telegram.md A2)."""
        bot.queue.add(kind, dict(body), conversation_key(place.chat, place.connection))

    def note(self, kind: str, bot: Bot, place: Place, message: Message) -> None:
        """Write a message, edit or deletion into the ledger."""
        body = message.body
        self.short_note(
            kind,
            bot,
            place,
            id=str(message.id),
            direction="out" if message.outgoing else "in",
            text=message.text,
            attachments=attachments_of(body),
            reply_to=str(body.get("reply_to_message", {}).get("message_id", "")),
            quote=body.get("quote", {}).get("text", ""),
            album=body.get("media_group_id", ""),
            by_bot=bool(body.get("sender_business_bot") or body.get("from", {}).get("is_bot")),
        )

    def short_note(self, kind: str, bot: Bot, place: Place, **values: Any) -> None:
        """Write into the ledger."""
        conversation = conversation_key(place.chat, place.connection)
        self._peer.ledger.add(kind, account=str(bot.id), conversation=conversation, **values)


def member(user: Json, status: str) -> Json:
    """Build the type ChatMember."""
    return {"user": user, "status": status, **({"until_date": 0} if status == "kicked" else {})}


def attachments_of(body: Json) -> list[Json]:
    """List what a message carries besides words."""
    shown: list[Json] = []
    for kind in (*MEDIA_FIELDS, *OTHER_FIELDS):
        value = body.get(kind)
        if not value or (kind == "document" and "animation" in body) or (kind == "location" and "venue" in body):
            continue
        if kind in OTHER_FIELDS:
            shown.append({"type": kind, kind: value})
            continue
        one = value[-1] if kind == "photo" else value
        facts = {"file_id": one["file_id"], "size": one.get("file_size", 0), "name": one.get("file_name", "")}
        shown.append({"type": kind, **facts, "mime": one.get("mime_type", "")})
    return shown
