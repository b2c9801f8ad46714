"""Refusals of the Bot API, in its own words (telegram.md A8)."""

from __future__ import annotations

import math
from typing import Any

from aiohttp import web

from tests.sandbox.frame import json_answer

NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current content "
    "and reply markup of the message"
)
WEBHOOK_ACTIVE = "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
OTHER_POLL = "terminated by other getUpdates request; make sure that only one bot instance is running"


class ApiError(Exception):
    """An answer {"ok": false}; the HTTP status equals `code`."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(code, description)
        self.code = code
        self.description = description
        self.parameters = parameters

    def answer(self) -> web.Response:
        """Build the envelope; 429 also carries the header Retry-After (telegram.md A1)."""
        body: dict[str, Any] = {"ok": False, "error_code": self.code, "description": self.description}
        if self.parameters:
            body["parameters"] = self.parameters
        response = json_answer(body, self.code)
        if "retry_after" in self.parameters:
            response.headers["Retry-After"] = str(self.parameters["retry_after"])
        return response


def bad(text: str, **parameters: int) -> ApiError:
    """Refuse with 400; the first letter turns small unless the second is a capital or `_` (telegram.md A8, rule of text)."""
    if len(text) > 1 and not (text[1] == "_" or text[1].isupper()):
        text = text[0].lower() + text[1:]
    return ApiError(400, f"Bad Request: {text}", **parameters)


def forbidden(text: str) -> ApiError:
    """Refuse with 403."""
    return ApiError(403, f"Forbidden: {text}")


def conflict(text: str) -> ApiError:
    """Refuse with 409."""
    return ApiError(409, f"Conflict: {text}")


def too_many(wait_s: float) -> ApiError:
    """Refuse with 429 until `wait_s` seconds have passed."""
    retry_after = max(1, math.ceil(wait_s))
    return ApiError(429, f"Too Many Requests: retry after {retry_after}", retry_after=retry_after)
