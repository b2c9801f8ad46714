"""The transport under `outside`: connections that obey the guard, the deadline and the order "limits, then bytes".

A call runs in one thread. What its connections must know of it hangs on that thread while it runs, because a pooled
connection outlives the call that opened it.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import certifi
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.connection import is_connection_dropped

from widget_backend import clock
from widget_backend.bridge.errors import Unsafe
from widget_backend.guard import Address, Guard

_POOLS = 32
_PIECE_BYTES = 256 * 1024
_active = threading.local()


@dataclass(slots=True, kw_only=True)
class Call:
    """The state of one call: how far it came decides whether it may have been received."""

    guard: Guard
    connect_s: float
    read_s: float
    until: float
    before_first_byte: Callable[[], None] | None = None
    host: str = ""
    stage: str = "prepare"
    trouble: str = ""
    is_sent: bool = False
    is_answered: bool = False
    is_fresh: bool = False
    started: float = field(default_factory=clock.monotonic)
    ms: int = 0

    def begin(self, host: str) -> None:
        """Start a hop."""
        self.host, self.stage, self.trouble = host, "prepare", ""
        self.is_sent = self.is_answered = self.is_fresh = False
        _active.call = self

    def end(self) -> None:
        """End a hop."""
        self.ms = round((clock.monotonic() - self.started) * 1000)
        _active.call = None

    def left_s(self) -> float:
        """Return how much of the deadline is left."""
        return self.until - clock.monotonic()

    def patience_s(self) -> float:
        """Return how long one wait for bytes may last. Raises: TimeoutError: the deadline has passed."""
        left = self.left_s()
        if left <= 0:
            raise TimeoutError("deadline")
        return min(left, self.read_s)


class Transport:
    """Send prepared requests over pooled, guarded connections."""

    def __init__(self, ca_file: str | None) -> None:
        self._adapter = _Adapter(_tls(ca_file))

    def exchange(self, sent: requests.Request, call: Call) -> requests.Response:
        """Send a request and return its answer with the body unread. Nothing is repeated."""
        try:
            prepared = sent.prepare()
        except requests.exceptions.InvalidURL:
            raise Unsafe("url") from None
        call.stage = "connect"
        response = self._adapter.send(prepared, stream=True, timeout=(call.connect_s, call.read_s))
        call.is_answered = True
        return response


class _Adapter(HTTPAdapter):
    """requests' way to urllib3, with our connections and one TLS context for all of them."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=_POOLS, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        manager = urllib3.PoolManager(num_pools=connections, maxsize=maxsize, block=block, ssl_context=self._context)
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TLSPool}
        self.poolmanager = manager

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the verification to the context, which holds the authorities already."""


class _BoundedSocket(socket.socket):
    """A socket whose every wait ends at the deadline of the running call."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        with _waiting(self):
            return super().recv_into(*args, **kwargs)

    def sendall(self, data: Any, flags: int = 0) -> None:
        # Piece by piece, so that the time-out bounds a stall and not the whole of a large upload.
        rest = memoryview(data).cast("B")
        while rest:
            with _waiting(self):
                rest = rest[self.send(rest[:_PIECE_BYTES], flags) :]


class _BoundedTLSSocket(ssl.SSLSocket):
    """The same, encrypted."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        with _waiting(self):
            return super().recv_into(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        with _waiting(self):
            return super().send(*args, **kwargs)


class _waiting:
    """Give a socket the patience that the running call has left, and remember when it runs out."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __enter__(self) -> None:
        self._sock.settimeout(_call().patience_s())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, TimeoutError):
            _call().trouble = "read_timeout"


class _Guarded(HTTPConnection):
    """Connect to an address that the guard checked, and note the moment when the first byte leaves."""

    def _new_conn(self) -> socket.socket:
        call = _call()
        call.stage = "dns"
        addresses = call.guard.addresses(self._dns_host, self.port, timeout_s=min(call.connect_s, call.left_s()))
        call.stage = "connect"
        trouble: OSError | None = None
        for address in addresses:
            try:
                return _connected(address, self.port, call)
            except OSError as error:
                trouble = error
        call.trouble = "connect_timeout" if isinstance(trouble, TimeoutError) else "connect_failed"
        raise trouble or OSError("no address")

    def connect(self) -> None:
        super().connect()
        call = _call()
        call.stage, call.is_fresh = "send", True

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        call = _call()
        if not call.is_sent:
            if call.before_first_byte is not None:
                call.before_first_byte()
                # Waiting took its time: a pooled connection that the peer closed meanwhile is replaced, as nothing was sent.
                # (A fresh TLS connection may have session tickets to read, which looks the same.)
                if not call.is_fresh and is_connection_dropped(cast(Any, self)):
                    self.sock.close()
                    self.connect()
            call.patience_s()
            call.is_sent = True
        super().send(data)


class _GuardedTLS(_Guarded, HTTPSConnection):
    """The same over TLS: certificate and server name are those of the host, not of the address."""

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        call = _call()
        call.stage = "tls"
        sock.settimeout(min(call.connect_s, call.patience_s()))
        return sock


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Guarded


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _GuardedTLS


def _call() -> Call:
    call: Call | None = getattr(_active, "call", None)
    assert call is not None, "a connection is used outside a call"
    return call


def _connected(address: Address, port: int, call: Call) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = _BoundedSocket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(min(call.connect_s, call.patience_s()))
        sock.connect((str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock


def _tls(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file or certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _BoundedTLSSocket
    return context
