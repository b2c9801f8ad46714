"""Settings: all that is wrong is told at once, with cures and without secrets."""

import base64
from pathlib import Path

import pytest

from widget_backend import local_secrets, settings_page
from widget_backend.config import Config, ConfigError, adapter_settings, env_name, own_settings
from widget_backend.supervision import ROOT

KEY = "one:" + base64.b64encode(b"1" * 32).decode()
OTHER = "two:" + base64.b64encode(b"2" * 32).decode()


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    return {
        "MOSTIK_VAR": str(tmp_path),
        "DATABASE_URL": "postgresql://app:secret@db/mostik",
        "MOSTIK_DATABASE_OWNER_URL": "postgresql://owner:secret@db/mostik",
        "REDIS_URL": "redis://:secret@queue/0",
        "MOSTIK_KEYS": KEY,
        "MOSTIK_SECRET_KEY": "s" * 32,
    }


def problems_of(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        Config.from_env(environ)
    return str(caught.value)


def test_settings_have_their_types(given: dict[str, str]) -> None:
    config = Config.from_env({**given, "MOSTIK_EXCHANGE_END_RETRY_S": "1, 2", "MOSTIK_KEYS": f"{KEY},{OTHER}"})

    assert config.database_url == "postgresql+psycopg://app:secret@db/mostik"
    assert config.end_retry_s == (1, 2)
    assert config.keys == (("one", b"1" * 32), ("two", b"2" * 32))
    assert config.files_dir == config.var_dir / "files"
    assert config.outside_private_hosts == ()


def test_everything_wrong_is_told_at_once_and_no_value_is_shown(given: dict[str, str]) -> None:
    del given["MOSTIK_SECRET_KEY"]
    told = problems_of(
        {**given, "MOSTIK_WEB_PORT": "abc", "MOSTIK_TYPO": "1", "MOSTIK_KEYS": "one:hunter2", "REDIS_URL": "queue"}
    )

    for name in (
        "MOSTIK_SECRET_KEY is missing",
        "MOSTIK_WEB_PORT must be",
        "MOSTIK_TYPO is not",
        "MOSTIK_KEYS must",
        "REDIS_URL must",
    ):
        assert name in told
    assert "hunter2" not in told and "abc" not in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOSTIK_WEB_WORKERS", "0"),
        ("MOSTIK_WEB_WORKERS", "-1"),
        ("MOSTIK_PUBLIC_URL", "mostik.test"),
        ("DATABASE_URL", "mysql://db"),
        ("MOSTIK_KEYS", f"{KEY},{KEY}"),
        ("MOSTIK_KEYS", "one:" + base64.b64encode(b"short").decode()),
        ("MOSTIK_EXCHANGE_END_RETRY_S", ","),
        ("MOSTIK_LOG_LEVEL", "loud"),
    ],
)
def test_wrong_value_is_refused_by_its_name(given: dict[str, str], name: str, value: str) -> None:
    assert name in problems_of({**given, name: value})


def test_outside_database_without_its_owner_is_refused(given: dict[str, str]) -> None:
    del given["MOSTIK_DATABASE_OWNER_URL"]

    assert "MOSTIK_DATABASE_OWNER_URL is missing" in problems_of(given)


def test_what_an_embedded_start_made_is_found(tmp_path: Path) -> None:
    local_secrets.ensure_keys(tmp_path)
    postgres = local_secrets.ensure_postgres(tmp_path, running=False)
    local_secrets.ensure_valkey(tmp_path, running=False)

    config = Config.from_env({"MOSTIK_VAR": str(tmp_path)})

    assert postgres.app_password in config.database_url and "mostik_app" in config.database_url
    assert "mostik_owner" in config.database_owner_url
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "keys").iterdir())


def test_secrets_are_not_in_the_repr(given: dict[str, str]) -> None:
    shown = repr(Config.from_env(given))

    assert ":secret@" not in shown and "ssss" not in shown and "1111" not in shown


def test_adapters_settings_are_read_by_their_names(given: dict[str, str]) -> None:
    config = Config.from_env({**given, "MOSTIK_VK_API_URL": "http://127.0.0.1:1"})

    assert config.server("vk", "api_url") == "http://127.0.0.1:1"
    assert config.server("bitrix24", "oauth_urls")[0].startswith("https://")


def test_no_two_settings_have_one_name() -> None:
    names = [setting.metadata["env"] for setting in own_settings()]
    names += [env_name(manifest.key, setting.name) for manifest, setting in adapter_settings()]

    assert len(names) == len(set(names))


def test_page_of_settings_is_up_to_date() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page.text(), "run `mostik docs`"
