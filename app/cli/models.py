"""The commands on models and on the trash. They need no server and take the locks that services take.

Exit status: 0 done, 1 refused (the reason is on stderr), 2 wrong usage or settings, 3 done in part.
"""

import contextlib
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from app.cli.console import (
    IN_PART,
    REFUSED,
    actor,
    as_json,
    exit_with,
    open_store,
    print_rows,
    printed_at_the_end,
    rfc3339,
    say,
)
from app.cli.wording import sentence_of
from app.errors import ServiceError, TrashEntryNotFound
from app.store import Finding, Hint, PruneOutcome, PrunePlan, Reason, TrashEntry
from app.store.audit.findings import AGEING, plan_prune
from app.terminal import visible


@click.group()
def models() -> None:
    """List, find, delete, audit and prune models."""


@click.group()
def trash() -> None:
    """List, restore and purge deleted models."""


@models.command("list")
@as_json
def list_models(*, is_json: bool) -> None:
    """List every model."""
    store = open_store()
    inventory, manual = store.scan(), store.protections.manual()
    rows = [
        {
            "name": model.name,
            "size_bytes": model.size_bytes,
            "modified_at": rfc3339(model.modified_at),
            "status": store.policy.status_of(model.name),
            "protected": store.protections.combine(model.name, manual.get(model.name)) is not None,
        }
        for model in inventory.models.values()
    ]
    print_rows(rows, is_json=is_json)
    for warning in inventory.warnings:
        click.echo(visible(f"not listed: {warning.path}: {warning.reason}"), err=True)


@models.command("path")
@click.argument("name", required=False)
def path(name: str | None) -> None:
    """Print the absolute path of the model folder, or of one model."""
    store = open_store()
    say(f"{store.root}/{store.find(name).name}" if name else str(store.root))


@models.command("delete")
@click.argument("names", nargs=-1, required=True)
@click.option("--permanent", is_flag=True, help="Delete at once, without the trash.")
@click.option("--dry-run", is_flag=True, help="Check whether the models could be deleted, and change nothing.")
@as_json
def delete(names: Sequence[str], *, permanent: bool, dry_run: bool, is_json: bool) -> None:
    """Move models to the trash, or delete them with --permanent. Stops at the first model that is refused.

    The models that were deleted before that one are still printed, and the exit status is 3 if there are any.
    """
    store = open_store(to_change=True, is_dry_run=dry_run)
    with printed_at_the_end(is_json=is_json) as rows:
        for name in names:
            try:
                plan = store.deletions.plan(name, permanent=permanent)
                receipt = plan.preview() if dry_run else store.deletions.delete(plan, actor())
            except ServiceError as exc:
                status = IN_PART if rows and not dry_run else REFUSED
                if is_json:  # a table needs no row for the error: stderr has the sentence
                    rows.append(_refusal(name, exc))
                exit_with(status, sentence_of(exc))
            outcome = "planned" if dry_run else "deleted" if permanent else "trashed"
            rows.append({"name": name, "outcome": outcome} | asdict(receipt))


@models.command("audit")
@as_json
def show_audit(*, is_json: bool) -> None:
    """List every model with the reasons that make it old or corrupt."""
    store = open_store()
    findings, _ = store.audits.judge(store.scan(), seconds=math.inf)
    print_rows([_finding(finding) for finding in findings], is_json=is_json)


@models.command("prune")
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
@click.option("--permanent", is_flag=True, help="Delete at once, without the trash.")
@click.option("--yes", is_flag=True, help="Delete the models. Without --yes, only list them.")
@as_json
def prune(reasons: Sequence[str], include: Sequence[str], *, permanent: bool, yes: bool, is_json: bool) -> None:
    """List the old models that are not protected; with --yes, delete them. Include corrupt models with --reason."""
    store = open_store(to_change=True, is_dry_run=not yes)
    findings, _ = store.audits.judge(store.scan(), seconds=math.inf)
    chosen, hints = [Reason(reason) for reason in reasons] or AGEING, [Hint(hint) for hint in include]
    plan = plan_prune(findings, chosen, permanent=permanent, include=hints)
    if not yes:
        print_rows([_finding(finding) for finding in plan.findings], is_json=is_json)
        click.echo(_sum_of(plan), err=True)
        return
    with printed_at_the_end(is_json=is_json) as rows:
        outcomes = store.audits.execute(plan, actor(), lambda outcome: rows.append(_outcome(outcome)))
    if any(outcome.error for outcome in outcomes):
        sys.exit(IN_PART)


@trash.command("list")
@as_json
def list_trash(*, is_json: bool) -> None:
    """List the deleted models that can be restored, oldest first."""
    print_rows([_entry(entry) for entry in open_store().trash.entries()], is_json=is_json)


@trash.command("restore")
@click.argument("trash_id")
@click.option("--as", "name", help="The name to restore the model to. Default: its name before the deletion.")
def restore(trash_id: str, name: str | None) -> None:
    """Restore a deleted model. Never overwrites an existing model."""
    say(open_store(to_change=True).trash.restore(trash_id, name, actor()).name)


@trash.command("empty")
@click.option("--yes", is_flag=True, help="Delete the entries. Without --yes, only list them.")
@as_json
def empty(*, yes: bool, is_json: bool) -> None:
    """List all entries of the trash; with --yes, delete them permanently, which cannot be undone."""
    store = open_store(to_change=True, is_dry_run=not yes)
    entries = store.trash.entries()
    if not yes:
        print_rows(map(_entry, entries), is_json=is_json)
        size_bytes = sum(entry.size_bytes for entry in entries)
        click.echo(f"{len(entries)} entries, {size_bytes:,} bytes; nothing was deleted. --yes deletes them", err=True)
        return
    with printed_at_the_end(is_json=is_json) as rows:
        for entry in entries:
            with contextlib.suppress(TrashEntryNotFound):  # another process purged or restored it first
                rows.append(_entry(store.trash.purge(entry.id, actor()).entry))


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "status": finding.status,
        "name": finding.model.name,
        "size_bytes": finding.model.size_bytes,
        "reasons": [reason.value for reason in finding.reasons],
        "hints": [hint.value for hint in finding.hints],
        "superseded_by": finding.superseded_by,
        "corrupt": finding.corrupt,
        "protected_by": finding.protection.because if finding.protection else None,
    }


def _outcome(outcome: PruneOutcome) -> dict[str, Any]:
    why = sentence_of(outcome.error) if outcome.error else None
    return {"name": outcome.finding.model.name, "outcome": outcome.result, "why": why}


def _refusal(name: str, error: ServiceError) -> dict[str, Any]:
    refused = {"name": name, "outcome": "refused", "reason": sentence_of(error)}
    return refused | {"blockers": getattr(error, "blockers", [])}


def _entry(entry: TrashEntry) -> dict[str, Any]:
    return asdict(entry) | {"deleted_at": rfc3339(entry.deleted_at), "expires_at": rfc3339(entry.expires_at)}


def _sum_of(plan: PrunePlan) -> str:
    size_bytes = sum(finding.model.size_bytes for finding in plan.findings)
    return f"{len(plan.findings)} models, {size_bytes:,} bytes; nothing was deleted. --yes deletes them"
