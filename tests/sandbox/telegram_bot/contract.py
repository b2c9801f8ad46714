"""The check against the official spec, when CONTRACT_SCHEMAS names the folder that holds it; otherwise nothing is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.contract import telegram_schema
from tests.sandbox.frame import Ledger
from tests.sandbox.telegram_bot.errors import ApiError, bad


class Contract:
    """Notes every violation in the ledger (kind "contract") and refuses it aloud."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.is_on = telegram_schema.spec_path() is not None

    def request(self, method: str, params: Mapping[str, Any]) -> None:
        """Refuse a call that breaks the spec. Raises: ApiError 400 (the real service ignores unknown parameters)."""
        if self.is_on and (troubles := telegram_schema.check_request(method, params)):
            self._note("request", method, troubles)
            raise bad(f"contract: {troubles[0]}")

    def response(self, method: str, result: object) -> None:
        """Refuse to answer what the spec does not allow: our own bug. Raises: ApiError 500."""
        if self.is_on and (troubles := telegram_schema.check_response(method, result)):
            self._note("response", method, troubles)
            raise ApiError(500, f"Internal Server Error: contract: {troubles[0]}")

    def update(self, update: Mapping[str, Any]) -> None:
        """Note an update that breaks the spec. Raises: AssertionError."""
        if self.is_on and (troubles := telegram_schema.check_update(update)):
            self._note("update", "", troubles)
            raise AssertionError(troubles[0])

    def _note(self, side: str, method: str, troubles: list[str]) -> None:
        self._ledger.add("contract", side=side, method=method, troubles=troubles)
