"""Every page answers, in every language, with the strictest headers; the journal says in words what happened."""

from __future__ import annotations

import pytest

from tests.unit.pages.house import Browser, House


def pages_of(house: House) -> list[str]:
    return [
        "/", "/messages", f"/messages?channel={house.channel_id}&direction=in&status=delivered&client=анн",
        "/messages?cursor=nonsense&channel=x&status=y", f"/messages/{house.message_id}", f"/messages/{house.answer_id}",
        "/channels/new", "/connections/new", "/channels/new/vk", "/connections/new/bitrix24",
        f"/ends/{house.channel_id}", f"/ends/{house.connection_id}", f"/ends/{house.channel_id}/connect",
        f"/ends/{house.channel_id}/disconnect", "/audit", "/audit?before=999999", "/api-keys", "/api-reference",
    ]  # fmt: skip


@pytest.mark.parametrize("language", ["ru", "en", "es"])
def test_every_page_answers_in_every_language_with_strict_headers(
    browser: Browser, house: House, language: str
) -> None:
    assert browser.post("/language", language=language, next="/").status_code == 303
    for path in pages_of(house):
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert f'<html lang="{language}">' in answer.text
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "'unsafe" not in answer.headers["Content-Security-Policy"] and "<script>" not in answer.text
        assert answer.headers["Cache-Control"] == "no-store"
