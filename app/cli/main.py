"""The command line: the top-level group of commands, and the commands `provision` and `openapi`."""

import json
import sys

import click

from app import __version__
from app.cli.commands.audit import audit, prune
from app.cli.commands.download import download
from app.cli.commands.engine import engine, engines, resources
from app.cli.commands.jobs import jobs, pulls
from app.cli.commands.keys import keys
from app.cli.commands.lease import lease
from app.cli.commands.models import models
from app.cli.commands.protection import protect, unprotect
from app.cli.commands.pull import pull
from app.cli.commands.recognition import ocr
from app.cli.commands.reports import journal, storage
from app.cli.commands.trash import trash
from app.cli.commands.verification import verify
from app.cli.connection import on_backend
from app.cli.console import ReportingGroup, say
from app.cli.serving.healthcheck import healthcheck
from app.cli.serving.serve import serve
from app.engine.native.gpus import build_in, find_gpus
from app.engine.native.parts import Runtime
from app.engine.native.provisioning import provision as bring_native
from app.settings import load_settings


@click.group(
    cls=ReportingGroup,
    help="The OCR model service. Its settings are environment variables, OCR_...; docs/settings.md lists them.",
)
@click.version_option(__version__, prog_name="ocr-models", message="%(prog)s %(version)s")
@on_backend
def main() -> None:
    """Run the command line `ocr-models`."""


@main.command()
@click.option(
    "--runtime",
    type=click.Choice([each.value for each in Runtime]),
    help="The build of llama.cpp: for the CPU, or for a GPU with Vulkan, CUDA 13 or CUDA 12. "
    "Default: the build that is there, else cpu.",
)
def provision(runtime: str | None) -> None:
    """Download OpenSSL 1.1 and llama.cpp, which AsposeAI's package lacks, into OCR_NATIVE_DIR, unless they are there.

    A build for a GPU also computes on the CPU; the last line of the output says which GPU it finds here.

    Exit status: 0 all is there, 1 the folder cannot be written, 2 wrong settings, 3 wrong platform, 4 no npm or no apt,
    5 not Debian, 6 npm or apt could not download a package, 7 a package has another digest or version than pinned.
    """
    native_dir = load_settings().native_dir
    outcomes = []
    for outcome in bring_native(native_dir, Runtime(runtime) if runtime else None):
        click.echo(outcome.sentence, err=outcome.failure is not None)
        outcomes.append(outcome)
    if build := build_in(native_dir.resolve() / "llama"):
        found = find_gpus(build)
        click.echo(f"The build for {build.name} finds {', '.join(map(str, found.devices)) or found.reason}.")
    sys.exit(next((outcome.failure for outcome in outcomes if outcome.failure), 0))


for command in (audit, download, lease, protect, prune, pull, unprotect, verify):
    models.add_command(command)
of_service = (engine, engines, ocr, resources)
for command in (serve, healthcheck, models, trash, journal, storage, pulls, jobs, *of_service, keys):
    main.add_command(command)


@main.command()
@click.option(
    "--complete", is_flag=True, help="With all descriptions and an example of every answer, as /docs shows it."
)
def openapi(*, complete: bool) -> None:
    """Print the OpenAPI document, as programs get it at /openapi.json."""
    from app.api.docs.compact_document import compact  # noqa: PLC0415 - the other commands need not wait for these
    from app.main import create_app  # noqa: PLC0415

    document = create_app(load_settings()).openapi()
    say(json.dumps(document if complete else compact(document), indent=2))
