"""What a message holds beside its text: attachments and the errands that fetch them, quotes, forwards, the client's profile."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from widget_backend import crypto, ids
from widget_backend.bridge import codec
from widget_backend.bridge.events import (
    Attachment,
    CallMissed,
    Direction,
    Kind,
    LeadFormFilled,
    MessageReceived,
    Person,
)
from widget_backend.bridge.models import AttachmentRecord, Delivery, EndRecord, Errand, Message, MessageKey
from widget_backend.bridge.statuses import Status
from widget_backend.bridge.tenancy import transaction


class HasMessage(Protocol):
    """What `keys` map to."""

    @property
    def message_id(self) -> UUID:
        """Our id of the message."""


@dataclass(slots=True)
class Files:
    """Collects the attachments of a batch; files are asked for right away, since their links may live only minutes."""

    session: Session
    account_id: UUID
    end_id: UUID
    _rows: list[dict[str, object]]
    _errands: list[dict[str, object]]

    def __init__(self, session: Session, account_id: UUID, end_id: UUID) -> None:
        self.session, self.account_id, self.end_id = session, account_id, end_id
        self._rows, self._errands = [], []

    def content_of(
        self,
        event: MessageReceived,
        message_id: UUID,
        conversation_id: UUID,
        keys: Mapping[tuple[str, str], HasMessage],
    ) -> dict[str, object]:
        """Return the JSON content of a new message, and note the files to fetch."""
        content: dict[str, object] = {}
        forwarded = tuple(attachment for forward in event.forwards for attachment in forward.attachments)
        attachments = self.add(message_id, conversation_id, event.attachments + forwarded, after=0)
        if attachments:
            content["attachments"] = attachments
        if event.quote is not None:
            quote: dict[str, object] = {"text": event.quote.text, "author": event.quote.author}
            known = keys.get((event.scope, event.quote.remote_id))
            quoted_id = known.message_id if known else self._quoted(event)
            if quoted_id is not None:
                quote["message_id"] = str(quoted_id)
            content["quote"] = quote
        if event.forwards:
            content["forwards"] = [{"author": f.author, "text": f.text} for f in event.forwards]
        for name in ("ref", "ref_source", "payload"):
            if value := getattr(event, name):
                content[name] = value
        return content

    def add(
        self, message_id: UUID, conversation_id: UUID, attachments: Sequence[Attachment], *, after: int
    ) -> list[dict[str, object]]:
        """Note attachments of a message, numbered after `after`; return them as content."""
        stored = []
        for number, attachment in enumerate(attachments, start=after + 1):
            stored.append({**codec.dump_attachment(attachment), "no": number})
            if attachment.has_file:
                self._note(message_id, conversation_id, number, attachment)
        return stored

    def add_to_album(self, message_id: UUID, event: MessageReceived) -> bool:
        """Add one more piece to an album that has not left yet; False when it has."""
        has_left = select(Delivery.id).where(
            Delivery.message_id == message_id,
            (Delivery.first_tried_at.is_not(None)) | (Delivery.status != Status.QUEUED.value),
        )
        if self.session.scalar(has_left.limit(1)) is not None:
            return False
        row = self.session.get_one(Message, message_id)
        known: list[dict[str, Any]] = list(row.content.get("attachments", []))  # type: ignore[call-overload]
        last = max((int(one["no"]) for one in known), default=0)
        known += self.add(message_id, row.conversation_id, event.attachments, after=last)
        row.content = {**row.content, "attachments": known}
        row.text = row.text or event.text
        self.session.flush()
        return True

    def leave(self, message_id: UUID) -> None:
        """Fetch no files of a message that the account's rules let go nowhere: it is in the journal, and its words are enough there."""
        left = {row["id"] for row in self._rows if row["message_id"] == message_id}
        self._rows = [
            {**row, "state": "failed", "reason": "not_wanted"} if row["id"] in left else row for row in self._rows
        ]
        self._errands = [errand for errand in self._errands if errand["subject_id"] not in left]

    def flush(self) -> None:
        """Write the attachments and their errands."""
        if self._rows:
            self.session.execute(insert(AttachmentRecord), self._rows)
        if self._errands:
            self.session.execute(insert(Errand), self._errands)
        self._rows, self._errands = [], []

    def _note(self, message_id: UUID, conversation_id: UUID, number: int, attachment: Attachment) -> None:
        id = ids.new_id()
        source = crypto.seal_text(json.dumps({"url": attachment.url, "handle": attachment.handle}), f"attachment:{id}")
        self._rows.append(
            {
                "id": id,
                "account_id": self.account_id,
                "message_id": message_id,
                "end_id": self.end_id,
                "conversation_id": conversation_id,
                "number": number,
                "state": "wait",
                "reason": "",
                "source": source,
                "name": attachment.name,
                "mime": attachment.mime,
                "size_bytes": attachment.size_bytes,
            }
        )
        self._errands.append(
            {
                "subject_id": id,
                "kind": "file",
                "account_id": self.account_id,
                "end_id": self.end_id,
                "conversation_id": conversation_id,
            }
        )

    def _quoted(self, event: MessageReceived) -> UUID | None:
        if event.quote is None or not event.quote.remote_id:
            return None
        return self.session.scalar(
            select(MessageKey.message_id).where(
                MessageKey.end_id == self.end_id,
                MessageKey.scope == event.scope,
                MessageKey.remote_id == event.quote.remote_id,
            )
        )


def source_of(row: AttachmentRecord) -> tuple[str, str]:
    """Return (url, handle) of an attachment's file."""
    source = json.loads(crypto.open_text(row.source, f"attachment:{row.id}"))
    return source["url"], source["handle"]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the file of an attachment is. States: wait, stored, failed (then with a reason, in the words of `adapter` where it has some)."""

    state: str
    sha256: str
    name: str
    reason: str
    adapter: str


def whereabouts(account_id: UUID, attachment_id: UUID) -> Whereabouts | None:
    """Tell where the file of an attachment is now; None when the attachment is gone."""
    with transaction(account_id) as session:
        row = session.get(AttachmentRecord, attachment_id)
        if row is None:
            return None
        adapter = session.get_one(EndRecord, row.end_id).adapter
        return Whereabouts(row.state, row.file_ref, row.name, row.reason, adapter)


def profile_of(person: Person) -> dict[str, str]:
    """Return what was told about a client, as kept."""
    return {name: str(value) for name, value in codec.dump_fields(person).items() if name not in ("remote_id", "name")}


def person_of(remote_id: str, name: str, profile: Mapping[str, str]) -> Person:
    """Return a client as kept, as adapters see him."""
    return Person(remote_id=remote_id, name=name, **profile)


def ask_profile(session: Session, account_id: UUID, end_id: UUID, client_id: UUID, conversation_id: UUID) -> None:
    """Have a client's profile fetched."""
    _ask(session, "profile", account_id, end_id, client_id, conversation_id)


def ask_whole(session: Session, account_id: UUID, end_id: UUID, message_id: UUID, conversation_id: UUID) -> None:
    """Have the whole of a message fetched of which a hook brought a part."""
    _ask(session, "whole", account_id, end_id, message_id, conversation_id)


def _ask(session: Session, kind: str, account_id: UUID, end_id: UUID, subject_id: UUID, conversation_id: UUID) -> None:
    errand = insert(Errand).values(
        subject_id=subject_id, kind=kind, account_id=account_id, end_id=end_id, conversation_id=conversation_id
    )
    session.execute(errand.on_conflict_do_nothing())


def told_as_message(event: LeadFormFilled | CallMissed) -> MessageReceived:
    """Turn a lead form or a missed call into a message, so that it reaches the CRM on the same road."""
    if isinstance(event, CallMissed):
        return MessageReceived(
            remote_id=f"call:{event.remote_id}",
            direction=Direction.IN,
            sent_at=event.at,
            client=event.client,
            attachments=(Attachment(kind=Kind.CALL),),
        )
    lines = [event.title, *(f"{question}: {answer}" for question, answer in event.answers)]
    return MessageReceived(
        remote_id=f"lead:{event.remote_id}",
        direction=Direction.IN,
        sent_at=event.at,
        client=event.client,
        text="\n".join(line for line in lines if line),
    )
