"""What Telegram's texts and people look like in our words. Our texts leave plain: without a parse mode nothing needs escaping."""

from __future__ import annotations

from widget_backend.bridge.events import Person
from widget_backend.reading import Reader


def readable(text: str, entities: Reader) -> str:
    """Write the addresses of named links behind their names; other marks mean nothing to a CRM.

    Units: offsets and lengths count UTF-16 units.
    Source: telegram.md A3.1, `text`, `entities`; api.json MessageEntity.
    """
    links = [
        (entity["offset"].integer(), entity["length"].integer(), entity["url"].text())
        for entity in entities.items()
        if entity["type"].text() == "text_link"
    ]
    units = text.encode("utf-16-le")
    for offset, length, url in sorted(links, reverse=True):
        end = 2 * (offset + length)
        if not 0 <= 2 * offset < end <= len(units) or units[2 * offset : end].decode("utf-16-le", "replace") == url:
            continue
        units = units[:end] + f" ({url})".encode("utf-16-le") + units[end:]
    return units.decode("utf-16-le", "replace")


def name_of(user_or_chat: Reader) -> str:
    """Return the name of a user or chat: first and last name, or the title.

    Source: api.json, User and Chat.
    """
    names = (user_or_chat["first_name"].text_or(""), user_or_chat["last_name"].text_or(""))
    return " ".join(name for name in names if name) or user_or_chat["title"].text_or("")


def person(user_or_chat: Reader, *, language: str = "", phone: str = "") -> Person:
    """Turn a user or chat into a client.

    Source: api.json, User and Chat; a private chat has its user's id (telegram.md A3.1).
    """
    username = user_or_chat["username"].text_or("")
    return Person(
        remote_id=str(user_or_chat["id"].integer()),
        name=name_of(user_or_chat),
        username=username,
        profile_url=f"https://t.me/{username}" if username else "",
        phone=phone,
        language=language,
    )


def birthday(birthdate: Reader) -> str:
    """Return `YYYY-MM-DD`, `--MM-DD` where the year is hidden (ISO 8601), or nothing.

    Source: api.json, Birthdate.
    """
    if not birthdate.is_there:
        return ""
    year, month, day = birthdate["year"].integer_or(0), birthdate["month"].integer(), birthdate["day"].integer()
    return f"{year or '-'}-{month:02}-{day:02}"
