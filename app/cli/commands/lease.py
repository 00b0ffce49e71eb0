"""The command that runs another command while a model is leased."""

import os
import sys

import click

from app.cli.backends.open_store import as_unicode, open_store
from app.cli.connection import require_folder

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""The exit statuses that shells use for a command that they cannot run."""


# Everything after NAME belongs to COMMAND, its options too, with or without `--`.
@click.command("lease", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def lease(name: str, command: tuple[str, ...]) -> None:
    """Run COMMAND, and keep the model from being deleted or replaced until COMMAND ends. Exits with COMMAND's status.

    Programs that COMMAND starts hold the lease too, unless they close the inherited descriptors.
    """
    require_folder("models lease")
    if command[0] == "--":
        command = command[1:]
    if not command:
        raise click.UsageError("name the command to run")
    held = open_store().lease(name, kind="command", holder=as_unicode(" ".join(command)))
    held.give_to_children()
    try:
        # COMMAND replaces this process, so COMMAND receives the signals, sets the exit status, and ends the lease by
        # its end.
        os.execvp(command[0], command)  # noqa: S606 - the user's own command line
    except OSError as exc:
        held.release()
        click.echo(f"{command[0]}: {exc.strerror}", err=True)
        sys.exit(NOT_FOUND if isinstance(exc, FileNotFoundError) else NOT_EXECUTABLE)
