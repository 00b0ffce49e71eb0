"""What the tests of jobs share: stores, and the code of a process that holds a job until it is killed."""

from datetime import timedelta
from pathlib import Path

from app.store.actor import Actor
from app.store.policy import Policy
from app.store.store import Store

ME = Actor("me", "request-1")
DAY = timedelta(days=1)

HOLDS = """
import sys
from datetime import timedelta
from pathlib import Path
from app.build import build_jobs
from app.store.actor import Actor
from app.jobs.progress import Progress
from app.store.policy import Policy
from app.store.store import Store
store = Store(Path(sys.argv[1]), Policy(), trash_retention=timedelta(0), on_event=print)
store.open()
held = build_jobs(store).begin(sys.argv[2], {"text": "x"}, Actor("other"))
held.update(phase="working", progress=Progress(1, 3, "items"))
print("held", flush=True)
sys.stdin.read()
"""
"""The code of a process that begins a job in the folder and holds it until it is killed."""


def store_on(root: Path) -> Store:
    """Open a store on a folder."""
    store = Store(root, Policy(), trash_retention=DAY, on_event=lambda *_: None)
    store.open()
    return store


def files(store: Store) -> list[str]:
    """Return the names of the files in the store's jobs folder."""
    return sorted(path.name for path in store.volume.jobs_dir.iterdir())
