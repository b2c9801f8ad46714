"""VK's markup in texts: mentions become words. What is written to VK needs no conversion: VK shows plain text."""

from __future__ import annotations

import re

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
