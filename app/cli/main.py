"""The command line: the top-level group of commands, and the commands `provision`, `keys new` and `openapi`."""

import json
import sys

import click

from app.api.http.keys import Scope, entry_for, new_key
from app.cli.console import Verbs, say
from app.cli.lease import lease
from app.cli.models import models, trash
from app.cli.protection import protect, unprotect
from app.cli.pull import pull
from app.cli.serve import serve
from app.cli.verification import verify
from app.engine.native.provisioning import provision as bring_native
from app.settings import load_settings


@click.group(
    cls=Verbs,
    help="The OCR model service. Its settings are environment variables, OCR_...; docs/settings.md lists them.",
)
def main() -> None:
    """Run the command line `ocr-models`."""


@main.command()
def provision() -> None:
    """Download OpenSSL 1.1 and llama.cpp, which AsposeAI's package lacks, into OCR_NATIVE_DIR, unless they are there.

    Exit status: 0 all is there, 1 the folder cannot be written, 2 wrong settings, 3 wrong platform, 4 no npm or no apt,
    5 not Debian, 6 npm or apt could not download a package, 7 a package has another digest or version than pinned.
    """
    outcomes = []
    for outcome in bring_native(load_settings().native_dir):
        click.echo(outcome.sentence, err=outcome.failure is not None)
        outcomes.append(outcome)
    sys.exit(next((outcome.failure for outcome in outcomes if outcome.failure), 0))


for command in (lease, protect, pull, unprotect, verify):
    models.add_command(command)
main.add_command(serve)
main.add_command(models)
main.add_command(trash)


@main.group()
def keys() -> None:
    """Create API keys."""


@keys.command("new")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([s.value for s in Scope]),
    multiple=True,
    required=True,
    help="May be given several times.",
)
def new(name: str, scopes: tuple[str, ...]) -> None:
    """Print a new key on stderr, once, and its entry for OCR_API_KEYS_FILE on stdout."""
    key = new_key()
    try:
        entry = entry_for(name, [Scope(scope) for scope in scopes], key)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="NAME") from None
    click.echo(f"The key, which is not stored: {key}", err=True)
    say(entry)


@main.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    from app.main import create_app  # noqa: PLC0415 - a tenth of a second that the other commands need not wait

    say(json.dumps(create_app(load_settings()).openapi(), indent=2))
