"""VK communities as a network: facts, and where the parts are. Imports nothing of this folder."""

from __future__ import annotations

from datetime import timedelta

from widget_backend.bridge.ends import Capabilities, FileRule, Limit, Manifest, Repeat, ServerSetting, Side
from widget_backend.bridge.events import Kind

_MIB = 1024 * 1024

CAPABILITIES = Capabilities(
    # vk.md 2.5: pictures up to 50 MB, documents up to 200 MB; a community token cannot upload a video
    files={
        Kind.PHOTO: FileRule(max_bytes=50 * _MIB, types=frozenset({"image/jpeg", "image/png", "image/gif"})),
        Kind.VOICE: FileRule(max_bytes=200 * _MIB, types=frozenset({"audio/ogg", "application/ogg"})),
        Kind.DOCUMENT: FileRule(max_bytes=200 * _MIB),
    },
    text_limit=4096,  # vk.md 4, error 914 above it
    repeat=Repeat.KEY,  # vk.md 2.2, `random_id`
    attachments_per_part=10,  # vk.md 2.2
    together=(
        frozenset({Kind.PHOTO, Kind.DOCUMENT, Kind.VIDEO, Kind.ROUND_VIDEO, Kind.AUDIO, Kind.ANIMATION, Kind.STICKER}),
    ),
    native=frozenset({Kind.LOCATION}),  # vk.md 2.2, `lat`, `long`
    edit_window=timedelta(hours=24),  # vk.md 4
    delete_window=timedelta(hours=24),  # vk.md 4
    can_edit=True,
    can_delete=True,
    can_quote=True,
    can_write_first=True,  # only where `may_write_first` says so (vk.md 4)
    known_as="vk",
    addresses=frozenset({"vk"}),  # vk.md 2.6: by page or short name; no way from a phone number
    can_mark_read=True,
    can_type=True,
    can_group=True,
    limits=(Limit(counts="end", rate=20, sliding=True, burst=20),),  # vk.md 4: 20 requests a second per token
    once=False,  # VK repeats what was not answered (vk.md 3.1), until it suspends the server
    pull_every=timedelta(minutes=10),
    batch=25,  # vk.md 2.1, `execute`
    cap=8,
    expires=True,
)

MANIFEST = Manifest(
    key="vk",
    side=Side.NETWORK,
    title="VK",
    capabilities=CAPABILITIES,
    adapter="widget_backend.networks.vk.adapter:Vk",
    hooks="widget_backend.networks.vk.hooks",
    settings="widget_backend.networks.vk.settings",
    server_settings=(
        # the hosts api.vk.com and api.vk.ru both work (vk.md 6)
        ServerSetting(name="api_url", default="https://api.vk.com", help="Address of the VK API, without a path."),
    ),
)
