"""Wanted: a CRM's user wrote first by the CRM's own means (a phone menu, a bot, a mobile app); the client is found, or he is told why not."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import structlog
from sqlalchemy import select

from widget_backend import texts
from widget_backend.bridge import dialogs, life, plan, registry, routes
from widget_backend.bridge.composer import KeyReused, Refused, Writer, Written
from widget_backend.bridge.dialogs import Opening
from widget_backend.bridge.ends import Address, Refuses, Side
from widget_backend.bridge.errors import EndError
from widget_backend.bridge.events import DialogWanted
from widget_backend.bridge.models import LinkRecord
from widget_backend.bridge.routes import Stop
from widget_backend.bridge.setup import Trouble
from widget_backend.bridge.tenancy import transaction

log = structlog.get_logger()


def begin(account_id: UUID, connection_id: UUID, event: DialogWanted) -> None:
    """Send what was written to whom it is for, in the conversation that is found or made for him; else tell the CRM why that cannot be. Once each."""
    refused = Refused("recipient_not_found")
    for place in _places(account_id, connection_id, event):
        try:
            written = _write(account_id, connection_id, event, place)
            log.info("dialog_begun", end=str(connection_id), conversation=str(written.conversation_id))
            return
        except Trouble as error:
            refused = Refused(error.reason)
        except Refused as error:
            refused = error
        except KeyReused:
            return  # the same message told in other words
    _refuse(account_id, connection_id, event, refused)


def _places(account_id: UUID, connection_id: UUID, event: DialogWanted) -> Iterable[Opening]:
    """Say where he may be found: in the conversation that an earlier message to him made, else in each channel that may know his address."""
    known = select(LinkRecord.conversation_id).where(
        LinkRecord.connection_id == connection_id, LinkRecord.state["chat"].astext == event.chat
    )
    with transaction(account_id) as session:
        conversation_id = session.scalar(known.limit(1))
        map = routes.read(session)
    key, writer = f"crm:{connection_id}:{event.remote_id}", Writer(actor=f"crm:{event.author_id}", name=event.author)
    if conversation_id is not None:
        return [Opening(key=key, writer=writer, conversation_id=conversation_id)]
    fed = [map.stops[id] for id, fed in map.connections_by_channel.items() if connection_id in fed and id in map.stops]
    chosen = [stop for stop in fed if stop.side is Side.NETWORK and _may_be_meant(stop, event)]
    address = Address(kind=event.address_kind, value=event.address)
    return (
        [Opening(key=key, writer=writer, channel_id=stop.id, address=address) for stop in chosen]
        if event.address
        else []
    )


def _may_be_meant(stop: Stop, event: DialogWanted) -> bool:
    return event.channel in ("", stop.id.hex) and not stop.is_off


def _write(account_id: UUID, connection_id: UUID, event: DialogWanted, place: Opening) -> Written:
    opening = Opening(
        key=place.key,
        writer=place.writer,
        channel_id=place.channel_id,
        address=place.address,
        conversation_id=place.conversation_id,
        text=event.text,
        connection_id=connection_id,
        remote_id=event.remote_id,
        session=event.session,
    )
    return dialogs.send(account_id, opening)


def _refuse(account_id: UUID, connection_id: UUID, event: DialogWanted, refused: Refused) -> None:
    end = life.snapshot(account_id, connection_id)
    adapter = registry.adapter(end)
    log.info("dialog_refused", end=str(connection_id), reason=refused.reason)
    if not isinstance(adapter, Refuses):
        return
    try:
        adapter.refuse(event, refused.reason, texts.reason(refused.reason, refused.adapter, plan.LOCALE))
    except EndError as error:
        log.warning("dialog_refusal_not_told", end=end.id, reason=error.reason)
