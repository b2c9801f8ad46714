"""Log lines are JSON, carry the ids, and hold nobody's data."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import structlog
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from widget_backend import logs
from widget_backend.bridge.errors import Rejected
from widget_backend.crypto import Secret


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure("info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_json_with_the_ids_of_its_block(out: io.StringIO) -> None:
    account = uuid4()
    with logs.following(trace="t1", account=account, hook=None):
        with logs.following(delivery="d1"):
            structlog.get_logger("room").info("part_sent", duration_ms=12, conversation_count=3)
        assert logs.trace() == "t1"
    structlog.get_logger().warning("later")
    first, second = lines(out)
    assert (first["event"], first["level"], first["trace"], first["account"], first["delivery"], first["duration_ms"]) == (
        "part_sent", "info", "t1", str(account), "d1", 12
    )  # fmt: skip
    assert first["at"].endswith("+00:00") and "hook" not in first and first["logger"] == "room"
    assert "trace" not in second and logs.trace() is None


def test_only_known_ids_are_bound() -> None:
    with pytest.raises(ValueError, match="phone"), logs.following(phone="1"):
        pass


def test_private_fields_are_masked_at_any_depth(out: io.StringIO) -> None:
    private = {
        "token": "S3", "access_token": "S3", "client_secret": "S3", "Authorization": "S3", "text": "S3", "body": b"S3",
        "phone": "S3", "user_email": "S3", "first_name": "S3", "password_hash": "S3", "api_key": "S3", "payload": ["S3"],
    }  # fmt: skip
    structlog.get_logger().info("x", **private, nested=[{"deep": private}], held=Secret("S3"), raw=b"S3", token_count=0)
    assert "S3" not in out.getvalue()
    assert lines(out)[0]["nested"][0]["deep"]["token"] == logs.MASK and lines(out)[0]["raw"] == "2 bytes"


def test_urls_lose_their_queries_and_users(out: io.StringIO) -> None:
    structlog.get_logger().info("x", url="https://u:S3@a.org/b?token=S3#S3", said="see http://a.org/?S3 there")
    assert lines(out)[0]["url"] == "https://a.org/b" and lines(out)[0]["said"] == "see http://a.org/ there"


def test_an_exception_shows_frames_and_no_data(out: io.StringIO) -> None:
    hidden = "S3" * 2
    try:
        try:
            int(hidden)
        except ValueError as error:
            raise Rejected("too_long", "4097 characters") from error
    except Rejected:
        structlog.get_logger().exception("failed")
    written = lines(out)[0]["exception"]
    assert "S3S3" not in out.getvalue()
    assert "in test_an_exception_shows_frames" in written and "4097 characters" in written and "ValueError" in written


def test_a_database_error_shows_no_parameters(out: io.StringIO) -> None:
    hidden = "S3" * 2
    try:
        with create_engine("sqlite://").connect() as connection:
            connection.execute(text("select * from nowhere where a = :a"), {"a": hidden})
    except SQLAlchemyError:
        structlog.get_logger().exception("failed")
    assert "S3S3" not in out.getvalue() and "OperationalError" in lines(out)[0]["exception"]


def test_lines_of_libraries_come_out_the_same_way(out: io.StringIO) -> None:
    with logs.following(trace="t1"):
        logging.getLogger("rq.worker").warning("job %s of http://a.org/?S3", 7)
    hidden = "S3" * 2
    try:
        raise KeyError(hidden)
    except KeyError:
        logging.getLogger("other").exception("broke")
    logging.getLogger("urllib3.connectionpool").warning("url=http://a/?S3")
    logging.getLogger("other").debug("unseen")
    first, second = lines(out)
    assert (first["event"], first["message"], first["logger"], first["trace"]) == (
        "library", "job 7 of http://a.org/", "rq.worker", "t1"
    )  # fmt: skip
    assert "KeyError" in second["exception"] and "S3" not in out.getvalue()


def test_the_level_is_kept(out: io.StringIO) -> None:
    structlog.get_logger().debug("unseen")
    assert lines(out) == []
