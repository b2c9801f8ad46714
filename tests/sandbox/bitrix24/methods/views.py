"""How chats, messages, users and files look in answers (bitrix24.md 5.3, 9)."""

from __future__ import annotations

from tests.sandbox.bitrix24.moments import moment
from tests.sandbox.bitrix24.state import Chat, File, Message, Portal, User


def entity_data(portal: Portal, chat: Chat) -> tuple[str, str]:
    """Give entity_data_1 (its sixth part is the session) and entity_data_2 (the CRM bindings)."""
    kind = next((name for name in ("LEAD", "DEAL", "CONTACT", "COMPANY") if chat.crm.get(name)), "NONE")
    session = portal.sessions.get(chat.session_id)
    started = int(session.started_at) if session else 0
    yes = "Y" if chat.crm else "N"
    first = f"{yes}|{kind}|{chat.crm.get(kind, 0)}|N|N|{chat.session_id}|{started}|0|0|0"
    second = "|".join(f"{name}|{chat.crm.get(name, 0)}" for name in ("LEAD", "COMPANY", "CONTACT", "DEAL"))
    return first, second


def chat(portal: Portal, chat: Chat) -> dict[str, object]:
    """Describe a chat as imopenlines.dialog.get does."""
    first, second = entity_data(portal, chat)
    return {
        "id": chat.id,
        "name": chat.name,
        "owner": chat.operator_id,
        "extranet": True,
        "avatar": "",
        "color": "#ab7761",
        "type": "lines",
        "entity_type": "LINES",
        "entity_id": chat.user_code,
        "entity_data_1": first,
        "entity_data_2": second,
        "entity_data_3": "",
        "dialog_id": f"chat{chat.id}",
        "manager_list": sorted(chat.members),
        "date_create": moment(chat.messages[0].at if chat.messages else 0),
        "message_type": "L",
    }


def chat_camel(portal: Portal, chat: Chat) -> dict[str, object]:
    """Describe a chat as the history does."""
    first, second = entity_data(portal, chat)
    return {
        "id": str(chat.id),
        "name": chat.name,
        "owner": str(chat.operator_id),
        "entityType": "LINES",
        "entityId": chat.user_code,
        "entityData1": first,
        "entityData2": second,
        "type": "lines",
        "messageType": "L",
    }


def params(message: Message, *, camel: bool) -> dict[str, object]:
    """Give a message's parameters: connectorMid and fileId in the history, CONNECTOR_MID and FILE_ID in im.*."""
    values: dict[str, object] = {
        "CONNECTOR_MID": list(message.mids),
        "FILE_ID": [str(file.id) if camel else file.id for file in message.files],
        "IS_EDITED": "Y" if message.is_edited else "",
        "IS_DELETED": "Y" if message.is_deleted else "",
    }
    names = {"CONNECTOR_MID": "connectorMid", "FILE_ID": "fileId", "IS_EDITED": "isEdited", "IS_DELETED": "isDeleted"}
    return {names[name] if camel else name: value for name, value in values.items() if value}


def message(message: Message) -> dict[str, object]:
    """Describe a message as im.dialog.messages.get does."""
    return {
        "id": message.id,
        "chat_id": message.chat_id,
        "author_id": message.author_id,
        "date": moment(message.at),
        "text": message.text,
        "params": params(message, camel=False) or None,
    }


def user(user: User, *, camel: bool) -> dict[str, object]:
    """Describe a user; `connector` tells the internal users of clients."""
    names = ("id", "name", "firstName", "lastName", "avatar", "connector", "externalAuthId")
    snake = ("id", "name", "first_name", "last_name", "avatar", "connector", "external_auth_id")
    values = (
        str(user.id) if camel else user.id,
        user.full_name,
        user.name,
        user.last_name,
        user.picture,
        user.is_client,
        "imconnector" if user.is_client else "default",
    )
    return dict(zip(names if camel else snake, values, strict=True))


def file(portal: Portal, chat: Chat, file: File, message: Message) -> dict[str, object]:
    """Describe a file; both spellings of the download link, as the two methods have them."""
    link = f"{portal.base}/~{file.key}"
    return {
        "id": file.id,
        "chatId": chat.id,
        "date": moment(message.at),
        "type": file.kind,
        "name": file.name,
        "size": len(file.content),
        "status": "done",
        "progress": 100,
        "authorId": message.author_id,
        "urlPreview": link if file.kind == "image" else "",
        "urlShow": link,
        "urlDownload": link,
        "urlpreview": link if file.kind == "image" else "",
        "urlshow": link,
        "urldownload": link,
    }
