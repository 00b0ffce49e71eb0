"""The store's verbs on the command line, without a server, on the same locks as every service on the folder.

Exit status: 0 done, 1 refused (the reason is on stderr), 2 wrong usage or settings, 3 done in part.
"""

import getpass
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from app.errors import StoreError, StoreUnavailable
from app.settings import SettingsError, load_settings
from app.store.audit import Finding, Outcome, PrunePlan, Reason, audit, execute, plan_prune
from app.store.journal import Origin
from app.store.rules import Rules
from app.store.store import Store
from app.store.trash import TrashEntry

REFUSED, MISCONFIGURED, IN_PART = 1, 2, 3
NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""As a shell says it of a command that it cannot run."""

as_json = click.option("--json", "is_json", is_flag=True, help="Print JSON.")


class Verbs(click.Group):
    """Commands whose refusals are a line on stderr and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command."""
        try:
            return super().invoke(ctx)
        except StoreError as exc:
            click.echo(str(exc), err=True)
            sys.exit(REFUSED)
        except SettingsError as exc:
            click.echo(str(exc), err=True)
            sys.exit(MISCONFIGURED)


@click.group(cls=Verbs)
def models() -> None:
    """List, find, delete and judge models."""


@click.group(cls=Verbs)
def trash() -> None:
    """List, restore and purge deleted models."""


@models.command("list")
@as_json
def list_models(*, is_json: bool) -> None:
    """List every model."""
    store = _store()
    inventory = store.scan()
    rows = [
        {
            "name": model.name,
            "size_bytes": model.size_bytes,
            "modified_at": _time(model.modified_at),
            "status": "old" if store.rules.is_old(model.name) else "current",
            "protected": store.rules.protecting(model.name) is not None,
        }
        for model in inventory.models.values()
    ]
    _print(rows, is_json=is_json)
    for warning in inventory.warnings:
        click.echo(f"not listed: {warning.path}: {warning.reason}", err=True)


@models.command("path")
@click.argument("name", required=False)
def path(name: str | None) -> None:
    """Print the absolute path of the model folder, or of one model."""
    store = _store()
    click.echo(f"{store.root}/{store.find(name).name}" if name else store.root)


@models.command("delete")
@click.argument("names", nargs=-1, required=True)
@click.option("--permanent", is_flag=True, help="Past the trash, without a way back.")
@click.option("--dry-run", is_flag=True, help="Check everything and change nothing.")
@as_json
def delete(names: Sequence[str], *, permanent: bool, dry_run: bool, is_json: bool) -> None:
    """Delete models, into the trash unless told otherwise. The first that is refused ends it."""
    store, rows = _store(), []
    for name in names:
        plan = store.plan_deletion(name, permanent=permanent)
        if dry_run:
            rows.append({"name": name, "size_bytes": plan.model.size_bytes, "outcome": "planned"})
        else:
            rows.append(asdict(store.delete(plan, _origin())))
    _print(rows, is_json=is_json)


@models.command("lease")
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def lease(name: str, command: tuple[str, ...]) -> None:
    """Run COMMAND; nobody deletes or replaces the model until it ends. The status is the command's.

    What COMMAND starts keeps the model too, unless it closes the descriptors that it was given.
    """
    lease = _store().lease(name, kind="command", holder=" ".join(command))
    lease.give_to_children()
    try:
        # In this process's place: signals reach it, its status is everybody's, and it dies with no lease left.
        os.execvp(command[0], command)  # noqa: S606 - what the caller typed
    except OSError as exc:
        lease.release()
        click.echo(f"{command[0]}: {exc.strerror}", err=True)
        sys.exit(NOT_FOUND if isinstance(exc, FileNotFoundError) else NOT_EXECUTABLE)


@models.command("audit")
@as_json
def show_audit(*, is_json: bool) -> None:
    """Say which models are old, and why."""
    store = _store()
    _print([_finding(finding) for finding in audit(store.scan(), store.rules)], is_json=is_json)


@models.command("prune")
@click.option("--reason", "reasons", type=click.Choice([r.value for r in Reason]), multiple=True, help="Only for this.")
@click.option("--permanent", is_flag=True, help="Past the trash, without a way back.")
@click.option("--yes", is_flag=True, help="Delete; without it the plan is shown and nothing is done.")
@as_json
def prune(reasons: Sequence[str], *, permanent: bool, yes: bool, is_json: bool) -> None:
    """Delete the old models that are not protected; show them unless told --yes."""
    store = _store()
    wanted = [Reason(reason) for reason in reasons] or list(Reason)
    plan = plan_prune(audit(store.scan(), store.rules), wanted, permanent=permanent)
    if not yes:
        _print([_finding(finding) for finding in plan.findings], is_json=is_json)
        click.echo(_sum_of(plan), err=True)
        return
    outcomes = execute(plan, store, _origin())
    _print([_outcome(outcome) for outcome in outcomes], is_json=is_json)
    if any(outcome.error for outcome in outcomes):
        sys.exit(IN_PART)


@trash.command("list")
@as_json
def list_trash(*, is_json: bool) -> None:
    """List what can be restored, oldest first."""
    _print([_entry(entry) for entry in _store().trash_entries()], is_json=is_json)


@trash.command("restore")
@click.argument("trash_id")
@click.option("--as", "name", help="The name to restore it at; without it, the one it had.")
def restore(trash_id: str, name: str | None) -> None:
    """Put a deleted model back; nothing is ever overwritten."""
    click.echo(_store().restore(trash_id, name, _origin()).name)


@trash.command("empty")
@as_json
def empty(*, is_json: bool) -> None:
    """Delete everything in the trash for good."""
    _print([_entry(entry) for entry in _store().empty_trash(_origin())], is_json=is_json)


def _store() -> Store:
    """The store of the settings; raises StoreUnavailable rather than make a folder that is missing."""
    settings = load_settings()
    if not settings.models_dir.is_dir():
        raise StoreUnavailable(f"{settings.models_dir} is missing (OCR_MODELS_DIR)")
    rules = Rules(settings.old_patterns, settings.protected)
    store = Store(settings.models_dir, rules, trash_retention=settings.trash_retention, on_event=_warn)
    store.open()
    return store


def _origin() -> Origin:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container, users have numbers and no names
        user = str(os.getuid())
    return Origin(f"cli:{user}")


def _warn(event: str, fields: dict[str, Any]) -> None:
    if event.startswith("model."):  # what was asked for, which the command says itself
        return
    click.echo(f"{event}: {fields}", err=True)


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "status": "old" if finding.is_old else "current",
        "name": finding.model.name,
        "size_bytes": finding.model.size_bytes,
        "reasons": [reason.value for reason in finding.reasons],
        "protected_by": finding.protected_by,
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    went = "stayed" if outcome.receipt is None else "trashed" if outcome.receipt.trash_id else "deleted"
    why = str(outcome.error) if outcome.error else None
    return {"name": outcome.finding.model.name, "outcome": went, "why": why}


def _entry(entry: TrashEntry) -> dict[str, Any]:
    return asdict(entry) | {"deleted_at": _time(entry.deleted_at), "expires_at": _time(entry.expires_at)}


def _sum_of(plan: PrunePlan) -> str:
    size_bytes = sum(finding.model.size_bytes for finding in plan.findings)
    return f"{len(plan.findings)} models, {size_bytes:,} bytes; nothing was deleted, --yes does it"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _print(rows: Iterable[dict[str, Any]], *, is_json: bool) -> None:
    """Rows as JSON, or as columns as wide as their widest cell."""
    rows = list(rows)
    if is_json:
        click.echo(json.dumps(rows, indent=2, default=datetime.isoformat))
        return
    if not rows:
        return
    table = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, datetime):
        return _time(value)
    return "-" if value is None else str(value)
