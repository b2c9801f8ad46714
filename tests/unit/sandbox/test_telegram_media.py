"""Files of the Telegram twin: uploads, addresses, file_id, sizes, links, albums (telegram.md A4)."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.sandbox import samples
from tests.sandbox.telegram_bot.gifts import MP4
from tests.unit.sandbox.telegram_play import ANNA, Stage, play

MB = 1024 * 1024


async def upload(stage: Stage, method: str, files: dict[str, bytes], **params: Any) -> dict[str, Any]:
    """Call with files in a multipart body and return the whole answer."""
    form = aiohttp.FormData({"chat_id": str(ANNA), **params})
    for name, content in files.items():
        form.add_field(name, content, filename=f"{name}.bin", content_type="application/octet-stream")
    answer: dict[str, Any] = await (await stage.session.post(stage.url(method), data=form)).json()
    return answer


@pytest.mark.parametrize(
    ("method", "part", "content", "field"),
    [
        ("sendPhoto", "photo", samples.png(120, 90), "photo"),
        ("sendDocument", "document", samples.pdf(), "document"),
        ("sendVoice", "voice", samples.ogg(1), "voice"),
        ("sendVoice", "voice", b"no sound at all", "document"),
        ("sendAudio", "audio", samples.mp3(1), "audio"),
        ("sendVideo", "video", MP4, "video"),
        ("sendVideo", "video", b"no film", "document"),
        ("sendVideoNote", "video_note", MP4, "video_note"),
        ("sendAnimation", "animation", MP4, "animation"),
        ("sendSticker", "sticker", b"RIFF....WEBP", "sticker"),
    ],
)
def test_an_upload_becomes_what_it_is(method: str, part: str, content: bytes, field: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        answer = await upload(stage, method, {part: content})
        assert field in answer["result"]
        one = answer["result"][field]
        file = await stage.call("getFile", file_id=(one[-1] if isinstance(one, list) else one)["file_id"])
        link = f"{stage.peer.base_url}/file/bot{stage.bot.token}/{file['file_path']}"
        assert await (await stage.session.get(link)).read() == content

    play(scene)


@pytest.mark.parametrize(
    ("content", "description"),
    [
        (b"", "Bad Request: file must be non-empty"),
        (b"no picture", "Bad Request: IMAGE_PROCESS_FAILED"),
        (samples.png(2100, 100), "Bad Request: PHOTO_INVALID_DIMENSIONS"),
        (
            b"x" * (10 * MB + 1),
            "Bad Request: file of size 10485761 bytes is too big for a photo; the maximum size is 10485760 bytes",
        ),
    ],
)
def test_photos_are_checked(content: bytes, description: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        assert (await upload(stage, "sendPhoto", {"photo": content}))["description"] == description

    play(scene)


def test_an_upload_over_50_mb_is_too_large() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        answer = await upload(stage, "sendDocument", {"document": bytes(50 * MB + 1)})
        assert (answer["error_code"], answer["description"]) == (413, "Request Entity Too Large")

    play(scene)


def test_files_over_20_mb_cannot_be_downloaded() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(attachments=[{"type": "document", "size": 21 * MB}])
        document = stage.queued()[0]["message"]["document"]
        assert document["file_size"] == 21 * MB
        assert await stage.refused("getFile", file_id=document["file_id"]) == (400, "Bad Request: file is too big")

    play(scene)


def test_a_link_lives_an_hour() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(attachments=[{"type": "photo"}])
        file_id = stage.queued()[0]["message"]["photo"][-1]["file_id"]
        path = (await stage.call("getFile", file_id=file_id))["file_path"]
        link = f"{stage.peer.base_url}/file/bot{stage.bot.token}/{path}"
        assert (await stage.session.get(link)).status == 200
        stage.peer.clock.advance(3601)
        assert (await stage.session.get(link)).status == 404

    play(scene)


def test_a_file_id_belongs_to_its_bot_and_its_kind() -> None:
    async def scene(stage: Stage) -> None:
        other = await stage.peer.make({})
        await stage.say(text="Привет")
        await stage.say(account=other["bot_id"], attachments=[{"type": "photo"}])
        foreign = next(iter(stage.peer.bots[other["bot_id"]].files))
        code, description = await stage.refused("sendPhoto", chat_id=ANNA, photo=foreign)
        assert code == 400 and description.startswith("Bad Request: wrong remote file identifier specified")
        await stage.say(attachments=[{"type": "voice"}])
        own = stage.queued()[-1]["message"]["voice"]["file_id"]
        code, description = await stage.refused("sendPhoto", chat_id=ANNA, photo=own)
        assert description == "Bad Request: can't use file of type Voice as Photo"

    play(scene)


def test_files_by_address_are_fetched_and_checked() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        base = stage.peer.base_url
        pdf = stage.peer.files.put("price.pdf", "application/pdf", samples.pdf())
        text = stage.peer.files.put("note.txt", "text/plain", b"words")
        sent = await stage.call("sendDocument", chat_id=ANNA, document=base + pdf.path)
        assert sent["document"]["file_name"] == "price.pdf"
        refused = await stage.refused("sendDocument", chat_id=ANNA, document=base + text.path)
        assert refused == (400, "Bad Request: wrong type of the web page content")
        refused = await stage.refused("sendDocument", chat_id=ANNA, document=base + "/files/no/no")
        assert refused == (400, "Bad Request: failed to get HTTP URL content")

    play(scene)


@pytest.mark.parametrize(
    ("kinds", "is_allowed"),
    [
        (["photo"], False),
        (["photo"] * 11, False),
        (["photo", "video"], True),
        (["document", "document"], True),
        (["photo", "document"], False),
        (["audio", "photo"], False),
    ],
)
def test_albums_have_two_to_ten_files_of_fitting_kinds(kinds: list[str], is_allowed: bool) -> None:
    contents = {"photo": samples.png(100, 80), "video": MP4, "document": samples.pdf(), "audio": samples.mp3(1)}

    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        media = [{"type": kind, "media": f"attach://p{i}"} for i, kind in enumerate(kinds)]
        files = {f"p{i}": contents[kind] for i, kind in enumerate(kinds)}
        answer = await upload(stage, "sendMediaGroup", files, media=json.dumps(media))
        assert answer["ok"] is is_allowed, answer

    play(scene)


def test_an_album_without_its_part_is_refused() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        media = [{"type": "photo", "media": "attach://a"}, {"type": "photo", "media": "attach://b"}]
        answer = await upload(stage, "sendMediaGroup", {"a": samples.png(100, 80)}, media=json.dumps(media))
        assert answer["description"] == "Bad Request: there is no photo in the request"

    play(scene)


def test_captions_are_limited_and_editable_and_the_file_replaceable() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        answer = await upload(stage, "sendDocument", {"document": samples.pdf()}, caption="x" * 1025)
        assert answer["description"] == "Bad Request: message caption is too long"
        sent = (await upload(stage, "sendDocument", {"document": samples.pdf()}, caption="Прайс"))["result"]
        where = {"chat_id": ANNA, "message_id": sent["message_id"]}
        edited = await stage.call("editMessageCaption", **where, caption="Новый прайс")
        assert edited["caption"] == "Новый прайс" and edited["document"] == sent["document"]
        refused = await stage.refused("editMessageText", **where, text="x")
        assert refused == (400, "Bad Request: there is no text in the message to edit")
        media = json.dumps({"type": "photo", "media": "attach://p"})
        form = {"message_id": str(sent["message_id"]), "media": media}
        changed = await upload(stage, "editMessageMedia", {"p": samples.png(90, 90)}, **form)
        assert "photo" in changed["result"] and "document" not in changed["result"]

    play(scene)


def test_locations_and_contacts_need_their_facts() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say(text="Привет")
        sent = await stage.call("sendLocation", chat_id=ANNA, latitude=55.75, longitude=37.6)
        assert sent["location"] == {"latitude": 55.75, "longitude": 37.6}
        contact = await stage.call("sendContact", chat_id=ANNA, phone_number="79990000000", first_name="Иван")
        assert contact["contact"]["first_name"] == "Иван"
        assert await stage.refused("sendLocation", chat_id=ANNA, longitude=1) == (400, "Bad Request: latitude is empty")

    play(scene, with_spec=False)
