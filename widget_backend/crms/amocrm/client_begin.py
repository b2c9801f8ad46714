"""What only the first message of a conversation needs: its source, chat, contact and deal; and what amoCRM made of it by itself (amocrm.md 2.8, 2.9)."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from widget_backend import outside
from widget_backend.bridge.ends import Conversation, End, Item
from widget_backend.bridge.errors import EndError, preparing
from widget_backend.bridge.events import Direction
from widget_backend.crms.amocrm import client_history as history
from widget_backend.crms.amocrm import client_sources as sources
from widget_backend.crms.amocrm import format as words
from widget_backend.crms.amocrm.cards import CHAIN_PATIENCE, Desk, Place
from widget_backend.crms.amocrm.client import Account
from widget_backend.crms.amocrm.client_chats import Chats
from widget_backend.crms.amocrm.settings import UNSORTED
from widget_backend.reading import Malformed

log = structlog.get_logger()

ASKED_TIMES = 3
"""How many messages of a conversation ask where amoCRM put it: it makes contact and lead a moment after its answer. Later the hourly pull asks."""


class Beginning:
    """The first steps of the conversations of one account."""

    def __init__(self, end: End, account: Account, desk: Desk) -> None:
        self._end = end
        self._account = account
        self._desk = desk

    def prepare(self, chats: Chats, item: Item, state: Mapping[str, str]) -> dict[str, str]:
        """Do what is due before a message is posted; return what the link is to remember, nothing for all later messages.

        Where amoCRM shall not make an unsorted lead, chat, contact and deal are made and joined before the client's first message is posted (2.8), and
        before the first of ours when it was written from a card. Every step finds what an earlier try made: the chat by our id, the contact by the
        chat, the deal by the contact.
        """
        link, known = item.conversation.link, Place.of(state)
        assert link is not None
        is_in, is_new = item.direction is Direction.IN, not state.get("begun")
        stage = self._desk.stage(item.conversation)
        is_unsorted = stage == UNSORTED
        is_amocrms = not is_in or is_unsorted
        is_owed = (known != Place() or not is_amocrms) if is_new else (not is_amocrms and not known.lead_id)
        if not (is_new or is_owed) or state.get("began_there"):
            return {}  # amoCRM began it: chat, contact and deal are there, and the message only names them (2.9)
        with preparing(), outside.patience(CHAIN_PATIENCE):
            learnt = {"begun": "1"}
            source = state.get("source", "")
            if is_new:
                source = sources.ensure(self._account, self._end, chats.channel, item.conversation, stage)
            if source:
                learnt["source"] = source
            if not is_owed:
                return learnt
            made = chats.create(link.remote_id, words.client(item.conversation), source)
            chat_id = made["id"].text()
            learnt |= {"chat": chat_id, "user_ref": made["user"]["id"].remote_id_or("")}
            return learnt | self._join(item, chat_id, known, is_known=not is_new or item.started_at is not None)

    def _join(self, item: Item, chat_id: str, known: Place, *, is_known: bool) -> dict[str, str]:
        """Give a chat its contact, and a deal unless we write first from the card of a contact or company."""
        linked = self._desk.linked_contact(chat_id) if is_known else ""
        contact_id, is_new_contact = known.contact_id or linked, False
        if not contact_id:
            contact_id, is_new_contact = self._desk.contact(item)
        if contact_id != linked:
            self._desk.link(chat_id, contact_id)
        if is_new_contact:
            for kind, id in (("company", known.company_id), ("lead", known.lead_id)):
                if id:
                    self._desk.tie(kind, id, contact_id)
        if known.lead_id:
            return Place(contact_id=contact_id, lead_id=known.lead_id).state
        if item.direction is Direction.OUT:
            return Place(contact_id=contact_id).state
        lead_id, is_new = self._desk.lead(item, contact_id, is_new_contact=is_new_contact)
        return {**Place(contact_id=contact_id, lead_id=lead_id).state, "new_deal": "1" if is_new else ""}

    def look(self, chats: Chats, item: Item, state: Mapping[str, str]) -> dict[str, str]:
        """After a client's message was posted: ask where amoCRM put a conversation whose contact it made by itself (2.8).

        The message is there already: whatever goes wrong costs only this answer, which the next message or the hourly pull asks for again.
        """
        asked = int(state.get("asked") or 0)
        if item.direction is not Direction.IN or Place.of(state) != Place() or asked >= ASKED_TIMES:
            return {}
        try:
            chat_id = history.chat_of(chats, item.conversation, state)
            place, made_at = self._desk.whereabouts(chat_id)
        except (EndError, Malformed) as error:
            log.warning("card_not_asked", end=self._end.id, reason=getattr(error, "reason", "unknown_answer"))
            return {"asked": str(asked + 1)}
        is_new = (
            bool(place.lead_id) and not asked and made_at >= item.sent_at.timestamp() - words.CLOCKS.total_seconds()
        )
        return {"asked": str(asked + 1), "chat": chat_id, **place.state, "new_deal": "1" if is_new else ""}

    def found(self, chats: Chats, conversation: Conversation) -> dict[str, str]:
        """Tell what amoCRM made of a conversation that we know no contact of; empty when we do, or it has none. Raises: EndError, Malformed."""
        link = conversation.link
        if link is None or not link.state.get("begun") or Place.of(link.state) != Place():
            return {}
        chat_id = history.chat_of(chats, conversation, link.state)
        place, _made_at = self._desk.whereabouts(chat_id)
        return {"chat": chat_id, **place.state} if place != Place() else {}
