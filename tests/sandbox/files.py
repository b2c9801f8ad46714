"""Files that the sandbox serves: photos, documents and voice, as bytes in memory."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file; `path` is its address on the peer ("/files/<key>/<name>")."""

    key: str
    name: str
    content_type: str
    content: bytes

    @property
    def path(self) -> str:
        """Return the address on the peer's port."""
        return f"/files/{self.key}/{quote(self.name)}"


class FileStore:
    """Keeps files by an unguessable key."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}

    def put(self, name: str, content_type: str, content: bytes) -> StoredFile:
        """Keep a file and return it with its key."""
        safe_name = name.replace("/", "_").replace("\\", "_") or "file"
        stored = StoredFile(secrets.token_hex(12), safe_name, content_type, content)
        self._files[stored.key] = stored
        return stored

    def get(self, key: str) -> StoredFile | None:
        """Return the file or None."""
        return self._files.get(key)

    def remove(self, key: str) -> None:
        """Forget a file, as when a link expires."""
        self._files.pop(key, None)

    def clear(self) -> None:
        """Forget all files."""
        self._files.clear()
