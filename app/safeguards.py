"""What keeps models safe, on the command line: leases and protections."""

import os
import sys

import click

from app.console import open_store, origin

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""As a shell says it of a command that it cannot run."""


@click.command("lease")
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def lease(name: str, command: tuple[str, ...]) -> None:
    """Run COMMAND; nobody deletes or replaces the model until it ends. The status is the command's.

    What COMMAND starts keeps the model too, unless it closes the descriptors that it was given.
    """
    held = open_store().lease(name, kind="command", holder=" ".join(command))
    held.give_to_children()
    try:
        # In this process's place: signals reach it, its status is everybody's, and it dies with no lease left.
        os.execvp(command[0], command)  # noqa: S606 - what the caller typed
    except OSError as exc:
        held.release()
        click.echo(f"{command[0]}: {exc.strerror}", err=True)
        sys.exit(NOT_FOUND if isinstance(exc, FileNotFoundError) else NOT_EXECUTABLE)


@click.command("protect")
@click.argument("name")
@click.option("--reason", required=True, help="For whoever wants to delete it.")
def protect(name: str, reason: str) -> None:
    """Let nobody delete or replace a model until it is unprotected."""
    open_store().protections.protect(name, reason, origin())


@click.command("unprotect")
@click.argument("name")
def unprotect(name: str) -> None:
    """Take that back; what OCR_PROTECTED protects stays so."""
    open_store().protections.unprotect(name, origin())
