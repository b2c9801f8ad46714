"""The card that a panel was opened for, as its viewer sees it: read from the CRM, remembered for a little while, and what belongs to it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from redis import RedisError
from sqlalchemy import or_, select

from widget_backend import clock, crypto
from widget_backend.bridge import cards, composer, runtime
from widget_backend.bridge.ends import Address, Card, CardPerson
from widget_backend.bridge.models import AttachmentRecord, Delivery, LinkRecord, Message
from widget_backend.bridge.tenancy import transaction
from widget_backend.pages.panel_door import Seat

log = structlog.get_logger()

FRESH = timedelta(minutes=1)
"""How old a card may be from which one begins a dialog."""
LASTING = timedelta(minutes=10)
"""How long a right to see the card is believed while its panel only refreshes: the CRM counts every request."""
NOW = timedelta(0)


def read(seat: Seat, *, no_older_than: timedelta = LASTING) -> Card:
    """Read the card of a seat with its viewer's rights. Raises: CardRefused, setup.Trouble."""
    known = _remembered(seat, no_older_than)
    if known is not None:
        return known
    with composer.alone(seat.account, f"{seat.actor}:{seat.card}"):  # a panel's first calls come at once
        known = _remembered(seat, no_older_than)
        if known is not None:
            return known
        try:
            card = cards.read(seat.account, seat.connection, seat.card, seat.user_id)
        except cards.CardRefused:
            _forget(seat)
            raise
        _remember(seat, card)
        return card


def has_conversation(seat: Seat, card: Card, conversation_id: UUID) -> bool:
    """Tell whether a conversation is one of the card's: others of the account are not shown here."""
    names = cards.keys(card)
    query = select(LinkRecord.conversation_id).where(
        LinkRecord.connection_id == seat.connection,
        LinkRecord.conversation_id == conversation_id,
        or_(LinkRecord.card.in_(names), LinkRecord.contact.in_(names)),
    )
    with transaction(seat.account) as session:
        return session.scalars(query).first() is not None


def conversation_of(seat: Seat, delivery_id: UUID) -> UUID | None:
    """Return the conversation of a delivery of the account."""
    with transaction(seat.account) as session:
        row = session.get(Delivery, delivery_id)
    return row.conversation_id if row is not None and row.account_id == seat.account else None


def conversation_of_message(seat: Seat, message_id: UUID) -> UUID | None:
    """Return the conversation of a message of the account."""
    with transaction(seat.account) as session:
        row = session.get(Message, message_id)
    return row.conversation_id if row is not None and row.account_id == seat.account else None


def attachments(seat: Seat, message_ids: list[UUID]) -> dict[UUID, list[AttachmentRecord]]:
    """Return the files of messages of the account."""
    query = (
        select(AttachmentRecord)
        .where(AttachmentRecord.message_id.in_(message_ids))
        .order_by(AttachmentRecord.message_id, AttachmentRecord.number)
    )
    found: dict[UUID, list[AttachmentRecord]] = {}
    with transaction(seat.account) as session:
        for row in session.scalars(query):
            found.setdefault(row.message_id, []).append(row)
    return found


# -- the memory: sealed, in Valkey, so that every process of the web has it -------------------------------------------


def _key(seat: Seat) -> str:
    whose = f"{seat.account_id}:{seat.end_id}:{seat.user_id}:{seat.card}"
    return f"mostik:card:{hashlib.sha256(whose.encode()).hexdigest()}"


def _remember(seat: Seat, card: Card) -> None:
    said = json.dumps([clock.now().timestamp(), asdict(card)])
    sealed = crypto.seal_text(said, _key(seat))
    try:
        runtime.get().redis.set(_key(seat), sealed, ex=int(LASTING.total_seconds()))
    except RedisError as error:
        log.warning("card_memory_away", error=type(error).__name__)


def _forget(seat: Seat) -> None:
    try:
        runtime.get().redis.delete(_key(seat))
    except RedisError as error:
        log.warning("card_memory_away", error=type(error).__name__)


def _remembered(seat: Seat, no_older_than: timedelta) -> Card | None:
    try:
        sealed = runtime.get().redis.get(_key(seat))
        if not isinstance(sealed, bytes):
            return None
        at, said = json.loads(crypto.open_text(sealed, _key(seat)))
    except RedisError as error:
        log.warning("card_memory_away", error=type(error).__name__)
        return None
    except crypto.CryptoError:
        return None  # sealed with a key that is gone
    return _card(said) if clock.now().timestamp() - at < no_older_than.total_seconds() else None


def _card(said: dict[str, Any]) -> Card:
    people = tuple(
        CardPerson(**{**one, "addresses": tuple(Address(**address) for address in one["addresses"])})
        for one in said["people"]
    )
    return Card(**{**said, "people": people})
