"""The one door for every hook: find whose it is, verify the raw bytes, keep them, answer. Nothing is parsed here.

It stands before Flask: no session, no template and no page is behind it, and what it costs is measured (docs/decisions/0011).
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg
import structlog
from sqlalchemy import func, update
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.http import HTTP_STATUS_CODES, http_date

from widget_backend import clock, logs, metrics
from widget_backend.accounts import forgeries
from widget_backend.accounts.models import App
from widget_backend.bridge import keep, life, registry, runtime, wake
from widget_backend.bridge.ends import PULLED, Hook, Manifest, Owner
from widget_backend.bridge.errors import NotGenuine
from widget_backend.bridge.models import EndKey, EndRecord, Gate
from widget_backend.bridge.tenancy import transaction
from widget_backend.reading import safe_text

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()

PREFIX = "/hooks/"

OWNER_CACHE_S = 2.0
OVERLOAD_CHECK_S = 5.0
RETRY_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class _Found:
    door: keep.Door
    owner: Owner
    manifest: Manifest
    at: float


_owners: dict[bytes, _Found] = {}
_overload: tuple[float, bool] = (0.0, False)
_lock = Lock()


@dataclass(frozen=True, slots=True)
class _Said:
    """What the caller gets."""

    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


class _Refused(Exception):
    """The request cannot be read: status and words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.said = _Said(status, words)


class Door:
    """WSGI: answer `POST /hooks/<key>` and `/hooks/<key>/<name>`; whatever else is asked goes to the application behind."""

    def __init__(self, behind: WSGIApplication) -> None:
        self._behind = behind

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if not environ.get("PATH_INFO", "").startswith(PREFIX):
            return self._behind(environ, start_response)
        said = receive(environ)
        body = said.body.encode()
        headers = [("Content-Type", said.content_type), ("Content-Length", str(len(body))), *said.headers]
        start_response(f"{said.status} {HTTP_STATUS_CODES.get(said.status, 'Unknown')}", headers)
        return [body]


def receive(environ: WSGIEnvironment) -> _Said:
    """Take one hook.

    Shape: 404 unknown key, 405 not a POST, 413 body over the manifest's limit, 403 not genuine, 503 with Retry-After when we cannot keep it, 500 when
    this server is at fault (then nothing is kept, and the caller repeats), else what the adapter's `answer` says - only after the commit.
    """
    if environ["REQUEST_METHOD"] != "POST":
        return _Said(405, "only POST", headers=(("Allow", "POST"),))
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")  # PEP 3333
    key, _, name = path.removeprefix(PREFIX).partition("/")
    try:
        return _receive(environ, key, name)
    except _Refused as error:
        return error.said
    except (OperationalError, InterfaceError, PoolTimeout, psycopg.OperationalError, psycopg.InterfaceError) as error:
        log.error("hook_not_kept", error=type(error).__name__)
        return _unavailable("the database is away")
    except Exception:
        log.exception("hook_failed")
        return _Said(500, "error")


def _receive(environ: WSGIEnvironment, key: str, name: str) -> _Said:
    started = time.perf_counter()
    # what a pull brought bears this name in the inbox: nobody outside may pass a body off as pulled
    found = _find(key) if name != PULLED else None
    if found is None:
        return _Said(404, "not found")
    if _is_overloaded():
        metrics.hooks.labels(found.manifest.key, "overload").inc()
        return _unavailable("overloaded")
    hook = _hook(environ, name, found.manifest)
    hooks = registry.hooks(found.manifest.key)
    try:
        try:
            kept = hooks.verify(hook, found.owner)
        except NotGenuine:
            found = _find(key, fresh=True) or found  # its secret may have changed a moment ago
            kept = hooks.verify(hook, found.owner)
    except NotGenuine as error:
        _refuse(found, hook, error)
        return _Said(403, "forbidden")
    trace_id = secrets.token_hex(16)
    if kept.keep:
        is_new = keep.keep(found.door, hook, kept, trace_id)
        wake.poke()
    else:
        is_new = False
        found = _find(key, fresh=True) or found  # an answer with content needs the newest facts
    answer = hooks.answer(hook, found.owner)
    _note(found, "kept" if is_new else "repeated" if kept.keep else "answered", trace_id, time.perf_counter() - started)
    return _Said(answer.status, answer.body, answer.content_type)


def _note(found: _Found, outcome: str, trace_id: str, elapsed_s: float) -> None:
    metrics.hook_seconds.labels(found.manifest.key).observe(elapsed_s)
    metrics.hooks.labels(found.manifest.key, outcome).inc()
    logs.brief(
        f"hook_{outcome}",
        trace=trace_id,
        end=str(found.door.owner_id),
        account=str(found.door.account_id or ""),
        adapter=found.manifest.key,
        duration_ms=f"{elapsed_s * 1000:.1f}",
    )


def _hook(environ: WSGIEnvironment, name: str, manifest: Manifest) -> Hook:
    return Hook(
        body=_body(environ, manifest.capabilities.body_limit_bytes),
        received_at=clock.now(),
        name=safe_text(name) if name else "",
        query=environ.get("QUERY_STRING", ""),
        content_type=environ.get("CONTENT_TYPE", ""),
        headers={
            header: environ.get(f"HTTP_{header.upper().replace('-', '_')}", "") for header in manifest.hook_headers
        },
        remote_address=environ.get("REMOTE_ADDR", ""),
    )


def _body(environ: WSGIEnvironment, limit: int) -> bytes:
    """Read the whole body, in pieces or of a told length. Raises: _Refused."""
    told = environ.get("CONTENT_LENGTH") or ""
    if told and not (told.isascii() and told.isdigit()):
        raise _Refused(400, "bad length")
    if told and int(told) > limit:
        raise _Refused(413, "too large")
    if not told and not environ.get("wsgi.input_terminated"):
        return b""
    try:
        body: bytes = environ["wsgi.input"].read(int(told) if told else limit + 1)
    except OSError as error:
        raise _Refused(400, "cut short") from error
    if len(body) > limit:
        raise _Refused(413, "too large")
    if told and len(body) < int(told):
        raise _Refused(400, "cut short")
    return body


def _find(key: str, *, fresh: bool = False) -> _Found | None:
    digest = life.hook_digest(key)
    cached = _owners.get(digest)
    if cached is not None and not fresh and time.monotonic() - cached.at < OWNER_CACHE_S:
        return cached
    found = _load(digest)
    with _lock:
        if found is None:
            _owners.pop(digest, None)
        else:
            _owners[digest] = found
    return found


def _load(digest: bytes) -> _Found | None:
    with transaction(None) as session:
        known = session.get(EndKey, digest)
        app = session.get(App, known.app_id) if known and known.end_id is None and known.app_id else None
    if known is None or known.kind != "hook":
        return None
    manifest = registry.manifest(known.adapter)
    if app is not None:
        return _Found(keep.Door(app.id, None, is_app=True), life.app_owner(app), manifest, time.monotonic())
    if known.account_id is None or known.end_id is None:
        return None
    with transaction(known.account_id) as session:
        row = session.get(EndRecord, known.end_id)
        if row is None or row.state == "off" or row.deleted_at is not None:
            return None
        return _Found(keep.Door(row.id, row.account_id), life.owner_of(row), manifest, time.monotonic())


def _refuse(found: _Found, hook: Hook, error: NotGenuine) -> None:
    """Note the event, without anything of its contents; a known end is asked what we may have missed, since some remotes change their secret."""
    metrics.hooks.labels(found.manifest.key, "not_genuine").inc()
    owner_id, adapter = found.door.owner_id, found.manifest.key
    end_id: UUID | None = None if found.door.is_app else owner_id
    with transaction(None) as session:
        is_noted = forgeries.note(
            session, owner_id, adapter=adapter, why=error.why, remote_address=hook.remote_address, end_id=end_id
        )
        if is_noted:
            log.warning("hook_not_genuine", end=str(owner_id), adapter=adapter, why=error.why)
            session.execute(
                update(Gate).where(Gate.end_id == end_id, Gate.pull_at.is_not(None)).values(pull_at=func.now())
            )


def _is_overloaded() -> bool:
    """Tell whether we could not keep what we accept: too little disk, or an inbox that nobody empties (looked at every few seconds)."""
    global _overload
    checked_at, is_over = _overload
    if time.monotonic() - checked_at < OVERLOAD_CHECK_S:
        return is_over
    with _lock:
        config = runtime.get().config
        free = shutil.disk_usage(config.var_dir if config.var_dir.exists() else "/").free
        is_over = free < config.disk_floor_bytes or keep.oldest_waiting_s() > config.inbox_ceiling_s
        _overload = (time.monotonic(), is_over)
    return is_over


def _unavailable(why: str) -> _Said:
    # a date: VK obeys nothing else (vk.md 3.1), and everybody understands one
    return _Said(503, why, headers=(("Retry-After", http_date(clock.now() + RETRY_AFTER)),))
