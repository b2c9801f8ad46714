"""Group chats reach the CRM only when the channel's admin wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from widget_backend.bridge.ends import Side
from widget_backend.bridge.statuses import Status

if TYPE_CHECKING:
    from widget_backend.bridge.rules import Question


def decide(question: Question) -> tuple[Status | None, str]:
    """Filter what was written in a group chat unless the channel takes group chats."""
    if question.place != "group" or question.to_side is not Side.CRM:
        return None, "not_group"
    if question.channel_settings.get("group_chats", False):
        return None, "groups_wanted"
    return Status.FILTERED, "groups_unwanted"
