"""The interface of what commands work on, and the choices that commands make."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from app.pulls.request import PullRequest
from app.store import Hint, Reason

Json = dict[str, Any]
"""One JSON object, with the members that docs/api describes."""
OnBytes = Callable[[int], None]
"""Receives how many bytes were read or sent since the last call."""
OnRow = Callable[[Json], None]


@dataclass(frozen=True, slots=True)
class PruneChoice:
    """Which models a prune deletes, and how."""

    reasons: tuple[Reason, ...]
    hints: tuple[Hint, ...]
    permanent: bool


@dataclass(frozen=True, slots=True)
class PullEnd:
    """The end of a pull."""

    job: Json | None
    """The finished job; None if Ctrl-C has cancelled the pull."""
    published: list[Json]
    """The models that are known to be pulled although the job has not succeeded."""


class PullWatch(Protocol):
    """What is told while a pull runs."""

    def on_progress(self, done: int, total: int | None) -> None:
        """Receive how many bytes of how many have come; the total is None while it is unknown."""

    def on_retry(self, error: str, pause_seconds: float) -> None:
        """Receive why the pull is tried again, and when."""


class Backend(Protocol):
    """A model folder and its jobs. The methods block, and raise a ServiceError with a sentence for users.

    An object in a result has the members that the API gives it, and times as the API writes them. What only the engine
    of a running service knows is None without one.
    """

    def list_models(self, query: Mapping[str, Any]) -> Json:
        """List models. `query` has the parameters of `GET /models`; the answer is a `ModelListOut`."""

    def get_model(self, name: str) -> Json:
        """Get a model, as a `ModelDetailOut`."""

    def path(self, name: str | None) -> str:
        """Get the absolute path of the folder, or of one model, on the machine that has the folder."""

    def upload(self, name: str, file: Path, *, replaces: bool, sha256: str | None, on_bytes: OnBytes) -> Json:
        """Upload a file as a new model; with `replaces`, in place of the one of that name. Returns a `ModelDetailOut`.

        `sha256` is the digest that the bytes must have, in hexadecimal digits.
        """

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a model, all of one version."""

    def delete(self, name: str, *, permanent: bool, dry_run: bool) -> Json:
        """Delete a model, or check whether it could be deleted. Returns a `ReceiptOut`."""

    def protect(self, name: str, reason: str) -> Json:
        """Protect a model. Returns a `ProtectionStateOut`."""

    def unprotect(self, name: str) -> Json:
        """Remove the protection of a model. Returns a `ProtectionStateOut`."""

    def verify(self, name: str, on_bytes: OnBytes) -> Json:
        """Compare a model with its recorded digest. Returns a `VerificationOut`."""

    def audit(self) -> list[Json]:
        """Judge every model. Returns a row for each, see `FINDING` in `app.cli.commands.audit`."""

    def prune(self, choice: PruneChoice, on_row: OnRow, *, executes: bool) -> None:
        """Plan a prune, and with `executes` delete its models. `on_row` gets a `PrunedOut` for each, when it is done.

        The sentence in `detail` is in the words of the command line.
        """

    def trash(self) -> list[Json]:
        """List the entries of the trash, oldest first, as `TrashEntryOut`."""

    def restore(self, trash_id: str, name: str | None) -> Json:
        """Restore a deleted model at its former name or at another. Returns a `ModelOut`."""

    def purge(self, trash_id: str) -> Json | None:
        """Delete an entry of the trash for good, and return it; None if another process was faster."""

    def journal(self, limit: int) -> list[Json]:
        """List the last changes, newest first, as `JournalEntryOut`."""

    def storage(self) -> Json:
        """Measure the folder and its disk. Returns a `StorageOut`."""

    def jobs(self, kinds: Sequence[str], state: str | None, limit: int) -> list[Json]:
        """List jobs of some kinds, newest first, as `JobOut`."""

    def job(self, kind: str, job_id: str) -> Json:
        """Get one job, as a `JobOut`."""

    def cancel(self, kind: str, job_id: str) -> Json:
        """Cancel a job, and return it as it is then."""

    def pull(self, request: PullRequest, watch: PullWatch) -> PullEnd:
        """Pull models, and wait for the end. Ctrl-C cancels the pull."""
