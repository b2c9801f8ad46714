"""imopenlines dialogs: finding a chat, reading its history, finishing it, its CRM side (bitrix24.md 5.3 to 5.5)."""

from __future__ import annotations

from tests.sandbox.bitrix24 import php, talk
from tests.sandbox.bitrix24.errors import RestError, access_denied, missing
from tests.sandbox.bitrix24.methods import views
from tests.sandbox.bitrix24.methods.table import Call, method
from tests.sandbox.bitrix24.moments import moment
from tests.sandbox.bitrix24.state import Chat, Session

ENTITIES = ("LEAD", "DEAL", "CONTACT", "COMPANY")
_DENIED = "Вы не можете открыть этот разговор, т.к. у вас недостаточно прав."


@method("imopenlines.dialog.get", scope="imopenlines")
def dialog_get(call: Call) -> object:
    """Describe a chat found by CHAT_ID, DIALOG_ID, SESSION_ID or USER_CODE."""
    chat = _find(call)
    if chat is None:
        raise RestError(400, "ACCESS_ERROR", "You do not have access to the specified dialog")
    return views.chat(call.portal, chat)


@method("imopenlines.session.history.get", scope="imopenlines")
def history_get(call: Call) -> object:
    """Give the messages of a session; by CHAT_ID only to the members of the chat."""
    session = call.portal.sessions.get(php.number(call.get("SESSION_ID")))
    if session is None:
        chat = call.portal.chats.get(php.number(call.get("CHAT_ID")))
        if chat is None:
            raise RestError(400, "CHAT_ID", "Chat id is incorrect")
        if call.user.id not in chat.members:
            raise access_denied(_DENIED)
        session = call.portal.sessions[chat.session_id]
    return _history(call, call.portal.chats[session.chat_id], session)


@method("imopenlines.session.open", scope="imopenlines")
def session_open(call: Call) -> object:
    """Find the chat of a USER_CODE."""
    wanted = php.text(call.need("USER_CODE")).removeprefix("imol|")
    for chat in call.portal.chats.values():
        if chat.user_code == wanted:
            return {"chatId": str(chat.id)}
    raise access_denied()


@method("imopenlines.session.start", scope="imopenlines")
def session_start(call: Call) -> object:
    """Start the next dialog in a chat."""
    talk.open_session(call.cloud, call.portal, _need_chat(call))
    return True


@method("imopenlines.session.join", scope="imopenlines")
def session_join(call: Call) -> object:
    """Make the calling user a member of the chat."""
    _need_chat(call).members.add(call.user.id)
    return True


@method("imopenlines.operator.answer", scope="imopenlines")
def operator_answer(call: Call) -> object:
    """Take the dialog."""
    chat = _need_chat(call)
    chat.members.add(call.user.id)
    chat.operator_id = call.user.id
    return True


@method("imopenlines.operator.finish", scope="imopenlines")
def operator_finish(call: Call) -> object:
    """Finish the dialog as its operator."""
    return _finish(call)


@method("imopenlines.operator.another.finish", scope="imopenlines")
def another_finish(call: Call) -> object:
    """Finish the dialog of another operator."""
    return _finish(call)


@method("imopenlines.crm.chat.get", scope="imopenlines")
def crm_chat_get(call: Call) -> object:
    """List the chats of a CRM entity; only the running ones unless ACTIVE_ONLY is N."""
    chats = _crm_chats(call)
    if call.get("ACTIVE_ONLY") != "N":
        chats = [chat for chat in chats if not call.portal.sessions[chat.session_id].is_closed]
    return [
        {
            "CHAT_ID": str(chat.id),
            "CONNECTOR_ID": chat.connector,
            "CONNECTOR_TITLE": call.portal.connectors[chat.connector].name
            if chat.connector in call.portal.connectors
            else chat.connector,
        }
        for chat in chats
    ]


@method("imopenlines.crm.chat.getLastId", scope="imopenlines")
def crm_chat_last(call: Call) -> object:
    """Give the last chat of a CRM entity; none is an error."""
    chats = _crm_chats(call)
    if not chats:
        raise RestError(400, "CRM_CHAT_EMPTY_CRM_DATA", "Could not find the chat of the CRM entity")
    return chats[-1].id


@method("imopenlines.crm.message.add", scope="imopenlines")
def crm_message_add(call: Call) -> object:
    """Write as a member of the chat; the text goes to the client through the connector's event."""
    chats = _crm_chats(call)
    user_id, chat_id = call.need_int("USER_ID"), call.need_int("CHAT_ID")
    text = php.text(call.need("MESSAGE"))
    chat = next((chat for chat in chats if chat.id == chat_id), None)
    if chat is None:
        raise RestError(400, "CHAT_NOT_IN_CRM", "The chat does not belong to the CRM entity")
    if user_id not in chat.members:
        raise access_denied()
    try:
        return talk.operator_message(call.cloud, call.portal, chat, operator_id=user_id, text=text).id
    except talk.Refused as refusal:
        raise RestError(400, "CANCELED", str(refusal)) from refusal


def _finish(call: Call) -> bool:
    chat = _need_chat(call)
    try:
        talk.finish(call.cloud, call.portal, chat, operator_id=call.user.id)
    except talk.Refused as refusal:
        raise RestError(400, "CHAT_TYPE", str(refusal)) from refusal
    return True


def _need_chat(call: Call) -> Chat:
    chat = call.portal.chats.get(php.number(call.get("CHAT_ID")))
    if chat is None:
        raise RestError(400, "CHAT_ID", "Chat id is incorrect")
    return chat


def _find(call: Call) -> Chat | None:
    portal = call.portal
    if code := php.text(call.get("USER_CODE")):
        return next((chat for chat in portal.chats.values() if chat.user_code == code.removeprefix("imol|")), None)
    if session := portal.sessions.get(php.number(call.get("SESSION_ID"))):
        return portal.chats[session.chat_id]
    return portal.chats.get(
        php.number(call.get("CHAT_ID")) or php.number(php.text(call.get("DIALOG_ID")).removeprefix("chat"))
    )


def _crm_chats(call: Call) -> list[Chat]:
    kind = php.text(call.need("CRM_ENTITY_TYPE")).upper()
    number = call.need_int("CRM_ENTITY")
    if kind not in ENTITIES:
        raise missing("CRM_ENTITY_TYPE")
    return [chat for chat in call.portal.chats.values() if chat.crm.get(kind) == number]


def _history(call: Call, chat: Chat, session: Session) -> dict[str, object]:
    """Shape: the example of the documentation of session.history.get: maps by id, newest message first."""
    shown = [message for message in reversed(chat.messages) if message.session_id == session.id]
    files = {str(file.id): views.file(call.portal, chat, file, message) for message in shown for file in message.files}
    authors = {message.author_id for message in shown if message.author_id in call.portal.users}
    return {
        "chatId": chat.id,
        "canJoin": "Y",
        "canVoteHead": "Y" if call.user.is_admin else "N",
        "sessionId": session.id,
        "sessionVoteHead": 0,
        "sessionCommentHead": None,
        "userId": f"chat{chat.id}",
        "message": php.mapped(
            {
                str(message.id): {
                    "id": str(message.id),
                    "chatid": str(chat.id),
                    "senderid": str(message.author_id),
                    "recipientid": f"chat{chat.id}",
                    "date": moment(message.at),
                    "text": message.text,
                    "textlegacy": message.text,
                    "params": views.params(message, camel=True) or [],
                }
                for message in shown
            }
        ),
        "usersMessage": {f"chat{chat.id}": [str(message.id) for message in shown]},
        "users": php.mapped({str(user): views.user(call.portal.users[user], camel=True) for user in sorted(authors)}),
        "chat": {str(chat.id): views.chat_camel(call.portal, chat)},
        "userInChat": {str(chat.id): sorted(chat.members)},
        "files": php.mapped(files),
    }
