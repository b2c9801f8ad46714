"""Which function answers which method. Names are looked up in lower case, as the server does (telegram.md A1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from tests.sandbox.telegram_bot import editing, looking, sending, webhooks
from tests.sandbox.telegram_bot.calls import Call

Method = Callable[[Call], Awaitable[Any]]

METHODS: dict[str, Method] = {
    "getMe": looking.get_me,
    "getChat": looking.get_chat,
    "getChatMember": looking.get_chat_member,
    "getUserProfilePhotos": looking.get_user_profile_photos,
    "getFile": looking.get_file,
    "getBusinessConnection": looking.get_business_connection,
    "answerCallbackQuery": looking.answer_callback_query,
    "setWebhook": webhooks.set_webhook,
    "deleteWebhook": webhooks.delete_webhook,
    "getWebhookInfo": webhooks.get_webhook_info,
    "getUpdates": webhooks.get_updates,
    "sendMessage": sending.send_message,
    "sendPhoto": partial(sending.send_media, kind="photo"),
    "sendDocument": partial(sending.send_media, kind="document"),
    "sendVideo": partial(sending.send_media, kind="video"),
    "sendAnimation": partial(sending.send_media, kind="animation"),
    "sendAudio": partial(sending.send_media, kind="audio"),
    "sendVoice": partial(sending.send_media, kind="voice"),
    "sendVideoNote": partial(sending.send_media, kind="video_note"),
    "sendSticker": partial(sending.send_media, kind="sticker"),
    "sendLocation": sending.send_location,
    "sendVenue": sending.send_venue,
    "sendContact": sending.send_contact,
    "sendMediaGroup": sending.send_media_group,
    "sendChatAction": editing.send_chat_action,
    "editMessageText": editing.edit_message_text,
    "editMessageCaption": editing.edit_message_caption,
    "editMessageMedia": editing.edit_message_media,
    "deleteMessage": editing.delete_message,
    "deleteMessages": editing.delete_messages,
    "deleteBusinessMessages": editing.delete_business_messages,
    "readBusinessMessage": editing.read_business_message,
    "setMessageReaction": editing.set_message_reaction,
}
BY_LOWER = {name.lower(): name for name in METHODS}
