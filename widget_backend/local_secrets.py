"""What an embedded start makes by itself and keeps in var/keys: keys, passwords and ports, readable by the owner only."""

import base64
import json
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

KEY_BYTES = 32
DATABASE_NAME = "mostik"
OWNER_ROLE = "mostik_owner"
APP_ROLE = "mostik_app"


@dataclass(frozen=True, slots=True)
class PostgresSecrets:
    """Hold what is needed to reach the embedded PostgreSQL."""

    port: int
    superuser_password: str
    owner_password: str
    app_password: str

    def url(self, role: str) -> str:
        """Give the address of the database for one of the two roles, or for the superuser (postgres)."""
        passwords = {
            OWNER_ROLE: self.owner_password,
            APP_ROLE: self.app_password,
            "postgres": self.superuser_password,
        }
        name = "postgres" if role == "postgres" else DATABASE_NAME
        return f"postgresql://{role}:{passwords[role]}@127.0.0.1:{self.port}/{name}"


@dataclass(frozen=True, slots=True)
class ValkeySecrets:
    """Hold what is needed to reach the embedded Valkey."""

    port: int
    password: str

    def url(self) -> str:
        """Give the address of the queue."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


def read(var: Path, *, with_database: bool, with_queue: bool) -> dict[str, str]:
    """Give the settings that an embedded start has made, by the names of their variables."""
    made: dict[str, str] = {}
    for name, file in (("MOSTIK_KEYS", "encryption"), ("MOSTIK_SECRET_KEY", "secret")):
        path = var / "keys" / file
        if path.exists():
            made[name] = path.read_text().strip()
    if with_database and (postgres := read_postgres(var)):
        made["DATABASE_URL"] = postgres.url(APP_ROLE)
        made["MOSTIK_DATABASE_OWNER_URL"] = postgres.url(OWNER_ROLE)
    if with_queue and (valkey := read_valkey(var)):
        made["REDIS_URL"] = valkey.url()
    return made


def read_started(var: Path) -> dict[str, str]:
    """Read what the running server found out at its start (its port, in the demo its outside world)."""
    path = var / "run" / "settings.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def write_started(var: Path, found: Mapping[str, str]) -> None:
    """Keep what the server found out at its start for the commands that are started beside it; {} forgets it."""
    path = var / "run" / "settings.json"
    if found:
        _write(path, json.dumps(dict(found)))
    else:
        path.unlink(missing_ok=True)


def read_postgres(var: Path) -> PostgresSecrets | None:
    """Read what reaches the embedded PostgreSQL; None before its first start."""
    path = var / "keys" / "postgres.json"
    return PostgresSecrets(**json.loads(path.read_text())) if path.exists() else None


def read_valkey(var: Path) -> ValkeySecrets | None:
    """Read what reaches the embedded Valkey; None before its first start."""
    path = var / "keys" / "valkey.json"
    return ValkeySecrets(**json.loads(path.read_text())) if path.exists() else None


def ensure_keys(var: Path) -> None:
    """Make the encryption key and the signing key where there are none yet."""
    if not (var / "keys" / "encryption").exists():
        write_ring(var, [new_key()])
    if not (var / "keys" / "secret").exists():
        _write(var / "keys" / "secret", secrets.token_urlsafe(48))


def ensure_postgres(var: Path, *, running: bool) -> PostgresSecrets:
    """Make the passwords on first use, and choose another port when somebody else took ours meanwhile."""
    known = read_postgres(var)
    if known and (running or port_is_free(known.port)):
        return known
    passwords = (known.superuser_password, known.owner_password, known.app_password) if known else _tokens(3)
    made = PostgresSecrets(free_port(), *passwords)
    _write(var / "keys" / "postgres.json", json.dumps(asdict(made)))
    return made


def ensure_valkey(var: Path, *, running: bool) -> ValkeySecrets:
    """Make the password on first use, and choose another port when somebody else took ours meanwhile."""
    known = read_valkey(var)
    if known and (running or port_is_free(known.port)):
        return known
    made = ValkeySecrets(free_port(), known.password if known else _tokens(1)[0])
    _write(var / "keys" / "valkey.json", json.dumps(asdict(made)))
    return made


def new_key() -> str:
    """Make one encryption key as it stands in the ring: id:base64."""
    return f"k{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


def read_ring(var: Path) -> list[str]:
    """Read the ring of encryption keys, the current one first."""
    return (var / "keys" / "encryption").read_text().strip().split(",")


def write_ring(var: Path, ring: Sequence[str]) -> None:
    """Write the ring of encryption keys, the current one first."""
    _write(var / "keys" / "encryption", ",".join(ring))


def free_port() -> int:
    """Find a loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Say whether a loopback port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _tokens(count: int) -> tuple[str, ...]:
    return tuple(secrets.token_urlsafe(24) for _ in range(count))


def _write(path: Path, text: str) -> None:
    """Replace a file at once, readable by the owner only: a kill in the middle leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_suffix(".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
