"""The command that compares models with their recorded digests."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from app.cli.console import IN_PART, actor, as_json, open_store, printed_at_the_end
from app.cli.wording import sentence_of
from app.errors import ModelError
from app.store import OnRead, Store, Verdict

GOOD = {Verdict.INTACT, Verdict.UNRECORDED}


@click.command("verify")
@click.argument("names", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Verify every model of the folder.")
@as_json
def verify(names: Sequence[str], *, is_all: bool, is_json: bool) -> None:
    """Read models and compare them with their recorded digests. Record the digest of a model that has none.

    Exits with 3 if a model is corrupt, unreadable, or changed while it was read.
    """
    if bool(names) == is_all:
        raise click.UsageError("name the models, or give --all")
    store = open_store(to_change=True)
    models = list(store.scan().models.values()) if is_all else [store.find(name) for name in names]
    # No bar if stderr is not a terminal.
    bar = click.progressbar(length=sum(m.size_bytes for m in models), file=sys.stderr, hidden=not sys.stderr.isatty())
    with printed_at_the_end(is_json=is_json) as found, bar:
        for model in models:
            found.append(_verified(store, model.name, bar.update))
    if any(row["outcome"] not in GOOD for row in found):
        sys.exit(IN_PART)


def _verified(store: Store, name: str, on_read: OnRead) -> dict[str, Any]:
    try:
        verification = store.verifications.verify(name, actor(), on_read)
    except ModelError as exc:  # the model was deleted or changed meanwhile; the others are still verified
        return {"name": name, "outcome": "refused", "sha256": None, "reason": sentence_of(exc)}
    return {
        "name": name,
        "outcome": verification.verdict.value,
        "sha256": verification.sha256,
        "reason": verification.reason,
    }
