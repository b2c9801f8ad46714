"""What a self-hoster can get wrong, each looked at by one small function that says the cure."""

import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, timedelta
from enum import StrEnum
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg.rows import dict_row
from rq.cron import CronScheduler
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.security import check_password_hash

from widget_backend import clock
from widget_backend.config import Config
from widget_backend.database import plain_url, revisions

DEMO_LOGIN = {"email": "demo@mostik.test", "password": "mostik-demo"}
"""What the demo prints: known to everybody, so that no real server may take it."""
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
MAX_SKEW = timedelta(seconds=5)
NEEDED_WORKERS = ("exchange", "schedules")
MAX_CRON_SILENCE = timedelta(minutes=2)  # RQ's cron reports once a minute
FEW_NUMBERS = 100_000_000
TOO_FEW_NUMBERS = 10_000_000  # ten restores' jumps (bridge/restore.py)
PART_NUMBERS_LEFT = """
    SELECT CASE WHEN last_value < start_value THEN start_value - 1 - last_value ELSE max_value - coalesce(last_value, start_value) END
    FROM pg_sequences WHERE schemaname = 'public' AND sequencename = 'part_counter'
"""
"""How many numbers for parts are left: up to the end, or, once it was started again from 1, up to where this server began."""


class State(StrEnum):
    """How a check ended; only `bad` makes the whole fail."""

    GOOD = "ok"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw, and what to do about it."""

    check: str
    state: State
    seen: str
    cure: str = ""


Check = Callable[[Config], Finding]


def examine(config: Config) -> list[Finding]:
    """Run every check; one that cannot reach what it looks at is itself a finding."""
    return [_run(name, check, config) for name, check in CHECKS.items()]


def database_role(config: Config) -> Finding:
    """Look whether the application role owns, commands or bypasses anything."""
    with _database(config) as connection:
        role = connection.execute(
            "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        owned = connection.execute(
            "SELECT count(*) AS count FROM pg_class WHERE relowner = current_user::regrole AND relkind IN ('r', 'p')"
        ).fetchone()
        member = connection.execute(
            """SELECT count(*) AS count FROM pg_tables
               WHERE schemaname = 'public' AND pg_has_role(current_user, tableowner, 'MEMBER')"""
        ).fetchone()
    assert role is not None and owned is not None and member is not None
    faults = [name for name in ("rolsuper", "rolbypassrls", "rolcreaterole") if role[name]]
    faults += ["owns tables"] if owned["count"] else []
    faults += ["is a member of the owner's role"] if member["count"] and not owned["count"] else []
    if not faults:
        return Finding("", State.GOOD, f"{role['rolname']} owns nothing and bypasses nothing")
    cure = "row-level security does not hold for it: give DATABASE_URL a role made as docs/operating.md says"
    return Finding("", State.BAD, f"{role['rolname']}: {', '.join(faults)}", cure)


def migrations(config: Config) -> Finding:
    """Look whether the schema is the one this release needs."""
    present, needed = revisions(config)
    if present == needed:
        return Finding("", State.GOOD, f"at {present or 'the beginning'}")
    return Finding("", State.BAD, f"the database is at {present}, this release needs {needed}", "run `mostik migrate`")


def part_numbers(config: Config) -> Finding:
    """Look how many numbers are left for parts: an end recognises a repeat by them, so that none may come twice."""
    with _database(config) as connection:
        row = connection.execute(PART_NUMBERS_LEFT).fetchone()
    assert row is not None
    left = next(iter(row.values()))
    seen = f"{left:,} left".replace(",", " ")
    if left >= FEW_NUMBERS:
        return Finding("", State.GOOD, seen)
    cure = "as the owner of the database: ALTER SEQUENCE part_counter RESTART WITH 1 (once: what lies below its first start was never used)"
    return Finding("", State.BAD if left < TOO_FEW_NUMBERS else State.WARNING, seen, cure)


def app_hooks(config: Config) -> Finding:
    """Look for hooks at the doors of apps that could not be cut into their parts, and for parts whose end is not there."""
    with _database(config) as connection:
        given_up = connection.execute(
            "SELECT count(*) AS count FROM apps JOIN inbox ON inbox.owner_id = apps.id WHERE inbox.state = 3"
        ).fetchone()
        strangers = connection.execute(
            "SELECT count(*) AS count FROM inbox WHERE state = 0 AND account_id IS NULL AND NOT is_app"
        ).fetchone()
    assert given_up is not None and strangers is not None
    seen = f"{given_up['count']} unreadable, {strangers['count']} parts wait for an account to be connected"
    if not given_up["count"]:
        return Finding("", State.GOOD, seen)
    return Finding(
        "", State.WARNING, seen, "a bug, here or there: see app_hook_failed in var/log/exchange-*.log and report it"
    )


def queue(config: Config) -> Finding:
    """Look whether the queue answers, keeps what it is told, and refuses rather than forgets."""
    with redis.Redis.from_url(config.redis_url, socket_timeout=5) as client:
        known = client.config_get("appendonly") | client.config_get("maxmemory-policy")
    if known.get("appendonly") != "yes":
        return Finding("", State.BAD, "appendonly is off", "set `appendonly yes` in the settings of Valkey or Redis")
    if known.get("maxmemory-policy") != "noeviction":
        cure = "set `maxmemory-policy noeviction`: a queue must refuse rather than forget"
        return Finding("", State.BAD, f"maxmemory-policy is {known.get('maxmemory-policy')}", cure)
    return Finding("", State.GOOD, "answers, appends to its file, evicts nothing")


def time_skew(config: Config) -> Finding:
    """Compare this machine's clock with the database's."""
    with _database(config) as connection:
        row = connection.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None
    skew = abs(clock.now() - row["now"].astimezone(UTC))
    seen = f"{skew.total_seconds():.1f} s off the database"
    if skew <= MAX_SKEW:
        return Finding("", State.GOOD, seen)
    return Finding("", State.BAD, seen, "keep both machines' clocks right (chrony or systemd-timesyncd)")


def public_url(config: Config) -> Finding:
    """Look whether outside systems can reach us, by asking ourselves at the public address."""
    parts = urlsplit(config.public_url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("GET", f"{parts.path}/healthz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        cure = "check name, certificate and reverse proxy of MOSTIK_PUBLIC_URL, and that `mostik run` is running"
        return Finding("", State.BAD, f"{config.public_url} does not answer: {error}", cure)
    finally:
        connection.close()
    if status != 200:
        cure = "the reverse proxy must hand everything to this server"
        return Finding("", State.BAD, f"{config.public_url} answers {status}", cure)
    if parts.scheme != "https":
        cure = "outside systems send hooks to https addresses only: put a reverse proxy in front, set MOSTIK_PUBLIC_URL"
        return Finding("", State.WARNING, f"{config.public_url} is not https", cure)
    return Finding("", State.GOOD, f"{config.public_url} answers")


def keys(config: Config) -> Finding:
    """Look whether the keys in the var folder are for their owner's eyes only."""
    folder = config.var_dir / "keys"
    open_files = [
        path.name for path in (folder.iterdir() if folder.exists() else ()) if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if open_files:
        return Finding("", State.BAD, f"readable by others: {', '.join(open_files)}", f"chmod 600 {folder}/*")
    return Finding("", State.GOOD, f"{len(config.keys)} on the ring, current: {config.keys[0][0]}")


def known_password(config: Config) -> Finding:
    """Look whether anybody can sign in with the password that the demo prints."""
    with _database(config) as connection:
        user = connection.execute("SELECT password_hash FROM users WHERE email = %s", (DEMO_LOGIN["email"],)).fetchone()
    if user is None or not check_password_hash(user["password_hash"], DEMO_LOGIN["password"]):
        return Finding("", State.GOOD, "the demo's user is not here")
    seen = f"{DEMO_LOGIN['email']} signs in with the password that everybody knows"
    if urlsplit(config.public_url).hostname in LOOPBACK:
        return Finding(
            "",
            State.WARNING,
            seen,
            "fine for a demo on this machine; give a real server a folder or database of its own",
        )
    cure = f"as the owner of the database: DELETE FROM users WHERE email = '{DEMO_LOGIN['email']}'"
    return Finding("", State.BAD, seen, cure)


def workers(config: Config) -> Finding:
    """Look whether a worker of each kind has reported lately."""
    with _database(config) as connection:
        rows = connection.execute(
            "SELECT DISTINCT kind FROM workers WHERE beat_at > now() - make_interval(secs => %s)",
            (config.heartbeat_s * 4,),
        ).fetchall()
    missing = [kind for kind in NEEDED_WORKERS if kind not in {row["kind"] for row in rows}]
    if missing:
        return Finding("", State.BAD, f"no life sign of: {', '.join(missing)}", "start `mostik run`, see var/log")
    return Finding("", State.GOOD, "all kinds report")


def cron(config: Config) -> Finding:
    """Look whether the cron process has reported lately; it does so in the queue, as RQ made it."""
    with redis.Redis.from_url(config.redis_url, socket_timeout=5) as client:
        beats = [scheduler.last_heartbeat for scheduler in CronScheduler.all(client, cleanup=False)]
    if any(beat and clock.now() - beat < MAX_CRON_SILENCE for beat in beats):
        return Finding("", State.GOOD, "reports")
    return Finding("", State.BAD, "no life sign", "start `mostik run`, see var/log/cron.log")


def disk(config: Config) -> Finding:
    """Look whether there is room above the floor below which hooks are refused."""
    free = shutil.disk_usage(config.var_dir if config.var_dir.exists() else config.var_dir.parent).free
    seen = f"{free >> 20} MiB free, floor {config.disk_floor_bytes >> 20} MiB"
    if free < config.disk_floor_bytes:
        return Finding("", State.BAD, seen, "hooks are being refused: make room, or lower MOSTIK_KEEP_DISK_FLOOR_BYTES")
    if free < config.disk_floor_bytes * 4:
        return Finding("", State.WARNING, seen, "make room before hooks are refused")
    return Finding("", State.GOOD, seen)


CHECKS: dict[str, Check] = {
    "database role": database_role,
    "migrations": migrations,
    "numbers of parts": part_numbers,
    "hooks of apps": app_hooks,
    "queue": queue,
    "clock": time_skew,
    "public address": public_url,
    "keys": keys,
    "demo's password": known_password,
    "workers": workers,
    "cron": cron,
    "disk": disk,
}


def _run(name: str, check: Check, config: Config) -> Finding:
    try:
        found = check(config)
    except (psycopg.Error, SQLAlchemyError) as error:
        cure = "check DATABASE_URL and that PostgreSQL (or `mostik run`) is running; then `mostik migrate`"
        return Finding(name, State.BAD, _first_line(error), cure)
    except redis.RedisError as error:
        cure = "check REDIS_URL and that Valkey (or `mostik run`) is running"
        return Finding(name, State.BAD, _first_line(error), cure)
    return Finding(name, found.state, found.seen, found.cure)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


@contextmanager
def _database(config: Config) -> Iterator["psycopg.Connection[dict[str, Any]]"]:
    with psycopg.connect(plain_url(config.database_url), connect_timeout=5, row_factory=dict_row) as connection:
        yield connection
