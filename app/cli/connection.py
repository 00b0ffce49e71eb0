"""Chooses what a command works on: the model folder of this machine, or the service that --url or OCR_URL names."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from app.cli.backends.base import Backend
from app.cli.backends.folder import FolderBackend
from app.cli.own_address import own_url
from app.settings import SettingsError, load_settings

if TYPE_CHECKING:
    from app.cli.backends.service import ServiceBackend
    from app.cli.backends.service_client import ServiceClient

URL, KEY, KEY_FILE = "OCR_URL", "OCR_KEY", "OCR_KEY_FILE"
PREFIX = "app.cli.connection."
"""Before the names under which click's context, which all groups and commands share, holds the options."""

F = TypeVar("F", bound=Callable[..., Any])


def _remember(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value:
        ctx.meta[PREFIX + str(parameter.name)] = value
    return value


_url = click.option(
    "--url",
    expose_value=False,
    callback=_remember,
    metavar="URL",
    help=f"Work through the service at this URL, such as http://host:8000. Default: {URL}, else the model folder of "
    "this machine.",
)
_key_file = click.option(
    "--key-file",
    expose_value=False,
    callback=_remember,
    type=click.Path(exists=True, dir_okay=False),
    help=f"A file with the API key for the service. Default: {KEY}, or the file {KEY_FILE}.",
)
_url_of_service = click.option(
    "--url",
    expose_value=False,
    callback=_remember,
    metavar="URL",
    help=f"The service. Default: {URL}, else the service that the settings describe, http://127.0.0.1:8000.",
)


def on_backend(command: F) -> F:
    """Add --url and --key-file to a command that works on the folder or through a service."""
    return _url(_key_file(command))


def on_service(command: F) -> F:
    """Add --url and --key-file to a command that needs a running service."""
    return _url_of_service(_key_file(command))


def backend() -> Backend:
    """Return what the options and the environment choose. Raises SettingsError."""
    from app.cli.backends.service import ServiceBackend  # noqa: PLC0415 - the folder needs no HTTP client

    url = _chosen("url", URL)
    return ServiceBackend(_client(url)) if url else FolderBackend()


def service() -> "ServiceBackend":
    """Return the service that the options, the environment or else the service's own settings name."""
    from app.cli.backends.service import ServiceBackend  # noqa: PLC0415

    return ServiceBackend(_client(_chosen("url", URL) or own_url(load_settings())))


def require_folder(command: str) -> None:
    """Raise UsageError if a service was chosen for a command that works on the folder of this machine only."""
    if _chosen("url", URL):
        raise click.UsageError(
            f"{command} works on the model folder of this machine only: leave out --url, and unset {URL}"
        )


def _client(url: str) -> "ServiceClient":
    from app.cli.backends.service_client import ServiceClient  # noqa: PLC0415

    try:
        return ServiceClient(url, _key())
    except ValueError as exc:
        raise SettingsError(f"--url or {URL}: {exc}") from None


def _chosen(option: str, variable: str) -> str | None:
    given: str | None = click.get_current_context().meta.get(PREFIX + option)
    return given or os.environ.get(variable, "").strip() or None


def _key() -> str | None:
    """Return the API key. There is no option for the key itself, because every user sees the options of a process."""
    file = click.get_current_context().meta.get(PREFIX + "key_file")
    source, key = KEY, None if file else os.environ.get(KEY)
    if not key and (path := file or os.environ.get(KEY_FILE)):
        source = f"the file {path}"
        try:
            key = Path(path).read_text()
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsError(f"{KEY_FILE}={path} cannot be read: {exc}") from None
    key = (key or "").strip()
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise SettingsError(
            f"the API key in {source} has spaces or characters that no key has. It is one line, ocr_..."
        )
    return key or None
