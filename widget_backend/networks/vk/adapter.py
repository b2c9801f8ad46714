"""VK behind the seam: the life of a channel, what is delivered to clients, what is asked about them, what was missed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from widget_backend.bridge import ends
from widget_backend.bridge.ends import Accepted, Connected, Conversation, End, Item, NotThere, Outcome, Pulled, Raw
from widget_backend.bridge.errors import EndError, Rejected, preparing
from widget_backend.bridge.events import Attachment, Kind, Person
from widget_backend.limits import Priority
from widget_backend.networks.vk.client import API_VERSION, CALLS_PER_EXECUTE, Client, Params, error_of, understood
from widget_backend.networks.vk.format import community, person
from widget_backend.networks.vk.hooks import FIRST_CHAT
from widget_backend.networks.vk.login import Registration
from widget_backend.networks.vk.media import upload, words_of
from widget_backend.reading import Reader

PROFILE_FIELDS = "photo_200,screen_name,city,bdate,contacts"
_PAGE = 200
_PEERS_PER_PULL = 20


class Vk:
    """A VK community as a channel."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._client = Client(end)

    # ------------------------------------------------------------------------------------------------------------ life

    def connect(self, keep: ends.Keep) -> Connected:
        """Make the community call us. Source: vk.md 1.4."""
        return Registration(self._end, self._client).connect(keep)

    def check(self) -> None:
        """See whether the key works with its rights and VK still calls us. Source: vk.md 1.1, 1.4."""
        Registration(self._end, self._client).check()

    def disconnect(self) -> None:
        """Take our callback server away. Source: vk.md 1.4."""
        Registration(self._end, self._client).disconnect()

    # -------------------------------------------------------------------------------------------------------- delivery

    def send(self, batch: Sequence[Item]) -> Sequence[Outcome]:
        """Send new messages: several texts by one `execute`, which spends one request, then those that wait for an upload.

        Shape: nothing is raised for the whole batch, so that no result of an earlier request is lost.
        """
        texts = [place for place, item in enumerate(batch) if not _files(item)]
        groups = [texts[start : start + CALLS_PER_EXECUTE] for start in range(0, len(texts), CALLS_PER_EXECUTE)]
        groups += [[place] for place, item in enumerate(batch) if _files(item)]
        outcomes: dict[int, Outcome] = {}
        for group in groups:
            try:
                with preparing(), understood():
                    sendings = [self._sending(batch[place]) for place in group]
            except EndError as error:  # of an upload: those go one by one
                outcomes |= dict.fromkeys(group, error)
                continue
            outcomes |= zip(group, self._sent(sendings), strict=True)
        return [outcomes[place] for place in range(len(batch))]

    def _sending(self, item: Item) -> dict[str, object]:
        """Make the parameters of `messages.send`, uploading what must be uploaded. Source: vk.md 2.2."""
        peer_id = _peer_id(item.conversation)
        return {
            "peer_ids": peer_id,  # the only form that answers with both ids
            "random_id": item.counter,
            **self._contents(item, *self._uploaded(item, peer_id)),
            **_quoting(item),
        }

    def _uploaded(self, item: Item, peer_id: str) -> tuple[str, list[str]]:
        """Upload the files; what VK takes in no form (mp3, programs: vk.md 2.5) stands as a link below the text."""
        lines, words = [item.text] if item.text else [], []
        for one in _files(item):
            try:
                words.append(upload(self._client, peer_id, one))
            except Rejected as error:
                if error.reason != "file_refused" or not one.url:
                    raise
                lines.append(f"{one.attachment.name} {one.url}".strip())
        return "\n".join(lines), words

    def _contents(self, item: Item, text: str, words: Sequence[str]) -> dict[str, object]:
        place = next((one.attachment for one in item.files if one.attachment.kind is Kind.LOCATION), None)
        contents: dict[str, object] = {"message": text}
        if words:
            contents["attachment"] = ",".join(words)
        if place is not None:
            contents |= {"lat": place.latitude, "long": place.longitude}
        if self._end.settings.get("link_previews") is False:
            contents["dont_parse_links"] = True
        return contents

    def _sent(self, sendings: Sequence[Params]) -> list[Outcome]:
        """Send at most 25 messages by one request; what befalls the request befalls each of them."""
        try:
            with understood():
                if len(sendings) == 1:
                    outcomes = [_outcome(self._client.messages_send(sendings[0]))]
                else:
                    outcomes = [_outcome(one) for one in self._client.execute_messages_send(sendings)]
        except EndError as error:
            outcomes = [error] * len(sendings)
        return [self._without_quote(*pair) for pair in zip(sendings, outcomes, strict=True)]

    def _without_quote(self, params: Params, outcome: Outcome) -> Outcome:
        """Send an answer to a message that is deleted by now as a plain message: VK refused, so nothing was sent."""
        is_refused = isinstance(outcome, Rejected) and outcome.reason in ("bad_request", "cannot_be_forwarded")
        if not is_refused or not {"reply_to", "forward"} & params.keys():
            return outcome
        plain = {name: value for name, value in params.items() if name not in ("reply_to", "forward")}
        return self._sent([plain])[0]

    def edit(self, item: Item) -> Outcome:
        """Change a message. VK takes away what is not repeated, so its attachments are named again. Source: vk.md 2.4."""
        with understood():
            peer_id = _peer_id(item.conversation)
            name = "cmid" if _is_chat(item.conversation) else "message_id"
            params = {
                "peer_id": peer_id,
                name: item.remote_ids[0],
                "keep_forward_messages": True,
                "keep_snippets": True,
            }
            with preparing():
                text, words = self._attached_again(item, peer_id)
            self._client.messages_edit(params | self._contents(item, text, words))
        return Accepted(remote_ids=item.remote_ids)

    def _attached_again(self, item: Item, peer_id: str) -> tuple[str, list[str]]:
        """Name the attachments of a message of ours: what VK has, or fresh uploads where their number has changed."""
        files = _files(item)
        if not files:
            return item.text, []
        ids = item.remote_ids[:1]
        if _is_chat(item.conversation):
            found = self._client.messages_get_by_conversation_message_id(peer_id, ids)
        else:
            found = self._client.messages_get_by_id(ids)
        words = [word for message in found for word in words_of(message)]
        return (item.text, words) if len(words) == len(files) else self._uploaded(item, peer_id)

    def delete(self, item: Item) -> Outcome:
        """Delete a message for everybody; what is already gone is fine. Source: vk.md 2.4."""
        params: dict[str, object] = {"delete_for_all": True}
        if _is_chat(item.conversation):
            params |= {"peer_id": _peer_id(item.conversation), "cmids": ",".join(item.remote_ids)}
        else:
            params["message_ids"] = ",".join(item.remote_ids)
        with understood():
            for one in self._client.messages_delete(params):
                error = one["error"]
                if error.is_there and error["code"].integer() not in (100, 104):
                    return error_of(error["code"].integer(), error["description"].text_or(""))
        return Accepted(remote_ids=item.remote_ids)

    def mark_read(self, item: Item) -> Outcome:
        """Mark the client's messages as read. Source: vk.md 2.4."""
        read = [one for one in item.other_remote_ids if one.isdecimal()]
        if read:
            name = "up_to_cmid" if _is_chat(item.conversation) else "start_message_id"
            client = Client(self._end, Priority.MAILING)  # messages go first
            client.messages_mark_as_read({"peer_id": _peer_id(item.conversation), name: read[-1]})
        return Accepted()

    def typing(self, conversation: Conversation) -> None:
        """Show that somebody is typing. Source: vk.md 2.4."""
        Client(self._end, Priority.MAILING).messages_set_activity(_peer_id(conversation))

    def lookup(self, item: Item) -> Accepted | NotThere:
        """Find a message of ours by its `random_id` among the latest of its dialog."""
        with preparing(), understood():
            for message in self._client.messages_get_history(int(_peer_id(item.conversation)), 0, _PAGE):
                if message["out"].flag_or(False) and message["random_id"].integer_or(0) == item.counter:
                    return Accepted(remote_ids=(_id_of(message, _is_chat(item.conversation)),))
        return NotThere()

    # -------------------------------------------------------------------------------------------------------- looking up

    def profile(self, client: ends.Client) -> Person:
        """Ask who a client is: a user, a community that writes, or a group chat. Source: vk.md 2.6."""
        with preparing(), understood():
            remote_id = int(client.person.remote_id)
            if remote_id >= FIRST_CHAT:
                return self._chat(client.person.remote_id)
            if remote_id < 0:
                return community(self._client.groups_get_by_id(str(-remote_id)))
            user = self._client.users_get(client.person.remote_id, PROFILE_FIELDS)
            if user is None:
                raise Rejected("client_not_found")
            return person(user)

    def _chat(self, peer_id: str) -> Person:
        chat = self._client.messages_get_conversations_by_id(peer_id)["chat_settings"]
        return Person(
            remote_id=peer_id, name=chat["title"].text_or(""), photo_url=chat["photo"]["photo_200"].text_or("")
        )

    def may_write_first(self, client: ends.Client) -> bool:
        """Tell whether the client allows the community to write. Source: vk.md 2.4."""
        with preparing(), understood():
            return self._client.messages_is_messages_from_group_allowed(self._end.remote_id, client.person.remote_id)

    def resolve(self, address: str) -> Person | None:
        """Find a user by his page or short name; VK knows no way from a phone number to a person. Source: vk.md 2.6."""
        found = re.fullmatch(r"(?:(?:https?://)?(?:m\.)?vk\.(?:com|ru|me)/)?@?([A-Za-z][\w.]*)/?", address.strip())
        if found is None:
            return None
        with preparing(), understood():
            by_id = re.fullmatch(r"id(\d+)", found[1])
            user_id = by_id[1] if by_id else self._resolved(found[1])
            user = self._client.users_get(user_id, PROFILE_FIELDS) if user_id else None
            return person(user) if user is not None else None

    def _resolved(self, screen_name: str) -> str:
        try:
            answer = self._client.utils_resolve_screen_name(screen_name)
        except Rejected as error:
            if error.reason != "not_found":
                raise
            return ""
        is_nobody = isinstance(answer.plain(), list) or answer["type"].text() != "user"
        return "" if is_nobody else answer["object_id"].remote_id()

    def locate(self, attachment: Attachment) -> tuple[str, Mapping[str, str]]:
        """VK sends addresses, never handles."""
        raise Rejected("unsupported_attachment", attachment.kind.value)

    # ------------------------------------------------------------------------------------------------------------- pull

    def pull(self, request: ends.PullRequest) -> Pulled:
        """Fetch the messages, both ways, that were written since the last pull (at first: since `request.since`).

        Shape: the cursor holds `last_id`, the newest message of the last finished pull; inside one, `next_id` and the
        dialogs still to be read, `peers`. A cursor {"message_ids": [...]} asks for those messages in full, as edits: so
        is a cropped message completed (vk.md 3.2, `is_cropped`).
        Source: vk.md 2.4, `messages.getConversations`, `messages.getHistory`.
        """
        with preparing(), understood():
            return _Missed(self._end, Client(self._end, Priority.HISTORY)).pull(request)


class _Missed:
    """The messages that hooks may not have brought."""

    def __init__(self, end: End, client: Client) -> None:
        self._end = end
        self._client = client
        self._group_id = end.remote_id

    def pull(self, request: ends.PullRequest) -> Pulled:
        """Fetch what `Vk.pull` promises."""
        cursor = Reader(dict(request.cursor))
        wanted = [one.remote_id() for one in cursor["message_ids"].items()]
        if wanted:
            found = self._client.messages_get_by_id(wanted)
            others = {name: value for name, value in request.cursor.items() if name != "message_ids"}
            return Pulled(raws=tuple(self._raw("message_edit", one) for one in found), cursor=others)
        last_id, next_id = cursor["last_id"].integer_or(0), cursor["next_id"].integer_or(0)
        is_old = _OlderThan(int(request.since.timestamp()), last_id)
        if next_id:
            peers = [one.integer() for one in cursor["peers"].items()]
        else:
            peers, next_id = self._active(is_old)
        raws = [raw for peer_id in peers[:_PEERS_PER_PULL] for raw in self._missed(peer_id, is_old)]
        rest = peers[_PEERS_PER_PULL:]
        if rest:
            going = {"last_id": last_id, "next_id": next_id, "peers": rest}
            return Pulled(raws=tuple(raws), cursor=going, more=True)
        return Pulled(raws=tuple(raws), cursor={"last_id": max(next_id, last_id)})

    def _active(self, is_old: _OlderThan) -> tuple[list[int], int]:
        """List the dialogs with something new, and the newest message id as the list was begun."""
        peers: dict[int, None] = {}
        newest, offset = 0, 0
        while True:
            page = self._client.messages_get_conversations(offset, _PAGE)
            newest = newest or max((one["last_message"]["id"].integer() for one in page), default=0)
            peers |= dict.fromkeys(_peers(page, is_old, self._end))
            offset += _PAGE
            if len(page) < _PAGE or is_old(page[-1]["last_message"]):
                break
        if offset > _PAGE:
            # while we paged, a dialog not reached yet may have jumped to the top by a new message
            peers |= dict.fromkeys(_peers(self._client.messages_get_conversations(0, _PAGE), is_old, self._end))
        return list(peers), newest

    def _missed(self, peer_id: int, is_old: _OlderThan) -> Iterator[Raw]:
        """Read one dialog back to what is known, and give it in the order in which it was written."""
        found: list[Reader] = []
        while True:
            page = self._client.messages_get_history(peer_id, len(found), _PAGE)
            found += page
            if len(page) < _PAGE or is_old(page[-1]):
                break
        for message in reversed([one for one in found if not is_old(one)]):
            yield self._raw("message_reply" if message["out"].flag_or(False) else "message_new", message)
            if "update_time" in message:  # an edit of what a hook brought before is news too
                yield self._raw("message_edit", message)

    def _raw(self, kind: str, message: Reader) -> Raw:
        """Give a message the envelope in which the Callback API would have brought it."""
        told = message.plain()
        number = f"{message['peer_id'].integer()}:{message['conversation_message_id'].integer()}"
        edition = f":{message['version'].remote_id_or('')}" if kind == "message_edit" else ""
        event_id = f"pull:{kind}:{number}{edition}"
        thing = {"message": told} if kind == "message_new" else told
        envelope = {
            "type": kind,
            "group_id": int(self._group_id),
            "event_id": event_id,
            "v": API_VERSION,
            "object": thing,
        }
        return Raw(event_id=event_id, body=json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode())


class _OlderThan:
    """Tell whether a message was surely known before: by the id where there is one, else by the time."""

    def __init__(self, since: int, last_id: int) -> None:
        self._since = since
        self._last_id = last_id

    def __call__(self, message: Reader) -> bool:
        message_id = message["id"].integer_or(0)
        if message_id and self._last_id:
            return message_id <= self._last_id
        return message["date"].integer() < self._since


def _peers(page: Sequence[Reader], is_old: _OlderThan, end: End) -> list[int]:
    fresh = [one["conversation"]["peer"]["id"].integer() for one in page if not is_old(one["last_message"])]
    return [peer_id for peer_id in fresh if peer_id < FIRST_CHAT or end.settings.get("group_chats")]


def _peer_id(conversation: Conversation) -> str:
    return conversation.client.person.remote_id


def _is_chat(conversation: Conversation) -> bool:
    return int(_peer_id(conversation)) >= FIRST_CHAT


def _id_of(entry: Reader, is_chat: bool) -> str:
    """Return the id that hooks will call this message by: in group chats only the number inside the chat is told."""
    name = "conversation_message_id" if is_chat else ("message_id" if "message_id" in entry else "id")
    return entry[name].remote_id()


def _outcome(entry: Reader | EndError) -> Outcome:
    """Read one recipient's entry of the answer to `messages.send`. Source: vk.md 2.2, the answer to `peer_ids`."""
    if isinstance(entry, EndError):
        return entry
    error = entry["error"]
    if error.is_there:
        return error_of(error["code"].integer(), error["description"].text_or(""))
    return Accepted(remote_ids=(_id_of(entry, entry["peer_id"].integer() >= FIRST_CHAT),))


def _files(item: Item) -> list[ends.OutFile]:
    return [one for one in item.files if one.attachment.kind is not Kind.LOCATION]


def _quoting(item: Item) -> dict[str, object]:
    """Say which message is answered. Source: vk.md 2.2, `reply_to` and `forward`."""
    if item.quote is None or not item.quote.remote_id.isdecimal():
        return {}
    if not _is_chat(item.conversation):
        return {"reply_to": item.quote.remote_id}
    peer_id, cmids = int(_peer_id(item.conversation)), [int(item.quote.remote_id)]
    return {"forward": json.dumps({"peer_id": peer_id, "conversation_message_ids": cmids, "is_reply": True})}
