"""Verification of the bytes of real files."""

import hashlib
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from app.errors import ModelInUse, ModelNotFound
from app.store.actor import Actor
from app.store.audit.findings import Reason
from app.store.integrity.verification import VERIFIED_CHUNK_BYTES, Verdict, Verification
from app.store.policy import Policy
from app.store.store import Store

ME = Actor("me")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "models", Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    (store.root / "a.bin").write_bytes(b"as it came")
    return store


def corrupt_on_disk(path: Path) -> None:
    """Change a byte of a file but neither its size nor its times, as a failing disk does."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.write(b"X")
    os.utime(path, ns=times)


def verify(store: Store) -> Verification:
    return store.verifications.verify("a.bin", ME)


def test_the_first_verification_records_and_the_next_compares(store: Store) -> None:
    """The first verification of a file without a digest records one; the second finds the file intact."""
    first, second = verify(store), verify(store)

    assert (first.verdict, first.recorded_sha256, first.is_remembered) == (Verdict.UNRECORDED, None, True)
    assert second.verdict is Verdict.INTACT
    assert second.sha256 == second.recorded_sha256 == hashlib.sha256(b"as it came").hexdigest()


def test_changed_bytes_of_equal_size_and_time_are_corrupt(store: Store) -> None:
    """Changed bytes of equal size and time are corrupt, also in the audit, until the bytes are right again."""
    verify(store)
    corrupt_on_disk(store.root / "a.bin")

    found = verify(store)

    assert (found.verdict, found.is_remembered) == (Verdict.CORRUPT, True)
    assert found.sha256 == hashlib.sha256(b"Xs it came").hexdigest() != found.recorded_sha256
    assert store.digests.corrupt_since(store.find("a.bin"))
    (finding,) = store.audits.report(store.scan()).corrupt
    assert (finding.model.name, finding.is_old, finding.reasons) == ("a.bin", False, (Reason.CORRUPT,))
    times = (store.root / "a.bin").stat().st_mtime_ns
    (store.root / "a.bin").write_bytes(b"as it came")
    os.utime(store.root / "a.bin", ns=(times, times))
    assert verify(store).verdict is Verdict.INTACT
    assert store.audits.report(store.scan()).corrupt == []


def test_another_version_is_not_corrupt(store: Store) -> None:
    """A file that a program has written is another version, which has no digest and is not corrupt."""
    verify(store)
    corrupt_on_disk(store.root / "a.bin")
    verify(store)
    (store.root / "a.bin").write_bytes(b"a newer version")

    assert store.audits.report(store.scan()).corrupt == []
    assert verify(store).verdict is Verdict.UNRECORDED


def test_the_digest_of_a_damaged_file_is_not_recorded(store: Store) -> None:
    """A file with a cut-off header is corrupt even without a recorded digest, and no digest is recorded."""
    (store.root / "a.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")

    found = store.verifications.verify("a.gguf", ME)

    assert (found.verdict, found.recorded_sha256) == (Verdict.CORRUPT, None)
    assert "the file ends inside its header" in str(found.reason)
    assert store.digests.of(store.find("a.gguf")) is None


def test_a_file_that_changes_while_it_is_read_has_no_result(store: Store) -> None:
    """The verdict is CHANGED, and nothing is recorded."""
    path = store.root / "a.bin"

    def meddle(_: int) -> None:
        path.write_bytes(b"meanwhile")

    found = store.verifications.verify("a.bin", ME, meddle)

    assert (found.verdict, found.sha256, found.is_remembered) == (Verdict.CHANGED, None, False)
    assert store.digests.of(store.find("a.bin")) is None


def test_a_model_that_is_being_verified_cannot_be_deleted(store: Store) -> None:
    """A verification holds a lease that names the actor, and releases it after an error too."""
    (store.root / "a.bin").write_bytes(b"x" * 3 * VERIFIED_CHUNK_BYTES)

    def on_read(_: int) -> None:
        with pytest.raises(ModelInUse) as refused:
            store.deletions.plan("a.bin")
        assert [(each["kind"], each["holder"]) for each in refused.value.blockers] == [("verify", "me")]
        raise InterruptedError

    assert store.verifications.verify("a.bin", ME, on_read).verdict is Verdict.UNREADABLE
    assert store.locks.blockers("a.bin") == []
    store.deletions.plan("a.bin")


def test_concurrent_verifications_agree(store: Store) -> None:
    """Four verifications at once find one digest, and each records its verdict."""
    found: list[Verification] = []
    threads = [threading.Thread(target=lambda: found.append(verify(store))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({each.sha256 for each in found}) == 1
    assert all(each.is_remembered and each.verdict in {Verdict.UNRECORDED, Verdict.INTACT} for each in found)


def test_a_permanent_deletion_removes_the_records(store: Store) -> None:
    """A permanent deletion removes the digest record and the corruption record of a model."""
    verify(store)
    corrupt_on_disk(store.root / "a.bin")
    verify(store)

    store.deletions.delete(store.deletions.plan("a.bin", permanent=True))

    assert [path.name for path in (store.root / ".store").glob("[dc]*/*")] == []
    with pytest.raises(ModelNotFound):
        verify(store)


def test_headers_are_read_once_and_within_the_time_limit(store: Store) -> None:
    """Headers not read in time count as unread and are read by the next audit. A new version's header is read again."""
    (store.root / "cut.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")

    findings, unread = store.audits.judge(store.scan(), seconds=0)
    assert (unread, [finding.reasons for finding in findings]) == (2, [(), ()])
    findings, unread = store.audits.judge(store.scan())
    assert (unread, [finding.reasons for finding in findings]) == (0, [(), (Reason.CORRUPT,)])
    _, unread = store.audits.judge(store.scan(), seconds=0)
    assert unread == 0
    (store.root / "cut.gguf").write_bytes(b"something else")
    _, unread = store.audits.judge(store.scan(), seconds=0)
    assert unread == 1
