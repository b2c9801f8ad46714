"""Choosing the way out for updates: setWebhook, deleteWebhook, getWebhookInfo, getUpdates (telegram.md A2)."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from tests.sandbox.telegram_bot.calls import Call, Done
from tests.sandbox.telegram_bot.errors import bad, too_many
from tests.sandbox.telegram_bot.state import Json
from tests.sandbox.telegram_bot.updates import Webhook, clean_allowed

PORTS = {443, 80, 88, 8443}
SECRET = re.compile(r"[A-Za-z0-9_-]*")
SECRET_CHARS = 256
CERTIFICATE_BYTES = 3 * 1024 * 1024
POLL_MAX_S = 50


async def set_webhook(call: Call) -> Done:
    """Set or replace the webhook; an empty address removes it."""
    url, queue, now = call.params.text("url").strip(), call.bot.queue, call.peer.now()
    if not url:
        return await delete_webhook(call)
    if now < queue.next_set_at:
        raise too_many(1)
    queue.next_set_at = now + 1
    webhook = Webhook(
        url,
        call.params.text("secret_token"),
        min(max(call.params.integer("max_connections", 40), 1), 100),
        call.params.text("ip_address"),
        "certificate" in call.params.uploads,
    )
    is_same = webhook == queue.webhook and not webhook.has_certificate and not call.params.flag("drop_pending_updates")
    if not is_same:
        _check(call, webhook)
    _take_allowed(call)
    if is_same:
        return Done(True, "Webhook is already set")
    if call.params.flag("drop_pending_updates"):
        queue.clear()
    queue.set_webhook(webhook)
    call.peer.ledger.add("webhook", account=str(call.bot.id), url=url, max_connections=webhook.max_connections)
    return Done(True, "Webhook was set")


def _check(call: Call, webhook: Webhook) -> None:
    if len(webhook.secret_token) > SECRET_CHARS:
        raise bad("secret token is too long")
    if not SECRET.fullmatch(webhook.secret_token):
        raise bad("secret token contains unallowed characters")
    if len(webhook.url) > 2048:
        raise bad("bad webhook: URL is too long")
    certificate = call.params.uploads.get("certificate")
    if certificate and len(certificate.content) > CERTIFICATE_BYTES:
        raise bad(f"certificate size is too big ({len(certificate.content)} bytes)")
    try:
        parts = urlsplit(webhook.url)
        port = parts.port or 443
    except ValueError:
        raise bad("invalid webhook URL specified") from None
    if not parts.hostname or not parts.scheme:
        raise bad("invalid webhook URL specified")
    if call.peer.allows_loopback and _is_loopback(parts.hostname):
        return  # as a self-hosted server in --local mode: http, any port
    if parts.scheme != "https":
        raise bad("bad webhook: An HTTPS URL must be provided for webhook")
    if port not in PORTS:
        raise bad("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443")
    _check_address(webhook.ip_address or parts.hostname)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.")


def _check_address(host: str) -> None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return  # a name: the twin resolves nothing
    if address.version == 6:
        raise bad("bad webhook: IPv6-only addresses are not allowed")
    if not address.is_global:
        raise bad(f"bad webhook: IP address {host} is reserved")


def _take_allowed(call: Call) -> None:
    """Omitted: the previous choice stays; []: all but the rare kinds."""
    wanted = call.params.array("allowed_updates", "allowed_updates", "String")
    if wanted is not None:
        call.bot.queue.allowed = clean_allowed(wanted)


async def delete_webhook(call: Call) -> Done:
    """Remove the webhook; the queue stays unless told otherwise."""
    queue = call.bot.queue
    drops = call.params.flag("drop_pending_updates")
    if drops:
        queue.clear()
    if queue.webhook is None:
        return Done(True, "Webhook is already deleted")
    queue.set_webhook(None)
    call.peer.ledger.add("webhook", account=str(call.bot.id), url="", max_connections=0)
    return Done(True, "Webhook was deleted")


async def get_webhook_info(call: Call) -> Json:
    """Show address, queue length and the last error."""
    return call.bot.queue.info()


async def get_updates(call: Call) -> list[Json]:
    """Poll."""
    limit = min(max(call.params.integer("limit", 100), 1), 100)
    timeout_s = min(max(call.params.integer("timeout"), 0), POLL_MAX_S)
    if call.bot.queue.webhook is None:
        _take_allowed(call)
    return await call.bot.queue.poll(call.params.integer("offset"), limit, timeout_s)
