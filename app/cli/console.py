"""Functions that the commands share: open the store, name the actor, report refusals, print tables."""

import getpass
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

import click

from app.api.http.keys import KeysError
from app.build import build_store
from app.cli.wording import sentence_of
from app.errors import ServiceError, StoreUnavailable
from app.events import EventName
from app.settings import SettingsError, load_settings
from app.store import Actor, Store
from app.store.volume.monitor import require_safety
from app.store.volume.refusals import refusal_of
from app.terminal import visible, visible_lines

REFUSED, MISCONFIGURED, IN_PART = 1, 2, 3
"""The exit statuses of the commands; docs/operations.md describes them."""

SIGNALLED = 128
"""Shells report this value plus the signal's number as the exit status of a process that a signal ended."""

as_json = click.option("--json", "is_json", is_flag=True, help="Print JSON.")


class Verbs(click.Group):
    """A group of commands that reports an error as a line on stderr and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command. Exit with 1 for a ServiceError or an OSError, and with 2 for wrong settings or keys."""
        try:
            return super().invoke(ctx)
        except ServiceError as exc:
            exit_with(REFUSED, sentence_of(exc))
        except (SettingsError, KeysError) as exc:
            exit_with(MISCONFIGURED, str(exc))
        except BrokenPipeError:  # the reader of the output has ended; click exits without a message
            raise
        except OSError as exc:
            exit_with(REFUSED, sentence_of(refusal_of(exc)))


def exit_with(status: int, sentence: str) -> NoReturn:
    """Print a sentence on stderr and exit with a status."""
    click.echo(visible_lines(sentence), err=True)
    sys.exit(status)


def say(text: str) -> None:
    """Print a text on stdout. If stdout cannot be written, exit with 1 and say that only the output is lost.

    If stdout is a file on a full disk, the error would otherwise be reported as an error of the model folder.
    """
    try:
        click.echo(text)
    except BrokenPipeError:
        raise
    except OSError as exc:
        # Python flushes stdout once more at its end, which would fail again.
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - open until this process ends
        reason = f"The output cannot be written: {exc.strerror or exc}."
        exit_with(REFUSED, f"{reason} Only the output is lost: the command has done what it was asked to do.")


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
    store = build_store(settings, _warn)
    store.open()
    if to_change and store.volume.is_shared and store.volume.is_writable:
        require_safety(store.volume, _warn, is_single=settings.single_service)
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


def _warn(event: EventName, fields: dict[str, Any]) -> None:
    if event.startswith("model."):  # the command prints its own changes
        return
    if event is EventName.RECORD_DAMAGED:
        text = f"damaged record: {fields['path']}: {fields['reason']}. Repair or remove it; everything else works"
    else:
        text = f"{event}: " + ", ".join(f"{name}={value}" for name, value in fields.items())
    click.echo(visible(text), err=True)


def rfc3339(moment: datetime) -> str:
    """Return a time in RFC 3339, to the second, as the API writes times."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@contextmanager
def printed_at_the_end(*, is_json: bool) -> Iterator[list[dict[str, Any]]]:
    """Yield a list of rows, and print it at the end of the block, even if an error or a signal ends the block."""
    rows: list[dict[str, Any]] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(SIGNALLED + number))
    try:
        yield rows
    finally:
        signal.signal(signal.SIGTERM, before)
        print_rows(rows, is_json=is_json)


def print_rows(rows: Iterable[dict[str, Any]], *, is_json: bool) -> None:
    """Print rows as JSON, or as a table with aligned columns."""
    rows = list(rows)
    if is_json:
        say(json.dumps(rows, indent=2, default=rfc3339))
        return
    if not rows:
        return
    table = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return visible(", ".join(map(str, value))) or "-"
    if isinstance(value, datetime):
        return rfc3339(value)
    return "-" if value is None else visible(str(value))
