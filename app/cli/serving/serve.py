"""The command `serve`: checks the platform, the settings and the folders, then runs the server of `http_server.py`."""

import os
import signal
import sys
from typing import NoReturn

import click

from app.api.http.keys import Keyring, KeysError
from app.cli.console import MISCONFIGURED, REFUSED, exit_with
from app.cli.serving.allocator import use_one_arena
from app.engine.native.platform_check import platform_problem
from app.errors import ServiceError, StoreUnavailable
from app.events import EventName
from app.settings import Settings, SettingsError, load_settings
from app.store import Volume


@click.command("serve")
def serve() -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    # Exit with 0 for these signals also while uvicorn does not handle them: before it starts and after it has stopped.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    use_one_arena(os.environ)
    from app import logs  # noqa: PLC0415 - the other commands need no log

    logs.configure_from_environment(os.environ)
    settings = _settings_or_exit()
    from app.cli.serving.http_server import run  # noqa: PLC0415 - half a second that the other commands need not wait

    try:
        run(settings)
    except SettingsError as exc:
        _exit(exc)
    except (ServiceError, OSError) as exc:
        _exit(exc, REFUSED)


def _settings_or_exit() -> Settings:
    """Read the settings and create their folders. If a setting is wrong, print the reason and exit with 2."""
    from app.build_service import read_queue_url  # noqa: PLC0415 - half a second that the other commands need not wait

    try:
        if reason := platform_problem():
            raise SettingsError(reason)
        settings = load_settings()
        if settings.api_keys_file:
            Keyring.load(settings.api_keys_file)
        settings.read_hub_token()
        settings.read_webhook_secrets()
        read_queue_url(settings)
        settings.require_license_file()
        _make_folders(settings)
    except (SettingsError, KeysError) as exc:
        _exit(exc)
    return settings


def _exit(exc: Exception, status: int = MISCONFIGURED) -> NoReturn:
    """Say why the service cannot start, in the format of the log, and exit with a status."""
    import structlog  # noqa: PLC0415 - the other commands need no log

    from app import logs  # noqa: PLC0415

    if logs.is_console(logs.format_in(os.environ)):
        exit_with(status, f"The service cannot start.\n{exc}")
    structlog.get_logger().critical(EventName.SERVICE_CANNOT_START, detail=str(exc))
    sys.exit(status)


def _make_folders(settings: Settings) -> None:
    """Create the model folder and the state folder. Raises SettingsError if one of them cannot be created."""
    try:
        Volume(settings.models_dir).prepare()
    except StoreUnavailable as exc:
        raise SettingsError(f"OCR_MODELS_DIR={settings.models_dir}: {exc}") from exc
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SettingsError(f"OCR_STATE_DIR={settings.state_dir} cannot be created: {exc.strerror}") from exc
    if settings.state_dir.resolve().is_relative_to(settings.models_dir.resolve()):
        raise SettingsError(
            f"OCR_STATE_DIR={settings.state_dir} is in the model folder {settings.models_dir}, so that images would "
            "appear as models. Choose a folder outside it"
        )
