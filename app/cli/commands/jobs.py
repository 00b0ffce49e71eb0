"""The commands on jobs: pulls, and jobs on texts and images."""

from collections.abc import Sequence
from typing import Any

import click

from app.cli.connection import backend, on_backend
from app.cli.console import as_json, print_facts, print_rows
from app.cli.ids import one_of
from app.errors import JobNotFound
from app.jobs.records import JobState
from app.jobs.units.kinds import ItemJobKind
from app.pulls.pull_jobs import PULL

COLUMNS = ("id", "kind", "state", "phase", "progress", "created_at", "created_by")
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000


def job_commands(name: str, noun: str, kinds: Sequence[str]) -> click.Group:
    """Return the group of commands on the jobs of some kinds: `list`, `show` and `cancel`."""

    @click.group(name, help=f"List, show and cancel {noun}, whichever service or command runs them.")
    def group() -> None: ...

    @group.command("list", help=f"List {noun}, newest first.")
    @click.option("--state", type=click.Choice([state.value for state in JobState]), help="Only jobs in this state.")
    @click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=DEFAULT_LIMIT, show_default=True)
    @as_json
    @on_backend
    def list_jobs(state: str | None, limit: int, *, is_json: bool) -> None:
        found = backend().jobs(kinds, state, limit)
        if not is_json:
            found = [job | {"progress": _progress(job["progress"])} for job in found]
        print_rows(found, COLUMNS, is_json=is_json)

    @group.command("show", help=f"Show one of the {noun}. Its ID may be cut short as long as it is unique.")
    @click.argument("job_id", metavar="ID")
    @as_json
    @on_backend
    def show(job_id: str, *, is_json: bool) -> None:
        kind, job_id = _found(kinds, job_id)
        print_facts(backend().job(kind, job_id), is_json=is_json)

    @group.command("cancel", help=f"Cancel one of the {noun}. Its ID may be cut short as long as it is unique.")
    @click.argument("job_id", metavar="ID")
    @as_json
    @on_backend
    def cancel(job_id: str, *, is_json: bool) -> None:
        kind, job_id = _found(kinds, job_id)
        job = backend().cancel(kind, job_id)
        rows = [job] if is_json else [{"id": job["id"], "state": job["state"]}]
        print_rows(rows, is_json=is_json)

    return group


def _found(kinds: Sequence[str], given: str) -> tuple[str, str]:
    """Return the kind and the id of the job that an id, perhaps a shortened one, means."""
    found = backend().jobs(kinds, None, MAX_LIMIT)
    job_id = one_of(found, given, JobNotFound)
    return next(job["kind"] for job in found if job["id"] == job_id), job_id


def _progress(progress: dict[str, Any]) -> str:
    """Return how far a job is, in a few characters."""
    total = "?" if progress["total"] is None else f"{progress['total']:,}"
    return f"{progress['done']:,}/{total} {progress['unit']}"


pulls = job_commands("pulls", "pulls", (PULL,))
jobs = job_commands("jobs", "jobs on texts and images", (ItemJobKind.TEXTS, ItemJobKind.IMAGES))
