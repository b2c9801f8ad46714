"""im.*: the messenger's own methods (bitrix24.md 9)."""

from __future__ import annotations

from tests.sandbox.bitrix24 import php, talk
from tests.sandbox.bitrix24.errors import RestError
from tests.sandbox.bitrix24.methods import views
from tests.sandbox.bitrix24.methods.table import Call, method
from tests.sandbox.bitrix24.moments import moment
from tests.sandbox.bitrix24.state import Chat

LIMIT_DEFAULT, LIMIT_MAX = 20, 50


@method("im.dialog.messages.get", scope="im")
def messages_get(call: Call) -> object:
    """List messages of a chat, newest first; only for its members."""
    chat = _member_chat(call)
    shown = list(reversed(chat.messages))
    if call.get("LAST_ID") is not None:
        shown = [message for message in shown if message.id < php.number(call.get("LAST_ID"))]
    if call.get("FIRST_ID") is not None:
        shown = [message for message in reversed(shown) if message.id > php.number(call.get("FIRST_ID"))]
    shown = shown[: min(php.number(call.get("LIMIT")) or LIMIT_DEFAULT, LIMIT_MAX)]
    authors = {message.author_id for message in shown if message.author_id in call.portal.users}
    return {
        "chat_id": chat.id,
        "messages": [views.message(message) for message in shown],
        "users": [views.user(call.portal.users[user], camel=False) for user in sorted(authors)],
        "files": [views.file(call.portal, chat, file, message) for message in shown for file in message.files],
    }


@method("im.dialog.get", scope="im")
def dialog_get(call: Call) -> object:
    """Describe a chat for its member."""
    return views.chat(call.portal, _member_chat(call))


@method("im.recent.list", scope="im")
def recent_list(call: Call) -> object:
    """List the chats the calling user is a member of, the newest first."""
    mine = [chat for chat in call.portal.chats.values() if call.user.id in chat.members and chat.messages]
    if call.get("SKIP_OPENLINES") == "Y":
        mine = []
    mine.sort(key=lambda chat: chat.messages[-1].at, reverse=True)
    offset, limit = php.number(call.get("OFFSET")), min(php.number(call.get("LIMIT")) or 50, 200)
    items = [
        {
            "id": f"chat{chat.id}",
            "chat_id": chat.id,
            "type": "chat",
            "title": chat.name,
            "message": {
                "id": chat.messages[-1].id,
                "text": chat.messages[-1].text,
                "file": bool(chat.messages[-1].files),
                "author_id": chat.messages[-1].author_id,
                "date": moment(chat.messages[-1].at),
                "status": "delivered" if chat.messages[-1].is_delivered else "received",
            },
            "counter": 0,
            "date_update": moment(chat.messages[-1].at),
            "chat": views.chat(call.portal, chat),
            "lines": {"id": chat.session_id, "status": 40 if call.portal.sessions[chat.session_id].is_closed else 20},
        }
        for chat in mine[offset : offset + limit]
    ]
    return {"items": items, "hasMore": offset + limit < len(mine), "hasMorePages": offset + limit < len(mine)}


@method("im.message.add", scope="im")
def message_add(call: Call) -> object:
    """Write into a chat; in an open line the text goes to the client and comes back as an event."""
    text = php.text(call.get("MESSAGE"))
    if not text and not php.truthy(call.get("ATTACH")):
        raise RestError(400, "MESSAGE_EMPTY", "Message can't be empty")
    dialog = php.text(call.need("DIALOG_ID"))
    if dialog.isdigit():
        return _notice(call, int(dialog), text, "private")
    chat = _member_chat(call)
    if call.get("SYSTEM") == "Y":
        talk.system_message(call.cloud, call.portal, chat, text)
        return chat.messages[-1].id
    try:
        return talk.operator_message(call.cloud, call.portal, chat, operator_id=call.user.id, text=text).id
    except talk.Refused as refusal:
        raise RestError(400, "CANCELED", str(refusal)) from refusal


@method("im.notify", scope="im")
def notify(call: Call) -> object:
    """Notify a user."""
    return _notice(call, php.number(call.get("TO") or call.get("USER_ID")), php.text(call.need("MESSAGE")), "notify")


@method("im.notify.system.add", scope="im")
def notify_system(call: Call) -> object:
    """Notify a user in the name of the system."""
    return _notice(call, call.need_int("USER_ID"), php.text(call.need("MESSAGE")), "system")


@method("im.notify.personal.add", scope="im")
def notify_personal(call: Call) -> object:
    """Notify a user in the name of the calling user."""
    return _notice(call, call.need_int("USER_ID"), php.text(call.need("MESSAGE")), "personal")


def _notice(call: Call, user_id: int, text: str, kind: str) -> int | bool:
    user = call.portal.users.get(user_id)
    if user is None or user.is_client:
        return False
    number = call.portal.new_id("message", 86497)
    call.portal.notices.append({"id": number, "user_id": user_id, "text": text, "kind": kind})
    call.cloud.record("notice", call.portal, id=str(number), user_id=user_id, text=text, who=kind)
    return number


def _member_chat(call: Call) -> Chat:
    dialog = php.text(call.get("DIALOG_ID"))
    if not dialog:
        raise RestError(400, "DIALOG_ID_EMPTY", "Dialog ID can't be empty")
    chat = call.portal.chats.get(php.number(dialog.removeprefix("chat"))) if dialog.startswith("chat") else None
    if chat is None or call.user.id not in chat.members:
        raise RestError(403, "ACCESS_ERROR", "You do not have access to the specified dialog")
    return chat
