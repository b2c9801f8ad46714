"""The console command `mostik`."""

import json
import secrets
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any

import click
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from oauth.keys import addresses
from widget_backend import backup as backups
from widget_backend import config as settings
from widget_backend import create_app, doctor, local_secrets, settings_page, widget_archive, widget_check
from widget_backend import run as running
from widget_backend.accounts import server_owner
from widget_backend.accounts.apps import add as add_app
from widget_backend.accounts.apps import set_channel
from widget_backend.accounts.models import App
from widget_backend.accounts.signup import create_account
from widget_backend.bridge import registry
from widget_backend.bridge.tenancy import transaction
from widget_backend.config import Config, ConfigError
from widget_backend.database import migrate_schema
from widget_backend.demo import DemoError
from widget_backend.engines import EngineError
from widget_backend.rotation import RotationError, reseal, rotate
from widget_backend.supervision import ROOT, SupervisionError
from widget_backend.texts import text
from widget_backend.widget_archive import Brand, UnfitBrand

EXPECTED = (
    backups.BackupError, ConfigError, DemoError, EngineError, RotationError, SupervisionError, UnfitBrand, running.RunError
)  # fmt: skip


def explained(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let errors that say their own cure end a command with that text instead of a traceback."""

    @wraps(command)
    def explained_command(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except EXPECTED as error:
            raise click.ClickException(str(error)) from error

    return explained_command


@click.group()
def main() -> None:
    """Mostik: a bridge between messaging networks and CRMs."""


@main.command()
@click.option("--after-restore", is_flag=True, help="After a restore from backup: send nothing again by itself.")
@explained
def run(after_restore: bool) -> None:
    """Start the server and keep it running until Ctrl-C or `mostik stop`."""
    running.run(lambda started: click.echo(f"Mostik is running: {started.web}"), after_restore=after_restore)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when everything answers.")
@explained
def demo(as_json: bool) -> None:
    """Start the server beside a simulated outside world."""
    running.run(_print_json if as_json else _print_guide, with_demo=True)


@main.command()
@explained
def stop() -> None:
    """Stop the server of this folder; nothing of it is left running."""
    click.echo("stopped" if running.stop(settings.var_dir()) else "nothing was running")


@main.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@explained
def examine(as_json: bool) -> None:
    """Check everything a self-hoster can get wrong, and say the cure."""
    findings = doctor.examine(Config.from_env())
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            click.echo(f"{finding.state:<8} {finding.check:<15} {finding.seen}")
            if finding.cure:
                click.echo(f"{'':<24} -> {finding.cure}")
    sys.exit(any(finding.state == doctor.State.BAD for finding in findings))


@main.command()
@explained
def migrate() -> None:
    """Bring the schema of the database up to date."""
    migrate_schema(Config.from_env())


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@explained
def backup(file: Path) -> None:
    """Write the database into one file; the keys and the files are kept apart."""
    backups.backup(Config.from_env(), file)


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@explained
def restore(file: Path) -> None:
    """Put the database back from a file, with the server stopped; then `mostik run --after-restore`."""
    with running.only_one(settings.var_dir()):
        backups.restore(Config.from_env(), file)


@main.group()
def account() -> None:
    """Accounts of this server."""


@account.command("create")
@click.argument("name")
@click.option("--email", required=True, help="The first user.")
@click.option("--password", default="", help="The first user's password; made and printed when not given.")
@explained
def account_create(name: str, email: str, password: str) -> None:
    """Make an account with its first user."""
    password = password or secrets.token_urlsafe(12)
    with create_app(Config.from_env()).app_context():
        made = create_account(name, email=email, password=password)
        click.echo(json.dumps({"account": str(made.id), "email": email.lower(), "password": password}))


@main.command("widget")
@click.option("--server", default="", help="Public address of the server; this server's own when not given.")
@click.option("--brand", default="Mostik", show_default=True, help="Name of the widget.")
@click.option("--brand-ru", default="", help="Its name in Russian, if it differs.")
@click.option("--support", "support_email", required=True, help="E-mail for questions about the widget.")
@click.option("--support-link", default="", help="Page for questions about the widget.")
@click.option("--terms", default="", help="Page with price, terms and privacy policy: the marketplace wants one.")
@click.option("--widget-version", default="", help="Must rise with every upload; Mostik's own when not given.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("var/widget.zip"), show_default=True)
@explained
def make_widget(server: str, brand: str, brand_ru: str, out: Path, widget_version: str, **links: str) -> None:
    """Make the archive of the amoCRM widget, and check it against the marketplace's rules."""
    server = server or Config.from_env().public_url
    brand_ru = brand_ru or (text("pages.common.brand") if brand == "Mostik" else "")
    archive = widget_archive.build(Brand(server=server, name=brand, name_ru=brand_ru, version=widget_version, **links))
    findings = widget_check.check(archive)
    for finding in findings:
        click.echo(str(finding), err=True)
    if findings:
        raise click.ClickException("the marketplace would refuse this archive; nothing was written")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(archive)
    click.echo(f"{out}: {len(archive) // 1024} KB, for {server}")


@main.group("app")
def apps() -> None:
    """Keys of this server at a CRM, for every account (a catalogue app)."""


@apps.command("page")
@explained
def app_page() -> None:
    """Print a link that lets you set up integrations of the whole server in the cabinet; it opens for 15 minutes."""
    config = Config.from_env()
    with create_app(config).app_context():
        click.echo(f"{config.public_url}/apps/server?ticket={server_owner.ticket()}")


@apps.command("list")
@explained
def app_list() -> None:
    """List the apps of this server and of its accounts, one line of JSON each, without their secrets."""
    with create_app(Config.from_env()).app_context(), transaction(None) as session:
        for app in session.scalars(select(App).order_by(App.created_at, App.id)):
            whose = str(app.account_id) if app.account_id else "server"
            facts = {"adapter": app.adapter, "client_id": app.client_id, "title": app.title, "for": whose}
            click.echo(json.dumps({**facts, "channels": [one.messenger for one in app.channels]}, ensure_ascii=False))


@apps.command("add")
@click.argument("adapter", type=click.Choice([one.key for one in registry.manifests() if one.needs_app]))
@click.option("--client-id", required=True)
@click.option("--client-secret", prompt=True, hide_input=True, help="Asked for when not given.")
@explained
def app_add(adapter: str, client_id: str, client_secret: str) -> None:
    """Add a catalogue app and print the addresses for its card."""
    config = Config.from_env()
    with create_app(config).app_context():
        try:
            with transaction(None) as session:
                app = add_app(session, adapter, client_id=client_id, secret=client_secret, title="Mostik")
                shown = addresses(app)
        except IntegrityError as error:
            raise click.ClickException("this client id is known already") from error
    click.echo(json.dumps(shown, indent=1))


@apps.command("channel")
@click.argument("client_id")
@click.argument("messenger")
@click.option("--id", "remote_id", required=True, help="The channel's id, as the CRM's support told it.")
@click.option("--secret", prompt=True, hide_input=True, help="Asked for when not given.")
@click.option("--code", default="", help="The channel's code.")
@click.option("--bot", "bot_id", default="", help="The id of the channel's bot.")
@click.option("--feature", "features", multiple=True, help="What was switched on for it: quotes, typing, reactions.")
@explained
def app_channel(
    client_id: str, messenger: str, remote_id: str, secret: str, code: str, bot_id: str, features: tuple[str, ...]
) -> None:
    """Give an app its own channel for a messenger: a network's key (telegram_bot), its family (telegram), or any."""
    facts = {"code": code, "bot_id": bot_id, "features": list(features)}
    with create_app(Config.from_env()).app_context(), transaction(None) as session:
        app = session.scalars(select(App).where(App.client_id == client_id)).first()
        if app is None:
            raise click.ClickException("no app has this client id: add it first")
        set_channel(session, app, messenger, remote_id=remote_id, secret=secret, settings=facts)
    click.echo(f"{messenger}: connected within five minutes")


@main.group()
def keys() -> None:
    """Encryption keys."""


@keys.command("new")
def keys_new() -> None:
    """Print a new key as MOSTIK_KEYS takes it."""
    click.echo(local_secrets.new_key())


@keys.command("rotate")
@explained
def keys_rotate() -> None:
    """Make a new current key and seal everything with it; a running server takes part."""
    config = Config.from_env()
    click.echo(f"sealed anew: {rotate(config)} values")


@keys.command("reseal")
@explained
def keys_reseal() -> None:
    """Seal everything with the current key of MOSTIK_KEYS (the last step of a rotation by hand)."""
    click.echo(f"sealed anew: {reseal(Config.from_env())} values")


@main.command()
@click.option("--check", is_flag=True, help="Only say whether the pages are up to date.")
@explained
def docs(check: bool) -> None:
    """Write docs/settings.md."""
    page = ROOT / "docs" / "settings.md"
    if check:
        if not page.exists() or page.read_text() != settings_page.text():
            raise click.ClickException(f"{page.relative_to(ROOT)} is out of date: run `mostik docs`")
        return
    page.write_text(settings_page.text())
    click.echo(f"written: {page.relative_to(Path.cwd()) if page.is_relative_to(Path.cwd()) else page}")


def _print_json(started: running.Started) -> None:
    click.echo(running.as_json(started))


def _print_guide(started: running.Started) -> None:
    """Say where to click."""
    peers = started.peers
    pages = {"phone": peers["vk"]["page"], "portal": peers["bitrix24"]["page"], "desk": peers["amocrm"]["page"]}
    click.echo(text("demo.guide", web=started.web, deal=started.deal, **started.login, **pages))


if __name__ == "__main__":
    main()
