"""What every provider's file speaks in: the keys of an app, a pair of tokens, and who a token belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from widget_backend.crypto import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of an app at its provider."""

    client_id: str
    client_secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A pair of tokens and the OAuth server it came from. `remote_id` and `facts` are empty where the provider does not repeat them."""

    access: Secret
    refresh: Secret
    expires_at: datetime
    endpoint: str
    remote_id: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Whose an access token is, as the provider itself says. `facts` are settings of the end that it vouches for."""

    client_id: str
    remote_id: str
    user_id: str
    facts: Mapping[str, str]


class Provider(Protocol):
    """A provider's file: a module with these functions, named like the adapter."""

    def refresh(self, keys: Keys, endpoint: str, refresh_token: Secret) -> Grant:
        """Fetch the next pair. Raises: AccessLost, Misconfigured, Retry."""

    def exchange(self, keys: Keys, endpoint: str, code: str) -> Grant:
        """Turn a code into the first pair. Raises: AccessLost, Misconfigured, Retry."""

    def prove(self, endpoint: str, access: Secret) -> Bearer:
        """Ask whose an access token is. Raises: NotGenuine, Misconfigured, Retry."""

    def authorize_url(self, keys: Keys, address: str, state: str) -> str:
        """Return where an admin grants access. Raises: Misconfigured: the address is none of the provider's."""
