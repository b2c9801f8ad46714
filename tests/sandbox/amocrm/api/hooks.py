"""Subscriptions to CRM webhooks, short links, widgets (amocrm.md 4.2, 3.8, 3.10)."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from tests.sandbox.amocrm.problems import Refusal, not_found
from tests.sandbox.amocrm.rest import TABLE, Call, Reply
from tests.sandbox.amocrm.state import Integration, Json
from tests.sandbox.amocrm.values import CHOICE, MISSING, Errors, request_id, settle

EVENTS = {
    *(
        f"{act}_{kind}"
        for act in ("add", "update", "delete")
        for kind in ["lead", "contact", "company", "customer", "task"]
    ),
    *(f"restore_{kind}" for kind in ["lead", "contact", "company"]),
    *(f"responsible_{kind}" for kind in ["lead", "contact", "company", "customer", "task"]),
    *(f"note_{kind}" for kind in ["lead", "contact", "company", "customer"]),
    *("status_lead", "add_talk", "update_talk", "add_chat_template_review"),
    *("add_unsorted", "update_unsorted", "delete_unsorted", "add_message"),  # codes unconfirmed (4.2)
}
HIDDEN = ("bad",)


@TABLE.add("GET", "webhooks", admin=True)
def webhooks(call: Call) -> Json | None:
    """List the account's webhooks."""
    wanted = call.arg("filter[destination]")
    rows = [_shown(one) for one in call.account.webhooks.values() if wanted in ("", one["destination"])]
    return {**call.href("webhooks"), "_embedded": {"webhooks": rows}} if rows else None


def _shown(one: Json) -> Json:
    return {key: one[key] for key in one if key not in HIDDEN}


@TABLE.add("POST", "webhooks", admin=True)
def subscribe(call: Call) -> Reply:
    """Subscribe an address; the same address again is a change (201)."""
    raw, errors, account = call.single(), Errors(), call.account
    errors.check(raw, {"destination": str, "settings": list, "sort": int}, required=["destination", "settings"])
    if unknown := [one for one in raw.get("settings") or [] if one not in EVENTS]:
        errors.add(f"settings.{unknown[0]}", CHOICE)
    address = urlsplit(str(raw.get("destination", "")))
    if address.scheme not in ("http", "https") or not address.hostname or not address.hostname.isascii():
        errors.add("destination", CHOICE)
    settle({"0": errors})
    if not account.options.has_webhooks:
        raise Refusal(402, "Webhooks are not available on this plan")
    known = account.webhooks.get(raw["destination"])
    if known is None and len(account.webhooks) >= account.options.webhooks_limit:
        raise Refusal(422, "Limit of webhooks is reached")
    now = int(call.cloud.peer.now())
    made = known or {
        "id": account.new_id("webhook", 1_056_900),
        "destination": raw["destination"],
        "created_at": now,
        "account_id": account.id,
        "created_by": call.user.id,
    }
    made |= {"updated_at": now, "sort": raw.get("sort", 1), "settings": raw["settings"], "disabled": False, "bad": []}
    account.webhooks[made["destination"]] = made
    call.cloud.record("webhook", account, id=str(made["id"]), url=made["destination"], text=",".join(made["settings"]))
    return Reply(201, _shown(made))


@TABLE.add("DELETE", "webhooks", admin=True)
def unsubscribe(call: Call) -> Reply:
    """Forget an address."""
    if call.account.webhooks.pop(str(call.single().get("destination")), None) is None:
        raise not_found()
    return Reply(204)


# -- short links ------------------------------------------------------------------------------------------------------


@TABLE.add("POST", "short_links")
def short_links(call: Call) -> Json:
    """Make short links, one per contact."""
    rows = call.batch()
    errors: dict[str, Errors] = {}
    for number, raw in enumerate(rows):
        one = errors[request_id(raw, number)] = Errors()
        one.check(raw, {"url": str, "metadata": dict, "request_id": (str, int)}, required=["url", "metadata"])
        metadata = raw.get("metadata") if isinstance(raw.get("metadata"), dict) else {}
        if (metadata or {}).get("entity_type") != "contacts":
            one.add("metadata.entity_type", CHOICE if (metadata or {}).get("entity_type") else MISSING)
        elif (metadata or {}).get("entity_id") not in call.account.entities["contacts"]:
            one.add("metadata.entity_id", CHOICE)
    settle(errors)
    made = []
    for raw in rows:
        about = {"account_id": call.account.id, "entity_id": raw["metadata"]["entity_id"], "entity_type": "contacts"}
        made.append({"url": f"https://amo.sh/{secrets.token_hex(4).upper()}", **about, "metadata": raw["metadata"]})
    return {"_total_items": len(made), "_embedded": {"short_links": made}}


# -- widgets ----------------------------------------------------------------------------------------------------------


def _widget(call: Call) -> Integration:
    for one in call.cloud.integrations.values():
        if one.widget_code == call.params["code"] and one.has_archive:
            return one
    raise not_found()


@TABLE.add("GET", "widgets/{code}")
def widget(call: Call) -> Json:
    """Describe a widget; its settings are shown to its own integration only."""
    one = _widget(call)
    shown: Json = {
        "id": sum(map(ord, one.widget_code)),
        "code": one.widget_code,
        "version": "1.0.0",
        "rating": "0,00",
        "is_lead_source": True,
        "is_work_with_dp": True,
        "is_crm_template": False,
        "client_uuid": one.client_id,
        "is_active_in_account": one.client_id in call.account.installs,
        "pipeline_id": None,
        **call.href(f"widgets/{one.widget_code}"),
    }
    if one.client_id == call.integration.client_id:
        shown["settings"] = call.account.widgets.get(one.widget_code, {})
    return shown


@TABLE.add("POST", "widgets/{code}", admin=True)
def configure(call: Call) -> Json:
    """Save the settings of the own widget."""
    one = _widget(call)
    if one.client_id != call.integration.client_id:
        raise not_found()
    call.account.widgets[one.widget_code] = call.single()
    return widget(call)


@TABLE.add("DELETE", "widgets/{code}", admin=True)
def deconfigure(call: Call) -> Reply:
    """Forget the settings of the own widget."""
    call.account.widgets.pop(_widget(call).widget_code, None)
    return Reply(204)
