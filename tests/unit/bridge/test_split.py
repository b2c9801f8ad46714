"""An app that was deleted is nobody's work."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from widget_backend.bridge import split


def test_an_app_that_was_deleted_is_not_looked_at_again_and_again(
    account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    app_id = uuid4()
    monkeypatch.setattr(split, "_called", {app_id: {b"x" * 32}})
    monkeypatch.setattr(split, "adapters", lambda: ["amocrm"])
    assert split.due(5) == [app_id]
    assert split.work(app_id) is False
    assert split.due(5) == []
