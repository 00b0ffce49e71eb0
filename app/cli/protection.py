"""The commands that protect models and remove the protection."""

import click

from app.cli.console import actor, open_store


@click.command("protect")
@click.argument("name")
@click.option("--reason", required=True, help="Shown when a deletion is refused.")
def protect(name: str, reason: str) -> None:
    """Prevent that a model is deleted or replaced, until it is unprotected."""
    open_store(to_change=True).protections.protect(name, reason, actor())


@click.command("unprotect")
@click.argument("name")
def unprotect(name: str) -> None:
    """Remove the protection of a model. A pattern of OCR_PROTECTED continues to protect it."""
    open_store(to_change=True).protections.unprotect(name, actor())
