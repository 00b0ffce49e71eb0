"""Any JSON, any bytes and any type of file in the place of any record: the store's lists and sweeps go on."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from app.build import build_jobs
from app.errors import JobNotFound, ModelInUse, ModelProtected, StoreError
from app.events import EventName
from app.jobs.folder import Jobs
from app.jobs.sweep import sweep_jobs
from app.pulls.pull_jobs import PULL, request_of
from app.store.actor import Actor
from app.store.policy import Policy
from app.store.store import Store
from app.store.volume.living_services import LivingServices
from app.store.volume.service_registry import ServiceRegistry
from app.webhooks.outbox import Outbox
from app.webhooks.records import delivery_of
from tests.support.files.damage import JOB_ID, KINDS, MODEL, PARTIAL_ID, SERVICE_ID, TRASH_ID, clear, damage, put

DAY = timedelta(days=1)
ME = Actor("me")
EXAMPLES = int(os.environ.get("TEST_DAMAGED_RECORDS", "40"))


def opened(root: Path) -> tuple[Store, Jobs, list[EventName]]:
    events: list[EventName] = []
    store = Store(root, Policy(), trash_retention=DAY, on_event=lambda event, _: events.append(event))
    store.open()
    return store, build_jobs(store), events


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("store")
    yield folder / "models"
    shutil.rmtree(folder)


def use_everything(store: Store, jobs: Jobs) -> None:
    """Call every list and every sweep, as a service does."""
    store.trash.entries()
    store.incoming.partials()
    store.journal.latest(100)
    store.protections.manual()
    store.audits.report(store.scan())
    store.measure(store.scan())
    store.locks.leased_positions()
    list(jobs.newest())
    for job in jobs.unfinished(PULL):
        request_of(job)
    store.sweep(jobs.needs_no_partials)
    outbox = Outbox(store, jobs, keep=None)
    sweep_jobs(jobs, DAY, outbox.needs_job)
    outbox.due()
    outbox.sweep()
    for job in jobs.newest():
        delivery_of(store.volume, job)
    list(store.locks.retake_lost_leases())
    registry = ServiceRegistry(store.volume.services_dir, is_shared=False)
    registry.look()
    registry.living = frozenset({SERVICE_ID})
    services = LivingServices(store.volume, registry)
    services.refresh()
    services.living_services()
    store.volume.records.damaged()


def change_everything(store: Store, jobs: Jobs) -> None:
    """Make each change that reads the damaged records; each may be refused."""
    for change in (
        lambda: store.trash.restore(TRASH_ID, "restored.bin"),
        lambda: store.trash.purge(TRASH_ID),
        lambda: jobs.cancel(JOB_ID),
        lambda: store.incoming.discard(PARTIAL_ID),
        lambda: store.verifications.verify(MODEL, ME),
        lambda: store.deletions.delete(store.deletions.plan(MODEL)),
    ):
        try:
            change()
        except StoreError:
            continue


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(damage())
@example(("trash", "file", b'{"id":"../../../victim"}', "file"))
@example(("finished job", "file", b'{"id":"../../../victim","state":"failed"}', "link outside"))
def test_no_record_stops_a_list_or_a_sweep_or_leads_outside(root: Path, damaged: tuple[str, str, bytes, str]) -> None:
    """With any record in any state, lists and sweeps work, other records too, and nothing outside is touched."""
    name, type_, content, beside = damaged
    kind = KINDS[name]
    outside = root.parent / "victim"
    outside.write_bytes(b"outside")
    store, jobs, _ = opened(root)
    (root / MODEL).write_bytes(b"model")
    (root / "other.bin").write_bytes(b"other")
    other = store.deletions.delete(store.deletions.plan("other.bin")).trash_id
    if kind.beside:
        put(store.volume.store_dir / kind.beside, beside, b"bytes", outside)
    put(store.volume.store_dir / kind.path, type_, content, outside)

    use_everything(store, jobs)
    change_everything(store, jobs)
    use_everything(*opened(root)[:2])

    assert outside.read_bytes() == b"outside"
    assert other
    assert store.trash.restore(other).name == "other.bin"
    for path in (kind.path, kind.beside):
        if path:
            clear(store.volume.store_dir / path)
    for model in root.glob("*.bin"):
        clear(model)


@settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=list(HealthCheck))
@given(damage().filter(lambda damaged: damaged[0] == "protection"))
def test_a_record_that_was_meant_to_protect_protects(root: Path, damaged: tuple[str, str, bytes, str]) -> None:
    """Whatever lies in the place of a protection's record, the model is protected, and is shown as protected."""
    _, type_, content, _ = damaged
    store, _, _ = opened(root)
    (root / MODEL).write_bytes(b"model")
    path = store.volume.store_dir / KINDS["protection"].path
    put(path, type_, content, root.parent / "victim")

    assert MODEL in store.protections.manual()
    assert store.protections.of(MODEL)
    with pytest.raises(ModelProtected):
        store.deletions.plan(MODEL)

    clear(path)
    assert MODEL not in opened(root)[0].protections.manual()
    (root / MODEL).unlink()


@pytest.mark.parametrize("how", ["removed", "replaced", "emptied"])
@pytest.mark.parametrize("part", ["protection", ""])
def test_a_protection_outlives_its_folder(tmp_path: Path, part: str, how: str) -> None:
    """The folder of the protections is removed under a service that has read it: the model stays protected."""
    store, _, _ = opened(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"model")
    (tmp_path / "b.bin").write_bytes(b"model")
    store.protections.protect("a.bin", "mine", ME)
    store.protections.manual()  # as a service does four times a second
    if how == "emptied":
        for path in (store.volume.store_dir / part).iterdir():
            clear(path)
    else:
        shutil.rmtree(store.volume.store_dir / part)
    if how == "replaced":
        (store.volume.store_dir / part).mkdir()

    with pytest.raises(ModelProtected, match="mine"):
        store.deletions.plan("a.bin")
    assert store.protections.manual().keys() == {"a.bin"}
    assert opened(tmp_path)[0].protections.manual().keys() == {"a.bin"}
    store.deletions.delete(store.deletions.plan("b.bin"))
    store.protections.unprotect("a.bin", ME)
    store.deletions.delete(store.deletions.plan("a.bin"))


@pytest.mark.parametrize("content", [b"", b'{"id": "../../../victim"}', b"\x00" * 200, None])
def test_a_deleted_model_whose_record_is_damaged_or_lost_can_be_restored(tmp_path: Path, content: bytes | None) -> None:
    """It is listed under a name of its own, expires after the whole retention, and is reported if it is damaged."""
    store, _, events = opened(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"model")
    trash_id = store.deletions.delete(store.deletions.plan("a.bin")).trash_id
    record = store.volume.trash_dir / f"{trash_id}.json"
    record.unlink() if content is None else record.write_bytes(content)

    (entry,) = store.trash.entries()
    store.sweep()

    assert (entry.id, entry.name, entry.size_bytes) == (trash_id, f"unknown-{trash_id}", 5)
    assert entry.expires_at - entry.deleted_at >= DAY
    damaged = [each.path for each in store.volume.records.damaged("trash")]
    assert damaged == ([] if content is None else [f".store/trash/{trash_id}.json"])
    assert events.count(EventName.RECORD_DAMAGED) == len(damaged)
    assert trash_id
    assert store.trash.restore(trash_id, "a.bin").size_bytes == 5
    assert (tmp_path / "a.bin").read_bytes() == b"model"
    assert store.volume.records.damaged() == []


@pytest.mark.parametrize("forged", ["../../../victim", "/etc/passwd", f"{TRASH_ID[:-1]}1", ""])
def test_a_forged_id_deletes_and_moves_nothing(tmp_path: Path, forged: str) -> None:
    """A record of the trash or of a job that names another file is not followed, by a sweep or by a request."""
    store, jobs, _ = opened(tmp_path / "models")
    victims = [tmp_path / name for name in ("victim", "victim.json", "victim.cancel", "victim.result", "victim.purged")]
    for victim in victims:
        victim.write_bytes(b"outside")
    trash, job, past = KINDS["trash"], KINDS["finished job"], "2026-01-01T00:00:00Z"
    put(store.volume.store_dir / str(trash.beside), "file", b"bytes", tmp_path)
    put(store.volume.store_dir / trash.path, "file", _with(trash.fields, id=forged, expires_at=past), tmp_path)
    put(store.volume.store_dir / job.path, "file", _with(job.fields, id=forged, finished_at=past), tmp_path)

    use_everything(store, jobs)
    store.trash.restore(TRASH_ID, "restored.bin")
    with pytest.raises(JobNotFound):
        jobs.get(JOB_ID)

    assert [victim.read_bytes() for victim in victims] == [b"outside"] * len(victims)
    assert (store.root / "restored.bin").read_bytes() == b"bytes"
    assert [each.kind for each in store.volume.records.damaged()] == ["job"]


def test_a_model_that_was_set_aside_under_a_damaged_record_is_kept(tmp_path: Path) -> None:
    """A killed process left a model aside, and its record is damaged: a sweep makes it an entry of the trash."""
    store, _, _ = opened(tmp_path)
    (store.volume.aside_dir / f"{TRASH_ID}.model").write_bytes(b"model")
    (store.volume.trash_dir / f"{TRASH_ID}.json").write_bytes(b"{")

    store.sweep()

    assert [(entry.id, entry.size_bytes) for entry in store.trash.entries()] == [(TRASH_ID, 5)]
    assert store.trash.restore(TRASH_ID, "a.bin").size_bytes == 5


def test_records_of_a_newer_version_are_read(tmp_path: Path) -> None:
    """Records with fields that this version does not know are read, and their entries can be used."""
    store, jobs, _ = opened(tmp_path)
    for name in ("trash", "finished job", "partial"):
        kind = KINDS[name]
        put(store.volume.store_dir / kind.path, "file", _with(kind.fields, more=[1]), tmp_path)
        put(store.volume.store_dir / str(kind.beside), "file", b"bytes", tmp_path)

    store.sweep(jobs.needs_no_partials)
    sweep_jobs(jobs, DAY)

    assert [entry.name for entry in store.trash.entries()] == [MODEL]
    assert [job.id for job in jobs.newest()] == [JOB_ID]
    assert [partial.name for partial in store.incoming.partials()] == [MODEL]
    assert store.volume.records.damaged() == []
    assert store.trash.restore(TRASH_ID).name == MODEL


def test_what_a_newer_version_wrote_and_this_one_does_not_understand_is_kept(tmp_path: Path) -> None:
    """A job in an unknown state and an upload of an unknown kind stay for their retention, and are reported."""
    store, jobs, _ = opened(tmp_path)
    for name, change in (("finished job", {"state": "paused"}), ("partial", {"kind": "mirror"})):
        kind = KINDS[name]
        for path, content in ((kind.path, _with(kind.fields, **change)), (str(kind.beside), b"bytes")):
            put(store.volume.store_dir / path, "file", content, tmp_path)
            os.utime(store.volume.store_dir / path, (time.time() - 7200,) * 2)

    store.sweep(jobs.needs_no_partials)
    sweep_jobs(jobs, DAY)

    paths = {str(path.relative_to(store.volume.store_dir)) for path in store.volume.store_dir.rglob("*")}
    assert {KINDS[name].path for name in ("finished job", "partial")} <= paths
    assert {str(KINDS[name].beside) for name in ("finished job", "partial")} <= paths
    assert store.volume.records.counts() == {"job": 1, "partial": 1}


def test_a_lease_counts_although_the_lock_file_was_replaced(tmp_path: Path) -> None:
    """Another process holds a lease when the lock file is replaced: the lease counts, and ends with its holder."""
    (tmp_path / "a.bin").write_bytes(b"model")
    holder, watching = opened(tmp_path)[0], opened(tmp_path)[0]
    lease = holder.lease("a.bin", kind="command")
    watching.locks.leased_positions()  # as a service does four times a second
    shutil.rmtree(watching.volume.lock_file.parent)

    assert watching.locks.leased_positions()
    with pytest.raises(ModelInUse):
        watching.deletions.plan("a.bin")
    assert list(watching.locks.retake_lost_leases()) == []
    with pytest.raises(ModelInUse):
        opened(tmp_path)[0].deletions.plan("a.bin")  # a process that begins later

    lease.release()
    list(watching.locks.retake_lost_leases())
    assert not watching.locks.leased_positions()
    assert watching.deletions.plan("a.bin").model.name == "a.bin"


def test_a_lease_whose_record_is_left_counts_for_a_process_that_begins_later(tmp_path: Path) -> None:
    """The lock file alone is replaced, and no process has seen the lease before: its record shows it."""
    (tmp_path / "a.bin").write_bytes(b"model")
    holder = opened(tmp_path)[0]
    with holder.lease("a.bin", kind="command", holder="tar"):
        holder.volume.lock_file.unlink()

        with pytest.raises(ModelInUse) as refused:
            opened(tmp_path)[0].deletions.plan("a.bin")
        assert refused.value.blockers[0]["holder"] == "tar"
    assert opened(tmp_path)[0].deletions.plan("a.bin")


def _with(fields: dict[str, object], **change: object) -> bytes:
    return json.dumps(fields | change).encode()
