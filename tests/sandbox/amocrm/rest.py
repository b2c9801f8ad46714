"""REST v4: who may ask, how often, and which function answers (amocrm.md 3)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl

from tests.sandbox.amocrm.problems import HtmlRefusal, Refusal, no_right, not_found, unauthorized
from tests.sandbox.amocrm.state import Account, Integration, Json, Token, User

if TYPE_CHECKING:
    from tests.sandbox.amocrm.cloud import Cloud

BATCH_LIMIT = 250


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request: path after /api/v4/."""

    method: str
    path: str
    query: str
    body: bytes
    headers: Mapping[str, str]
    source: str


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with another status than 200; body None = empty."""

    status: int
    body: Json | list[Json] | None = None


@dataclass(slots=True)
class Call:
    """One allowed request. `user` is who acts: the token's owner, or X-Context-User-ID."""

    cloud: Cloud
    account: Account
    user: User
    integration: Integration
    token: Token
    method: str
    path: str
    params: dict[str, str]
    query: dict[str, list[str]]
    raw: object = None

    def arg(self, name: str, default: str = "") -> str:
        """Return one parameter of the query."""
        return self.query.get(name, [default])[-1]

    def args(self, name: str) -> list[str]:
        """Return a multiple parameter: name[]=, name[0]= or name=."""
        return [
            value
            for key, values in self.query.items()
            if key == name or re.fullmatch(rf"{re.escape(name)}\[\d*\]", key)
            for value in values
        ]

    def having(self) -> set[str]:
        """Return the words of with=."""
        return {word.strip() for value in self.query.get("with", []) for word in value.split(",") if word.strip()}

    def number(self, name: str = "id") -> int:
        """Return a number of the path."""
        return int(self.params[name])

    def href(self, path: str) -> Json:
        """Make _links.self."""
        return {"_links": {"self": {"href": f"{self.cloud.url(self.account.host)}/api/v4/{path}"}}}

    def batch(self, *, limit: int = BATCH_LIMIT) -> list[Json]:
        """Return a JSON array of objects. Raises 400 for an object or nothing, 422 above the limit (3.1)."""
        if not isinstance(self.raw, list) or not all(isinstance(one, dict) for one in self.raw):
            raise Refusal(400, "Request data must be an array of objects")
        if not self.raw:
            raise Refusal(400, "Request data can not be empty")
        if len(self.raw) > limit:
            raise Refusal(422, f"Limit {limit} per page")
        return self.raw

    def single(self) -> Json:
        """Return a JSON object. Raises 400 for an array or nothing."""
        if not isinstance(self.raw, dict) or not self.raw:
            raise Refusal(400, "Request data can not be empty" if not self.raw else "Request data must be an object")
        return self.raw


Action = Callable[[Call], "Json | list[Json] | Reply | None"]
A = TypeVar("A", bound=Action)


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path like leads/{id}/notes. Numbers in braces are digits, {uid} and {name} any word."""

    method: str
    pattern: re.Pattern[str]
    action: Action
    admin: bool


@dataclass(slots=True)
class Table:
    """All routes, filled by the api_* modules at import."""

    routes: list[Route] = field(default_factory=list)

    def add(self, method: str, path: str, *, admin: bool = False) -> Callable[[A], A]:
        """Register the decorated function."""
        kinds = {"uid": r"[0-9a-zA-Z-]+", "kind": r"leads|contacts|companies", "code": r"[\w.-]+"}
        pattern = re.sub(r"{(\w+)}", lambda found: f"(?P<{found[1]}>{kinds.get(found[1], '[0-9]+')})", path)

        def registered(action: A) -> A:
            self.routes.append(Route(method, re.compile(pattern), action, admin))
            return action

        return registered

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """Find the route. Raises 404, or 405 when only the method is wrong."""
        matched = [(route, found) for route in self.routes if (found := route.pattern.fullmatch(path))]
        if not matched:
            raise Refusal(404, f"Cannot {method} /api/v4/{path}")
        for route, found in matched:
            if route.method == method:
                return route, found.groupdict()
        raise Refusal(405, "Method Not Allowed")


TABLE = Table()


def answer(cloud: Cloud, account: Account | None, request: Request, table: Table) -> Reply:
    """Answer a request to an account's host. Raises Refusal."""
    cloud.limits.check_ban(request.source)
    if account is None:
        raise unauthorized()
    if account.options.refuse_address:
        raise HtmlRefusal()
    token, user = _who(cloud, account, request.headers)
    cloud.limits.count(account.host, token.client_id, request.source, by_address=account.platform == 2)
    if account.options.unpaid:
        raise Refusal(402, "Payment Required")
    route, params = table.find(request.method, request.path)
    if route.admin and not user.is_admin:
        raise no_right()
    if "crm" not in token.scopes:
        raise no_right()
    call = Call(
        cloud,
        account,
        user,
        cloud.integrations[token.client_id],
        token,
        request.method,
        request.path,
        params,
        _grouped(request.query),
        _json(request),
    )
    if request.headers.get("Cookie") and request.path.startswith("contacts/chats"):
        raise Refusal(400, "Session cookies are not allowed here")  # 3.5
    made = route.action(call)
    if isinstance(made, Reply):
        return made
    return Reply(204) if made is None else Reply(200, made)


def _who(cloud: Cloud, account: Account, headers: Mapping[str, str]) -> tuple[Token, User]:
    """Find the token and the user whose rights apply."""
    kind, _, text = headers.get("Authorization", "").partition(" ")
    token = cloud.access.get(text.strip())
    if kind.lower() != "bearer" or token is None or token.account_id != account.id:
        raise unauthorized()
    is_dead = token.is_revoked or token.expires_at <= cloud.peer.now()
    if is_dead or token.client_id not in account.installs:
        raise unauthorized()
    token.was_seen = True
    user = account.users.get(token.user_id)
    context = headers.get("X-Context-User-ID", "")
    if not context:
        if user is None:
            raise unauthorized()
        return token, user
    other = account.users.get(int(context)) if context.isdigit() else None
    if user is None or not user.is_admin or other is None or other.is_free or not other.is_active:
        raise unauthorized()
    return token, other


def _grouped(query: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return found


def _json(request: Request) -> object:
    """Read the body of a write; GET and an empty body are None."""
    if request.method == "GET" or not request.body:
        return None
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "application/hal+json"):
        raise Refusal(400, "Content-Type must be application/json")
    try:
        return json.loads(request.body)
    except ValueError as trouble:
        raise Refusal(400, "Request data is not valid JSON") from trouble


def listed(call: Call, name: str, rows: list[Json], *, limit: int = 250, path: str = "") -> Json | None:
    """Make one page of a collection: 204 when empty, _links.next when there is more (3.1)."""
    size, page = _positive(call, "limit", limit), _positive(call, "page", 1)
    if size > limit:
        raise Refusal(422, f"Limit {limit} per page")
    shown = rows[(page - 1) * size : page * size]
    if not shown:
        return None
    path = path or call.path
    base = f"{call.cloud.url(call.account.host)}/api/v4/{path}"
    links = {"self": {"href": f"{base}?page={page}&limit={size}"}}
    if page * size < len(rows):
        links["next"] = {"href": f"{base}?page={page + 1}&limit={size}"}
    return {"_page": page, "_links": links, "_embedded": {name: shown}}


def _positive(call: Call, name: str, default: int) -> int:
    value = call.arg(name, str(default))
    if not value.isdigit() or not int(value):
        raise Refusal(400, f"Invalid {name}")
    return int(value)


def need(found: Json | None) -> Json:
    """Return what was looked for. Raises 404."""
    if found is None:
        raise not_found()
    return found
