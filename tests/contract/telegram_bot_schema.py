"""The official spec of the Bot API as the judge of the fixtures of `telegram_bot`; what it checks stands in telegram_schema.py.

    bot_api = telegram_bot_schema.load()
    bot_api.check_request("sendMessage", {"chat_id": "1", "text": "hi"})
    bot_api.check_response("sendMessage", {"ok": True, "result": {...}})
    bot_api.check_event({"update_id": 1, "message": {...}})

Each check raises AssertionError with the places and the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.contract import telegram_schema


@dataclass(frozen=True, slots=True)
class BotApi:
    """The spec, as the drivers of fixtures ask it."""

    def check_request(self, method: str, params: Mapping[str, Any]) -> None:
        """Check the parameters of a call."""
        assert not telegram_schema.check_request(method, params)

    def check_response(self, method: str, body: Mapping[str, Any]) -> None:
        """Check the envelope of an answer and what is in it."""
        assert body["ok"] is True
        assert not telegram_schema.check_response(method, body["result"])

    def check_event(self, body: object) -> None:
        """Check an update."""
        assert not telegram_schema.check_update(body)


def load() -> BotApi:
    """Return the spec; skips the calling test, with the reason, where it is not at hand."""
    telegram_schema.skip_without_spec()
    return BotApi()
