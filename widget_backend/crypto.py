"""Everything secret: the key ring, sealing at rest, masks, constant-time comparison, signed short-lived tokens.

A sealed value says which key sealed it and is bound to associated data (AAD): a place it belongs to. Moved elsewhere,
it does not open. The ring's first key is the current one; the others still open what they sealed.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Generic, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Column, Connection, Dialect, LargeBinary, bindparam, func, select, type_coerce, update
from sqlalchemy.types import TypeDecorator

from widget_backend import clock
from widget_backend.bridge.errors import MostikError

KEY_BYTES = 32
MASK = "••••••"
_VERSION = 1
_NONCE_BYTES = 12
_MAX_TOKEN_CHARS = 4096
_T = TypeVar("_T")


class CryptoError(MostikError):
    """A sealed value that does not open, or a ring that cannot be used. `reason` is a slug."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadToken(MostikError):
    """A signed token that is `malformed`, `forged` or `expired` (see `reason`)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Secret:
    """Hold a secret text so that printing, logging or formatting it shows a mask."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret itself, for the call that needs it and nothing else."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return same(self._text, other._text) if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere unsealed")


@dataclass(frozen=True, slots=True)
class Key:
    """One 256-bit key with the id that sealed values carry."""

    id: str
    material: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.material) != KEY_BYTES:
            raise CryptoError("key_length")
        if not (self.id.isascii() and self.id.isprintable() and 1 <= len(self.id) <= 32):
            raise CryptoError("key_id")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of this server; the first one seals and signs, all of them open and check."""

    keys: tuple[Key, ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise CryptoError("no_keys")
        if len({key.id for key in self.keys}) != len(self.keys):
            raise CryptoError("key_ids_repeat")

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, bytes]]) -> "KeyRing":
        """Make a ring from (id, key) pairs, as the settings hold them."""
        return cls(tuple(Key(id, material) for id, material in pairs))

    @property
    def current(self) -> Key:
        """The key that seals and signs."""
        return self.keys[0]

    def find(self, id: str) -> Key | None:
        """Return the key with this id, if it is on the ring."""
        return next((key for key in self.keys if key.id == id), None)


_ring: KeyRing | None = None


def configure(ring: KeyRing) -> None:
    """Set the ring of this process, once at start."""
    global _ring
    _ring = ring


def ring() -> KeyRing:
    """Return the ring; without one nothing can be sealed, and that is an error of the start-up."""
    if _ring is None:
        raise CryptoError("no_ring")
    return _ring


def seal(plain: bytes, aad: str) -> bytes:
    """Encrypt bytes for one place.

    Shape: version, length of the key id, key id, nonce, ciphertext with tag (AES-256-GCM). The header and the AAD are
    authenticated; the AAD is not stored.
    """
    key = ring().current
    header = _header(key.id)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return header + nonce + _cipher(key, "seal").encrypt(nonce, plain, header + aad.encode())


def open_sealed(sealed: bytes, aad: str) -> bytes:
    """Decrypt what `seal` made for the same place.

    Raises: CryptoError (`key_unknown`, `broken`): no key for it, or it was changed or moved.
    """
    id = key_id(sealed)
    key = ring().find(id)
    if key is None:
        raise CryptoError("key_unknown")
    header = _header(id)
    nonce, body = sealed[len(header) : len(header) + _NONCE_BYTES], sealed[len(header) + _NONCE_BYTES :]
    try:
        return _cipher(key, "seal").decrypt(nonce, body, header + aad.encode())
    except (InvalidTag, ValueError):
        raise CryptoError("broken") from None


def seal_text(plain: str, aad: str) -> bytes:
    """Encrypt a text for one place."""
    return seal(plain.encode(), aad)


def open_text(sealed: bytes, aad: str) -> str:
    """Decrypt what `seal_text` made for the same place."""
    return open_sealed(sealed, aad).decode()


def key_id(sealed: bytes) -> str:
    """Return the id of the key that sealed a value."""
    if len(sealed) < 2 or sealed[0] != _VERSION or len(sealed) < 2 + sealed[1] + _NONCE_BYTES:
        raise CryptoError("broken")
    return sealed[2 : 2 + sealed[1]].decode("ascii", "replace")


def is_current(sealed: bytes) -> bool:
    """Tell whether a value was sealed with the current key."""
    return key_id(sealed) == ring().current.id


def rotate(sealed: bytes, aad: str) -> bytes:
    """Return the value sealed with the current key; the same bytes if it already is."""
    return sealed if is_current(sealed) else seal(open_sealed(sealed, aad), aad)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value belongs: a column (`channel.token`) and, if `row` names columns of it, one row."""

    name: str
    row: tuple[str, ...] = ()

    def aad(self, values: Mapping[str, object]) -> str:
        """Return the associated data for a row. Raises: CryptoError (`row_unknown`): the row has no identity yet."""
        parts = [values.get(column) for column in self.row]
        if None in parts:
            raise CryptoError("row_unknown")
        return ":".join((self.name, *map(str, parts)))


class _Encrypted(TypeDecorator[_T], Generic[_T]):
    """A column sealed at rest, bound to its place: a value copied from another column does not open.

    A column type cannot know the row; what must not move between rows is a SealedText.
    """

    impl = LargeBinary
    cache_ok = True

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = Place(place)

    def process_bind_param(self, value: _T | None, dialect: Dialect) -> bytes | None:
        return None if value is None else seal(self._pack(value), self.place.aad({}))

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> _T | None:
        return None if value is None else self._unpack(open_sealed(value, self.place.aad({})))

    def _pack(self, value: _T) -> bytes:
        raise NotImplementedError

    def _unpack(self, plain: bytes) -> _T:
        raise NotImplementedError


class EncryptedBytes(_Encrypted[bytes]):
    """Bytes sealed at rest: `EncryptedBytes("inbox.body")`."""

    cache_ok = True

    def _pack(self, value: bytes) -> bytes:
        return value

    def _unpack(self, plain: bytes) -> bytes:
        return plain


class EncryptedText(_Encrypted[str]):
    """A text sealed at rest: `EncryptedText("client.phone")`."""

    cache_ok = True

    def _pack(self, value: str) -> bytes:
        return value.encode()

    def _unpack(self, plain: bytes) -> str:
        return plain.decode()


class EncryptedJSON(_Encrypted[Any]):
    """A JSON value sealed at rest: `EncryptedJSON("channel.settings")`. Changes inside the value are not noticed: assign a new one."""

    cache_ok = True

    def _pack(self, value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()

    def _unpack(self, plain: bytes) -> Any:
        return json.loads(plain)


class SealedText:
    """An attribute of a mapped class that keeps a Secret sealed for its own row in a LargeBinary column.

    Shape: `token_sealed = mapped_column(LargeBinary)`; `token = SealedText("token_sealed", Place("channel.token", ("account_id", "id")))`.
    The columns of the place must be set before the secret, and must not change after.
    """

    def __init__(self, attribute: str, place: Place) -> None:
        self.attribute = attribute
        self.place = place

    def __get__(self, row: Any, owner: type) -> Any:
        if row is None:
            return self
        sealed = getattr(row, self.attribute)
        return None if sealed is None else Secret(open_text(sealed, self._aad(row)))

    def __set__(self, row: Any, value: Secret | None) -> None:
        setattr(row, self.attribute, None if value is None else seal_text(value.reveal(), self._aad(row)))

    def _aad(self, row: Any) -> str:
        return self.place.aad({column: getattr(row, column) for column in self.place.row})


def rotate_column(connection: Connection, column: Column[Any], place: Place, *, batch: int = 500) -> int:
    """Seal up to `batch` values of a column with the current key, and say how many; 0 means that all of them are.

    A value that changes meanwhile is left alone: whoever changed it sealed it anew.
    Raises: CryptoError: a value does not open; nothing else of the batch is lost if the caller rolls back.
    """
    table, raw, header = column.table, type_coerce(column, LargeBinary), _header(ring().current.id)
    keys = list(table.primary_key)
    needed = {name: table.c[name] for name in (*(key.name for key in keys), *place.row)}
    stale = raw.is_not(None) & (func.substr(raw, 1, len(header), type_=LargeBinary) != header)
    rows = (
        connection.execute(select(*needed.values(), raw.label("sealed_value")).where(stale).limit(batch))
        .mappings()
        .all()
    )
    for row in rows:
        this = [key == row[key.name] for key in keys]
        fresh = bindparam("fresh_value", rotate(row["sealed_value"], place.aad(dict(row))), type_=LargeBinary)
        connection.execute(update(table).where(*this, raw == row["sealed_value"]).values({column.name: fresh}))
    return len(rows)


def same(one: str | bytes, other: str | bytes) -> bool:
    """Compare two secrets in constant time."""
    first = one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one
    second = other.encode("utf-8", "surrogatepass") if isinstance(other, str) else other
    return hmac.compare_digest(first, second)


def sign(payload: Mapping[str, object], purpose: str, ttl: timedelta) -> str:
    """Make a url-safe token that proves a small JSON payload was ours, for one purpose and a limited time.

    The payload is readable by whoever holds the token: it is signed, not sealed.
    """
    until = int((clock.now() + ttl).timestamp() * 1000)
    body = _encode(json.dumps([until, payload], separators=(",", ":"), ensure_ascii=False).encode())
    key = ring().current
    signed = f"{_encode(key.id.encode())}.{body}"
    return f"{signed}.{_encode(_mac(key, purpose, signed))}"


def unsign(token: str, purpose: str) -> dict[str, object]:
    """Return the payload of a token that `sign` made for this purpose.

    Raises: BadToken.
    """
    payload, until = _verified(token, purpose)
    if until <= clock.now():
        raise BadToken("expired")
    return payload


def _verified(token: str, purpose: str) -> tuple[dict[str, object], datetime]:
    parts = token.split(".")
    if len(token) > _MAX_TOKEN_CHARS or len(parts) != 3:
        raise BadToken("malformed")
    try:
        id, body, mac = (_decode(part) for part in parts)
    except (binascii.Error, UnicodeEncodeError):
        raise BadToken("malformed") from None
    key = ring().find(id.decode("ascii", "replace"))
    if key is None or not hmac.compare_digest(mac, _mac(key, purpose, f"{parts[0]}.{parts[1]}")):
        raise BadToken("forged")
    until, payload = json.loads(body)
    return payload, datetime.fromtimestamp(until / 1000, UTC)


def _mac(key: Key, purpose: str, signed: str) -> bytes:
    return hmac.new(_derived(key, f"sign:{purpose}"), signed.encode(), hashlib.sha256).digest()


def _header(id: str) -> bytes:
    encoded = id.encode("ascii")
    return bytes((_VERSION, len(encoded))) + encoded


def _cipher(key: Key, use: str) -> AESGCM:
    return AESGCM(_derived(key, use))


@lru_cache(maxsize=256)
def _derived(key: Key, use: str) -> bytes:
    # One key of the ring never serves two algorithms: each use has its own key derived from it.
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=f"mostik:{use}".encode()).derive(key.material)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
