"""What happens in the chats of open lines: messages, sessions, marks, and the events they raise.

Nothing here checks a caller's parameters; that is done by the REST methods, the operator's page and the control routes.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.sandbox.bitrix24 import events, lines
from tests.sandbox.bitrix24.cloud import Cloud
from tests.sandbox.bitrix24.state import Chat, Connector, File, Message, Portal, Session

OPEN_LINE_EVENTS = {
    "message": "OnOpenLineMessageAdd",
    "system": "OnOpenLineMessageAdd",
    "edit": "OnOpenLineMessageUpdate",
    "delete": "OnOpenLineMessageDelete",
}


class Refused(Exception):
    """The portal's own refusal to the operator, shown in the chat."""


def shown_file(portal: Portal, file: File) -> dict[str, object]:
    """Describe a file as events carry it; the link needs no authorization (bitrix24.md 4)."""
    size = len(file.content)
    return {
        "name": file.name,
        "type": file.kind,
        "mime": file.mime,
        "link": f"{portal.base}/~{file.key}",
        "size": size,
        "sizef": f"{size / 1024:.2f} KB",
    }


def keep_file(portal: Portal, name: str, mime: str, content: bytes) -> File:
    """Keep a file on the portal."""
    file = File(portal.new_id("file", 3301), name, mime, content)
    portal.files[file.key] = file
    return file


# -- chats and sessions ----------------------------------------------------------------------------------------------


def open_chat(portal: Portal, connector: Connector, line: int, *, external_id: str, user_id: int, name: str) -> Chat:
    """Find the chat of a USER_CODE or make it; its members are the whole queue, or the next of it (QUEUE_TYPE)."""
    if known := portal.chat_by_code.get(f"{connector.id}|{line}|{external_id}|{user_id}"):
        return known
    title = f"{name or 'Гость'} - {portal.lines[line]['LINE_NAME']}"
    chat = Chat(portal.new_id("chat", 1763), connector.id, line, external_id, user_id, title)
    queue = lines.queue(portal, line)
    is_for_all = portal.lines[line]["QUEUE_TYPE"] == "all" or not queue
    chat.members = set(queue if is_for_all else [queue[chat.id % len(queue)]])
    portal.chats[chat.id] = portal.chat_by_code[chat.user_code] = chat
    return chat


def open_session(cloud: Cloud, portal: Portal, chat: Chat) -> Session:
    """Return the running session of the chat, or start the next one and tell the connector's owner."""
    running = portal.sessions.get(chat.session_id)
    if running and not running.is_closed:
        return running
    session = Session(portal.new_id("session", 323), chat.id, chat.session_id, cloud.peer.now())
    portal.sessions[session.id] = session
    chat.session_id = session.id
    _dialog_event(cloud, portal, chat, session)
    _record(cloud, portal, chat, "dialog_start", id=str(session.id))
    system_message(cloud, portal, chat, f"Начат новый диалог № {session.id}")
    return session


def finish(cloud: Cloud, portal: Portal, chat: Chat, *, operator_id: int) -> None:
    """Finish the dialog: automatic farewell and vote, then DialogFinish.

    Raises: Refused when no dialog is running.
    """
    session = portal.sessions.get(chat.session_id)
    if session is None or session.is_closed:
        raise Refused("Диалог уже завершён.")
    line = portal.lines.get(chat.line, {})
    if line.get("VOTE_MESSAGE") == "Y":
        session.waits_vote = True
        auto_message(cloud, portal, chat, str(line["VOTE_MESSAGE_2_TEXT"]))
    if line.get("CLOSE_RULE") == "text":
        auto_message(cloud, portal, chat, str(line["CLOSE_TEXT"]))
    session.is_closed = True
    system_message(cloud, portal, chat, "Диалог завершён.")
    _record(cloud, portal, chat, "dialog_finish", id=str(session.id), who="operator", user_id=operator_id)
    _dialog_event(cloud, portal, chat, session, user_id=operator_id)


def _dialog_event(cloud: Cloud, portal: Portal, chat: Chat, session: Session, *, user_id: int = 0) -> None:
    name = "Finish" if session.is_closed else "Start"
    told = {
        "id": session.id,
        "closed": "Y" if session.is_closed else "N",
        "parent_id": session.parent_id,
        "close_term": portal.lines[chat.line]["FULL_CLOSE_TIME"] if chat.line in portal.lines else 0,
    }
    one = {
        "connector": _connector_of(chat),
        "session": told,
        "chat": {"id": chat.external_id},
        "user": {"id": chat.user_id},
    }
    data = {"CONNECTOR": chat.connector, "LINE": chat.line, "DATA": [one]}
    _tell_owner(cloud, portal, chat, f"OnImConnectorDialog{name}", data, user_id)
    _tell_owner(cloud, portal, chat, f"OnSession{name}", {"DATA": [one]}, user_id)


# -- messages --------------------------------------------------------------------------------------------------------


def add_message(
    cloud: Cloud, portal: Portal, chat: Chat, *, who: str, author_id: int, text: str, files: Sequence[File] = ()
) -> Message:
    """Put a message into the chat and the ledger. Raises no event."""
    message = Message(
        portal.new_id("message", 86497), chat.id, chat.session_id, author_id, who, text, cloud.peer.now(), list(files)
    )
    chat.messages.append(message)
    portal.messages[message.id] = message
    return message


def record_message(cloud: Cloud, portal: Portal, chat: Chat, message: Message, kind: str = "message") -> None:
    """Write what a chat now shows into the ledger."""
    _record(
        cloud,
        portal,
        chat,
        kind,
        id=str(message.id),
        external_id=message.mids[0] if message.mids else "",
        external_ids=list(message.mids),
        text=message.text,
        attachments=[{"name": f.name, "type": f.kind, "mime": f.mime, "size": len(f.content)} for f in message.files],
        who=message.who,
        user_id=message.author_id,
        direction="out" if message.to_client else "in" if message.who == "client" else "",
        session_id=str(message.session_id),
        remote_date=message.remote_date,
    )
    if kind in OPEN_LINE_EVENTS:
        _open_line_event(cloud, portal, chat, message, OPEN_LINE_EVENTS[kind])


def _open_line_event(cloud: Cloud, portal: Portal, chat: Chat, message: Message, name: str) -> None:
    """Tell the connector's owner what the chat shows, whoever wrote it (bitrix24.md 4, OnOpenLine*)."""
    told = {
        "id": message.id,
        "date": int(message.at),
        "text": message.text,
        "files": [shown_file(portal, file) for file in message.files],
        "system": "Y" if message.who == "system" else "N",
        "user_id": message.author_id,
    }
    one = {"connector": _connector_of(chat), "chat": {"id": chat.external_id}, "message": told, "extra": {}}
    user_id = message.author_id if message.who == "operator" else 0
    _tell_owner(cloud, portal, chat, name, {"DATA": [one]}, user_id)


def _connector_of(chat: Chat) -> dict[str, object]:
    return {
        "connector_id": chat.connector,
        "line_id": chat.line,
        "chat_id": chat.external_id,
        "user_id": chat.user_id,
    }


def system_message(cloud: Cloud, portal: Portal, chat: Chat, text: str) -> None:
    """Show a service line that only the operators see."""
    message = add_message(cloud, portal, chat, who="system", author_id=0, text=text)
    record_message(cloud, portal, chat, message, "system")


def auto_message(cloud: Cloud, portal: Portal, chat: Chat, text: str) -> None:
    """Show an automatic text; it goes to the client only when the connector wants system messages."""
    message = add_message(cloud, portal, chat, who="system", author_id=0, text=text)
    connector = portal.connectors[chat.connector]
    message.to_client = connector.need_system_messages
    record_message(cloud, portal, chat, message)
    if connector.need_system_messages:
        _message_add(cloud, portal, chat, message)


def operator_message(
    cloud: Cloud, portal: Portal, chat: Chat, *, operator_id: int, text: str, files: Sequence[File] = ()
) -> Message:
    """Let an operator write to the client.

    Raises: Refused when the connector is not connected to an active line; the refusal is shown in the chat.
    """
    require_connected(cloud, portal, chat)
    open_session(cloud, portal, chat)
    chat.operator_id = operator_id
    chat.members.add(operator_id)
    message = add_message(cloud, portal, chat, who="operator", author_id=operator_id, text=text, files=files)
    message.to_client = True
    record_message(cloud, portal, chat, message)
    _message_add(cloud, portal, chat, message, user_id=operator_id)
    return message


def injected_message(cloud: Cloud, portal: Portal, chat: Chat, message: Message) -> None:
    """Raise the echo of a message that an application wrote as a manager, when the switch is on (section 11, 13)."""
    if portal.options.echo:
        _message_add(cloud, portal, chat, message, user_id=message.author_id)


def require_connected(cloud: Cloud, portal: Portal, chat: Chat) -> Connector:
    """Return the chat's connector when it works. Raises Refused, after showing the error, otherwise."""
    connector, link = portal.connectors.get(chat.connector), portal.links.get((chat.connector, chat.line))
    if connector and link and link.status and portal.is_line_active(chat.line):
        return connector
    text = "Сообщение не отправлено: коннектор не подключён к открытой линии."
    message = add_message(cloud, portal, chat, who="system", author_id=0, text=text)
    record_message(cloud, portal, chat, message, "error")
    raise Refused(text)


def edit_message(cloud: Cloud, portal: Portal, message: Message, text: str) -> None:
    """Let an operator edit; the connector hears of it only when it had reported an external id (section 11, 14)."""
    chat = portal.chats[message.chat_id]
    message.text, message.is_edited = text, True
    record_message(cloud, portal, chat, message, "edit")
    connector = portal.connectors.get(chat.connector)
    if message.to_client and message.mids and connector and connector.edit_internal:
        one = _im(message) | {"message": {"id": message.mids, "text": _signed(portal, chat, message)}}
        data = {"CONNECTOR": chat.connector, "LINE": chat.line, "MESSAGES": [one | {"chat": {"id": chat.external_id}}]}
        _tell_owner(cloud, portal, chat, "OnImConnectorMessageUpdate", data, message.author_id)


def delete_message(cloud: Cloud, portal: Portal, message: Message) -> None:
    """Let an operator delete; one element per external id, `message.id` a scalar (bitrix24.md 4)."""
    chat = portal.chats[message.chat_id]
    message.is_deleted = True
    record_message(cloud, portal, chat, message, "delete")
    connector = portal.connectors.get(chat.connector)
    if message.to_client and message.mids and connector and connector.delete_internal:
        told = [_im(message) | {"message": {"id": mid}, "chat": {"id": chat.external_id}} for mid in message.mids]
        data = {"CONNECTOR": chat.connector, "LINE": chat.line, "MESSAGES": told}
        _tell_owner(cloud, portal, chat, "OnImConnectorMessageDelete", data, message.author_id)


def mark_delivered(cloud: Cloud, portal: Portal, message: Message, mids: list[str]) -> None:
    """Store the external ids and mark delivered and read (bitrix24.md 3.4)."""
    for mid in mids:
        if mid not in message.mids:
            message.mids.append(mid)
        portal.seen_mids[message.chat_id, mid] = message.id
    message.is_delivered = message.is_read = True
    record_message(cloud, portal, portal.chats[message.chat_id], message, "delivered")


def _message_add(cloud: Cloud, portal: Portal, chat: Chat, message: Message, *, user_id: int = 0) -> None:
    told: dict[str, object] = {
        "user_id": message.author_id,
        "text": _signed(portal, chat, message),
        "files": [shown_file(portal, file) for file in message.files],
    }
    one = _im(message) | {"message": told, "chat": {"id": chat.external_id}}
    data = {"CONNECTOR": chat.connector, "LINE": chat.line, "MESSAGES": [one]}
    _tell_owner(cloud, portal, chat, "OnImConnectorMessageAdd", data, user_id)


def _signed(portal: Portal, chat: Chat, message: Message) -> str:
    connector = portal.connectors[chat.connector]
    author = portal.users.get(message.author_id)
    if not (connector.need_signature and author):
        return message.text
    return f"[b]{author.full_name}:[/b] [br]{message.text}" if message.text else ""


def _im(message: Message) -> dict[str, object]:
    return {"im": {"chat_id": message.chat_id, "message_id": message.id}}


def _tell_owner(cloud: Cloud, portal: Portal, chat: Chat, event: str, data: object, user_id: int) -> None:
    connector = portal.connectors.get(chat.connector)
    if connector:
        lane = str(chat.id)
        events.emit_to_owner(cloud, portal, connector.client_id, event, data, user_id=user_id, lane=lane)


def _record(cloud: Cloud, portal: Portal, chat: Chat, kind: str, **values: object) -> None:
    cloud.record(kind, portal, conversation=chat.external_id, chat_id=str(chat.id), **values)
