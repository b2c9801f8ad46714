"""Texts that the CRM sends by itself (greetings, off-hours, votes) go to the client unless the channel's admin says no."""

from __future__ import annotations

from typing import TYPE_CHECKING

from widget_backend.bridge import channel_settings
from widget_backend.bridge.ends import Side
from widget_backend.bridge.statuses import Status

if TYPE_CHECKING:
    from widget_backend.bridge.rules import Question


def decide(question: Question) -> tuple[Status | None, str]:
    """Filter an automatic text towards the network when the channel does not want them."""
    if not question.is_automatic or question.to_side is not Side.NETWORK:
        return None, "not_automatic"
    if channel_settings.takes_automatic_texts(question.channel_settings):
        return None, "automatic_wanted"
    return Status.FILTERED, "automatic_unwanted"
