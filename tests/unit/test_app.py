"""The application comes up on the tests' own engines."""

from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import text

from widget_backend.config import Config
from widget_backend.database import revisions


def test_application_answers_that_it_lives(app: Flask, client: FlaskClient) -> None:
    assert client.get("/healthz").get_json()["status"] == "ok"


def test_application_role_is_neither_owner_nor_superuser(db: Any) -> None:
    row = db.session.execute(
        text("SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
    ).one()
    owned = db.session.execute(text("SELECT count(*) FROM pg_tables WHERE tableowner = current_user")).scalar_one()

    assert (row.rolname, row.rolsuper, row.rolbypassrls, owned) == ("mostik_app", False, False, 0)


def test_schema_is_at_the_newest_revision(app: Flask, config: Config) -> None:
    present, needed = revisions(config)

    assert present == needed


def test_queue_is_append_only(redis: "Redis[bytes]") -> None:
    assert redis.config_get("appendonly") == {"appendonly": "yes"}
