"""Telegram bots as a network: facts, and where the parts are. Imports nothing of this folder."""

from __future__ import annotations

from datetime import timedelta

from widget_backend.bridge.ends import Capabilities, FileRule, Limit, Manifest, Repeat, ServerSetting, Side
from widget_backend.bridge.events import Kind

_MIB = 1024 * 1024
_UPLOAD = 50 * _MIB  # telegram.md A4

CAPABILITIES = Capabilities(
    # telegram.md A4: what does not fit here goes as a document
    files={
        Kind.PHOTO: FileRule(max_bytes=10 * _MIB, types=frozenset({"image/jpeg", "image/png", "image/webp"})),
        Kind.VIDEO: FileRule(max_bytes=_UPLOAD, types=frozenset({"video/mp4"})),
        Kind.ANIMATION: FileRule(max_bytes=_UPLOAD, types=frozenset({"video/mp4", "image/gif"})),
        Kind.ROUND_VIDEO: FileRule(max_bytes=_UPLOAD, types=frozenset({"video/mp4"})),
        Kind.AUDIO: FileRule(max_bytes=_UPLOAD, types=frozenset({"audio/mpeg", "audio/mp4"})),
        Kind.VOICE: FileRule(max_bytes=_UPLOAD, types=frozenset({"audio/ogg", "audio/mpeg", "audio/mp4"})),
        Kind.STICKER: FileRule(max_bytes=512 * 1024, types=frozenset({"image/webp", "video/webm"})),
        Kind.DOCUMENT: FileRule(max_bytes=_UPLOAD),
    },
    text_limit=4096,  # telegram.md A7
    caption_limit=1024,
    repeat=Repeat.NEVER,  # telegram.md A4: no call takes a key, and nothing lists what a bot has sent
    attachments_per_part=10,  # telegram.md A4, sendMediaGroup
    together=(frozenset({Kind.PHOTO, Kind.VIDEO}), frozenset({Kind.DOCUMENT}), frozenset({Kind.AUDIO})),
    native=frozenset({Kind.LOCATION, Kind.CONTACT}),
    delete_window=timedelta(hours=48),  # telegram.md A4; the bot's own messages may be edited for ever
    can_edit=True,
    can_delete=True,
    can_quote=True,
    can_write_first=False,  # telegram.md, first table: the user must press Start once
    known_as="telegram",
    can_mark_read=True,
    reads_threads_only=True,  # business chats only (telegram.md A5)
    can_type=True,
    can_group=True,
    limits=(  # telegram.md A7; the burst of a chat is ours: "short bursts tolerated"
        Limit(counts="end", rate=30, burst=30, sliding=True),
        Limit(counts="conversation", rate=1, burst=3),
        Limit(counts="group", rate=20, per=timedelta(minutes=1), burst=20, sliding=True),
    ),
    once=False,  # Telegram keeps what was not taken for 24 hours (telegram.md A2)
    pull_every=timedelta(seconds=2),  # for polling; with a webhook a pull asks nothing
    expires=True,
)

MANIFEST = Manifest(
    key="telegram_bot",
    side=Side.NETWORK,
    title="Telegram (bot)",
    capabilities=CAPABILITIES,
    adapter="widget_backend.networks.telegram_bot.adapter:TelegramBot",
    hooks="widget_backend.networks.telegram_bot.hooks",
    settings="widget_backend.networks.telegram_bot.settings",
    hook_headers=("x-telegram-bot-api-secret-token",),
    server_settings=(
        ServerSetting(
            name="api_url",
            default="https://api.telegram.org",
            help="Address of the Bot API, without a path; a self-hosted Bot API server has its own.",
        ),
        ServerSetting(
            name="mode",
            default="auto",
            help="How updates come: webhook, polling, or auto: polling where this server has no public https address.",
        ),
    ),
)
