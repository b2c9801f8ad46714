"""Downloading what applications point at: the portal fetches files[].url by plain GET."""

from __future__ import annotations

import mimetypes
from urllib.parse import unquote, urlsplit

import aiohttp

LIMIT_BYTES = 100 * 1024 * 1024
TIMEOUT_S = 20


async def fetch(url: str, name: str = "") -> tuple[str, str, bytes] | None:
    """Fetch a file: (name, type, content), or None when it cannot be had."""
    if urlsplit(url).scheme not in ("http", "https"):
        return None
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    headers = {"User-Agent": "Bitrix24 Download"}
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, headers=headers) as response:
            if response.status != 200:
                return None
            content = await response.content.read(LIMIT_BYTES)
            mime = response.content_type
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    name = name or unquote(urlsplit(url).path.rpartition("/")[2]) or "file"
    if mime == "application/octet-stream":
        mime = mimetypes.guess_type(name)[0] or mime
    return name, mime, content
