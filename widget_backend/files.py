"""The store of attachments: a folder, content-addressed within each account, and signed links that expire.

A file lies at `<account>/<sha256>`; it appears there whole or not at all. What a file is, its first bytes say, never its
name or its sender. A link is the right to one file for a while; whoever follows it gets nothing that a browser would run.
"""

import hashlib
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO
from uuid import UUID

import puremagic
from flask import Blueprint, Response, send_file

from widget_backend import clock, crypto, ids, language, texts
from widget_backend.bridge import content
from widget_backend.bridge.errors import MostikError
from widget_backend.problems import NotFound, Problem

UNKNOWN_TYPE = "application/octet-stream"
HEAD_BYTES = 4096
_PURPOSE = "files"
_INCOMING = "incoming"
_ABANDONED = timedelta(hours=6)
_LOOK_AGAIN = timedelta(seconds=30)
_MAX_NAME_CHARS = 120
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Types a browser shows without running anything of them, also in a sandbox (a PDF viewer does not start there).
_SHOWN = re.compile(r"image/(jpeg|png|gif|webp|avif|bmp)|audio/[\w.+-]+|video/[\w.+-]+|text/plain")
_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'"

# (offset, bytes, type). First match wins. Sources: the formats' own specifications.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "image/jpeg"), (0, b"\x89PNG\r\n\x1a\n", "image/png"), (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"), (8, b"WAVE", "audio/wav"), (8, b"AVI ", "video/x-msvideo"), (0, b"BM", "image/bmp"),
    (0, b"%PDF-", "application/pdf"), (0, b"ID3", "audio/mpeg"), (0, b"fLaC", "audio/flac"), (0, b"#!AMR", "audio/amr"),
    (0, b"\x1aE\xdf\xa3", "video/webm"), (4, b"ftypqt", "video/quicktime"), (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypheic", "image/heic"), (4, b"ftypmif1", "image/heic"), (4, b"ftypavif", "image/avif"),
    (4, b"ftyp", "video/mp4"), (0, b"\x1f\x8b", "application/gzip"), (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"), (0, b"{\\rtf", "application/rtf"),
)  # fmt: skip
_OFFICE: Mapping[str, str] = {
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
}
_MARKUP = re.compile(rb"\s*(<!doctype html|<html|<head|<body|<script|<svg|<\?xml|<!--)", re.IGNORECASE)

blueprint = Blueprint("files", __name__)


class FileTooLarge(MostikError):
    """A file goes beyond its cap; nothing of it is kept."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self.max_bytes = max_bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that lies in the store."""

    account_id: UUID
    sha256: str
    bytes_count: int
    content_type: str


class Incoming:
    """A file on its way into the store: write to it, as `outside.fetch` does; `stored` is there after the block."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._count = 0
        self._head = b""
        self._stored: Stored | None = None

    def write(self, chunk: bytes) -> int:
        """Write a chunk. Raises: FileTooLarge."""
        if self._count + len(chunk) > self._max_bytes:
            raise FileTooLarge(self._max_bytes)
        self._digest.update(chunk)
        self._count += len(chunk)
        self._head += chunk[: max(HEAD_BYTES - len(self._head), 0)]
        return self._file.write(chunk)

    @property
    def stored(self) -> Stored:
        """What was stored, once the block has ended well."""
        if self._stored is None:
            raise RuntimeError("the file is still on its way")
        return self._stored

    def finish(self, account_id: UUID, name: str) -> Stored:
        """Make the file durable and say what it is."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._stored = Stored(account_id, self._digest.hexdigest(), self._count, content_type(self._head, name))
        return self._stored


class Store:
    """Files in a folder, apart by account: `<root>/<account>/<sha256>`."""

    def __init__(self, root: Path, public_url: str, *, link_ttl: timedelta = timedelta(days=7)) -> None:
        self._root = root
        self._public_url = public_url.rstrip("/")
        self._link_ttl = link_ttl

    @contextmanager
    def incoming(self, account_id: UUID, *, max_bytes: int, name: str = "") -> Iterator[Incoming]:
        """Take in a file; if the block fails nothing of it remains. The same bytes are stored once.

        Shape: `name` only tells office formats apart, which are all zip archives inside.
        """
        folder = self._root / _INCOMING
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / str(ids.new_id())
        try:
            with path.open("xb") as file:
                taken = Incoming(file, max_bytes)
                yield taken
                stored = taken.finish(account_id, name)
            target = self._path(account_id, stored.sha256)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            _sync_folder(target.parent)
        finally:
            path.unlink(missing_ok=True)

    def path(self, account_id: UUID, sha256: str) -> Path:
        """Return where a file lies. Raises: NotFound."""
        path = self._path(account_id, sha256)
        if not path.is_file():
            raise NotFound("file_not_found")
        return path

    def open(self, account_id: UUID, sha256: str) -> IO[bytes]:
        """Open a file for reading. Raises: NotFound."""
        return self.path(account_id, sha256).open("rb")

    def delete(self, account_id: UUID, sha256: str) -> None:
        """Remove a file; one that is not there is removed already."""
        self._path(account_id, sha256).unlink(missing_ok=True)

    def link(self, account_id: UUID, sha256: str, name: str = "", *, ttl: timedelta | None = None) -> str:
        """Make an address at which a file can be had for a while by whoever knows it. The name stands in it, readable."""
        return self._signed({"a": account_id.hex, "s": sha256, "n": safe_name(name)}, ttl)

    def late_link(self, account_id: UUID, attachment_id: UUID, *, ttl: timedelta | None = None) -> str:
        """Make an address at which the file of an attachment can be had once it has been fetched; until then it says how things stand."""
        return self._signed({"a": account_id.hex, "t": attachment_id.hex}, ttl)

    def sweep(self, is_used: Callable[[UUID, str], bool], *, older_than: timedelta) -> int:
        """Remove files that nothing uses and that are older than a duration, and what was left half-written; count them."""
        removed = 0
        for path in self._root.glob("*/*"):
            is_incoming = path.parent.name == _INCOMING
            if _age(path) < (_ABANDONED if is_incoming else older_than):
                continue
            if is_incoming or not is_used(UUID(path.parent.name), path.name):
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def forget(self, account_id: UUID) -> None:
        """Remove all files of an account."""
        folder = self._root / str(account_id)
        if folder.exists():
            shutil.rmtree(folder)

    def _signed(self, payload: Mapping[str, str], ttl: timedelta | None) -> str:
        return f"{self._public_url}/files/{crypto.sign(payload, _PURPOSE, ttl or self._link_ttl)}"

    def _path(self, account_id: UUID, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise NotFound("file_not_found")
        return self._root / str(account_id) / sha256


_store: Store | None = None


def configure(store: Store) -> None:
    """Set the store of this process, once at start."""
    global _store
    _store = store


def store() -> Store:
    """Return the store of this process."""
    if _store is None:
        raise RuntimeError("the store of files is not configured")
    return _store


@blueprint.get("/files/<token>")
def serve(token: str) -> Response:
    """Give a file to whoever holds a link to it. Ranges are honoured.

    404: no such link or file, or it could not be fetched; 410: the link is over; 425: it is still being fetched.
    """
    try:
        given = crypto.unsign(token, _PURPOSE)
    except crypto.BadToken as error:
        raise (Problem(410, "link_expired") if error.reason == "expired" else NotFound("file_not_found")) from None
    account_id = UUID(str(given["a"]))
    sha256, name = _late(account_id, UUID(str(given["t"]))) if "t" in given else (str(given["s"]), str(given["n"]))
    path = store().path(account_id, sha256)
    with path.open("rb") as file:
        kind = content_type(file.read(HEAD_BYTES), name)
    is_shown = _SHOWN.fullmatch(kind) is not None
    answer = send_file(
        path,
        mimetype=kind if is_shown or kind in _OFFICE.values() else _harmless(kind),
        as_attachment=not is_shown,
        download_name=name or sha256[:12],
        etag=sha256,
        conditional=True,
        max_age=3600,
    )
    answer.headers["Cache-Control"] = "private, max-age=3600, immutable"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Content-Security-Policy"] = _POLICY
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["X-Robots-Tag"] = "noindex"
    return answer


def _late(account_id: UUID, attachment_id: UUID) -> tuple[str, str]:
    """Return (sha256, name) of a file that was still on its way when its link was made. Raises: Problem."""
    found = content.whereabouts(account_id, attachment_id)
    if found is None:
        raise NotFound("file_not_found")
    if found.state == "wait":
        raise Problem(425, "file_on_its_way", retry_after=_LOOK_AGAIN)
    if found.state != "stored":
        raise NotFound("file_not_fetched", texts.reason(found.reason, found.adapter, language.current()))
    return found.sha256, found.name


def content_type(head: bytes, name: str = "") -> str:
    """Judge a file by its first bytes. The name only tells apart formats that look the same inside."""
    if head[:4] == b"OggS":
        return "video/ogg" if b"theora" in head[:200] else "audio/ogg"
    if head[:4] == b"PK\x03\x04":
        return _OFFICE.get(name.rpartition(".")[2].lower(), "application/zip")
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and not head.startswith(b"\xff\xfe"):
        return "image/jpeg" if head[1] == 0xD8 else "audio/aac" if head[1] & 0xF6 == 0xF0 else "audio/mpeg"
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    if _is_text(head):
        return ("image/svg+xml" if b"<svg" in head else "text/html") if _MARKUP.match(head) else "text/plain"
    try:
        return str(puremagic.from_string(head, mime=True)) or UNKNOWN_TYPE
    except (puremagic.PureError, ValueError):
        return UNKNOWN_TYPE


def safe_name(name: str) -> str:
    """Return a file name without folders, control characters and tricks of direction; its ending survives shortening."""
    plain = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))
    plain = re.split(r"[\\/]", plain)[-1].strip(" .")
    if len(plain) <= _MAX_NAME_CHARS:
        return plain
    stem, dot, ending = plain.rpartition(".")
    if not dot or len(ending) > 10:
        return plain[:_MAX_NAME_CHARS]
    return f"{stem[: _MAX_NAME_CHARS - len(ending) - 1]}.{ending}"


def _harmless(kind: str) -> str:
    return UNKNOWN_TYPE if kind.startswith("text/") or "xml" in kind or "script" in kind else kind


def _is_text(head: bytes) -> bool:
    if not head or b"\x00" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(head) >= HEAD_BYTES and error.start >= len(head) - 3  # cut in the middle of a character
    return True


def _age(path: Path) -> timedelta:
    try:
        return timedelta(seconds=clock.now().timestamp() - path.stat().st_mtime)
    except FileNotFoundError:
        return timedelta(0)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
