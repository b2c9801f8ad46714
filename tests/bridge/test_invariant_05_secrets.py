"""Invariant 5: tokens, texts and numbers of people appear in no log; one id follows a message from its hook to its report."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from tests.bridge.pair import Pair, new_user
from tests.stack import Json, Stack, wait_for

_GUNICORN = re.compile(r"\[[-0-9: +]+\] \[\d+\] \[[A-Z]+\] ")
OURS = ("web", "exchange-1", "exchange-2", "schedules", "cron")


def test_one_trace_id_follows_a_message_from_its_hook_to_its_report(pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    pair.operator(user, text="ответ")
    pair.wait_got(user, "ответ")
    wait_for(lambda: pair.desk("delivered"), what="the report")
    asked, answered = (
        pair.rows("select trace_id from messages where text = :said", said=said)[0].trace_id
        for said in ("вопрос", "ответ")
    )
    road = ["hook_kept", "event_recorded", "attempt_made"]
    wait_for(lambda: _events(pair.stack, asked) == sorted(road), what="the customer's road")
    wait_for(
        lambda: _events(pair.stack, answered) == sorted([*road, "attempt_made"]),
        what="the operator's road, and its report",
    )
    attempts = [line for line in _followed(pair.stack, answered) if line["event"] == "attempt_made"]
    assert [(line["act"], line["outcome"]) for line in attempts] == [("new", "accepted"), ("status", "accepted")]
    assert [line["end"] for line in attempts] == [str(pair.channel_id), str(pair.connection_id)]


def test_no_text_token_or_number_is_in_any_log(pair: Pair) -> None:
    user = new_user()
    secret = f"тайна-{secrets.token_hex(4)}"
    pair.customer(user, text=f"{secret} один", attachments=[{"type": "photo"}])
    wait_for(lambda: pair.seen(user), what="the message")
    pair.operator(user, text=f"{secret} два")
    pair.wait_got(user, f"{secret} два")
    pair.customer(user, lead=[{"key": "phone", "question": "Телефон", "answer": "+79161234567"}])
    pair.vk_hook("message_new", {"message": secret})
    pair.vk_hook("message_new", pair.message_new(user, secret, 9500), secret=secret)
    pair.faults("vk", lose_answers_rate=1)
    pair.operator(user, text=f"{secret} три")
    wait_for(lambda: len(pair.got(user)) >= 2, what="a troubled call")
    pair.faults("vk", lose_answers_rate=0)
    pair.wait_quiet()
    grant = pair.stack.look("bitrix24", "credentials")
    hidden = [secret, "+79161234567", "79161234567", pair.community["token"], grant["client_secret"]]
    for end_id in (pair.channel_id, pair.connection_id):
        hidden += [value for value in pair.secrets_of(end_id).values() if len(value) > 7]
    for name in OURS:
        log = pair.stack.log(name).read_text(errors="replace")
        found = [value for value in hidden if value in log]
        assert not found, f"{len(found)} secrets in {name}.log"


def test_every_log_line_is_one_json_object(stack: Stack, pair: Pair) -> None:
    user = new_user()
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    for name in OURS:
        strange = [line for line in stack.log(name).read_text().splitlines() if line and not _is_event(line)]
        assert not strange, f"{name}: {strange[0][:200]}"


def test_sealed_columns_hold_nothing_readable(pair: Pair) -> None:
    row = pair.rows("select secrets from ends where id = :id", id=pair.channel_id)[0]
    assert pair.community["token"].encode() not in bytes(row.secrets)
    tokens = pair.rows(
        "select access_sealed, refresh_sealed from oauth_tokens where end_id = :id", id=pair.connection_id
    )
    assert tokens and all(b"bitrix" not in bytes(value) for value in tokens[0])


def _followed(stack: Stack, trace: str) -> list[Json]:
    """Return the lines of all processes that carry an id, in the order of time."""
    lines: list[Any] = []
    for name in OURS:
        lines += [json.loads(line) for line in stack.log(name).read_text().splitlines() if trace in line]
    return sorted(lines, key=lambda line: str(line["at"]))


def _events(stack: Stack, trace: str) -> list[str]:
    return sorted(line["event"] for line in _followed(stack, trace) if line.get("act") != "read")


def _is_event(line: str) -> bool:
    """Tell whether a line is one of ours; gunicorn tells of its own start and stop in its own way."""
    if _GUNICORN.match(line):
        return True
    try:
        return "event" in json.loads(line)
    except ValueError:
        return False
