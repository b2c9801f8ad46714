"""Only public addresses pass the guard, and the hosts that the owner named."""

import ipaddress
import socket
import time
from collections.abc import Callable

import pytest

from widget_backend.bridge.errors import Unsafe
from widget_backend.guard import Address, Guard


def resolving(*texts: str) -> Callable[[str, int], list[Address]]:
    return lambda host, port: [ipaddress.ip_address(text) for text in texts]


def addresses(guard: Guard, host: str, port: int = 443) -> list[str]:
    return [str(address) for address in guard.addresses(host, port, timeout_s=2)]


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_a_public_address_is_allowed(text: str) -> None:
    assert addresses(Guard(), text) == [text]
    assert addresses(Guard(resolve=resolving(text)), "example.org") == [text]


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
     "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "100.100.100.200",
     "::1", "::", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
     "::127.0.0.1", "2002:7f00:1::1", "2001:0:7f00:1::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2001:db8::1"],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(text: str) -> None:
    for guard, host in ((Guard(), text), (Guard(resolve=resolving(text)), "example.org")):
        with pytest.raises(Unsafe) as error:
            addresses(guard, host)
        assert error.value.reason == "address"


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "LOCALHOST."])
def test_other_spellings_of_this_machine_are_refused(host: str) -> None:
    try:
        found = addresses(Guard(), host)
    except (Unsafe, socket.gaierror):
        return
    raise AssertionError(found)


def test_of_a_mixed_answer_only_the_public_addresses_remain() -> None:
    assert addresses(Guard(resolve=resolving("127.0.0.1", "8.8.8.8", "10.0.0.1")), "example.org") == ["8.8.8.8"]


def test_odd_ports_are_refused() -> None:
    for port in (22, 25, 6379, 8080):
        with pytest.raises(Unsafe) as error:
            addresses(Guard(resolve=resolving("8.8.8.8")), "example.org", port)
        assert error.value.reason == "port"


def test_the_owner_may_name_hosts_ports_and_networks() -> None:
    guard = Guard(
        ["waha.lan", "127.0.0.1:8081", "10.1.0.0/16", "[::1]:9000", "fd12::5"], resolve=resolving("192.168.0.7")
    )
    assert addresses(guard, "WAHA.lan.", 3000) == ["192.168.0.7"]
    assert addresses(guard, "127.0.0.1", 8081) == ["127.0.0.1"]
    assert addresses(guard, "10.1.2.3", 9999) == ["10.1.2.3"]
    assert addresses(guard, "::1", 9000) == ["::1"]
    assert addresses(guard, "fd12::5", 1234) == ["fd12::5"]
    for host, port in (("other.lan", 3000), ("127.0.0.1", 8082), ("10.2.0.1", 443), ("::1", 9001)):
        with pytest.raises(Unsafe):
            addresses(guard, host, port)


def test_a_list_never_opens_metadata_addresses() -> None:
    guard = Guard(["169.254.0.0/16", "0.0.0.0/0", "fd00::/8", "evil.lan"], resolve=resolving("169.254.169.254"))
    for host in ("169.254.169.254", "fd00:ec2::254", "evil.lan", "::ffff:169.254.169.254"):
        with pytest.raises(Unsafe):
            addresses(guard, host, 80)


@pytest.mark.parametrize("entry", ["", "http://a", "a/b/c", "u@h", "h:99999"])
def test_a_wrong_entry_is_refused_at_start(entry: str) -> None:
    with pytest.raises(ValueError, match=r"host|path|port|Port|address|network"):
        Guard([entry])


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://a.org/", "scheme"), ("file:///etc/passwd", "scheme"), ("//a.org/", "scheme"), ("http://", "host"),
        ("http://u:p@a.org/", "userinfo"), ("http://@a.org/", "userinfo"), ("http://a.org:0/", "port"),
        ("http://a.org:x/", "url"), ("http://[::1/", "url"), ("http://a.org/ b", "url"), ("http://a.org\\@b/", "url"),
        ("http://a.org/\r\nX: y", "url"), ("http://a.org/" + "x" * 9000, "url"),
    ],
)  # fmt: skip
def test_a_url_of_a_wrong_form_is_refused(url: str, reason: str) -> None:
    with pytest.raises(Unsafe) as error:
        Guard().check_url(url)
    assert error.value.reason == reason


def test_a_slow_resolver_is_left_in_time() -> None:
    def slow(host: str, port: int) -> list[Address]:
        time.sleep(1)
        return []

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        Guard(resolve=slow).addresses("example.org", 443, timeout_s=0.1)
    assert time.monotonic() - started < 0.8


def test_a_name_that_does_not_resolve_is_an_os_error() -> None:
    def nothing(host: str, port: int) -> list[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(socket.gaierror):
        Guard(resolve=nothing).addresses("example.org", 443, timeout_s=1)
