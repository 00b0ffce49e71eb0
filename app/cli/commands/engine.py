"""The commands on the engine of a running service, and on the OCR models that it can pull."""

import click

from app.cli.backends.base import Json
from app.cli.connection import on_service, service
from app.cli.console import as_json, note, print_facts, print_rows
from app.engine.contract.processors import Processor

ENGINES = ("name", "host", "version", "state", "silent", "loaded", "works", "waiting")
RESOURCE = ("name", "offered", "offered_size_bytes", "here", "in_use", "remark")


@click.group("engine")
def engine() -> None:
    """Show, load and release the engine of a running service."""


@engine.command("show")
@as_json
@on_service
def show(*, is_json: bool) -> None:
    """Show the engine's state, process, memory, licence and capabilities."""
    print_facts(service().engine(), is_json=is_json)


@engine.command("load")
@click.argument("processor", type=click.Choice([each.value for each in Processor]))
@click.option("--model", help="The model's name. Default: AsposeAI's default model.")
@as_json
@on_service
def load(processor: str, model: str | None, *, is_json: bool) -> None:
    """Load a model for a PROCESSOR in advance."""
    print_facts(service().load(processor, model), is_json=is_json)


@engine.command("release")
@as_json
@on_service
def release(*, is_json: bool) -> None:
    """End the engine's process, which gives back all its memory, and start another."""
    print_facts(service().release(), is_json=is_json)


@click.command("engines")
@as_json
@on_service
def engines(*, is_json: bool) -> None:
    """List the services on the model folder: what the engine of each has loaded and works at."""
    found = service().engines()
    print_rows(found if is_json else [_row(each) for each in found], ENGINES, is_json=is_json)


@click.command("resources")
@as_json
@on_service
def resources(*, is_json: bool) -> None:
    """List the OCR models that the site offers, that the folder has, and that the engine needs. Pull them by name."""
    found = service().resources()
    print_rows(found["resources"], RESOURCE, is_json=is_json)
    if found["remote_error"]:
        note(found["remote_error"])


def _row(engine: Json) -> Json:
    """Return an engine with only the names of what it has loaded and of what it works at."""
    loaded, works = engine["loaded"], engine["works"]
    return engine | {"loaded": loaded and loaded["processor"], "works": [work["kind"] for work in works]}
