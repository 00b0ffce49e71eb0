"""The command line: serve, keep up the store without a server, make API keys, print the OpenAPI document."""

import json
import os
import signal
import sys

import click

from app.api.http.keys import Keyring, KeysError, Scope, entry_for, new_key
from app.cli.models import models, trash
from app.cli.pull import pull
from app.cli.safeguards import lease, protect, unprotect, verify
from app.engine.native.platform_check import platform_problem
from app.engine.native.provisioning import provision as bring_native
from app.errors import StoreUnavailable
from app.events import EventName
from app.settings import Settings, SettingsError, load_settings, unknown_variables
from app.store.volume.volume import Volume

CONFIGURATION_ERROR = 2


@click.group(
    help="The OCR model service. Its settings are environment variables, OCR_...; docs/settings.md lists them."
)
def main() -> None:
    """Find the command."""


@main.command()
def serve() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    # Ending on request is success, before uvicorn takes these signals over and after it gives them back.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    settings = _settings_or_exit()
    _serve(settings)


@main.command()
def provision() -> None:
    """Bring OpenSSL 1.1 and llama.cpp, which AsposeAI's package lacks, into OCR_NATIVE_DIR, unless they are there.

    Exit status: 0 all is there, 1 the folder cannot be written, 2 wrong settings, 3 wrong platform, 4 no npm or no apt,
    5 not Debian, 6 nothing to be fetched from, 7 another digest or version than pinned.
    """
    try:
        native_dir = load_settings().native_dir
    except SettingsError as exc:
        click.echo(str(exc), err=True)
        sys.exit(CONFIGURATION_ERROR)
    outcomes = []
    for outcome in bring_native(native_dir):
        click.echo(outcome.sentence, err=outcome.failure is not None)
        outcomes.append(outcome)
    sys.exit(next((outcome.failure for outcome in outcomes if outcome.failure), 0))


for command in (lease, protect, pull, unprotect, verify):
    models.add_command(command)
main.add_command(models)
main.add_command(trash)


@main.group()
def keys() -> None:
    """Make API keys."""


@keys.command("new")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([s.value for s in Scope]),
    multiple=True,
    required=True,
    help="May be given several times.",
)
def new(name: str, scopes: tuple[str, ...]) -> None:
    """Print a new key on stderr, once, and its entry for OCR_API_KEYS_FILE on stdout."""
    key = new_key()
    click.echo(f"The key, which is kept nowhere: {key}", err=True)
    click.echo(entry_for(name, [Scope(scope) for scope in scopes], key))


@main.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    from app.main import create_app  # noqa: PLC0415 - a tenth of a second that the other commands need not wait

    click.echo(json.dumps(create_app(Settings()).openapi(), indent=2))


def _settings_or_exit() -> Settings:
    try:
        if reason := platform_problem():
            raise SettingsError(reason)
        settings = load_settings()
        if settings.api_keys_file:
            Keyring.load(settings.api_keys_file)
        settings.read_hub_token()
        _make_folders(settings)
    except (SettingsError, KeysError) as exc:
        click.echo(f"The service cannot start.\n{exc}", err=True)
        sys.exit(CONFIGURATION_ERROR)
    return settings


def _make_folders(settings: Settings) -> None:
    """Make them before anything else runs, where what is wrong with them can still be said plainly."""
    try:
        Volume(settings.models_dir).prepare()
    except StoreUnavailable as exc:
        raise SettingsError(f"OCR_MODELS_DIR={settings.models_dir}: {exc}") from exc
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SettingsError(f"OCR_STATE_DIR={settings.state_dir} cannot be created: {exc.strerror}") from exc


def _serve(settings: Settings) -> None:
    import structlog  # noqa: PLC0415 - see openapi()
    import uvicorn  # noqa: PLC0415

    from app import logs  # noqa: PLC0415
    from app.api.http.server import BoundedHttpProtocol, Server  # noqa: PLC0415
    from app.deadline import end_after  # noqa: PLC0415
    from app.main import create_app  # noqa: PLC0415

    logs.configure(settings.log_format, settings.log_level)
    log = structlog.get_logger()
    for sentence in unknown_variables(os.environ):
        log.warning(EventName.SETTINGS_UNKNOWN, detail=sentence)
    if settings.is_anonymous and not settings.is_loopback:
        log.warning(
            EventName.SETTINGS_ANONYMOUS,
            detail=f"anybody who reaches {settings.host}:{settings.port} may delete models",
        )
    app = create_app(settings)

    def on_stopping() -> None:
        app.state.stopping.set()
        end_after(settings.shutdown_grace.total_seconds())

    server = Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http=BoundedHttpProtocol,
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=max(1, int(settings.shutdown_grace.total_seconds() / 2)),
        ),
        on_stopping=on_stopping,
    )
    server.run()
    if not server.started:
        sys.exit(1)
