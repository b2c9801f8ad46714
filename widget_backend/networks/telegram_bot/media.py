"""Attachments, both ways: what Telegram's objects mean to us, and how our files are named in its calls."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping
from typing import BinaryIO

from widget_backend.bridge.ends import OutFile
from widget_backend.bridge.errors import Rejected
from widget_backend.bridge.events import Attachment, Kind
from widget_backend.networks.telegram_bot.format import name_of, readable
from widget_backend.reading import Malformed, Reader

# ------------------------------------------------------------------------------------------------------------------ in


def shown(message: Reader, text: str) -> tuple[Attachment, ...]:
    """Return the attachments; a message with nothing that we understand is shown as unsupported, by its name.

    Source: api.json Message: what is neither known content nor said about a message is a kind that came later.
    """
    found = _attachments(message)
    unknown = [name for name, _ in message.fields() if name not in _ABOUT]
    if found or text or not unknown:
        return found
    return (Attachment(kind=Kind.UNSUPPORTED, title=", ".join(unknown)[:60]),)


def _attachments(message: Reader) -> tuple[Attachment, ...]:
    """Read what a message carries besides its words; what is known but broken is UNSUPPORTED and loses nothing else.

    Source: telegram.md A3.1; an animation also comes as a document, a venue as a location, a live photo as a photo.
    """
    names = [name for name in _READERS if name in message]
    doubles = {double for name in names for double in _DOUBLES.get(name, ())}
    found = [_guarded(name, message[name]) for name in names if name not in doubles]
    if "reply_to_story" in message:
        found.append(_guarded("story", message["reply_to_story"]))
    return tuple(found)


def _guarded(name: str, thing: Reader) -> Attachment:
    try:
        return _READERS[name](thing)
    except Malformed:
        return Attachment(kind=Kind.UNSUPPORTED, title=name)


def _file(thing: Reader, kind: Kind, mime: str = "") -> Attachment:
    return Attachment(
        kind=kind,
        handle=thing["file_id"].text(),
        name=thing["file_name"].text_or(""),
        mime=thing["mime_type"].text_or(mime),
        size_bytes=thing["file_size"].integer_or(0) or None,
        duration_s=thing["duration"].integer_or(0) or None,
        width=thing["width"].integer_or(0) or None,
        height=thing["height"].integer_or(0) or None,
        title=_title(thing),
        text=thing["emoji"].text_or(""),
    )


def _title(thing: Reader) -> str:
    names = (thing["performer"].text_or(""), thing["title"].text_or(""))
    return " - ".join(name for name in names if name)


def _photo(sizes: Reader) -> Attachment:
    best = max(
        sizes.items(), key=lambda one: one["width"].integer_or(0) * one["height"].integer_or(0), default=sizes[0]
    )
    return _file(best, Kind.PHOTO, "image/jpeg")


def _sticker(thing: Reader) -> Attachment:
    is_animated, is_video = thing["is_animated"].flag_or(False), thing["is_video"].flag_or(False)
    mime = "application/x-tgsticker" if is_animated else "video/webm" if is_video else "image/webp"
    return _file(thing, Kind.STICKER, mime)


def _location(thing: Reader) -> Attachment:
    return Attachment(kind=Kind.LOCATION, latitude=thing["latitude"].number(), longitude=thing["longitude"].number())


def _venue(thing: Reader) -> Attachment:
    return Attachment(
        kind=Kind.LOCATION,
        latitude=thing["location"]["latitude"].number(),
        longitude=thing["location"]["longitude"].number(),
        title=thing["title"].text_or(""),
        text=thing["address"].text_or(""),
    )


def _contact(thing: Reader) -> Attachment:
    return Attachment(kind=Kind.CONTACT, title=name_of(thing), phone=thing["phone_number"].text())


def _poll(thing: Reader) -> Attachment:
    options = [readable(one["text"].text_or(""), one["text_entities"]) for one in thing["options"].items()]
    return Attachment(kind=Kind.POLL, title=thing["question"].text_or(""), text="\n".join(options))


def _story(thing: Reader) -> Attachment:
    username = thing["chat"]["username"].text_or("")
    link = f"https://t.me/{username}/s/{thing['id'].integer()}" if username else ""
    return Attachment(kind=Kind.STORY, title=name_of(thing["chat"]), link=link)


def _invoice(thing: Reader) -> Attachment:
    return Attachment(kind=Kind.PRODUCT, title=thing["title"].text_or(""), text=thing["description"].text_or(""))


def _gift(thing: Reader) -> Attachment:
    sticker = thing["gift"]["sticker"]["emoji"].text_or("")
    return Attachment(kind=Kind.GIFT, title=thing["gift"]["base_name"].text_or(sticker), text=thing["text"].text_or(""))


def _of_kind(kind: Kind, mime: str = "") -> Callable[[Reader], Attachment]:
    return lambda thing: _file(thing, kind, mime)


_READERS: Mapping[str, Callable[[Reader], Attachment]] = {
    "photo": _photo,
    "video": _of_kind(Kind.VIDEO),
    "live_photo": _of_kind(Kind.VIDEO, "video/mp4"),
    "animation": _of_kind(Kind.ANIMATION),
    "document": _of_kind(Kind.DOCUMENT),
    "audio": _of_kind(Kind.AUDIO),
    "voice": _of_kind(Kind.VOICE, "audio/ogg"),
    "video_note": _of_kind(Kind.ROUND_VIDEO, "video/mp4"),
    "sticker": _sticker,
    "location": _location,
    "venue": _venue,
    "contact": _contact,
    "poll": _poll,
    "story": _story,
    "invoice": _invoice,
    "gift": _gift,
    "unique_gift": _gift,
}
_DOUBLES: Mapping[str, tuple[str, ...]] = {
    "animation": ("document",),
    "venue": ("location",),
    "live_photo": ("photo",),
}


def words_of(message: Reader) -> str:
    """Return what a message says: its text or caption, or the words of a thing that is nothing but words.

    Source: telegram.md A3.1, api.json Dice, Game, Checklist, WebAppData.
    """
    if "text" in message:
        return readable(message["text"].text(), message["entities"])
    if "caption" in message:
        return readable(message["caption"].text(), message["caption_entities"])
    if "dice" in message:
        return f"{message['dice']['emoji'].text()} {message['dice']['value'].integer()}"
    if "game" in message:
        return _lines(message["game"]["title"], message["game"]["description"])
    if "checklist" in message:
        tasks = [f"- {one['text'].text_or('')}" for one in message["checklist"]["tasks"].items()]
        return "\n".join([message["checklist"]["title"].text_or(""), *tasks])
    return message["web_app_data"]["button_text"].text_or("")


def _lines(*texts: Reader) -> str:
    return "\n".join(text.text_or("") for text in texts if text.text_or(""))


SERVICE = frozenset(
    {"new_chat_members", "left_chat_member", "chat_owner_left", "chat_owner_changed", "new_chat_title",
     "new_chat_photo", "delete_chat_photo", "group_chat_created", "supergroup_chat_created", "channel_chat_created",
     "message_auto_delete_timer_changed", "migrate_to_chat_id", "migrate_from_chat_id", "pinned_message",
     "successful_payment", "refunded_payment", "users_shared", "chat_shared", "gift_upgrade_sent", "connected_website",
     "passport_data", "proximity_alert_triggered", "boost_added", "chat_background_set", "checklist_tasks_done",
     "checklist_tasks_added", "direct_message_price_changed", "forum_topic_created", "forum_topic_edited",
     "forum_topic_closed", "forum_topic_reopened", "general_forum_topic_hidden", "general_forum_topic_unhidden",
     "giveaway_created", "giveaway_completed", "managed_bot_created", "paid_message_price_changed",
     "poll_option_added", "poll_option_deleted", "suggested_post_approved", "suggested_post_approval_failed",
     "suggested_post_declined", "suggested_post_paid", "suggested_post_refunded", "video_chat_scheduled",
     "video_chat_started", "video_chat_ended", "video_chat_participants_invited"}
)  # fmt: skip
"""Nobody wrote these (telegram.md A3.1, "service"; api.json Message, "Service message")."""

_ABOUT = frozenset(
    {"message_id", "message_thread_id", "direct_messages_topic", "from", "sender_chat", "sender_boost_count",
     "sender_business_bot", "sender_tag", "date", "guest_query_id", "business_connection_id", "chat", "forward_origin",
     "is_topic_message", "is_automatic_forward", "reply_to_message", "external_reply", "quote", "reply_to_story",
     "reply_to_checklist_task_id", "reply_to_poll_option_id", "via_bot", "guest_bot_caller_user",
     "guest_bot_caller_chat", "edit_date", "has_protected_content", "is_from_offline", "is_paid_post",
     "media_group_id", "author_signature", "paid_star_count", "text", "entities", "link_preview_options",
     "suggested_post_info", "effect_id", "caption", "caption_entities", "show_caption_above_media",
     "has_media_spoiler", "reply_markup"}
)  # fmt: skip
"""Fields that say something about a message and are no content (api.json Message)."""


# ----------------------------------------------------------------------------------------------------------------- out

METHODS: Mapping[Kind, tuple[str, str]] = {
    Kind.PHOTO: ("sendPhoto", "photo"),
    Kind.VIDEO: ("sendVideo", "video"),
    Kind.ANIMATION: ("sendAnimation", "animation"),
    Kind.ROUND_VIDEO: ("sendVideoNote", "video_note"),
    Kind.AUDIO: ("sendAudio", "audio"),
    Kind.VOICE: ("sendVoice", "voice"),
    Kind.STICKER: ("sendSticker", "sticker"),
    Kind.DOCUMENT: ("sendDocument", "document"),
}
"""By which call a kind leaves, and the parameter that holds the file (telegram.md A4)."""

CAPTIONLESS = frozenset({Kind.ROUND_VIDEO, Kind.STICKER})

Upload = tuple[str, BinaryIO, str]


def opened(file: OutFile) -> Upload:
    """Return (name, bytes, type) of a file, as an upload takes it. Raises: Rejected when there is no file."""
    attachment = file.attachment
    if file.open is None:
        raise Rejected("unsupported_attachment", attachment.kind.value)
    mime = attachment.mime or "application/octet-stream"
    name = attachment.name or attachment.kind.value + (mimetypes.guess_extension(mime) or "")
    return name, file.open(), mime
