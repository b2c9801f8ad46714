"""python-telegram-bot, written by others, works against the Telegram twin unchanged but for its base URL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import telegram
from aiohttp import web
from telegram.error import BadRequest, Conflict, Forbidden, InvalidToken, RetryAfter

from tests.contract import telegram_schema
from tests.sandbox import samples
from tests.sandbox.frame import Options
from tests.sandbox.telegram_bot.peer import TelegramPeer

ANNA = 500100
Scene = Callable[[TelegramPeer, telegram.Bot], Awaitable[None]]


def play(scene: Scene) -> None:
    """Run a scene with a started twin and a ready bot of the library."""

    async def body() -> None:
        peer = TelegramPeer(Options())
        await peer.start()
        token = peer.credentials()["token"]
        bot = telegram.Bot(token, base_url=f"{peer.base_url}/bot", base_file_url=f"{peer.base_url}/file/bot")
        try:
            async with bot:
                await scene(peer, bot)
        finally:
            await peer.stop()
        assert not peer.ledger.since(0, "contract")

    asyncio.run(body())


async def polled(bot: telegram.Bot, count: int) -> list[telegram.Update]:
    """Poll until so many updates have come."""
    updates: list[telegram.Update] = []
    while len(updates) < count:
        offset = updates[-1].update_id + 1 if updates else None
        updates += await bot.get_updates(offset=offset, timeout=2)
    return updates


def test_it_receives_by_polling_and_answers_with_a_quote() -> None:
    async def scene(peer: TelegramPeer, bot: telegram.Bot) -> None:
        await peer.say({"user": "Анна", "text": "Здравствуйте, **сколько** стоит?"})
        (update,) = await polled(bot, 1)
        message = update.effective_message
        assert message and message.text == "Здравствуйте, **сколько** стоит?"
        answer = await message.reply_text("<b>300</b> ₽", parse_mode="HTML", do_quote=True)
        assert answer.text == "300 ₽" and answer.entities[0].type == "bold"
        assert answer.reply_to_message and answer.reply_to_message.message_id == message.message_id
        edited = await answer.edit_text("350 ₽")
        assert isinstance(edited, telegram.Message) and edited.edit_date
        assert await answer.delete()

    play(scene)


@pytest.mark.parametrize(
    ("method", "content"),
    [
        ("photo", samples.png(120, 90)),
        ("document", samples.pdf()),
        ("voice", samples.ogg(1)),
        ("audio", samples.mp3(1)),
    ],
)
def test_it_uploads_a_file_and_downloads_the_same(method: str, content: bytes) -> None:
    async def scene(peer: TelegramPeer, bot: telegram.Bot) -> None:
        await peer.say({"user": "Анна", "text": "Привет"})
        sent = await getattr(bot, f"send_{method}")(ANNA, content, caption="Вот")
        attachment = sent.effective_attachment
        one = attachment[-1] if isinstance(attachment, tuple) else attachment
        assert bytes(await (await one.get_file()).download_as_bytearray()) == content
        again = await getattr(bot, f"send_{method}")(ANNA, one.file_id)
        assert again.caption is None

    play(scene)


def test_it_sends_an_album() -> None:
    async def scene(peer: TelegramPeer, bot: telegram.Bot) -> None:
        await peer.say({"user": "Анна", "text": "Покажите"})
        photos = [telegram.InputMediaPhoto(samples.png(100, 80, hue), caption=f"{hue}") for hue in range(3)]
        sent = await bot.send_media_group(ANNA, photos)
        assert len(sent) == 3 and len({message.media_group_id for message in sent}) == 1

    play(scene)


def test_it_parses_every_kind_of_update_that_the_webhook_brings() -> None:
    said: list[dict[str, Any]] = [
        {"text": "Текст"},
        {"start": "from_site"},
        *({"attachments": [{"type": kind}]} for kind in ("photo", "document", "voice", "audio", "video", "video_note")),
        *(
            {"attachments": [{"type": kind}]}
            for kind in ("animation", "sticker", "location", "venue", "contact", "poll")
        ),
        {"attachments": [{"type": "dice"}]},
        {"attachments": [{"type": "story"}]},
        {"text": "Ответ на историю", "reply_story": True},
        {"text": "Пересланное", "forward_from": "Иван"},
        {"text": "Чужая цитата", "external_reply": True},
        {"business": True, "text": "Добрый день"},
        {"block": True},
    ]

    async def scene(peer: TelegramPeer, bot: telegram.Bot) -> None:
        async with door() as (url, bodies):
            await bot.set_webhook(url, secret_token="s3cret", allowed_updates=telegram.Update.ALL_TYPES)
            for words in said:
                await peer.say({"user": "Анна", **words})
            while len(bodies) < len(said) + 1:  # one more: the business connection itself
                await asyncio.sleep(0.02)
        for body in bodies:
            update = telegram.Update.de_json(body, bot)
            assert update.to_dict().keys() == body.keys()
            if telegram_schema.spec_path():
                assert telegram_schema.check_update(body) == []

    play(scene)


class door:
    """An HTTP server that keeps the updates it is sent."""

    async def __aenter__(self) -> tuple[str, list[dict[str, Any]]]:
        bodies: list[dict[str, Any]] = []

        async def take(request: web.Request) -> web.Response:
            assert request.headers["X-Telegram-Bot-Api-Secret-Token"] == "s3cret"
            bodies.append(json.loads(await request.read()))
            return web.Response()

        app = web.Application()
        app.router.add_post("/hook", take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/hook", bodies

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


def test_it_understands_the_refusals() -> None:
    async def scene(peer: TelegramPeer, bot: telegram.Bot) -> None:
        with pytest.raises(BadRequest, match=r"[Cc]hat not found"):
            await bot.send_message(1, "Кто здесь?")
        await peer.say({"user": "Анна", "text": "Привет"})
        for number in range(3):
            await bot.send_message(ANNA, f"{number}")
        with pytest.raises(RetryAfter):
            await bot.send_message(ANNA, "Слишком быстро")
        await peer.say({"user": "Анна", "block": True})
        with pytest.raises(Forbidden, match="bot was blocked by the user"):
            await bot.send_message(ANNA, "Вернитесь")
        await bot.set_webhook("https://example.org/hook")
        with pytest.raises(Conflict):
            await bot.get_updates()
        wrong = telegram.Bot("7000000001:" + "A" * 35, base_url=f"{peer.base_url}/bot")
        with pytest.raises(InvalidToken):
            await wrong.initialize()

    play(scene)


def test_it_answers_for_a_business_account() -> None:
    async def scene(peer: TelegramPeer, bot: telegram.Bot) -> None:
        await peer.say({"user": "Анна", "business": True, "text": "Добрый день"})
        connected, written = await polled(bot, 2)
        assert connected.business_connection and written.business_message
        sent = await bot.send_message(
            ANNA, "Добрый!", business_connection_id=written.business_message.business_connection_id
        )
        assert sent.sender_business_bot and sent.from_user and sent.from_user.first_name == "Иван"

    play(scene)


def test_the_official_spec_refuses_what_is_wrong() -> None:
    telegram_schema.skip_without_spec()
    assert telegram_schema.check_request("sendMessage", {"chat_id": "5", "text": "x"}) == []
    assert telegram_schema.check_request("sendMessage", {"chat_id": 5})
    assert telegram_schema.check_request("sendMessage", {"chat_id": 5, "text": 7})
    assert telegram_schema.check_request("sendMessage", {"chat_id": 5, "text": "x", "colour": "red"})
    assert telegram_schema.check_request("sendPhoto", {"chat_id": 5, "photo": b"bytes"}) == []
    assert telegram_schema.check_response("getMe", {"id": 1, "is_bot": True})
    assert telegram_schema.check_update({"update_id": 1, "message": {}, "edited_message": {}})
    media = json.dumps([{"type": "photo", "media": "attach://a"}, {"type": "video", "media": "attach://b"}])
    album = {"chat_id": 5, "media": media, "a": b"1", "b": b"2"}
    assert telegram_schema.check_request("sendMediaGroup", album) == []


def test_the_twin_refuses_aloud_what_the_spec_does_not_know() -> None:
    telegram_schema.skip_without_spec()

    async def body() -> None:
        peer = TelegramPeer(Options())
        await peer.start()
        try:
            url = f"{peer.base_url}/bot{peer.credentials()['token']}/sendMessage"
            async with aiohttp.ClientSession() as session:
                answer = await session.post(url, json={"chat_id": ANNA, "text": "x", "colour": "red"})
                assert answer.status == 400
                assert "contract: sendMessage: unknown field colour" in (await answer.json())["description"]
            assert peer.ledger.since(0, "contract")
        finally:
            await peer.stop()

    asyncio.run(body())
