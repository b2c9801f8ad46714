"""The door of hooks, when the database goes away under it."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest
from flask import Flask

from widget_backend import hooks


def test_a_hook_that_cannot_be_kept_is_asked_to_come_again(
    app: Flask, account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_given: object) -> None:
        raise psycopg.OperationalError

    monkeypatch.setattr(hooks, "_receive", away)
    answer = app.test_client().post("/hooks/key")
    assert answer.status_code == 503 and answer.headers["Retry-After"]
