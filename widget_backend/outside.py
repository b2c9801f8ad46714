"""Every outgoing HTTP call of the product.

One call, one answer: nothing is repeated here. A call ends within its deadline, connects only where the guard lets it,
spends the limits it was given at the last moment before its first byte leaves, and fails in one of two ways that the
exactly-once rule rests on: surely not sent (NotSent) or perhaps received (MaybeSent).
The transport beneath is in `wire.py`.
"""

import hashlib
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import IO, Any, Protocol
from urllib.parse import urljoin, urlsplit

import requests
import structlog
import urllib3
from prometheus_client import Counter, Histogram
from requests.structures import CaseInsensitiveDict

from widget_backend import clock, limits, reading, wire
from widget_backend.bridge.errors import MostikError, Unsafe
from widget_backend.guard import Guard, Resolve
from widget_backend.limits import Limit, LimitWait, Priority

MAX_REDIRECTS = 5
_CHUNK_BYTES = 64 * 1024
_HEAD_BYTES = 4096
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PLAIN_SEGMENT = re.compile(r"(?:[A-Za-z]{1,24}[._-]?){1,5}\d{0,2}|\d{1,3}")
_CROSS_ORIGIN_SECRETS = ("authorization", "cookie", "proxy-authorization")

log = structlog.get_logger(__name__)
CALLS = Counter("mostik_outside_calls", "Outgoing calls.", ["session", "outcome"])
SECONDS = Histogram("mostik_outside_call_seconds", "Duration of outgoing calls.", ["session"])


class OutsideError(MostikError):
    """A call that brought no answer. `reason` is a slug; neither the URL nor a header is kept."""

    def __init__(self, reason: str, host: str) -> None:
        super().__init__(reason, host)
        self.reason = reason
        self.host = host


class NotSent(OutsideError):
    """The request surely did not leave: `prepare_failed`, `dns_failed`, `connect_failed`, `connect_timeout`, `tls_failed`, `deadline`."""


class MaybeSent(OutsideError):
    """Bytes of the request left and no whole answer came: `read_timeout`, `deadline`, `broken`, `truncated`, `too_large`."""


class BadStatus(OutsideError):
    """A file was asked for and its server answered with another status than success."""

    def __init__(self, status: int, host: str) -> None:
        OutsideError.__init__(self, f"status_{status}", host)
        self.args = (status, host)
        self.status = status


_OUTCOMES: Mapping[type[Exception], str] = {
    NotSent: "not_sent", MaybeSent: "maybe_sent", Unsafe: "unsafe", LimitWait: "limited"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What a remote answered, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    ms: int

    @property
    def ok(self) -> bool:
        """Whether the status says success."""
        return 200 <= self.status < 300

    @property
    def retry_after(self) -> timedelta | None:
        """How long the remote asks us to wait, if it says so (RFC 9110, 10.2.3: seconds or a date)."""
        value = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"\d{1,7}(\.\d{1,6})?", value):
            return timedelta(seconds=float(value))
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        return max(moment.replace(tzinfo=moment.tzinfo or UTC) - clock.now(), timedelta(0))

    def json(self) -> reading.Reader:
        """Read the body as JSON. Raises: reading.Malformed."""
        return reading.read_json(self.body, max_bytes=len(self.body))


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that was fetched: its size, its SHA-256 in hex, its first bytes, what its server called it, and the duration."""

    bytes_count: int
    sha256: str
    head: bytes
    headers: Mapping[str, str]
    ms: int


class Sink(Protocol):
    """What a file is streamed into: an open file, or `files.Incoming`."""

    def write(self, chunk: bytes, /) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What this process may do outside. `valkey` is where limits are counted; `ca_file` replaces the usual authorities, `resolve` the system's resolver."""

    user_agent: str
    private_hosts: Sequence[str] = ()
    valkey: limits.Valkey | None = None
    connect: timedelta = timedelta(seconds=3)
    read: timedelta = timedelta(seconds=10)
    deadline: timedelta = timedelta(seconds=30)
    limit_wait: timedelta = timedelta(seconds=2)
    max_answer_bytes: int = 10 * 1024 * 1024
    ca_file: str | None = None
    resolve: Resolve | None = None


@dataclass(frozen=True, slots=True)
class _Setup:
    settings: Settings
    guard: Guard


_setup: _Setup | None = None
_local = threading.local()
_patience: ContextVar[timedelta | None] = ContextVar("mostik_patience", default=None)


@contextmanager
def patience(wait: timedelta) -> Iterator[None]:
    """Let the calls inside wait so long for their limits: for set-up steps that nobody repeats for us."""
    token = _patience.set(wait)
    try:
        yield
    finally:
        _patience.reset(token)


def configure(settings: Settings) -> None:
    """Set what this process may do outside, once at start. Raises: ValueError: a private host is not one."""
    global _setup
    _setup = _Setup(settings, Guard(settings.private_hosts, resolve=settings.resolve))


def session(name: str) -> "Session":
    """Return this thread's session of a name: one per client class, such as `vk`; the name stands in logs and counters."""
    setup = _configured()
    if getattr(_local, "setup", None) is not setup:
        _local.setup, _local.sessions = setup, {}
    sessions: dict[str, Session] = _local.sessions
    if name not in sessions:
        sessions[name] = Session(name, setup)
    return sessions[name]


def _forget_sessions() -> None:
    # A forked child must not speak on its parent's connections.
    _local.__dict__.clear()


os.register_at_fork(after_in_child=_forget_sessions)


def _configured() -> _Setup:
    if _setup is None:
        raise RuntimeError("outside is not configured")
    return _setup


def fetch(
    url: str,
    into: Sink,
    *,
    max_bytes: int,
    deadline: timedelta,
    headers: Mapping[str, str] | None = None,
    limits: Sequence[Limit] = (),
    priority: Priority = Priority.LIVE,
) -> Fetched:
    """Stream an outside file into a sink; redirects are followed, each checked by the guard.

    What it is must be judged by its first bytes (`files.content_type(fetched.head)`), not by what its server says.
    Raises: Unsafe (also `redirects`), NotSent, MaybeSent (`too_large`: beyond `max_bytes`), BadStatus, LimitWait.
    """
    return session("fetch").fetch(
        url, into, max_bytes=max_bytes, deadline=deadline, headers=headers, limits=limits, priority=priority
    )


class Session:
    """A pool of connections of one thread. It keeps no cookies, reads no environment and follows nothing by itself."""

    def __init__(self, name: str, setup: _Setup) -> None:
        self._name = name
        self._settings = setup.settings
        self._guard = setup.guard
        self._transport = wire.Transport(setup.settings.ca_file)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | Iterable[tuple[str, Any]] | bytes | None = None,
        json: object = None,
        files: Mapping[str, tuple[str, bytes | IO[bytes], str]] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: timedelta | None = None,
        deadline: timedelta | None = None,
        limits: Sequence[Limit] = (),
        priority: Priority = Priority.LIVE,
        limit_wait: timedelta | None = None,
        redirects: int = 0,
        call: str = "",
    ) -> Answer:
        """Make one call and return its whole answer, whatever the status.

        Shape: `files` maps a field to (file name, content, type). `call` stands in the log in place of the path: give it
        where the path holds a secret. `redirects` are followed for GET and HEAD only.
        Units: `timeout` bounds each wait for bytes, `deadline` the whole call.
        Raises: Unsafe, NotSent, MaybeSent, LimitWait (no token within `limit_wait`; nothing was sent).
        """
        sent = requests.Request(
            method, url, params=params, data=data, json=json, files=files, headers=self._headers(headers)
        )
        state = self._call(deadline, timeout, limits, priority, limit_wait)
        with self._following(sent, state, redirects if method in ("GET", "HEAD") else 0, call) as (response, done):
            body = b"".join(_chunks(response, state, self._settings.max_answer_bytes))
            done(len(body))
        return Answer(response.status_code, response.headers, body, state.ms)

    def fetch(
        self,
        url: str,
        into: Sink,
        *,
        max_bytes: int,
        deadline: timedelta,
        headers: Mapping[str, str] | None = None,
        limits: Sequence[Limit] = (),
        priority: Priority = Priority.LIVE,
    ) -> Fetched:
        """Stream a file, as the function `fetch` does, on the connections of this session."""
        sent = requests.Request("GET", url, headers=self._headers({"Accept-Encoding": "identity", **(headers or {})}))
        state = self._call(deadline, None, limits, priority, deadline)
        digest, head, count = hashlib.sha256(), b"", 0
        with self._following(sent, state, MAX_REDIRECTS, "") as (response, done):
            if response.status_code != 200:
                raise BadStatus(response.status_code, state.host)
            for chunk in _chunks(response, state, max_bytes):
                digest.update(chunk)
                head += chunk[: _HEAD_BYTES - len(head)] if len(head) < _HEAD_BYTES else b""
                count += into.write(chunk)
            done(count)
        return Fetched(count, digest.hexdigest(), head, response.headers, state.ms)

    def _headers(self, given: Mapping[str, str] | None) -> CaseInsensitiveDict[str]:
        return CaseInsensitiveDict(
            {
                "User-Agent": self._settings.user_agent,
                "Accept-Encoding": "gzip, deflate",
                "Accept": "*/*",
                **(given or {}),
            }
        )

    def _call(
        self,
        deadline: timedelta | None,
        timeout: timedelta | None,
        wanted: Sequence[Limit],
        priority: Priority,
        limit_wait: timedelta | None,
    ) -> wire.Call:
        settings = self._settings
        state = wire.Call(
            guard=self._guard,
            connect_s=settings.connect.total_seconds(),
            read_s=(settings.read if timeout is None else timeout).total_seconds(),
            until=clock.monotonic() + (settings.deadline if deadline is None else deadline).total_seconds(),
        )
        if not wanted:
            return state
        if settings.valkey is None:
            raise RuntimeError("limits need Valkey")
        valkey, longest = settings.valkey, _patience.get() or limit_wait or settings.limit_wait

        def spend() -> None:
            bound = min(longest, timedelta(seconds=max(state.left_s(), 0)))
            limits.wait(valkey, wanted, priority, bound=bound)

        state.before_first_byte = spend
        return state

    @contextmanager
    def _following(
        self, sent: requests.Request, state: wire.Call, redirects: int, call: str
    ) -> Iterator[tuple[requests.Response, Any]]:
        """Open the answer to a request, after following at most so many redirects."""
        for hop in range(redirects + 1):
            with self._open(sent, state, call) as (response, done):
                target = response.headers.get("Location") if response.status_code in _REDIRECTS else None
                if target is None or not redirects:
                    yield response, done
                    return
                done(0)
            if hop == redirects:
                raise Unsafe("redirects")
            self._redirect(sent, target)

    def _redirect(self, sent: requests.Request, target: str) -> None:
        try:
            # Headers come as Latin-1; what servers write there beyond ASCII is UTF-8.
            url = urljoin(str(sent.url), target.encode("latin-1", "replace").decode("utf-8", "replace"))
            before, after = urlsplit(str(sent.url)), urlsplit(url)
        except ValueError:
            raise Unsafe("url") from None
        if before.scheme == "https" and after.scheme != "https":
            raise Unsafe("scheme")
        if (before.scheme, before.netloc) != (after.scheme, after.netloc):
            sent.headers = CaseInsensitiveDict(
                {name: value for name, value in sent.headers.items() if name.lower() not in _CROSS_ORIGIN_SECRETS}
            )
        sent.url, sent.params = url, {}

    @contextmanager
    def _open(self, sent: requests.Request, state: wire.Call, call: str) -> Iterator[tuple[requests.Response, Any]]:
        """Make one hop: translate what goes wrong, close what is not read to its end, log and count."""
        outcome, count, status, path = "failed", 0, 0, call

        def done(bytes_count: int) -> None:
            nonlocal count
            count = bytes_count

        response: requests.Response | None = None
        try:
            state.begin(self._guard.check_url(str(sent.url)))
            path = call or _shown_path(str(sent.url))
            with _translating(state):
                response = self._transport.exchange(sent, state)
            status, outcome = response.status_code, f"{response.status_code // 100}xx"
            yield response, done
        except (NotSent, MaybeSent, Unsafe, LimitWait) as error:
            outcome = _OUTCOMES[type(error)]
            raise
        finally:
            state.end()
            if response is not None and not response.raw.closed:
                response.raw.close()
            CALLS.labels(self._name, outcome).inc()
            SECONDS.labels(self._name).observe(state.ms / 1000)
            log.info(
                "outside_call", session=self._name, host=state.host, path=path, status=status, outcome=outcome,
                duration_ms=state.ms, bytes_count=count,
            )  # fmt: skip


def _chunks(response: requests.Response, state: wire.Call, max_bytes: int) -> Iterator[bytes]:
    """Read a body within its bounds; compressed bodies count unpacked."""
    too_large = MaybeSent("too_large", state.host)
    declared = response.headers.get("Content-Length", "")
    if declared.isdecimal() and int(declared) > max_bytes and response.request.method != "HEAD":
        raise too_large
    count = 0
    with _translating(state):
        for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=True):
            count += len(chunk)
            if count > max_bytes:
                raise too_large
            state.patience_s()
            yield chunk


@contextmanager
def _translating(state: wire.Call) -> Iterator[None]:
    """Turn what the transport raises into NotSent or MaybeSent."""
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError):
        # `from None`: the text of the cause holds the whole URL, and that may hold a token.
        raise (MaybeSent if state.is_sent else NotSent)(_reason(state), state.host) from None


def _reason(state: wire.Call) -> str:
    if state.left_s() <= 0:
        return "deadline"
    if state.trouble:
        return state.trouble
    if not state.is_sent:
        return f"{state.stage}_failed"
    return "truncated" if state.is_answered else "broken"


def _shown_path(url: str) -> str:
    """Return the path of a URL for logs, with every segment that might be a secret or an id left out."""
    segments = urlsplit(url).path.split("/")
    return "/".join(part if not part or _PLAIN_SEGMENT.fullmatch(part) else "*" for part in segments)
