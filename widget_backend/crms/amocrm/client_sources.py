"""Sources: one address in amoCRM for each channel, so that a chat says where it came from (amocrm.md 3.6)."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import structlog

from widget_backend.bridge.ends import Conversation, End
from widget_backend.bridge.errors import Misconfigured, Rejected
from widget_backend.crms.amocrm.client import PAGE, Account
from widget_backend.crms.amocrm.client_chats import Channel

log = structlog.get_logger()


LIMIT = 100
RESERVE = 10
"""How many of amoCRM's sources (6) are left for messengers: beyond, the channels of one share a source."""
SHARED = "shared-"


def ensure(account: Account, end: End, channel: Channel, conversation: Conversation, stage: str) -> str:
    """Return the external id of a channel's source, making it when it is not there; empty where the integration may have none.

    Above the limit of sources, new channels of a messenger share one.
    A chat that was once given an explicit source keeps it for ever (10.14): no guess is ever sent.
    Source: amocrm.md 3.6.
    """
    if not conversation.channel_id:
        return ""
    external_id = UUID(conversation.channel_id).hex
    try:
        known = ids(account)
        if external_id in known:
            return external_id
        title = conversation.channel_title[:100] or conversation.network
        if len(known) >= LIMIT - RESERVE:
            external_id, title = f"{SHARED}{conversation.network}"[:36], conversation.network
            if external_id in known:
                return external_id
        body: dict[str, object] = {"name": title, "external_id": external_id}
        _make(account, body | {"origin_code": channel.code} if channel.code else body, stage)
    except (Misconfigured, Rejected) as error:
        # an archive without lead_sources, or too many sources all the same: messages go on without one
        log.warning("source_refused", end=end.id, reason=error.reason, detail=error.detail)
        return ""
    return external_id


def ids(account: Account) -> set[str]:
    """Return the external ids of our sources in an account. Source: amocrm.md 3.6 (only those of the integration are told, 100 at most)."""
    found = account.get("sources", {"limit": PAGE})
    return {one["external_id"].remote_id_or("") for one in found["_embedded"]["sources"].items()}


def _make(account: Account, body: Mapping[str, object], stage: str) -> None:
    """Make a source. Unsorted leads of it appear in the pipeline of the chosen stage, else, or when that is gone, in the main one."""
    chosen = stage.partition(":")[0]
    if chosen.isdecimal():
        try:
            account.post("sources", [{**body, "pipeline_id": int(chosen)}])
            return
        except Rejected as error:
            log.warning("source_pipeline_refused", detail=error.detail)
    pipelines = account.get("leads/pipelines")["_embedded"]["pipelines"].items()
    main = next((one for one in pipelines if one["is_main"].flag_or(False)), pipelines[0])
    account.post("sources", [{**body, "pipeline_id": main["id"].integer()}])
