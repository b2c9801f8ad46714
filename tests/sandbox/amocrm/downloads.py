"""Downloading what integrations point at: media of messages and avatars, by plain GET, a little later (2.6, 9.12)."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from tests.sandbox.amocrm.state import Account
from tests.sandbox.amocrm.talks import Message, Participant

if TYPE_CHECKING:
    from tests.sandbox.amocrm.cloud import Cloud

LIMIT_BYTES = 300 * 1024 * 1024
WAIT = aiohttp.ClientTimeout(total=20)


class Downloads:
    """Fetches in the background. A file that cannot be had leaves a broken message behind."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, account: Account, one: Message, client: Participant | None = None) -> None:
        """Fetch the media of a message and the avatar of a client, if there are any."""
        if one.content.get("media"):
            self._start(self._media(account, one))
        if client and client.avatar and not client.avatar.startswith(self._cloud.chats_url):
            self._start(self._avatar(account, client))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _media(self, account: Account, one: Message) -> None:
        content = one.content
        url, name = content["media"], content.get("file_name") or "file"
        fetched = await _get(url)
        one.is_broken = fetched is None
        if fetched is not None:
            content["media"] = self.keep(name, *fetched)
        self._cloud.record(
            "file", account, id=one.id, url=url, is_ok=not one.is_broken, size=len(fetched[1]) if fetched else 0
        )

    async def _avatar(self, account: Account, client: Participant) -> None:
        url = client.avatar
        fetched = await _get(url)
        if fetched is not None:
            client.avatar = self.keep("avatar", *fetched)
        self._cloud.record("avatar", account, id=client.id, url=url, is_ok=fetched is not None)

    def keep(self, name: str, mime: str, body: bytes) -> str:
        """Keep a file and return its address on the chats host."""
        if mime == "application/octet-stream":
            mime = mimetypes.guess_type(name)[0] or mime
        stored = self._cloud.peer.files.put(name, mime, body)
        return f"{self._cloud.chats_url}/attachments{stored.path.removeprefix('/files')}"

    def cancel(self) -> None:
        """Forget what is on the way."""
        for task in list(self._tasks):
            task.cancel()


async def _get(url: str) -> tuple[str, bytes] | None:
    if urlsplit(url).scheme not in ("http", "https"):
        return None
    headers = {"User-Agent": "amoCRM amoJo/1.0"}
    try:
        async with aiohttp.ClientSession(timeout=WAIT) as session, session.get(url, headers=headers) as response:
            if response.status != 200:
                return None
            return response.content_type, await response.content.read(LIMIT_BYTES)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
