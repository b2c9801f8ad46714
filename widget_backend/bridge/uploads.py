"""Files that people attach while they write: taken into the store, and named by a signed ticket until the message that holds them is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from widget_backend import crypto, files
from widget_backend.bridge import runtime
from widget_backend.bridge.errors import MostikError
from widget_backend.bridge.events import Attachment, Kind

TICKET_FOR = timedelta(days=1)
_PURPOSE = "upload"
_KINDS = {"image/gif": Kind.ANIMATION, "image/svg+xml": Kind.DOCUMENT}
_FAMILIES = {"image": Kind.PHOTO, "video": Kind.VIDEO, "audio": Kind.AUDIO}


class BadUpload(MostikError):
    """A ticket that names no file of this account, or whose time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file in the store of an account."""

    sha256: str
    name: str
    mime: str
    size_bytes: int

    @property
    def attachment(self) -> Attachment:
        """The file as a thing to send: its kind is what its type says; a network that does not know the kind takes a document."""
        kind = _KINDS.get(self.mime) or _FAMILIES.get(self.mime.partition("/")[0], Kind.DOCUMENT)
        return Attachment(kind=kind, name=self.name, mime=self.mime, size_bytes=self.size_bytes)


def take(account_id: UUID, chunks: Iterable[bytes], *, name: str) -> Upload:
    """Take a file in. Raises: files.FileTooLarge."""
    with files.store().incoming(account_id, max_bytes=runtime.get().config.outside_max_file_bytes, name=name) as taken:
        for chunk in chunks:
            taken.write(chunk)
    stored = taken.stored
    return Upload(
        sha256=stored.sha256, name=files.safe_name(name), mime=stored.content_type, size_bytes=stored.bytes_count
    )


def ticket(account_id: UUID, upload: Upload) -> str:
    """Name a file for whoever may attach it in this account."""
    payload = {"a": account_id.hex, "s": upload.sha256, "n": upload.name, "m": upload.mime, "b": upload.size_bytes}
    return crypto.sign(payload, _PURPOSE, TICKET_FOR)


def of_ticket(account_id: UUID, given: str) -> Upload:
    """Return the file that a ticket names. Raises: BadUpload."""
    try:
        known = crypto.unsign(given, _PURPOSE)
    except crypto.BadToken as error:
        raise BadUpload(error.reason) from error
    if known["a"] != account_id.hex:
        raise BadUpload("forged")
    return Upload(sha256=str(known["s"]), name=str(known["n"]), mime=str(known["m"]), size_bytes=int(str(known["b"])))
