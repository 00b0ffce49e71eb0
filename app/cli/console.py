"""What the commands share: errors as a sentence and an exit status, output on stdout, questions, signals."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from app.api.http.keys import KeysError
from app.cli.tables import facts, table
from app.cli.wording import sentence_of
from app.errors import ServiceError
from app.settings import SettingsError
from app.store.volume.refusals import refusal_of
from app.terminal import visible_lines

REFUSED, MISCONFIGURED, IN_PART = 1, 2, 3
"""The exit statuses of the commands; docs/command-line.md describes them."""

SIGNALLED = 128
"""Shells report this value plus the signal's number as the exit status of a process that a signal ended."""

as_json = click.option("--json", "is_json", is_flag=True, help="Print JSON, with sizes in bytes.")
with_yes = click.option("--yes", is_flag=True, help="Do not ask.")


class ReportingGroup(click.Group):
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
    with _writing():
        try:
            click.echo(text)
        except UnicodeEncodeError:  # a lone surrogate, or a character that the encoding of stdout lacks
            encoding = sys.stdout.encoding
            click.echo(text.encode(encoding, errors="backslashreplace").decode(encoding))


def say_bytes(content: bytes) -> None:
    """Print bytes on stdout, as `say` prints text."""
    with _writing():
        click.echo(content, nl=False)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        # Python flushes stdout once more at its end, which would fail again.
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - open until this process ends
        reason = f"The output cannot be written: {exc.strerror or exc}."
        exit_with(REFUSED, f"{reason} Only the output is lost: the command has done what it was asked to do.")


def note(text: str) -> None:
    """Print a sentence on stderr, beside the result on stdout."""
    click.echo(visible_lines(text), err=True)


def may_delete(what: str, *, yes: bool) -> bool:
    """Return whether to delete something that cannot be restored: with --yes, or if a user at a terminal agrees.

    Without a terminal nobody can be asked: then print that nothing was deleted, and return False.
    """
    if yes:
        return True
    if sys.stdin.isatty() and sys.stderr.isatty():
        return click.confirm(f"Delete {what} permanently? This cannot be undone", err=True)
    note(f"{what}; nothing was deleted. --yes deletes without a question")
    return False


@contextmanager
def printed_at_the_end(columns: tuple[str, ...] | None = None, *, is_json: bool) -> Iterator[list[dict[str, Any]]]:
    """Yield a list of rows, and print it at the end of the block, even if an error or a signal ends the block."""
    rows: list[dict[str, Any]] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(SIGNALLED + number))
    try:
        yield rows
    finally:
        signal.signal(signal.SIGTERM, before)
        print_rows(rows, columns, is_json=is_json)


def print_rows(rows: list[dict[str, Any]], columns: tuple[str, ...] | None = None, *, is_json: bool) -> None:
    """Print rows as a JSON array, or as a table of some columns; by default of all that the first row has."""
    if is_json:
        say(json.dumps(rows, indent=2))
    elif rows:
        for line in table(rows, columns or tuple(rows[0])):
            say(line)


def print_facts(members: dict[str, Any], *, is_json: bool) -> None:
    """Print one object as JSON, or as a table of its members, one a line."""
    if is_json:
        say(json.dumps(members, indent=2))
        return
    for line in facts(members):
        say(line)
