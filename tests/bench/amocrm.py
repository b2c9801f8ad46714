"""What amoCRM's API costs: calls per message that a customer writes, in either mode, and how much of its limit a backlog of notes uses."""

from __future__ import annotations

import json
import re
import time
from collections import Counter

from tests.bench.figures import Figure
from tests.bridge.amocrm import Office, make_office
from tests.bridge.pair import new_user
from tests.stack import Stack, running, wait_for

RATE = 6.0
"""amocrm.md 6: 7 a second are allowed; delivered is 6."""
TALKS = 12
BACKLOG = 300
WINDOW_S = 30
_NUMBER = re.compile(r"\d+|[0-9a-f-]{20,}")
MODES = {"chats": "«Чаты»", "notes": "«Добавлять»"}


def measure() -> list[Figure]:
    """Count calls by our own log of calls to the outside, which holds those to the chats API as well; then let a backlog flow."""
    figures: list[Figure] = []
    with running(is_durable=True) as stack:
        for mode in MODES:
            figures += _costs(stack, make_office(stack, mode=mode), mode)
    with running(is_durable=True) as stack:
        figures += _backlog(stack, make_office(stack, mode="notes"))
    return figures


def _costs(stack: Stack, office: Office, mode: str) -> list[Figure]:
    users = [new_user() for _ in range(TALKS)]
    _say(office, [new_user()], "the first of all, who makes the source")
    figures = []
    for which in ("first", "later"):
        before = _calls(stack)
        _say(office, users, which)
        made = _calls(stack) - before
        details = ", ".join(f"{count / TALKS:.2f} {call}" for call, count in made.most_common())
        what = f"amoCRM calls per {which} message, {MODES[mode]}"
        figures.append(Figure(what, made.total() / TALKS, "", details=f"{details or 'none'}; {TALKS} customers"))
    return figures


def _say(office: Office, users: list[int], text: str) -> None:
    for user in users:
        office.customer(user, text=f"{text} {user}")
    for user in users:
        office.wait_status(f"{text} {user}", office.connection_id, "delivered", within_s=180)
    office.wait_quiet()


def _calls(stack: Stack) -> Counter[str]:
    """Count the calls that left for amoCRM by what they were about: `amocrm` is the REST API, `amojo` the chats."""
    found: Counter[str] = Counter()
    for name in stack.processes:
        if name.startswith("exchange"):
            for line in stack.log(name).read_text().splitlines():
                if '"outside_call"' in line and '"amo' in line:
                    said = json.loads(line)
                    tail = said["path"].partition("/api/v4/")[2] or said["path"].rpartition("/")[2]
                    found[f"{said['session']} {_NUMBER.sub('*', tail)}"] += 1
    return found


def _backlog(stack: Stack, office: Office) -> list[Figure]:
    users = [new_user() for _ in range(TALKS)]
    _say(office, users, "hello")
    stack.control("amocrm", "limits", integration=7, address_ru=7)
    for number in range(BACKLOG):
        office.customer(users[number % TALKS], text=f"m{number}")
    wait_for(lambda: _waiting(office) < BACKLOG - 2 * RATE, within_s=30, what="the first notes")
    begun = time.time()
    time.sleep(WINDOW_S)
    times = [call["real_at"] for call in office.calls("amocrm") if call["real_at"] > begun]
    left = _waiting(office)
    refused = sum(one["refused"] for one in stack.look("amocrm", "limits")["counters"])
    used = (len(times) - 1) / (times[-1] - times[0]) / RATE
    details = f"{len(times)} calls in {times[-1] - times[0]:.1f} s at {RATE:g}/s, {left} messages still waiting"
    return [
        Figure("use of amoCRM's limit under a backlog", used, "x", ">= 0.95", used >= 0.95 and left > 0, details),
        Figure("calls above amoCRM's limit", refused, "", "0", not refused, details),
    ]


def _waiting(office: Office) -> int:
    query = "select coalesce(sum(last_seq - settled_seq), 0)::int as waiting from lanes where end_id = :id"
    return int(office.rows(query, id=office.connection_id)[0].waiting)
