"""What a portal posts when it opens one of our pages, or installs, updates and removes the app (bitrix24.md 1.3, 1.4).

Reading only: nothing here is believed before it is proved, by the application_token we know or by the OAuth server. Who looks at the page is asked of the
portal with his own token, because the application_token passes through the browser of every employee.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from widget_backend.bridge.ends import Hook, Owner
from widget_backend.bridge.errors import AccessLost, NotGenuine
from widget_backend.crms.bitrix24.client import Portal
from widget_backend.crms.bitrix24.hooks import host_of, same
from widget_backend.limits import Priority
from widget_backend.reading import Malformed, Reader, read_form

_LANGUAGES = {"ru": "ru", "ua": "ru", "by": "ru", "kz": "ru", "la": "es", "es": "es"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One opening of a page (`event` empty) or one event of the app's life. `facts` are what the end must know, tokens apart.

    Shape: `options` are those of the placement. `refresh` is empty in most events.
    """

    remote_id: str
    domain: str
    locale: str
    access: str = field(repr=False)
    refresh: str = field(repr=False)
    server_endpoint: str
    application_token: str = field(repr=False)
    placement: str = "DEFAULT"
    options: Mapping[str, str] = field(default_factory=dict)
    event: str = ""
    erase: bool = False

    @property
    def secrets(self) -> dict[str, str]:
        """Return the secrets an end keeps of it."""
        return {"application_token": self.application_token} if self.application_token else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """The employee who opened the page, as the portal itself says."""

    user_id: str
    is_admin: bool


def read_visit(hook: Hook) -> Visit:
    """Read the POST of an iframe, or an event of the app's life that came to the same address.

    Raises: NotGenuine: it is neither.
    Source: bitrix24.md 1.3, 1.4.
    """
    try:
        form = read_form(hook.body)
        if "event" in form:
            return _event(form)
        query = parse_qs(hook.query)
        return Visit(
            remote_id=form["member_id"].text(),
            domain=query.get("DOMAIN", [""])[0],
            locale=_LANGUAGES.get(query.get("LANG", ["ru"])[0].lower(), "en"),
            access=form["AUTH_ID"].text(),
            refresh=form["REFRESH_ID"].text_or(""),
            server_endpoint=form["SERVER_ENDPOINT"].text_or(""),
            application_token=form["APPLICATION_TOKEN"].text_or(""),
            placement=form["PLACEMENT"].text_or("DEFAULT"),
            options=_options(form["PLACEMENT_OPTIONS"].text_or("")),
        )
    except Malformed as error:
        raise NotGenuine("malformed") from error


def is_proved(visit: Visit, owner: Owner) -> bool:
    """Tell whether a visit carries the secret of this end, and comes from the portal's address as we know it.

    Source: bitrix24.md 1.3 "Trust".
    """
    current, previous = owner.secrets.get("application_token", ""), owner.previous.get("application_token", "")
    is_known = same(visit.application_token, current) | same(visit.application_token, previous)
    hosts = {host_of(str(owner.settings.get(name, ""))) for name in ("domain", "client_endpoint")} - {""}
    return same(visit.remote_id, owner.remote_id) and is_known and (not visit.domain or host_of(visit.domain) in hosts)


def viewer(access: str, remote_id: str, endpoint: str, server: Callable[[str], object]) -> Viewer:
    """Ask the portal whose an access token is and whether he is an administrator. Raises: EndError. Source: bitrix24.md 8.3 (isAdmin); `profile` needs no right."""
    portal = Portal(endpoint=endpoint, remote_id=remote_id, tokens=_VisitorsToken(access), server=server)
    said = portal.call("profile", {}, priority=Priority.PERSON)
    return Viewer(user_id=said["ID"].remote_id(), is_admin=said["ADMIN"].flag_or(False))


@dataclass(frozen=True, slots=True)
class _VisitorsToken:
    """The token of whoever opened the page: it is used for this page and never stored (bitrix24.md 12.3)."""

    access: str = field(repr=False)

    def current(self) -> str:
        return self.access

    def renew(self, stale: str) -> str:
        raise AccessLost("token_expired")


def _event(form: Reader) -> Visit:
    auth = form["auth"]
    return Visit(
        remote_id=auth["member_id"].text(),
        domain=auth["domain"].text_or(""),
        locale=_LANGUAGES.get(form["data"]["LANGUAGE_ID"].text_or("ru").lower(), "en"),
        access=auth["access_token"].text_or(""),
        refresh=auth["refresh_token"].text_or(""),
        server_endpoint=auth["server_endpoint"].text_or(""),
        application_token=auth["application_token"].text_or(""),
        event=form["event"].text().upper(),
        erase=form["data"]["CLEAN"].flag_or(False),
    )


def _options(raw: str) -> dict[str, str]:
    """Read PLACEMENT_OPTIONS, a JSON text or plain text for the pages without a placement. Source: bitrix24.md 1.3, 8.2 (LINE is a text)."""
    try:
        value = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {
        str(name): str(one) for name, one in value.items() if isinstance(one, str | int) and not isinstance(one, bool)
    }
