"""The commands on models and on the trash. They need no server and take the locks that services take.

Exit status: 0 done, 1 refused (the reason is on stderr), 2 wrong usage or settings, 3 done in part.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from app.cli.console import IN_PART, Verbs, actor, as_json, open_store, print_rows, rfc3339
from app.store import Finding, PruneOutcome, PrunePlan, Reason, TrashEntry
from app.store.audit.findings import AGEING, plan_prune


@click.group(cls=Verbs)
def models() -> None:
    """List, find, delete, audit and prune models."""


@click.group(cls=Verbs)
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
        click.echo(f"not listed: {warning.path}: {warning.reason}", err=True)


@models.command("path")
@click.argument("name", required=False)
def path(name: str | None) -> None:
    """Print the absolute path of the model folder, or of one model."""
    store = open_store()
    click.echo(f"{store.root}/{store.find(name).name}" if name else store.root)


@models.command("delete")
@click.argument("names", nargs=-1, required=True)
@click.option("--permanent", is_flag=True, help="Delete at once, without the trash.")
@click.option("--dry-run", is_flag=True, help="Check whether the models could be deleted, and change nothing.")
@as_json
def delete(names: Sequence[str], *, permanent: bool, dry_run: bool, is_json: bool) -> None:
    """Move models to the trash, or delete them with --permanent. Stops at the first model that is refused."""
    store, rows = open_store(to_change=True), []
    for name in names:
        plan = store.deletions.plan(name, permanent=permanent)
        if dry_run:
            rows.append({"name": name, "size_bytes": plan.model.size_bytes, "outcome": "planned"})
        else:
            rows.append(asdict(store.deletions.delete(plan, actor())))
    print_rows(rows, is_json=is_json)


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
@click.option("--permanent", is_flag=True, help="Delete at once, without the trash.")
@click.option("--yes", is_flag=True, help="Delete the models. Without --yes, only list them.")
@as_json
def prune(reasons: Sequence[str], *, permanent: bool, yes: bool, is_json: bool) -> None:
    """List the old models that are not protected; with --yes, delete them. Include corrupt models with --reason."""
    store = open_store(to_change=True)
    findings, _ = store.audits.judge(store.scan(), seconds=math.inf)
    plan = plan_prune(findings, [Reason(reason) for reason in reasons] or AGEING, permanent=permanent)
    if not yes:
        print_rows([_finding(finding) for finding in plan.findings], is_json=is_json)
        click.echo(_sum_of(plan), err=True)
        return
    outcomes = store.audits.execute(plan, actor())
    print_rows([_outcome(outcome) for outcome in outcomes], is_json=is_json)
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
    click.echo(open_store(to_change=True).trash.restore(trash_id, name, actor()).name)


@trash.command("empty")
@as_json
def empty(*, is_json: bool) -> None:
    """Delete all entries of the trash permanently."""
    print_rows([_entry(gone.entry) for gone in open_store(to_change=True).trash.empty(actor())], is_json=is_json)


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "status": finding.status,
        "name": finding.model.name,
        "size_bytes": finding.model.size_bytes,
        "reasons": [reason.value for reason in finding.reasons],
        "corrupt": finding.corrupt,
        "protected_by": finding.protection.because if finding.protection else None,
    }


def _outcome(outcome: PruneOutcome) -> dict[str, Any]:
    why = str(outcome.error) if outcome.error else None
    return {"name": outcome.finding.model.name, "outcome": outcome.result, "why": why}


def _entry(entry: TrashEntry) -> dict[str, Any]:
    return asdict(entry) | {"deleted_at": rfc3339(entry.deleted_at), "expires_at": rfc3339(entry.expires_at)}


def _sum_of(plan: PrunePlan) -> str:
    size_bytes = sum(finding.model.size_bytes for finding in plan.findings)
    return f"{len(plan.findings)} models, {size_bytes:,} bytes; nothing was deleted. --yes deletes them"
