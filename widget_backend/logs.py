"""JSON log lines: one object a line on stdout, with the ids that follow a message, and without what is nobody's business.

`trace` is one id from a hook to its report. Masking is the second lock: callers do not log texts, names or tokens in the
first place. Of an exception the frames are written, never local variables, and its message only where it cannot hold
somebody's data.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from widget_backend import clock
from widget_backend.bridge.errors import MostikError

MASK = "•••"
IDS = ("trace", "account", "end", "hook", "conversation", "delivery")
_SECRET_WORDS = frozenset(
    {"token", "secret", "password", "passwd", "authorization", "cookie", "credentials", "signature", "phone", "email"}
)
_PRIVATE_ENDINGS = frozenset(
    {"text", "body", "name", "caption", "comment", "address", "login", "key", "payload", "data"}
)
_OPEN = frozenset({"remote_address"})
_SPEAKING = (
    MostikError, TypeError, AttributeError, NameError, ImportError, NotImplementedError, AssertionError, RecursionError
)  # fmt: skip
_QUIET = {
    "urllib3": logging.ERROR,
    "werkzeug": logging.WARNING,
    "alembic": logging.WARNING,
}  # urllib3 warns with whole URLs
_MAX_DEPTH = 5
_MAX_FRAMES = 40

_Event: TypeAlias = MutableMapping[str, Any]
_handler: logging.StreamHandler[TextIO] | None = None


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send the log lines of this process, those of libraries too, to a stream; stdout by default."""
    own = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        _stamp,
        _describe_exception,
        _mask,
    ]
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *own[:2], _name_foreign, *own[3:]],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _render],
        )
    )
    global _handler
    _handler = handler
    root = logging.getLogger()
    for known in list(root.handlers):
        root.removeHandler(known)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, floor in _QUIET.items():
        logging.getLogger(name).setLevel(max(floor, root.level))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *own, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def brief(event: str, **facts: str) -> None:
    """Write an `info` line at a fraction of the cost, where thousands are written a second. Ids of ours only: nothing is masked or escaped here."""
    handler = _handler
    if handler is None or not logging.getLogger().isEnabledFor(logging.INFO):
        return
    told = "".join(f', "{name}": "{fact}"' for name, fact in facts.items())
    line = f'{{"at": "{clock.now().isoformat(timespec="milliseconds")}", "level": "info", "event": "{event}"{told}}}'
    handler.acquire()
    try:
        handler.stream.write(line + handler.terminator)
        handler.flush()
    finally:
        handler.release()


@contextmanager
def following(**ids: UUID | str | None) -> Iterator[None]:
    """Stamp every line of the block, in this thread, with ids: trace, account, end, hook, conversation, delivery."""
    unknown = set(ids) - set(IDS)
    if unknown:
        raise ValueError(f"not an id that lines carry: {sorted(unknown)}")
    with structlog.contextvars.bound_contextvars(**{name: str(id) for name, id in ids.items() if id is not None}):
        yield


def trace() -> str | None:
    """Return the trace id of what is being done, if there is one."""
    known = structlog.contextvars.get_contextvars().get("trace")
    return None if known is None else str(known)


def masked(value: object, depth: int = 0) -> object:
    """Return a value fit for a log or an excerpt: private fields masked, queries cut from URLs, bytes counted."""
    if isinstance(value, Mapping):
        if depth >= _MAX_DEPTH:
            return MASK
        return {
            str(key): MASK if _is_private(str(key)) and item else masked(item, depth + 1) for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return MASK if depth >= _MAX_DEPTH else [masked(item, depth + 1) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{len(value)} bytes"
    if isinstance(value, str):
        return _without_query(value)
    return value if value is None or isinstance(value, (bool, int, float)) else _without_query(str(value))


def _is_private(key: str) -> bool:
    words = key.lower().replace("-", "_").split("_")
    if key.lower() in _OPEN:
        return False
    return not _SECRET_WORDS.isdisjoint(words) or words[-1] in _PRIVATE_ENDINGS


def _without_query(text: str) -> str:
    if "://" not in text:
        return text
    words = []
    for word in text.split(" "):
        try:
            parts = urlsplit(word)
        except ValueError:
            words.append(MASK)
            continue
        host = parts.netloc.rpartition("@")[2]
        words.append(f"{parts.scheme}://{host}{parts.path}" if parts.scheme and host else word)
    return " ".join(words)


def _stamp(_: Any, __: str, event: _Event) -> _Event:
    event["at"] = clock.now().isoformat(timespec="milliseconds")
    return event


def _name_foreign(_: Any, __: str, event: _Event) -> _Event:
    """Give a library's line an event name of ours; what it says becomes a field."""
    event["message"] = event.get("event")
    event["event"] = "library"
    return _stamp(_, __, event)


def _mask(_: Any, __: str, event: _Event) -> _Event:
    for key, value in event.items():
        if not key.startswith("_"):  # structlog's own
            event[key] = MASK if _is_private(key) and value else masked(value)
    return event


def _describe_exception(_: Any, __: str, event: _Event) -> _Event:
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = describe(error)
    return event


def describe(error: BaseException) -> str:
    """Write an exception and its causes: where, what type, and the message only of types whose messages hold no data."""
    parts: list[str] = []
    known: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in known:
        known.add(id(current))
        parts.append(_frames(current.__traceback__) + _headline(current))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\ncaused by\n".join(parts)


def _headline(error: BaseException) -> str:
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if isinstance(error, _SPEAKING):
        return f"{kind}: {_without_query(str(error))}"
    state = getattr(getattr(error, "orig", error), "sqlstate", None) or getattr(error, "errno", None)
    return f"{kind} ({state})" if state else kind


def _frames(trace: TracebackType | None) -> str:
    return "".join(traceback.format_list(traceback.extract_tb(trace, limit=-_MAX_FRAMES)))


def _render(_: Any, __: str, event: _Event) -> str:
    first = {"at": event.pop("at", None), "level": event.pop("level", None), "event": event.pop("event", None)}
    return json.dumps({**first, **event}, ensure_ascii=False, default=str)
