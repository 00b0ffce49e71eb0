"""The commands that list, show, upload and delete models."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import click

from app.api.models.list_query import MAX_LIMIT, Sort
from app.api.models.schemas import ModelOut
from app.cli.backends.base import Backend
from app.cli.connection import backend, on_backend
from app.cli.console import (
    IN_PART,
    REFUSED,
    as_json,
    exit_with,
    note,
    print_facts,
    print_rows,
    printed_at_the_end,
    say,
)
from app.cli.progress import progress_bar
from app.cli.wording import is_error, sentence_of
from app.errors import ModelNotFound, ServiceError
from app.pulls.request import SHA256_PATTERN, IfExists
from app.store import Format, Status
from app.terminal import visible

COLUMNS = tuple(ModelOut.model_fields)
DEFAULT_COLUMNS = ("name", "size_bytes", "modified_at", "status", "protected", "in_use")
RECEIPT = ("name", "outcome", "size_bytes", "freed_bytes", "trash_id", "expires_at")
POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@click.group()
def models() -> None:
    """List, find, upload, delete, audit and prune models."""


def _columns(_: click.Context, __: click.Parameter, given: str | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = tuple(name.strip() for name in given.split(","))
    # `size` is what the heading of `size_bytes` says.
    full = tuple(f"{name}_bytes" if f"{name}_bytes" in COLUMNS else name for name in names)
    if unknown := [name for name in full if name not in COLUMNS]:
        raise click.BadParameter(f"there is no column {unknown[0]!r}; there are {', '.join(COLUMNS)}")
    return full


def _size(_: click.Context, __: click.Parameter, given: str | None) -> int | None:
    if given is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", given.strip().lower())
    if not found:
        raise click.BadParameter("it must be a size, such as 500000, 10MB or 1.5GB")
    return int(float(found[1]) * 1000 ** POWERS[found[2]])


@models.command("list")
@click.option("--status", type=click.Choice(get_args(Status)), help="Only models with this status.")
@click.option("--format", "format_", type=click.Choice(get_args(Format)), help="Only models of this format.")
@click.option("--protected/--unprotected", default=None, help="Only models that are protected, or are not.")
@click.option("--in-use/--unused", default=None, help="Only models that are in use, or are not.")
@click.option(
    "--recognised/--unrecognised", default=None, help="Only models that AsposeAI lists, or not; only with a service."
)
@click.option("--min-size", callback=_size, metavar="SIZE", help="Only models of at least this size, such as 1.5GB.")
@click.option("--name", metavar="PATTERN", help="Only models whose name, or its last part, matches this shell pattern.")
@click.option("--sort", type=click.Choice(get_args(Sort)), default="name", help="The order; - for descending.")
@click.option("--limit", type=click.IntRange(1, MAX_LIMIT), help="The most models to list.")
@click.option(
    "--columns",
    callback=_columns,
    metavar="NAMES",
    help=f"What to print of each model, also as JSON: {', '.join(COLUMNS)}.",
)
@as_json
@on_backend
def list_models(*, columns: tuple[str, ...] | None, is_json: bool, format_: str | None, **query: Any) -> None:  # noqa: ANN401
    """List models. Without a service it is not known which models AsposeAI recognises."""
    given = query | {"format": format_}
    listed = backend().list_models({name: value for name, value in given.items() if value is not None})
    found = listed["models"]
    if is_json and columns:
        found = [{name: model[name] for name in columns} for model in found]
    print_rows(found, columns or DEFAULT_COLUMNS, is_json=is_json)
    for warning in listed["warnings"]:
        click.echo(visible(f"not listed: {warning['path']}: {warning['reason']}"), err=True)
    if more := listed["count"] - len(listed["models"]):
        note(f"{more} more models match; raise --limit to list them")


@models.command("show")
@click.argument("name")
@as_json
@on_backend
def show(name: str, *, is_json: bool) -> None:
    """Show one model: its header, digest, protection and users."""
    print_facts(backend().get_model(name), is_json=is_json)


@models.command("path")
@click.argument("name", required=False)
@as_json
@on_backend
def path(name: str | None, *, is_json: bool) -> None:
    """Print the absolute path of the model folder, or of one model, on the machine that has the folder."""
    found = backend().path(name)
    if is_json:
        print_facts({"path": found}, is_json=True)
    else:
        say(found)


def _digest(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    if given is not None and not re.fullmatch(SHA256_PATTERN, given):
        raise click.BadParameter("it must have 64 hexadecimal digits")
    return given


@models.command("upload")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="The model's name. Default: the name of the file.")
@click.option("--sha256", callback=_digest, help="The digest that the file must have.")
@click.option(
    "--if-exists",
    type=click.Choice([each.value for each in IfExists]),
    default="fail",
    help="`replace` moves the previous version to the trash; `keep` uploads nothing.",
)
@as_json
@on_backend
def upload(file: Path, name: str | None, sha256: str | None, if_exists: str, *, is_json: bool) -> None:
    """Add a file to the model folder. The model is visible only when it is complete and checked."""
    target, name = backend(), name or file.name
    size_bytes = file.stat().st_size
    if not size_bytes:
        raise click.UsageError(f"{file} is empty, and a model cannot be empty")
    present = None if if_exists == IfExists.FAIL else _present(target, name)
    if present and if_exists == IfExists.KEEP:
        print_rows([_uploaded(present, "kept")], is_json=is_json)
        return
    with progress_bar(size_bytes, name) as bar:
        detail = target.upload(name, file, replaces=present is not None, sha256=sha256, on_bytes=bar.update)
    print_rows([_uploaded(detail, "replaced" if present else "uploaded")], is_json=is_json)


def _present(target: Backend, name: str) -> dict[str, Any] | None:
    """Return the model of that name; None if there is none."""
    try:
        return target.get_model(name)
    except ServiceError as exc:
        if is_error(exc, ModelNotFound):
            return None
        raise


def _uploaded(detail: dict[str, Any], outcome: str) -> dict[str, Any]:
    return {"name": detail["name"], "size_bytes": detail["size_bytes"], "sha256": detail["sha256"], "outcome": outcome}


@models.command("delete")
@click.argument("names", nargs=-1, required=True)
@click.option("--permanent", is_flag=True, help="Delete at once, without the trash. Cannot be undone.")
@click.option("--dry-run", is_flag=True, help="Check whether the models could be deleted, and change nothing.")
@as_json
@on_backend
def delete(names: Sequence[str], *, permanent: bool, dry_run: bool, is_json: bool) -> None:
    """Move models to the trash, or delete them with --permanent. Stops at the first model that is refused.

    The models that were deleted before that one are still printed, and the exit status is 3 if there are any.
    """
    target = backend()
    with printed_at_the_end(RECEIPT, is_json=is_json) as rows:
        for name in names:
            try:
                receipt = target.delete(name, permanent=permanent, dry_run=dry_run)
            except ServiceError as exc:
                status = IN_PART if rows and not dry_run else REFUSED
                if is_json:  # a table needs no row for the error: stderr has the sentence
                    rows.append(_refusal(name, exc))
                exit_with(status, sentence_of(exc))
            # Where the settings keep no trash, a deletion is permanent without --permanent.
            outcome = "planned" if dry_run else "trashed" if receipt["trash_id"] else "deleted"
            rows.append({"name": name, "outcome": outcome} | receipt)


def _refusal(name: str, error: ServiceError) -> dict[str, Any]:
    refused = {"name": name, "outcome": "refused", "reason": sentence_of(error)}
    return refused | {"blockers": getattr(error, "blockers", [])}
