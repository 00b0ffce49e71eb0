"""Parts of the folder that another program removes or replaces between two calls of one operation.

The moment cannot be chosen from tests.support.held_jobs import create_pull
from outside, so each test wraps the one function after or before which the part goes.
"""

import errno
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.build import build_jobs
from app.errors import ModelNotFound, ModelProtected, NotAModel, StoreUnavailable
from app.jobs.progress import Progress
from app.store.actor import Actor
from app.store.incoming.publish_conditions import Conditions
from app.store.locks.lock_file import LockFile
from app.store.policy import Policy
from app.store.protections import Protections
from app.store.records.name_records import NameRecords
from app.store.store import Store
from app.store.trash.folder import TrashFolder
from app.store.volume.checks import try_volume
from app.store.volume.identity import FolderIdentity
from app.store.volume.server_lookups import status_on_server
from app.store.volume.volume import Volume
from tests.support.held_jobs import create_pull

ME = Actor("me")
REPLACES = Conditions(if_match=frozenset("*"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "models", Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    (store.root / "a.bin").write_bytes(b"1")
    return store


def first(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, change: Callable[[], object]) -> None:
    """Make the next call of a function make a change first."""
    real, is_made = getattr(owner, name), False

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal is_made
        if not is_made:
            is_made = True
            change()
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, call)


def protected(store: Store) -> Path:
    """Protect the model, let the store know, and return the folder of the records."""
    store.protections.protect("a.bin", "mine", ME)
    assert store.protections.manual()
    return store.volume.protection_dir


@pytest.mark.parametrize("part", ["protection", ""])
def test_a_new_protection_does_not_hide_that_the_others_were_removed(store: Store, part: str) -> None:
    """The records are removed, and a caller protects another model before the next sweep: both are protected."""
    protected(store)
    (store.root / "b.bin").write_bytes(b"2")
    shutil.rmtree(store.volume.store_dir / part)

    store.protections.protect("b.bin", "mine too", ME)

    assert set(store.protections.manual()) == {"a.bin", "b.bin"}
    with pytest.raises(ModelProtected):
        store.deletions.plan("a.bin")


@pytest.mark.parametrize(("owner", "name"), [(Path, "stat"), (NameRecords, "survey"), (os, "scandir")])
def test_protections_are_kept_that_are_removed_while_they_are_listed(
    store: Store, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    """The folder is removed before the records are read: the known protections count and are written again."""
    folder = protected(store)
    first(monkeypatch, owner, name, lambda: shutil.rmtree(folder))
    os.utime(folder)

    assert set(store.protections.manual()) == {"a.bin"}
    store.sweep()
    assert set(store.protections.manual()) == {"a.bin"}
    assert store.protections.of("a.bin")


def test_a_protection_counts_that_is_removed_while_a_deletion_looks_for_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is removed just before the record is read: the model stays protected."""
    folder = protected(store)
    first(monkeypatch, Protections, "of", lambda: shutil.rmtree(folder))

    with pytest.raises(ModelProtected):
        store.deletions.plan("a.bin")


def test_the_mark_is_set_only_in_a_folder_with_all_records(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the records are written again, another folder takes the place of theirs: they are written once more."""
    folder = protected(store)
    shutil.rmtree(folder)

    def replace() -> None:
        folder.rename(folder.with_name("moved"))
        folder.mkdir()

    first(monkeypatch, NameRecords, "is_in", replace)
    for _ in range(2):
        store.protections.write_again_if_removed()

    assert set(store.protections.manual()) == {"a.bin"}
    assert store.protections.of("a.bin")


@pytest.mark.parametrize("part", ["aside", "trash"])
@pytest.mark.parametrize("method", ["link_aside", "set_aside"])
def test_a_replacement_names_the_removed_part_and_not_the_model(
    store: Store, monkeypatch: pytest.MonkeyPatch, part: str, method: str
) -> None:
    """The folder for the replaced version is removed at the last moment: no answer says that there is no model."""
    if method == "set_aside":
        monkeypatch.setattr(TrashFolder, "link_aside", lambda *_: None)
    first(monkeypatch, TrashFolder, method, lambda: shutil.rmtree(store.volume.store_dir / part))
    staged = store.incoming.begin()
    staged.write(b"2")

    with pytest.raises(StoreUnavailable, match=r"\.store"):
        store.incoming.publish("a.bin", staged, REPLACES, ME)

    assert (store.root / "a.bin").read_bytes() == b"1"
    assert store.incoming.publish("a.bin", staged, REPLACES, ME).has_replaced
    staged.discard()


def test_an_identity_that_is_removed_again_is_no_other_volume(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.store/` is removed once more while it is created: the error says that, and does not ask for the volume."""
    shutil.rmtree(store.volume.store_dir)
    with monkeypatch.context() as patch:
        patch.setattr(FolderIdentity, "create", lambda *_: None)
        with pytest.raises(StoreUnavailable, match=r"store\.json was removed"):
            store.volume.check()

    store.volume.check()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_store_that_cannot_be_created_again_is_unavailable(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """`.store/` is removed and the disk refuses to have it again: reading raises the one error that readers handle."""
    shutil.rmtree(store.volume.store_dir)

    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreUnavailable, match=r"\.store"):
        store.scan()


def test_a_folder_that_is_there_again_is_not_told_as_a_lack_of_rights(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`access` finds no folder, and a moment later the folder is there: the service does not lack rights."""
    monkeypatch.setattr(os, "access", _false_for(store.volume.trash_dir))

    assert store.volume.ask_writable() is None


def _false_for(path: Path) -> Callable[..., bool]:
    real = os.access

    def access(place: object, *arguments: Any, **named: Any) -> bool:
        return place != path and real(place, *arguments, **named)  # type: ignore[arg-type]

    return access


def test_a_model_is_published_in_a_folder_that_is_removed_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's folder is removed just before it is opened: it is created again, and nothing answers 'no model'."""
    enter = os.open
    removed = list[str]()

    def opened(path: Any, *arguments: Any, **named: Any) -> int:
        if path == "org" and len(removed) < most:
            removed.append(path)
            (store.root / "org").rmdir()
        return enter(path, *arguments, **named)

    monkeypatch.setattr(os, "open", opened)
    most = 2
    with store.volume.parent_of("org/b.bin", create=True):
        assert (store.root / "org").is_dir()

    most = 1000
    with pytest.raises(StoreUnavailable, match=r"'org/b\.bin'"), store.volume.parent_of("org/b.bin", create=True):
        pass
    assert len(removed) < 20


def test_a_file_in_place_of_a_models_folder_is_named(store: Store) -> None:
    """A restore to a name below a file: the error names the file, and is not that the model is missing."""
    trash_id = store.deletions.delete(store.deletions.plan("a.bin")).trash_id
    (store.root / "org").write_bytes(b"a file")

    with pytest.raises(NotAModel, match="'org', which is a file"):
        store.trash.restore(str(trash_id), "org/a.bin")


@pytest.mark.parametrize("what", ["nothing", "a link", "a folder", "a named pipe"])
@pytest.mark.parametrize("reading", [Store.open_content, Store.examine])
def test_a_model_that_is_replaced_before_it_is_opened_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch, reading: Callable[[Store, str], object], what: str
) -> None:
    """A program replaces the file between its lookup and its opening: the error is that of the new file."""
    path, find = store.root / "a.bin", Volume.find_in

    def found(*arguments: Any) -> Any:
        model = find(*arguments)
        path.unlink(missing_ok=True)
        made = {"a link": lambda: path.symlink_to("b"), "a folder": path.mkdir, "a named pipe": lambda: os.mkfifo(path)}
        made.get(what, lambda: None)()
        monkeypatch.undo()
        return model

    monkeypatch.setattr(Volume, "find_in", found)

    with pytest.raises(ModelNotFound if what == "nothing" else NotAModel):
        reading(store, "a.bin")


def test_checks_whose_folder_is_removed_say_nothing_about_the_volume(store: Store) -> None:
    """The folder of the checks is removed while they are made: they fail as a whole, and the volume stays safe."""
    with pytest.raises(OSError, match="No such file"):
        try_volume(store.volume.store_dir, store.volume.file_system, lambda: _remove_probes(store))


def _remove_probes(store: Store) -> None:
    for folder in store.volume.store_dir.glob("probe-*"):
        shutil.rmtree(folder)


def test_a_missing_file_is_an_error_with_a_number_and_a_path(store: Store) -> None:
    """A file that a lookup on the server does not find is an OSError as the kernel raises it, which has an answer."""
    with pytest.raises(FileNotFoundError) as caught:
        status_on_server(store.root / "none.bin")

    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(store.root / "none.bin"))


def test_a_lock_is_not_taken_for_that_of_another_when_its_file_is_removed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a lease is known, the lock file is removed just after a lock was taken: a lock on the new file is taken."""
    path = store.volume.lock_file
    with store.lease("a.bin", kind="command"):
        assert store.locks.leased_positions()
        first(monkeypatch, LockFile, "lock_on_former", path.unlink)

        with store.locks.exclusive("b.bin", seconds=5):
            assert path.exists()
            assert store.locks.is_locked("b.bin")


@pytest.mark.parametrize("part", ["locks/models", "locks", ""])
def test_a_job_stays_held_when_the_lock_file_is_removed(store: Store, part: str) -> None:
    """The lock file of a running job is removed: this process does not work on its unit twice."""
    jobs = build_jobs(store)
    job = create_pull(jobs)
    claim = jobs.units.claims.claim(job)
    assert claim
    removed = store.volume.store_dir / part
    removed.unlink() if removed.is_file() else shutil.rmtree(removed)
    store.volume.check_writable()

    if part:
        jobs.units.claims.report(claim, "downloading", Progress(1))
        assert jobs.get(job.id).phase == "downloading"
    assert jobs.units.claims.claim(job) is None
    claim.release()
