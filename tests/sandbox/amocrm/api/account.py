"""account, users, pipelines (amocrm.md 2.3, 3.2, 3.10)."""

from __future__ import annotations

from tests.sandbox.amocrm import seed
from tests.sandbox.amocrm.problems import not_found
from tests.sandbox.amocrm.rest import TABLE, Call, listed, need
from tests.sandbox.amocrm.state import Json, User


@TABLE.add("GET", "account")
def account(call: Call) -> Json:
    """Describe the account; ids of the chats and the drive only with `with`."""
    one, having = call.account, call.having()
    shown: Json = {
        "id": one.id,
        "name": one.name,
        "subdomain": one.subdomain,
        "created_at": 1_577_836_800,
        "created_by": 0,
        "updated_at": 1_577_836_800,
        "updated_by": 0,
        "current_user_id": call.user.id,
        "country": "RU" if one.platform == 1 else "US",
        "currency": "RUB" if one.platform == 1 else "USD",
        "currency_symbol": "₽" if one.platform == 1 else "$",
        "customers_mode": "disabled",
        "is_unsorted_on": True,
        "is_loss_reason_enabled": True,
        "is_helpbot_enabled": False,
        "is_technical_account": False,
        "contact_name_display_order": 1,
        **call.href("account"),
    }
    plain: Json = {
        "amojo_id": one.amojo_id,
        "uuid": one.uuid,
        "version": 16,
        "drive_url": call.cloud.url(drive_host(one.platform)),
        "is_api_filter_enabled": one.options.filters == "work",
    }
    inside: Json = {
        "amojo_rights": {"can_direct": True, "can_create_groups": True},
        "users_groups": [{"id": 0, "name": "Отдел продаж", "uuid": None}],
        "task_types": list(seed.TASK_TYPES),
        "datetime_settings": {"timezone": "Europe/Moscow", "timezone_offset": "+03:00"},
    }
    shown |= {name: value for name, value in plain.items() if name in having}
    if found := {name: value for name, value in inside.items() if name in having}:
        shown["_embedded"] = found
    return shown


def drive_host(platform: int) -> str:
    """Name the files host of a platform."""
    return {1: "drive-b.amocrm.ru", 2: "drive-c.kommo.com"}[platform]


@TABLE.add("GET", "users", admin=True)
def users(call: Call) -> Json | None:
    """List the users (3.2)."""
    rows = [_user(call, user) for user in call.account.users.values()]
    page = listed(call, "users", rows)
    return page and {"_total_items": len(rows), "_page_count": 1, **page}


@TABLE.add("GET", "users/{id}", admin=True)
def user(call: Call) -> Json:
    """Describe one user."""
    found = call.account.users.get(call.number())
    if found is None:
        raise not_found()
    return _user(call, found)


def _user(call: Call, one: User) -> Json:
    rights: Json = {
        kind: {act: one.right(kind, act) for act in seed.ACTS} for kind in ("leads", "contacts", "companies")
    }
    rights |= {
        "tasks": {"edit": one.right("tasks", "edit"), "delete": one.right("tasks", "delete")},
        "mail_access": False,
        "catalog_access": False,
        "status_rights": [],
        "is_admin": one.is_admin,
        "is_free": one.is_free,
        "is_active": one.is_active,
        "group_id": one.group_id or None,
        "role_id": None,
    }
    shown: Json = {"id": one.id, "name": one.name, "email": one.email, "lang": "ru", "rights": rights}
    having = call.having()
    if "amojo_id" in having:
        shown["amojo_id"] = one.amojo_id
    if "uuid" in having:
        shown["uuid"] = one.amojo_id
    if {"role", "group"} & having:
        shown["_embedded"] = {"roles": [], "groups": [{"id": one.group_id, "name": "Отдел продаж"}]}
    return {**shown, **call.href(f"users/{one.id}")}


@TABLE.add("GET", "leads/pipelines")
def pipelines(call: Call) -> Json:
    """List all pipelines with their stages, without pages."""
    rows = [_pipeline(call, one) for one in call.account.pipelines.values()]
    return {"_total_items": len(rows), **call.href("leads/pipelines"), "_embedded": {"pipelines": rows}}


@TABLE.add("GET", "leads/pipelines/{id}")
def pipeline(call: Call) -> Json:
    """Describe one pipeline."""
    return _pipeline(call, need(call.account.pipelines.get(call.number())))


@TABLE.add("GET", "leads/pipelines/{id}/statuses")
def statuses(call: Call) -> Json:
    """List the stages of a pipeline."""
    one = need(call.account.pipelines.get(call.number()))
    rows = [_status(call, stage) for stage in one["statuses"]]
    return {"_total_items": len(rows), **call.href(call.path), "_embedded": {"statuses": rows}}


@TABLE.add("GET", "leads/pipelines/{pipeline}/statuses/{id}")
def status(call: Call) -> Json:
    """Describe one stage."""
    one = need(call.account.pipelines.get(call.number("pipeline")))
    return _status(call, need(next((stage for stage in one["statuses"] if stage["id"] == call.number()), None)))


def _pipeline(call: Call, one: Json) -> Json:
    shown = {name: value for name, value in one.items() if name != "statuses"}
    stages = [_status(call, stage) for stage in one["statuses"]]
    return {**shown, **call.href(f"leads/pipelines/{one['id']}"), "_embedded": {"statuses": stages}}


def _status(call: Call, one: Json) -> Json:
    path = f"leads/pipelines/{one['pipeline_id']}/statuses/{one['id']}"
    return {**one, "account_id": call.account.id, **call.href(path)}
