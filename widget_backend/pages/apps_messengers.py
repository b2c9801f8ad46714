"""The messengers of the set-up page: which has its chat channel, how it works until then, and what to ask the provider's support for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oauth.keys import addresses
from widget_backend import language, texts
from widget_backend.accounts import integrations
from widget_backend.accounts.models import App, AppChannel
from widget_backend.bridge import registry
from widget_backend.bridge.ends import Manifest, Side
from widget_backend.bridge.events import Kind
from widget_backend.bridge.models import EndRecord
from widget_backend.pages.shell import t

FEATURES = ("write_first", "quotes", "typing", "reactions", "voice")
"""What support switches on for a channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Messenger:
    """One messenger on the set-up page. `mode`: add (notes), waits, chats, refused. `via`: the wider channel that serves it.

    Shape: `missing` are slugs of what the request still lacks.
    """

    key: str
    title: str
    mode: str
    channel: AppChannel | None = None
    via: str = ""
    request: str = ""
    missing: tuple[str, ...] = ()


def messengers(app: App, ends: Sequence[EndRecord]) -> list[Messenger]:
    """Return every messenger of this server, then channels that are for none of them (a family, or any)."""
    networks = registry.manifests(Side.NETWORK)
    by_name = {one.messenger: one for one in app.channels}
    found = []
    for network in networks:
        own = by_name.get(network.key)
        # the order in which the adapter looks: its own, its family's, the one for any
        via = next((name for name in (network.key.partition("_")[0], "any") if name in by_name and not own), "")
        channel = own or by_name.get(via)
        found.append(
            Messenger(
                key=network.key,
                title=network.title,
                mode=_mode(channel, ends),
                channel=own,
                via=title_of(via) if via else "",
                request=_request(app, network, ends),
                missing=_missing(app, ends),
            )
        )
    others = [one for one in app.channels if one.messenger not in {network.key for network in networks}]
    return found + [
        Messenger(key=one.messenger, title=title_of(one.messenger), mode=_mode(one, ends), channel=one)
        for one in others
    ]


def _mode(channel: AppChannel | None, ends: Sequence[EndRecord]) -> str:
    if channel is None:
        return "add"
    working = [one for one in ends if one.state != "off"]
    if any(channel.remote_id in _names(one, "refused_channels") for one in working):
        return "refused"
    is_there = working and all(channel.remote_id in _names(one, "connected_channels") for one in working)
    return "chats" if is_there else "waits"


def _names(end: EndRecord, fact: str) -> list[str]:
    value = end.settings.get(fact)
    return [str(one) for one in value] if isinstance(value, list) else []


def title_of(messenger: str) -> str:
    """Name what a channel is for."""
    names = {one.key: one.title for one in registry.manifests(Side.NETWORK)}
    if messenger == "any":
        return t("apps.any_messenger")
    return names.get(messenger, messenger.capitalize())


def _request(app: App, network: Manifest, ends: Sequence[EndRecord]) -> str:
    """Write to the provider's support, in the language that it speaks. Source: amocrm.md 2.1 "Asked for"."""
    platform = str(app.settings.get("platform") or "")
    speaks = texts.text(f"pages.apps.{app.adapter}_speaks_{platform}", language.current()) if platform else "ru"
    can = network.capabilities

    def said(is_so: bool) -> str:
        return texts.text("pages.common.yes" if is_so else "pages.common.no", speaks)

    blank = texts.text("pages.apps.request_blank", speaks)
    window = can.window
    values: Mapping[str, str] = {
        "service": _latin(str(app.settings.get("brand") or ""), network.title),
        "network": network.title,
        "client_id": blank if integrations.is_draft(app) else app.client_id,
        "widget_code": str(app.settings.get("widget_code") or blank),
        "hook": f"{addresses(app)['hooks']}/{registry.load(registry.manifest(app.adapter).hooks).PLACE}/:scope_id",
        "accounts": ", ".join(_accounts(ends)) or blank,
        "email": str(app.settings.get("support_email") or blank),
        "write_first": said("phone" in can.addresses),  # its own "write first" begins with a phone number
        "window": str(int(window.total_seconds())) if window else texts.text("pages.apps.request_no_window", speaks),
        "templates": said(window is not None),
        "quotes": said(can.can_quote),
        "typing": said(can.can_type),
        "voice": said(Kind.VOICE in can.files),
        "plan": texts.text(f"pages.apps.request_plan_{'own' if app.account_id else 'server'}", speaks),
    }
    return texts.text(f"pages.apps.{app.adapter}_request", speaks, **values)


def _missing(app: App, ends: Sequence[EndRecord]) -> tuple[str, ...]:
    lacks = {
        "keys": integrations.is_draft(app),
        "code": not app.settings.get("widget_code"),
        "email": not app.settings.get("support_email"),
        "account": not _accounts(ends),
    }
    return tuple(name for name, is_missing in lacks.items() if is_missing)


def _accounts(ends: Sequence[EndRecord]) -> list[str]:
    """Return what the chats API calls the connected accounts."""
    return [str(one.settings["amojo_id"]) for one in ends if one.settings.get("amojo_id")]


def _latin(brand: str, network: str) -> str:
    """Name the service as support wants it: in Latin letters, not beginning with a digit."""
    name = " ".join(re.findall(r"[A-Za-z0-9]+", f"{brand if brand.isascii() and brand else 'Mostik'} {network}"))
    return name if not name[0].isdigit() else f"Mostik {name}"
