"""Services killed and disks filled during resumable uploads: no acknowledged byte is lost."""

import contextlib
import hashlib
import random
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tusclient.exceptions import TusCommunicationError
from tusclient.uploader import Uploader  # type: ignore[attr-defined]

from tests.conftest import Serve
from tests.e2e.crashes.test_crashes import KILLS
from tests.support.clients.raw import RawPatch
from tests.support.clients.tus import CHUNK, append, begun, offset_of, uploader
from tests.support.mounts import small_disk
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually, file_sizes

MIB = 1 << 20
SEED = 20261121
CONTENT = random.Random(SEED).randbytes(24 * MIB)  # noqa: S311 - to be the same each time
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def send(tus: Uploader) -> None:
    """Upload all missing bytes. The service may be killed meanwhile."""
    with contextlib.suppress(TusCommunicationError):
        tus.upload()


def kill_somewhere(service: RunningService, tus: Uploader, chance: random.Random) -> None:
    """Kill the service when it has acknowledged or written some of the missing bytes, or while it publishes the model:
    when it has written all bytes, or the model is visible.
    """
    least, staging = chance.randint(tus.offset, len(CONTENT)), service.models_dir / ".store/staging"
    moments: list[Callable[[], bool]] = [
        lambda: tus.offset >= least,
        lambda: max(file_sizes(staging, "*.part"), default=0) >= least,
        lambda: max(file_sizes(staging, "*.part"), default=0) == len(CONTENT),
        lambda: any(service.models_dir.glob("*.bin")),
    ]
    reached = chance.choice(moments)
    with ThreadPoolExecutor(1) as thread:
        sent = thread.submit(send, tus)
        eventually(lambda: reached() or sent.done(), within=60)
        service.stop(signal.SIGKILL)
        sent.result()


def crash_again_and_again(serve: Serve, rounds: int) -> None:
    """Kill the service during every attempt of every upload, until each upload is complete."""
    chance = random.Random(SEED)  # noqa: S311
    service, kills = serve(engine_class=ECHO), 0
    for number in range(rounds):
        name = f"{number}.bin"
        path, told, model = begun(service, name, len(CONTENT), SHA256), 0, service.models_dir / name
        while (offset := offset_of(service, path)) < len(CONTENT):
            assert offset >= told
            assert not model.exists()
            tus = uploader(
                service, CONTENT, url=service.url.rstrip("/") + path, chunk_size=chance.choice([MIB, 5 * MIB, 24 * MIB])
            )
            kill_somewhere(service, tus, chance)
            kills += 1
            told = tus.offset
            service = serve(engine_class=ECHO)
        assert hashlib.sha256(model.read_bytes()).hexdigest() == SHA256
        assert service.client.get(f"/models/{name}").json()["sha256"] in {SHA256, None}
        service.client.delete(path).raise_for_status()
        service.client.delete(f"/models/{name}", params={"permanent": True}).raise_for_status()
        assert list((service.models_dir / ".store/staging").iterdir()) == []
    print(f"{kills} kills")
    assert kills >= rounds


def test_a_killed_service_loses_no_acknowledged_byte(serve: Serve) -> None:
    """A service killed at random moments loses no acknowledged byte; the model is complete or not there."""
    crash_again_and_again(serve, 3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_kills_lose_no_acknowledged_byte(serve: Serve) -> None:
    """A service killed TEST_KILLS / 15 times or more loses no acknowledged byte."""
    crash_again_and_again(serve, KILLS // 15)


def test_a_partly_received_chunk_is_kept(serve: Serve) -> None:
    """After a kill, the offset includes the bytes of an incomplete chunk that had been written."""
    service = serve(engine_class=ECHO)
    path = begun(service, "a.bin", len(CONTENT), SHA256)
    chunk = {"content_type": CHUNK["content-type"], "upload_offset": 0, "content_length": len(CONTENT)}
    with RawPatch(service, path, **chunk) as killed:
        killed.send(CONTENT[: 10 * MIB])
        told = eventually(lambda: offset_of(service, path))
        service.stop(signal.SIGKILL)

    service = serve(engine_class=ECHO)
    assert told <= offset_of(service, path) <= 10 * MIB
    tus = uploader(service, CONTENT, url=service.url.rstrip("/") + path)
    assert tus.offset >= told
    tus.upload()
    assert hashlib.sha256((service.models_dir / "a.bin").read_bytes()).hexdigest() == SHA256


def test_a_full_disk_keeps_the_bytes_that_fitted(serve: Serve, tmp_path: Path) -> None:
    """A full disk answers 507 and keeps the bytes that fitted; with space again, the upload continues there."""
    (tmp_path / "models").mkdir()
    service = serve(wrapper=small_disk(tmp_path / "models", "20m"), engine_class=ECHO)
    inside = Path(f"/proc/{service.process.pid}/root{tmp_path}/models")
    content = CONTENT[: 16 * MIB]
    path = begun(service, "a.bin", len(content), hashlib.sha256(content).hexdigest())
    chunk = {"content_type": CHUNK["content-type"], "upload_offset": 0, "content_length": len(content)}
    with RawPatch(service, path, **chunk) as coming:
        coming.send(content[: 5 * MIB])
        eventually(lambda: offset_of(service, path) >= 4 * MIB)
        with (inside / "filler").open("wb") as filler:
            filler.write(b"x" * (8 * MIB))
        coming.send(content[5 * MIB :])
        assert coming.answer().startswith(b"HTTP/1.1 507 ")

    offset = offset_of(service, path)
    assert 4 * MIB < offset < 12 * MIB
    assert append(service, path, offset, content[offset:]).status_code == 507
    assert offset_of(service, path) == offset
    (inside / "filler").unlink()
    assert append(service, path, offset, content[offset:]).status_code == 204
    assert (inside / "a.bin").read_bytes() == content
