"""What the demo does to the data it finds, and how it fills in forms. That it works as a whole is shown by tests/browser."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from widget_backend import demo
from widget_backend.accounts.signup import create_account
from widget_backend.bridge import life, setup
from widget_backend.config import Config
from widget_backend.demo_browser import Browser, FormMissing

PAGE = """
<form method="post" action="/language"><input type="hidden" name="csrf" value="1"><select name="language"></select></form>
<form method="post" action="/connect?of=vk">
  <input type="hidden" name="csrf" value="2"><input name="token"><input type="checkbox" name="read" checked>
  <input type="checkbox" name="chats"><textarea name="note"></textarea><button>Go</button>
</form>
<form method="post"><input name="token"><input name="other"></form>
"""


class Recorder(Browser):
    """Notes what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.page, self.address = PAGE, "http://mostik.test/channels/new"
        self.sent: list[tuple[str, dict[str, str] | None]] = []

    def open(self, address: str, fields: dict[str, str] | None = None) -> None:
        """Note it."""
        self.sent.append((address, fields))


def test_form_is_sent_as_a_browser_would() -> None:
    browser = Recorder()
    browser.send(token="secret")
    browser.send(token="secret", other="x")
    browser.send("/connect")
    assert browser.sent == [
        ("http://mostik.test/connect?of=vk", {"csrf": "2", "token": "secret", "read": "on"}),
        ("http://mostik.test/channels/new", {"token": "secret", "other": "x"}),
        ("http://mostik.test/connect?of=vk", {"csrf": "2", "token": "", "read": "on"}),
    ]
    with pytest.raises(FormMissing, match="/channels/new has no form with password"):
        browser.send(password="x")


def test_data_of_a_real_server_is_left_alone(db: Any, redis: Redis, config: Config) -> None:
    account = create_account("acme", email="owner@acme.test", password="a good password")
    life.create(account.id, "vk", secrets={"token": "t"})
    with pytest.raises(demo.DemoError, match="holds a real server"):
        demo.clear(config)
    assert len(setup.listed(account.id)) == 1


def test_ends_of_an_earlier_demo_are_forgotten_and_nobody_elses(db: Any, redis: Redis, config: Config) -> None:
    old = create_account("acme", **demo.LOGIN)
    other = create_account("acme 2", email="owner@acme.test", password="a good password")
    for account in (old, other):
        life.create(account.id, "vk", secrets={"token": "t"})
    demo.clear(config)
    assert (len(setup.listed(old.id)), len(setup.listed(other.id))) == (0, 1)


def test_settings_come_from_what_the_peers_say() -> None:
    peers = {"vk": {"base_url": "http://127.0.0.1:1", "api_url": "http://127.0.0.1:1"}}
    peers["bitrix24"] = {"base_url": "http://127.0.0.1:2", "oauth_urls": ["http://a", "http://b"]}  # type: ignore[dict-item]
    assert demo.peer_settings(peers, ("10.0.0.1",)) == {
        "MOSTIK_VK_API_URL": "http://127.0.0.1:1",
        "MOSTIK_BITRIX24_OAUTH_URLS": "http://a,http://b",
        "MOSTIK_OUTSIDE_PRIVATE_HOSTS": "10.0.0.1,127.0.0.1",
    }
