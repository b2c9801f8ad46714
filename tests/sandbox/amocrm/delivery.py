"""Delivery statuses of messages (amocrm.md 2.7)."""

from __future__ import annotations

from tests.sandbox.amocrm.problems import bad_data
from tests.sandbox.amocrm.reading import Reader
from tests.sandbox.amocrm.talks import DELIVERED, FAILED, READ, Message

ERROR_CODES = (901, 902, 903, 904, 905)


def set_status(one: Message, code: int, raw: Reader) -> None:
    """Set a status; it never goes back, and error fields come only with -1. Raises ChatsRefusal 400."""
    if code not in (DELIVERED, READ, FAILED):
        raise bad_data("delivery_status must be 1, 2 or -1")
    has_error = raw.has("error_code") or raw.has("error")
    if code != FAILED:
        if has_error:
            raise bad_data("error_code and error come only with -1")
        if one.status != FAILED:
            one.status = max(one.status, code)
        return
    number = raw.number("error_code")
    if number not in ERROR_CODES:
        raise bad_data("error_code is not known")
    text = raw.text("error")
    if number == 905 and not text:
        raise bad_data("error is required with 905")
    one.status, one.error_code, one.error = FAILED, number, text
