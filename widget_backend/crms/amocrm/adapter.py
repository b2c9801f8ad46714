"""An amoCRM account behind the CRM seam: chats where the messenger has its chat channel, notes in the deal where it has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from widget_backend import clock, outside, texts
from widget_backend.bridge.ends import (
    Accepted,
    Card,
    Choice,
    Connected,
    Conversation,
    End,
    Item,
    Keep,
    NotThere,
    Offered,
    Outcome,
    Pulled,
    PullRequest,
    Raw,
)
from widget_backend.bridge.errors import EndError, Misconfigured, Rejected, Uncertain, Unregistered, preparing
from widget_backend.bridge.events import Attachment, DialogWanted, Direction
from widget_backend.crms.amocrm import client_cards as card_reading
from widget_backend.crms.amocrm import client_catalogs as catalogs
from widget_backend.crms.amocrm import client_history as history
from widget_backend.crms.amocrm import client_progress as progress
from widget_backend.crms.amocrm import client_survey as survey
from widget_backend.crms.amocrm import format as words
from widget_backend.crms.amocrm import templates
from widget_backend.crms.amocrm.cards import CHAIN_PATIENCE, Desk, Place
from widget_backend.crms.amocrm.client import Account
from widget_backend.crms.amocrm.client_begin import Beginning
from widget_backend.crms.amocrm.client_chats import Channel, Chats
from widget_backend.crms.amocrm.settings import NOTES
from widget_backend.reading import Malformed

log = structlog.get_logger()

_NOTE = "note:"
_LOST = frozenset({"failed", "expired", "uncertain"})
_MARKS: Mapping[str, int] = {"received": 1, "read": 2}
# amocrm.md 2.7; what is not here is 905, which carries our own words
_CODES: Mapping[str, int] = {
    "client_forbade": 901,
    "blocked_by_client": 901,
    "token_revoked": 902,
    "channel_off": 902,
    "our_fault": 903,
    "no_such_client": 904,
}


class AmoCrm:
    """One account."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._account = Account.of(end)
        self._desk = Desk(end, self._account)
        self._beginning = Beginning(end, self._account, self._desk)
        self._channels = Channel.all_of(end)

    # -- life --------------------------------------------------------------------------------------------------------

    def connect(self, keep: Keep) -> Connected:
        """Check that an administrator's token is ours, and connect the chat channels. Source: amocrm.md 2.3, 2.4, 10.17."""
        with preparing():
            account = self._account.get("account", {"with": "amojo_id"})
            user_id = account["current_user_id"].remote_id()
            self._need_admin(user_id)
            amojo_id = account["amojo_id"].text()
            self._end = replace(self._end, settings={**self._end.settings, "amojo_id": amojo_id})
            connected, refused, warnings = self._connect_channels()
            # a stage that is new counts as known from now on: whoever connects again has read of it
            findings = survey.look(
                self._account, replace(self._end, settings={**self._end.settings, "known_stages": []})
            )
        return Connected(
            remote_id=account["id"].remote_id(),
            title=account["name"].text_or("") or self._account.host,
            settings={
                "amojo_id": amojo_id,
                "user_id": user_id,
                "connected_channels": connected,
                "refused_channels": refused,
                "notices": list(findings.notices),
                "known_stages": list(findings.stages),
            },
            warnings=(*warnings, *findings.notices),
            aliases=(amojo_id,),
        )

    def check(self) -> None:
        """Ask whether the account still lets us in, and whether every chat channel of the integration is connected.

        Source: amocrm.md 3.2. There is no call that tells whether a channel is connected.
        """
        with preparing():
            account = self._account.get("account")
        if account["id"].remote_id() != self._end.remote_id:
            raise Misconfigured("amocrm_other_account")
        if {one.id for one in self._channels} != self._remembered("connected_channels", "refused_channels"):
            raise Unregistered("amocrm_chat_new")

    def disconnect(self) -> None:
        """Disconnect the chat channels; the integration itself is switched off in amoCRM. Source: amocrm.md 2.4."""
        for channel in self._channels:
            with preparing():
                Chats.of(self._end, channel).disconnect()

    def pull(self, request: PullRequest) -> Pulled:
        """Read the histories of the conversations active lately: hooks come once; and look whether the settings still hold. Source: amocrm.md 2.7, 10.8."""
        with preparing():
            raws = self._survey(request)
            for conversation in request.conversations:
                chats = self._chats(conversation)
                if chats is not None and conversation.link is not None:
                    raws += history.pulled(chats, conversation, request, self._beginning.found)
        return Pulled(raws=tuple(raws), cursor={})

    def locate(self, attachment: Attachment) -> tuple[str, Mapping[str, str]]:
        """Refuse: files of a chat come with their address. Source: amocrm.md 4.1."""
        raise Rejected("no_file", attachment.kind.value)

    def lookup(self, item: Item) -> Accepted | NotThere:
        """Find a part by its key in the history of its chat. Source: amocrm.md 2.7."""
        chats = self._chats(item.conversation)
        if chats is None or item.started_at is None:
            raise Uncertain("no_answer", "not a chat")
        with preparing():
            found = history.find(chats, item.conversation, item.key, item.started_at)
        return Accepted(remote_ids=(found,)) if found else NotThere()

    # -- delivery ----------------------------------------------------------------------------------------------------

    def import_messages(self, batch: Sequence[Item]) -> Sequence[Outcome]:
        """Show messages: each is a call of its own. Source: amocrm.md 2.6."""
        return [self._outcome(lambda item=item: self._import(item)) for item in batch]  # type: ignore[misc]

    def edit(self, item: Item) -> Outcome:
        """Replace the text of a message we showed; below a note a second one says it. Source: amocrm.md 2.6 "Edit"."""
        return self._change(item, item, "represent.edited")

    def delete(self, item: Item) -> Outcome:
        """Say in place of the text that it was deleted, and by whom: there is no delete method. Source: amocrm.md 2.6."""
        is_theirs = item.direction is Direction.IN
        gone = texts.text(f"settings.amocrm.deleted_by_{'client' if is_theirs else 'us'}", self._end.locale)
        note = "settings.amocrm.deleted_note" if is_theirs else "settings.amocrm.deleted_by_us"
        return self._change(item, replace(item, text=gone, files=()), note)

    def report(self, batch: Sequence[Item]) -> Sequence[Outcome]:
        """Mark managers' messages, or say why one did not arrive. Source: amocrm.md 2.7."""
        return [self._outcome(lambda item=item: self._report(item)) for item in batch]  # type: ignore[misc]

    def refuse(self, event: DialogWanted, reason: str, reason_text: str) -> None:
        """Mark a message to a phone number as not sent: 904, or what went wrong. Source: amocrm.md 2.9, 2.7."""
        channel = next((one for one in self._channels if one.id == event.place), None)
        if channel is None:
            raise Misconfigured("amocrm_no_chat")
        Chats.of(self._end, channel).report(event.remote_id, -1, _CODES.get(reason, 904), reason_text[:250])

    def settings_catalog(self, name: str) -> Sequence[Choice]:
        """List what a setting can be. Source: amocrm.md 3.2, 3.10."""
        with preparing():
            return catalogs.choices(self._account, name, self._end.locale)

    def write_quick_replies(self, replies: Sequence[Offered]) -> None:
        """Keep the shared quick replies among the account's chat templates. Source: amocrm.md 3.9."""
        with preparing():
            templates.write(self._account, replies)

    def read_card(self, kind: str, id: str, viewer_id: str) -> Card:
        """Read a card as that employee sees it. Source: amocrm.md 1.4, 12."""
        with preparing():
            return card_reading.read(self._account, kind, id, viewer_id)

    def _survey(self, request: PullRequest) -> list[Raw]:
        try:
            return survey.told(survey.look(self._account, self._end, request.conversations), self._end, clock.now())
        except (Rejected, Misconfigured, Malformed) as error:
            log.warning("not_surveyed", end=self._end.id, reason=getattr(error, "reason", "unknown_answer"))
            return []

    # -- chats -------------------------------------------------------------------------------------------------------

    def _chats(self, conversation: Conversation) -> Chats | None:
        """Return the chat channel of a conversation's messenger; None where it has none, or the account wants notes."""
        if self._end.settings.get("mode") == NOTES:
            return None
        connected = self._remembered("connected_channels")
        channel = channel_for([one for one in self._channels if one.id in connected], conversation.network)
        return Chats.of(self._end, channel) if channel else None

    def _import(self, item: Item) -> Accepted:
        chats = self._chats(item.conversation)
        return self._post(chats, item) if chats else self._note(item)

    def _post(self, chats: Chats, item: Item) -> Accepted:
        link = item.conversation.link
        assert link is not None
        learnt = self._beginning.prepare(chats, item, link.state)
        state = {**link.state, **learnt}
        payload = self._payload(chats, item, state)
        try:
            answer = chats.post("new_message", payload)
            told = answer["new_message"]["msgid"].remote_id()
        except Malformed as error:
            raise Uncertain("unknown_answer", str(error)) from error
        except Rejected:
            told = self._stored_before(chats, item)
            if not told:
                raise
        learnt |= self._beginning.look(chats, item, state)
        is_new_deal = learnt.pop("new_deal", "") == "1"
        if item.direction is Direction.IN:
            self._set_task(item, Place.of({**state, **learnt}).lead_id, is_new_deal=is_new_deal)
        return Accepted(remote_ids=(told,), state=learnt)

    def _stored_before(self, chats: Chats, item: Item) -> str:
        """Find a part that was taken although its answer was lost: a repeated msgid may be refused (2.6, unconfirmed)."""
        if item.started_at is None:
            return ""
        with preparing():
            return history.find(chats, item.conversation, item.key, item.sent_at)

    def _payload(self, chats: Chats, item: Item, state: Mapping[str, str]) -> dict[str, object]:
        """Write a message as the chats API wants it. Source: amocrm.md 2.6."""
        link = item.conversation.link
        assert link is not None
        can_quote = "quotes" in chats.channel.features
        said = item if can_quote else replace(item, text=words.quoted_in_words(item))
        is_in = item.direction is Direction.IN
        ref_id = state.get("user_ref", "") if state.get("began_there") else ""
        payload: dict[str, object] = {
            **words.times(item.sent_at),
            "msgid": item.key,
            "conversation_id": link.remote_id,
            "silent": not is_in,  # 10.11
            "message": words.message(said),
        }
        client = words.client(item.conversation, ref_id)
        if is_in:
            payload["sender"] = client
        else:
            payload |= {"sender": self._our_side(chats, item), "receiver": client}
        if ref_id:
            payload["conversation_ref_id"] = state["chat"]
        if state.get("source"):
            payload["source"] = {"external_id": state["source"]}
        if can_quote and item.quote is not None and item.quote.remote_id:
            payload["reply_to"] = {"message": {"id": item.quote.remote_id}}
        return payload

    def _our_side(self, chats: Chats, item: Item) -> dict[str, object]:
        """Write who answered: the employee himself when he wrote in our panel in amoCRM, else the channel's bot. Source: amocrm.md 2.6, 2.3."""
        if item.is_from_here and item.author_id.isdecimal():
            with preparing():
                user = self._account.get(f"users/{item.author_id}", {"with": "amojo_id"})
            if ref_id := user["amojo_id"].text_or(""):
                return words.manager(item, ref_id)
        return words.company(item, chats.channel.bot_id)

    # -- notes -------------------------------------------------------------------------------------------------------

    def _note(self, item: Item) -> Accepted:
        """Write a message into the deal of its conversation, which is found or made first. Source: amocrm.md 3.10."""
        link = item.conversation.link
        assert link is not None
        with preparing(), outside.patience(CHAIN_PATIENCE):
            place, is_new = self._desk.place(item, self._known_place(item, link.state))
            text = words.note(item, self._end.locale)
            is_tried = progress.of(item, "note").startswith(progress.UNKNOWN)
            known = self._desk.find_note(place.lead_id, text, item.started_at) if is_tried and item.started_at else ""
        with outside.patience(CHAIN_PATIENCE), progress.trying(item, "note"):
            note_id = known or self._desk.note(place.lead_id, text)
        if item.direction is Direction.IN:
            self._set_task(item, place.lead_id, is_new_deal=is_new)
        return Accepted(remote_ids=(f"{_NOTE}{place.lead_id}:{note_id}",), state=place.state)

    def _known_place(self, item: Item, state: Mapping[str, str]) -> Place:
        """Return where a conversation stands; one that was a chat until its account chose notes keeps the contact of that chat."""
        known = Place.of(state)
        channel = channel_for(self._channels, item.conversation.network)
        if known != Place() or not state.get("begun") or channel is None:
            return known
        chat_id = history.chat_of(Chats.of(self._end, channel), item.conversation, state)
        return Place(contact_id=self._desk.linked_contact(chat_id))

    def _set_task(self, item: Item, lead_id: str, *, is_new_deal: bool) -> None:
        """Set a task; the message is there already, so that a task that fails costs nothing but itself."""
        try:
            self._desk.task(item, lead_id, is_new_deal=is_new_deal)
        except (EndError, Malformed) as error:
            log.warning("task_not_set", end=self._end.id, reason=getattr(error, "reason", "unknown_answer"))

    # -- changes and reports -----------------------------------------------------------------------------------------

    def _change(self, item: Item, newer: Item, note_slug: str) -> Outcome:
        target = item.remote_ids[0] if item.remote_ids else ""
        if not target:
            raise Rejected("unknown_message")
        if target.startswith(_NOTE):
            lead_id = target.removeprefix(_NOTE).partition(":")[0]
            self._desk.note(lead_id, texts.text(note_slug, self._end.locale, text=newer.text))
            return Accepted(remote_ids=(target,))
        link, chats = item.conversation.link, self._chats(item.conversation)
        if chats is None or link is None:
            raise Rejected("amocrm_no_chat")
        payload = {
            **words.times(item.sent_at),
            "conversation_id": link.remote_id,
            "id": target,
            "message": words.message(newer),
        }
        chats.post("edit_message", payload)
        return Accepted(remote_ids=(target,))

    def _report(self, item: Item) -> Outcome:
        target = item.remote_ids[0] if item.remote_ids else ""
        chats = self._chats(item.conversation)
        if not target or target.startswith(_NOTE) or chats is None:
            return self._report_in_note(item)
        if item.status in _MARKS:
            chats.report(target, _MARKS[item.status])
        elif item.status in _LOST:
            said = item.reason_text or texts.text("settings.amocrm.not_delivered", self._end.locale)
            chats.report(target, -1, _CODES.get(item.reason, 905), said[:250])
        return Accepted()

    def _report_in_note(self, item: Item) -> Outcome:
        lead_id = Place.of(item.conversation.link.state).lead_id if item.conversation.link else ""
        if item.status in _LOST and lead_id:
            lost = texts.text("settings.amocrm.not_delivered", self._end.locale)
            self._desk.note(lead_id, f"{lost} {item.reason_text}".strip())
        return Accepted()

    # -- small parts -------------------------------------------------------------------------------------------------

    def _outcome(self, make: Callable[[], Outcome]) -> Outcome:
        try:
            return make()
        except Malformed as error:
            return Uncertain("unknown_answer", str(error))
        except EndError as error:
            return error

    def _need_admin(self, user_id: str) -> None:
        """Refuse a token that is no administrator's: most calls need one. Source: amocrm.md 10.17."""
        try:
            user = self._account.get(f"users/{user_id}")
        except Misconfigured as error:
            if error.reason != "amocrm_no_right":
                raise
            raise Misconfigured("amocrm_not_admin") from error
        if not user["rights"]["is_admin"].flag_or(False):
            raise Misconfigured("amocrm_not_admin")

    def _remembered(self, *names: str) -> set[str]:
        """Return ids of chat channels that `connect` stored."""
        lists = [self._end.settings.get(name) for name in names]
        return {str(one) for known in lists if isinstance(known, list) for one in known}

    def _connect_channels(self) -> tuple[list[str], list[str], tuple[str, ...]]:
        """Connect every chat channel; one that is refused leaves its messenger with notes, and the admin is told why."""
        connected: list[str] = []
        refused: list[str] = []
        warnings: list[str] = [] if self._channels else ["amocrm_no_chats"]
        for channel in self._channels:
            try:
                Chats.of(self._end, channel).connect()
                connected.append(channel.id)
            except Misconfigured as error:
                log.warning("chat_channel_refused", end=self._end.id, messenger=channel.messenger, reason=error.reason)
                refused.append(channel.id)
                warnings.append(error.reason)
        return connected, refused, tuple(dict.fromkeys(warnings))


def channel_for(channels: Sequence[Channel], network: str) -> Channel | None:
    """Return the chat channel for a network: its own, that of its family (`telegram` for `telegram_bot`), or the one for any."""
    by_messenger = {one.messenger: one for one in channels}
    for name in (network, network.partition("_")[0], "any"):
        if name in by_messenger:
            return by_messenger[name]
    return None
