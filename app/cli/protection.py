"""The commands that protect models and remove the protection."""

import click

from app.cli.console import actor, as_unicode, open_store
from app.store.protections import MAX_REASON_CHARS


def _reason(_: click.Context, __: click.Parameter, given: str) -> str:
    """Return the reason that was given. Raises BadParameter if `PUT /models/{name}/protection` would refuse it too."""
    if not given.strip():
        raise click.BadParameter("it must be a reason in words, not blanks alone")
    if len(reason := as_unicode(given)) > MAX_REASON_CHARS:
        raise click.BadParameter(f"it must have at most {MAX_REASON_CHARS} characters, and has {len(reason)}")
    return reason


@click.command("protect")
@click.argument("name")
@click.option("--reason", required=True, callback=_reason, help="Shown when a deletion is refused.")
def protect(name: str, reason: str) -> None:
    """Keep a model from being deleted or replaced, until `models unprotect` removes the protection."""
    open_store(to_change=True).protections.protect(name, reason, actor())


@click.command("unprotect")
@click.argument("name")
def unprotect(name: str) -> None:
    """Remove the protection of a model. A pattern of OCR_PROTECTED continues to protect it."""
    open_store(to_change=True).protections.unprotect(name, actor())
