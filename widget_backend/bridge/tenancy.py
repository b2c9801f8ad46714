"""The one place that scopes queries to an account.

Every transaction tells the database whose it is; row-level security then shows and takes only that account's rows. Without an account nothing
tenant-owned is visible: work across accounts goes over the exempt tables (bridge/models.py) and enters one account at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session, SessionTransaction

from widget_backend.bridge import runtime

_account: ContextVar[str] = ContextVar("mostik_account", default="")


def current_account() -> str:
    """Return the account whose transactions begin now, or an empty text."""
    return _account.get()


@contextmanager
def as_account(account_id: UUID | str | None) -> Iterator[None]:
    """Let transactions that begin inside belong to an account (None: to nobody). One that has already begun keeps its own."""
    token = _account.set(str(account_id) if account_id else "")
    try:
        yield
    finally:
        _account.reset(token)


@contextmanager
def transaction(account_id: UUID | str | None) -> Iterator[Session]:
    """Open one transaction of one account (None: only the exempt tables are seen); commit at the end, roll back on an error."""
    with as_account(account_id), Session(runtime.get().engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def at_once() -> Iterator[Connection]:
    """Give a connection whose every statement is a transaction of its own, and one round trip; nobody's: only the exempt tables are seen."""
    engine = runtime.get().engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def is_away(error: Exception) -> bool:
    """Tell a database that is away, or broke a tie, from what it cannot hold (SQLSTATE class 54: a limit of the program)."""
    if not isinstance(error, DBAPIError):
        return False
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return error.connection_invalidated or (isinstance(error, OperationalError) and not state.startswith("54"))


@event.listens_for(Session, "after_begin")
def _tell_database(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    # local to the transaction: a pooled connection forgets it at the end, so that nobody inherits an account
    if account := _account.get():
        connection.exec_driver_sql("select set_config('mostik.account_id', %(account)s, true)", {"account": account})
