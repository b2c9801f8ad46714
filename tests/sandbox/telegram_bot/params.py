"""Reading the parameters of a call: query string, form, JSON or multipart (telegram.md A1, calling convention)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.sandbox.telegram_bot.errors import ApiError, bad

UPLOAD_BYTES = 50 * 1024 * 1024
TRUE_WORDS = {"true", "yes", "1"}  # the server lower-cases; anything else is false


def whole(value: object, refusal: str) -> int:
    """Read a number inside a JSON value: a number or its text. Raises: ApiError 400 with the refusal."""
    try:
        return int(str(value))
    except ValueError:
        raise bad(refusal) from None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file part of a multipart body."""

    name: str
    content_type: str
    content: bytes


@dataclass(slots=True)
class Params:
    """Parameters by name, as they came: text, or JSON values from a JSON body; `uploads` by part name."""

    values: dict[str, Any] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """Return the parameter as text; JSON values other than strings are written as JSON."""
        value = self.values.get(name)
        if value is None:
            return default
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def flag(self, name: str) -> bool:
        """Return a boolean."""
        return self.text(name).lower() in TRUE_WORDS

    def integer(self, name: str, default: int = 0) -> int:
        """Return a whole number. Raises: ApiError 400 when it is none."""
        text = self.text(name).strip()
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise bad(f"Invalid {name} specified") from None

    def number(self, name: str) -> float:
        """Return a floating number. Raises: ApiError 400 when it is missing or none."""
        text = self.text(name).strip()
        if not text:
            raise ApiError(400, f"Bad Request: {name} is empty")
        try:
            return float(text)
        except ValueError:
            raise bad(f"Can't parse {name} as a Number") from None

    def parsed(self, name: str, what: str) -> Any:
        """Return an object or array: from JSON text or as it is; None when absent."""
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        if not value.strip():
            return None
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            raise bad(f"Can't parse {what} JSON object") from None

    def mapping(self, name: str, what: str) -> dict[str, Any] | None:
        """Return an object or None. Raises: ApiError 400 for anything else."""
        value = self.parsed(name, what)
        if value is not None and not isinstance(value, dict):
            raise bad(f"Object expected as {what}")
        return value

    def array(self, name: str, what: str, of: str) -> list[Any] | None:
        """Return an array or None. Raises: ApiError 400 for anything else."""
        value = self.parsed(name, what)
        if value is not None and not isinstance(value, list):
            raise bad(f"Expected an Array of {of}")
        return value

    def for_contract(self) -> dict[str, Any]:
        """Return everything for the check against the official spec; uploads are bytes."""
        return {**self.values, **{name: upload.content for name, upload in self.uploads.items()}}


async def read(request: web.Request) -> Params:
    """Read query and body. Raises: ApiError 400 for broken JSON, 413 for a file over 50 MB."""
    params = Params(dict(request.query))
    if request.method != "POST" or not request.can_read_body:
        return params
    if request.content_type == "application/json":
        params.values.update(await _json_body(request))
        return params
    try:
        form = await request.post()
    except ValueError:
        raise ApiError(400, "Bad Request: can't parse the request body") from None
    for name, value in form.items():
        if isinstance(value, web.FileField):
            params.uploads[name] = _upload(value)
        else:
            params.values[name] = value.decode() if isinstance(value, bytes | bytearray) else value
    return params


async def _json_body(request: web.Request) -> Mapping[str, Any]:
    try:
        body = json.loads(await request.read() or b"{}")
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ApiError(400, "Bad Request: can't parse JSON object in the request body") from None
    if not isinstance(body, dict):
        raise ApiError(400, "Bad Request: JSON object expected in the request body")
    return {name: value for name, value in body.items() if value is not None}


def _upload(part: web.FileField) -> Upload:
    content = part.file.read(UPLOAD_BYTES + 1)
    if len(content) > UPLOAD_BYTES:
        raise ApiError(413, "Request Entity Too Large")
    return Upload(part.filename, part.content_type, content)
