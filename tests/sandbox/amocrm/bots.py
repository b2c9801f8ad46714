"""Salesbot's widget_request and its continuation (amocrm.md 5.1, 5.2)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.sandbox.amocrm.problems import Refusal, not_found
from tests.sandbox.amocrm.rest import TABLE, Call, Reply
from tests.sandbox.amocrm.state import Account, Integration, Json
from tests.sandbox.hooks import Hook, Once

if TYPE_CHECKING:
    from tests.sandbox.amocrm.cloud import Cloud

WAIT_S = 2.0
HANDLERS_LIMIT = 10
TEXT_LIMIT = 80
BUTTONS_LIMIT = 25


async def request(
    cloud: Cloud, account: Account, integration: Integration, url: str, data: Json, *, entity_id: int = 0
) -> Json:
    """Call our block of a bot: a token of the bot kind, the data, and where to go on. 2 s, once."""
    bot_id, waiting = account.new_id("bot", 300), account.new_id("waiting", 100)
    account.waiting_bots[bot_id, waiting] = integration.client_id
    return_url = f"{cloud.url(account.host)}/api/v4/salesbot/{bot_id}/continue/{waiting}"
    claims = {"entity_id": entity_id} if entity_id else {}
    token = cloud.bot_token(integration, account, url, **claims)
    raw = json.dumps({"token": token, "data": data, "return_url": return_url}, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "amoCRM-Salesbot"}
    answer = await cloud.peer.hooks.deliver(Hook(url, raw, headers, Once(WAIT_S), label="bot", account=account.host))
    return {"status": answer.status, "trouble": answer.trouble, "return_url": return_url}


@TABLE.add("POST", "salesbot/{bot}/continue/{waiting}", admin=True)
def go_on(call: Call) -> Reply:
    """Let a waiting bot continue; only once (5.2)."""
    body = call.single()
    handlers = body.get("execute_handlers", [])
    if not isinstance(handlers, list) or len(handlers) > HANDLERS_LIMIT:
        raise Refusal(400, f"execute_handlers must be a list of up to {HANDLERS_LIMIT}")
    for handler in handlers:
        _check(handler)
    key = call.number("bot"), call.number("waiting")
    if call.account.waiting_bots.get(key) != call.integration.client_id:
        raise not_found()
    del call.account.waiting_bots[key]
    call.cloud.record("bot_continued", call.account, id=f"{key[0]}/{key[1]}", content=body)
    return Reply(202)


def _check(handler: object) -> None:
    if not isinstance(handler, dict) or handler.get("handler") not in ("show", "goto"):
        raise Refusal(400, "only the handlers show and goto are allowed")
    params = handler.get("params")
    if not isinstance(params, dict):
        raise Refusal(400, "params must be an object")
    if len(str(params.get("value", ""))) > TEXT_LIMIT:
        raise Refusal(400, f"value is longer than {TEXT_LIMIT}")
    if len(params.get("buttons", [])) > BUTTONS_LIMIT:
        raise Refusal(400, f"more than {BUTTONS_LIMIT} buttons")
