"""What a manager does in amoCRM: answers, writes first, types, reacts, accepts. Hooks go out from here.

Used by the control routes and the manager's page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.sandbox import samples
from tests.sandbox.amocrm import chathooks, chats, deeds
from tests.sandbox.amocrm.cloud import Cloud
from tests.sandbox.amocrm.state import Account, Connection, Entity, Json, User, new_uuid
from tests.sandbox.amocrm.talks import Chat, Message, Participant


class Refused(Exception):
    """What amoCRM does not let a manager do; the text is shown to him."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file picked by the manager."""

    name: str
    mime: str
    body: bytes

    @property
    def kind(self) -> str:
        """Which message type it becomes."""
        head = self.mime.partition("/")[0]
        return {"image": "picture", "video": "video", "audio": "audio"}.get(head, "file")


def connection_of(account: Account, chat: Chat) -> Connection:
    """Find the connected channel of a chat. Raises Refused when it is gone."""
    found = account.connections.get(chat.channel_id)
    if found is None:
        raise Refused("Канал отключён: сообщение не отправить.")
    return found


def answer(
    cloud: Cloud,
    account: Account,
    chat: Chat,
    user: User,
    *,
    text: str = "",
    files: Sequence[Upload] = (),
    reply_to: str = "",
    extra: Json | None = None,
    as_bot: bool = False,
) -> list[Message]:
    """Write into a chat. Several files become several messages with one media_group_id, the first holds the text (4.1).

    Shape: extra = markup, template, post for message.message. A Salesbot writes in the name of the channel's bot (5.2).
    """
    link = connection_of(account, chat)
    if not (text or files or extra):
        raise Refused("Введите текст или приложите файл.")
    quoted = account.messages.get(reply_to)
    if reply_to and (quoted is None or quoted.chat_id != chat.id):
        raise Refused("Цитировать можно только сообщение этого чата.")
    group = new_uuid() if len(files) > 1 else ""
    contents = [_file(cloud, file) for file in files] or [{"type": "text"}]
    contents[0] = {**contents[0], "text": text, **(extra or {})}
    made = []
    for number, content in enumerate(contents):
        author = link.channel.bot_id if as_bot else user.amojo_id
        one = _message(cloud, chat, author, {"text": "", **content}, group)
        one.msec += number
        if quoted is not None and number == 0:
            one.reply_to = chathooks.embedded(link, quoted)
        _send(cloud, link, chat, one, user)
        made.append(one)
    return made


def _file(cloud: Cloud, file: Upload) -> Json:
    content: Json = {
        "type": file.kind,
        "media": cloud.downloads.keep(file.name, file.mime, file.body),
        "file_name": file.name,
        "file_size": len(file.body),
    }
    if file.kind == "picture" and samples.image_size(file.body):
        content["thumbnail"] = content["media"]
    return content


def _message(cloud: Cloud, chat: Chat, sender_id: str, content: Json, group: str = "") -> Message:
    now = cloud.peer.now()
    return Message(
        new_uuid(), chat.id, sender_id, chat.client_id, False, int(now), int(now * 1000), content, media_group_id=group
    )


def _send(
    cloud: Cloud, link: Connection, chat: Chat, one: Message, user: User, *, source: str = "", phone: str = ""
) -> None:
    account = link.account
    chats.keep(account, chat, one)
    deeds.answered(cloud, link, chat, one, user.id)
    marked = deeds.source_of(account, link, chat)
    named = source or (marked["external_id"] if marked else "")
    cloud.record(
        "answer",
        account,
        id=one.id,
        conversation=chat.conversation_id or chat.id,
        text=one.content["text"],
        attachments=[{"type": one.content["type"], "url": one.content["media"]}] if one.content.get("media") else [],
        direction="out",
        lead=one.lead_id,
    )
    sender = account.participants[one.sender_id]
    chathooks.message(cloud, link, chat, one, sender, source=named, phone=phone)


def write_first(
    cloud: Cloud,
    account: Account,
    user: User,
    contact: Entity,
    *,
    phone: str = "",
    source: Json | None = None,
    channel_id: str = "",
    text: str = "",
    files: Sequence[Upload] = (),
) -> Message:
    """Press a phone in the card and choose our channel (2.9): the hook has no conversation.client_id."""
    link = _writable(account, source, channel_id)
    known = deeds.phones(account, contact)
    digits = "".join(letter for letter in phone if letter.isdigit()) or (known[0] if known else "")
    if digits not in known:
        raise Refused("У контакта нет такого телефона.")
    chat = _chat_by_phone(cloud, link, contact, digits, source)
    content = _file(cloud, files[0]) if files else {"type": "text"}
    one = _message(cloud, chat, user.amojo_id, {**content, "text": text})
    _send(cloud, link, chat, one, user, source=str(source["external_id"]) if source else "", phone=digits)
    return one


def _writable(account: Account, source: Json | None, channel_id: str) -> Connection:
    links = list(account.connections.values())
    if channel_id:
        links = [link for link in links if link.channel.id == channel_id]
    elif source:
        named = [link for link in links if link.channel.code == source.get("origin_code")]
        links = named or [link for link in links if link.channel.client_id == source["client_id"]]
    if not links or not links[0].channel.write_first:
        raise Refused("Нет канала, который умеет писать первым.")
    return links[0]


def _chat_by_phone(cloud: Cloud, link: Connection, contact: Entity, digits: str, source: Json | None) -> Chat:
    account, source_id = link.account, source["id"] if source else 0
    for chat in account.chats.values():
        client = account.participants[chat.client_id]
        same = (chat.channel_id, chat.contact_id) == (link.channel.id, contact.id)
        if same and source_id in (0, chat.source_id) and client.phone in ("", digits):
            return chat
    client = Participant(new_uuid(), contact.name, phone=digits, contact_id=contact.id)
    account.participants[client.id] = client
    chat = chats.add_chat(cloud, link, "", client)
    chat.source_id = source_id
    deeds.link_chat(account, chat, contact)
    return chat


def react(cloud: Cloud, account: Account, one: Message, user: User, emoji: str, *, flat: bool = False) -> None:
    """Put a reaction, or take it back with an empty one. Raises Refused when support did not switch it on."""
    chat = account.chats[one.chat_id]
    if not chathooks.reaction(cloud, connection_of(account, chat), chat, one, user.amojo_id, emoji, flat=flat):
        raise Refused("Реакции для этого канала не включены.")
    one.reactions.pop(user.amojo_id, None)
    if emoji:
        one.reactions[user.amojo_id] = emoji
    account.version += 1
