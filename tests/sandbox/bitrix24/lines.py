"""Settings of open lines: defaults, clamping and the two shapes of writing and reading (bitrix24.md 5.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.sandbox.bitrix24 import php
from tests.sandbox.bitrix24.errors import RestError
from tests.sandbox.bitrix24.state import Portal

YES_UNLESS_N = {
    "ACTIVE": "Y", "CHECK_AVAILABLE": "N", "CRM": "Y", "CRM_CREATE_THIRD": "Y", "CRM_FORWARD": "Y",
    "CRM_CHAT_TRACKER": "Y", "CRM_TRANSFER_CHANGE": "Y", "WELCOME_MESSAGE": "Y", "VOTE_MESSAGE": "Y",
}  # fmt: skip
NO_UNLESS_Y = {
    "TEMPORARY": "N", "WATCH_TYPING": "Y", "WORKTIME_ENABLE": "N", "SEND_WELCOME_EACH_SESSION": "N",
    "AGREEMENT_MESSAGE": "N", "IGNORE_WELCOME_FORM_RESPONSIBLE": "N", "CONFIRM_CLOSE": "N",
    "VOTE_BEFORE_FINISH": "Y", "VOTE_CLOSING_DELAY": "N", "KPI_FIRST_ANSWER_ALERT": "N",
    "KPI_FURTHER_ANSWER_ALERT": "N", "KPI_CHECK_OPERATOR_ACTIVITY": "N", "WELCOME_BOT_ENABLE": "N",
    "CATEGORY_ENABLE": "N",
}  # fmt: skip
CHOICES: dict[str, tuple[str, tuple[str, ...]]] = {
    "QUEUE_TYPE": ("all", ("evenly", "strictly", "all")),
    "TYPE_MAX_CHAT": ("answered_new", ("answered", "answered_new", "closed")),
    "OPERATOR_DATA": ("profile", ("profile", "queue", "hide")),
    "CRM_CREATE": ("lead", ("none", "lead", "deal")),
    "WORKTIME_DAYOFF_RULE": ("none", ("none", "text")),
    "NO_ANSWER_RULE": ("none", ("none", "text", "form", "queue")),
    "CLOSE_RULE": ("text", ("none", "text")),
    "AUTO_CLOSE_RULE": ("none", ("none", "text")),
    "WELCOME_BOT_JOIN": ("always", ("first", "always")),
    "WELCOME_BOT_LEFT": ("queue", ("queue", "close")),
}
NUMBERS: dict[str, tuple[int, int]] = {  # default, upper bound
    "QUEUE_TIME": (60, 86400), "NO_ANSWER_TIME": (60, 86400), "MAX_CHAT": (0, 10**6), "SESSION_PRIORITY": (0, 86400),
    "FULL_CLOSE_TIME": (10, 10**6), "AUTO_CLOSE_TIME": (14400, 10**7), "AUTO_EXPIRE_TIME": (86400, 10**7),
    "VOTE_TIME_LIMIT": (0, 10**6), "KPI_FIRST_ANSWER_TIME": (0, 10**6), "KPI_FURTHER_ANSWER_TIME": (0, 10**6),
    "WELCOME_BOT_ID": (0, 10**9), "WELCOME_BOT_TIME": (600, 86400), "CATEGORY_ID": (0, 10**9),
    "AGREEMENT_ID": (0, 10**9), "QUICK_ANSWERS_IBLOCK_ID": (0, 10**9),
}  # fmt: skip
TEXTS = {
    "LINE_NAME": "Открытая линия", "LANGUAGE_ID": "ru", "XML_ID": "", "CRM_CREATE_SECOND": "", "CRM_SOURCE": "create",
    "WELCOME_MESSAGE_TEXT": "Добро пожаловать! Вам ответит первый освободившийся оператор.",
    "NO_ANSWER_TEXT": "Сейчас нет свободных операторов.", "CLOSE_TEXT": "Спасибо за обращение!",
    "AUTO_CLOSE_TEXT": "Диалог закрыт.", "WORKTIME_TIMEZONE": "", "WORKTIME_HOLIDAYS": "",
    "WORKTIME_DAYOFF_TEXT": "Сейчас нерабочее время.",
    "VOTE_MESSAGE_2_TEXT": "Оцените работу оператора: отправьте 1, если довольны, и 0, если нет.",
    "VOTE_MESSAGE_2_LIKE": "Спасибо за оценку!", "VOTE_MESSAGE_2_DISLIKE": "Жаль, что мы не помогли.",
}  # fmt: skip
CLOCKS = {"WORKTIME_FROM": "9", "WORKTIME_TO": "18.30"}
OTHERS: dict[str, object] = {"WORKTIME_DAYOFF": [], "DEFAULT_OPERATOR_DATA": {}, "QUEUE": []}
READ_ONLY = ("ID", "DATE_CREATE", "DATE_MODIFY", "MODIFY_USER_ID")
FIELDS = frozenset(
    [*YES_UNLESS_N, *NO_UNLESS_Y, *CHOICES, *NUMBERS, *TEXTS, *CLOCKS, *OTHERS, *READ_ONLY, "USE_WELCOME_FORM"]
)
_CLOCK = re.compile(r"\d{1,2}(\.\d{2})?")


def add(portal: Portal, fields: Mapping[str, object], *, creator: int) -> int:
    """Make a line and return its id."""
    line_id = portal.new_id("line", 1 if not portal.lines else 107)
    line: dict[str, object] = {"ID": line_id, "MODIFY_USER_ID": creator, **_defaults()}
    line["QUEUE"] = _queue(portal, fields["QUEUE"]) if fields.get("QUEUE") else [creator]
    portal.lines[line_id] = line
    _apply(line, fields)
    _downgrade(portal, line)
    return line_id


def update(portal: Portal, line_id: int, fields: Mapping[str, object], *, editor: int) -> None:
    """Change a line. Raises RestError when a given queue is empty or names nobody."""
    line = portal.lines[line_id]
    if "QUEUE" in fields:
        queue = _queue(portal, fields["QUEUE"])
        if not queue:
            raise RestError(400, "ERROR_ARGUMENT", "Queue is empty", argument="QUEUE")
        line["QUEUE"] = queue
    _apply(line, fields)
    _downgrade(portal, line)
    line["MODIFY_USER_ID"] = editor


def as_text(line: Mapping[str, object]) -> dict[str, object]:
    """Give a line as config.get reads it: every scalar a string, dates empty, the queue a list of user ids."""
    shown: dict[str, object] = {"DATE_CREATE": {}, "DATE_MODIFY": {}}
    for key, value in line.items():
        shown[key] = [str(user) for user in php.items(value)] if key == "QUEUE" else value
        if not isinstance(value, dict | list):
            shown[key] = str(value)
    if not line["WORKTIME_DAYOFF"]:
        shown["WORKTIME_DAYOFF"] = [""]
    return shown


def queue(portal: Portal, line_id: int) -> list[int]:
    """List the operators of a line."""
    return [php.number(user) for user in php.items(portal.lines[line_id]["QUEUE"])]


def _defaults() -> dict[str, object]:
    fields: dict[str, object] = {**YES_UNLESS_N, **NO_UNLESS_Y, **TEXTS, **CLOCKS, "WORKTIME_DAYOFF": []}
    fields |= {key: first for key, (first, _) in NUMBERS.items()}
    fields |= {key: first for key, (first, _) in CHOICES.items()} | {"TYPE_MAX_CHAT": "answered"}
    return fields | {"DEFAULT_OPERATOR_DATA": {}, "USE_WELCOME_FORM": "Y"}


def _apply(line: dict[str, object], fields: Mapping[str, object]) -> None:
    for key, value in fields.items():
        if key in YES_UNLESS_N:
            line[key] = "N" if value in ("N", False) else "Y"
        elif key in NO_UNLESS_Y:
            line[key] = "Y" if value in ("Y", True) else "N"
        elif key in CHOICES:
            first, allowed = CHOICES[key]
            line[key] = value if value in allowed else first
        elif key in NUMBERS:
            line[key] = min(max(php.number(value), 0), NUMBERS[key][1])
        elif key in TEXTS:
            line[key] = php.text(value)[: 2 if key == "LANGUAGE_ID" else 255 if key == "LINE_NAME" else None]
        elif key in CLOCKS:
            line[key] = php.text(value) if _CLOCK.fullmatch(php.text(value)) else CLOCKS[key]
        elif key in ("WORKTIME_DAYOFF", "DEFAULT_OPERATOR_DATA"):
            line[key] = value


def _downgrade(portal: Portal, line: dict[str, object]) -> None:
    if portal.options.is_plan_small:
        line |= {"VOTE_MESSAGE": "N", "WORKTIME_ENABLE": "N"}
        line["QUEUE_TYPE"] = "evenly" if line["QUEUE_TYPE"] == "all" else line["QUEUE_TYPE"]


def _queue(portal: Portal, value: object) -> list[int]:
    wanted = [php.mapping(entry) for entry in php.items(value)]
    users = [php.number(entry.get("ENTITY_ID")) for entry in wanted if entry.get("ENTITY_TYPE") == "user"]
    return [user for user in users if user in portal.users]
