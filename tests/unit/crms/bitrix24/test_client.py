"""What every refusal of a portal means, and how parameters are written (crms/bitrix24/client.py)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from widget_backend import texts
from widget_backend.bridge.errors import AccessLost, Misconfigured, Rejected, Retry, Uncertain
from widget_backend.crms.bitrix24.client import ERRORS, Refusal, flat, masked


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_code_means_its_error_in_any_case(code: str) -> None:
    kind, reason = ERRORS[code]
    for spelled in (code, code.upper()):
        error = Refusal(400, spelled, "").error()
        assert isinstance(error, kind) and error.reason == reason


@pytest.mark.parametrize("kind", [AccessLost, Misconfigured, Rejected, Retry])
def test_every_reason_has_a_sentence_in_all_languages(kind: type[Exception]) -> None:
    for error, reason in ERRORS.values():
        if error is kind:
            assert any(texts.has(f"reasons.{room}.{reason}") for room in ("bitrix24", "common")), reason


@pytest.mark.parametrize(
    ("status", "code"), [(500, "INTERNAL_SERVER_ERROR"), (500, ""), (200, "SOMETHING_NEW"), (400, "")]
)
def test_what_is_not_in_the_table_may_have_happened(status: int, code: str) -> None:
    assert isinstance(Refusal(status, code, "").error(), Uncertain)


def test_operating_limit_waits_until_its_window_opens() -> None:
    at = datetime.now(UTC) + timedelta(seconds=90)
    error = Refusal(429, "OPERATION_TIME_LIMIT", "", reset_at=at).error()

    assert (
        isinstance(error, Retry)
        and error.after is not None
        and timedelta(seconds=80) < error.after <= timedelta(seconds=90)
    )


def test_parameters_are_written_as_php_reads_them() -> None:
    assert flat({"a": {"b": [1, "x"]}, "c": True}) == [("a[b][0]", "1"), ("a[b][1]", "x"), ("c", "1")]


def test_what_a_portal_says_loses_numbers_and_addresses_of_people() -> None:
    assert masked("bad phone +79990001122 of anna@acme.example") == "bad phone +• of •"
