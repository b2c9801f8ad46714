"""Quick replies: templates kept for an account, found while one types, and filled with the facts of a card."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from widget_backend import clock, ids
from widget_backend.bridge import substitutions
from widget_backend.bridge.ends import Card
from widget_backend.bridge.errors import MostikError
from widget_backend.bridge.models import QuickReply
from widget_backend.bridge.tenancy import transaction
from widget_backend.bridge.uploads import Upload

TITLE_LIMIT, TEXT_LIMIT, FILES_LIMIT = 120, 10_000, 10
SHARED_LIMIT, PERSONAL_LIMIT = 1000, 200
FOUND = 50


class TooManyReplies(MostikError):
    """There are as many as there may be: 1000 shared ones in an account, 200 of one person."""


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """Where a reply stands in a list: how well it fits, its title, its id."""

    rank: int
    title: str
    id: str

    def encode(self) -> str:
        """Write it for an address."""
        return base64.urlsafe_b64encode(json.dumps([self.rank, self.title, self.id]).encode()).decode()

    @classmethod
    def decode(cls, text: str) -> Spot:
        """Read what `encode` wrote. Raises: ValueError."""
        try:
            rank, title, id = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
            return cls(int(rank), str(title), str(id))
        except (binascii.Error, UnicodeError, TypeError) as error:
            raise ValueError(text) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which replies. `owner`: his personal ones besides the shared; `language`: those of that language and of none; `query`: typed so far."""

    owner: str = ""
    language: str = ""
    query: str = ""
    after: Spot | None = None
    limit: int = FOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What a reply is made of. `owner` empty: shared by all; language empty: for all."""

    title: str
    text: str = ""
    files: tuple[Upload, ...] = ()
    owner: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A reply ready to be sent or changed first. `missing`: names of facts that the card does not have."""

    text: str
    files: tuple[Upload, ...]
    missing: tuple[str, ...]


def found(account_id: UUID, wanted: Wanted) -> tuple[list[QuickReply], Spot | None]:
    """Return a page of replies, best first, and behind what the next one begins.

    Shape: what begins with the typed words comes before what has them in its title, and that before what has them in its text; then by title.
    """
    with transaction(account_id) as session:
        rows = session.scalars(
            select(QuickReply).where(QuickReply.account_id == account_id, QuickReply.owner.in_({"", wanted.owner}))
        ).all()
    words = wanted.query.casefold().strip()
    spots = {
        Spot(rank, row.title.casefold(), row.id.hex): row
        for row in rows
        if (rank := _rank(row, words)) is not None and (not wanted.language or row.language in ("", wanted.language))
    }
    behind = sorted(spot for spot in spots if wanted.after is None or spot > wanted.after)
    shown = behind[: wanted.limit]
    return [spots[spot] for spot in shown], shown[-1] if len(behind) > len(shown) else None


def _rank(row: QuickReply, words: str) -> int | None:
    title = row.title.casefold()
    if title.startswith(words):
        return 0
    if words in title:
        return 1
    return 2 if words in row.text.casefold() else None


def create(account_id: UUID, template: Template) -> QuickReply:
    """Keep a reply. Raises: TooManyReplies."""
    row = QuickReply(id=ids.new_id(), account_id=account_id, owner=template.owner, **_values(template))
    with transaction(account_id) as session:
        count = session.scalar(
            select(func.count()).where(QuickReply.account_id == account_id, QuickReply.owner == template.owner)
        )
        if (count or 0) >= (PERSONAL_LIMIT if template.owner else SHARED_LIMIT):
            raise TooManyReplies()
        session.add(row)
        session.flush()
        session.refresh(row)
    return row


def find(account_id: UUID, reply_id: UUID) -> QuickReply:
    """Return one reply. Raises: KeyError."""
    with transaction(account_id) as session:
        return _one(session, account_id, reply_id)


def change(account_id: UUID, reply_id: UUID, template: Template) -> QuickReply:
    """Put other contents into a reply; whose it is stays. Raises: KeyError."""
    with transaction(account_id) as session:
        row = _one(session, account_id, reply_id)
        for name, value in _values(template).items():
            setattr(row, name, value)
        row.updated_at = clock.now()
    return row


def delete(account_id: UUID, reply_id: UUID) -> None:
    """Forget a reply. Raises: KeyError."""
    with transaction(account_id) as session:
        session.delete(_one(session, account_id, reply_id))


def render(row: QuickReply, card: Card | None = None, more: Mapping[str, str] | None = None) -> Rendered:
    """Fill a reply with the facts of a card (`Card.fields`), and with `more`: of whoever writes (USER_NAME ...), of the client (NAME ...)."""
    facts = {**(card.fields if card else {}), **(more or {})}
    filled = substitutions.fill(row.text, facts)
    return Rendered(filled.text, files_of(row), filled.missing)


def files_of(row: QuickReply) -> tuple[Upload, ...]:
    """Return the files of a reply."""
    stored: Sequence[Mapping[str, Any]] = row.files
    return tuple(Upload(**one) for one in stored)


def _values(template: Template) -> dict[str, Any]:
    return {
        "title": template.title,
        "text": template.text,
        "language": template.language,
        "files": [
            {"sha256": one.sha256, "name": one.name, "mime": one.mime, "size_bytes": one.size_bytes}
            for one in template.files
        ],
    }


def _one(session: Session, account_id: UUID, reply_id: UUID) -> QuickReply:
    row = session.get(QuickReply, reply_id)
    if row is None or row.account_id != account_id:
        raise KeyError(reply_id)
    return row
