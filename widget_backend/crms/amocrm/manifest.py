"""Facts about amoCRM and Kommo that the registry reads at start."""

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
    # amocrm.md 2.6: media is a URL that amojo fetches. How large it may be is not published (6).
    files={kind: FileRule(max_bytes=100 * _MIB) for kind in _FILES},
    text_limit=10_000,  # 6: the length of a message is not published (unconfirmed)
    repeat=Repeat.KEY,  # 2.6: msgid is unique, a repeated one is not stored twice
    attachments_per_part=1,  # 2.6: several attachments are one message each
    native=frozenset({Kind.LOCATION, Kind.CONTACT}),
    can_edit=True,
    can_delete=True,  # 2.6: there is no delete method; the text is replaced
    can_quote=True,
    can_group=True,  # 2.8: one synthetic client, the speaker's name in the text
    reports=True,
    told=frozenset({"received", "read", "failed", "expired", "uncertain"}),  # 2.7: "sent" is what it shows by itself
    # 6: 7 requests a second; how they are counted differs between the pages, so both are obeyed
    limits=(Limit(counts="app", rate=6, sliding=True), Limit(counts="host", rate=6, sliding=True)),
    once=True,  # 4.1: sent once, no retry
    pull_every=timedelta(hours=1),
    cap=8,
    shared_host=False,
)

MANIFEST = Manifest(
    key="amocrm",
    side=Side.CRM,
    title="amoCRM",
    capabilities=CAPABILITIES,
    adapter="widget_backend.crms.amocrm.adapter:AmoCrm",
    hooks="widget_backend.crms.amocrm.hooks",
    settings="widget_backend.crms.amocrm.settings",
    widget="widget_backend.crms.amocrm.pages",
    door="app",
    needs_app=True,
    hook_headers=("x-signature",),
    server_settings=(
        ServerSetting(
            name="account_url",
            default="https://{host}",
            help="Where the host of an account answers. Only hosts of amoCRM and Kommo are ever put into it.",
        ),
        ServerSetting(
            name="chats_url",
            default="https://{host}",
            help="Where the chats API answers: amojo of the account's domain.",
        ),
        ServerSetting(
            name="consent_url",
            default="https://{host}/oauth",
            help="The page where an administrator grants access.",
        ),
        ServerSetting(
            name="rate",
            default="6",
            help="Requests a second to the API of amoCRM, per integration and from this server's address. amoCRM allows 7.",
            kind="int",
        ),
    ),
)
