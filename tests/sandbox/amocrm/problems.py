"""How amoCRM refuses: problem documents of REST v4 (3.1), of OAuth (1.4), and the envelope of the chats API (2.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web

from tests.sandbox.frame import json_answer

Json = dict[str, Any]
FORBIDDEN_PAGE = (
    "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n<center><h1>403 Forbidden</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


class Refusal(Exception):
    """An answer that is not a success; `answer()` makes it."""

    def __init__(self, status: int, detail: str = "", **more: Any) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.more = more

    @property
    def code(self) -> str:
        """A short word for the ledger."""
        return str(self.more.get("error_type") or self.more.get("hint") or self.detail)

    def body(self) -> Json:
        """The problem document."""
        title = HTTPStatus(self.status).phrase
        about = {"title": title, "type": f"https://httpstatus.es/{self.status}", "status": self.status}
        return {**self.more, **about, "detail": self.detail or title}

    def answer(self) -> web.Response:
        """The HTTP answer."""
        response = json_answer(self.body(), self.status)
        response.content_type = "application/problem+json"
        return response


class Invalid(Refusal):
    """400 with validation-errors. `errors` are lists by request_id."""

    def __init__(self, errors: Mapping[str, Sequence[Json]]) -> None:
        told = [{"request_id": name, "errors": list(found)} for name, found in errors.items()]
        super().__init__(400, "Request validation failed", **{"validation-errors": told})

    @property
    def code(self) -> str:
        """Every wrong path."""
        return ", ".join(
            f"{one['code']} {one['path']}" for group in self.more["validation-errors"] for one in group["errors"]
        )


class OAuthRefusal(Refusal):
    """A refusal of the token endpoint: the envelope seen in the SDK's tracker (1.4)."""

    def __init__(self, status: int, hint: str) -> None:
        super().__init__(status, "В запросе отсутствует ряд параметров или параметры невалидны", hint=hint)

    def body(self) -> Json:
        """The envelope."""
        return {
            "hint": self.more["hint"],
            "title": "Некорректный запрос",
            "type": "https://developers.amocrm.ru/v3/errors/OAuthProblemJson",
            "status": self.status,
            "detail": self.detail,
        }


class HtmlRefusal(Refusal):
    """403 of the server in front: a banned address or the account's white list (3.1, 10.16)."""

    def __init__(self) -> None:
        super().__init__(403, "forbidden by address")

    def answer(self) -> web.Response:
        """The page of the proxy."""
        return web.Response(status=403, text=FORBIDDEN_PAGE, content_type="text/html")


class ChatsRefusal(Refusal):
    """A refusal of the chats API; types other than the two documented ones are unconfirmed (2.2)."""

    def __init__(self, status: int, error_type: str, description: str) -> None:
        super().__init__(status, description, error_type=error_type)

    def body(self) -> Json:
        """The envelope."""
        return {
            "status": 0,
            "error_code": self.status,
            "error_type": self.more["error_type"],
            "error_description": self.detail,
        }

    def answer(self) -> web.Response:
        """Plain JSON."""
        return json_answer(self.body(), self.status)


def unauthorized() -> Refusal:
    """401 as REST v4 words it (3.1)."""
    return Refusal(401, "Invalid user name or password")


def no_right() -> Refusal:
    """403 in JSON: the user may not."""
    return Refusal(403, "Forbidden")


def not_found() -> Refusal:
    """404 of an unknown id or route."""
    return Refusal(404, "Not Found")


def bad_signature(why: str) -> ChatsRefusal:
    """403 of the chats API."""
    return ChatsRefusal(403, "ORIGIN_INVALID_SIGNATURE", why)


def bad_data(why: str) -> ChatsRefusal:
    """400 of the chats API; the type is a guess (2.2)."""
    return ChatsRefusal(400, "VALIDATION_FAILED", why)
