"""Disks that are full, in a mount namespace of the service's own."""

from pathlib import Path

from tests.conftest import Serve
from tests.support.service import ECHO
from tests.support.waiting import eventually


def on_a_small_disk(models_dir: Path) -> tuple[str, ...]:
    """Run what follows where the model folder is a file system of 256 KiB."""
    mount = f"mount -t tmpfs -o size=256k none {models_dir}"
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
