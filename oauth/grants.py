"""What every provider's file speaks in: the keys of an app, a pair of tokens, and who a token belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from widget_backend.crypto import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of an app at its provider. `redirect_uri`: the address of ours in its form, which some providers want to see again with every call."""

    client_id: str
    client_secret: Secret
    redirect_uri: str = ""


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
    """Whose an access token is, as the provider itself says. `facts` are settings of the end that it vouches for. `is_admin` None: it does not say."""

    client_id: str
    remote_id: str
    user_id: str
    facts: Mapping[str, str]
    is_admin: bool | None = None


class Provider(Protocol):
    """A provider's file: a module with these functions, named like the adapter. The last two belong to providers that bring installs (`arrivals`).

    A module may name in REFRESH_EVERY how often an idle pair is to be refreshed.
    """

    def refresh(self, keys: Keys, endpoint: str, refresh_token: Secret) -> Grant:
        """Fetch the next pair. Raises: AccessLost, Misconfigured, Retry."""

    def exchange(self, keys: Keys, endpoint: str, code: str) -> Grant:
        """Turn a code into the first pair. Raises: AccessLost, Misconfigured, Retry."""

    def prove(self, endpoint: str, access: Secret) -> Bearer:
        """Ask whose an access token is. Raises: NotGenuine, Misconfigured, Retry."""

    def authorize_url(self, keys: Keys, address: str, state: str) -> str:
        """Return where an admin grants access. Raises: Misconfigured: the address is none of the provider's."""

    def known_address(self, address: str) -> str:
        """Return the address of an account if it may be given our keys. Raises: Misconfigured."""

    def is_farewell(self, keys: Keys, client_id: str, remote_id: str, signature: str) -> bool:
        """Tell whether the provider itself says that an account switched the app off."""
