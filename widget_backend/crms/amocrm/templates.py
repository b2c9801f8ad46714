"""Our quick replies among the chat templates of an account (amocrm.md 3.9), from where amoCRM's own picker takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import structlog

from widget_backend.bridge.ends import Offered
from widget_backend.crms.amocrm.client import Account
from widget_backend.limits import Priority

log = structlog.get_logger()

PAGE = 50
_PAGES = 40
_OURS = re.compile(r"mostik-[0-9a-f]{32}\Z")
# amocrm.md 5.2 "Markers": those that mean the same as ours
_MARKERS: Mapping[str, str] = {
    "DEAL_ID": "{{lead.id}}",
    "DEAL_BUDGET": "{{lead.price}}",
    "DEAL_RESPONSIBLE": "{{lead.responsible.name}}",
    "CONTACT_ID": "{{contact.id}}",
    "CONTACT_NAME": "{{contact.name}}",
    "NAME": "{{contact.name}}",
}


def write(account: Account, replies: Sequence[Offered]) -> None:
    """Make our templates these replies and no others; only what bears our mark is changed or deleted. Raises: EndError. Source: amocrm.md 3.9."""
    wanted = {f"mostik-{one.id}": made for one in replies if (made := _template(one)) is not None}
    there, surplus = _there(account, wanted)
    added = [{**made, "external_id": key} for key, made in wanted.items() if key not in there]
    changed = [
        {"id": there[key][0], **made} for key, made in wanted.items() if key in there and there[key][1:] != _says(made)
    ]
    for method, rows in (("DELETE", [{"id": id} for id in surplus]), ("PATCH", changed), ("POST", added)):
        for start in range(0, len(rows), PAGE):
            account.call(method, "chats/templates", rows[start : start + PAGE], priority=Priority.HISTORY)
    if surplus or changed or added:
        log.info("templates_written", added=len(added), changed=len(changed), deleted=len(surplus))


def _there(account: Account, wanted: Mapping[str, object]) -> tuple[dict[str, tuple[int, str, str]], list[int]]:
    """Read what bears our mark: (id, name, content) of what is still wanted, ids of the rest, twins among them."""
    there: dict[str, tuple[int, str, str]] = {}
    surplus: list[int] = []
    for page in range(1, _PAGES + 1):
        found = account.get("chats/templates", {"page": page, "limit": PAGE}, priority=Priority.HISTORY)
        for one in found["_embedded"]["chat_templates"].items():
            key, id = one["external_id"].text_or(""), one["id"].integer()
            if not _OURS.match(key):
                continue  # another program of the same integration, or a person
            if key in wanted and key not in there:
                there[key] = (id, one["name"].text_or(""), one["content"].text_or(""))
            else:
                surplus.append(id)
        if not found["_links"]["next"].is_there:
            break
    return there, surplus


def _says(made: Mapping[str, object]) -> tuple[object, object]:
    return made["name"], made["content"]


def _template(reply: Offered) -> dict[str, object] | None:
    """Write a reply as a template; None when it names a fact that amoCRM would not put in: the client must not see our marks."""
    if not reply.facts <= _MARKERS.keys():
        return None
    content = reply.text
    for name in reply.facts:
        content = content.replace(f"%{name}%", _MARKERS[name])
    name = f"{reply.title} ({reply.language})" if reply.language else reply.title
    return {"name": name, "content": content, "type": "amocrm", "is_editable": False}
