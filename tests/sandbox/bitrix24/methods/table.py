"""The table of REST methods and the call that each of them gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.sandbox.bitrix24 import php
from tests.sandbox.bitrix24.cloud import Cloud
from tests.sandbox.bitrix24.errors import RestError, missing
from tests.sandbox.bitrix24.state import Install, Portal, Token, User


@dataclass(frozen=True, slots=True)
class Paged:
    """A page of a list: goes out as result, total and next (bitrix24.md 2)."""

    result: object
    total: int
    next: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one method. `params` has upper-case names; `install` is None for an incoming webhook."""

    cloud: Cloud
    portal: Portal
    user: User
    params: dict[str, object]
    install: Install | None = None
    token: Token | None = None

    @property
    def client_id(self) -> str:
        """The calling application, or nothing."""
        return self.install.app.client_id if self.install else ""

    @property
    def app(self) -> Install:
        """The installation; methods marked with app=True always have one."""
        assert self.install is not None
        return self.install

    def get(self, name: str) -> object:
        """Return a parameter or None."""
        return self.params.get(name)

    def need(self, name: str) -> object:
        """Return a parameter. Raises RestError when it is absent or empty; 0 and "0" count as present."""
        value = self.params.get(name)
        if value in (None, "", [], {}):
            raise missing(name)
        return value

    def need_int(self, name: str) -> int:
        """Return a parameter as a positive number. Raises RestError otherwise."""
        value = php.number(self.need(name))
        if value <= 0:
            raise missing(name)
        return value

    def start(self) -> int:
        """Return the offset of the page; -1 asks for a page without counting."""
        return php.number(self.get("START"))


Action = Callable[[Call], object | Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Method:
    """What is needed to call a method."""

    name: str
    action: Action
    scope: str = ""
    needs_app: bool = False
    needs_admin: bool = False
    refusal: str = "WRONG_AUTH_TYPE"  # what a webhook hears: WRONG_AUTH_TYPE or ACCESS_DENIED (section 11, 5)


METHODS: dict[str, Method] = {}


def method(
    name: str, *, scope: str = "", app: bool = False, admin: bool = False, refusal: str = "WRONG_AUTH_TYPE"
) -> Callable[[Action], Action]:
    """Put a function into the table under the method's name (lower case)."""

    def keep(action: Action) -> Action:
        METHODS[name.lower()] = Method(name, action, scope, app, admin, refusal)
        return action

    return keep


PAGE = 50


def page(call: Call, rows: list[object]) -> Paged:
    """Cut one page of 50."""
    start = call.start()
    if start == -1:
        return Paged(rows[:PAGE], -1)
    following = start + PAGE
    return Paged(rows[start:following], len(rows), following if following < len(rows) else None)


def app_context_required(refusal: str) -> RestError:
    """Make the error that a webhook hears."""
    if refusal == "ACCESS_DENIED":
        return RestError(403, "ACCESS_DENIED", "Access denied! Application context required")
    text = "Current authorization type is denied for this method Application context required"
    return RestError(403, "WRONG_AUTH_TYPE", text)
