"""Verification: reads the bytes of a model and compares them with the digest on record."""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from app.errors import StoreError
from app.store.actor import Actor
from app.store.headers.description import Description, describe
from app.store.integrity.digests import Digests
from app.store.integrity.versions import Version
from app.store.inventory import Model, model_at
from app.store.locks.leases import Lease
from app.store.locks.model_locks import STORE_LOCK_SECONDS, ModelLocks
from app.store.volume.refusals import explaining_refusals
from app.store.volume.volume import Volume

VERIFIED_CHUNK_BYTES = 1 << 20
DIGESTS_LOCK = "/digests"
"""The name of the lock that is held while a verdict is recorded. No model can have this name."""

OnRead = Callable[[int], None]
"""A function that receives the size in bytes of each chunk that was read. If the function raises, the verification
ends."""


class Verdict(StrEnum):
    """What a verification found out about the bytes of a model."""

    INTACT = "intact"
    """The bytes have the recorded digest."""
    CORRUPT = "corrupt"
    """The bytes do not have the recorded digest, though the file's modification time is unchanged; or no digest was
    recorded and the header is damaged."""
    UNRECORDED = "unrecorded"
    """No digest of this version was recorded before; now the digest is recorded."""
    CHANGED = "changed"
    """The file was written while it was read, so the result is unknown. A new verification is needed."""
    UNREADABLE = "unreadable"
    """The file could not be read: the disk failed, or the file's permissions forbid it."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of verifying one model."""

    model: Model
    """The model as it was before the reading."""
    verdict: Verdict
    reason: str | None
    """The reason for the verdict, as text; None if the model is intact."""
    sha256: str | None
    """The digest of the bytes that were read; None if the file changed meanwhile or could not be read."""
    recorded_sha256: str | None
    """The digest that was recorded before; None if there was none."""
    is_remembered: bool
    """True if the verdict is on record; False if the disk cannot be written."""
    header: Description
    seconds: float
    """How many seconds the reading took."""

    @property
    def bytes_per_second(self) -> int:
        """The speed of the reading."""
        return int(self.model.size_bytes / self.seconds) if self.seconds else 0


class Verifications:
    """Verifies the models of one model folder. A verification blocks for as long as it reads the model."""

    def __init__(self, volume: Volume, locks: ModelLocks, digests: Digests, take_lease: Callable[..., Lease]) -> None:
        """`take_lease` is `Store.lease`."""
        self._volume = volume
        self._locks = locks
        self._digests = digests
        self._take_lease = take_lease

    def verify(self, name: str, actor: Actor, on_read: OnRead = lambda _: None) -> Verification:
        """Read a model's bytes from the disk under a lease, compare their digest, and record the verdict.

        Raises InvalidModelName, NotAModel, ModelNotFound, ModelLocked, StoreUnavailable.
        """
        with (
            self._take_lease(name, kind="verify", holder=actor.name),
            self._volume.parent_of(name) as (folder, leaf),
        ):
            model = self._volume.find_in(folder, leaf, name)
            began, recorded, other = time.monotonic(), self._digests.of(model), self._digests.of_another_version(model)
            header, is_remembered = Description("unknown"), False
            sha256: str | None = None
            reason: str | None
            try:
                with _opened(folder, leaf) as file:
                    found = _digest(file, on_read)
                    header = describe(file, model.size_bytes, name)
                    after = model_at(name, os.fstat(file))
            except OSError as exc:
                verdict, reason = Verdict.UNREADABLE, f"it cannot be read: {exc.strerror}"
            else:
                if other and other[1] == found:  # the same bytes were copied without their modification time
                    recorded = found
                verdict, reason = _judge(model, after, found, recorded, other, header)
                is_remembered = self._remember(model, verdict, found)
                sha256 = None if verdict is Verdict.CHANGED else found
        return Verification(
            model=model,
            verdict=verdict,
            reason=reason,
            sha256=sha256,
            recorded_sha256=recorded,
            is_remembered=is_remembered,
            header=header,
            seconds=time.monotonic() - began,
        )

    def _remember(self, model: Model, verdict: Verdict, sha256: str) -> bool:
        """Record a verdict. Returns False if there is nothing to record, or the disk cannot be written."""
        if verdict is Verdict.CHANGED:
            return False
        try:
            with explaining_refusals(), self._locks.exclusive(DIGESTS_LOCK, seconds=STORE_LOCK_SECONDS):
                if verdict is Verdict.UNRECORDED:
                    self._digests.record(model, sha256)
                elif verdict is Verdict.INTACT:
                    self._digests.mark_intact(model)
                    if not self._digests.has_exact_record(model):
                        self._digests.record(model, sha256)
                else:
                    self._digests.mark_corrupt(model, sha256)
        except (OSError, StoreError):
            return False
        return True


def _judge(
    before: Model,
    after: Model,
    sha256: str,
    recorded: str | None,
    other: tuple[Version, str] | None,
    header: Description,
) -> tuple[Verdict, str | None]:
    if after.etag != before.etag:
        return Verdict.CHANGED, "it was written while it was read; try again"
    if recorded == sha256:
        return Verdict.INTACT, None
    if recorded:
        return Verdict.CORRUPT, "its bytes are not those on record, though its size and time are the same"
    if header.is_damaged:
        return Verdict.CORRUPT, header.problem
    return _judge_unrecorded(before, other)


def _judge_unrecorded(before: Model, other: tuple[Version, str] | None) -> tuple[Verdict, str]:
    """Return the verdict on a version without a recorded digest, and the reason.

    `other` is the version on record for the same name, with its digest; None if there is none.
    """
    reason = "no digest of this version was recorded before"
    if other is None:
        return Verdict.UNRECORDED, reason
    version, now = other[0], Version(before.size_bytes, before.modified_ns)
    if version.has_time_of(now):
        return Verdict.CORRUPT, f"it has the time of the version on record, but that has {version.size_bytes:,} bytes"
    reason += f". A version {version} was on record, with another digest: if this file is a copy of that version, such "
    return Verdict.UNRECORDED, f"{reason}as one from a backup, it is damaged"


@contextlib.contextmanager
def _opened(folder: int, leaf: str) -> Iterator[int]:
    file = os.open(leaf, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield file
    finally:
        os.close(file)


def _digest(file: int, on_read: OnRead) -> str:
    # Drop the file from the kernel's cache, so that its bytes are read from the disk, where they decay. The kernel
    # keeps the pages of a mapped model.
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    digest, chunk = hashlib.sha256(), bytearray(VERIFIED_CHUNK_BYTES)
    with memoryview(chunk) as view:
        while count := os.readv(file, [chunk]):
            digest.update(view[:count])
            on_read(count)
    return digest.hexdigest()
