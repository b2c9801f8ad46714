"""A switchboard as a network: one app, one address for the hooks of all its numbers."""

from __future__ import annotations

from widget_backend.bridge.ends import Capabilities, Manifest, Repeat, Side

MANIFEST = Manifest(
    key="switchboard",
    side=Side.NETWORK,
    title="Switchboard",
    capabilities=Capabilities(files={}, text_limit=1000, repeat=Repeat.NEVER),
    adapter="tests.bridge.adapters.switchboard.adapter:Switchboard",
    hooks="tests.bridge.adapters.switchboard.hooks",
    settings="tests.bridge.adapters.switchboard.settings",
    door="app",
    needs_app=True,
    hook_headers=("x-signature",),
)
