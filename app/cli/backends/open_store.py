"""Opens the store that the settings name, and names the user of the command as the actor of its changes."""

import getpass
import os
from typing import Any

import click

from app.build import build_store
from app.errors import ServiceError, StoreUnavailable
from app.events import EventName
from app.settings import load_settings
from app.store import Actor, Store
from app.store.volume.monitor import require_safety
from app.terminal import visible


def open_store(*, to_change: bool = False, is_dry_run: bool = False) -> Store:
    """Open the store that the settings name. Raises StoreUnavailable if the model folder is missing; never creates it.

    With `to_change`, OCR_READ_ONLY is respected, except for a dry run, and a folder on a network file system is checked
    first, which may take a few seconds.
    """
    settings = load_settings()
    if to_change and settings.read_only and not is_dry_run:
        raise ServiceError("OCR_READ_ONLY is true, and this command changes the model folder. Nothing was done.")
    if not settings.models_dir.is_dir():
        raise StoreUnavailable(f"{settings.models_dir} is missing (OCR_MODELS_DIR)")
    store = build_store(settings, warn)
    store.open()
    if to_change and store.volume.is_shared and store.volume.is_writable:
        require_safety(store.volume, warn, is_single=settings.single_service)
    return store


def actor() -> Actor:
    """Return the user who runs the command, as an actor."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container, users have numbers and no names
        user = str(os.getuid())
    return Actor(f"cli:{as_unicode(user)}")


def as_unicode(text: str) -> str:
    r"""Return a text of the environment or the command line as Unicode, with bytes that are not UTF-8 as `\xff`.

    Python reads a byte that is not UTF-8 as a lone surrogate, which JSON cannot hold: a record with one could not be
    read again.
    """
    return os.fsencode(text).decode(errors="backslashreplace")


def warn(event: EventName, fields: dict[str, Any]) -> None:
    """Print an event of the store on stderr, except the changes of models, which the command prints itself."""
    if event.startswith("model."):
        return
    if event is EventName.RECORD_DAMAGED:
        text = f"damaged record: {fields['path']}: {fields['reason']}. Repair or remove it; everything else works"
    else:
        text = f"{event}: " + ", ".join(f"{name}={value}" for name, value in fields.items())
    click.echo(visible(text), err=True)
