"""The command that compares models with their recorded digests."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from app.cli.backends.base import Backend, OnBytes
from app.cli.connection import backend, on_backend
from app.cli.console import IN_PART, as_json, printed_at_the_end
from app.cli.progress import progress_bar
from app.cli.wording import sentence_of
from app.errors import ServiceError
from app.store import Verdict

GOOD = {Verdict.INTACT, Verdict.UNRECORDED}
COLUMNS = ("name", "outcome", "sha256", "reason")


@click.command("verify")
@click.argument("names", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Verify every model of the folder.")
@as_json
@on_backend
def verify(names: Sequence[str], *, is_all: bool, is_json: bool) -> None:
    """Read models and compare them with their recorded digests. Record the digest of a model that has none.

    Exits with 3 if a model is corrupt, unreadable, or changed while it was read.
    """
    if bool(names) == is_all:
        raise click.UsageError("name the models, or give --all")
    target = backend()
    # A name that does not exist is refused before anything is read.
    found = target.list_models({})["models"] if is_all else [target.get_model(name) for name in names]
    with (
        printed_at_the_end(COLUMNS, is_json=is_json) as rows,
        progress_bar(sum(model["size_bytes"] for model in found)) as bar,
    ):
        for model in found:
            rows.append(_verified(target, model["name"], bar.update))
    if any(row["outcome"] not in GOOD for row in rows):
        sys.exit(IN_PART)


def _verified(target: Backend, name: str, on_bytes: OnBytes) -> dict[str, Any]:
    try:
        return target.verify(name, on_bytes)
    except ServiceError as exc:
        if getattr(exc, "name", None) is None:  # not about this model: the folder or the service is away
            raise
        # The model was deleted or changed meanwhile; the others are still verified.
        return {"name": name, "outcome": "refused", "sha256": None, "reason": sentence_of(exc)}
