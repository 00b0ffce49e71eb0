"""The commands that make API keys."""

import os
from pathlib import Path

import click

from app.api.http.keys import Scope, entry_for, new_key
from app.cli.commands.key_file import add_entry
from app.cli.console import note, print_facts, say

DEFAULT_FILE = Path("data/keys.toml")
"""Beside the default model folder, data/models."""

scopes_of_key = click.option(
    "--scope",
    "scopes",
    type=click.Choice([s.value for s in Scope]),
    multiple=True,
    required=True,
    help="May be given several times.",
)


@click.group()
def keys() -> None:
    """Create API keys."""


@keys.command("create")
@click.argument("name")
@scopes_of_key
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"The file of keys; created if missing. Default: OCR_API_KEYS_FILE, else {DEFAULT_FILE}.",
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def create(name: str, scopes: tuple[str, ...], path: Path | None, *, is_json: bool) -> None:
    """Make a new key, add its entry to the file of keys, and print the key on stdout, once.

    The file has a digest of the key, not the key itself, and is created with the mode 0600. A running service reads the
    file at its next start.
    """
    # Not load_settings(): beyond loopback the settings are refused until there is a file of keys.
    variable = os.environ.get("OCR_API_KEYS_FILE", "").strip()
    configured = Path(variable) if variable else None
    file = path or configured or DEFAULT_FILE
    key, entry = _made(name, scopes)
    add_entry(file, name, entry)
    if is_json:
        print_facts({"name": name, "scopes": list(dict.fromkeys(scopes)), "key": key, "file": str(file)}, is_json=True)
        return
    say(key)
    note(f"This is the key of {name!r}. It is not stored and not shown again; {file} has its digest.")
    is_used = configured is not None and configured.resolve() == file.resolve()
    note("Restart the service to use it." if is_used else f"Start the service with OCR_API_KEYS_FILE={file} to use it.")


@keys.command("new")
@click.argument("name")
@scopes_of_key
def new(name: str, scopes: tuple[str, ...]) -> None:
    """Print a new key on stderr, once, and its entry for a file of keys on stdout. `create` writes the file itself."""
    key, entry = _made(name, scopes)
    note(f"The key, which is not stored: {key}")
    say(entry)


def _made(name: str, scopes: tuple[str, ...]) -> tuple[str, str]:
    """Return a new key and its entry. Raises BadParameter if no key can have the name."""
    key = new_key()
    try:
        return key, entry_for(name, [Scope(scope) for scope in scopes], key)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="NAME") from None
