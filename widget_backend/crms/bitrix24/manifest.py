"""Facts about Bitrix24 that the registry reads at start."""

from __future__ import annotations

from datetime import timedelta

from widget_backend.bridge.ends import Capabilities, FileRule, Limit, Manifest, Repeat, ServerSetting, Side
from widget_backend.bridge.events import Kind

_MIB = 1024 * 1024
_FILES = (
    Kind.PHOTO,
    Kind.VIDEO,
    Kind.AUDIO,
    Kind.VOICE,
    Kind.ROUND_VIDEO,
    Kind.ANIMATION,
    Kind.DOCUMENT,
    Kind.STICKER,
)

CAPABILITIES = Capabilities(
    # bitrix24.md 3.3: a file is a URL that the portal fetches, any type. How large it may be is not documented.
    files={kind: FileRule(max_bytes=100 * _MIB) for kind in _FILES},
    text_limit=20_000,  # bitrix24.md 10: no documented limit, a chat's text holds about 20,000 (unconfirmed)
    repeat=Repeat.LOOKUP,  # 3.3: message.id is no idempotency key; session.history.get shows it as connectorMid
    attachments_per_part=10,
    together=(frozenset(_FILES),),
    can_edit=True,
    can_delete=True,
    can_quote=True,
    can_group=True,
    reports=True,
    told=frozenset({"sent", "failed", "expired", "uncertain"}),  # 3.4: one mark, which also means read
    # 2.2: leaky bucket per portal and source address, 2/s and 50 on every plan but Enterprise (5/s and 250).
    limits=(Limit(counts="end", rate=2.0, per=timedelta(seconds=1), burst=50),),
    once=True,  # 4 "Delivery rules": no retry ever
    pull_every=timedelta(minutes=3),
    batch=50,
    cap=2,
    shared_host=False,
)

MANIFEST = Manifest(
    key="bitrix24",
    side=Side.CRM,
    title="Битрикс24",
    capabilities=CAPABILITIES,
    adapter="widget_backend.crms.bitrix24.adapter:Bitrix24",
    hooks="widget_backend.crms.bitrix24.hooks",
    settings="widget_backend.crms.bitrix24.settings",
    pages="widget_backend.crms.bitrix24.pages",
    door="end",
    needs_app=True,
    server_settings=(
        ServerSetting(
            name="request_limit_s",
            default="60",
            help="How long a portal may work on a request that we stopped waiting for, s. Only then is a message that is not there sent again.",
            kind="int",
        ),
        ServerSetting(
            name="oauth_urls",
            default="https://oauth.bitrix.info,https://oauth.bitrix24.tech",
            help="The OAuth servers of Bitrix24. No other host ever receives a client secret.",
            kind="list",
        ),
        ServerSetting(
            name="rate",
            default="2",
            help="Requests a second of a portal's plan: 2, or 5 when all portals are on Enterprise.",
            kind="int",
        ),
        ServerSetting(
            name="burst",
            default="50",
            help="Requests at once of a portal's plan: 50, or 250 when all portals are on Enterprise.",
            kind="int",
        ),
        ServerSetting(
            name="frame_script",
            default="https://api.bitrix24.com/api/v1/",
            help="The script a page inside a portal loads to talk to it.",
        ),
    ),
)
