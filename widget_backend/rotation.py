"""Changing the encryption key: every sealed value is sealed anew with the current one.

Works as the owner role: what is to be sealed anew lies in every account.
"""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from widget_backend import crypto, local_secrets
from widget_backend.config import Config
from widget_backend.database import plain_url
from widget_backend.run import running_pid
from widget_backend.supervision import Supervision

BATCH = 500
WRITERS = ("web", "exchange", "schedules", "cron")


class RotationError(Exception):
    """Say why the keys cannot be changed, with the cure."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """Where sealed values lie. `place` names what each is bound to, by columns of its row."""

    table: str
    column: str
    key: tuple[str, ...]
    place: str


SEALED = (
    Sealed("inbox", "body", ("id", "month"), "inbox:{owner_id}"),
    Sealed("ends", "secrets", ("id",), "end:{id}"),
    Sealed("ends", "previous_secrets", ("id",), "end:{id}"),
    Sealed("apps", "secret", ("id",), "app:{id}"),
    Sealed("app_channels", "secret", ("id",), "app_channel:{id}"),
    Sealed("attachments", "source", ("id",), "attachment:{id}"),
    Sealed("oauth_tokens", "access_sealed", ("account_id", "end_id"), "oauth_tokens.access:{account_id}:{end_id}"),
    Sealed("oauth_tokens", "refresh_sealed", ("account_id", "end_id"), "oauth_tokens.refresh:{account_id}:{end_id}"),
    Sealed("oauth_installs", "facts_sealed", ("id",), "oauth_installs.facts:{app_id}:{remote_id}"),
)


def rotate(config: Config) -> int:
    """Make a new current key, tell it to a running server, seal everything with it, forget the old keys.

    The new key first becomes known to every process and only then current: otherwise one that does not know it yet
    would meet values it cannot open.
    """
    var = config.var_dir
    if not (var / "keys" / "encryption").exists():
        cure = "MOSTIK_KEYS is given by the environment: change it by hand, as docs/operating.md says under Keys"
        raise RotationError(cure)
    known, fresh = local_secrets.read_ring(var), local_secrets.new_key()
    for ring in ([*known, fresh], [fresh, *known]):
        local_secrets.write_ring(var, ring)
        _restart_writers(config)
    count = reseal(Config.from_env())
    local_secrets.write_ring(var, [fresh])
    _restart_writers(config)
    return count


def reseal(config: Config) -> int:
    """Seal every value with the current key; give the number of those that were not. Safe to repeat."""
    crypto.configure(crypto.KeyRing.of(config.keys))
    with psycopg.connect(plain_url(config.database_owner_url), row_factory=dict_row) as connection:
        return sum(_reseal_column(connection, sealed) for sealed in SEALED)


def _reseal_column(connection: "psycopg.Connection[dict[str, Any]]", sealed: Sealed) -> int:
    table, column = sql.Identifier(sealed.table), sql.Identifier(sealed.column)
    chosen = sql.SQL("SELECT * FROM {} WHERE {} IS NOT NULL").format(table, column)
    where = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in sealed.key)
    # a value that was changed meanwhile is already sealed with the current key and must not be overwritten
    change = sql.SQL("UPDATE {} SET {} = %s WHERE {} AND {} = %s").format(table, column, where, column)
    count = 0
    with connection.cursor(name=f"reseal_{sealed.table}_{sealed.column}") as rows:
        rows.itersize = BATCH
        for row in rows.execute(chosen):
            old = bytes(row[sealed.column])
            if not crypto.is_current(old):
                new = crypto.rotate(old, sealed.place.format_map(row))
                connection.execute(change, (new, *(row[name] for name in sealed.key), old))
                count += 1
    connection.commit()
    return count


def _restart_writers(config: Config) -> None:
    if running_pid(config.var_dir) is not None:
        Supervision(config.var_dir).restart(WRITERS)
