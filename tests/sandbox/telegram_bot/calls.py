"""One call of the API: who calls, with what; finding the chat and asking whether the bot may write there (telegram.md A5, A8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.sandbox.telegram_bot.entities import CAPTION_UNITS, TEXT_UNITS, Entity, format_text, found_in, units
from tests.sandbox.telegram_bot.errors import ApiError, bad, forbidden
from tests.sandbox.telegram_bot.params import Params, whole
from tests.sandbox.telegram_bot.state import DAY_S, Bot, Chat, Connection, Json, Message

if TYPE_CHECKING:
    from tests.sandbox.telegram_bot.peer import TelegramPeer

BUTTON_BYTES = 64
BUTTON_KINDS = {"url", "callback_data", "web_app", "login_url", "switch_inline_query", "copy_text", "pay"}
KEYBOARDS = ("inline_keyboard", "keyboard", "remove_keyboard", "force_reply")


@dataclass(frozen=True, slots=True)
class Done:
    """A result with a description, as setWebhook answers."""

    result: Any
    description: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message goes."""

    chat: Chat
    connection: Connection | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call on the way."""

    peer: TelegramPeer
    bot: Bot
    params: Params
    arrived_at: float  # simulated; limits count by it, whatever latency the faults add

    def chat(self) -> Chat:
        """Find a chat of the bot by chat_id: a number or @name. Raises: ApiError 400."""
        wanted = self.params.text("chat_id").strip()
        if not wanted:
            raise ApiError(400, "Bad Request: chat_id is empty")
        for chat in self.bot.chats.values():
            is_named = wanted.startswith("@") and chat.username and chat.kind != "private"
            if str(chat.id) == wanted or (is_named and wanted[1:].lower() == chat.username.lower()):
                if chat.migrated_to:
                    raise bad("group chat was upgraded to a supergroup chat", migrate_to_chat_id=chat.migrated_to)
                return chat
        raise bad("chat not found")

    def place(self) -> Place:
        """Find where to write, and check that the bot may. Raises: ApiError 400, 403."""
        if self.params.text("business_connection_id"):
            return self.business_place("can_reply")
        chat = self.chat()
        check_membership(chat)
        return Place(chat)

    def connection(self) -> Connection:
        """Find the business connection named. Raises: ApiError 400."""
        connection = self.bot.connections.get(self.params.text("business_connection_id"))
        if connection is None:
            raise bad("business connection not found")
        return connection

    def business_place(self, right: str) -> Place:
        """Find a chat of the owner that was active in the last 24 h. Raises: ApiError 400 (telegram.md A5).

        The texts of the missing right and of the disabled connection are not confirmed; BUSINESS_PEER_INVALID is.
        """
        connection = self.connection()
        if not connection.is_enabled:
            raise bad("BUSINESS_CONNECTION_INVALID")
        if not connection.rights.get(right):
            raise bad("BUSINESS_CONNECTION_NOT_ALLOWED")
        chat = connection.chats.get(self.params.integer("chat_id"))
        if chat is None or chat.last_incoming_at + DAY_S < self.peer.now():
            raise bad("BUSINESS_PEER_INVALID")
        return Place(chat, connection)

    def message(self, place: Place, what: str) -> Message:
        """Find a message by message_id. Raises: ApiError 400."""
        message_id = self.params.integer("message_id")
        if not message_id:
            raise bad("Message identifier is not specified")
        found = place.chat.messages.get(message_id)
        if found is None or found.deleted:
            raise bad(f"{what} not found")
        return found

    def words(self, name: str, entities_name: str) -> tuple[str, list[Entity]]:
        """Read text or caption with its formatting. Raises: ApiError 400 (broken, too long)."""
        given = self.params.array(entities_name, "entities", "MessageEntity")
        return read_words(self.params.text(name), self.params.text("parse_mode"), given, is_caption=name == "caption")

    def markup(self) -> Json | None:
        """Read reply_markup. Raises: ApiError 400."""
        markup = self.params.mapping("reply_markup", "reply markup")
        if not markup:
            return None
        if not any(kind in markup for kind in KEYBOARDS):
            raise bad("Object expected as reply markup")
        if "inline_keyboard" in markup:
            check_buttons(markup["inline_keyboard"])
        return markup

    def reply(self, place: Place) -> Json:
        """Read reply_parameters into fields of Message; {} without a reply. Raises: ApiError 400."""
        asked = self.params.mapping("reply_parameters", "reply parameters")
        if asked is None and self.params.integer("reply_to_message_id"):
            asked = {
                "message_id": self.params.integer("reply_to_message_id"),
                "allow_sending_without_reply": self.params.flag("allow_sending_without_reply"),
            }
        if not asked:
            return {}
        found = place.chat.messages.get(whole(asked.get("message_id", 0), "Invalid message identifier specified"))
        if found is None or found.deleted:
            if asked.get("allow_sending_without_reply") in (True, "true", "True", 1):
                return {}
            raise bad("message to be replied not found")
        reply: Json = {"reply_to_message": found.quoted()}
        if quote := str(asked.get("quote") or ""):
            position = found.text.find(quote)
            if position < 0:
                raise bad("QUOTE_TEXT_INVALID")
            reply["quote"] = {"text": quote, "position": units(found.text[:position]), "is_manual": True}
        return reply


def check_membership(chat: Chat) -> None:
    """Refuse where the bot may not write. Raises: ApiError 403 (telegram.md A8)."""
    if chat.is_blocked:
        raise forbidden(
            "bot was blocked by the user" if chat.kind == "private" else f"bot was kicked from the {chat.kind} chat"
        )
    if not chat.is_open:
        raise forbidden(
            "bot can't initiate conversation with a user"
            if chat.kind == "private"
            else f"bot is not a member of the {chat.kind} chat"
        )


def read_words(text: str, parse_mode: str, entities: list[Any] | None, *, is_caption: bool) -> tuple[str, list[Entity]]:
    """Format a text or caption and check its length after that. Raises: ApiError 400."""
    plain, marked = format_text(text, parse_mode, entities)
    if is_caption and units(plain) > CAPTION_UNITS:
        raise bad("message caption is too long")
    if units(plain) > TEXT_UNITS:
        raise bad("message is too long")
    own = [e for e in found_in(plain) if not any(_overlap(e, other) for other in marked)]
    return plain, sorted([*marked, *own], key=lambda entity: int(entity["offset"]))


def _overlap(one: Entity, other: Entity) -> bool:
    return bool(one["offset"] < other["offset"] + other["length"] and other["offset"] < one["offset"] + one["length"])


def check_buttons(rows: object) -> None:
    """Check an inline keyboard. Raises: ApiError 400."""
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad('Field "inline_keyboard" must be an Array of Arrays')
    for button in (button for row in rows for button in row):
        if not isinstance(button, dict):
            raise bad("Can't parse inline keyboard button: InlineKeyboardButton must be an Object")
        if not button.get("text"):
            raise bad('Can\'t parse inline keyboard button: Field "text" must be of type String')
        if not BUTTON_KINDS & set(button):
            raise bad("Can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
        if len(str(button.get("callback_data", "x")).encode()) not in range(1, BUTTON_BYTES + 1):
            raise ApiError(400, "Bad Request: BUTTON_DATA_INVALID")
