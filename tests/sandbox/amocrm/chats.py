"""The chats API: connect, chats, messages, edits (amocrm.md 2.4 to 2.6).

Every function gets a `Call` whose signature was checked. Raises ChatsRefusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.sandbox.amocrm import chathooks, deeds, reading
from tests.sandbox.amocrm.cloud import Cloud
from tests.sandbox.amocrm.delivery import set_status
from tests.sandbox.amocrm.problems import ChatsRefusal, bad_data
from tests.sandbox.amocrm.reading import Reader
from tests.sandbox.amocrm.state import Account, Channel, Connection, Json, new_uuid
from tests.sandbox.amocrm.talks import Chat, Message, Participant


@dataclass(frozen=True, slots=True)
class Call:
    """One signed request."""

    cloud: Cloud
    channel: Channel
    body: Reader
    query: Mapping[str, str]
    connection: Connection | None = None

    @property
    def link(self) -> Connection:
        """The connected channel of a scope."""
        if self.connection is None:
            raise not_registered()
        return self.connection

    @property
    def account(self) -> Account:
        """Whose chats these are."""
        return self.link.account


def not_registered() -> ChatsRefusal:
    """404 of an unknown channel or scope."""
    return ChatsRefusal(404, "ORIGIN_NOT_REGISTERED", "NOT_FOUND")


def no_message() -> ChatsRefusal:
    """404 of an unknown message; the type is a guess."""
    return ChatsRefusal(404, "MESSAGE_NOT_FOUND", "NOT_FOUND")


# -- the channel ------------------------------------------------------------------------------------------------------


def connect(call: Call) -> Json:
    """Connect the channel to an account (2.4); repeating it changes the title."""
    amojo_id, version = call.body.need_text("account_id"), call.body.need_text("hook_api_version")
    if version != "v2":
        raise bad_data("hook_api_version must be v2")
    title = call.body.text("title") or call.channel.title
    window = call.body.flag("is_time_window_disabled")
    account = call.cloud.by_amojo_id(amojo_id)
    if account is None:
        raise bad_data("account_id is not known")
    if call.channel.only_accounts and amojo_id not in call.channel.only_accounts:
        raise ChatsRefusal(403, "ORIGIN_ACCOUNT_NOT_ALLOWED", "the channel is private")
    made = Connection(call.channel, account, title, window)
    account.connections[call.channel.id] = made
    bot = Participant(call.channel.bot_id, call.channel.title, is_client=False)
    account.participants.setdefault(bot.id, bot)
    call.cloud.record("connected", account, id=made.scope_id, text=title)
    return {
        "account_id": amojo_id,
        "title": title,
        "hook_api_version": version,
        "is_time_window_disabled": window,
        "scope_id": made.scope_id,
    }


def disconnect(call: Call) -> None:
    """Disconnect: hooks stop, "write first" vanishes (2.4)."""
    account = call.cloud.by_amojo_id(call.body.need_text("account_id"))
    if account is None or call.channel.id not in account.connections:
        raise not_registered()
    del account.connections[call.channel.id]
    call.cloud.record("disconnected", account, id=call.channel.id)


# -- chats and people -------------------------------------------------------------------------------------------------


def create_chat(call: Call) -> Json:
    """Make a chat without a message, or return the known one; neither contact nor lead (2.5)."""
    conversation = call.body.need_text("conversation_id")
    source = reading.source(call.body.maybe("source"))
    client = person(call.link, reading.participant(call.body.inside("user")))
    chat = find_chat(call.link, conversation) or add_chat(call.cloud, call.link, conversation, client)
    deeds.mark_source(call.account, call.link, chat, source)
    call.cloud.record("chat", call.account, id=chat.id, conversation=conversation, text=client.name)
    shown: Json = {"id": client.id, "client_id": client.client_id, "name": client.name, "avatar": client.avatar}
    return {
        "id": chat.id,
        "user": shown | {key: value for key in ("phone", "email") if (value := getattr(client, key))},
    }


def find_chat(link: Connection, conversation: str) -> Chat | None:
    """Find a chat by the integration's id."""
    return link.account.conversations.get((link.channel.id, conversation))


def add_chat(cloud: Cloud, link: Connection, conversation: str, client: Participant) -> Chat:
    """Make a chat."""
    chat = Chat(new_uuid(), link.channel.id, client.id, int(cloud.peer.now()), conversation)
    link.account.chats[chat.id] = chat
    if conversation:
        link.account.conversations[link.channel.id, conversation] = chat
    return chat


def person(link: Connection, told: Json, *, is_client: bool = True) -> Participant:
    """Find somebody by ref_id or by the integration's id, or make him; what was told replaces what was known."""
    people = link.account.participants
    found = people.get(told["ref_id"]) if told["ref_id"] else None
    if told["ref_id"] and found is None:
        raise bad_data("ref_id is not known")
    key = (link.channel.id, told["client_id"])
    found = found or link.account.clients.get(key)
    if found is None:
        found = Participant(new_uuid(), told["name"], is_client=is_client)
        people[found.id] = found
    if found.is_client:
        link.account.clients[key] = found
        found.client_id = told["client_id"]
        for name in ("name", "phone", "email", "avatar", "profile_link"):
            if told[name]:
                setattr(found, name, told[name])
    return found


# -- messages ---------------------------------------------------------------------------------------------------------


def post(call: Call) -> Json | None:
    """Take new_message or edit_message (2.6)."""
    event, payload = call.body.need_text("event_type"), call.body.inside("payload")
    if event == "new_message":
        return _new(call, payload)
    if event == "edit_message":
        return _edit(call, payload)
    raise bad_data(f"event_type {event} is not known")


def _new(call: Call, payload: Reader) -> Json:
    at, msec, msgid = payload.number("timestamp"), payload.number("msec_timestamp"), payload.need_text("msgid")
    conversation, silent = payload.need_text("conversation_id"), payload.flag("silent")
    ref_id, source = payload.text("conversation_ref_id"), reading.source(payload.maybe("source"))
    sender_told = reading.participant(payload.inside("sender"))
    receiver_told = reading.participant(part) if (part := payload.maybe("receiver")) else None
    content = reading.content(payload.inside("message"))
    reply_to, forwards = _reply(call, payload), _forwards(call, payload)
    if known := by_msgid(call.link, msgid):
        return _repeated(call, known, conversation)
    sender = person(call.link, sender_told, is_client=receiver_told is None)
    receiver = person(call.link, receiver_told) if receiver_told else None
    client = receiver or sender
    if not client.is_client:
        raise bad_data("a message of a manager or bot needs a receiver")
    chat, is_new = _chat(call, conversation, ref_id, client)
    one = Message(
        new_uuid(),
        chat.id,
        sender.id,
        receiver.id if receiver else "",
        receiver is None,
        at,
        msec,
        content,
        msgid,
        silent,
    )
    one.reply_to, one.forwards = reply_to, forwards
    keep(call.account, chat, one)
    if receiver is None:
        deeds.received(call.cloud, call.link, chat, one, sender, source=source, new=is_new)
    else:
        deeds.imported(call.cloud, call.link, chat, one, source=source)
    _note(call, "message", chat, one)
    call.cloud.downloads.begin(call.account, one, client)
    return answer(call, chat, one)


def _repeated(call: Call, known: Message, conversation: str) -> Json:
    """A repeated msgid is not stored again; what is answered is unconfirmed, hence the switch."""
    call.cloud.record("repeated", call.account, id=known.id, msgid=known.msgid, conversation=conversation)
    if call.account.options.repeated_msgid == "refuse":
        raise bad_data("msgid is not unique")
    return answer(call, call.account.chats[known.chat_id], known)


def answer(call: Call, chat: Chat, one: Message) -> Json:
    """Answer a new message: msgid is amoCRM's id here and ref_id the integration's (10.9)."""
    people = call.account.participants
    receiver = people[one.receiver_id].client_id or one.receiver_id if one.receiver_id else None
    return {
        "new_message": {
            "conversation_id": chat.conversation_id,
            "sender_id": people[one.sender_id].client_id or one.sender_id,
            "receiver_id": receiver,
            "msgid": one.id,
            "ref_id": one.msgid,
        }
    }


def _chat(call: Call, conversation: str, ref_id: str, client: Participant) -> tuple[Chat, bool]:
    """Find the chat, bind it (conversation_ref_id), or make it. True = it was unknown under this id until now."""
    if known := find_chat(call.link, conversation):
        return known, False
    if ref_id:
        chat = call.account.chats.get(ref_id)
        if chat is None or chat.channel_id != call.channel.id:
            raise bad_data("conversation_ref_id is not known")
        chat.conversation_id = conversation
        call.account.conversations[call.channel.id, conversation] = chat
        call.cloud.record("bound", call.account, id=chat.id, conversation=conversation)
        return chat, True
    return add_chat(call.cloud, call.link, conversation, client), True


def keep(account: Account, chat: Chat, one: Message) -> None:
    """Put a message where it belongs by its time."""
    account.messages[one.id] = one
    if one.msgid:
        account.msgids[chat.channel_id, one.msgid] = one
    chat.messages.append(one)
    chat.messages.sort(key=lambda message: message.msec)


def by_msgid(link: Connection, msgid: str) -> Message | None:
    """Find a message by the integration's id."""
    return link.account.msgids.get((link.channel.id, msgid))


def _reply(call: Call, payload: Reader) -> Json:
    """Read the quote: only where support switched quotes on, only from the same chat (2.6)."""
    raw = payload.maybe("reply_to")
    if raw is None:
        return {}
    told = reading.embedded(raw.inside("message"))
    if not call.channel.quotes:
        call.cloud.record("warning", call.account, text="quotes are not switched on for this channel")
        return {}
    return _resolved(call, told)


def _forwards(call: Call, payload: Reader) -> Json:
    raw = payload.maybe("forwards")
    if raw is None:
        return {}
    messages = raw.raw.get("messages")
    if not isinstance(messages, list) or len(messages) != 1:
        raise bad_data("forwards.messages must hold one message")
    told = reading.embedded(Reader(messages[0], "payload.forwards.messages.0"))
    if not call.channel.forwards:
        call.cloud.record("warning", call.account, text="forwards are not switched on for this channel")
        return {}
    return {"messages": [_resolved(call, told)]}


def _resolved(call: Call, told: Json) -> Json:
    """Fill an embedded message from its id; an unknown id stays as it is."""
    known = call.account.messages.get(told.get("id", "")) or (
        by_msgid(call.link, told["msgid"]) if told.get("msgid") else None
    )
    return chathooks.embedded(call.link, known) if known else told


def _edit(call: Call, payload: Reader) -> Json:
    """Change a message: by amoCRM's id or ours; with id, msgid (re)assigns ours (2.6)."""
    for name in ("timestamp", "msec_timestamp"):
        payload.number(name)
    payload.need_text("conversation_id")
    number, msgid = payload.text("id"), payload.text("msgid")
    if not (number or msgid):
        raise bad_data("payload.msgid is required")
    one = call.account.messages.get(number) if number else by_msgid(call.link, msgid)
    if one is None or call.account.chats[one.chat_id].channel_id != call.channel.id:
        raise no_message()
    raw = payload.inside("message")
    if status := raw.maybe("delivery_status"):
        set_status(one, status.number("status_code"), status)
    one.content, one.is_edited = reading.content(raw), True
    if number and msgid:
        one.msgid = msgid
        call.account.msgids[call.channel.id, msgid] = one
    _note(call, "edit", call.account.chats[one.chat_id], one)
    call.cloud.downloads.begin(call.account, one)
    return {}


def _note(call: Call, kind: str, chat: Chat, one: Message) -> None:
    content = one.content
    call.cloud.record(
        kind,
        call.account,
        id=one.id,
        msgid=one.msgid,
        conversation=chat.conversation_id or chat.id,
        text=content.get("text", ""),
        attachments=[{"type": content["type"], "url": content["media"]}] if content.get("media") else [],
        direction="in" if one.is_incoming else "out",
        lead=one.lead_id,
        silent=one.silent,
        content=content,
        reply_to=one.reply_to,
    )
