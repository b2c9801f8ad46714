"""Connecting a bot: its token is checked, and updates come by a webhook of ours or, without a public address, by polling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit

from widget_backend import clock, ids
from widget_backend.bridge.ends import Connected, End, Keep
from widget_backend.bridge.errors import AccessLost, Misconfigured, Rejected, Retry, preparing
from widget_backend.networks.telegram_bot.client import Client, understood
from widget_backend.networks.telegram_bot.hooks import UPDATES

WEBHOOK, POLLING = "webhook", "polling"
_PORTS = (None, 80, 88, 443, 8443)  # telegram.md A2
_RECENT = timedelta(minutes=10)


class Registration:
    """A bot's side of a channel. Every step may be repeated."""

    def __init__(self, end: End, client: Client) -> None:
        self._end = end
        self._client = client

    def connect(self, keep: Keep) -> Connected:
        """Check the token, then have updates sent to us or clear the way for polling. Source: telegram.md A1, A2."""
        with _setting_up():
            bot = self._client.get_me()
            bot_id, username = bot["id"].remote_id(), bot["username"].text_or("")
            if self._end.remote_id not in ("", bot_id):
                raise Misconfigured("other_bot")
            before = self._client.get_webhook_info()["url"].text_or("")
            warnings = ["webhook_replaced"] if before not in ("", self._end.hook_url) else []
            if self._end.settings.get("group_chats") and not bot["can_read_all_group_messages"].flag_or(False):
                warnings.append("privacy_mode")  # telegram.md A3: else only commands and answers to it come
            transport = self._transport()
            facts: dict[str, object] = {"username": username, "transport": transport}
            secrets = {"webhook_secret": self._end.secrets.get("webhook_secret") or ids.new_key()}
            if transport == WEBHOOK:
                keep(settings=facts, secrets=secrets)  # the first update may come before the call returns
                self._client.set_webhook(self._end.hook_url, secrets["webhook_secret"], UPDATES)
            else:
                self._client.delete_webhook()  # else polling is refused (telegram.md A2)
            title = f"@{username}" if username else bot["first_name"].text_or("")
            return Connected(remote_id=bot_id, title=title, settings=facts, secrets=secrets, warnings=tuple(warnings))

    def _transport(self) -> str:
        """Decide how updates come: Telegram calls public https addresses on four ports only. Source: telegram.md A2."""
        mode = self._end.server("mode")
        if mode in (WEBHOOK, POLLING):
            return mode
        if mode != "auto":
            raise Misconfigured("wrong_mode", "MOSTIK_TELEGRAM_BOT_MODE is none of auto, webhook, polling")
        address = urlsplit(self._end.hook_url)
        return WEBHOOK if address.scheme == "https" and address.port in _PORTS else POLLING

    def check(self) -> None:
        """See whether the token works and updates still come to us. Source: telegram.md A2, `getWebhookInfo`."""
        with _setting_up():
            transport = str(self._end.settings.get("transport") or "")
            if transport != self._transport():
                raise Misconfigured("address_changed")
            info = self._client.get_webhook_info()
            if info["url"].text_or("") != (self._end.hook_url if transport == WEBHOOK else ""):
                raise Misconfigured("used_elsewhere")
            failed_at = info["last_error_date"].integer_or(0)
            is_recent = failed_at > (clock.now() - _RECENT).timestamp()
            if transport == WEBHOOK and is_recent and info["pending_update_count"].integer_or(0):
                raise Retry("webhook_failing", info["last_error_message"].text_or(""))

    def disconnect(self) -> None:
        """Take our webhook back; with a dead token, or where another's stands, there is nothing to take."""
        try:
            with _setting_up():
                if self._client.get_webhook_info()["url"].text_or("") == self._end.hook_url:
                    self._client.delete_webhook()
        except (AccessLost, Misconfigured):
            return


@contextmanager
def _setting_up() -> Iterator[None]:
    """Errors of `connect`, `check` and `disconnect`: no message is at fault there, and every step may be repeated."""
    try:
        with preparing(), understood():
            yield
    except Rejected as error:
        raise Misconfigured(error.reason, error.detail) from error
