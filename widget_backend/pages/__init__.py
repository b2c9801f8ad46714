"""The cabinet: pages of the people who run an account. Importing the rooms registers their routes; `shell.blueprint` carries them."""

from widget_backend.pages import apps, apps_channels, apps_setup, cabinet, ends, journal, reference, signing
from widget_backend.pages.shell import blueprint, secure

__all__ = [
    "apps",
    "apps_channels",
    "apps_setup",
    "blueprint",
    "cabinet",
    "ends",
    "journal",
    "reference",
    "secure",
    "signing",
]
