"""The commands that report on the folder: the journal of changes, and the use of the disk."""

import click

from app.cli.connection import backend, on_backend
from app.cli.console import as_json, print_facts, print_rows

EVENT = ("at", "actor", "action", "name", "size_bytes", "trash_id", "reason")
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000


@click.command("journal")
@click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=DEFAULT_LIMIT, show_default=True)
@as_json
@on_backend
def journal(limit: int, *, is_json: bool) -> None:
    """List the last changes of models, newest first: what was done, by whom, and when."""
    print_rows(backend().journal(limit), EVENT, is_json=is_json)


@click.command("storage")
@as_json
@on_backend
def storage(*, is_json: bool) -> None:
    """Show the disk space that models, trash and unfinished transfers use, and the checks of the volume."""
    found = backend().storage()
    if not is_json:
        found["checks"] = [f"{check['name']} {'ok' if check['ok'] else check['reason']}" for check in found["checks"]]
        found["damaged_records"] = [record["path"] for record in found["damaged_records"]]
    print_facts(found, is_json=is_json)
