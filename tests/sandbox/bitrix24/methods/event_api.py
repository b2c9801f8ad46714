"""event.* and events: who listens to what (bitrix24.md 7)."""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.sandbox.bitrix24 import events, php
from tests.sandbox.bitrix24.errors import RestError, access_denied
from tests.sandbox.bitrix24.methods.table import Call, method
from tests.sandbox.bitrix24.state import Handler

_HIDDEN_WITHOUT_SCOPE = {"ONIMCONNECTOR": "imconnector", "ONOPENLINE": "imopenlines", "ONSESSION": "imopenlines"} | {
    "ONCRM": "crm"
}


@method("events")
def list_events(call: Call) -> object:
    """List the events this application may bind."""
    return [event for event in events.KNOWN_EVENTS if _may_bind(call, event)]


@method("event.bind", app=True)
def bind(call: Call) -> object:
    """Bind a handler; the second time is an error."""
    event, url = php.text(call.need("EVENT")).upper(), php.text(call.need("HANDLER"))
    auth_type = php.number(call.get("AUTH_TYPE"))
    if php.text(call.get("EVENT_TYPE")) == "offline":
        raise RestError(400, "ERROR_EVENT_NOT_FOUND", "Offline events are not simulated")
    if event not in events.KNOWN_EVENTS or not _may_bind(call, event):
        raise RestError(400, "ERROR_EVENT_NOT_FOUND", "Event not found")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise RestError(400, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL")
    if auth_type and auth_type != call.user.id and not call.user.is_admin:
        raise access_denied()
    if any((handler.event, handler.url, handler.auth_type) == (event, url, auth_type) for handler in call.app.handlers):
        raise RestError(400, "ERROR_CORE", "Unable to set event handler: Handler already binded")
    call.app.handlers.append(Handler(call.portal.new_id("handler", 551), event, url, auth_type))
    return True


@method("event.unbind", app=True)
def unbind(call: Call) -> object:
    """Remove handlers and tell how many they were."""
    event, url = php.text(call.need("EVENT")).upper(), php.text(call.need("HANDLER"))
    kept = [handler for handler in call.app.handlers if (handler.event, handler.url) != (event, url)]
    removed = len(call.app.handlers) - len(kept)
    call.app.handlers[:] = kept
    return {"count": removed}


@method("event.get", app=True)
def get(call: Call) -> object:
    """List the bound handlers of this application."""
    return [
        {"event": handler.event, "handler": handler.url, "auth_type": str(handler.auth_type), "offline": 0}
        for handler in call.app.handlers
        if call.user.is_admin or handler.auth_type == call.user.id
    ]


@method("event.test", app=True)
def test(call: Call) -> object:
    """Raise ONAPPTEST with what was given."""
    data = {"QUERY": call.params}
    events.emit(call.cloud, call.portal, call.app, "ONAPPTEST", data, user_id=call.user.id)
    return 1


def _may_bind(call: Call, event: str) -> bool:
    for head, scope in _HIDDEN_WITHOUT_SCOPE.items():
        if event.startswith(head):
            return call.token is None or scope in call.token.scopes
    return True
