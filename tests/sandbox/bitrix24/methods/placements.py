"""placement.*: widgets of an application in the portal's pages (bitrix24.md 8.1)."""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.sandbox.bitrix24 import php
from tests.sandbox.bitrix24.errors import RestError
from tests.sandbox.bitrix24.methods.table import Call, method
from tests.sandbox.bitrix24.state import Placement

_CARDS = ("LEAD", "DEAL", "CONTACT", "COMPANY")
_IN_CARDS = ("DETAIL_TAB", "DETAIL_ACTIVITY", "DETAIL_TOOLBAR", "LIST_MENU", "LIST_TOOLBAR", "ACTIVITY_TIMELINE_MENU")
CODES: dict[str, str] = {f"CRM_{card}_{place}": "crm" for card in _CARDS for place in _IN_CARDS} | {
    "CONTACT_CENTER": "contact_center",
    "LEFT_MENU": "",
    "REST_APP_URI": "",
    "IM_TEXTAREA": "im",
    "IM_SIDEBAR": "im",
}


@method("placement.list", scope="placement", app=True)
def list_codes(call: Call) -> object:
    """List the places available to this application."""
    return [code for code in CODES if _available(call, code)]


@method("placement.bind", scope="placement", app=True, admin=True)
def bind(call: Call) -> object:
    """Bind a widget. It is shown only after installFinish."""
    code, handler = php.text(call.need("PLACEMENT")).upper(), php.text(call.need("HANDLER"))
    if not _available(call, code):
        raise RestError(400, "ERROR_PLACEMENT_NOT_FOUND", "Placement not found")
    parts = urlsplit(handler)
    if not parts.netloc:
        raise RestError(400, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL")
    if parts.scheme not in ("http", "https"):
        raise RestError(400, "ERROR_UNSUPPORTED_PROTOCOL", "Unsupported handler protocol")
    if any((known.code, known.handler) == (code, handler) for known in call.app.placements):
        raise RestError(400, "ERROR_CORE", "Unable to set placement handler: Handler already binded")
    call.app.placements.append(
        Placement(
            call.portal.new_id("placement", 71),
            code,
            handler,
            php.text(call.get("TITLE")),
            php.text(call.get("DESCRIPTION")),
            php.mapping(call.get("LANG_ALL")),
            php.mapping(call.get("OPTIONS")),
        )
    )
    call.cloud.record("placement", call.portal, id=code, text=php.text(call.get("TITLE")))
    return True


@method("placement.unbind", scope="placement", app=True, admin=True)
def unbind(call: Call) -> object:
    """Remove widgets; every removed record counts twice."""
    code, handler = php.text(call.need("PLACEMENT")).upper(), php.text(call.get("HANDLER"))
    kept = [
        known for known in call.app.placements if known.code != code or (handler and known.handler != handler)
    ]  # fmt: skip
    removed = len(call.app.placements) - len(kept)
    call.app.placements[:] = kept
    return {"count": removed * 2}


@method("placement.get", scope="placement", app=True, admin=True)
def get(call: Call) -> object:
    """List the bound widgets of this application."""
    return [
        {
            "placement": known.code,
            "userId": 0,
            "handler": known.handler,
            "options": known.options,
            "title": known.title,
            "description": known.description,
            "langAll": known.lang_all,
        }
        for known in call.app.placements
    ]


def _available(call: Call, code: str) -> bool:
    return code in CODES and (not CODES[code] or call.token is None or CODES[code] in call.token.scopes)
