"""POST /_sandbox/say: a manager answers, writes first, types, reacts, closes; the body is described in `control`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from tests.sandbox import samples
from tests.sandbox.amocrm import deeds, manager
from tests.sandbox.amocrm.chathooks import typing
from tests.sandbox.amocrm.cloud import Cloud
from tests.sandbox.amocrm.control import find_account, find_user
from tests.sandbox.amocrm.manager import Upload
from tests.sandbox.amocrm.state import Account, User
from tests.sandbox.amocrm.talks import Chat, Message
from tests.sandbox.frame import BadControl

Json = dict[str, Any]
SAMPLES: dict[str, tuple[str, str, Callable[[], bytes]]] = {
    "photo": ("photo.png", "image/png", lambda: samples.png(320, 200)),
    "doc": ("price.pdf", "application/pdf", samples.pdf),
    "voice": ("voice.ogg", "audio/ogg", samples.ogg),
}


async def say(cloud: Cloud, body: Json) -> Json:
    """Act as a manager."""
    account = find_account(cloud, body)
    try:
        if "contact" in body:
            return _write_first(cloud, account, body)
        return _say(cloud, account, body)
    except manager.Refused as refusal:
        raise BadControl(str(refusal)) from refusal


def _say(cloud: Cloud, account: Account, body: Json) -> Json:
    chat = find_chat(account, body)
    who = find_user(account, body)
    if body.get("typing"):
        link = manager.connection_of(account, chat)
        sent = typing(cloud, link, chat, who.amojo_id, flat=bool(body.get("flat")))
        return {"id": "", "is_sent": sent}
    if "react" in body:
        one = _message(account, body.get("message"))
        manager.react(cloud, account, one, who, str(body["react"]), flat=bool(body.get("flat")))
        return {"id": one.id}
    if act := next((name for name in ("close", "accept", "decline") if body.get(name)), ""):
        return _end(cloud, account, chat, who, act)
    files = [_upload(one) for one in body.get("attachments", [])]
    made = manager.answer(
        cloud,
        account,
        chat,
        who,
        text=str(body.get("text", "")),
        files=files,
        reply_to=str(body.get("reply_to", "")),
        extra=body.get("extra"),
        as_bot=bool(body.get("bot")),
    )
    return {"id": made[0].id, "ids": [one.id for one in made], "chat_id": chat.id}


def _end(cloud: Cloud, account: Account, chat: Chat, who: User, act: str) -> Json:
    talk = account.talks.get(chat.talk_id)
    if act == "close":
        if talk is None or not talk.is_in_work:
            raise BadControl("no open talk in this chat")
        deeds.close_talk(cloud, account, talk)
        return {"id": str(talk.id)}
    for uid, one in account.unsorted.items():
        if one["metadata"].get("origin", {}).get("chat_id") == chat.id:
            (deeds.accept if act == "accept" else deeds.decline)(cloud, account, uid, user_id=who.id)
            return {"id": uid}
    raise BadControl("no unsorted lead of this chat")


def _write_first(cloud: Cloud, account: Account, body: Json) -> Json:
    person = account.entities["contacts"].get(int(body["contact"]))
    if person is None:
        raise BadControl(f"no contact {body['contact']}")
    named = str(body.get("source", ""))
    source = next((one for one in account.sources.values() if named in (one["external_id"], str(one["id"]))), None)
    if named and source is None:
        raise BadControl(f"no source {named}")
    one = manager.write_first(
        cloud,
        account,
        find_user(account, body),
        person,
        phone=str(body.get("phone", "")),
        source=source,
        channel_id=str(body.get("channel", "")),
        text=str(body.get("text", "")),
        files=[_upload(file) for file in body.get("attachments", [])],
    )
    return {"id": one.id, "ids": [one.id], "chat_id": one.chat_id}


def find_chat(account: Account, body: Json) -> Chat:
    """Find a chat by amoCRM's id or the integration's."""
    named = str(body.get("conversation", ""))
    found = account.chats.get(named) or next(
        (chat for chat in reversed(account.chats.values()) if named and chat.conversation_id == named), None
    )
    if found is None:
        raise BadControl(f"no chat {named} in this account")
    return found


def _message(account: Account, named: object) -> Message:
    for one in account.messages.values():
        if named in (one.id, one.msgid):
            return one
    raise BadControl(f"no message {named}")


def _upload(wanted: Json) -> Upload:
    name, mime, sample = SAMPLES.get(str(wanted.get("type", "doc")), SAMPLES["doc"])
    try:
        content = base64.b64decode(wanted["content_b64"], validate=True) if "content_b64" in wanted else sample()
    except binascii.Error as trouble:
        raise BadControl("content_b64 is not base64") from trouble
    return Upload(str(wanted.get("name", name)), str(wanted.get("content_type", mime)), content)
