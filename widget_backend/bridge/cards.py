"""Cards of a CRM, read as one of its users sees them: who may not see a card may neither list nor write from it."""

from __future__ import annotations

from uuid import UUID

from widget_backend.bridge import life, registry, setup
from widget_backend.bridge.ends import Card, Cards, Side
from widget_backend.bridge.errors import MostikError, Rejected

FORBIDDEN, GONE, UNSUPPORTED = "card_forbidden", "card_gone", "cards_unsupported"


class CardRefused(MostikError):
    """A card that is not shown. `reason`: card_forbidden, card_gone, cards_unsupported."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def key(kind: str, id: str) -> str:
    """Return how a card or a contact is named in `Link.state`."""
    return f"{kind}:{id}"


def keys(card: Card) -> list[str]:
    """Return the names of a card and of everybody in it."""
    return [key(card.kind, card.id), *(key(person.kind, person.remote_id) for person in card.people)]


def read(account_id: UUID, connection_id: UUID, name: str, viewer_id: str) -> Card:
    """Read a card, named as by `key`, with the rights of that user of the CRM; nobody sees none.

    Raises: CardRefused, setup.Trouble, KeyError: this account has no such connection.
    """
    if setup.find(account_id, connection_id).side != Side.CRM:
        raise KeyError(connection_id)
    if not viewer_id:
        raise CardRefused(FORBIDDEN)
    kind, _, id = name.partition(":")
    if not isinstance(registry.adapter(life.snapshot(account_id, connection_id)), Cards):
        raise CardRefused(UNSUPPORTED)
    try:
        card: Card = setup.ask(account_id, connection_id, lambda adapter: adapter.read_card(kind, id, viewer_id))
    except setup.Trouble as error:
        if isinstance(error.__cause__, Rejected) and error.reason in (FORBIDDEN, GONE):
            raise CardRefused(error.reason) from error
        raise
    return card
