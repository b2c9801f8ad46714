"""Changing what was sent: edits, deletions, reactions, read marks, typing (telegram.md A4, A5)."""

from __future__ import annotations

from tests.sandbox.telegram_bot.calls import Call, Place
from tests.sandbox.telegram_bot.deeds import CONTENT, MEDIA_FIELDS
from tests.sandbox.telegram_bot.errors import NOT_MODIFIED, bad
from tests.sandbox.telegram_bot.params import whole
from tests.sandbox.telegram_bot.sending import input_media, with_entities
from tests.sandbox.telegram_bot.state import DAY_S, Json, Message

EDITABLE_S = 2 * DAY_S
DELETABLE_S = 2 * DAY_S
DELETE_IDS = 100
ACTIONS = {
    "typing",
    "upload_photo",
    "record_video",
    "upload_video",
    "record_voice",
    "upload_voice",
    "upload_document",
    "choose_sticker",
    "find_location",
    "record_video_note",
    "upload_video_note",
}


def _editable(call: Call) -> tuple[Place, Message]:
    """Find a message of the bot's own; in business chats also the owner's own ones younger than 48 h."""
    if call.params.text("inline_message_id"):
        raise bad("MESSAGE_ID_INVALID")
    place = call.place()
    message = call.message(place, "message to edit")
    is_own = bool(message.body.get("sender_business_bot") or message.body.get("from", {}).get("id") == call.bot.id)
    is_fresh = call.peer.now() - message.date <= EDITABLE_S
    may_edit = is_own or (place.connection and message.outgoing and is_fresh) or place.chat.kind == "channel"
    if not may_edit:
        raise bad("message can't be edited")
    return place, message


def _change(call: Call, place: Place, message: Message, content: Json) -> Json:
    markup = call.markup()
    if markup and "inline_keyboard" in markup:
        content["reply_markup"] = markup
    if content == {name: message.body[name] for name in CONTENT if name in message.body}:
        raise bad(NOT_MODIFIED)
    call.peer.deeds.edit(call.bot, place, message, content, by_bot=True)
    return message.body


async def edit_message_text(call: Call) -> Json:
    """Replace the text."""
    place, message = _editable(call)
    if "text" not in message.body:
        raise bad("There is no text in the message to edit")
    if not call.params.text("text"):
        raise bad("Message text is empty")
    text, entities = call.words("text", "entities")
    return _change(call, place, message, with_entities("text", text, entities))


async def edit_message_caption(call: Call) -> Json:
    """Replace the caption."""
    place, message = _editable(call)
    files = {name: message.body[name] for name in MEDIA_FIELDS if name in message.body}
    if not files or "sticker" in files or "video_note" in files:
        raise bad("There is no caption in the message to edit")
    caption, entities = call.words("caption", "caption_entities")
    return _change(call, place, message, files | with_entities("caption", caption, entities))


async def edit_message_media(call: Call) -> Json:
    """Replace the file, with its caption."""
    place, message = _editable(call)
    item = call.params.mapping("media", "media")
    if item is None:
        raise bad("Input media is empty")
    content = await input_media(call, item)
    if "media_group_id" in message.body and not {"photo", "video", "document", "audio"} & set(content):
        raise bad("Can't use the media of the specified type in the album")
    return _change(call, place, message, content)


def _check_deletable(call: Call, message: Message) -> None:
    if call.peer.now() - message.date > DELETABLE_S:
        raise bad("Message can't be deleted for everyone")


async def delete_message(call: Call) -> bool:
    """Delete one message younger than 48 h; in private chats incoming ones too."""
    place = Place(call.chat())
    message = call.message(place, "message to delete")
    _check_deletable(call, message)
    if place.chat.kind != "private" and not message.outgoing:
        raise bad("MESSAGE_DELETE_FORBIDDEN" if place.chat.kind == "channel" else "message can't be deleted")
    call.peer.deeds.delete(call.bot, place, [message])
    return True


def _message_ids(call: Call) -> list[int]:
    ids = call.params.array("message_ids", "message identifiers", "message identifiers")
    if not ids:
        raise bad("Message identifiers are not specified")
    if len(ids) > DELETE_IDS:
        raise bad("Too many message identifiers specified")
    return [whole(one, "Can't parse message identifier as a Number") for one in ids]


async def delete_messages(call: Call) -> bool:
    """Delete up to 100 messages; unknown ones are skipped."""
    ids = _message_ids(call)
    place = Place(call.chat())
    found = [m for m in (place.chat.messages.get(one) for one in ids) if m and not m.deleted]
    for message in found:
        _check_deletable(call, message)
    call.peer.deeds.delete(call.bot, place, found)
    return True


async def delete_business_messages(call: Call) -> bool:
    """Delete messages of the owner's chats: the bot's own with one right, any with the other."""
    connection, ids = call.connection(), _message_ids(call)
    if not connection.is_enabled:
        raise bad("BUSINESS_CONNECTION_INVALID")
    may_all = connection.rights.get("can_delete_all_messages")
    for chat in connection.chats.values():
        found = [m for m in (chat.messages.get(one) for one in ids) if m and not m.deleted]
        is_own = all(message.body.get("sender_business_bot") for message in found)
        if found and not may_all and not (is_own and connection.rights.get("can_delete_sent_messages")):
            raise bad("BUSINESS_CONNECTION_NOT_ALLOWED")
        call.peer.deeds.delete(call.bot, Place(chat, connection), found)
    return True


async def read_business_message(call: Call) -> bool:
    """Mark as read on the owner's behalf; the chat must have been active in the last 24 h."""
    place = call.business_place("can_read_messages")
    message = call.message(place, "message to read")
    place.chat.read_up_to = max(place.chat.read_up_to, message.id)
    call.peer.deeds.short_note("read", call.bot, place, id=str(message.id), direction="out")
    return True


async def send_chat_action(call: Call) -> bool:
    """Show what the bot is doing."""
    place = call.place()
    action = call.params.text("action").lower()
    if action not in ACTIONS:
        raise bad("Wrong parameter action in request")
    place.chat.action = action
    call.peer.deeds.short_note("typing", call.bot, place, action=action)
    return True


async def set_message_reaction(call: Call) -> bool:
    """Set or remove the bot's reaction: at most one."""
    place = Place(call.chat())
    message = call.message(place, "message to react")
    reactions = call.params.array("reaction", "reaction types", "ReactionType") or []
    if len(reactions) > 1:
        raise bad("REACTIONS_TOO_MANY")
    if not all(isinstance(one, dict) for one in reactions):
        raise bad("can't parse ReactionType: expected an Object")
    emoji = "".join(str(one.get("emoji", "")) for one in reactions)
    call.peer.deeds.short_note("reaction", call.bot, place, id=str(message.id), emoji=emoji, direction="out")
    return True
