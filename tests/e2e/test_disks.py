"""Disks that are full, in a mount namespace of the service's own."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import Serve
from tests.support.service import ECHO, ROOT
from tests.support.waiting import eventually


def on_a_small_disk(models_dir: Path, size: str = "256k") -> tuple[str, ...]:
    """Run what follows where the model folder is a file system of that size."""
    mount = f"mount -t tmpfs -o size={size} none {models_dir}"
    return "unshare", "--map-root-user", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"


def test_a_full_disk_refuses_a_deletion_and_loses_nothing(serve: Serve, tmp_path: Path) -> None:
    """There is no room for the record, so the model stays where it is; with room again it goes."""
    (tmp_path / "models").mkdir()
    service = serve(wrapper=on_a_small_disk(tmp_path / "models"), engine_class=ECHO)
    inside = Path(f"/proc/{service.process.pid}/root{tmp_path}/models")
    (inside / "a.bin").write_bytes(b"content")
    with (inside / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            pass
    eventually(lambda: service.client.get("/models").json()["count"] == 2)

    refused = service.client.delete("/models/a.bin")

    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (507, "store-full")
    assert (inside / "a.bin").read_bytes() == b"content"
    assert list((inside / ".store/trash").iterdir()) == []
    (inside / "filler").unlink()
    assert service.client.delete("/models/a.bin").status_code == 200


MAKES_ROOM = """
import sys
from datetime import timedelta
from pathlib import Path
from app.errors import StoreFull
from app.store.journal import Origin
from app.store.publishing import Conditions
from app.store.rules import Rules
from app.store.store import Store

MIB = 1 << 20
events = []
store = Store(
    Path(sys.argv[1]), Rules(), trash_retention=timedelta(days=1), on_event=lambda *event: events.append(event)
)
store.open()
def come(name, size):
    staged = store.publisher.begin(size_bytes=size)
    staged.write(b"x" * size)
    store.publisher.publish(name, staged, Conditions(), Origin("me"))
    staged.discard()
def trash():
    return [entry.name for entry in store.trash_entries()]

for name in ("a.bin", "b.bin", "c.bin"):
    come(name, 2 * MIB)
    store.delete(store.plan_deletion(name))
for call in (lambda: store.publisher.plan("d.bin", Conditions(), 8 * MIB), lambda: store.publisher.begin((), 8 * MIB)):
    try:
        call()
    except StoreFull:
        print("refused with", *trash())
print("plan:", *(entry.name for entry in store.publisher.plan("d.bin", Conditions(), 2 * MIB + MIB // 2)))
print("planned with", *trash())
come("d.bin", 2 * MIB + MIB // 2)
print("came with", *trash())
print([(event.action, event.name, event.actor) for event in store.journal.latest(2)])
print([about["name"] for event, about in events if event == "model.purged"])
"""


def test_the_trash_makes_room_for_what_comes_in(tmp_path: Path) -> None:
    """Oldest first, as much as it takes and no more, and nothing of it when that would not do or is only planned."""
    (tmp_path / "models").mkdir()
    wrapper = on_a_small_disk(tmp_path / "models", "8m")

    run = subprocess.run(
        [*wrapper, sys.executable, "-c", MAKES_ROOM, tmp_path / "models"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert run.stdout.splitlines() == [
        "refused with a.bin b.bin c.bin",
        "refused with a.bin b.bin c.bin",
        "plan: a.bin",
        "planned with a.bin b.bin c.bin",
        "came with b.bin c.bin",
        "[('uploaded', 'd.bin', 'me'), ('purged', 'a.bin', 'service')]",
        "['a.bin']",
    ], run.stderr
