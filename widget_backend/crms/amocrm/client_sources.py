"""Sources: one address in amoCRM for each channel, so that a chat says where it came from (amocrm.md 3.6)."""

from __future__ import annotations

from uuid import UUID

import structlog

from widget_backend.bridge.ends import Conversation, End
from widget_backend.bridge.errors import Misconfigured, Rejected
from widget_backend.crms.amocrm.client import Account
from widget_backend.crms.amocrm.client_chats import Channel
from widget_backend.reading import Reader

log = structlog.get_logger()


def ensure(account: Account, end: End, channel: Channel, conversation: Conversation) -> str:
    """Return the external id of a channel's source, making it when it is not there; empty where the integration may have none.

    A chat that was once given an explicit source keeps it for ever (10.14): no guess is ever sent.
    Source: amocrm.md 3.6.
    """
    if not conversation.channel_id:
        return ""
    external_id = UUID(conversation.channel_id).hex
    try:
        if _is_there(account, external_id):
            return external_id
        body = {
            "name": conversation.channel_title[:100] or conversation.network,
            "external_id": external_id,
            "pipeline_id": _pipeline(account, end),
        }
        account.post("sources", [{**body, "origin_code": channel.code} if channel.code else body])
    except (Misconfigured, Rejected) as error:
        # an archive without lead_sources, or too many sources: messages go on without one
        log.warning("source_refused", end=end.id, reason=error.reason, detail=error.detail)
        return ""
    return external_id


def _is_there(account: Account, external_id: str) -> bool:
    found = account.get("sources", {"filter[external_id][]": external_id})
    return any(one["external_id"].remote_id_or("") == external_id for one in _sources(found))


def _sources(found: Reader) -> list[Reader]:
    return found["_embedded"]["sources"].items()


def _pipeline(account: Account, end: End) -> int:
    """Return where unsorted leads of a new source appear: the pipeline of the chosen stage, else the main one."""
    chosen = str(end.settings.get("stage", "")).partition(":")[0]
    if chosen.isdecimal():
        return int(chosen)
    pipelines = account.get("leads/pipelines")["_embedded"]["pipelines"].items()
    main = next((one for one in pipelines if one["is_main"].flag_or(False)), pipelines[0])
    return main["id"].integer()
