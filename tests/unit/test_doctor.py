"""The doctor: a sound server has no bad finding, and each fault is named with a cure."""

import dataclasses
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from widget_backend import clock, doctor
from widget_backend.accounts import apps
from widget_backend.accounts.signup import create_account
from widget_backend.bridge import keep
from widget_backend.bridge.inbox import GIVEN_UP
from widget_backend.bridge.models import Inbox
from widget_backend.bridge.tenancy import transaction
from widget_backend.config import Config
from widget_backend.database import plain_url
from widget_backend.doctor import DEMO_LOGIN, State


def test_sound_database_queue_and_clock_are_good(app: Any, config: Config) -> None:
    checks = (doctor.database_role, doctor.migrations, doctor.queue, doctor.time_skew)

    assert [check(config).state for check in checks] == [State.GOOD] * 4


def test_owner_as_application_role_is_refused(app: Any, config: Config) -> None:
    found = doctor.database_role(dataclasses.replace(config, database_url=config.database_owner_url))

    assert found.state == State.BAD and "owns tables" in found.seen and found.cure


@pytest.mark.parametrize(
    ("last", "state"),
    [(None, State.GOOD), (2**31 - 50_000_000, State.WARNING), (2**31 - 5_000_000, State.BAD)],
)
def test_numbers_of_parts_that_run_out_are_told_in_time(
    app: Any, config: Config, last: int | None, state: State
) -> None:
    with psycopg.connect(plain_url(config.database_owner_url)) as connection:
        first = connection.execute("SELECT last_value, is_called FROM part_counter").fetchone()
        assert first is not None
        if last is not None:
            connection.execute("SELECT setval('part_counter', %s)", (last,))
    try:
        found = doctor.part_numbers(config)
    finally:
        with psycopg.connect(plain_url(config.database_owner_url)) as connection:
            connection.execute("SELECT setval('part_counter', %s, %s)", first)
    assert (found.state, bool(found.cure)) == (state, state != State.GOOD)


def test_hooks_of_apps_that_nobody_could_read_are_told(db: Any, config: Config) -> None:
    assert doctor.app_hooks(config).state == State.GOOD
    with transaction(None) as session:
        app = apps.add(session, "bitrix24", client_id="c", secret="s")
        kept = {
            "owner_id": app.id,
            "is_app": True,
            "month": keep.first_of_month(clock.now()),
            "trace_id": "",
            "body": b"",
        }
        session.add_all([Inbox(**kept, state=GIVEN_UP), Inbox(**{**kept, "owner_id": uuid4(), "is_app": False})])
    found = doctor.app_hooks(config)
    assert (found.state, found.seen.split(",")[0]) == (State.WARNING, "1 unreadable")
    assert "1 parts wait" in found.seen


@pytest.mark.parametrize(
    ("public_url", "state"), [("http://127.0.0.1:8000", State.WARNING), ("https://acme.test", State.BAD)]
)
def test_password_that_the_demo_prints_is_told(db: Any, config: Config, public_url: str, state: State) -> None:
    config = dataclasses.replace(config, public_url=public_url)
    assert doctor.known_password(config).state == State.GOOD
    create_account("acme", **DEMO_LOGIN)
    found = doctor.known_password(config)
    assert (found.state, bool(found.cure)) == (state, True)
    with psycopg.connect(plain_url(config.database_owner_url)) as connection:
        connection.execute("DELETE FROM users WHERE email = %s", (DEMO_LOGIN["email"],))
    assert doctor.known_password(config).state == State.GOOD, "the cure works"


def test_missing_workers_are_named(app: Any, config: Config) -> None:
    found = doctor.workers(config)

    assert found.state == State.BAD and "exchange" in found.seen


def test_keys_that_others_can_read_are_bad(config: Config, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "secret").write_text("x")
    os.chmod(tmp_path / "keys" / "secret", 0o644)

    assert doctor.keys(dataclasses.replace(config, var_dir=tmp_path)).state == State.BAD


def test_full_disk_is_bad(config: Config) -> None:
    assert doctor.disk(dataclasses.replace(config, disk_floor_bytes=1 << 60)).state == State.BAD


def test_nothing_reachable_is_findings_with_cures_and_no_traceback(config: Config) -> None:
    gone = dataclasses.replace(
        config,
        database_url="postgresql+psycopg://app:x@127.0.0.1:1/none",
        redis_url="redis://127.0.0.1:1/0",
        public_url="http://127.0.0.1:1",
    )
    findings = {found.check: found for found in doctor.examine(gone)}

    assert set(findings) == set(doctor.CHECKS)
    bad = [name for name, found in findings.items() if found.state == State.BAD]
    assert {"database role", "migrations", "queue", "clock", "public address", "workers"} <= set(bad)
    assert all(findings[name].cure for name in bad)
