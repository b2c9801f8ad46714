"""The tables of the bridge, by what they are about.

Tenant tables carry `account_id` and point at each other by composite keys, so that a row of one account cannot point into another; row-level
security (migration 0001) is the second lock. Exempt from it, because work is found there across accounts, and free of readable texts: `inbox`,
`end_keys`, `lanes`, `gates`, `errands`, `workers`.
"""

from widget_backend.bridge.models_delivery import Attempt, Delivery, Lane, Part, RepeatRecord, part_counter
from widget_backend.bridge.models_ends import EndKey, EndRecord, Gate, Inbox, Route, Worker
from widget_backend.bridge.models_talk import (
    OURSELVES,
    AttachmentRecord,
    ClientRecord,
    ConversationRecord,
    Errand,
    LinkRecord,
    Message,
    MessageKey,
    MessageVersion,
    Parked,
    Trace,
)
from widget_backend.bridge.models_writing import ClientAddress, Composition, QuickReply

__all__ = [
    "OURSELVES",
    "AttachmentRecord",
    "Attempt",
    "ClientAddress",
    "ClientRecord",
    "Composition",
    "ConversationRecord",
    "Delivery",
    "EndKey",
    "EndRecord",
    "Errand",
    "Gate",
    "Inbox",
    "Lane",
    "LinkRecord",
    "Message",
    "MessageKey",
    "MessageVersion",
    "Parked",
    "Part",
    "QuickReply",
    "RepeatRecord",
    "Route",
    "Trace",
    "Worker",
    "part_counter",
]
