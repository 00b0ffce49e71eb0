"""Whether bytes are still those that came, on real files."""

import hashlib
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from app.errors import ModelInUse, ModelNotFound
from app.store.actor import Actor
from app.store.audit.findings import Reason
from app.store.integrity.verification import CHUNK_BYTES, Verdict, Verification
from app.store.policy import Policy
from app.store.store import Store

ME = Actor("me")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "models", Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    (store.root / "a.bin").write_bytes(b"as it came")
    return store


def rot(path: Path) -> None:
    """Change the bytes and nothing that a list shows, as a failing disk does."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.write(b"X")
    os.utime(path, ns=times)


def verdicts(store: Store) -> Verification:
    return store.verifications.verify("a.bin", ME)


def test_what_came_is_recorded_and_recognised_again(store: Store) -> None:
    """The first verification of a file that nobody uploaded records it; the next compares."""
    first, second = verdicts(store), verdicts(store)

    assert (first.verdict, first.recorded_sha256, first.is_remembered) == (Verdict.UNRECORDED, None, True)
    assert second.verdict is Verdict.INTACT
    assert second.sha256 == second.recorded_sha256 == hashlib.sha256(b"as it came").hexdigest()


def test_decay_is_found_and_remembered(store: Store) -> None:
    """Other bytes at the same size and time are corrupt, in the audit too, until they are right again."""
    verdicts(store)
    rot(store.root / "a.bin")

    found = verdicts(store)

    assert (found.verdict, found.is_remembered) == (Verdict.CORRUPT, True)
    assert found.sha256 == hashlib.sha256(b"Xs it came").hexdigest() != found.recorded_sha256
    assert store.digests.corrupt_since(store.find("a.bin"))
    (finding,) = store.audits.report(store.scan()).corrupt
    assert (finding.model.name, finding.is_old, finding.reasons) == ("a.bin", False, (Reason.CORRUPT,))
    times = (store.root / "a.bin").stat().st_mtime_ns
    (store.root / "a.bin").write_bytes(b"as it came")
    os.utime(store.root / "a.bin", ns=(times, times))
    assert verdicts(store).verdict is Verdict.INTACT
    assert store.audits.report(store.scan()).corrupt == []


def test_another_version_is_not_corrupt(store: Store) -> None:
    """Whoever writes a file makes another version of it: nothing is on record of that one."""
    verdicts(store)
    rot(store.root / "a.bin")
    verdicts(store)
    (store.root / "a.bin").write_bytes(b"a newer version")

    assert store.audits.report(store.scan()).corrupt == []
    assert verdicts(store).verdict is Verdict.UNRECORDED


def test_a_damaged_file_is_not_put_on_record_as_good(store: Store) -> None:
    """A header that says that the file is cut off is damage, also where nothing was on record."""
    (store.root / "a.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")

    found = store.verifications.verify("a.gguf", ME)

    assert (found.verdict, found.recorded_sha256) == (Verdict.CORRUPT, None)
    assert "the file ends inside its header" in str(found.reason)
    assert store.digests.of(store.find("a.gguf")) is None


def test_what_changes_while_it_is_read_is_neither(store: Store) -> None:
    """Nothing is said of a moving target, and nothing recorded."""
    path = store.root / "a.bin"

    def meddle(_: int) -> None:
        path.write_bytes(b"meanwhile")

    found = store.verifications.verify("a.bin", ME, meddle)

    assert (found.verdict, found.sha256, found.is_remembered) == (Verdict.CHANGED, None, False)
    assert store.digests.of(store.find("a.bin")) is None


def test_nobody_deletes_what_is_being_verified(store: Store) -> None:
    """It holds a lease that says so, and gives it back, whatever ends it."""
    (store.root / "a.bin").write_bytes(b"x" * 3 * CHUNK_BYTES)

    def on_read(_: int) -> None:
        with pytest.raises(ModelInUse) as refused:
            store.deletions.plan("a.bin")
        assert [(each["kind"], each["holder"]) for each in refused.value.blockers] == [("verify", "me")]
        raise InterruptedError

    assert store.verifications.verify("a.bin", ME, on_read).verdict is Verdict.UNREADABLE
    assert store.locks.blockers("a.bin") == []
    store.deletions.plan("a.bin")


def test_two_at_once_agree(store: Store) -> None:
    """Both read, both record the same."""
    found: list[Verification] = []
    threads = [threading.Thread(target=lambda: found.append(verdicts(store))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({each.sha256 for each in found}) == 1
    assert all(each.is_remembered and each.verdict in {Verdict.UNRECORDED, Verdict.INTACT} for each in found)


def test_the_records_go_with_the_model(store: Store) -> None:
    """Nothing is left of what was deleted for good."""
    verdicts(store)
    rot(store.root / "a.bin")
    verdicts(store)

    store.deletions.delete(store.deletions.plan("a.bin", permanent=True))

    assert [path.name for path in (store.root / ".store").glob("[dc]*/*")] == []
    with pytest.raises(ModelNotFound):
        verdicts(store)


def test_headers_are_read_once_and_no_longer_than_asked(store: Store) -> None:
    """What there is no time for is counted, and read by the next question; what changed is read again."""
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
