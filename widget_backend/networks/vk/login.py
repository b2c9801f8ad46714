"""Connecting a community: its key is checked, a callback server of ours is registered, confirmed and told its events."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit

from widget_backend import clock
from widget_backend.bridge.ends import Connected, End, Keep
from widget_backend.bridge.errors import AccessLost, Misconfigured, Rejected, Retry, Unregistered, preparing
from widget_backend.networks.vk.client import Client, understood
from widget_backend.networks.vk.hooks import EVENTS
from widget_backend.reading import Reader

TITLE = "Mostik"  # at most 14 characters (vk.md 1.4)
RIGHTS = ("messages", "photos", "docs", "manage")
_CONFIRMATION_WAITS = tuple(timedelta(seconds=s) for s in (0.2, 0.3, 0.5, 1, 2, 4))


class Registration:
    """A community's side of a channel. Every step may be repeated."""

    def __init__(self, end: End, client: Client) -> None:
        self._end = end
        self._client = client

    def connect(self, keep: Keep) -> Connected:
        """Check the key, register our callback server, have it confirmed, choose its events. Source: vk.md 1.4."""
        with _setting_up():
            group = self._client.groups_get_by_id()
            if not group.is_there:
                raise Misconfigured("wrong_token_kind")
            group_id = group["id"].remote_id()
            if self._end.remote_id not in ("", group_id):
                raise Misconfigured("other_community")
            self._check_rights()
            facts: dict[str, object] = {
                "group_id": group_id,
                "screen_name": group["screen_name"].text_or(""),
            }
            if not self._end.hook_url:
                keep(settings=facts)
                return Connected(
                    remote_id=group_id, title=group["name"].text(), settings=facts, warnings=("no_public_address",)
                )
            kept = {
                "callback_secret": self._end.secrets.get("callback_secret") or secrets.token_urlsafe(30),
                "confirmation": self._client.groups_get_callback_confirmation_code(group_id),
            }
            keep(settings=facts, secrets=kept)  # VK asks for the code while we add the server
            facts["server_id"] = self._registered(group_id, kept["callback_secret"], keep)
            return Connected(remote_id=group_id, title=group["name"].text(), settings=facts, secrets=kept)

    def _check_rights(self) -> None:
        granted = self._client.groups_get_token_permissions()
        needed = RIGHTS if self._end.hook_url else RIGHTS[:3]
        missing = [right for right in needed if right not in granted]
        if missing:
            raise Misconfigured("rights_missing", ", ".join(missing))

    def _registered(self, group_id: str, secret: str, keep: Keep) -> int:
        """Return the id of a confirmed callback server of ours: the one that is there if it works, else a new one."""
        server_id = 0
        for server in self._client.groups_get_callback_servers(group_id):
            is_alive = server["status"].text() in ("ok", "wait")
            is_ours = server["url"].text() == self._end.hook_url
            if is_ours and is_alive and server["secret_key"].text_or("") == secret and not server_id:
                server_id = server["id"].integer()
            elif is_ours or (not is_alive and self._is_leftover(server)):
                self._delete_server(group_id, server["id"].integer())
        if not server_id:
            server_id = self._client.groups_add_callback_server(group_id, self._end.hook_url, TITLE, secret)
        keep(settings={"server_id": server_id})
        self._wait_confirmed(group_id, server_id)
        self._client.groups_set_callback_settings(group_id, server_id, EVENTS)
        return server_id

    def _is_leftover(self, server: Reader) -> bool:
        """Tell whether a dead server is of an earlier channel here. A living one may be another account's: it stays."""
        hosts = {urlsplit(url).netloc for url in (server["url"].text(), self._end.hook_url)}
        return server["title"].text_or("") == TITLE and len(hosts) == 1

    def _wait_confirmed(self, group_id: str, server_id: int) -> None:
        for pause in _CONFIRMATION_WAITS:
            status = self._server_status(group_id, server_id)
            if status == "ok":
                return
            if status != "wait":
                raise Misconfigured("server_not_confirmed", f"callback server is {status or 'gone'}")
            clock.sleep(pause)
        raise Retry("server_not_confirmed", "VK has not asked yet", timedelta(seconds=30))

    def _server_status(self, group_id: str, server_id: int) -> str:
        servers = self._client.groups_get_callback_servers(group_id)
        return next((one["status"].text() for one in servers if one["id"].integer() == server_id), "")

    def _delete_server(self, group_id: str, server_id: int) -> None:
        try:
            self._client.groups_delete_callback_server(group_id, server_id)
        except Rejected as error:
            if error.reason != "not_found":
                raise

    def check(self) -> None:
        """See whether the key works with its rights and VK still calls us. Source: vk.md 1.4, 3.1 (suspended servers)."""
        with _setting_up():
            self._check_rights()
            if not self._end.hook_url:
                return
            status = self._server_status(self._group_id, int(str(self._end.settings.get("server_id") or 0)))
            if status != "ok":
                raise Unregistered("callback_server_failed", f"callback server is {status or 'gone'}")

    def disconnect(self) -> None:
        """Remove our callback server; with a dead key or another's community there is nothing left to remove."""
        try:
            with _setting_up():
                for server in self._client.groups_get_callback_servers(self._group_id):
                    if server["url"].text() == self._end.hook_url:
                        self._delete_server(self._group_id, server["id"].integer())
        except (AccessLost, Misconfigured):
            return

    @property
    def _group_id(self) -> str:
        return self._end.remote_id or str(self._end.settings.get("group_id") or "")


@contextmanager
def _setting_up() -> Iterator[None]:
    """Errors of `connect`, `check` and `disconnect`: no message is at fault there, and every step may be repeated."""
    try:
        with preparing(), understood():
            yield
    except Rejected as error:
        reason = "rights_missing" if error.reason == "access_denied" else error.reason
        raise Misconfigured(reason, error.detail) from error
