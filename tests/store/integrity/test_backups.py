"""A folder that was restored from a backup, by the programs that people use, or copied to another file system."""

import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app.store.actor import Actor
from app.store.incoming.publish_conditions import Conditions
from app.store.integrity.verification import Verdict, Verification
from app.store.policy import Policy
from app.store.store import Store

ME = Actor("me")
COMMANDS = {
    "cp -a": "cp -a {0} {1}",
    "rsync -a": "rsync -a {0}/ {1}",
    "tar": "mkdir {1} && tar -C {0} -cf - . | tar -C {1} -xf -",
    "tar --format=ustar": "mkdir {1} && tar -C {0} --format=ustar -cf - . | tar -C {1} -xf -",
    "cp -r": "cp -r {0} {1}",
}


def opened(root: Path) -> Store:
    store = Store(root, Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    return store


def upload(store: Store, name: str, content: bytes) -> None:
    staged = store.incoming.begin()
    staged.write(content)
    store.incoming.publish(name, staged, Conditions(), ME)
    staged.discard()


@pytest.fixture
def original(tmp_path: Path) -> Store:
    """A folder with a model, a protected model, and a deleted one, each with a digest on record."""
    store = opened(tmp_path / "models")
    for name in ("a.bin", "kept.bin", "deleted.bin"):
        upload(store, name, f"{name} as it came".encode())
        os.utime(store.root / name, ns=(0, 1_700_000_001_234_567_891))
        store.verifications.verify(name, ME)  # which records the digest of the version with that time
    store.protections.protect("kept.bin", "in the backup", ME)
    store.deletions.delete(store.deletions.plan("deleted.bin"))
    return store


def rounded(step_ns: int) -> Callable[[Path, Path], None]:
    """Return a copy function that keeps times in steps, as another file system does."""

    def copy(source: Path, target: Path) -> None:
        shutil.copytree(source, target)
        for path in target.rglob("*"):
            time_ns = (source / path.relative_to(target)).stat().st_mtime_ns
            os.utime(path, ns=(time_ns // step_ns * step_ns,) * 2)

    return copy


def by_command(command: str) -> Callable[[Path, Path], None]:
    """Return a copy function that runs a command; skip the test if the command is not installed."""

    def copy(source: Path, target: Path) -> None:
        if shutil.which(command.partition(" ")[0]) is None:
            pytest.skip(f"{command.partition(' ')[0]} is not installed")
        subprocess.run(COMMANDS[command].format(source, target), shell=True, check=True)  # noqa: S602 - of this module

    return copy


COPIES = {command: by_command(command) for command in COMMANDS} | {
    f"a file system with steps of {step} ns": rounded(step) for step in (100, 1_000, 10_000_000, 2_000_000_000)
}


@pytest.fixture(params=COPIES)
def restored(request: pytest.FixtureRequest, original: Store, tmp_path: Path) -> Store:
    """The folder after its way through a backup."""
    COPIES[request.param](original.root, tmp_path / "restored")
    return opened(tmp_path / "restored")


def verify(store: Store, name: str) -> Verification:
    return store.verifications.verify(name, ME)


def damage(path: Path) -> None:
    """Change a byte, and neither the size nor the time."""
    time_ns = path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.write(b"X")
    os.utime(path, ns=(time_ns, time_ns))


def test_a_restored_folder_keeps_digests_protections_and_trash(restored: Store) -> None:
    """Whole models are intact by the digests on record; the protection holds, and the deleted model can be restored."""
    assert verify(restored, "a.bin").verdict is Verdict.INTACT
    assert verify(restored, "a.bin").verdict is Verdict.INTACT
    assert restored.digests.of(restored.find("a.bin"))
    assert restored.protections.of("kept.bin")
    (entry,) = restored.trash.entries()
    assert restored.trash.restore(entry.id).name == "deleted.bin"
    assert verify(restored, "deleted.bin").verdict is Verdict.INTACT


def test_damage_on_the_way_is_found(restored: Store, request: pytest.FixtureRequest) -> None:
    """A byte that changed on the way makes a model corrupt, also one that was in the trash, and is not recorded."""
    damage(restored.root / "a.bin")
    (entry,) = restored.trash.entries()
    damage(restored.volume.trash_dir / entry.id)
    restored.trash.restore(entry.id)

    for name in ("a.bin", "deleted.bin"):
        found = verify(restored, name)
        if "cp -r" in request.node.name:  # it does not keep the time, so this may be another version: that is said
            assert found.verdict is Verdict.UNRECORDED
            assert "was on record, with another digest" in str(found.reason)
        else:
            assert found.verdict is Verdict.CORRUPT
            assert verify(restored, name).verdict is Verdict.CORRUPT


def test_a_model_that_lost_its_end_on_the_way_is_corrupt(original: Store) -> None:
    """A file with the time on record and another size is corrupt, and its digest is not recorded."""
    time_ns = original.find("a.bin").modified_ns
    os.truncate(original.root / "a.bin", 3)
    os.utime(original.root / "a.bin", ns=(time_ns, time_ns))

    found = verify(original, "a.bin")

    assert (found.verdict, original.digests.of(original.find("a.bin"))) == (Verdict.CORRUPT, None)
