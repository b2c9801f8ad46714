"""Setting up an end: from what an admin filled in to a connected end, every failure with its reason. One way for pages and API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import marshmallow
from marshmallow import fields as kinds
from sqlalchemy import select

from widget_backend import clock
from widget_backend.accounts.models import AuditEntry
from widget_backend.bridge import life, registry
from widget_backend.bridge.ends import Choice
from widget_backend.bridge.errors import EndError, MostikError, Unsafe
from widget_backend.bridge.models import EndRecord, Route
from widget_backend.bridge.tenancy import transaction
from widget_backend.limits import LimitWait
from widget_backend.outside import OutsideError

MASK = "••••••••"
"""What is shown in the place of a secret; when it comes back, the secret is unchanged."""


class Trouble(MostikError):
    """An end could not be connected, checked or disconnected; `reason` is a slug of the locales' reasons."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Unfit(MostikError):
    """What was filled in cannot be. `fields`: name -> required, wrong or unknown."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(dict(fields))
        self.fields = dict(fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One setting that an admin may fill in. `kind`: text, secret, switch, number. `label`, `help`: slugs of the locales. `catalog`: asked of the end."""

    name: str
    kind: str
    label: str
    help: str
    is_required: bool
    default: object
    catalog: str = ""


def fields_of(adapter: str) -> tuple[Field, ...]:
    """Return the settings of an adapter that people fill in, in the order of its schema; the rest are facts."""
    declared = _schema(adapter)().fields
    return tuple(
        _field(adapter, name, field)
        for name, field in declared.items()
        if field.metadata.get("label") and field.metadata.get("widget") != "hidden"
    )


def create(account_id: UUID, adapter: str, *, title: str, given: Mapping[str, object], actor: str) -> UUID:
    """Make an end from what was filled in; it is not connected yet. Raises: Unfit."""
    settings, secrets = _read(adapter, given, is_new=True)
    return life.create(account_id, adapter, title=title, settings=settings, secrets=secrets, actor=actor)


def change(
    account_id: UUID, end_id: UUID, *, title: str | None, given: Mapping[str, object], actor: str = "server"
) -> None:
    """Change settings of an end; a mask or an empty secret leaves the secret as it is. Raises: Unfit, KeyError."""
    row = find(account_id, end_id)
    secret = {field.name for field in fields_of(row.adapter) if field.kind == "secret"}
    wanted = {name: value for name, value in given.items() if not (name in secret and value in (MASK, ""))}
    settings, secrets = _read(row.adapter, wanted, is_new=False)
    life.change(account_id, end_id, settings=settings, secrets=secrets, title=title)
    _note(account_id, actor, "end.change", end_id, fields=sorted({*settings, *secrets}))


def connect(account_id: UUID, end_id: UUID, *, actor: str) -> Sequence[str]:
    """Connect an end, or connect it again; return slugs of warnings. Raises: Trouble, KeyError."""
    find(account_id, end_id)
    with explained():
        return life.connect(account_id, end_id, actor=actor).warnings


def check(account_id: UUID, end_id: UUID) -> None:
    """Ask the outside whether an end works; lost access switches it to `error`. Raises: Trouble, KeyError."""
    ask(account_id, end_id, lambda adapter: adapter.check())
    with transaction(account_id) as session:
        session.get_one(EndRecord, end_id).checked_at = clock.now()


def disconnect(account_id: UUID, end_id: UUID, *, actor: str) -> None:
    """Disconnect an end. Raises: Trouble (the end still stands), KeyError."""
    with explained():
        life.disconnect(account_id, end_id, actor=actor)
    _note(account_id, actor, "end.disconnect", end_id)


def join(account_id: UUID, channel_id: UUID, connection_id: UUID, *, actor: str) -> None:
    """Let a channel feed a connection. Safe to repeat; the settings of a pair that is joined already stay."""
    if (channel_id, connection_id) not in pairs(account_id):
        life.join(account_id, channel_id, connection_id)
        _note(account_id, actor, "route.join", channel_id, connection=str(connection_id))


def part(account_id: UUID, channel_id: UUID, connection_id: UUID, *, actor: str) -> None:
    """Let a channel no longer feed a connection. Safe to repeat."""
    if (channel_id, connection_id) in pairs(account_id):
        life.part(account_id, channel_id, connection_id)
        _note(account_id, actor, "route.part", channel_id, connection=str(connection_id))


def choices(account_id: UUID, end_id: UUID, catalog: str) -> Sequence[Choice]:
    """Ask an end what a setting can be. Raises: Trouble, KeyError."""
    found: Sequence[Choice] = ask(account_id, end_id, lambda adapter: adapter.settings_catalog(catalog))
    return found


def listed(account_id: UUID) -> Sequence[EndRecord]:
    """Return every end of an account, oldest first."""
    query = (
        select(EndRecord)
        .where(EndRecord.account_id == account_id, EndRecord.deleted_at.is_(None))
        .order_by(EndRecord.created_at, EndRecord.id)
    )
    with transaction(account_id) as session:
        return session.scalars(query).all()


def find(account_id: UUID, end_id: UUID) -> EndRecord:
    """Return one end of an account. Raises: KeyError."""
    with transaction(account_id) as session:
        row = session.get(EndRecord, end_id)
    if row is None or row.account_id != account_id or row.deleted_at is not None:
        raise KeyError(end_id)
    return row


def pairs(account_id: UUID) -> set[tuple[UUID, UUID]]:
    """Return what feeds what: (channel, connection)."""
    query = select(Route.channel_id, Route.connection_id).where(Route.account_id == account_id)
    with transaction(account_id) as session:
        return {(row.channel_id, row.connection_id) for row in session.execute(query)}


def _note(account_id: UUID, actor: str, action: str, subject: UUID, **details: object) -> None:
    with transaction(account_id) as session:
        session.add(
            AuditEntry(account_id=account_id, actor=actor, action=action, subject=str(subject), details=details)
        )


def ask(account_id: UUID, end_id: UUID, question: Callable[[Any], Any]) -> Any:
    """Ask an end something; an answer that says its access is lost switches it to `error`."""
    end = life.snapshot(account_id, end_id)
    with explained():
        try:
            return question(registry.adapter(end))
        except EndError as error:
            life.mark_lost(account_id, end_id, error)
            raise


@contextmanager
def explained() -> Iterator[None]:
    """Turn whatever an outside call may raise into one error with a reason."""
    try:
        yield
    except EndError as error:
        raise Trouble(error.reason, error.detail) from error
    except LimitWait as error:
        raise Trouble("limit") from error
    except OutsideError as error:
        raise Trouble(error.reason, error.host) from error
    except Unsafe as error:
        raise Trouble("unsafe_address", error.reason) from error


def _schema(adapter: str) -> type[marshmallow.Schema]:
    found: type[marshmallow.Schema] = registry.load(registry.manifest(adapter).settings).Settings
    return found


def _field(adapter: str, name: str, field: kinds.Field[Any]) -> Field:
    facts = field.metadata
    kind = "text"
    if facts.get("secret"):
        kind = "secret"
    elif isinstance(field, kinds.Boolean):
        kind = "switch"
    elif isinstance(field, kinds.Number):
        kind = "number"
    return Field(
        name=name,
        kind=kind,
        label=_slug(adapter, str(facts["label"])),
        help=_slug(adapter, str(facts.get("help", ""))),
        is_required=field.required,
        default="" if field.load_default is marshmallow.missing else field.load_default,
        catalog=str(facts.get("catalog", "")),
    )


def _slug(adapter: str, key: str) -> str:
    if not key:
        return ""
    return f"settings.{key}" if key.startswith((f"{adapter}.", "channel.")) else f"settings.{adapter}.{key}"


def _read(adapter: str, given: Mapping[str, object], *, is_new: bool) -> tuple[dict[str, object], dict[str, str]]:
    """Check what was filled in; return (settings, secrets) without the facts that only `connect` stores."""
    known = {field.name: field for field in fields_of(adapter)}
    wrong = {name: "unknown" for name in given if name not in known}
    wrong |= {name: "required" for name, field in known.items() if is_new and field.is_required and not given.get(name)}
    if wrong:
        raise Unfit(wrong)
    # a form sends a number that is left out as an empty text
    told = {name: None if value == "" and known[name].kind == "number" else value for name, value in given.items()}
    try:
        loaded = _schema(adapter)().load(told, partial=not is_new)
    except marshmallow.ValidationError as error:
        names = error.messages if isinstance(error.messages, dict) else known
        raise Unfit(dict.fromkeys(names, "wrong")) from error
    mine = {name: value for name, value in loaded.items() if name in known}
    secrets = {name: str(value) for name, value in mine.items() if known[name].kind == "secret"}
    return {name: value for name, value in mine.items() if name not in secrets}, secrets
