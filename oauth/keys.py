"""The keys of an app, opened for a call, and the addresses of ours that its form at the provider names."""

from __future__ import annotations

from oauth.grants import Keys
from widget_backend.accounts.models import App
from widget_backend.bridge import registry, runtime
from widget_backend.bridge.life import app_owner
from widget_backend.crypto import Secret


def keys_of(app: App) -> Keys:
    """Return the keys of an app."""
    opened = app_owner(app).secrets
    return Keys(
        client_id=opened["client_id"], client_secret=Secret(opened["client_secret"]), redirect_uri=redirect_uri(app)
    )


def redirect_uri(app: App) -> str:
    """Return where a provider that knows one address per app sends browsers and installs; its form may name an older one of ours."""
    return str(app.settings.get("redirect_uri") or f"{runtime.get().config.public_url}/oauth/install/{app.key}")


def farewell_uri(app: App) -> str:
    """Return where such a provider says that an account switched the app off."""
    return f"{runtime.get().config.public_url}/oauth/farewell/{app.key}"


def addresses(app: App) -> dict[str, str]:
    """Return what an app's form at its provider asks for, by its name there: the set-up page and `mostik app add` show it."""
    base = runtime.get().config.public_url
    if registry.manifest(app.adapter).door == "app":
        return {"redirect": redirect_uri(app), "disable_hook": farewell_uri(app), "hooks": f"{base}/hooks/{app.key}"}
    pages = f"{base}/embedded/{app.key}"
    return {"application": pages, "installer": f"{pages}/install", "redirect": f"{base}/oauth/callback"}
