"""What a fresh account holds: users with rights, two pipelines, the usual fields, one task type list."""

from __future__ import annotations

from tests.sandbox.amocrm.state import LOST, WON, Account, Json, User, new_uuid
from tests.sandbox.amocrm.talks import Participant

ACTS = ("view", "edit", "add", "delete", "export")
PHONE_CODES = ("WORK", "WORKDD", "MOB", "FAX", "HOME", "OTHER")
EMAIL_CODES = ("WORK", "PRIV", "OTHER")
TASK_TYPES = ({"id": 1, "name": "Связаться"}, {"id": 2, "name": "Встреча"})


def furnish(account: Account) -> None:
    """Fill a new account."""
    first = account.new_id("user", 9_000_000)
    account.users = {
        first: User(first, "Мария", "admin@acme.example", new_uuid(), is_admin=True),
        first + 1: User(first + 1, "Анна", "anna@acme.example", new_uuid(), rights=rights("A")),
        first + 2: User(first + 2, "Иван", "ivan@acme.example", new_uuid(), rights=rights("M")),
    }
    account.next_ids["user"] = first + 2
    for user in account.users.values():
        account.participants[user.amojo_id] = Participant(user.amojo_id, user.name, is_client=False)
    add_pipeline(account, "Воронка", ("Первичный контакт", "Переговоры", "Принимают решение"), is_main=True)
    add_pipeline(account, "Повторные продажи", ("Новая заявка", "Согласование"))
    for kind in ("contacts", "companies"):
        add_field(account, kind, "Телефон", "multitext", code="PHONE", enums=PHONE_CODES)
        add_field(account, kind, "Email", "multitext", code="EMAIL", enums=EMAIL_CODES)
        add_field(account, kind, "Должность" if kind == "contacts" else "Web", "text" if kind == "contacts" else "url")
    account.fields["contacts"][max(account.fields["contacts"])]["code"] = "POSITION"
    account.fields["companies"][max(account.fields["companies"])]["code"] = "WEB"
    add_field(account, "leads", "Откуда", "text")


def rights(letter: str) -> dict[str, dict[str, str]]:
    """Give the same letter for every act on every entity."""
    return {kind: dict.fromkeys(ACTS, letter) for kind in ("leads", "contacts", "companies", "tasks")}


def add_pipeline(account: Account, name: str, stages: tuple[str, ...], *, is_main: bool = False) -> Json:
    """Make a pipeline: the unsorted stage, the given ones, won and lost (3.10)."""
    number = account.new_id("pipeline", 20_400)
    rows = [("Неразобранное", account.new_id("status", 654_300), 1)]
    rows += [(stage, account.new_id("status", 654_300), 0) for stage in stages]
    rows += [("Успешно реализовано", WON, 0), ("Закрыто и не реализовано", LOST, 0)]
    pipeline = {
        "id": number,
        "name": name,
        "sort": len(account.pipelines) + 1,
        "is_main": is_main,
        "is_unsorted_on": True,
        "is_archive": False,
        "account_id": account.id,
        "statuses": [_status(number, place, *row) for place, row in enumerate(rows)],
    }
    account.pipelines[number] = pipeline
    return pipeline


def _status(pipeline_id: int, place: int, name: str, number: int, kind: int) -> Json:
    sort = {WON: 10_000, LOST: 11_000}.get(number, 10 * (place + 1))
    return {
        "id": number,
        "name": name,
        "sort": sort,
        "is_editable": kind == 0 and number not in (WON, LOST),
        "pipeline_id": pipeline_id,
        "color": {WON: "#CCFF66", LOST: "#D5D8DB"}.get(number, "#c1c1c1" if kind else "#99ccff"),
        "type": kind,
    }


def add_stage(account: Account, pipeline: Json, name: str) -> Json:
    """Make one more open stage, before won and lost."""
    made = _status(pipeline["id"], len(pipeline["statuses"]), name, account.new_id("status", 654_300), 0)
    pipeline["statuses"].insert(-2, made)
    return made


def add_field(
    account: Account, kind: str, name: str, of: str, *, code: str | None = None, enums: tuple[str, ...] = ()
) -> Json:
    """Make a custom field."""
    number = account.new_id("field", 4_370_000)
    made = [
        {"id": account.new_id("enum", 3_770_000), "value": value, "sort": 2 * place, "code": None}
        for place, value in enumerate(enums)
    ]
    field = {
        "id": number,
        "name": name,
        "type": of,
        "account_id": account.id,
        "code": code,
        "sort": 500 + len(account.fields[kind]),
        "is_api_only": False,
        "is_deletable": code is None,
        "is_predefined": code is not None,
        "enums": made or None,
        "group_id": None,
        "required_statuses": [],
        "entity_type": kind,
    }
    account.fields[kind][number] = field
    return field


def stage(pipeline: Json, *, unsorted: bool) -> Json:
    """Return the unsorted stage of a pipeline, or its first regular one."""
    found: Json = next(one for one in pipeline["statuses"] if (one["type"] == 1) is unsorted)
    return found
