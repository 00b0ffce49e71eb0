"""The commands that protect models and remove the protection."""

from typing import Any

import click

from app.cli.backends.open_store import as_unicode
from app.cli.connection import backend, on_backend
from app.cli.console import as_json, print_facts, say
from app.store.protections import MAX_REASON_CHARS
from app.terminal import visible


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
@as_json
@on_backend
def protect(name: str, reason: str, *, is_json: bool) -> None:
    """Keep a model from being deleted or replaced, until `models unprotect` removes the protection."""
    _print(backend().protect(name, reason), is_json=is_json)


@click.command("unprotect")
@click.argument("name")
@as_json
@on_backend
def unprotect(name: str, *, is_json: bool) -> None:
    """Remove the protection of a model. A pattern of OCR_PROTECTED continues to protect it."""
    _print(backend().unprotect(name), is_json=is_json)


def _print(state: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        print_facts(state, is_json=True)
    elif given := state["protected_by"]:
        say(visible(f"{state['name']} is protected: {given['reason']}"))
    else:
        say(visible(f"{state['name']} is not protected"))
