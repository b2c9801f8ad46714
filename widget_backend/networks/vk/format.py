"""What VK's texts and people look like in our words. Texts for VK need no conversion: it shows them plain."""

from __future__ import annotations

import re

from widget_backend.bridge.events import Person
from widget_backend.reading import Reader

# [id1|Name], [club1|Name] and, in comments, [id1:bp-1_2|Name] (vk.md 3.2)
_MENTION = re.compile(r"\[(?:id|club|public|event)\d+(?::[^|\]]*)?\|([^\]]+)\]")
_NAMED_LINK = re.compile(r"\[(https?://[^|\]\s]+)\|([^\]]+)\]")


def readable(text: str) -> str:
    """Turn mentions and named links into words.

    Source: vk.md 3.2, the field `text`.
    """
    return _NAMED_LINK.sub(r"\2 (\1)", _MENTION.sub(r"\1", text))


def person_url(owner_id: int) -> str:
    """Return the page of a user, or of a community when the id is negative.

    Source: vk.md 6 ("Ids").
    """
    return f"https://vk.com/{'club' if owner_id < 0 else 'id'}{abs(owner_id)}"


def dialog_url(group_id: str, peer_id: int) -> str:
    """Return the address under which the community's staff sees a dialog."""
    return f"https://vk.com/gim{group_id}?sel={peer_id}"


def birthday(bdate: str) -> str:
    """Turn `D.M.YYYY` into `YYYY-MM-DD`, and `D.M` into `--MM-DD` (ISO 8601); anything else is empty.

    Source: vk.md 2.6.
    """
    found = re.fullmatch(r"(\d{1,2})\.(\d{1,2})(?:\.(\d{4}))?", bdate)
    if found is None:
        return ""
    day, month, year = found.groups()
    return f"{year or '-'}-{int(month):02}-{int(day):02}"


def person(user: Reader) -> Person:
    """Turn a user into a client.

    Source: vk.md 2.6, `users.get`.
    """
    phones = (user["mobile_phone"].text_or(""), user["home_phone"].text_or(""))
    names = (user["first_name"].text_or(""), user["last_name"].text_or(""))
    return Person(
        remote_id=user["id"].remote_id(),
        name=" ".join(name for name in names if name),
        username=user["screen_name"].text_or(""),
        photo_url=user["photo_200"].text_or(""),
        profile_url=person_url(user["id"].integer()),
        # people write "ask me" there: only what can be a number is one
        phone=next((phone for phone in phones if len(re.sub(r"\D", "", phone)) >= 10), ""),
        city=user["city"]["title"].text_or(""),
        birthday=birthday(user["bdate"].text_or("")),
    )


def community(group: Reader) -> Person:
    """Turn a community that writes into a client.

    Source: vk.md 1.4, `groups.getById`.
    """
    return Person(
        remote_id=f"-{group['id'].integer()}",
        name=group["name"].text_or(""),
        username=group["screen_name"].text_or(""),
        photo_url=group["photo_200"].text_or(""),
        profile_url=person_url(-group["id"].integer()),
    )
