"""The table of errors of the Bot API is whole, every reason and setting has its sentences, and limits count what Telegram counts."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from widget_backend import outside
from widget_backend.bridge.ends import End, Side
from widget_backend.bridge.errors import AccessLost, EndError, Misconfigured, Rejected, Retry, Scope, Uncertain
from widget_backend.limits import Kind, LimitWait
from widget_backend.networks.telegram_bot import client
from widget_backend.networks.telegram_bot.client import Client, error_of
from widget_backend.networks.telegram_bot.settings import Settings
from widget_backend.reading import Reader
from widget_backend.texts import LANGUAGES, LOCALES

FOLDER = Path(client.__file__).parent
END = End(
    id="e", account_id="a", adapter="telegram_bot", side=Side.NETWORK, title="", remote_id="7", settings={},
    secrets={"token": "7:AA"}, hook_url="", server={"api_url": "http://127.0.0.1:9", "mode": "auto"}.__getitem__,
)  # fmt: skip


def refused(code: int, description: str, **parameters: int) -> EndError:
    return error_of(code, description, Reader(parameters))


@pytest.mark.parametrize(
    ("code", "description", "kind"),
    [
        (401, "Unauthorized", AccessLost),
        (401, "Unauthorized: invalid token specified", AccessLost),
        (404, "Not Found", AccessLost),
        (404, "Not Found: method not found", Misconfigured),
        (409, "Conflict: can't use getUpdates method while webhook is active", Misconfigured),
        (409, "Conflict: terminated by other getUpdates request", Misconfigured),
        (409, "Conflict: terminated by setWebhook request", Retry),
        (421, "Misdirected Request: unallowed token specified", Misconfigured),
        (429, "Too Many Requests: retry after 5", Retry),
        (500, "Internal Server Error: restart", Uncertain),
        (400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook", Misconfigured),
        (400, "Bad Request: secret token contains unallowed characters", Misconfigured),
        (403, "Forbidden: bot was blocked by the user", Rejected),
        (400, "Bad Request: anything", Rejected),
        (400, "", Rejected),
    ],
)
def test_every_refusal_is_of_its_kind(code: int, description: str, kind: type[EndError]) -> None:
    assert type(refused(code, description)) is kind


@pytest.mark.parametrize("start", sorted(client._REFUSED))
def test_a_refusal_is_known_by_its_beginning_in_any_case(start: str) -> None:
    for text in (start, start.capitalize(), start.upper(), f"{start}: and more"):
        assert refused(400, f"Bad Request: {text}").reason == client._REFUSED[start]


def test_waiting_is_as_long_as_telegram_says() -> None:
    error = refused(429, "Too Many Requests: retry after 7", retry_after=7)
    assert isinstance(error, Retry)
    assert (error.reason, error.after, error.scope) == ("limit", timedelta(seconds=7), Scope.END)


def test_a_group_that_moved_tells_where() -> None:
    text = "Bad Request: group chat was upgraded to a supergroup chat"
    error = refused(400, text, migrate_to_chat_id=-1002223334445)
    assert (error.reason, error.detail) == ("group_moved", "-1002223334445")


def test_groups_have_a_limit_of_their_own_and_people_have_not() -> None:
    person, group = Client(END)._limits_of("500100"), Client(END)._limits_of("-1002220001")
    assert [(one.kind, one.burst) for one in person] == [(Kind.WINDOW, 30), (Kind.BUCKET, 3)]
    assert [(one.kind, one.burst) for one in group] == [(Kind.WINDOW, 30), (Kind.BUCKET, 3), (Kind.WINDOW, 20)]
    assert not {one.key for one in person[1:]} & {one.key for one in group}


@pytest.mark.parametrize(("chat_id", "scope"), [("500100", Scope.END), ("-1002220001", Scope.MESSAGE)])
def test_waiting_for_a_groups_limit_holds_up_that_group_only(
    monkeypatch: pytest.MonkeyPatch, chat_id: str, scope: Scope
) -> None:
    class Full:
        def request(self, *_: object, **__: object) -> None:
            raise LimitWait(timedelta(seconds=30))

    monkeypatch.setattr(outside, "session", lambda _name: Full())
    with pytest.raises(Retry) as caught:
        Client(END).send_message({"chat_id": chat_id}, "x", {})
    assert (caught.value.reason, caught.value.after, caught.value.scope) == ("limit", timedelta(seconds=30), scope)


def test_every_reason_has_a_sentence_in_every_language() -> None:
    told = json.loads((LOCALES / "reasons" / "telegram_bot.json").read_text())
    source = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    used = set(re.findall(r'(?:Retry|Rejected|AccessLost|Misconfigured|Uncertain)\(\s*"([a-z_]+)"', source))
    used |= set(client._REFUSED.values()) - {"not_modified"} | {"bad_request", "forbidden"}
    assert used | {"webhook_replaced", "privacy_mode"} == set(told)
    assert all(set(texts) == set(LANGUAGES) and all(texts.values()) for texts in told.values())


def test_every_setting_has_its_words_in_every_language() -> None:
    told = json.loads((LOCALES / "settings" / "telegram_bot.json").read_text())
    shown = [field for field in Settings().fields.values() if field.metadata.get("widget") != "hidden"]
    keys = {field.metadata[name] for field in shown for name in ("label", "help")}
    assert {key for key in keys if not key.startswith("channel.")} == set(told)
    assert all(set(texts) == set(LANGUAGES) and all(texts.values()) for texts in told.values())


@pytest.mark.parametrize(
    ("token", "is_fine"),
    [("123456789:" + "A" * 35, True), ("123456789:" + "A" * 34 + "/", False), ("123456789", False), ("", False)],
)
def test_only_what_can_be_a_token_is_taken(token: str, is_fine: bool) -> None:
    assert ("token" not in Settings().validate({"token": token})) is is_fine
