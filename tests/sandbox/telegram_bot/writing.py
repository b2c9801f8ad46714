"""A person's message, with all that surrounds it: files, albums, replies, quotes, forwards, threads (telegram.md A3.1)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from tests.sandbox.frame import BadControl
from tests.sandbox.telegram_bot import gifts
from tests.sandbox.telegram_bot.calls import Place
from tests.sandbox.telegram_bot.entities import found_in, units
from tests.sandbox.telegram_bot.state import Bot, Json, Message, Person

if TYPE_CHECKING:
    from tests.sandbox.telegram_bot.peer import TelegramPeer

ALBUM_MAX = 10


def find_person(peer: TelegramPeer, wanted: object) -> Person:
    """Find or make a person by id, @username, name or facts."""
    facts = wanted if isinstance(wanted, dict) else {}
    key = str(facts.get("id", facts.get("first_name", "")) if facts else wanted).lstrip("@")
    for person in peer.people.values():
        if key in {str(person.id), person.username, person.first_name}:
            for name in ("first_name", "last_name", "username", "phone"):
                setattr(person, name, str(facts.get(name, getattr(person, name))))
            return person
    number = int(key) if key.isdigit() else 500_300 + len(peer.people)
    first_name = str(facts.get("first_name") or ("Гость" if key.isdigit() else key))
    peer.people[number] = Person(
        number,
        first_name,
        str(facts.get("last_name", "")),
        str(facts.get("username", "")),
        phone=str(facts.get("phone", "")),
    )
    return peer.people[number]


def write(peer: TelegramPeer, bot: Bot, place: Place, person: Person, body: Json) -> Json:
    """Write one message, several, or an album."""
    if place.chat.kind == "private" and not place.chat.is_blocked:
        place.chat.is_open = True
    text, attachments = str(body.get("text") or ""), list(body.get("attachments") or [])
    if not text and not attachments:
        raise BadControl("nothing to say: text or attachments are missing")
    if body.get("album") and not 2 <= len(attachments) <= ALBUM_MAX:
        raise BadControl("an album has 2 to 10 attachments")
    common = surroundings(peer, place, person, body)
    if body.get("album"):
        common["media_group_id"] = str(secrets.randbelow(10**17) + 10**16)
    written: list[Message] = []
    for number, wanted in enumerate(attachments or [{}]):
        fields = gifts.fields_of(peer, bot, person, wanted) if wanted else {}
        if number == 0:
            fields |= words(text, body.get("entities"), is_caption=bool(wanted))
        written.append(peer.deeds.from_person(bot, place, person, {**common, **fields}))
    return {"id": str(written[0].id), "ids": [str(message.id) for message in written], "user": str(person.id)}


def words(text: str, entities: object, *, is_caption: bool) -> Json:
    """Build text or caption; without given entities the usual ones are found."""
    if not text:
        return {}
    marked = entities if isinstance(entities, list) else found_in(text)
    name, key = ("caption", "caption_entities") if is_caption else ("text", "entities")
    return {name: text, **({key: marked} if marked else {})}


def surroundings(peer: TelegramPeer, place: Place, person: Person, body: Json) -> Json:
    """Build replies, quotes, forwards and threads."""
    fields: Json = {}
    if body.get("reply_to"):
        found = place.chat.messages.get(int(body["reply_to"]))
        if found is None:
            raise BadControl("no such message to reply to")
        fields["reply_to_message"] = found.quoted()
        if quote := body.get("quote"):
            position = max(found.text.find(str(quote)), 0)
            fields["quote"] = {"text": str(quote), "position": units(found.text[:position]), "is_manual": True}
    if body.get("reply_story"):
        fields["reply_to_story"] = gifts.story(person)
    if body.get("external_reply"):
        fields["external_reply"] = {"origin": origin(peer, "Иван")}
        fields["quote"] = {"text": str(body.get("quote") or "…"), "position": 0}
    if body.get("forward_from"):
        fields["forward_origin"] = origin(peer, body["forward_from"])
    if body.get("thread"):
        fields["message_thread_id"] = int(body["thread"])
    if body.get("offline"):
        fields["is_from_offline"] = True
    return fields


def origin(peer: TelegramPeer, wanted: object) -> Json:
    """Build the type MessageOrigin: of a person by name, or as given with its "type"."""
    if isinstance(wanted, dict):
        return {"date": int(peer.now()), **wanted}
    return {"type": "user", "date": int(peer.now()), "sender_user": find_person(peer, wanted).user()}
