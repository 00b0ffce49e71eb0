"""The command `models download`, which writes a model to a file."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from app.cli.connection import backend, on_backend
from app.cli.console import as_json, print_rows
from app.cli.progress import progress_bar
from app.errors import ServiceError


@click.command("download")
@click.argument("name")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write. Default: the last part of the model's name, in the current directory.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@as_json
@on_backend
def download(name: str, output: Path | None, *, force: bool, is_json: bool) -> None:
    """Write a model to a file, which appears only when it is complete. Compares the digest if one is recorded."""
    target = backend()
    model = target.get_model(name)
    path = output or Path(name.rpartition("/")[2])
    if os.path.lexists(path) and not force:
        raise click.UsageError(f"{path} exists; --force replaces it, --output names another file")
    digest, size_bytes, received = hashlib.sha256(), model["size_bytes"], 0
    with _draft_of(path) as file, progress_bar(size_bytes, name) as bar:
        for data in target.read(name):
            received += len(data)
            if received > size_bytes:  # a server could send without an end, and fill the disk
                break
            digest.update(data)
            file.write(data)
            bar.update(len(data))
        if received != size_bytes:
            other = "more" if received > size_bytes else "fewer"
            raise ServiceError(
                f"The bytes of {name!r} are {other} than the {size_bytes:,} that it has, so nothing was written. "
                "It was replaced meanwhile: run the command again."
            )
        if model["sha256"] not in {None, digest.hexdigest()}:
            raise ServiceError(
                f"The bytes of {name!r} do not have its recorded digest, so nothing was written. It was replaced "
                "meanwhile, or it is corrupt: `models verify` tells."
            )
    row = {"name": name, "size_bytes": path.stat().st_size, "sha256": digest.hexdigest(), "file": str(path)}
    print_rows([row], is_json=is_json)


@contextlib.contextmanager
def _draft_of(path: Path) -> Iterator[IO[bytes]]:
    """Yield a new file beside `path`, which gets that name at the end of the block, or is deleted after an error."""
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as exc:
        raise ServiceError(f"{path} cannot be written: {exc.strerror}.") from None
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - an open descriptor
            yield file
            os.fchmod(descriptor, 0o666 & ~_umask())
        Path(draft).replace(path)
    except BaseException as exc:
        Path(draft).unlink(missing_ok=True)
        if isinstance(exc, OSError) and not isinstance(exc, ServiceError):
            raise ServiceError(f"{path} cannot be written: {exc.strerror}.") from None
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
