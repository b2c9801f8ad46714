"""What tests tell the twin to do: /_sandbox/say, make and the routes that only amoCRM has.

`account` is a host, subdomain, id or amojo id; without it the first one. `conversation` is the integration's id of a chat
or amoCRM's. `user` is a user id; without it the chat's own manager, or the administrator.

POST /_sandbox/say          {account?, user?, conversation, text, attachments: [{type|name, content_type, content_b64}],
                            reply_to?, extra?, bot?} an answer -> {"id", "ids", "chat_id"}; or instead of text: typing: true,
                            react: "🔥" | "" with message: id, close: true, accept: true, decline: true;
                            or {contact, phone?, source?, channel?, text} to write first
POST /_sandbox/make         {subdomain?, platform?, name?, integration?: {...}, channels?: [{...}], options?, client_id?}
POST /_sandbox/integration  {client_id?, ...}: change an integration's form, or make one without client_id
POST /_sandbox/channel      {id?, client_id?, ...}: change a channel as support does, or register one
POST /_sandbox/install      {account, client_id, user?}: "Install" in the marketplace -> {"status", "trouble"}
POST /_sandbox/disable      {account, client_id}           POST /_sandbox/consent {account, client_id, user?, state?,
                            refuse?} -> {"url"} as the browser would be sent
POST /_sandbox/token        {account, client_id, user?, carrier: widget|bot, claims?: {...}} -> {"token"}; claims may hold
                            alg and key, null removes one
POST /_sandbox/pair         {account, client_id, user?}: a pair of tokens without the road to them
POST /_sandbox/options      {account, ...}: switches        POST /_sandbox/rename {account, subdomain}
POST /_sandbox/user         {account, id?, ...}: change or make a user (is_admin, is_active, rights, ...);
                            gone: true deletes one
POST /_sandbox/stage        {account, name}: a new open stage of the main pipeline; {account, id, gone: true}: delete one
POST /_sandbox/contact      {account, name, phone?, email?, lead?: name, user?} -> {"contact", "lead"}
POST /_sandbox/move         {account, lead, status_id?, pipeline_id?, user?}: move a lead as a manager does
POST /_sandbox/bot          {account, client_id, url, data, entity_id?}: a Salesbot's widget_request (5.1)
POST /_sandbox/limits       {integration?, account?, address?, address_ru?}; GET shows the counters
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from tests.sandbox.amocrm import bots, deeds, manager, oauth, seed
from tests.sandbox.amocrm.cloud import Cloud
from tests.sandbox.amocrm.problems import Refusal
from tests.sandbox.amocrm.state import Account, Channel, Integration, User, new_uuid
from tests.sandbox.amocrm.talks import Participant
from tests.sandbox.frame import BadControl

Json = dict[str, Any]


def actions(cloud: Cloud) -> dict[str, Callable[[Json], Awaitable[Json]]]:
    """List the additional control routes by the name after /_sandbox/."""
    known = (
        integration,
        channel,
        install,
        disable,
        consent,
        token,
        pair,
        options,
        rename,
        user,
        stage,
        contact,
        move,
        bot,
        limits,
    )

    def bound(action: Callable[[Cloud, Json], Awaitable[Json]]) -> Callable[[Json], Awaitable[Json]]:
        async def act(body: Json) -> Json:
            try:
                return await action(cloud, body)
            except (oauth.Impossible, manager.Refused) as refusal:
                raise BadControl(str(refusal)) from refusal
            except Refusal as refusal:
                raise BadControl(refusal.code) from refusal

        return act

    return {action.__name__: bound(action) for action in known}


# -- describing -------------------------------------------------------------------------------------------------------


def describe(cloud: Cloud, account: Account) -> Json:
    """Give what a test needs to know about an account."""
    return {
        "id": account.id,
        "host": account.host,
        "subdomain": account.subdomain,
        "platform": account.platform,
        "amojo_id": account.amojo_id,
        "url": cloud.url(account.host),
        "page": f"{cloud.peer.base_url}/pages/{account.host}",
        "users": [
            {"id": one.id, "name": one.name, "amojo_id": one.amojo_id, "is_admin": one.is_admin}
            for one in account.users.values()
        ],
        "pipelines": [
            {
                "id": one["id"],
                "name": one["name"],
                "statuses": [{"id": stage["id"], "name": stage["name"]} for stage in one["statuses"]],
            }
            for one in account.pipelines.values()
        ],
        "scopes": [link.scope_id for link in account.connections.values()],
    }


def describe_integration(one: Integration) -> Json:
    """Give an integration's form."""
    return {**dataclasses.asdict(one), "scopes": list(one.scopes)}


def describe_channel(one: Channel) -> Json:
    """Give what support answers, and what it switched on."""
    return {**dataclasses.asdict(one), "only_accounts": sorted(one.only_accounts)}


# -- the vendor and the administrator ---------------------------------------------------------------------------------


async def make(cloud: Cloud, body: Json) -> Json:
    """Make an account; with integration or channels also those."""
    account = cloud.open_account(
        str(body.get("subdomain", "")), platform=int(body.get("platform", 1)), name=str(body.get("name", ""))
    )
    _set(account.options, body.get("options", {}))
    made: Json = {"account": describe(cloud, account)}
    client_id = str(body.get("client_id", ""))
    if "integration" in body or not client_id:
        card = cloud.add_integration()
        _set(card, body.get("integration", {}))
        client_id = card.client_id
    made["integration"] = describe_integration(cloud.integrations[client_id])
    registered = []
    for form in body.get("channels", [{"title": "VK"}]):
        one = cloud.add_channel(client_id, str(form.get("title", "VK")))
        _set(one, form)
        registered.append(describe_channel(one))
    return made | {"channels": registered}


async def integration(cloud: Cloud, body: Json) -> Json:
    """Fill in an integration's form."""
    found = find_integration(cloud, body) if body.get("client_id") else cloud.add_integration()
    _set(found, {name: value for name, value in body.items() if name != "client_id"})
    return describe_integration(found)


async def channel(cloud: Cloud, body: Json) -> Json:
    """Register or change a channel, as support does."""
    found = cloud.channels.get(str(body.get("id")))
    if found is None:
        if body.get("id"):
            raise BadControl(f"no channel {body['id']}")
        found = cloud.add_channel(find_integration(cloud, body).client_id)
    _set(found, {name: value for name, value in body.items() if name != "id"})
    return describe_channel(found)


async def install(cloud: Cloud, body: Json) -> Json:
    """Press "Install": the call from server to server."""
    account = find_account(cloud, body)
    answer = await oauth.install(cloud, find_integration(cloud, body), account, user_id=find_user(account, body).id)
    return {"status": answer.status, "trouble": answer.trouble}


async def disable(cloud: Cloud, body: Json) -> Json:
    """Switch the integration off in an account."""
    answer = await oauth.disable(cloud, find_integration(cloud, body), find_account(cloud, body))
    return {"status": answer.status if answer else 0, "trouble": answer.trouble if answer else "no address"}


async def consent(cloud: Cloud, body: Json) -> Json:
    """Give or refuse access; answer where the browser is sent."""
    card, account, state = find_integration(cloud, body), find_account(cloud, body), str(body.get("state", ""))
    if body.get("refuse"):
        return {"url": oauth.refusal(card, state)}
    return {"url": oauth.redirect(cloud, card, account, user_id=find_user(account, body).id, state=state)}


async def token(cloud: Cloud, body: Json) -> Json:
    """Make a one-time token of the widget or of a bot."""
    card, account, claims = find_integration(cloud, body), find_account(cloud, body), dict(body.get("claims", {}))
    if body.get("carrier") == "bot":
        return {"token": cloud.bot_token(card, account, str(body.get("url", card.redirect_uri)), **claims)}
    return {"token": cloud.one_time_token(card, account, find_user(account, body).id, **claims)}


async def pair(cloud: Cloud, body: Json) -> Json:
    """Make a pair of tokens of an enabled integration."""
    card, account = find_integration(cloud, body), find_account(cloud, body)
    account.installs.add(card.client_id)
    return cloud.grant(cloud.issue(card, account, find_user(account, body).id))


async def options(cloud: Cloud, body: Json) -> Json:
    """Change the switches of an account."""
    account = find_account(cloud, body)
    _set(account.options, {name: value for name, value in body.items() if name != "account"})
    return dataclasses.asdict(account.options)


async def rename(cloud: Cloud, body: Json) -> Json:
    """Give an account another subdomain; the old host refuses from now on (1.6)."""
    account = find_account(cloud, body)
    cloud.old_hosts[account.host] = account.id
    account.subdomain = str(body.get("subdomain") or f"{account.subdomain}new")
    return describe(cloud, account)


async def user(cloud: Cloud, body: Json) -> Json:
    """Change a user, or make one."""
    account, values = find_account(cloud, body), {key: body[key] for key in body if key not in ("account", "id")}
    if isinstance(values.get("rights"), str):
        values["rights"] = seed.rights(values["rights"])
    found = account.users.get(int(body.get("id", 0)))
    if values.pop("gone", False):
        account.users.pop(int(body["id"]))
        return {"id": int(body["id"])}
    if found is None:
        number = account.new_id("user", 9_000_000)
        found = User(number, f"Сотрудник {number}", f"user{number}@acme.example", new_uuid(), rights=seed.rights("A"))
        account.users[number] = found
        account.participants[found.amojo_id] = Participant(found.amojo_id, found.name, is_client=False)
    _set(found, values)
    return {"id": found.id, "amojo_id": found.amojo_id}


async def stage(cloud: Cloud, body: Json) -> Json:
    """Make or delete a stage of the main pipeline."""
    account = find_account(cloud, body)
    if body.get("gone"):
        for pipeline in account.pipelines.values():
            pipeline["statuses"] = [one for one in pipeline["statuses"] if one["id"] != int(body["id"])]
        return {"id": int(body["id"])}
    made = seed.add_stage(account, account.main_pipeline, str(body.get("name", "Ещё один")))
    return {"id": made["id"], "pipeline_id": made["pipeline_id"]}


async def contact(cloud: Cloud, body: Json) -> Json:
    """Make a contact, with a lead in the first stage when `lead` names one."""
    account, who = find_account(cloud, body), find_user(find_account(cloud, body), body)
    person = deeds.add_entity(cloud, account, "contacts", str(body.get("name", "Иван")), user_id=who.id)
    deeds.set_field(account, person, "PHONE", str(body.get("phone", "")))
    deeds.set_field(account, person, "EMAIL", str(body.get("email", "")))
    if not body.get("lead"):
        return {"contact": person.id, "lead": 0}
    pipeline = account.main_pipeline
    stage = seed.stage(pipeline, unsorted=False)["id"]
    lead = deeds.add_lead(cloud, account, str(body["lead"]), pipeline, stage, user_id=who.id)
    deeds.link(account, lead, person)
    return {"contact": person.id, "lead": lead.id}


async def move(cloud: Cloud, body: Json) -> Json:
    """Move a lead to a stage as a manager does."""
    account = find_account(cloud, body)
    lead = account.entities["leads"].get(int(body.get("lead", 0)))
    if lead is None:
        raise BadControl(f"no lead {body.get('lead')}")
    deeds.move(
        cloud,
        account,
        lead,
        pipeline_id=int(body.get("pipeline_id") or lead.values["pipeline_id"]),
        status_id=int(body.get("status_id") or lead.values["status_id"]),
        user_id=find_user(account, body).id,
    )
    return {"id": lead.id, **lead.values}


async def bot(cloud: Cloud, body: Json) -> Json:
    """Let a Salesbot come to our block: one widget_request."""
    account, card = find_account(cloud, body), find_integration(cloud, body)
    return await bots.request(
        cloud, account, card, str(body.get("url")), dict(body.get("data", {})), entity_id=int(body.get("entity_id", 0))
    )


async def limits(cloud: Cloud, body: Json) -> Json:
    """Change how many requests a second are let through; 0 = not counted."""
    for name, value in body.items():
        if name not in cloud.limits.rates or not isinstance(value, int):
            raise BadControl(f"unknown limit {name}")
        cloud.limits.rates[name] = value
    return dict(cloud.limits.rates)


# -- finding ----------------------------------------------------------------------------------------------------------


def find_account(cloud: Cloud, body: Json) -> Account:
    """Find the account a control call means."""
    found = cloud.find_account(body.get("account"))
    if found is None:
        raise BadControl(f"no account {body.get('account')}")
    return found


def find_integration(cloud: Cloud, body: Json) -> Integration:
    """Find the integration; without a name, the first one."""
    client_id = body.get("client_id")
    found = cloud.integrations.get(str(client_id)) if client_id else next(iter(cloud.integrations.values()))
    if found is None:
        raise BadControl(f"no integration {client_id}")
    return found


def find_user(account: Account, body: Json) -> User:
    """Find the user; without a name, the administrator."""
    found = account.users.get(int(body["user"])) if body.get("user") else account.admin
    if found is None:
        raise BadControl(f"no user {body.get('user')} in this account")
    return found


def _set(target: object, values: Json) -> None:
    """Set fields of a dataclass, keeping the type of each."""
    for name, value in values.items():
        if not hasattr(target, name):
            raise BadControl(f"unknown field {name}")
        old = getattr(target, name)
        setattr(target, name, type(old)(value) if isinstance(old, set | tuple) else value)
