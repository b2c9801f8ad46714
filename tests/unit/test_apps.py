"""The keys of this server at a CRM, as its owner adds them by command."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from widget_backend import cli
from widget_backend.accounts.models import App
from widget_backend.bridge import life
from widget_backend.config import Config


@pytest.fixture
def command(config: Config, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Run commands with the settings of the tests."""
    monkeypatch.setattr(Config, "from_env", classmethod(lambda cls, environ=None: config))
    return CliRunner()


def test_app_added_by_command_has_addresses_and_a_sealed_secret(db: Any, command: CliRunner) -> None:
    """Add a catalogue app; its secret is stored sealed and opens for hooks and tokens."""
    words = ["app", "add", "bitrix24", "--client-id", "app.1", "--client-secret", "s3cret"]
    done = command.invoke(cli.main, words)
    assert done.exit_code == 0, done.output
    app = db.session.query(App).one()
    assert app.account_id is None
    assert json.loads(done.stdout[done.stdout.index("{") :])["installer"].endswith(f"/embedded/{app.key}/install")
    assert b"s3cret" not in app.secret
    assert life.app_owner(app).secrets["client_secret"] == "s3cret"


def test_app_added_twice_is_refused_with_the_reason(db: Any, command: CliRunner) -> None:
    """Add the same client id again."""
    words = ["app", "add", "bitrix24", "--client-id", "app.1", "--client-secret", "s3cret"]
    command.invoke(cli.main, words)
    again = command.invoke(cli.main, words)
    assert again.exit_code == 1 and "known already" in again.output
    assert db.session.query(App).count() == 1


def test_app_of_an_app_door_has_other_addresses_and_takes_channels(db: Any, command: CliRunner) -> None:
    """Add an amoCRM integration and a chat channel of it; a second answer of support replaces the first, without a secret it keeps the old one."""
    done = command.invoke(cli.main, ["app", "add", "amocrm", "--client-id", "i.1", "--client-secret", "s3cret"])
    assert done.exit_code == 0, done.output
    app = db.session.query(App).one()
    shown = json.loads(done.stdout[done.stdout.index("{") :])
    assert shown["redirect"].endswith(f"/oauth/install/{app.key}") and shown["hooks"].endswith(f"/hooks/{app.key}")

    first = [
        "app",
        "channel",
        "i.1",
        "vk",
        "--id",
        "c.1",
        "--secret",
        "ch-s3cret",
        "--code",
        "amo.ext.1",
        "--feature",
        "quotes",
    ]
    assert command.invoke(cli.main, first).exit_code == 0
    db.session.expire_all()
    owner = life.app_owner(db.session.query(App).one())
    assert owner.secrets["channel:c.1"] == "ch-s3cret"
    assert owner.settings["channels"] == [
        {"code": "amo.ext.1", "bot_id": "", "features": ["quotes"], "messenger": "vk", "remote_id": "c.1"}
    ]
    assert command.invoke(cli.main, ["app", "channel", "i.2", *first[3:]]).exit_code == 1


def test_owner_gets_a_link_and_a_list_without_secrets(db: Any, command: CliRunner) -> None:
    """Print a link that opens the set-up of the whole server; list apps without what they keep secret."""
    link = command.invoke(cli.main, ["app", "page"])
    assert link.exit_code == 0 and link.output.startswith("https://mostik.test/apps/server?ticket=")
    command.invoke(cli.main, ["app", "add", "amocrm", "--client-id", "c-1", "--client-secret", "s3cret"])
    listed = command.invoke(cli.main, ["app", "list"]).output
    assert json.loads(listed) == {
        "adapter": "amocrm",
        "client_id": "c-1",
        "title": "Mostik",
        "for": "server",
        "channels": [],
    }
    assert "s3cret" not in listed
