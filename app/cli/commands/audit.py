"""The commands that find old and corrupt models, and delete them."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from app.cli.backends.base import PruneChoice
from app.cli.connection import backend, on_backend
from app.cli.console import IN_PART, as_json, note, print_rows, printed_at_the_end
from app.cli.tables import size
from app.store import Hint, PruneResult, Reason
from app.store.audit.findings import AGEING

FINDING = ("status", "name", "size_bytes", "reasons", "hints", "superseded_by", "corrupt", "protected_by")
PRUNED = ("name", "size_bytes", "reasons", "hints", "outcome", "detail")


@click.command("audit")
@as_json
@on_backend
def audit(*, is_json: bool) -> None:
    """List every model with the reasons that make it old or corrupt."""
    print_rows(backend().audit(), FINDING, is_json=is_json)


@click.command("prune")
@click.option(
    "--reason",
    "reasons",
    type=click.Choice([r.value for r in Reason]),
    multiple=True,
    help="Only models with this reason.",
)
@click.option(
    "--include",
    type=click.Choice([hint.value for hint in Hint]),
    multiple=True,
    help="Also models with this hint: 'superseded' is any model that has a higher number beside it.",
)
@click.option("--permanent", is_flag=True, help="Delete at once, without the trash. Cannot be undone.")
@click.option("--yes", is_flag=True, help="Delete the models. Without --yes, only list them.")
@as_json
@on_backend
def prune(reasons: Sequence[str], include: Sequence[str], *, permanent: bool, yes: bool, is_json: bool) -> None:
    """List the old models that are not protected; with --yes, delete them. Include corrupt models with --reason."""
    chosen = tuple(Reason(reason) for reason in reasons) or tuple(AGEING)
    choice = PruneChoice(chosen, tuple(map(Hint, include)), permanent)
    if not yes:
        planned: list[dict[str, Any]] = []
        backend().prune(choice, planned.append, executes=False)
        print_rows(planned, PRUNED, is_json=is_json)
        total = size(sum(row["size_bytes"] for row in planned))
        note(
            f"{len(planned)} models, {total}; nothing was deleted. --yes deletes them"
            if planned
            else "nothing to prune"
        )
        return
    with printed_at_the_end(PRUNED, is_json=is_json) as rows:
        backend().prune(choice, rows.append, executes=True)
    if any(row["outcome"] == PruneResult.STAYED for row in rows):
        sys.exit(IN_PART)
