"""imconnector.send/update/delete.messages and send.status.*: what comes from the network (bitrix24.md 3.3, 3.4)."""

from __future__ import annotations

import re

from tests.sandbox.bitrix24 import clients, php, talk
from tests.sandbox.bitrix24.errors import RestError, missing
from tests.sandbox.bitrix24.fetch import fetch
from tests.sandbox.bitrix24.methods.connectors import active_link, own_connector
from tests.sandbox.bitrix24.methods.table import Call, method
from tests.sandbox.bitrix24.state import Chat, Connector, File, Message

_VOTE = re.compile(r"([01])(\s.*)?", re.S)
FILE_MARK = "[FILE]"
Item = dict[str, object]


@method("imconnector.send.messages", scope="imopenlines", app=True)
async def send_messages(call: Call) -> object:
    """Show messages of clients (or of a manager, with message.user_id) in the open line."""
    connector, line, items = _read(call)
    results = [await _take(call, connector, line, item) for item in items]
    return {"SUCCESS": True, "DATA": {"RESULT": results}}


@method("imconnector.update.messages", scope="imopenlines", app=True)
def update_messages(call: Call) -> object:
    """Replace texts, matched by chat.id and message.id; what is not found is reported as done."""
    connector, line, items = _read(call)
    results = []
    for item in items:
        chat, message = _known(call, connector, line, item)
        if chat and message and not message.is_deleted:
            message.text, message.is_edited = php.text(php.mapping(item["message"]).get("text")), True
            talk.record_message(call.cloud, call.portal, chat, message, "edit")
        results.append(item | {"SUCCESS": True})
    return {"SUCCESS": True, "DATA": {"RESULT": results}}


@method("imconnector.delete.messages", scope="imopenlines", app=True)
def delete_messages(call: Call) -> object:
    """Delete messages, matched by chat.id and message.id."""
    connector, line, items = _read(call)
    results = []
    for item in items:
        errors = [
            f"Argument '{block}.id' is null or empty"
            for block in ("user", "message", "chat")
            if not php.text(php.mapping(item[block]).get("id"))
        ]
        chat, message = _known(call, connector, line, item)
        if chat and message and not errors and connector.delete_external:
            message.is_deleted = True
            talk.record_message(call.cloud, call.portal, chat, message, "delete")
        results.append(item | ({"SUCCESS": False, "ERRORS": errors} if errors else {"SUCCESS": True}))
    return {"SUCCESS": True, "DATA": {"RESULT": results}}


@method("imconnector.send.status.delivery", scope="imopenlines", app=True)
def send_delivery(call: Call) -> object:
    """Mark operator messages delivered and read and store their external ids; message.id must be an array."""
    _, _, items = _read(call, blocks=("im", "message", "chat"))
    for item in items:
        where, told = php.mapping(item["im"]), php.mapping(item["message"])
        message = call.portal.messages.get(php.number(where.get("message_id")))
        mids = told.get("id")
        if not isinstance(mids, list) or not mids:
            _warn(call, "send.status.delivery: message.id is not an array, the message hangs as sending")
        elif message is None or message.chat_id != php.number(where.get("chat_id")):
            _warn(call, "send.status.delivery: no such message in this chat")
        elif call.portal.chats[message.chat_id].external_id != php.text(php.mapping(item["chat"]).get("id")):
            _warn(call, "send.status.delivery: chat.id is not the chat of this message")
        else:
            talk.mark_delivered(call.cloud, call.portal, message, [php.text(mid) for mid in mids])
    return {"SUCCESS": True, "DATA": []}


@method("imconnector.send.status.reading", scope="imopenlines", app=True)
def send_reading(call: Call) -> object:
    """Accept and do nothing, as the real method."""
    _read(call, blocks=("im", "message", "chat"))
    return {"SUCCESS": True, "DATA": []}


def _read(call: Call, *, blocks: tuple[str, ...] = ("user", "message", "chat")) -> tuple[Connector, int, list[Item]]:
    """Check the outer structure. Raises RestError with the texts of 2.1 and 3.3."""
    connector_id, line = php.text(call.need("CONNECTOR")).lower(), call.need_int("LINE")
    value = call.need("MESSAGES")
    if not isinstance(value, list | dict):
        raise RestError(400, "ERROR_ARGUMENT", "Argument 'MESSAGES' must be an array", argument="MESSAGES")
    items: list[Item] = []
    for item in php.items(value):
        if not isinstance(item, dict):
            raise RestError(400, "ERROR_ARGUMENT", "Element of 'MESSAGES' must be an array", argument="MESSAGES")
        item = {key.lower(): part for key, part in item.items()}
        for block in blocks:
            if not isinstance(item.get(block), dict) or not item[block]:
                raise missing(f"MESSAGES[{block}]")
        items.append(item)
    connector = own_connector(call, connector_id)
    active_link(call, connector_id, line)
    return connector, line, items


async def _take(call: Call, connector: Connector, line: int, item: Item) -> Item:
    """Take one message and answer as the item of DATA.RESULT."""
    user, told, place = (php.mapping(item[block]) for block in ("user", "message", "chat"))
    errors = _errors(call, user, told, place)
    files, lost = ([], []) if errors else await _files(call, told)
    if lost and call.portal.options.file_refusal == "error":
        errors += [f"Could not download the file {url}" for url in lost]
    if errors:
        call.cloud.record("item_error", call.portal, conversation=php.text(place.get("id")), text="; ".join(errors))
        return item | {"SUCCESS": False, "ERRORS": errors}
    internal = clients.find_or_make(call.cloud, call.portal, connector, user)
    chat = talk.open_chat(
        call.portal,
        connector,
        line,
        external_id=php.text(place.get("id")),
        user_id=0 if connector.chat_group else internal.id,
        name=php.text(place.get("name")) or internal.full_name,
    )
    chat.url = php.text(place.get("url")) or chat.url
    text = "\n".join(filter(None, [php.text(told.get("text")), *([FILE_MARK] * len(lost))]))
    if not _is_vote(call, chat, text, told):
        _show(call, chat, internal.id, text, told, files)
    extra = {name: "Y" for name, on in _extra(user, told) if on}
    session = {"ID": str(chat.session_id), "CHAT_ID": str(chat.id)}
    shown: Item = {
        "user": str(internal.id),
        "message": told | {"date": {}, "files": told.get("files") or []},
        "chat": place,
        "SUCCESS": True,
        "session": session,
    }
    return shown | ({"extra": extra} if extra else {})


def _errors(call: Call, user: Item, told: Item, place: Item) -> list[str]:
    errors = [
        f"Argument '{name}.id' is null or empty" for name, part in (("user", user), ("chat", place))
        if not php.text(part.get("id"))
    ]  # fmt: skip
    if not php.text(told.get("text")) and not php.items(told.get("files")):
        errors.append("Message is empty: text or files required")
    manager = told.get("user_id")
    if manager is not None and php.number(manager) and php.number(manager) not in call.portal.users:
        errors.append("Manager of the message is not found")
    return errors


def _extra(user: Item, told: Item) -> tuple[tuple[str, bool], ...]:
    return (
        ("skip_phone_validate", user.get("skip_phone_validate") == "Y"),
        ("disable_tracker", told.get("disable_crm") == "Y"),
    )


async def _files(call: Call, told: Item) -> tuple[list[File], list[str]]:
    """Download files[].url from outside; return what came and the addresses of what did not."""
    files, lost = [], []
    for entry in php.items(told.get("files")):
        url, name = php.text(php.mapping(entry).get("url")), php.text(php.mapping(entry).get("name"))
        fetched = await fetch(url, name)
        if fetched is None:
            lost.append(url)
            _warn(call, f"the file {name or 'without name'} could not be fetched")
        else:
            files.append(talk.keep_file(call.portal, *fetched))
    return files, lost


def _is_vote(call: Call, chat: Chat, text: str, told: Item) -> bool:
    """Take 1 or 0 as the rating of a finished dialog; it is not shown as a message (bitrix24.md 3.3)."""
    session = call.portal.sessions.get(chat.session_id)
    vote = _VOTE.fullmatch(text)
    if session is None or not session.waits_vote or vote is None or told.get("user_id") is not None:
        return False
    session.waits_vote, session.vote = False, vote[1]
    call.cloud.record(
        "vote", call.portal, conversation=chat.external_id, chat_id=str(chat.id), text=vote[1], who="client",
        external_id=php.text(told.get("id")),
    )  # fmt: skip
    return True


def _show(call: Call, chat: Chat, client_id: int, text: str, told: Item, files: list[File]) -> None:
    cloud, portal = call.cloud, call.portal
    is_new = not chat.session_id
    had_session = bool(chat.session_id) and not portal.sessions[chat.session_id].is_closed
    talk.open_session(cloud, portal, chat)
    is_manager = told.get("user_id") is not None
    message = talk.add_message(
        cloud,
        portal,
        chat,
        who="operator" if is_manager else "client",
        author_id=php.number(told.get("user_id")) if is_manager else client_id,
        text=text,
        files=files,
    )
    message.remote_date = php.text(told.get("date"))
    if mid := php.text(told.get("id")):
        message.mids = [mid]
        if (chat.id, mid) in portal.seen_mids:
            _warn(call, f"the external message {mid} is shown a second time")
        portal.seen_mids[chat.id, mid] = message.id
    message.to_client = message.is_delivered = is_manager
    talk.record_message(cloud, portal, chat, message)
    if is_manager:
        talk.injected_message(cloud, portal, chat, message)
        return
    clients.track(cloud, portal, chat, is_disabled=told.get("disable_crm") == "Y")
    line = portal.lines[chat.line]
    each = line["SEND_WELCOME_EACH_SESSION"] == "Y"
    if line["WELCOME_MESSAGE"] == "Y" and (is_new or (each and not had_session)):
        talk.auto_message(cloud, portal, chat, str(line["WELCOME_MESSAGE_TEXT"]))


def _known(call: Call, connector: Connector, line: int, item: Item) -> tuple[Chat | None, Message | None]:
    external_id = php.text(php.mapping(item["chat"]).get("id"))
    mid = php.text(php.mapping(item["message"]).get("id"))
    for chat in call.portal.chats.values():
        is_here = (chat.connector, chat.line, chat.external_id) == (connector.id, line, external_id)
        if is_here and (number := call.portal.seen_mids.get((chat.id, mid))):
            return chat, call.portal.messages[number]
    return None, None


def _warn(call: Call, text: str) -> None:
    call.cloud.record("warning", call.portal, text=text)
