"""What the settings of a connection name, compared with what the account has: chosen things that are gone, stages that are new (amocrm.md 3.2, 3.10).

Deals go on without what is gone (`cards.py`); here the admin is told, at `connect` and by the hourly pull. Nothing else tells: CRM hooks depend on the plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from widget_backend.bridge.ends import Conversation, End, Raw
from widget_backend.bridge.errors import Misconfigured, Rejected
from widget_backend.crms.amocrm import client_sources as sources
from widget_backend.crms.amocrm.client import Account, Gone

STAGE_GONE, STAGE_NEW = "amocrm_stage_gone", "amocrm_stage_new"
RESPONSIBLE_GONE, FIELD_GONE = "amocrm_responsible_gone", "amocrm_field_gone"
SOURCES_SHARED = "amocrm_sources_shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the admin is to be told, as slugs of the reasons, and the stages there are, as the settings name them."""

    notices: tuple[str, ...]
    stages: tuple[str, ...]


def look(account: Account, end: End, conversations: Iterable[Conversation] = ()) -> Findings:
    """Compare the settings of a connection, and of the channels of some conversations, with the account. Raises: EndError, Malformed."""
    routes = [one.route for one in conversations]
    stages = _stages(account)
    known, wanted = end.settings.get("known_stages"), _named("stage", end, routes)
    notices = []
    if any(":" in one and one not in stages for one in wanted):
        notices.append(STAGE_GONE)
    if isinstance(known, list) and known and set(stages) - {str(one) for one in known}:
        notices.append(STAGE_NEW)
    if any(not _is_there(account, f"users/{one}", is_user=True) for one in _named("responsible", end, routes)):
        notices.append(RESPONSIBLE_GONE)
    if any(not _is_there(account, f"contacts/custom_fields/{one}") for one in _named("profile_field", end, ())):
        notices.append(FIELD_GONE)
    if any(one.startswith(sources.SHARED) for one in _source_ids(account)):
        notices.append(SOURCES_SHARED)
    return Findings(notices=tuple(notices), stages=tuple(stages))


def told(findings: Findings, end: End, now: datetime) -> list[Raw]:
    """Return what is to be said now and was not said before, for the end's own settings."""
    before = end.settings.get("notices")
    if list(findings.notices) == (before if isinstance(before, list) else []):
        return []
    settings: dict[str, object] = {"notices": list(findings.notices)}
    if not end.settings.get("known_stages"):
        settings["known_stages"] = list(findings.stages)
    body = json.dumps({"survey": settings}).encode()
    return [Raw(event_id=f"s:{now:%Y%m%d%H%M}:{hashlib.sha256(body).hexdigest()[:16]}", body=body)]


def _named(name: str, end: End, routes: Iterable[Mapping[str, object]]) -> set[str]:
    return {str(value) for of in (end.settings, *routes) if (value := of.get(name))}


def _stages(account: Account) -> list[str]:
    """List every stage where a deal is open. Source: amocrm.md 3.10."""
    found = account.get("leads/pipelines")
    return [
        f"{pipeline['id'].remote_id()}:{stage['id'].remote_id()}"
        for pipeline in found["_embedded"]["pipelines"].items()
        for stage in pipeline["_embedded"]["statuses"].items()
    ]


def _is_there(account: Account, path: str, *, is_user: bool = False) -> bool:
    """Tell whether something exists; an employee who left is inactive. Source: amocrm.md 3.2."""
    try:
        found = account.get(path)
    except Gone:
        return False
    return found.is_there and (not is_user or found["rights"]["is_active"].flag_or(True))


def _source_ids(account: Account) -> set[str]:
    try:
        return sources.ids(account)
    except (Misconfigured, Rejected):
        return set()  # an archive without lead_sources: there are none to share
