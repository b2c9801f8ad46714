"""Looking up: the bot, chats, people, files, business connections; answering a pressed button (telegram.md A4)."""

from __future__ import annotations

from tests.sandbox.telegram_bot import media
from tests.sandbox.telegram_bot.calls import Call
from tests.sandbox.telegram_bot.deeds import member
from tests.sandbox.telegram_bot.errors import bad
from tests.sandbox.telegram_bot.state import Chat, Json, Person

CALLBACK_LIFE_S = 15 * 60
GIFTS = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")


async def get_me(call: Call) -> Json:
    """Show the bot itself."""
    return call.bot.me()


async def get_chat(call: Call) -> Json:
    """Show a chat in full."""
    chat = call.chat()
    full = {
        **chat.json(),
        "accent_color_id": chat.id % 7 if chat.id > 0 else 0,
        "max_reaction_count": 11,
        "accepted_gift_types": dict.fromkeys(GIFTS, True),
    }
    if chat.person and chat.person.photo:
        small, big = (media.keep(call.bot, "photo", "", "image/jpeg", chat.person.photo) for _ in range(2))
        full["photo"] = {
            "small_file_id": small.file_id,
            "small_file_unique_id": small.unique_id,
            "big_file_id": big.file_id,
            "big_file_unique_id": big.unique_id,
        }
    return full


def _person(call: Call) -> Person:
    person = call.peer.people.get(call.params.integer("user_id"))
    if person is None:
        raise bad("Invalid user_id specified")
    return person


async def get_user_profile_photos(call: Call) -> Json:
    """List the photos of a person."""
    person = _person(call)
    if not person.photo:
        return {"total_count": 0, "photos": []}
    facts = {"width": 640, "height": 640}
    stored = media.keep(call.bot, "photo", "", "image/jpeg", person.photo, facts=facts)
    return {"total_count": 1, "photos": [media.field_of(call.bot, stored)["photo"]]}


async def get_chat_member(call: Call) -> Json:
    """Tell what somebody is in a chat."""
    chat, user_id = call.chat(), call.params.integer("user_id")
    if user_id == call.bot.id:
        return member(call.bot.user(), _status(chat))
    return member(_person(call).user(), "member")


def _status(chat: Chat) -> str:
    if chat.is_blocked:
        return "kicked"
    return "member" if chat.is_open else "left"


async def get_file(call: Call) -> Json:
    """Give a link that lives an hour, for files up to 20 MB."""
    return media.link(call.bot, call.params.text("file_id"), call.peer.now())


async def get_business_connection(call: Call) -> Json:
    """Show a business connection."""
    return call.connection().json()


async def answer_callback_query(call: Call) -> bool:
    """Answer a pressed button once, within a short time."""
    asked_at = call.bot.callbacks.pop(call.params.text("callback_query_id"), None)
    if asked_at is None or call.peer.now() - asked_at > CALLBACK_LIFE_S:
        raise bad("query is too old and response timeout expired or query ID is invalid")
    call.peer.ledger.add(
        "callback_answer",
        account=str(call.bot.id),
        id=call.params.text("callback_query_id"),
        text=call.params.text("text"),
    )
    return True
