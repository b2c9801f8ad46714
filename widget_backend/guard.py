"""The guard of outside URLs: which addresses this server may connect to.

Only public addresses, on the web's own ports, unless the server's owner names a private host. A name is resolved once;
the caller connects to an address that was checked, never to the name again, so that a second answer of the DNS changes
nothing. Nothing here opens a connection.
"""

import ipaddress
import queue
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from widget_backend.bridge.errors import Unsafe

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve: TypeAlias = Callable[[str, int], list[Address]]

WEB_PORTS = frozenset({80, 443})
MAX_URL_CHARS = 8192
_MAX_ADDRESSES = 4
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# What no list opens: this-network, link-local (where clouds keep their metadata), multicast, broadcast, and the
# metadata addresses that lie outside link-local.
_NEVER: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32", "100.100.100.200/32",
        "192.0.0.192/32", "::/128", "fe80::/10", "ff00::/8", "fd00:ec2::254/128",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of the list of private hosts: a host on any port or on one, or a network."""

    host: str = ""
    port: int | None = None
    network: Network | None = None

    @classmethod
    def parse(cls, text: str) -> "_Entry":
        entry = text.strip().lower()
        if "/" in entry:
            return cls(network=ipaddress.ip_network(entry, strict=False))
        if entry.count(":") > 1 and not entry.startswith("["):
            return cls(host=_same_host(entry))
        parts = urlsplit(f"//{entry}")
        if not parts.hostname or parts.username is not None or parts.query or parts.path:
            raise ValueError(f"not a host, host:port or CIDR: {entry}")
        return cls(host=_same_host(parts.hostname), port=parts.port)

    def allows(self, host: str, port: int, address: Address) -> bool:
        if self.network is not None:
            return address in self.network
        return self.host == host and self.port in (None, port)


class Guard:
    """Decide what may be connected to. `private_hosts`: the owner's exceptions (`host`, `host:port`, CIDR)."""

    def __init__(self, private_hosts: Iterable[str] = (), *, resolve: Resolve | None = None) -> None:
        self._entries = tuple(_Entry.parse(entry) for entry in private_hosts)
        self._resolve = resolve or _resolve

    def check_url(self, url: str) -> str:
        """Refuse a URL that is wrong by its form alone; return its host.

        Raises: Unsafe (`scheme`, `userinfo`, `host`, `port`, `url`).
        """
        if len(url) > MAX_URL_CHARS or any(ord(char) <= 32 or ord(char) == 127 or char == "\\" for char in url):
            raise Unsafe("url")
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError:
            raise Unsafe("url") from None
        if parts.scheme not in ("http", "https"):
            raise Unsafe("scheme")
        if "@" in parts.netloc:
            raise Unsafe("userinfo")
        if not host:
            raise Unsafe("host")
        if port == 0:
            raise Unsafe("port")
        return host

    def addresses(self, host: str, port: int, *, timeout_s: float) -> list[Address]:
        """Resolve a host once and return the addresses that may be connected to, in the resolver's order.

        Raises: Unsafe (`address`, `port`): none of them is allowed; OSError: the name does not resolve; TimeoutError.
        """
        name = _same_host(host)
        found = self._found(name, port, timeout_s)
        allowed = [address for address in found if self._may(name, port, address)]
        if allowed:
            return allowed[:_MAX_ADDRESSES]
        raise Unsafe("port" if any(_is_public(address) for address in found) else "address")

    def _may(self, host: str, port: int, address: Address) -> bool:
        plain = _unmapped(address)
        if _is_never(plain):
            return False
        if any(entry.allows(host, port, plain) for entry in self._entries):
            return True
        return port in WEB_PORTS and _is_public(address)

    def _found(self, host: str, port: int, timeout_s: float) -> list[Address]:
        literal = _literal(host)
        if literal is not None:
            return [literal]
        # The system's resolver has no time-out of its own; a thread of its own lets the caller leave in time.
        answers: queue.SimpleQueue[list[Address] | OSError | UnicodeError] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._resolve(host, port))
            except (OSError, UnicodeError) as error:
                answers.put(error)

        threading.Thread(target=ask, daemon=True, name="resolve").start()
        try:
            answer = answers.get(timeout=max(timeout_s, 0.001))
        except queue.Empty:
            raise TimeoutError("resolver") from None
        if isinstance(answer, UnicodeError):
            raise Unsafe("host")
        if isinstance(answer, OSError):
            raise answer
        return answer


def _resolve(host: str, port: int) -> list[Address]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers))


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.ipv4_mapped or address.sixtofour or address.teredo or address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or _is_never(address))


def _is_never(address: Address) -> bool:
    return any(address in network for network in _NEVER if network.version == address.version)


def _unmapped(address: Address) -> Address:
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _same_host(host: str) -> str:
    name = host.strip("[]").lower().rstrip(".")
    literal = _literal(name)
    return str(literal) if literal is not None else name


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
