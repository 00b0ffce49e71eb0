"""The commands on the trash: list, restore, purge, empty."""

from collections.abc import Sequence
from typing import Any

import click

from app.cli.connection import backend, on_backend
from app.cli.console import as_json, may_delete, print_rows, printed_at_the_end, say, with_yes
from app.cli.ids import one_of
from app.cli.tables import size
from app.errors import TrashEntryNotFound

ID_HELP = "An ID may be cut short as long as one entry alone begins with it."


@click.group()
def trash() -> None:
    """List, restore and purge deleted models."""


@trash.command("list")
@as_json
@on_backend
def list_trash(*, is_json: bool) -> None:
    """List the deleted models that can be restored, oldest first."""
    print_rows(backend().trash(), is_json=is_json)


@trash.command("restore", epilog=ID_HELP)
@click.argument("trash_id", metavar="ID")
@click.option("--as", "name", help="The name to restore the model to. Default: its name before the deletion.")
@as_json
@on_backend
def restore(trash_id: str, name: str | None, *, is_json: bool) -> None:
    """Restore a deleted model. Never overwrites an existing model."""
    target = backend()
    model = target.restore(one_of(target.trash(), trash_id, TrashEntryNotFound), name)
    if is_json:
        print_rows([model], is_json=True)
    else:
        say(model["name"])


@trash.command("purge", epilog=ID_HELP)
@click.argument("trash_ids", metavar="ID...", nargs=-1, required=True)
@with_yes
@as_json
@on_backend
def purge(trash_ids: Sequence[str], *, yes: bool, is_json: bool) -> None:
    """Delete entries of the trash permanently, which cannot be undone. Asks before, unless --yes is given."""
    entries = backend().trash()
    chosen = [one_of(entries, trash_id, TrashEntryNotFound) for trash_id in trash_ids]
    _purge([entry for entry in entries if entry["id"] in chosen], yes=yes, is_json=is_json)


@trash.command("empty")
@with_yes
@as_json
@on_backend
def empty(*, yes: bool, is_json: bool) -> None:
    """Delete all entries of the trash permanently, which cannot be undone. Asks before, unless --yes is given."""
    _purge(backend().trash(), yes=yes, is_json=is_json)


def _purge(entries: list[dict[str, Any]], *, yes: bool, is_json: bool) -> None:
    target = backend()
    if not yes:
        print_rows(entries, is_json=is_json)
    if not entries:
        return
    total = size(sum(entry["size_bytes"] for entry in entries))
    if not may_delete(f"{len(entries)} entries, {total}", yes=yes):
        return
    with printed_at_the_end(is_json=is_json) as rows:
        for entry in entries:
            if purged := target.purge(entry["id"]):  # None if another process was faster
                rows.append(purged)
