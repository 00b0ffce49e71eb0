"""The `serve` command: checks what can be checked before anything starts, then runs the server."""

import signal
import sys

import click

from app.api.http.keys import Keyring, KeysError
from app.engine.native.platform_check import platform_problem
from app.errors import StoreUnavailable
from app.settings import Settings, SettingsError, load_settings
from app.store import Volume

CONFIGURATION_ERROR = 2


@click.command("serve")
def serve() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    # Ending on request is success, before uvicorn takes these signals over and after it gives them back.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    settings = _settings_or_exit()
    from app.cli.server import run  # noqa: PLC0415 - half a second that the other commands need not wait

    run(settings)


def _settings_or_exit() -> Settings:
    """Read the settings and make their folders; end the process with one sentence if they are wrong."""
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
    """Make the folders of the settings before anything starts, so that a problem is one sentence on stderr."""
    try:
        Volume(settings.models_dir).prepare()
    except StoreUnavailable as exc:
        raise SettingsError(f"OCR_MODELS_DIR={settings.models_dir}: {exc}") from exc
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SettingsError(f"OCR_STATE_DIR={settings.state_dir} cannot be created: {exc.strerror}") from exc
