"""Hooks of a switchboard: {"calls": [{"number", "id", "caller", "text"}]}, signed with the app's secret."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from widget_backend.bridge.ends import Hook, HookAnswer, Kept, Owner
from widget_backend.bridge.errors import NotGenuine
from widget_backend.bridge.events import Direction, Event, MessageReceived, Person


def sign(body: bytes, secret: str) -> str:
    """Return the signature of a body."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def verify(hook: Hook, owner: Owner) -> Kept:
    """Prove that the switchboard sent this. Raises: NotGenuine."""
    if not hmac.compare_digest(hook.headers.get("x-signature", ""), sign(hook.body, owner.secrets["client_secret"])):
        raise NotGenuine("wrong signature")
    return Kept()


def split(hook: Hook) -> Sequence[tuple[str, str, bytes]]:
    """Cut a body into calls. Raises: whatever a bug raises, for a body that is no JSON."""
    return [(call["number"], call.get("id", ""), json.dumps(call).encode()) for call in json.loads(hook.body)["calls"]]


def parse(hook: Hook, owner: Owner) -> Sequence[Event]:
    """Turn one call into a message."""
    call = json.loads(hook.body)
    return [
        MessageReceived(
            remote_id=call.get("id") or call["text"],
            direction=Direction.IN,
            sent_at=datetime.now(UTC),
            client=Person(remote_id=call["caller"]),
            text=f"{call['text']}{hook.name}{hook.query}",
        )
    ]


def answer(hook: Hook, owner: Owner) -> HookAnswer:
    """Answer nothing."""
    return HookAnswer()
