"""Every setting of this server, typed, read from the environment in one place.

Nothing else reads the environment. What an embedded start made by itself (keys, passwords, ports of the embedded
engines) is read from the var folder, so that every command started beside a running server finds the same values.
"""

import base64
import binascii
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from widget_backend import local_secrets
from widget_backend.bridge import registry
from widget_backend.bridge.ends import Manifest, ServerSetting

PREFIX = "MOSTIK_"
VAR_DIR_NAME = "MOSTIK_VAR"


class ConfigError(Exception):
    """Say everything that is wrong with the settings, with a cure for each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(*self.problems)

    def __str__(self) -> str:
        return "the settings are not usable:\n" + "\n".join(f"  - {problem}" for problem in self.problems)


def _text(raw: str) -> str:
    return raw


def _whole(raw: str) -> int:
    if not raw.isdecimal():
        raise ValueError("must be a whole number, zero or more")
    return int(raw)


def _positive(raw: str) -> int:
    if not raw.isdecimal() or int(raw) == 0:
        raise ValueError("must be a whole number above zero")
    return int(raw)


def _yes_no(raw: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if raw.lower() not in known:
        raise ValueError("must be yes or no")
    return known[raw.lower()]


def _folder(raw: str) -> Path:
    return Path(raw).expanduser().resolve()


def _names(raw: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in raw.split(",") if part.strip())


def _seconds(raw: str) -> tuple[int, ...]:
    steps = tuple(_positive(part) for part in _names(raw))
    if not steps:
        raise ValueError("must be numbers of seconds separated by commas")
    return steps


def _url(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http(s) address")
    return raw.rstrip("/")


def _database_url(raw: str) -> str:
    scheme, separator, rest = raw.partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise ValueError("must look like postgresql://user:password@host:5432/name")
    return f"postgresql+psycopg://{rest}"


def _redis_url(raw: str) -> str:
    if urlsplit(raw).scheme not in {"redis", "rediss", "unix", "valkey", "valkeys"}:
        raise ValueError("must look like redis://:password@host:6379/0")
    return raw.replace("valkey", "redis", 1) if raw.startswith("valkey") else raw


def _log_level(raw: str) -> str:
    if raw.lower() not in {"debug", "info", "warning", "error"}:
        raise ValueError("must be debug, info, warning or error")
    return raw.lower()


def _key_ring(raw: str) -> tuple[tuple[str, bytes], ...]:
    ring: list[tuple[str, bytes]] = []
    for item in _names(raw):
        key_id, separator, encoded = item.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise ValueError("must be id:base64 pairs separated by commas") from error
        if not separator or not key_id or len(key) != local_secrets.KEY_BYTES:
            raise ValueError(f"must be id:base64 pairs of {local_secrets.KEY_BYTES} bytes each")
        ring.append((key_id, key))
    if not ring:
        raise ValueError("must name at least one key")
    if len({key_id for key_id, _ in ring}) != len(ring):
        raise ValueError("must not name one key id twice")
    return tuple(ring)


def _secret_key(raw: str) -> str:
    if len(raw) < 32:
        raise ValueError("must have at least 32 characters")
    return raw


_KINDS: Mapping[str, Callable[[str], Any]] = {
    "text": _text,
    "str": _text,
    "secret": _text,
    "int": _whole,
    "bool": _yes_no,
    "url": _url,
    "list": _names,
}


def _setting(
    env: str, read: Callable[[str], Any], default: str | None, meaning: str, *, secret: bool = False, cure: str = ""
) -> Any:
    """Describe one setting; default None means that it must be given (or made by an embedded start)."""
    about = {"env": env, "read": read, "default": default, "help": meaning, "secret": secret, "cure": cure}
    return field(metadata=about, repr=not secret)


_START_ONCE = "start `mostik run` once without DATABASE_URL to have it made in the var folder, or set it"


@dataclass(frozen=True, slots=True)
class Config:
    """Hold every setting; made only by from_env."""

    # Where things lie
    var_dir: Path = _setting(
        "MOSTIK_VAR", _folder, "var", "Folder of everything this server writes: engines, keys, logs, files."
    )
    database_url: str = _setting(
        "DATABASE_URL",
        _database_url,
        None,
        "PostgreSQL as the application role, which must own nothing. Without it an embedded PostgreSQL is used.",
        secret=True,
        cure=_START_ONCE,
    )
    database_owner_url: str = _setting(
        "MOSTIK_DATABASE_OWNER_URL",
        _database_url,
        None,
        "PostgreSQL as the role that owns the tables; used by migrations only.",
        secret=True,
        cure="needed beside DATABASE_URL: the role that owns the tables and migrates them",
    )
    redis_url: str = _setting(
        "REDIS_URL",
        _redis_url,
        None,
        "Valkey or Redis with its append-only file on. Without it an embedded Valkey is used.",
        secret=True,
        cure=_START_ONCE,
    )
    files_dir: Path = _setting(
        "MOSTIK_FILES_DIR", _folder, "var/files", "Folder of attachments. Default: `files` in the var folder."
    )
    postgres_user: str = _setting(
        "MOSTIK_POSTGRES_USER",
        _text,
        "nobody",
        "System user the embedded PostgreSQL runs as when the server is started as root.",
    )
    database_pool_size: int = _setting(
        "MOSTIK_DATABASE_POOL_SIZE",
        _whole,
        "0",
        "Database connections kept by one process; 0: as many as it has threads, and two.",
    )

    # Keys
    keys: tuple[tuple[str, bytes], ...] = _setting(
        "MOSTIK_KEYS",
        _key_ring,
        None,
        "Encryption keys as id:base64, separated by commas; the first one encrypts, all decrypt.",
        secret=True,
        cure="make one with `mostik keys new`; the same value on every host",
    )
    secret_key: str = _setting(
        "MOSTIK_SECRET_KEY",
        _secret_key,
        None,
        "Signs sessions and links; at least 32 characters.",
        secret=True,
        cure="set 32 or more random characters; the same value on every host",
    )
    metrics_token: str = _setting(
        "MOSTIK_METRICS_TOKEN",
        _text,
        "",
        "Bearer token that /metrics asks for; empty: only callers on this machine.",
        secret=True,
    )

    metrics_dir: str = _setting(
        "PROMETHEUS_MULTIPROC_DIR",
        _text,
        "",
        "Folder where the processes of this host add up their counters; `mostik run` sets it.",
    )

    # Web
    public_url: str = _setting(
        "MOSTIK_PUBLIC_URL", _url, "http://127.0.0.1:8000", "Address that outside systems reach this server at."
    )
    web_host: str = _setting("MOSTIK_WEB_HOST", _text, "127.0.0.1", "Address the web server listens on.")
    web_port: int = _setting("MOSTIK_WEB_PORT", _whole, "8000", "Port the web server listens on; 0: any free one.")
    web_workers: int = _setting("MOSTIK_WEB_WORKERS", _positive, "2", "Web processes.")
    web_threads: int = _setting("MOSTIK_WEB_THREADS", _positive, "8", "Threads of one web process.")
    proxies_count: int = _setting(
        "MOSTIK_WEB_PROXIES", _whole, "0", "Trusted reverse proxies in front: their X-Forwarded-* is believed."
    )
    max_body_bytes: int = _setting("MOSTIK_WEB_MAX_BODY_BYTES", _positive, str(4 << 20), "Largest request body, bytes.")
    session_hours: int = _setting("MOSTIK_WEB_SESSION_HOURS", _positive, "336", "How long a sign-in lasts, hours.")

    # Exchange
    exchange_workers: int = _setting("MOSTIK_EXCHANGE_WORKERS", _positive, "2", "Exchange processes.")
    exchange_threads: int = _setting("MOSTIK_EXCHANGE_THREADS", _positive, "16", "Threads of one exchange process.")
    lease_s: int = _setting("MOSTIK_EXCHANGE_LEASE_S", _positive, "60", "How long a lane's lease lasts, s.")
    slice_s: int = _setting("MOSTIK_EXCHANGE_SLICE_S", _positive, "20", "How long one exchange job drains, s.")
    sweep_s: int = _setting("MOSTIK_EXCHANGE_SWEEP_S", _positive, "5", "How often due work is looked for, s.")
    heartbeat_s: int = _setting("MOSTIK_EXCHANGE_HEARTBEAT_S", _positive, "5", "How often a worker reports, s.")
    pull_s: int = _setting(
        "MOSTIK_EXCHANGE_PULL_S", _positive, "180", "How often ends are asked for what we missed, s."
    )
    expiry_hours: int = _setting(
        "MOSTIK_EXCHANGE_EXPIRY_HOURS", _positive, "24", "After how long an answer is no longer sent, hours."
    )
    reconnect_expiry_minutes: int = _setting(
        "MOSTIK_EXCHANGE_RECONNECT_EXPIRY_MINUTES",
        _positive,
        "60",
        "After how long an answer that waited for a lost connection is no longer sent when the connection is back, minutes.",
    )
    end_retry_s: tuple[int, ...] = _setting(
        "MOSTIK_EXCHANGE_END_RETRY_S",
        _seconds,
        "5,15,60,300,900,3600",
        "Waits after trouble of an end, s; the last one repeats.",
    )
    message_retry_s: tuple[int, ...] = _setting(
        "MOSTIK_EXCHANGE_MESSAGE_RETRY_S",
        _seconds,
        "5,30,120,600",
        "Waits after trouble of one message, s; after the last it has failed.",
    )
    attachment_wait_s: int = _setting(
        "MOSTIK_EXCHANGE_ATTACHMENT_WAIT_S", _positive, "60", "How long a message waits for its file, s."
    )
    reconcile_wait_s: int = _setting(
        "MOSTIK_EXCHANGE_RECONCILE_WAIT_S", _positive, "75", "How long a conversation waits for a look-up, s."
    )

    # Outgoing calls
    outside_private_hosts: tuple[str, ...] = _setting(
        "MOSTIK_OUTSIDE_PRIVATE_HOSTS",
        _names,
        "",
        "Private hosts that may be called: host, host:port or CIDR, separated by commas.",
    )
    outside_connect_s: int = _setting("MOSTIK_OUTSIDE_CONNECT_S", _positive, "3", "Time-out of connecting, s.")
    outside_read_s: int = _setting("MOSTIK_OUTSIDE_READ_S", _positive, "10", "Time-out of an answer, s.")
    outside_max_answer_bytes: int = _setting(
        "MOSTIK_OUTSIDE_MAX_ANSWER_BYTES", _positive, str(10 << 20), "Largest answer of an API, bytes."
    )
    outside_max_file_bytes: int = _setting(
        "MOSTIK_OUTSIDE_MAX_FILE_BYTES", _positive, str(200 << 20), "Largest attachment that is fetched, bytes."
    )

    # Overload
    disk_floor_bytes: int = _setting(
        "MOSTIK_KEEP_DISK_FLOOR_BYTES", _whole, str(512 << 20), "Below this free disk hooks are answered 503, bytes."
    )
    inbox_ceiling_s: int = _setting(
        "MOSTIK_KEEP_INBOX_CEILING_S", _positive, "900", "Above this age of the oldest unread hook: 503, s."
    )
    inbox_days: int = _setting("MOSTIK_KEEP_INBOX_DAYS", _positive, "14", "How long raw hooks are kept, days.")

    log_level: str = _setting("MOSTIK_LOG_LEVEL", _log_level, "info", "debug, info, warning or error.")
    servers: Mapping[tuple[str, str], Any] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, metadata={"adapters": True}
    )

    def server(self, key: str, name: str) -> Any:
        """Give one adapter's own server setting, for example server("vk", "api_url")."""
        return self.servers[(key, name)]

    @property
    def exchange_pool_size(self) -> int:
        """Count the database connections an exchange process may keep."""
        return self.database_pool_size or self.exchange_threads + 2

    @property
    def web_pool_size(self) -> int:
        """Count the database connections a web process may keep."""
        return self.database_pool_size or self.web_threads + 2

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Config":
        """Read all settings.

        Raises: ConfigError with everything that is unknown, of a wrong type or missing, all at once.
        """
        given = {name: value for name, value in (os.environ if environ is None else environ).items() if value != ""}
        problems: list[str] = []
        effective = _with_what_was_made(given)
        values = _own_values(effective, problems)
        servers = _adapter_values(effective, problems)
        known = {setting.metadata["env"] for setting in own_settings()}
        known |= {env_name(manifest.key, setting.name) for manifest, setting in adapter_settings()}
        for name in sorted(given):
            if name.startswith(PREFIX) and name not in known:
                problems.append(f"{name} is not a setting of Mostik: see docs/settings.md, or unset it")
        if problems:
            raise ConfigError(problems)
        return cls(servers=MappingProxyType(servers), **values)


def own_settings() -> tuple[Any, ...]:
    """List the fields of Config that are read from the environment."""
    return tuple(item for item in fields(Config) if "env" in item.metadata)


def adapter_settings() -> list[tuple[Manifest, ServerSetting]]:
    """List what the adapters' manifests ask of the server."""
    return [(manifest, setting) for manifest in registry.manifests() for setting in manifest.server_settings]


def env_name(key: str, name: str) -> str:
    """Name the variable of an adapter's server setting: ("vk", "api_url") is MOSTIK_VK_API_URL."""
    return f"{PREFIX}{key}_{name}".upper()


def var_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Say where the var folder is, before there is a usable Config."""
    return _folder((os.environ if environ is None else environ).get(VAR_DIR_NAME) or "var")


def postgres_user(environ: Mapping[str, str] | None = None) -> str:
    """Say which system user runs the embedded PostgreSQL for root, before there is a usable Config."""
    return (os.environ if environ is None else environ).get("MOSTIK_POSTGRES_USER") or "nobody"


def _with_what_was_made(given: Mapping[str, str]) -> dict[str, str]:
    """Add what is not given but known: made by an embedded start, told by the running server, or following from it."""
    var = var_dir(given)
    made = local_secrets.read(var, with_database="DATABASE_URL" not in given, with_queue="REDIS_URL" not in given)
    # what the running server found wins: it is what was given to it, made definite (port 0 is now a port)
    values = {"MOSTIK_FILES_DIR": str(var / "files"), **made, **given, **local_secrets.read_started(var)}
    values.setdefault("MOSTIK_PUBLIC_URL", f"http://127.0.0.1:{values.get('MOSTIK_WEB_PORT', '8000')}")
    return values


def _own_values(given: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for setting in own_settings():
        about = setting.metadata
        raw = given.get(about["env"], about["default"])
        if raw is None:
            problems.append(f"{about['env']} is missing: {about['cure']}")
            continue
        values[setting.name] = _read(about["env"], raw, about["read"], problems)
    return values


def _adapter_values(given: Mapping[str, str], problems: list[str]) -> dict[tuple[str, str], Any]:
    values: dict[tuple[str, str], Any] = {}
    for manifest, setting in adapter_settings():
        name = env_name(manifest.key, setting.name)
        raw = given.get(name, setting.default)
        read = _KINDS[setting.kind]
        values[(manifest.key, setting.name)] = (
            _read(name, raw, read, problems) if raw or setting.kind == "list" else raw
        )
    return values


def _read(name: str, raw: str, read: Callable[[str], Any], problems: list[str]) -> Any:
    """Turn one raw value into its type; a refusal names the setting, never the value, which may be a secret."""
    try:
        return read(raw)
    except ValueError as error:
        problems.append(f"{name} {error}")
        return None
