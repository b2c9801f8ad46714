"""A switchboard's number, as far as the tests need it."""

from __future__ import annotations

from widget_backend.bridge.ends import Connected, End, Keep


class Switchboard:
    """Connects to nothing: its numbers are what the settings say."""

    def __init__(self, end: End) -> None:
        self._settings = end.settings

    def connect(self, keep: Keep) -> Connected:
        """Give the number and its aliases."""
        aliases = self._settings.get("aliases", ())
        assert isinstance(aliases, list | tuple)
        return Connected(remote_id=str(self._settings["number"]), title="", aliases=tuple(aliases))

    def check(self) -> None:
        """Find nothing wrong."""

    def disconnect(self) -> None:
        """Take nothing back."""
