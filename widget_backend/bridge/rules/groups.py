"""Group chats reach a CRM only when the channel's admin wants them and the CRM has a place for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from widget_backend.bridge import channel_settings
from widget_backend.bridge.ends import Side
from widget_backend.bridge.statuses import Status

if TYPE_CHECKING:
    from widget_backend.bridge.rules import Question


def decide(question: Question) -> tuple[Status | None, str]:
    """Filter what was written in a group chat unless the channel takes group chats; a CRM that knows none gets nothing of them either."""
    if question.place != "group" or question.to_side is not Side.CRM:
        return None, "not_group"
    if not channel_settings.takes_groups(question.channel_settings):
        return Status.FILTERED, "groups_unwanted"
    if not question.can_group:
        return Status.DISCARDED, "groups_unsupported"
    return None, "groups_wanted"
