"""Recipients: who can be reached from a card and over which channels, and finding (or asking the network for) the one who was chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from widget_backend import clock
from widget_backend.bridge import addresses, composer, content, gate, routes, setup
from widget_backend.bridge.composer import Refused
from widget_backend.bridge.ends import Address, Card, CardPerson, Client, Side
from widget_backend.bridge.events import Person, Place
from widget_backend.bridge.models import ClientAddress, ClientRecord, ConversationRecord
from widget_backend.bridge.routes import Map, Stop
from widget_backend.bridge.tenancy import transaction

FOUND_FOR = timedelta(days=1)
"""How long an address leads to the client that the network named; names change hands."""
FORBIDDEN_FOR = timedelta(minutes=10)
"""How long a network's "no" is believed. Its "yes" is believed until it says otherwise by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One channel to an address. `reason`: a slug, empty when one can write; `left_s`: for how long yet (None: no limit).

    Shape: `is_known`: he has a conversation there (`conversation_id`); otherwise the network is asked when the message is written.
    """

    channel: Stop
    reason: str = ""
    left_s: int | None = None
    client_id: UUID | None = None
    client_name: str = ""
    conversation_id: UUID | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is a conversation already."""
        return self.conversation_id is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One address of somebody in a card, with the channels that concern it, usable ones first."""

    person: CardPerson
    address: Address
    ways: tuple[Way, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom a message goes to. `person`: as the network named him just now, with `may_write`, its word whether he lets us."""

    channel_id: UUID
    client: ClientRecord | None = None
    conversation: ConversationRecord | None = None
    person: Person | None = None
    address: Address | None = None
    may_write: bool | None = None


def options(account_id: UUID, card: Card, *, connection_id: UUID | None = None) -> list[Recipient]:
    """Say for each address of a card's people which channels reach it; no network is asked. Only channels that feed the connection, if one is named."""
    wanted = {one: addresses.spelled(one) for person in card.people for one in person.addresses}
    with transaction(account_id) as session:
        map = routes.read(session)
        channels = [
            stop for stop in map.stops.values() if stop.side is Side.NETWORK and _feeds(map, stop, connection_id)
        ]
        clients = _clients(session, account_id, wanted.values(), {stop.id for stop in channels})
        talks = _direct(session, [client.id for found in clients.values() for client in found])
    made = []
    for person in card.people:
        for address in person.addresses:
            known = {client.channel_id: client for client in clients.get(wanted[address], ())}
            ways = [way for stop in channels if (way := _way(stop, wanted[address], known.get(stop.id), talks))]
            made.append(Recipient(person=person, address=address, ways=tuple(sorted(ways, key=_usable_first))))
    return made


def find(
    account_id: UUID,
    *,
    channel_id: UUID | None = None,
    address: Address | None = None,
    client_id: UUID | None = None,
    conversation_id: UUID | None = None,
) -> Target:
    """Find whom to write to: a conversation, a client, or an address in a channel, for which the network may be asked.

    Raises: Refused, setup.Trouble; KeyError: this account has no such thing.
    """
    with transaction(account_id) as session:
        target = _known(session, account_id, channel_id, address, client_id, conversation_id)
        stop = routes.read(session).stops[target.channel_id]
    has_written = target.conversation is not None and target.conversation.last_in_at is not None
    is_sure = has_written and target.client is not None and target.client.may_write is not False
    asks = not is_sure and stop.state == "active" and stop.capabilities.can_write_first
    if target.client is None and not (asks and target.address and target.address.kind in stop.capabilities.addresses):
        raise Refused(_why_unknown(stop, target.address), stop.adapter)
    if target.client is None:
        target = _resolved(account_id, stop, target)
    if asks and _must_ask(target.client):
        target = _asked(account_id, stop, target)
    return target


def _known(
    session: Session,
    account_id: UUID,
    channel_id: UUID | None,
    address: Address | None,
    client_id: UUID | None,
    conversation_id: UUID | None,
) -> Target:
    """Read what we know of the one who was named."""
    if conversation_id is not None:
        conversation = session.get(ConversationRecord, conversation_id)
        if conversation is None or conversation.account_id != account_id:
            raise KeyError(conversation_id)
        client = session.get_one(ClientRecord, conversation.client_id)
        return Target(channel_id=conversation.channel_id, client=client, conversation=conversation)
    if client_id is not None:
        known = session.get(ClientRecord, client_id)
        if known is None or known.account_id != account_id:
            raise KeyError(client_id)
        return Target(
            channel_id=known.channel_id, client=known, conversation=_direct(session, [known.id]).get(known.id)
        )
    assert channel_id is not None and address is not None
    stop = routes.read(session).stops.get(channel_id)
    if stop is None or stop.side is not Side.NETWORK:
        raise KeyError(channel_id)
    wanted = addresses.spelled(address)
    found = next(iter(_clients(session, account_id, [wanted], {channel_id}).get(wanted, ())), None)
    talk = _direct(session, [found.id]).get(found.id) if found else None
    return Target(channel_id=channel_id, client=found, conversation=talk, address=wanted)


def _resolved(account_id: UUID, stop: Stop, target: Target) -> Target:
    """Ask the network who has an address. Raises: Refused when nobody has."""
    assert target.address is not None
    value = target.address.value
    person: Person | None = setup.ask(account_id, stop.id, lambda adapter: adapter.resolve(value))
    if person is None:
        raise Refused("recipient_not_found", stop.adapter)
    with transaction(account_id) as session:
        client = session.scalars(
            select(ClientRecord).where(ClientRecord.channel_id == stop.id, ClientRecord.remote_id == person.remote_id)
        ).first()
        talk = _direct(session, [client.id]).get(client.id) if client else None
    return replace(target, client=client, conversation=talk, person=person)


def _must_ask(client: ClientRecord | None) -> bool:
    if client is None or client.may_write is None:
        return True
    is_fresh = client.may_write_at is not None and client.may_write_at > clock.now() - FORBIDDEN_FOR
    return client.may_write is False and not is_fresh


def _asked(account_id: UUID, stop: Stop, target: Target) -> Target:
    """Ask the network whether he lets us write, and remember it with a client whom we know. Raises: Refused."""
    row = target.client
    if row is not None:
        whom = Client(id=str(row.id), person=content.person_of(row.remote_id, row.name, row.profile))
    else:
        assert target.person is not None
        whom = Client(id="", person=target.person)
    may: bool = setup.ask(account_id, stop.id, lambda adapter: adapter.may_write_first(whom))
    if row is not None:
        with transaction(account_id) as session:
            kept = session.get_one(ClientRecord, row.id)
            kept.may_write, kept.may_write_at = may, clock.now()
    if not may:
        raise Refused("client_forbade", stop.adapter)
    return replace(target, may_write=may)


def _why_unknown(stop: Stop, address: Address | None) -> str:
    if stop.state != "active":
        return "channel_off" if stop.is_off else "channel_broken"
    kind = address.kind if address else ""
    is_its_own = kind in stop.capabilities.addresses or kind == stop.capabilities.known_as
    return "cannot_write_first" if is_its_own and not stop.capabilities.can_write_first else "address_unsupported"


def _feeds(map: Map, stop: Stop, connection_id: UUID | None) -> bool:
    return connection_id is None or connection_id in map.connections_by_channel.get(stop.id, ())


def _way(
    stop: Stop, address: Address, client: ClientRecord | None, talks: Mapping[UUID, ConversationRecord]
) -> Way | None:
    """Say whether a channel reaches an address; None when the two have nothing to do with each other."""
    facts = stop.capabilities
    if client is None and address.kind not in facts.addresses and address.kind != facts.known_as:
        return None
    talk = talks.get(client.id) if client else None
    reason = composer.refusal(stop, client, talk)
    if client is not None and reason == "client_forbade" and facts.can_write_first and _must_ask(client):
        reason = ""  # it is some time ago that he was asked
    if client is None and not reason and address.kind not in facts.addresses:
        reason = "address_unsupported"
    left = gate.time_left(talk, facts, clock.now()) if talk else None
    return Way(
        channel=stop,
        reason=reason,
        left_s=None if left is None else int(left.total_seconds()),
        client_id=client.id if client else None,
        client_name=client.name if client else "",
        conversation_id=talk.id if talk else None,
    )


def _usable_first(way: Way) -> tuple[bool, bool, str]:
    return bool(way.reason), not way.is_known, way.channel.title


def _clients(
    session: Session, account_id: UUID, wanted: Iterable[Address], channel_ids: Collection[UUID]
) -> dict[Address, list[ClientRecord]]:
    """Find the clients of channels whom addresses lead to: by what their profiles say, and by what the networks said lately."""
    named = [address for address in wanted if address.value]
    if not named:
        return {}
    values = sorted({form for address in named for form in _forms(address)})
    here = (ClientRecord.account_id == account_id, ClientRecord.channel_id.in_(channel_ids))
    by_profile = select(ClientRecord).where(
        *here,
        or_(ClientRecord.phone.in_(values), ClientRecord.username.in_(values), ClientRecord.page.in_(values)),
    )
    profiles = session.scalars(by_profile).all()
    lately = session.execute(
        select(ClientAddress.kind, ClientAddress.value, ClientRecord)
        .join(ClientRecord, ClientRecord.id == ClientAddress.client_id)
        .where(
            ClientAddress.channel_id.in_(channel_ids),
            ClientAddress.value.in_(values),
            ClientAddress.found_at > clock.now() - FOUND_FOR,
        )
    ).all()
    map = routes.read(session)
    found: dict[Address, list[ClientRecord]] = {}
    for address in named:
        told = [client for kind, value, client in lately if (kind, value) == (address.kind, address.value)]
        fitting = [one for one in profiles if _fits(one, address, map.stops[one.channel_id].capabilities.known_as)]
        found[address] = list({client.id: client for client in (*told, *fitting)}.values())
    return found


def _forms(address: Address) -> tuple[str, ...]:
    is_russian = address.kind == addresses.PHONE and len(address.value) == 11 and address.value[0] == "7"
    return (address.value, f"8{address.value[1:]}") if is_russian else (address.value,)


def _fits(client: ClientRecord, address: Address, known_as: str) -> bool:
    forms = _forms(address)
    if address.kind == addresses.PHONE:
        return client.phone in forms
    if address.kind != known_as:
        return False
    return client.username in forms or client.page in forms or (client.phone in forms and address.value.isdecimal())


def _direct(session: Session, client_ids: Sequence[UUID]) -> dict[UUID, ConversationRecord]:
    """Return the direct conversation of each client, the one with the latest talk."""
    if not client_ids:
        return {}
    rows: Sequence[Any] = session.scalars(
        select(ConversationRecord)
        .where(ConversationRecord.client_id.in_(client_ids), ConversationRecord.place == Place.DIRECT.value)
        .order_by(ConversationRecord.last_at.asc().nulls_first(), ConversationRecord.id)
    ).all()
    return {row.client_id: row for row in rows}
