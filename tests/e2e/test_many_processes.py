"""Eight processes change one folder at random, by pulls too; then every model must match the journal."""

import os
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from app.build import build_jobs
from app.store.journal.entries import JournalEntry
from app.store.policy import Policy
from app.store.store import Store
from tests.conftest import Serve
from tests.support.crash.labelled import everything
from tests.support.crash.labelled_hub import LabelledHub
from tests.support.crash.random_changes import Note, journal_files, notes_in
from tests.support.hub import Hub
from tests.support.service import ECHO, ROOT

PROCESSES, SERVICES = 8, 2
SECONDS = float(os.environ.get("TEST_SECONDS", "60"))
SEED = int(os.environ.get("TEST_SEED", time.time_ns() % 1_000_000))


def change_at_random(serve: Serve, hub: Hub, logs: Path, seconds: float) -> Store:
    """Run all processes for some seconds, and return a store on their folder."""
    print(f"TEST_SEED={SEED}")
    services = [serve(engine_class=ECHO, trash_retention="2s", pull_allowed_urls=hub.cdn_url) for _ in range(SERVICES)]
    root = services[0].models_dir
    through = [service.url for service in services] + [str(root)] * (PROCESSES - SERVICES)
    hubs = [[hub.cdn_url]] * SERVICES + [[]] * (PROCESSES - SERVICES)  # the services pull
    command = [sys.executable, "-m", "tests.support.crash.random_changes"]
    processes = [
        subprocess.Popen(
            [*command, each, root, f"{SEED + number}", f"{seconds}", logs / f"{number}.log", *hubs[number]],
            cwd=ROOT,
            env=os.environ | {"TEST_RETENTION_SECONDS": str(number)},
            stdout=subprocess.DEVNULL,
        )
        for number, each in enumerate(through)
    ]
    try:
        assert [process.wait(timeout=seconds + 240) for process in processes] == [0] * PROCESSES
        assert "internal-error" not in "".join(service.log for service in services)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for service in services:
        assert service.stop() == 0
    store = Store(root, Policy(), trash_retention=timedelta(hours=1), on_event=lambda *_: None)
    store.open()
    return store


def check(store: Store, logs: Path) -> None:
    """Check that the folder, the trash, the journal and the processes' notes agree."""
    store.sweep(build_jobs(store).needs_no_partials)
    notes = [note for log in sorted(logs.glob("*.log")) for note in notes_in(log)]
    events = store.journal.latest(10_000_000)
    found = Counter(labelled.label for _, labelled in everything(store.root))
    done = Counter(note.change for note in notes if note.is_done)
    told = Counter(event.action for event in events)
    print(f"{done} {told}")

    # Every line of the journal that is not empty is a valid entry, and each success of a process has exactly one.
    journal = store.volume.journal_file
    parts = [path.read_bytes() for path in journal_files(journal) if path.exists()]
    written = [line for line in b"".join(parts).splitlines() if line]
    assert len(written) == len(events)
    uploaded = {note.label for note in notes if note.is_done and note.change == "upload"}
    assert Counter(event.request_id for event in events if event.action == "uploaded") == Counter(uploaded)
    # Each pull has exactly one entry, also a pull that was cancelled too late.
    pulled = {str(event.request_id) for event in events if event.action == "pulled"}
    assert told["pulled"] == len(pulled)
    assert pulled >= {note.label for note in notes if note.is_done and note.change in {"pull", "adopt"} and note.label}
    for change, action in {"delete": "trashed", "erase": "deleted", "restore": "restored", "purge": "purged"}.items():
        succeeded = Counter(note.request for note in notes if note.is_done and note.change == change)
        lines = Counter(
            event.request_id for event in events if event.action == action and event.request_id in succeeded
        )
        assert lines == succeeded
    # No version was deleted twice, and no entry of the trash left it twice.
    ends = Counter(event.trash_id for event in events if event.action in {"purged", "restored"})
    begins = Counter(event.trash_id for event in events if event.action == "trashed")
    assert set(begins.values()) | set(ends.values()) <= {1}
    assert set(ends) <= set(begins)
    assert {entry.id for entry in store.trash.entries()} == set(begins) - set(ends)
    # Each published version that was not deleted for good is there once, and nothing else is.
    assert found == Counter((uploaded | pulled) - lost(events, notes))
    assert list(store.volume.staging_dir.iterdir()) == []
    assert {path.name.partition(".")[0] for path in store.volume.trash_dir.iterdir()} == set(begins) - set(ends)


def lost(events: list[JournalEntry], notes: list[Note]) -> set[str]:
    """Return the labels that were deleted or purged for good, by the journal."""
    labels = {(note.request, name): label for note in notes for name, label in note.touched.items()}
    in_trash = {event.trash_id: event for event in events if event.action == "trashed"}
    gone = [event for event in events if event.action == "deleted"]
    gone += [in_trash[event.trash_id] for event in events if event.action == "purged"]
    return {labels[str(event.request_id), event.name] for event in gone}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_journal_matches_what_eight_processes_did(serve: Serve, tmp_path: Path) -> None:
    """After a minute of random changes the folder matches the journal. TEST_SEED repeats the choices only."""
    with LabelledHub() as hub:
        check(change_at_random(serve, hub, tmp_path, SECONDS), tmp_path)
