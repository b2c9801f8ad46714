"""What a setting can be: stages, employees and fields as the account has them, never typed by hand (amocrm.md 3.2, 3.10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from widget_backend import texts
from widget_backend.bridge.ends import Choice
from widget_backend.bridge.errors import Rejected
from widget_backend.crms.amocrm.client import PAGE, Account
from widget_backend.crms.amocrm.settings import CHATS, NO_TASK, NOTES, TASK_PER_DEAL, TASK_PER_MESSAGE, UNSORTED
from widget_backend.limits import Priority
from widget_backend.reading import Reader

_PAGES = 8
_FIELD_TYPES = frozenset({"text", "url", "textarea"})
_NOT_FOR_LINKS = frozenset({"POSITION", "PHONE", "EMAIL"})
_CLOSED = frozenset({"142", "143"})
_WORDS: Mapping[str, Mapping[str, str]] = {
    "modes": {CHATS: "mode_chats", NOTES: "mode_notes"},
    "tasks": {NO_TASK: "task_none", TASK_PER_DEAL: "task_deal", TASK_PER_MESSAGE: "task_message"},
}


def choices(account: Account, name: str, locale: str) -> Sequence[Choice]:
    """List what a setting can be. Raises: Rejected: an unknown catalogue; EndError."""
    if name in _WORDS:
        return [Choice(value=value, label=_word(slug, locale)) for value, slug in _WORDS[name].items()]
    found = _ASKED.get(name)
    if found is None:
        raise Rejected("unknown_catalog", name)
    return found(account, locale)


def _stages(account: Account, locale: str) -> list[Choice]:
    """List the open stages of every pipeline, and the one where amoCRM makes unsorted leads by itself. Source: amocrm.md 3.10."""
    found = account.get("leads/pipelines", priority=Priority.PERSON)
    warned = Choice(value=UNSORTED, label=_word("stage_unsorted", locale), note=_word("stage_unsorted_note", locale))
    listed = [Choice(value="", label=_word("stage_first", locale)), warned]
    for pipeline in found["_embedded"]["pipelines"].items():
        pipeline_id, name = pipeline["id"].remote_id(), pipeline["name"].text_or("")
        for stage in pipeline["_embedded"]["statuses"].items():
            stage_id = stage["id"].remote_id()
            if stage["type"].integer_or(0) == 1 or stage_id in _CLOSED:
                continue
            label = f"{name}: {stage['name'].text_or('')}"
            listed.append(Choice(value=f"{pipeline_id}:{stage_id}", label=label))
    return listed


def _users(account: Account, locale: str) -> list[Choice]:
    """List the employees who can be responsible. Source: amocrm.md 3.2."""
    listed = [Choice(value="", label=_word("responsible_connecting", locale))]
    for user in _every(account, "users", PAGE):
        if user["rights"]["is_active"].flag_or(True):
            listed.append(Choice(value=user["id"].remote_id(), label=user["name"].text_or("")))
    return listed


def _contact_fields(account: Account, locale: str) -> list[Choice]:
    """List the fields of contacts that a link can stand in; never the job title. Source: amocrm.md 3.10."""
    listed = [Choice(value="", label=_word("profile_field_none", locale))]
    for field in _every(account, "contacts/custom_fields", 50):
        if field["type"].text_or("") in _FIELD_TYPES and field["code"].text_or("") not in _NOT_FOR_LINKS:
            listed.append(Choice(value=field["id"].remote_id(), label=field["name"].text_or("")))
    return listed


_ASKED: Mapping[str, Callable[[Account, str], list[Choice]]] = {
    "stages": _stages,
    "users": _users,
    "contact_fields": _contact_fields,
}


def _every(account: Account, path: str, limit: int) -> list[Reader]:
    """Read every page of a list. Source: amocrm.md 3.1 (`_links.next` is absent on the last page)."""
    listed: list[Reader] = []
    for page in range(1, _PAGES + 1):
        found = account.get(path, {"page": page, "limit": limit}, priority=Priority.PERSON)
        listed += found["_embedded"][path.rpartition("/")[2]].items()
        if not found["_links"]["next"].is_there:
            break
    return listed


def _word(slug: str, locale: str) -> str:
    return texts.text(f"settings.amocrm.{slug}", locale)
